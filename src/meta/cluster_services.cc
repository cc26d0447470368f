// RPCs about the cluster: nodes, cluster info, function level, proposals, diagnosis (03 §4.4, §4.5,
// §4.8); and the subsystems that this server does not have.

#include <cmath>

#include "idl/backup_types.h"
#include "idl/bulk_load_types.h"
#include "idl/duplication_types.h"
#include "idl/meta_admin_types.h"
#include "idl/split_types.h"
#include "meta/meta_server.h"
#include "meta/wire_values.h"

namespace markab::meta {

using rpc::TaskCode;

namespace {

std::string stddev(const MetaCore& core, bool primaries_only) {
  std::vector<double> counts;
  for (const auto& [address, node] : core.nodes()) {
    if (node.alive && node.total.replicas > 0) {
      counts.push_back(primaries_only ? node.total.primaries : node.total.replicas);
    }
  }
  if (counts.empty()) return "0.00";
  double mean = 0;
  for (double c : counts) mean += c / static_cast<double>(counts.size());
  double variance = 0;
  for (double c : counts) variance += (c - mean) * (c - mean) / static_cast<double>(counts.size());
  return fmt::format("{:.2f}", std::sqrt(variance));
}

BalanceRequest balance_from(const wire::configuration_balancer_request& r) {
  BalanceRequest out{r.gpid, {}, r.__isset.force && r.force};
  for (const auto& a : r.action_list) {
    out.actions.push_back({node_from(a.target, a.hp_target), node_from(a.node, a.hp_node),
                           static_cast<ChangeType>(a.type)});
  }
  return out;
}

wire::ddd_partition_info to_wire(const DddPartition& ddd, bool host_ports) {
  wire::ddd_partition_info out;
  out.config = to_wire(ddd.config, host_ports);
  out.reason = ddd.reason;
  for (const DddNode& d : ddd.dropped) {
    wire::ddd_node_info n;
    n.node = d.replica.node;
    n.drop_time_ms = d.replica.drop_time_ms;
    n.is_alive = d.alive;
    n.is_collected = d.replica.collected;
    bool known = d.alive && d.replica.collected;
    n.ballot = known ? d.replica.ballot : -1;
    n.last_committed_decree = known ? d.replica.committed : -1;
    n.last_prepared_decree = known ? d.replica.prepared : -1;
    if (host_ports) n.__set_hp_node(d.replica.node);
    out.dropped.push_back(std::move(n));
  }
  return out;
}

}  // namespace

std::vector<std::pair<std::string, std::string>> MetaServer::cluster_info() const {
  const MetaCore& core = leadership_->core();
  std::string metas;
  std::string leader = options_.self.to_string();
  for (const std::string& text : options_.server_list) {
    metas += (metas.empty() ? "" : ",") + text;
    // The C++ shell looks its leader up among the metas as it spells them.
    auto node = HostPort::parse(text);
    if (node && *node == options_.self) leader = text;
  }
  bool collected = core.all_collected();
  return {
      {"meta_servers", metas},
      {"primary_meta_server", leader},
      {"zookeeper_hosts", options_.zookeeper_hosts},
      {"zookeeper_root", options_.cluster_root},
      {"meta_function_level", std::string(level_name(core.effective_level()))},
      {"balance_operation_count",
       fmt::format(
           "{{\n  \"copy_pri\": 0,\n  \"copy_sec\": 0,\n  \"move_pri\": 0,\n  \"total\": {}\n}}",
           collected ? 0 : -1)},
      {"primary_replica_count_stddev", stddev(core, true)},
      {"total_replica_count_stddev", stddev(core, false)},
      {"cluster_name", options_.cluster_name}};
}

void MetaServer::register_cluster_services() {
  serve<wire::configuration_list_nodes_request, wire::configuration_list_nodes_response>(
      TaskCode::kListNodes, [this](auto call) {
        auto wanted = call.argument.status;
        for (const auto& [address, node] : leadership_->core().nodes()) {
          auto status = node.alive ? wire::node_status::NS_ALIVE : wire::node_status::NS_UNALIVE;
          if (wanted != wire::node_status::NS_INVALID && wanted != status) continue;
          wire::node_info info;
          info.status = status;
          info.node = address;
          if (call.request.wants_host_port()) info.__set_hp_node(address);
          call.response.infos.push_back(std::move(info));
        }
        call.response.err = Errc::kOk;
        call.finish();
      });
  serve<wire::configuration_cluster_info_request, wire::configuration_cluster_info_response>(
      TaskCode::kClusterInfo, [this](auto call) {
        for (auto& [key, value] : cluster_info()) {
          call.response.keys.push_back(key);
          call.response.values.push_back(value);
        }
        call.response.err = Errc::kOk;
        call.finish();
      });
  serve<wire::configuration_meta_control_request, wire::configuration_meta_control_response>(
      TaskCode::kControlMeta, [this](auto call) {
        MetaCore& core = leadership_->core();
        auto asked = call.argument.level;
        call.response.old_level =
            static_cast<wire::meta_function_level::type>(core.configured_level());
        call.response.err = Errc::kOk;
        bool known = asked == wire::meta_function_level::fl_stopped ||
                     asked == wire::meta_function_level::fl_blind ||
                     asked == wire::meta_function_level::fl_freezed ||
                     asked == wire::meta_function_level::fl_steady ||
                     asked == wire::meta_function_level::fl_lively;
        if (known) {
          auto level = static_cast<Level>(asked);
          leadership_->event(
              [level](MetaCore& c, Moment t, Actions& out) { c.set_level(level, t, out); });
          audit(call.request.user(), call.request.peer(),
                fmt::format("function level = {}", level_name(level)), Errc::kOk, "");
        } else if (asked != wire::meta_function_level::fl_invalid) {
          call.response.err = Errc::kInvalidParameters;
        }
        call.finish();
      });
  serve<wire::configuration_balancer_request, wire::configuration_balancer_response>(
      TaskCode::kProposeBalancer, [this](auto call) {
        BalanceRequest request = balance_from(call.argument);
        std::string what = fmt::format("propose {} actions for {}{}", request.actions.size(),
                                       request.pid, request.force ? " by force" : "");
        for (const PlannedAction& a : request.actions) {
          what += fmt::format(", {} target {} node {}", change_name(a.type), a.target, a.node);
        }
        auto user = call.request.user();
        HostPort peer = call.request.peer();
        uint64_t token =
            leadership_->await([held = std::make_shared<decltype(call)>(std::move(call)), what,
                                user, peer](AdminReply reply) {
              audit(user, peer, what, reply.err, reply.hint);
              held->response.err = reply.err;
              held->finish();
            });
        leadership_->event([&](MetaCore& core, Moment t, Actions& out) {
          core.on_balance(token, request, t, out);
        });
      });
  serve<wire::ddd_diagnose_request, wire::ddd_diagnose_response>(
      TaskCode::kDddDiagnose, [this](auto call) {
        const MetaCore& core = leadership_->core();
        Gpid pid = call.argument.pid;
        if (pid.app_id != -1 && core.find_table(pid.app_id) == nullptr) {
          call.response.err = Errc::kAppNotExist;
          return call.finish();
        }
        call.response.err = Errc::kOk;
        for (const DddPartition& ddd :
             core.diagnose(pid.app_id, pid.app_id == -1 ? -1 : pid.partition_index)) {
          call.response.partitions.push_back(to_wire(ddd, call.request.wants_host_port()));
        }
        call.finish();
      });
}

void MetaServer::register_inactive_services() {
  using namespace wire;  // NOLINT: a table of names
  serve_inactive<configuration_recovery_request, configuration_recovery_response>(
      TaskCode::kStartRecovery, Errc::kServiceAlreadyRunning);
  serve_inactive<duplication_add_request, duplication_add_response>(TaskCode::kAddDuplication);
  serve_inactive<duplication_modify_request, duplication_modify_response>(
      TaskCode::kModifyDuplication);
  serve_inactive<duplication_query_request, duplication_query_response>(
      TaskCode::kQueryDuplication);
  serve_inactive<duplication_list_request, duplication_list_response>(TaskCode::kListDuplication);
  serve_inactive<duplication_sync_request, duplication_sync_response>(TaskCode::kDuplicationSync);
  serve_inactive<start_backup_app_request, start_backup_app_response>(TaskCode::kStartBackupApp);
  serve_inactive<query_backup_status_request, query_backup_status_response>(
      TaskCode::kQueryBackupStatus);
  serve_inactive<configuration_restore_request, configuration_create_app_response>(
      TaskCode::kStartRestore);
  serve_inactive<configuration_query_restore_request, configuration_query_restore_response>(
      TaskCode::kQueryRestoreStatus);
  serve_inactive<configuration_report_restore_status_request,
                 configuration_report_restore_status_response>(TaskCode::kReportRestoreStatus);
  serve_inactive<configuration_add_backup_policy_request, configuration_add_backup_policy_response>(
      TaskCode::kAddBackupPolicy);
  serve_inactive<configuration_modify_backup_policy_request,
                 configuration_modify_backup_policy_response>(TaskCode::kModifyBackupPolicy);
  serve_inactive<configuration_query_backup_policy_request,
                 configuration_query_backup_policy_response>(TaskCode::kQueryBackupPolicy);
  serve_inactive<start_partition_split_request, start_partition_split_response>(
      TaskCode::kStartPartitionSplit);
  serve_inactive<query_split_request, query_split_response>(TaskCode::kQueryPartitionSplit);
  serve_inactive<control_split_request, control_split_response>(TaskCode::kControlPartitionSplit);
  serve_inactive<register_child_request, register_child_response>(TaskCode::kRegisterChildReplica);
  serve_inactive<notify_stop_split_request, notify_stop_split_response>(TaskCode::kNotifyStopSplit);
  serve_inactive<query_child_state_request, query_child_state_response>(TaskCode::kQueryChildState);
  serve_inactive<start_bulk_load_request, start_bulk_load_response>(TaskCode::kStartBulkLoad);
  serve_inactive<query_bulk_load_request, query_bulk_load_response>(TaskCode::kQueryBulkLoadStatus);
  serve_inactive<control_bulk_load_request, control_bulk_load_response>(TaskCode::kControlBulkLoad);
  serve_inactive<clear_bulk_load_state_request, clear_bulk_load_state_response>(
      TaskCode::kClearBulkLoad);
}

}  // namespace markab::meta
