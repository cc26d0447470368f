#include "base/function.h"

#include <gtest/gtest.h>

#include <array>
#include <memory>

namespace markab {
namespace {

TEST(Function, OwnsWhatItCaptures) {
  auto watched = std::make_shared<int>(7);
  {
    Function<int(int)> f = [held = watched](int x) { return *held + x; };
    EXPECT_EQ(watched.use_count(), 2);
    Function<int(int)> moved = std::move(f);
    EXPECT_FALSE(f);  // NOLINT(bugprone-use-after-move)
    EXPECT_EQ(moved(1), 8);
    EXPECT_EQ(watched.use_count(), 2);
  }
  EXPECT_EQ(watched.use_count(), 1);
}

TEST(Function, TakesMoveOnlyAndLargeClosures) {
  auto unique = std::make_unique<int>(5);
  std::array<char, 200> large{};
  large[199] = 9;
  Function<int()> f = [p = std::move(unique), large] { return *p + large[199]; };
  Function<int()> g;
  g = std::move(f);
  EXPECT_EQ(g(), 14);
  g = nullptr;
  EXPECT_FALSE(g);
}

TEST(FunctionDeathTest, AnEmptyOneIsABug) {
  Function<void()> empty;
  EXPECT_DEATH(empty(), "empty Function");
}

}  // namespace
}  // namespace markab
