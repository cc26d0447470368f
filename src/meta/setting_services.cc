// RPCs that set properties of a table: environments, replica count, idempotence, manual compaction
// (03 §4.6, §4.7, §14).

#include "idl/meta_admin_types.h"
#include "meta/meta_server.h"

namespace markab::meta {

using rpc::TaskCode;

namespace {

// The request's rule (03 §14); the hint says what is missing.
Result<Request> env_request(const wire::configuration_update_app_env_request& r) {
  auto refuse = [](const char* why) { return Status(Errc::kInvalidParameters, why); };
  switch (r.op) {
    case wire::app_env_operation::APP_ENV_OP_SET: {
      if (!r.__isset.keys || !r.__isset.values || r.keys.empty() ||
          r.keys.size() != r.values.size()) {
        return refuse("setting takes as many values as keys, and at least one");
      }
      SetEnvs set{r.app_name, {}};
      for (size_t i = 0; i < r.keys.size(); ++i) set.pairs.emplace_back(r.keys[i], r.values[i]);
      return Request(std::move(set));
    }
    case wire::app_env_operation::APP_ENV_OP_DEL:
      if (!r.__isset.keys || r.keys.empty()) return refuse("deleting takes at least one key");
      return Request(DeleteEnvs{r.app_name, r.keys});
    case wire::app_env_operation::APP_ENV_OP_CLEAR:
      if (!r.__isset.clear_prefix)
        return refuse("clearing takes a prefix; an empty one clears all");
      return Request(ClearEnvs{r.app_name, r.clear_prefix});
    default:
      return refuse("the operation is neither set, delete nor clear");
  }
}

std::string describe(const wire::configuration_update_app_env_request& r) {
  std::string what =
      fmt::format("environments of table {}: operation {}", r.app_name, static_cast<int>(r.op));
  for (size_t i = 0; i < r.keys.size() && i < 20; ++i) {
    what += fmt::format(", {}", r.keys[i]);
    if (i < r.values.size()) what += fmt::format(" = {}", r.values[i]);
  }
  if (r.__isset.clear_prefix) what += fmt::format(", prefix '{}'", r.clear_prefix);
  return what;
}

}  // namespace

void MetaServer::register_setting_services() {
  serve<wire::configuration_update_app_env_request, wire::configuration_update_app_env_response>(
      TaskCode::kUpdateAppEnv, [this](auto call) {
        auto request = env_request(call.argument);
        std::string what = describe(call.argument);
        if (!request) {
          call.response.err = request.error().code();
          call.response.hint_message = request.error().message();
          audit(call.request.user(), call.request.peer(), what, request.error().code(),
                request.error().message());
          call.finish();
          return;
        }
        administer(std::move(call), std::move(*request), std::move(what),
                   [](auto& c, const AdminReply& reply) { c.response.hint_message = reply.hint; });
      });
  serve<wire::configuration_get_max_replica_count_request,
        wire::configuration_get_max_replica_count_response>(
      TaskCode::kGetMaxReplicaCount, [this](auto call) {
        const MetaCore& core = leadership_->core();
        const Table* table = core.find_table(call.argument.app_name);
        call.response.err =
            table == nullptr ? Errc::kAppNotExist : core.check_replica_count(*table);
        if (call.response.err.ok()) {
          call.response.max_replica_count = table->info.max_replica_count;
        } else {
          call.response.hint_message =
              table == nullptr ? fmt::format("there is no table {}", call.argument.app_name)
                               : "the replica counts of the partitions differ from the table's";
        }
        call.finish();
      });
  serve<wire::configuration_set_max_replica_count_request,
        wire::configuration_set_max_replica_count_response>(
      TaskCode::kSetMaxReplicaCount, [this](auto call) {
        SetReplicaCount request{call.argument.app_name, call.argument.max_replica_count};
        std::string what =
            fmt::format("replica count of table {} = {}", request.name, request.count);
        administer(std::move(call), std::move(request), std::move(what),
                   [](auto& c, const AdminReply& reply) {
                     c.response.old_max_replica_count = static_cast<int32_t>(reply.value);
                     c.response.hint_message = reply.hint;
                   });
      });
  serve<wire::configuration_get_atomic_idempotent_request,
        wire::configuration_get_atomic_idempotent_response>(
      TaskCode::kGetAtomicIdempotent, [this](auto call) {
        const Table* table = leadership_->core().find_table(call.argument.app_name);
        call.response.err = table == nullptr ? Errc::kAppNotExist : Errc::kOk;
        if (table != nullptr) {
          call.response.atomic_idempotent = table->info.atomic_idempotent;
        } else {
          call.response.hint_message = fmt::format("there is no table {}", call.argument.app_name);
        }
        call.finish();
      });
  serve<wire::configuration_set_atomic_idempotent_request,
        wire::configuration_set_atomic_idempotent_response>(
      TaskCode::kSetAtomicIdempotent, [this](auto call) {
        SetAtomicIdempotent request{call.argument.app_name, call.argument.atomic_idempotent};
        std::string what =
            fmt::format("atomic_idempotent of table {} = {}", request.name, request.value);
        administer(std::move(call), std::move(request), std::move(what),
                   [](auto& c, const AdminReply& reply) {
                     c.response.old_atomic_idempotent = reply.value != 0;
                     c.response.hint_message = reply.hint;
                   });
      });
  serve<wire::start_app_manual_compact_request, wire::start_app_manual_compact_response>(
      TaskCode::kStartManualCompact, [this](auto call) {
        const auto& a = call.argument;
        StartManualCompact request{a.app_name, a.__isset.trigger_time ? a.trigger_time : 0,
                                   a.__isset.target_level ? a.target_level : -1,
                                   a.__isset.bottommost && a.bottommost,
                                   a.__isset.max_running_count ? a.max_running_count : 0};
        std::string what = fmt::format("compact table {}", request.name);
        administer(std::move(call), std::move(request), std::move(what),
                   [](auto& c, const AdminReply& reply) { c.response.hint_msg = reply.hint; });
      });
  serve<wire::query_app_manual_compact_request, wire::query_app_manual_compact_response>(
      TaskCode::kQueryManualCompactStatus, [this](auto call) {
        const MetaCore& core = leadership_->core();
        const Table* table = core.find_table(call.argument.app_name);
        if (table == nullptr) {
          call.response.err = Errc::kAppNotExist;
          call.response.hint_msg = fmt::format("there is no table {}", call.argument.app_name);
        } else if (table->info.status != TableStatus::kAvailable) {
          call.response.err = Errc::kAppDropped;
          call.response.hint_msg = "the table is not available";
        } else if (int progress = core.compaction_progress(*table); progress < 0) {
          call.response.err = Errc::kInvalidState;
          call.response.hint_msg = "no compaction was started or reported";
        } else {
          call.response.err = Errc::kOk;
          call.response.__set_progress(progress);
        }
        call.finish();
      });
}

}  // namespace markab::meta
