#include "pacifica/mutation_list.h"

#include <gtest/gtest.h>

#include <deque>

#include "base/random.h"

namespace markab::pacifica {
namespace {

Mutation mutation(Decree decree, Ballot ballot, size_t size) {
  return {ballot, decree, decree * 10, std::make_shared<const std::string>(size, 'x')};
}

TEST(MutationListTest, EmptyListKnowsWhereItGoesOn) {
  MutationList list;
  list.reset(41);
  EXPECT_EQ(list.first(), 42);
  EXPECT_EQ(list.last(), 41);
  EXPECT_FALSE(list.holds(42));
  list.push_back(mutation(42, 1, 3), 7);
  EXPECT_TRUE(list.holds(42));
  EXPECT_EQ(list.at(42).record, 7u);
  EXPECT_EQ(list.bytes(), MutationList::kOverhead + 3);
}

TEST(MutationListTest, ReplaceChangesContentAndBytes) {
  MutationList list;
  for (Decree d = 1; d <= 3; ++d) list.push_back(mutation(d, 1, 10), 0);
  list.replace(mutation(2, 5, 1), 9);
  EXPECT_EQ(list.at(2).mutation.ballot, 5);
  EXPECT_EQ(list.at(3).mutation.ballot, 1);
  EXPECT_EQ(list.bytes(), 3 * MutationList::kOverhead + 21);
}

TEST(MutationListTest, EqualsADequeUnderAnyOperations) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    Random random(seed);
    MutationList list;
    std::deque<std::pair<Decree, size_t>> model;
    Decree next = 1;
    for (int step = 0; step < 500; ++step) {
      switch (random.below(8)) {
        case 0:
          if (!model.empty()) {
            list.pop_front();
            model.pop_front();
          }
          break;
        case 1: {
          Decree keep = next - 1 - static_cast<Decree>(random.below(5));
          list.truncate_after(keep);
          while (!model.empty() && model.back().first > keep) model.pop_back();
          next = list.last() + 1;
          break;
        }
        case 2:
          if (random.below(20) == 0) {
            next = static_cast<Decree>(random.below(1000)) + 1;
            list.reset(next - 1);
            model.clear();
          }
          break;
        default: {
          size_t size = random.below(100);
          list.push_back(mutation(next, 1, size), 0);
          model.emplace_back(next++, size);
        }
      }
      size_t bytes = 0;
      for (const auto& [decree, size] : model) {
        ASSERT_EQ(list.at(decree).mutation.decree, decree);
        bytes += size + MutationList::kOverhead;
      }
      ASSERT_EQ(list.bytes(), bytes) << "seed " << seed << " step " << step;
      ASSERT_EQ(list.last() - list.first() + 1, static_cast<Decree>(model.size()));
    }
  }
}

}  // namespace
}  // namespace markab::pacifica
