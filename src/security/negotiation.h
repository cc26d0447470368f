#pragma once
// The server's side of RPC_NEGOTIATION (spec 05 §2).

#include "rpc/dispatcher.h"

namespace markab::security {

// Answers every negotiation with SASL_AUTH_DISABLE: this cluster does not authenticate, the client
// goes on without. Called while the dispatcher is filled.
void answer_without_authentication(rpc::Dispatcher& dispatcher);

}  // namespace markab::security
