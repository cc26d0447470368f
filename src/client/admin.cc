#include "markab/admin.h"

#include "client/errors.h"
#include "client/flows.h"
#include "client/table_impl.h"
#include "idl/command_types.h"
#include "idl/command_types.tcc"
#include "idl/markab_types.h"
#include "idl/markab_types.tcc"
#include "idl/meta_admin_types.h"
#include "idl/meta_admin_types.tcc"
#include "idl/partition_types.h"
#include "idl/partition_types.tcc"
#include "idl/replica_admin_types.h"
#include "idl/replica_admin_types.tcc"
#include "rpc/codec.h"

namespace markab {

using client::Answer;
using client::MetaRequest;
using client::wait_for;
using rpc::TaskCode;

namespace {

// The sentence that some answers carry beside their error code.
template <typename Response>
std::string hint_of(const Response& response) {
  if constexpr (requires { response.hint_message; }) return response.hint_message;
  if constexpr (requires { response.hint_msg; }) return response.hint_msg;
  return {};
}

Error cannot_read(TaskCode code, const Answer& answer, const Status& status) {
  return {ErrorCode::kCorruption,
          fmt::format("the answer of {} to {} cannot be read: {}", answer.origin.server(),
                      rpc::task_name(code), status.message())};
}

template <typename Response>
Outcome<Response> read_meta(TaskCode code, Answer answer) {
  Response response;
  bool has_body = !answer.result.empty();
  Status status = has_body ? rpc::decode_result(answer.result, response) : Status();
  if (answer.error) {
    std::string hint = has_body && status.ok() ? hint_of(response) : "";
    if (!hint.empty()) answer.error.message += ": " + hint;
    return std::move(answer.error);
  }
  if (!status.ok()) return cannot_read(code, answer, status);
  // The strings are the response's own; only blobs would point into the block, and no meta answer
  // has one.
  Outcome<Response> outcome(std::move(response));
  outcome.origin = answer.origin;
  return outcome;
}

// Asks the metas and waits.
template <typename Response, typename Request>
Outcome<Response> ask_meta(client::Front& front, TaskCode code, const Request& request,
                           bool only_asks, Timeout timeout) {
  return wait_for<Response>(front, [&](Done<Response> done) {
    auto& lane = front.lane();
    MetaRequest question{code, rpc::encode_args(request),
                         lane.shard->now() + front.timeout_or(timeout, {}), only_asks};
    lane.shard->post(
        [&lane, code, question = std::move(question), done = std::move(done)]() mutable {
          lane.core->call_meta(std::move(question), [code, done = std::move(done)](Answer answer) {
            done(read_meta<Response>(code, std::move(answer)));
          });
        });
  });
}

template <typename Response>
Outcome<Nothing> nothing_of(const Outcome<Response>& response) {
  if (!response) return response.error();
  return Nothing{};
}

TableInfo to_public(wire::app_info info) {
  TableInfo table;
  table.app_id = info.app_id;
  table.name = std::move(info.app_name);
  table.type = std::move(info.app_type);
  table.status = static_cast<TableStatus>(info.status);
  table.partition_count = info.partition_count;
  table.replica_count = info.max_replica_count;
  table.is_stateful = info.is_stateful;
  table.envs = std::move(info.envs);
  table.create_second = info.create_second;
  table.drop_second = info.drop_second;
  table.expire_second = info.expire_second;
  table.atomic_idempotent = info.__isset.atomic_idempotent && info.atomic_idempotent;
  table.duplicating = info.__isset.duplicating && info.duplicating;
  return table;
}

// Either half of a node's name may be missing (spec 01 §7.3); a host that is no dotted IPv4 is
// shown as it is.
std::string name_of(HostPort node, const wire::host_port* host_port) {
  if (host_port != nullptr && *host_port)
    return fmt::format("{}:{}", host_port->host, host_port->port);
  return node ? node.to_string() : "";
}

std::vector<std::string> names_of(const std::vector<wire::rpc_address>& nodes, bool has_hosts,
                                  const std::vector<wire::host_port>& hosts) {
  std::vector<std::string> names;
  bool use_hosts = has_hosts && (nodes.empty() || hosts.size() == nodes.size());
  for (size_t i = 0; i < (use_hosts ? hosts.size() : nodes.size()); ++i) {
    names.push_back(
        name_of(i < nodes.size() ? nodes[i].node : HostPort{}, use_hosts ? &hosts[i] : nullptr));
  }
  return names;
}

PartitionInfo to_public(const wire::partition_configuration& config) {
  PartitionInfo info;
  info.index = Gpid(config.pid).partition_index;
  info.ballot = config.ballot;
  info.replica_count = config.max_replica_count;
  info.primary = name_of(config.primary, config.__isset.hp_primary ? &config.hp_primary : nullptr);
  info.secondaries =
      names_of(config.secondaries, config.__isset.hp_secondaries, config.hp_secondaries);
  info.last_drops = names_of(config.last_drops, config.__isset.hp_last_drops, config.hp_last_drops);
  info.last_committed_decree = config.last_committed_decree;
  return info;
}

Outcome<HostPort> parse_node(std::string_view text) {
  auto node = HostPort::parse(text);
  if (node) return *node;
  return Error{ErrorCode::kInvalidArgument,
               fmt::format("'{}' is not a node's address; expected is IPv4:port", text)};
}

}  // namespace

// --- tables ---

Outcome<int32_t> Admin::create_table(std::string_view name, const CreateOptions& options,
                                     Timeout timeout) {
  wire::configuration_create_app_request request;
  request.app_name = name;
  request.options.partition_count = options.partition_count;
  request.options.replica_count = options.replica_count;
  request.options.success_if_exist = options.ok_if_exists;
  request.options.app_type = "pegasus";
  request.options.is_stateful = true;
  request.options.envs = options.envs;
  request.options.__set_atomic_idempotent(options.atomic_idempotent);
  auto response = ask_meta<wire::configuration_create_app_response>(
      *client_.impl_->front, TaskCode::kCreateApp, request, false, timeout);
  if (!response) return response.error();
  return response->appid;
}

Outcome<Nothing> Admin::drop_table(std::string_view name, Seconds reserve, Timeout timeout) {
  wire::configuration_drop_app_request request;
  request.app_name = name;
  request.options.success_if_not_exist = false;
  request.options.__set_reserve_seconds(reserve.count());
  return nothing_of(ask_meta<wire::configuration_drop_app_response>(
      *client_.impl_->front, TaskCode::kDropApp, request, false, timeout));
}

Outcome<TableInfo> Admin::recall_table(int32_t app_id, std::string_view new_name, Timeout timeout) {
  wire::configuration_recall_app_request request;
  request.app_id = app_id;
  request.new_app_name = new_name;
  auto response = ask_meta<wire::configuration_recall_app_response>(
      *client_.impl_->front, TaskCode::kRecallApp, request, false, timeout);
  if (!response) return response.error();
  return to_public(std::move(response->info));
}

Outcome<Nothing> Admin::rename_table(std::string_view old_name, std::string_view new_name,
                                     Timeout timeout) {
  wire::configuration_rename_app_request request;
  request.old_app_name = old_name;
  request.new_app_name = new_name;
  return nothing_of(ask_meta<wire::configuration_rename_app_response>(
      *client_.impl_->front, TaskCode::kRenameApp, request, false, timeout));
}

Outcome<std::vector<TableInfo>> Admin::list_tables(TableStatus status, Timeout timeout) {
  wire::configuration_list_apps_request request;
  request.status = static_cast<wire::app_status::type>(status);
  auto response = ask_meta<wire::configuration_list_apps_response>(
      *client_.impl_->front, TaskCode::kListApps, request, true, timeout);
  if (!response) return response.error();
  std::vector<TableInfo> tables;
  for (auto& info : response->infos) tables.push_back(to_public(std::move(info)));
  return tables;
}

Outcome<TablePartitions> Admin::partitions(std::string_view table, Timeout timeout) {
  wire::query_cfg_request request;
  request.app_name = table;
  auto response = ask_meta<wire::query_cfg_response>(
      *client_.impl_->front, TaskCode::kQueryPartitionConfigByIndex, request, true, timeout);
  if (!response) {
    Error error = response.error();
    // The one refusal that means "no such table" here and something else elsewhere (spec 03 §4.1).
    if (error.message.find("ERR_OBJECT_NOT_FOUND") != std::string::npos) {
      error = {ErrorCode::kTableNotFound,
               fmt::format("there is no table {}; `ls` shows what there is", table)};
    }
    return error;
  }
  TablePartitions all;
  all.app_id = response->app_id;
  for (const auto& config : response->partitions) all.partitions.push_back(to_public(config));
  return all;
}

Outcome<Readiness> Admin::wait_writable(std::string_view table, Timeout timeout,
                                        const std::function<void(const Readiness&)>& progress) {
  auto& front = *client_.impl_->front;
  return wait_for<Readiness>(front, [&](Done<Readiness> done) {
    auto& lane = front.lane();
    Instant deadline = lane.shard->now() + front.timeout_or(timeout, {});
    lane.shard->post(
        [&lane, deadline, name = std::string(table), progress, done = std::move(done)]() mutable {
          auto* known = lane.core->table(name);
          if (known == nullptr) return done(Table::Impl::too_many_tables());
          client::wait_writable(*lane.core, *known, deadline, progress, std::move(done));
        });
  });
}

// --- environments and counts ---

namespace {

Outcome<Nothing> update_envs(client::Front& front,
                             const wire::configuration_update_app_env_request& request,
                             Timeout timeout) {
  return nothing_of(ask_meta<wire::configuration_update_app_env_response>(
      front, TaskCode::kUpdateAppEnv, request, false, timeout));
}

}  // namespace

Outcome<Nothing> Admin::set_envs(std::string_view table,
                                 const std::map<std::string, std::string>& envs, Timeout timeout) {
  wire::configuration_update_app_env_request request;
  request.app_name = table;
  request.op = wire::app_env_operation::APP_ENV_OP_SET;
  std::vector<std::string> keys;
  std::vector<std::string> values;
  for (const auto& [key, value] : envs) {
    keys.push_back(key);
    values.push_back(value);
  }
  request.__set_keys(keys);
  request.__set_values(values);
  return update_envs(*client_.impl_->front, request, timeout);
}

Outcome<Nothing> Admin::del_envs(std::string_view table, const std::vector<std::string>& names,
                                 Timeout timeout) {
  wire::configuration_update_app_env_request request;
  request.app_name = table;
  request.op = wire::app_env_operation::APP_ENV_OP_DEL;
  request.__set_keys(names);
  return update_envs(*client_.impl_->front, request, timeout);
}

Outcome<Nothing> Admin::clear_envs(std::string_view table, std::string_view prefix,
                                   Timeout timeout) {
  wire::configuration_update_app_env_request request;
  request.app_name = table;
  request.op = wire::app_env_operation::APP_ENV_OP_CLEAR;
  request.__set_clear_prefix(std::string(prefix));
  return update_envs(*client_.impl_->front, request, timeout);
}

Outcome<int32_t> Admin::replica_count(std::string_view table, Timeout timeout) {
  wire::configuration_get_max_replica_count_request request;
  request.app_name = table;
  auto response = ask_meta<wire::configuration_get_max_replica_count_response>(
      *client_.impl_->front, TaskCode::kGetMaxReplicaCount, request, true, timeout);
  if (!response) return response.error();
  return response->max_replica_count;
}

Outcome<int32_t> Admin::set_replica_count(std::string_view table, int32_t count, Timeout timeout) {
  wire::configuration_set_max_replica_count_request request;
  request.app_name = table;
  request.max_replica_count = count;
  auto response = ask_meta<wire::configuration_set_max_replica_count_response>(
      *client_.impl_->front, TaskCode::kSetMaxReplicaCount, request, false, timeout);
  if (!response) return response.error();
  return response->old_max_replica_count;
}

// --- manual compaction ---

Outcome<Nothing> Admin::start_manual_compaction(std::string_view table,
                                                const CompactionOptions& options, Timeout timeout) {
  wire::start_app_manual_compact_request request;
  request.app_name = table;
  if (options.trigger_second > 0) request.__set_trigger_time(options.trigger_second);
  request.__set_target_level(options.target_level);
  request.__set_bottommost(options.force_bottommost);
  if (options.max_running > 0) request.__set_max_running_count(options.max_running);
  return nothing_of(ask_meta<wire::start_app_manual_compact_response>(
      *client_.impl_->front, TaskCode::kStartManualCompact, request, false, timeout));
}

Outcome<int32_t> Admin::manual_compaction_progress(std::string_view table, Timeout timeout) {
  wire::query_app_manual_compact_request request;
  request.app_name = table;
  auto response = ask_meta<wire::query_app_manual_compact_response>(
      *client_.impl_->front, TaskCode::kQueryManualCompactStatus, request, true, timeout);
  if (!response) return response.error();
  return response->progress;
}

// --- the cluster ---

Outcome<std::vector<NodeInfo>> Admin::list_nodes(Timeout timeout) {
  wire::configuration_list_nodes_request request;
  auto response = ask_meta<wire::configuration_list_nodes_response>(
      *client_.impl_->front, TaskCode::kListNodes, request, true, timeout);
  if (!response) return response.error();
  std::vector<NodeInfo> nodes;
  for (const auto& info : response->infos) {
    nodes.push_back({name_of(info.node, info.__isset.hp_node ? &info.hp_node : nullptr),
                     info.status == wire::node_status::NS_ALIVE});
  }
  return nodes;
}

Outcome<std::vector<std::pair<std::string, std::string>>> Admin::cluster_info(Timeout timeout) {
  auto response = ask_meta<wire::configuration_cluster_info_response>(
      *client_.impl_->front, TaskCode::kClusterInfo, wire::configuration_cluster_info_request{},
      true, timeout);
  if (!response) return response.error();
  std::vector<std::pair<std::string, std::string>> pairs;
  for (size_t i = 0; i < std::min(response->keys.size(), response->values.size()); ++i) {
    pairs.emplace_back(response->keys[i], response->values[i]);
  }
  return pairs;
}

Outcome<MetaLevel> Admin::meta_level(MetaLevel level, Timeout timeout) {
  wire::configuration_meta_control_request request;
  request.level = static_cast<wire::meta_function_level::type>(level);
  auto response = ask_meta<wire::configuration_meta_control_response>(
      *client_.impl_->front, TaskCode::kControlMeta, request, level == MetaLevel::kUnchanged,
      timeout);
  if (!response) return response.error();
  return static_cast<MetaLevel>(response->old_level);
}

Outcome<Nothing> Admin::propose(int32_t app_id, int32_t partition,
                                const std::vector<ProposalStep>& steps, bool force,
                                Timeout timeout) {
  wire::configuration_balancer_request request;
  request.gpid = Gpid{app_id, partition};
  request.__set_force(force);
  for (const auto& step : steps) {
    wire::configuration_proposal_action action;
    action.type = static_cast<wire::config_type::type>(step.type);
    for (auto [text, address, hosts] : {std::tuple{&step.target, &action.target, true},
                                        std::tuple{&step.node, &action.node, false}}) {
      if (text->empty()) continue;
      auto node = parse_node(*text);
      if (!node) return node.error();
      *address = *node;
      if (hosts) {
        action.__set_hp_target(*node);
      } else {
        action.__set_hp_node(*node);
      }
    }
    request.action_list.push_back(std::move(action));
  }
  return nothing_of(ask_meta<wire::configuration_balancer_response>(
      *client_.impl_->front, TaskCode::kProposeBalancer, request, false, timeout));
}

Outcome<Nothing> Admin::balance(int32_t app_id, int32_t partition, std::string_view kind,
                                std::string_view from, std::string_view to, Timeout timeout) {
  using Type = wire::config_type;
  std::string a(from);
  std::string b(to);
  // The sequences of spec 03 §4.5.
  std::vector<ProposalStep> steps;
  if (kind == "move_pri") {
    steps = {{a, a, Type::CT_DOWNGRADE_TO_SECONDARY}, {b, b, Type::CT_UPGRADE_TO_PRIMARY}};
  } else if (kind == "copy_pri") {
    steps = {{a, b, Type::CT_ADD_SECONDARY_FOR_LB},
             {a, a, Type::CT_DOWNGRADE_TO_SECONDARY},
             {b, b, Type::CT_UPGRADE_TO_PRIMARY}};
  } else if (kind == "copy_sec") {
    steps = {{"", b, Type::CT_ADD_SECONDARY_FOR_LB}, {"", a, Type::CT_DOWNGRADE_TO_INACTIVE}};
  } else {
    return Error{
        ErrorCode::kInvalidArgument,
        fmt::format("'{}' is no kind of balance; allowed are move_pri, copy_pri and copy_sec",
                    kind)};
  }
  return propose(app_id, partition, steps, false, timeout);
}

namespace {

// Asks one daemon and waits. `read` makes the outcome of what was decoded.
template <typename Response, typename Request, typename Read>
Outcome<std::string> ask_node(client::Front& front, std::string_view node, TaskCode code,
                              const Request& request, Timeout timeout, Read read) {
  auto address = parse_node(node);
  if (!address) return address.error();
  return wait_for<std::string>(front, [&](Done<std::string> done) {
    auto& lane = front.lane();
    Instant deadline = lane.shard->now() + front.timeout_or(timeout, {});
    lane.shard->post([&lane, node = *address, code, args = rpc::encode_args(request), deadline,
                      read, done = std::move(done)] {
      lane.core->call_node(node, code, args, deadline, [code, read, done](Answer answer) {
        if (answer.error) return done(std::move(answer.error));
        Response response;
        Status status = rpc::decode_result(answer.result, response);
        if (!status.ok()) return done(cannot_read(code, answer, status));
        done(read(std::move(response)));
      });
    });
  });
}

}  // namespace

Outcome<std::string> Admin::remote_command(std::string_view node, std::string_view command,
                                           const std::vector<std::string>& arguments,
                                           Timeout timeout) {
  wire::command request;
  request.cmd = command;
  request.arguments = arguments;
  return ask_node<std::string>(*client_.impl_->front, node, TaskCode::kCliCall, request, timeout,
                               [](std::string text) -> Outcome<std::string> { return text; });
}

Outcome<std::string> Admin::detect_hotkey(std::string_view node, int32_t app_id, int32_t partition,
                                          HotkeyKind kind, HotkeyAction action, Timeout timeout) {
  wire::detect_hotkey_request request;
  request.type = static_cast<wire::hotkey_type::type>(kind);
  request.action = static_cast<wire::detect_action::type>(action);
  request.pid = Gpid{app_id, partition};
  return ask_node<wire::detect_hotkey_response>(
      *client_.impl_->front, node, TaskCode::kDetectHotkey, request, timeout,
      [](wire::detect_hotkey_response response) -> Outcome<std::string> {
        Errc err = response.err.code;
        if (err == Errc::kOk) return std::move(response.hotkey_result);
        return Error{client::code_of(err),
                     fmt::format("{}: {}", errc_name(err), response.err_hint)};
      });
}

Outcome<Nothing> Admin::report_death(std::string_view node, int64_t start_ms,
                                     std::string_view reason, Timeout timeout) {
  auto address = parse_node(node);
  if (!address) return address.error();
  wire::report_death_request request;
  request.node = *address;
  request.start_time = start_ms;
  request.reason = reason;
  // Saying it twice does no harm, so it is repeated like a question.
  return nothing_of(ask_meta<wire::report_death_response>(
      *client_.impl_->front, TaskCode::kReportDeath, request, true, timeout));
}

}  // namespace markab
