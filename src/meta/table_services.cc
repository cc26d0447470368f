// RPCs about tables: query_cfg, create, drop, recall, rename, list (03 §4.1 to §4.4).

#include <algorithm>

#include "idl/meta_admin_types.h"
#include "meta/meta_server.h"
#include "meta/wire_values.h"

namespace markab::meta {

using rpc::TaskCode;

namespace {

void fill_query(const MetaCore& core, const wire::query_cfg_request& request, bool host_ports,
                wire::query_cfg_response& response) {
  const Table* table = core.find_table(request.app_name);
  if (table == nullptr) {
    response.err = Errc::kObjectNotFound;  // clients depend on this name
    return;
  }
  switch (table->info.status) {
    case TableStatus::kAvailable:
      break;
    case TableStatus::kCreating:
    case TableStatus::kRecalling:
      response.err = Errc::kBusyCreating;
      return;
    case TableStatus::kDropping:
      response.err = Errc::kBusyDropping;
      return;
    default:
      response.err = Errc::kUnknown;
      return;
  }
  response.err = Errc::kOk;
  response.app_id = table->info.id;
  response.partition_count = table->info.partition_count;
  // The Python client takes the first reply with this set, whatever its err: only now.
  response.is_stateful = true;
  for (int32_t index : request.partition_indices) {
    if (index < 0 || index >= table->info.partition_count) continue;
    response.partitions.push_back(
        to_wire(table->partitions[static_cast<size_t>(index)].config, host_ports));
  }
  if (!response.partitions.empty()) return;
  response.partitions.reserve(table->partitions.size());
  for (const Partition& p : table->partitions)
    response.partitions.push_back(to_wire(p.config, host_ports));
}

bool name_matches(const std::string& name, const std::string& pattern,
                  wire::pattern_match_type::type type) {
  using M = wire::pattern_match_type;
  switch (type) {
    case M::PMT_MATCH_ALL:
      return true;
    case M::PMT_MATCH_EXACT:
      return name == pattern;
    case M::PMT_MATCH_ANYWHERE:
      return name.find(pattern) != std::string::npos;
    case M::PMT_MATCH_PREFIX:
      return name.compare(0, pattern.size(), pattern) == 0;
    case M::PMT_MATCH_POSTFIX:
      return name.size() >= pattern.size() &&
             name.compare(name.size() - pattern.size(), pattern.size(), pattern) == 0;
    default:
      return false;
  }
}

void fill_list(const MetaCore& core, const wire::configuration_list_apps_request& request,
               wire::configuration_list_apps_response& response) {
  using M = wire::pattern_match_type;
  response.__set_hint_message("");
  bool filter = request.__isset.app_name_pattern && request.__isset.match_type;
  bool known = request.match_type >= M::PMT_MATCH_ALL && request.match_type <= M::PMT_MATCH_POSTFIX;
  if (filter && !known) {
    response.err = Errc::kNotImplemented;
    response.__set_hint_message("match by all, exact, anywhere, prefix or postfix");
    return;
  }
  response.err = Errc::kOk;
  for (const auto& [id, table] : core.tables()) {
    bool wanted = request.status == wire::app_status::AS_INVALID ||
                  static_cast<int32_t>(request.status) == static_cast<int32_t>(table.info.status);
    if (!wanted ||
        (filter && !name_matches(table.info.name, request.app_name_pattern, request.match_type)))
      continue;
    response.infos.push_back(to_wire(table.info));
  }
}

CreateTable create_from(const wire::configuration_create_app_request& r) {
  return CreateTable{r.app_name,
                     r.options.partition_count,
                     r.options.replica_count,
                     r.options.success_if_exist,
                     r.options.app_type,
                     r.options.is_stateful,
                     r.options.envs,
                     r.options.__isset.atomic_idempotent && r.options.atomic_idempotent};
}

}  // namespace

void MetaServer::register_table_services() {
  serve<wire::query_cfg_request, wire::query_cfg_response>(
      TaskCode::kQueryPartitionConfigByIndex, [this](auto call) {
        fill_query(leadership_->core(), call.argument, call.request.wants_host_port(),
                   call.response);
        call.finish();
      });
  serve<wire::configuration_list_apps_request, wire::configuration_list_apps_response>(
      TaskCode::kListApps, [this](auto call) {
        fill_list(leadership_->core(), call.argument, call.response);
        call.finish();
      });
  serve<wire::configuration_create_app_request, wire::configuration_create_app_response>(
      TaskCode::kCreateApp, [this](auto call) {
        CreateTable request = create_from(call.argument);
        std::string what = fmt::format("create table {} of {} partitions x {}{}", request.name,
                                       request.partition_count, request.replica_count,
                                       request.success_if_exist ? ", unless it exists" : "");
        administer(std::move(call), std::move(request), std::move(what),
                   [](auto& c, const AdminReply& reply) {
                     c.response.appid = static_cast<int32_t>(reply.value);
                   });
      });
  serve<wire::configuration_drop_app_request, wire::configuration_drop_app_response>(
      TaskCode::kDropApp, [this](auto call) {
        const auto& options = call.argument.options;
        DropTable request{call.argument.app_name, options.success_if_not_exist,
                          options.__isset.reserve_seconds ? options.reserve_seconds : 0};
        std::string what =
            fmt::format("drop table {}, kept for {} s", request.name, request.reserve_seconds);
        administer(std::move(call), std::move(request), std::move(what),
                   [](auto&, const AdminReply&) {});
      });
  serve<wire::configuration_recall_app_request, wire::configuration_recall_app_response>(
      TaskCode::kRecallApp, [this](auto call) {
        RecallTable request{call.argument.app_id, call.argument.new_app_name};
        std::string what = fmt::format("recall table {} as '{}'", request.id, request.new_name);
        administer(std::move(call), std::move(request), std::move(what),
                   [](auto& c, const AdminReply& reply) {
                     if (reply.info) c.response.info = to_wire(*reply.info);
                   });
      });
  serve<wire::configuration_rename_app_request, wire::configuration_rename_app_response>(
      TaskCode::kRenameApp, [this](auto call) {
        RenameTable request{call.argument.old_app_name, call.argument.new_app_name};
        std::string what = fmt::format("rename table {} to {}", request.old_name, request.new_name);
        administer(std::move(call), std::move(request), std::move(what),
                   [](auto& c, const AdminReply& reply) { c.response.hint_message = reply.hint; });
      });
}

}  // namespace markab::meta
