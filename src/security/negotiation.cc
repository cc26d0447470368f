#include "security/negotiation.h"

#include "idl/security_types.h"
#include "rpc/codec.h"

namespace markab::security {

void answer_without_authentication(rpc::Dispatcher& dispatcher) {
  dispatcher.on(rpc::TaskCode::kNegotiation, [](rpc::Request request) {
    wire::negotiation_request asked;
    if (!rpc::decode_args(request.args, asked).ok()) {
      request.reply_error(Errc::kInvalidData);
      return;
    }
    wire::negotiation_response answer;
    answer.status = wire::negotiation_status::SASL_AUTH_DISABLE;
    request.reply(rpc::encode_result(answer));
  });
}

}  // namespace markab::security
