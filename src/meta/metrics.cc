#include "meta/metrics.h"

namespace markab::meta {

constexpr Duration kRefresh = std::chrono::seconds(1);
// Partitions whose metrics a refresh makes at most: those of 100,000 take half a second, which a
// new leader has better uses for. A partition that changes before its turn gets them at once.
constexpr int kMadeAtOnce = 4096;

MetaMetrics::MetaMetrics(MetricRegistry& registry, std::shared_ptr<MetricEntity> server)
    : registry_(registry),
      server_(std::move(server)),
      alive_(server_->gauge(
          {"alive_replica_servers", "Servers", "Replica servers alive, as the leader sees it"})),
      unalive_(server_->gauge(
          {"unalive_replica_servers", "Servers", "Replica servers dead, as the leader sees it"})),
      disconnections_(server_->counter(
          {"replica_server_disconnections", "Disconnections", "Deaths of replica servers"})) {}

MetaMetrics::PartitionEntity MetaMetrics::make_partition(Gpid pid) {
  PartitionEntity p;
  p.entity = registry_.entity("partition", fmt::format("partition@{}", pid),
                              {{"table_id", std::to_string(pid.app_id)},
                               {"partition_id", std::to_string(pid.partition_index)}});
  auto counter = [&](const char* name, const char* unit, const char* what) -> Counter* {
    return &p.entity->counter({name, unit, what});
  };
  p.changes = counter("partition_configuration_changes", "Changes", "Changes of the membership");
  p.unwritable_changes =
      counter("unwritable_partition_changes", "Changes", "Times it became unwritable");
  p.writable_changes = counter("writable_partition_changes", "Changes", "Times it became writable");
  p.choose_failures =
      counter("choose_primary_failed_operations", "Operations", "Times no primary could be chosen");
  counter("greedy_move_primary_operations", "Operations",
          "Moves of its primary role by the balancer");
  counter("greedy_copy_primary_operations", "Operations", "Copies of its primary by the balancer");
  counter("greedy_copy_secondary_operations", "Operations",
          "Copies of a secondary by the balancer");
  p.entity->gauge(
      {"greedy_recent_balance_operations", "Operations", "Balancing operations of the last round"});
  return p;
}

MetaMetrics::TableEntity MetaMetrics::make_table(const TableInfo& info) {
  TableEntity t;
  t.entity = registry_.entity("table", fmt::format("table@{}", info.id),
                              {{"table_id", std::to_string(info.id)}});
  const char* names[kHealthClasses] = {"dead_partitions", "unreadable_partitions",
                                       "unwritable_partitions", "writable_ill_partitions",
                                       "healthy_partitions"};
  for (size_t i = 0; i < kHealthClasses; ++i) {
    t.health[i] = &t.entity->gauge({names[i], "Partitions", "Partitions in that class of health"});
  }
  t.partitions.resize(static_cast<size_t>(info.partition_count));
  return t;
}

void MetaMetrics::refresh_table(const MetaCore& core, const Table& table, int& to_make) {
  auto it = tables_.find(table.info.id);
  if (it == tables_.end()) it = tables_.emplace(table.info.id, make_table(table.info)).first;
  std::array<int64_t, kHealthClasses> count{};
  for (const Partition& p : table.partitions) {
    ++count[static_cast<size_t>(core.health(table.info, p.config))];
    PartitionEntity& e = it->second.partitions[static_cast<size_t>(p.config.pid.partition_index)];
    if (e.entity == nullptr) {
      if (to_make == 0) continue;
      --to_make;
      e = make_partition(p.config.pid);
    }
    e.choose_failures->add(p.choose_primary_failures - e.counted_failures);
    e.counted_failures = p.choose_primary_failures;
  }
  for (size_t i = 0; i < kHealthClasses; ++i) it->second.health[i]->set(count[i]);
}

void MetaMetrics::refresh(const MetaCore& core) {
  int alive = core.alive_nodes();
  alive_.set(alive);
  unalive_.set(static_cast<int64_t>(core.nodes().size()) - alive);
  int to_make = kMadeAtOnce;
  for (const auto& [id, table] : core.tables()) {
    if (table.info.status == TableStatus::kAvailable) {
      refresh_table(core, table, to_make);
    } else {
      tables_.erase(id);
    }
  }
}

void MetaMetrics::on_tick(const MetaCore& core, Instant now) {
  if (now - refreshed_ < kRefresh) return;
  refreshed_ = now;
  refresh(core);
}

void MetaMetrics::on_membership_changed(const MembershipChanged& change) {
  auto it = tables_.find(change.after.pid.app_id);
  if (it == tables_.end()) return;
  PartitionEntity& p = it->second.partitions[static_cast<size_t>(change.after.pid.partition_index)];
  if (p.entity == nullptr) p = make_partition(change.after.pid);
  p.changes->add();
  auto writable = [](Health h) { return h == Health::kWritableIll || h == Health::kHealthy; };
  if (writable(change.health_before) && !writable(change.health_after)) p.unwritable_changes->add();
  if (!writable(change.health_before) && writable(change.health_after)) p.writable_changes->add();
}

void MetaMetrics::on_node_changed(const MetaCore& core, const NodeChanged& change) {
  if (!change.alive) disconnections_.add();
  int alive = core.alive_nodes();
  alive_.set(alive);
  unalive_.set(static_cast<int64_t>(core.nodes().size()) - alive);
}

void MetaMetrics::forget_tables() {
  tables_.clear();
  alive_.set(0);
  unalive_.set(0);
}

}  // namespace markab::meta
