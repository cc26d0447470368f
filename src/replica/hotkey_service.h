#pragma once
// RPC_DETECT_HOTKEY: starts, stops and asks the detection of hot keys of one replica (spec 07
// §2.6). Registered before the server listens.

#include "replica/server.h"
#include "rpc/dispatcher.h"

namespace markab::replica {

// `server` outlives the dispatcher.
void register_hotkey_handler(ReplicaServer& server, rpc::Dispatcher& dispatcher);

}  // namespace markab::replica
