#include "rpc/dispatcher.h"

#include "base/assert.h"

namespace markab::rpc {

void Dispatcher::on(TaskCode code, Handler handler) {
  auto& slot = handlers_[static_cast<size_t>(code)];
  MARKAB_ASSERT(!slot, "two handlers for one task code", task_name(code));
  slot = std::move(handler);
}

void Dispatcher::on_refusal(TaskCode code, Function<std::string(Errc)> encode) {
  refusals_[static_cast<size_t>(code)] = std::move(encode);
}

void Dispatcher::refuse(Request request, Errc error) const {
  const auto& encode = refusals_[static_cast<size_t>(request.header.code)];
  if (encode) {
    request.reply(encode(error));
  } else {
    request.reply_error(error);
  }
}

void Dispatcher::dispatch(Request request) const {
  TaskCode code = request.header.code;
  if (partition_ && code != TaskCode::kUnknown && request.header.gpid.app_id > 0) {
    TaskKind kind = task_kind(code);
    if (kind == TaskKind::kRead || kind == TaskKind::kWrite) {
      partition_(std::move(request));
      return;
    }
    // The messages of other replica servers name their partition, too. What else does is not for a
    // partition.
    if (kind != TaskKind::kReplica) {
      request.reply_error(Errc::kHandlerNotFound);
      return;
    }
  }
  const Handler& handler = handlers_[static_cast<size_t>(code)];
  if (code == TaskCode::kUnknown || !handler) {
    request.reply_error(Errc::kHandlerNotFound);
    return;
  }
  if (gate_ && !gate_(request)) return;
  handler(std::move(request));
}

}  // namespace markab::rpc
