#pragma once
// The meta server's metrics (03 §5.3, 07 §4.4): nodes, the health of tables, the changes of
// partitions. Entities of tables and partitions exist on the leader only. On the meta's shard.

#include <array>
#include <map>
#include <memory>

#include "base/metrics.h"
#include "meta/core/meta_core.h"

namespace markab::meta {

class MetaMetrics {
 public:
  MetaMetrics(MetricRegistry& registry, std::shared_ptr<MetricEntity> server);

  void on_membership_changed(const MembershipChanged& change);
  void on_node_changed(const MetaCore& core, const NodeChanged& change);
  // Counts again; each second.
  void on_tick(const MetaCore& core, Instant now);
  void refresh(const MetaCore& core);
  void forget_tables();

 private:
  struct PartitionEntity {
    std::shared_ptr<MetricEntity> entity;  // null: not made yet
    Counter* changes = nullptr;
    Counter* unwritable_changes = nullptr;
    Counter* writable_changes = nullptr;
    Counter* choose_failures = nullptr;
    int64_t counted_failures = 0;
  };
  struct TableEntity {
    std::shared_ptr<MetricEntity> entity;
    std::array<Gauge*, kHealthClasses> health;
    std::vector<PartitionEntity> partitions;
  };
  void refresh_table(const MetaCore& core, const Table& table, int& to_make);
  TableEntity make_table(const TableInfo& info);
  PartitionEntity make_partition(Gpid pid);

  MetricRegistry& registry_;
  std::shared_ptr<MetricEntity> server_;
  Gauge& alive_;
  Gauge& unalive_;
  Counter& disconnections_;
  std::map<int32_t, TableEntity> tables_;
  Instant refreshed_;
};

}  // namespace markab::meta
