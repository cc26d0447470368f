// The judge of histories must be able to say no.

#include "history.h"

#include <gtest/gtest.h>

namespace markab::sim {
namespace {

using Kind = Operation::Kind;
using Outcome = Operation::Outcome;

Operation make(Kind kind, int begin, int end, Outcome outcome = Outcome::kDone) {
  Operation op;
  op.kind = kind;
  op.begin = Instant{begin};
  op.end = end < 0 ? kNever : Instant{end};
  op.outcome = outcome;
  return op;
}
Operation set(const char* value, int begin, int end, Outcome outcome = Outcome::kDone) {
  auto op = make(Kind::kSet, begin, end, outcome);
  op.value = value;
  return op;
}
Operation get(KeyState found, int begin, int end) {
  auto op = make(Kind::kGet, begin, end);
  op.found = std::move(found);
  return op;
}
Operation incr(int64_t by, int64_t number, int begin, int end, Outcome outcome = Outcome::kDone) {
  auto op = make(Kind::kIncrement, begin, end, outcome);
  op.amount = by;
  op.number = number;
  return op;
}
Operation exchange(KeyState expected, const char* value, bool passed, KeyState found, int begin,
                   int end) {
  auto op = make(Kind::kCompareExchange, begin, end);
  op.expected = std::move(expected);
  op.value = value;
  op.passed = passed;
  op.found = std::move(found);
  return op;
}
bool good(const std::vector<Operation>& ops) { return explain_history("k", ops).empty(); }

TEST(History, ReadsSeeWhatWasWritten) {
  EXPECT_TRUE(good({set("a", 1, 2), get("a", 3, 4)}));
  EXPECT_FALSE(good({set("a", 1, 2), get(std::nullopt, 3, 4)}));
  EXPECT_FALSE(good({set("a", 1, 2), get("b", 3, 4)}));
  EXPECT_TRUE(good({set("a", 1, 2), make(Kind::kDelete, 3, 4), get(std::nullopt, 5, 6)}));
}

TEST(History, ConcurrentOperationsMayComeInAnyOrder) {
  EXPECT_TRUE(good({set("a", 1, 10), set("b", 1, 10), get("a", 11, 12)}));
  EXPECT_TRUE(good({set("a", 1, 10), set("b", 1, 10), get("b", 11, 12)}));
  EXPECT_TRUE(good({set("a", 1, 10), get(std::nullopt, 2, 3), get("a", 4, 5)}));
  EXPECT_FALSE(good({set("a", 1, 10), get("a", 2, 3), get(std::nullopt, 4, 5)}));
}

TEST(History, WhatIsUnknownMayHappenLateOrNever) {
  EXPECT_TRUE(
      good({set("a", 1, 2), set("b", 3, -1, Outcome::kUnknown), get("a", 5, 6), get("a", 7, 8)}));
  EXPECT_TRUE(
      good({set("a", 1, 2), set("b", 3, -1, Outcome::kUnknown), get("a", 5, 6), get("b", 7, 8)}));
  EXPECT_FALSE(
      good({set("a", 1, 2), set("b", 3, -1, Outcome::kUnknown), get("b", 5, 6), get("a", 7, 8)}));
  EXPECT_FALSE(good({set("a", 1, 2), set("b", 3, 4, Outcome::kNot), get("b", 5, 6)}));
}

TEST(History, IncrementsCountOnceEach) {
  EXPECT_TRUE(good({incr(1, 1, 1, 10), incr(2, 3, 1, 10), get("3", 11, 12)}));
  EXPECT_FALSE(good({incr(1, 1, 1, 10), incr(2, 2, 1, 10)}));
  EXPECT_TRUE(good({incr(1, 1, 1, 2), incr(5, 0, 3, -1, Outcome::kUnknown), incr(2, 8, 5, 6)}));
  EXPECT_TRUE(good({incr(1, 1, 1, 2), incr(5, 0, 3, -1, Outcome::kUnknown), incr(2, 3, 5, 6)}));
  EXPECT_FALSE(good({incr(1, 1, 1, 2), incr(5, 0, 3, -1, Outcome::kUnknown), incr(2, 13, 5, 6)}));
}

TEST(History, ExchangesTellWhatTheyFound) {
  EXPECT_TRUE(good({exchange(std::nullopt, "a", true, std::nullopt, 1, 2),
                    exchange("a", "b", true, "a", 3, 4), get("b", 5, 6)}));
  EXPECT_FALSE(good({exchange(std::nullopt, "a", true, std::nullopt, 1, 10),
                     exchange(std::nullopt, "b", true, std::nullopt, 1, 10)}));
  EXPECT_TRUE(good({set("a", 1, 2), exchange("x", "b", false, "a", 3, 4), get("a", 5, 6)}));
  EXPECT_FALSE(good({set("a", 1, 2), exchange("x", "b", false, "c", 3, 4)}));
}

TEST(History, ALongOneIsJudgedAtOnce) {
  std::vector<Operation> ops;
  int64_t sum = 0;
  for (int i = 0; i < 100; ++i) {
    ops.push_back(incr(i, sum += i, i * 10, i * 10 + 25));
    if (i % 10 == 0) ops.push_back(incr(1000000, 0, i * 10 + 1, -1, Outcome::kUnknown));
  }
  EXPECT_TRUE(good(ops));
  ops.push_back(get(std::to_string(sum), 2000, 2001));
  EXPECT_TRUE(good(ops));
  ops.push_back(get(std::to_string(sum - 1), 2002, 2003));
  EXPECT_FALSE(good(ops));
}

}  // namespace
}  // namespace markab::sim
