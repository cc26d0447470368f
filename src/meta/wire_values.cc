#include "meta/wire_values.h"

namespace markab::meta {

namespace {

std::vector<wire::rpc_address> addresses(const std::vector<HostPort>& nodes) {
  return std::vector<wire::rpc_address>(nodes.begin(), nodes.end());
}
std::vector<wire::host_port> names(const std::vector<HostPort>& nodes) {
  return std::vector<wire::host_port>(nodes.begin(), nodes.end());
}

std::vector<HostPort> nodes_from(const std::vector<wire::rpc_address>& addresses,
                                 const std::vector<wire::host_port>& names) {
  std::vector<HostPort> out;
  for (const auto& a : addresses) out.push_back(a.node);
  if (!out.empty()) return out;
  for (const auto& n : names) out.push_back(n.node());
  return out;
}

}  // namespace

wire::app_info to_wire(const TableInfo& i) {
  wire::app_info w;
  w.status = static_cast<wire::app_status::type>(i.status);
  w.app_type = i.type;
  w.app_name = i.name;
  w.app_id = i.id;
  w.partition_count = i.partition_count;
  w.envs = i.envs;
  w.is_stateful = i.stateful;
  w.max_replica_count = i.max_replica_count;
  w.expire_second = i.expire_second;
  w.create_second = i.create_second;
  w.drop_second = i.drop_second;
  w.__set_duplicating(i.duplicating);
  w.init_partition_count = i.init_partition_count;
  w.__set_is_bulk_loading(i.bulk_loading);
  w.__set_atomic_idempotent(i.atomic_idempotent);
  return w;
}

wire::partition_configuration to_wire(const PartitionConfig& c, bool host_ports) {
  wire::partition_configuration w;
  w.pid = c.pid;
  w.ballot = c.ballot;
  w.max_replica_count = c.max_replica_count;
  w.primary = c.primary;
  w.secondaries = addresses(c.secondaries);
  w.last_drops = addresses(c.last_drops);
  w.last_committed_decree = c.last_committed;
  w.partition_flags = c.flags;
  if (host_ports) {
    w.__set_hp_primary(c.primary);
    w.__set_hp_secondaries(names(c.secondaries));
    w.__set_hp_last_drops(names(c.last_drops));
  }
  return w;
}

wire::replica_info to_wire(const ReplicaReport& r) {
  wire::replica_info w;
  w.pid = r.pid;
  w.ballot = r.ballot;
  w.status = static_cast<wire::partition_status::type>(r.status);
  w.last_committed_decree = r.committed;
  w.last_prepared_decree = r.prepared;
  w.last_durable_decree = r.durable;
  w.app_type = "pegasus";
  w.disk_tag = r.disk_tag;
  return w;
}

PartitionConfig from_wire(const wire::partition_configuration& w) {
  PartitionConfig c;
  c.pid = w.pid;
  c.ballot = w.ballot;
  c.max_replica_count = w.max_replica_count;
  c.primary = node_from(w.primary, w.hp_primary);
  c.secondaries = nodes_from(w.secondaries, w.hp_secondaries);
  c.last_drops = nodes_from(w.last_drops, w.hp_last_drops);
  c.last_committed = w.last_committed_decree;
  c.flags = w.partition_flags;
  return c;
}

ReplicaReport from_wire(const wire::replica_info& w) {
  ReplicaReport r;
  r.pid = w.pid;
  r.ballot = w.ballot;
  r.status = static_cast<ReplicaStatus>(w.status);
  r.committed = w.last_committed_decree;
  r.prepared = w.last_prepared_decree;
  r.durable = w.last_durable_decree;
  r.disk_tag = w.disk_tag;
  if (w.__isset.manual_compact_status)
    r.compaction = static_cast<CompactionStatus>(w.manual_compact_status);
  return r;
}

UpdateRequest from_wire(const wire::configuration_update_request& w) {
  return UpdateRequest{from_wire(w.config), static_cast<ChangeType>(w.type),
                       node_from(w.node, w.hp_node)};
}

}  // namespace markab::meta
