// Whole runs of the simulator: a few seeds, and that a seed is one history.

#include <gtest/gtest.h>

#include "simulation.h"

namespace markab::sim {
namespace {

RunResult run_seed(uint64_t seed, Coordinator coordinator = Coordinator::kEmbedded) {
  RunOptions options;
  options.seed = seed;
  options.coordinator = coordinator;
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

// The metas' production store and election, and what befalls a ZooKeeper.
class SimulatedClusterWithZooKeeper : public testing::TestWithParam<uint64_t> {};

TEST_P(SimulatedClusterWithZooKeeper, LosesNoTableAndNoBallot) {
  auto result = run_seed(GetParam(), Coordinator::kZooKeeper);
  for (const auto& violation : result.violations) ADD_FAILURE() << violation;
  EXPECT_TRUE(result.zookeeper);
  EXPECT_GT(result.operations, 100u);
}

INSTANTIATE_TEST_SUITE_P(Seeds, SimulatedClusterWithZooKeeper, testing::Range<uint64_t>(1, 9),
                         [](const auto& info) { return fmt::format("Seed{}", info.param); });

TEST(SimulatedClusterOnEither, OneSeedIsOneHistoryWithZooKeeper) {
  auto once = run_seed(5, Coordinator::kZooKeeper);
  EXPECT_EQ(once.fingerprint, run_seed(5, Coordinator::kZooKeeper).fingerprint);
  EXPECT_NE(once.fingerprint, run_seed(5).fingerprint);
}

// Half of the seeds have it when they may choose, whatever else they are.
TEST(SimulatedClusterOnEither, SeedsDrawTheirCoordinator) {
  int with = 0;
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    RunOptions options;
    options.seed = seed;
    options.coordinator = Coordinator::kDrawn;
    options.duration = std::chrono::seconds(1);
    with += run(options).zookeeper;
  }
  EXPECT_GT(with, 0);
  EXPECT_LT(with, 10);
}

TEST(SimulatedCluster, OneSeedIsOneHistory) {
  auto once = run_seed(5);
  auto again = run_seed(5);
  EXPECT_EQ(once.fingerprint, again.fingerprint);
  EXPECT_EQ(once.operations, again.operations);
  EXPECT_NE(once.fingerprint, run_seed(6).fingerprint);
}

}  // namespace
}  // namespace markab::sim
