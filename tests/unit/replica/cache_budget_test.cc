// The shares of the mutation cache: together near the bound, whoever grows.

#include "replica/cache_budget.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "base/random.h"

namespace markab::replica {
namespace {

constexpr size_t kMost = 16u << 20;

TEST(CacheBudget, OneReplicaGetsWhatItMayHave) {
  CacheBudget budget(64u << 20);
  CacheBudget::Share share(budget);
  EXPECT_EQ(share.renew(0, kMost), kMost);
  EXPECT_EQ(share.renew(kMost, kMost), kMost);
  EXPECT_EQ(budget.held(), static_cast<int64_t>(kMost));
}

TEST(CacheBudget, WhoLeavesGivesBack) {
  CacheBudget budget(8u << 20);
  {
    CacheBudget::Share share(budget);
    share.renew(5u << 20, kMost);
  }
  EXPECT_EQ(budget.held(), 0);
}

TEST(CacheBudget, AHogShrinksWhenOthersCome) {
  CacheBudget budget(40u << 20);
  CacheBudget::Share hog(budget);
  size_t held = hog.renew(0, kMost);
  EXPECT_EQ(held, kMost);
  std::vector<std::unique_ptr<CacheBudget::Share>> others;
  for (int i = 0; i < 9; ++i) {
    others.push_back(std::make_unique<CacheBudget::Share>(budget));
    EXPECT_GE(others.back()->renew(0, kMost), 4u << 20);  // an equal part at least
  }
  for (int round = 0; round < 50; ++round) {
    for (auto& other : others) other->renew(4u << 20, kMost);
    held = std::min(held, hog.renew(held, kMost));
  }
  EXPECT_LE(held, (4u << 20) + (1u << 20));
}

// Each grows to its bound at once, in any order.
TEST(CacheBudget, NeverMuchAboveTheBound) {
  constexpr size_t kBound = 32u << 20;
  constexpr size_t kReplicas = 40;
  CacheBudget budget(kBound);
  std::vector<std::unique_ptr<CacheBudget::Share>> shares;
  for (size_t i = 0; i < kReplicas; ++i) {
    shares.push_back(std::make_unique<CacheBudget::Share>(budget));
  }
  std::vector<size_t> held(kReplicas, 0);
  Random random(3);
  for (int step = 0; step < 20000; ++step) {
    size_t i = random.below(kReplicas);
    size_t bound = shares[i]->renew(held[i], kMost);
    held[i] = random.below(4) == 0 ? bound / 2 : bound;
    size_t all = 0;
    for (size_t bytes : held) all += bytes;
    EXPECT_LE(all, 2 * kBound);
  }
}

}  // namespace
}  // namespace markab::replica
