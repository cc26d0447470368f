// RPCs of replica servers and of the witnesses of their ends: beacons (03 §8), config sync (03
// §11), membership changes (03 §10.1), death reports and leaving (DESIGN §1.5).

#include "base/log.h"
#include "idl/fd_types.h"
#include "idl/markab_types.h"
#include "meta/meta_server.h"
#include "meta/wire_values.h"

namespace markab::meta {

using rpc::TaskCode;

void MetaServer::on_beacon(rpc::Request request) {
  if (!permitted(request)) return request.reply_error(Errc::kAclDeny);
  wire::beacon_msg beacon;
  if (Status s = rpc::decode_args(request.args, beacon); !s.ok())
    return request.reply_error(Errc::kInvalidData);
  HostPort node = node_from(beacon.from_node, beacon.hp_from_node);
  if (!node) return request.reply_error(Errc::kInvalidParameters);
  wire::beacon_ack ack;
  ack.time = beacon.time;
  ack.this_node = beacon.to_node;
  ack.primary_node = standing_.leader;
  ack.is_master = leadership_ != nullptr;
  ack.allowed = true;
  if (request.wants_host_port()) {
    ack.__set_hp_this_node(beacon.to_node.node);
    ack.__set_hp_primary_node(standing_.leader);
  }
  if (leadership_ != nullptr) {
    int64_t start_time = beacon.__isset.start_time ? beacon.start_time : 0;
    auto verdict = leadership_->event([&](MetaCore& core, Moment t, Actions& out) {
      return core.on_beacon(node, start_time, t, out);
    });
    if (verdict == MetaCore::BeaconVerdict::kSilence) return;
    ack.allowed = verdict != MetaCore::BeaconVerdict::kNotAllowed;
    ack.__set_leadership(leadership_->id());
  }
  request.reply(rpc::encode_result(ack));
}

// A witness of the leader's own end can only turn to the others: the one that is asked takes the
// election away from the dead.
bool MetaServer::took_leaders_death(rpc::Request& request) {
  if (leadership_ != nullptr || stopped_) return false;
  wire::report_death_request message;
  if (Status s = rpc::decode_args(request.args, message); !s.ok()) return false;
  if (!standing_.leader || message.node.node != standing_.leader) return false;
  MARKAB_INFO("{} reports the death of the leading meta server {}: {}", request.peer(),
              standing_.leader, message.reason);
  auto held = std::make_shared<rpc::Request>(std::move(request));
  seams_.election.report_dead(standing_.leader, [held](const Status& status) {
    wire::report_death_response response;
    response.err = status.code();
    held->reply(rpc::encode_result(response));
  });
  return true;
}

namespace {

void fill_sync(const MetaCore& core, const SyncReply& reply, HostPort node, bool host_ports,
               wire::configuration_query_by_node_response& response) {
  response.err = reply.err;
  auto entries = [&](const std::vector<Gpid>& pids) {
    std::vector<wire::configuration_update_request> out;
    for (Gpid pid : pids) {
      wire::configuration_update_request entry;
      entry.info = to_wire(core.find_table(pid.app_id)->info);
      entry.config = to_wire(core.find_partition(pid)->config, host_ports);
      entry.host_node = node;
      out.push_back(std::move(entry));
    }
    return out;
  };
  response.partitions = entries(reply.partitions);
  if (!reply.elsewhere.empty()) response.__set_elsewhere(entries(reply.elsewhere));
  std::vector<wire::replica_info> garbage;
  for (const ReplicaReport& report : reply.garbage) garbage.push_back(to_wire(report));
  response.__set_gc_replicas(std::move(garbage));
}

}  // namespace

void MetaServer::register_replica_services() {
  on(TaskCode::kFdPing, [this](rpc::Request request) { on_beacon(std::move(request)); });

  serve<wire::configuration_query_by_node_request, wire::configuration_query_by_node_response>(
      TaskCode::kConfigSync, [this](auto call) {
        HostPort node = node_from(call.argument.node, call.argument.hp_node);
        std::vector<ReplicaReport> reports;
        for (const auto& info : call.argument.stored_replicas) reports.push_back(from_wire(info));
        SyncReply reply = leadership_->event([&](MetaCore& core, Moment t, Actions& out) {
          return core.on_config_sync(node, reports, t, out);
        });
        fill_sync(leadership_->core(), reply, node, call.request.wants_host_port(), call.response);
        call.finish();
      });

  serve<wire::configuration_update_request, wire::configuration_update_response>(
      TaskCode::kUpdatePartitionConfiguration, [this](auto call) {
        UpdateRequest request = from_wire(call.argument);
        auto held = std::make_shared<decltype(call)>(std::move(call));
        uint64_t token = leadership_->await_update([held](Errc err, const PartitionConfig& config) {
          held->response.err = err;
          held->response.config = to_wire(config, held->request.wants_host_port());
          held->finish();
        });
        leadership_->event([&](MetaCore& core, Moment t, Actions& out) {
          core.on_update(token, request, t, out);
        });
      });

  serve_unless<wire::report_death_request, wire::report_death_response>(
      TaskCode::kReportDeath,
      [this](rpc::Request& request) { return permitted(request) && took_leaders_death(request); },
      [this](auto call) {
        const auto& a = call.argument;
        MARKAB_INFO("{} reports the death of {} (started {}): {}", call.request.peer(), a.node.node,
                    a.start_time, a.reason);
        leadership_->event([&](MetaCore& core, Moment t, Actions& out) {
          core.on_report_death(a.node, a.start_time, a.reason, t, out);
        });
        call.response.err = Errc::kOk;
        call.finish();
      });

  serve<wire::leave_request, wire::leave_response>(TaskCode::kLeave, [this](auto call) {
    HostPort node = call.argument.node;
    int64_t start_time = call.argument.start_time;
    auto held = std::make_shared<decltype(call)>(std::move(call));
    uint64_t token = leadership_->await([held](const AdminReply& reply) {
      held->response.err = reply.err;
      held->response.remaining_primaries = static_cast<int32_t>(reply.value);
      held->finish();
    });
    leadership_->event([&](MetaCore& core, Moment t, Actions& out) {
      core.on_leave(token, node, start_time, t, out);
    });
  });
}

}  // namespace markab::meta
