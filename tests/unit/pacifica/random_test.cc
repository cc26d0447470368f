// Thousands of small worlds. A failure names its seed; MARKAB_SEED=n runs that one alone,
// MARKAB_SEEDS=n that many.

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

#include "random_world.h"

namespace markab::pacifica {
namespace {

uint64_t from_environment(const char* key, uint64_t otherwise) {
  const char* text = std::getenv(key);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

TEST(RandomTest, NothingAcknowledgedIsLostAndReplicasAgree) {
  uint64_t first = from_environment("MARKAB_SEED", 1);
  uint64_t count =
      std::getenv("MARKAB_SEED") != nullptr ? 1 : from_environment("MARKAB_SEEDS", 1500);
  RandomWorld::Counters sum;
  for (uint64_t seed = first; seed < first + count; ++seed) {
    SCOPED_TRACE(seed);
    std::fprintf(stderr, "\rseed %llu ",
                 static_cast<unsigned long long>(seed));  // the last one seen before an abort
    RandomWorld world(seed, Planted::kNothing);
    auto failure = world.run();
    ASSERT_EQ(failure, "");
    const auto& c = world.counters();
    sum.committed += c.committed;
    sum.reigns += c.reigns;
    sum.continued += c.continued;
    sum.upgrades += c.upgrades;
    sum.crashes += c.crashes;
    sum.learned += c.learned;
    sum.relearn += c.relearn;
    sum.asks += c.asks;
    sum.steps_down += c.steps_down;
    sum.abandoned += c.abandoned;
  }
  std::fprintf(stderr,
               "\n%zu commits, %zu reigns, %zu continued, %zu upgrades, %zu crashes, %zu installs, "
               "%zu relearn, "
               "%zu asks, %zu steps down, %zu abandoned\n",
               sum.committed, sum.reigns, sum.continued, sum.upgrades, sum.crashes, sum.learned,
               sum.relearn, sum.asks, sum.steps_down, sum.abandoned);
  if (count >= 100) {  // the worlds are not idle
    EXPECT_GT(sum.committed, count * 20);
    EXPECT_GT(sum.reigns, count * 2);
    EXPECT_GT(sum.upgrades, count / 2);
    EXPECT_GT(sum.learned, 0u);
  }
}

// The checkers see what is wrong: each planted fault is found, by them or by an assertion of the
// core.
class PlantedTest : public testing::TestWithParam<Planted> {};

TEST_P(PlantedTest, IsFound) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(
      {
        for (uint64_t seed = 1; seed <= 1000; ++seed) {
          auto failure = RandomWorld(seed, GetParam()).run();
          if (failure.empty()) continue;
          std::fprintf(stderr, "found: %s\n", failure.c_str());
          std::_Exit(1);
        }
        std::_Exit(0);
      },
      [](int status) { return status != 0; }, "found:|assertion");
}

INSTANTIATE_TEST_SUITE_P(Faults, PlantedTest,
                         testing::Values(Planted::kAckBeforeDurable, Planted::kForgetBallot,
                                         Planted::kClaimCommitted, Planted::kInflateAck,
                                         Planted::kRecoverNothing, Planted::kUntrustedTrusted));

}  // namespace
}  // namespace markab::pacifica
