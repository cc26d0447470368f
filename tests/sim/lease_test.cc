// A replica server that lost its lease and got it back serves nothing before it was told who leads
// now.

#include <gtest/gtest.h>

#include "sim_cluster.h"

namespace markab::sim {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class Lease : public testing::Test {
 protected:
  Lease() : cluster_(7, {}) {
    cluster_.create_table("t", 4);
    cluster_.world().run_for(seconds(2));
  }
  // Looks at every instant at which something happens.
  void watch_for(Duration duration) {
    auto& world = cluster_.world();
    Instant end = world.now() + duration;
    while (world.now() < end && world.step()) cluster_.check_leases();
    for (const auto& violation : cluster_.watch().violations()) ADD_FAILURE() << violation;
    EXPECT_EQ(cluster_.unhealthy(), "");
  }
  SimCluster cluster_;
};

TEST_F(Lease, OfANodeThatSleptIsNotEnough) {
  for (int i = 0; i < cluster_.options().replicas; ++i) {
    cluster_.runtime(i).pause();
    cluster_.world().run_for(seconds(20));
    cluster_.runtime(i).resume();
    watch_for(seconds(15));
  }
}

TEST_F(Lease, OfANodeThatWasCutOffIsNotEnough) {
  for (int i = 0; i < cluster_.options().replicas; ++i) {
    auto self = SimCluster::replica_address(i);
    for (auto other : cluster_.addresses()) {
      cluster_.network().cut(self, other);
      cluster_.network().cut(other, self);
    }
    cluster_.world().run_for(seconds(20));
    cluster_.network().heal();
    watch_for(seconds(15));
  }
}

// What was made a directory and acknowledged outlives the machine.
TEST_F(Lease, ReplicasAreThereAfterAllMachinesLostPower) {
  for (int i = 0; i < cluster_.options().replicas; ++i) cluster_.crash(i);
  cluster_.world().run_for(seconds(1));
  for (int i = 0; i < cluster_.options().replicas; ++i) cluster_.boot(i);
  cluster_.world().run_for(seconds(30));
  EXPECT_EQ(cluster_.unhealthy(), "");
}

}  // namespace
}  // namespace markab::sim
