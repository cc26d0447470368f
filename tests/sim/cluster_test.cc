// Whole runs of the simulator: a few seeds, and that a seed is one history.

#include <gtest/gtest.h>

#include "simulation.h"

namespace markab::sim {
namespace {

RunResult run_seed(uint64_t seed) {
  RunOptions options;
  options.seed = seed;
  options.duration = std::chrono::seconds(60);
  return run(options);
}

class SimulatedCluster : public testing::TestWithParam<uint64_t> {};

TEST_P(SimulatedCluster, SurvivesItsFaults) {
  auto result = run_seed(GetParam());
  for (const auto& violation : result.violations) ADD_FAILURE() << violation;
  EXPECT_GT(result.operations, 100u);
}

INSTANTIATE_TEST_SUITE_P(Seeds, SimulatedCluster, testing::Range<uint64_t>(1, 9),
                         [](const auto& info) { return fmt::format("Seed{}", info.param); });

TEST(SimulatedCluster, OneSeedIsOneHistory) {
  auto once = run_seed(5);
  auto again = run_seed(5);
  EXPECT_EQ(once.fingerprint, again.fingerprint);
  EXPECT_EQ(once.operations, again.operations);
  EXPECT_NE(once.fingerprint, run_seed(6).fingerprint);
}

}  // namespace
}  // namespace markab::sim
