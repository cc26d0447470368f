#include "wal/trim_holds.h"

#include <gtest/gtest.h>

namespace markab::wal {
namespace {

constexpr Instant at(int64_t s) { return {s * 1'000'000'000}; }

TEST(TrimHoldsTest, TheLeastOfAllIsTheLimit) {
  TrimHolds holds;
  EXPECT_EQ(holds.limit(100, at(0)), 100);
  auto learner = holds.hold("learner", 40, at(60));
  auto duplication = holds.hold("duplication", 70, kNever);
  EXPECT_EQ(holds.limit(100, at(1)), 40);
  EXPECT_EQ(holds.limit(30, at(1)), 30);  // never beyond what is durable
  EXPECT_EQ(holds.slowest()->who, "learner");
  holds.advance(learner, 90, at(70));
  EXPECT_EQ(holds.limit(100, at(2)), 70);
  holds.advance(learner, 50, at(70));  // positions do not fall
  EXPECT_EQ(holds.limit(100, at(2)), 70);
  holds.release(duplication);
  EXPECT_EQ(holds.limit(100, at(2)), 90);
  holds.release(duplication);
  holds.release(0);
}

TEST(TrimHoldsTest, WhoIsNotHeardOfRunsOut) {
  TrimHolds holds;
  auto learner = holds.hold("learner", 40, at(60));
  EXPECT_EQ(holds.limit(100, at(59)), 40);
  EXPECT_EQ(holds.limit(100, at(60)), 100);
  EXPECT_EQ(holds.size(), 0u);
  holds.advance(learner, 50, at(100));  // too late
  EXPECT_EQ(holds.limit(100, at(60)), 100);
}

TEST(TrimHoldsTest, TheSlowestIsDroppedFirst) {
  TrimHolds holds;
  holds.hold("a", 40, kNever);
  holds.hold("b", 20, kNever);
  holds.drop_slowest();
  EXPECT_EQ(holds.slowest()->who, "a");
  holds.drop_slowest();
  EXPECT_FALSE(holds.slowest().has_value());
  holds.drop_slowest();
}

}  // namespace
}  // namespace markab::wal
