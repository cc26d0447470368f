#include "replica/copy_limits.h"

#include <gtest/gtest.h>

#include "sim/sim_runtime.h"

namespace markab::replica {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(RateLimitTest, SpreadsBytesOverTime) {
  RateLimit limit(1000);
  Instant now{1'000'000'000'000};
  EXPECT_EQ(limit.reserve(50, now), Duration(0));  // what the burst allows
  EXPECT_EQ(limit.reserve(1000, now), Duration(0));
  EXPECT_EQ(limit.reserve(500, now), Duration(seconds(1)));
  EXPECT_EQ(limit.reserve(1, now), Duration(milliseconds(1500)));
  // Idleness is not saved up beyond the burst.
  now = now + seconds(100);
  EXPECT_EQ(limit.reserve(1000, now), Duration(0));
  EXPECT_EQ(limit.reserve(1, now), Duration(milliseconds(950)));
}

TEST(RateLimitTest, ZeroIsNoLimitAndRatesChange) {
  RateLimit limit(0);
  Instant now{1'000'000'000'000};
  for (int i = 0; i < 10; ++i) EXPECT_EQ(limit.reserve(1u << 30, now), Duration(0));
  limit.set_rate(1000);
  EXPECT_EQ(limit.reserve(1050, now), Duration(0));
  EXPECT_EQ(limit.reserve(1, now), Duration(seconds(1)));
}

class CopyLimitsTest : public testing::Test {
 protected:
  std::shared_ptr<CopyLimits::Place> enter(const std::string& who) {
    return limits.enter(node.shard(0), [this, who] { admitted.push_back(who); });
  }
  sim::SimWorld world{1};
  sim::SimRuntime node{world, "node", {}};
  CopyLimits limits{2, 0, 0};
  std::vector<std::string> admitted;
};

TEST_F(CopyLimitsTest, AdmitsInOrderAsPlacesBecomeFree) {
  auto a = enter("a");
  auto b = enter("b");
  auto c = enter("c");
  auto d = enter("d");
  world.run_until_idle();
  EXPECT_EQ(admitted, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(limits.copying(), 2u);
  EXPECT_EQ(limits.waiting(), 2u);
  b.reset();
  world.run_until_idle();
  EXPECT_EQ(admitted, (std::vector<std::string>{"a", "b", "c"}));
  a.reset();
  c.reset();
  world.run_until_idle();
  EXPECT_EQ(admitted.back(), "d");
  EXPECT_EQ(limits.copying(), 1u);
  d.reset();
  EXPECT_EQ(limits.copying(), 0u);
}

TEST_F(CopyLimitsTest, WhoLeavesTheQueueIsSkipped) {
  auto a = enter("a");
  auto b = enter("b");
  auto c = enter("c");
  auto d = enter("d");
  c.reset();
  EXPECT_EQ(limits.waiting(), 1u);
  a.reset();
  world.run_until_idle();
  EXPECT_EQ(admitted, (std::vector<std::string>{"b", "d"}));  // a let go before its turn came
  EXPECT_EQ(limits.copying(), 2u);
}

TEST_F(CopyLimitsTest, PlacesOutliveTheLimits) {
  auto few = std::make_unique<CopyLimits>(1, 0, 0);
  auto a = few->enter(node.shard(0), [] {});
  auto b = few->enter(node.shard(0), [] {});
  few.reset();
  b.reset();
  a.reset();
}

}  // namespace
}  // namespace markab::replica
