// The meta server's metrics of tables and partitions, over the core alone.

#include "meta/metrics.h"

#include <gtest/gtest.h>

#include "meta/core/meta_core.h"

namespace markab::meta {
namespace {

HostPort node(int n) { return HostPort{0x0a000000u + static_cast<uint32_t>(n), 34801}; }

LoadedTable table(int32_t id, int32_t partitions) {
  LoadedTable out;
  out.info.status = TableStatus::kAvailable;
  out.info.id = id;
  out.info.name = fmt::format("table_{}", id);
  out.info.partition_count = out.info.init_partition_count = partitions;
  out.info.max_replica_count = 3;
  for (int32_t p = 0; p < partitions; ++p) {
    PartitionConfig config;
    config.pid = {id, p};
    config.ballot = 3;
    config.max_replica_count = 3;
    config.primary = node(1);
    config.secondaries = {node(2), node(3)};
    out.partitions[p] = config;
  }
  return out;
}

class MetaMetricsTest : public testing::Test {
 protected:
  void load(int32_t partitions) {
    Actions out;
    ASSERT_TRUE(core.load({table(1, partitions)}, {now, 1'700'000'000'000}, out).ok());
  }
  size_t partition_entities() const {
    size_t n = 0;
    for (const auto& entity : registry.entities()) n += entity->type == "partition";
    return n;
  }
  int64_t changes_of(int32_t partition) const {
    for (const auto& entity : registry.entities()) {
      if (entity->id != fmt::format("partition@1.{}", partition)) continue;
      int64_t found = -1;
      entity->for_each([&](const MetricEntity::Item& item) {
        if (item.info.name == "partition_configuration_changes") found = item.value();
      });
      return found;
    }
    return -1;
  }

  Instant now{};
  MetricRegistry registry;
  std::shared_ptr<MetricEntity> server = registry.entity("server", "meta");
  MetaMetrics metrics{registry, server};
  CoreOptions options;
  MetaCore core{options, now};
};

TEST_F(MetaMetricsTest, ASmallClusterHasItsPartitionsAtOnce) {
  load(64);
  metrics.refresh(core);
  EXPECT_EQ(partition_entities(), 64u);
  metrics.forget_tables();
  EXPECT_EQ(partition_entities(), 0u);
}

// A new leader of a large one serves first; all are there soon after.
TEST_F(MetaMetricsTest, ALargeClusterGetsThemRefreshByRefresh) {
  load(10000);
  metrics.refresh(core);
  size_t first = partition_entities();
  EXPECT_GT(first, 0u);
  EXPECT_LT(first, 10000u);
  for (int second = 1; second <= 3; ++second)
    metrics.on_tick(core, now + std::chrono::seconds(second));
  EXPECT_EQ(partition_entities(), 10000u);
}

TEST_F(MetaMetricsTest, APartitionThatChangesBeforeItsTurnIsCounted) {
  load(10000);
  metrics.refresh(core);
  ASSERT_EQ(changes_of(9999), -1);
  MembershipChanged change;
  change.before.pid = change.after.pid = {1, 9999};
  metrics.on_membership_changed(change);
  EXPECT_EQ(changes_of(9999), 1);
  for (int second = 1; second <= 3; ++second)
    metrics.on_tick(core, now + std::chrono::seconds(second));
  EXPECT_EQ(partition_entities(), 10000u);
  EXPECT_EQ(changes_of(9999), 1);
}

}  // namespace
}  // namespace markab::meta
