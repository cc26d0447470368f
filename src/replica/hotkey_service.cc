#include "replica/hotkey_service.h"

#include "base/escape.h"
#include "idl/replica_admin_types.h"
#include "rpc/codec.h"

namespace markab::replica {

namespace {

using State = HotkeyDetector::State;

std::string state_text(wire::hotkey_type::type type, State state) {
  const char* kind = type == wire::hotkey_type::READ ? "READ" : "WRITE";
  return fmt::format("{} hotkey detection is {}", kind, hotkey_state_name(state));
}

wire::detect_hotkey_response detect(HotkeyDetector& detector,
                                    const wire::detect_hotkey_request& asked, Instant now) {
  wire::detect_hotkey_response response;
  auto busy = [&](std::string hint) {
    response.err = Errc::kBusy;
    response.__set_err_hint(std::move(hint));
  };
  switch (asked.action) {
    case wire::detect_action::START:
      if (!detector.start(now)) {
        busy(state_text(asked.type, detector.state()) + "; stop it first");
      }
      break;
    case wire::detect_action::STOP:
      detector.stop();
      break;
    case wire::detect_action::QUERY:
      if (detector.state() == State::kFinished) {
        response.__set_hotkey_result(escape(detector.result()));
      } else {
        busy(state_text(asked.type, detector.state()));
      }
      break;
  }
  return response;
}

bool valid(const wire::detect_hotkey_request& asked) {
  return asked.type >= wire::hotkey_type::READ && asked.type <= wire::hotkey_type::WRITE &&
         asked.action >= wire::detect_action::START && asked.action <= wire::detect_action::QUERY;
}

}  // namespace

void register_hotkey_handler(ReplicaServer& server, rpc::Dispatcher& dispatcher) {
  dispatcher.on(rpc::TaskCode::kDetectHotkey, [&server](rpc::Request request) {
    auto asked = std::make_shared<wire::detect_hotkey_request>();
    if (!rpc::decode_args(request.args, *asked).ok()) {
      request.reply_error(Errc::kInvalidData);
      return;
    }
    if (!valid(*asked)) {
      wire::detect_hotkey_response response;
      response.err = Errc::kInvalidParameters;
      response.__set_err_hint(
          "type is 0 (read) or 1 (write), action 0 (start), 1 (stop) or 2 (query)");
      request.reply(rpc::encode_result(response));
      return;
    }
    auto held = std::make_shared<rpc::Request>(std::move(request));
    auto& control = server.runtime().shard(0);
    control.post([&server, &control, held, asked] {
      for (const auto& replica : server.replicas()) {
        if (replica->gpid() != Gpid(asked->pid)) continue;
        auto& detector = asked->type == wire::hotkey_type::READ ? replica->read_hotkeys()
                                                                : replica->write_hotkeys();
        held->reply(rpc::encode_result(detect(detector, *asked, control.now())));
        return;
      }
      wire::detect_hotkey_response response;
      response.err = Errc::kObjectNotFound;
      response.__set_err_hint("no open replica of that partition on this node");
      held->reply(rpc::encode_result(response));
    });
  });
}

}  // namespace markab::replica
