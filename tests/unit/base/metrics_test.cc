#include "base/metrics.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace markab {
namespace {

TEST(Histogram, PercentilesAreWithinOneSixteenth) {
  Histogram h;
  Random random(1);
  std::vector<int64_t> values;
  for (int i = 0; i < 100000; ++i) {
    values.push_back(static_cast<int64_t>(random.below(1u << random.below(30))));
    h.record(values.back());
  }
  std::sort(values.begin(), values.end());
  for (double q : {0.5, 0.9, 0.99, 0.999}) {
    auto exact = values[static_cast<size_t>(q * static_cast<double>(values.size())) - 1];
    EXPECT_GE(h.quantile(q), exact) << q;
    EXPECT_LE(static_cast<double>(h.quantile(q)), static_cast<double>(exact) * 1.0625 + 1) << q;
  }
  EXPECT_EQ(h.quantile(1.0), values.back());
  EXPECT_EQ(h.count(), 100000);
}

TEST(Histogram, EdgesAndJoining) {
  Histogram a;
  EXPECT_EQ(a.quantile(0.99), 0);
  a.record(0);
  a.record(-5);
  EXPECT_EQ(a.quantile(1.0), 0);
  Histogram b;
  b.record(int64_t{1} << 50);
  a.merge(b);
  EXPECT_EQ(a.count(), 3);
  EXPECT_EQ(a.max(), int64_t{1} << 50);
}

TEST(MetricRegistry, EntitiesLiveAsLongAsTheirOwners) {
  MetricRegistry registry;
  auto kept = registry.entity("server", "server");
  kept->counter({"requests", "Requests", "all requests"}).add(3);
  { auto gone = registry.entity("replica", "replica@1.0", {{"table_id", "1"}}); }
  auto living = registry.entities();
  ASSERT_EQ(living.size(), 1u);
  int64_t seen = 0;
  living[0]->for_each([&](const MetricEntity::Item& item) { seen = item.value(); });
  EXPECT_EQ(seen, 3);
}

}  // namespace
}  // namespace markab
