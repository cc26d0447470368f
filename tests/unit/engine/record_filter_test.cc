// What one pass of a compaction makes of a record under user_specified_compaction (02 §13).

#include "engine/record_filter.h"

#include <gtest/gtest.h>

namespace markab::engine {
namespace {

using Operation = CompactionOperation::Type;
using Rule = CompactionRule::Type;
using Match = CompactionRule::Match;

constexpr uint32_t kNow = 1000;

CompactionRule hash_prefix(const char* pattern) {
  return {Rule::kHashKeyPattern, Match::kPrefix, pattern, 0, 0};
}
CompactionRule ttl(uint32_t start, uint32_t stop) {
  return {Rule::kTtlRange, Match::kAnywhere, "", start, stop};
}

struct Case {
  const char* name;
  CompactionRules rules;
  uint32_t expire_ts;
  bool drop;
  uint32_t expire_after;
};

TEST(CompactionRulesTest, OnePass) {
  const CompactionRule any = hash_prefix("h");
  const std::vector<Case> cases = {
      {"no operation", {}, 0, false, 0},
      {"delete", {{Operation::kDelete, 0, {any}}}, 0, true, 0},
      {"another hash key", {{Operation::kDelete, 0, {hash_prefix("x")}}}, 5, false, 5},
      {"all rules must match", {{Operation::kDelete, 0, {any, ttl(1, 2)}}}, 0, false, 0},
      {"from now", {{Operation::kTtlFromNow, 60, {any}}}, 0, false, 1060},
      {"from now, saturated", {{Operation::kTtlFromNow, UINT32_MAX, {any}}}, 0, false, UINT32_MAX},
      {"from current", {{Operation::kTtlFromCurrent, 60, {any}}}, 5000, false, 5060},
      {"from current of none", {{Operation::kTtlFromCurrent, 60, {any}}}, 0, false, 0},
      {"from current, saturated",
       {{Operation::kTtlFromCurrent, 60, {any}}},
       UINT32_MAX - 1,
       false,
       UINT32_MAX},
      {"until", {{Operation::kTtlTimestamp, 1451606400 + 7, {any}}}, 0, false, 7},
      {"until the epoch itself", {{Operation::kTtlTimestamp, 1451606400, {any}}}, 0, false, 1},
      {"until long ago", {{Operation::kTtlTimestamp, 0, {any}}}, 9, false, 1},
      {"range of the immortal", {{Operation::kDelete, 0, {ttl(0, 0)}}}, 0, true, 0},
      {"range of the immortal, mortal", {{Operation::kDelete, 0, {ttl(0, 0)}}}, 2000, false, 2000},
      {"range from its start", {{Operation::kDelete, 0, {ttl(10, 20)}}}, 1010, true, 1010},
      {"range to its end", {{Operation::kDelete, 0, {ttl(10, 20)}}}, 1020, true, 1020},
      {"before the range", {{Operation::kDelete, 0, {ttl(10, 20)}}}, 1009, false, 1009},
      {"behind the range", {{Operation::kDelete, 0, {ttl(10, 20)}}}, 1021, false, 1021},
      {"range of the mortal, immortal", {{Operation::kDelete, 0, {ttl(0, 20)}}}, 0, false, 0},
      {"a range without end",
       {{Operation::kDelete, 0, {ttl(0, UINT32_MAX)}}},
       UINT32_MAX,
       true,
       UINT32_MAX},
      {"the later expiry counts",
       {{Operation::kTtlFromNow, 60, {any}}, {Operation::kTtlFromNow, 90, {any}}},
       0,
       false,
       1090},
      {"each sees the record as it was",
       {{Operation::kTtlFromNow, 60, {any}}, {Operation::kTtlFromNow, 90, {ttl(0, 0)}}},
       0,
       false,
       1090},
      {"the first deletion ends it",
       {{Operation::kDelete, 0, {any}}, {Operation::kTtlFromNow, 90, {any}}},
       7000,
       true,
       7000},
  };
  for (const Case& c : cases) {
    RecordFate fate = apply_compaction_rules(c.rules, {"hash", "sort"}, c.expire_ts, kNow);
    EXPECT_EQ(fate.drop, c.drop) << c.name;
    EXPECT_EQ(fate.expire_ts, c.expire_after) << c.name;
  }
}

TEST(CompactionRulesTest, Patterns) {
  struct PatternCase {
    Rule rule;
    Match match;
    const char* pattern;
    bool matches;
  };
  for (const PatternCase& c :
       {PatternCase{Rule::kHashKeyPattern, Match::kPrefix, "ha", true},
        PatternCase{Rule::kHashKeyPattern, Match::kPrefix, "as", false},
        PatternCase{Rule::kHashKeyPattern, Match::kPostfix, "sh", true},
        PatternCase{Rule::kHashKeyPattern, Match::kPostfix, "as", false},
        PatternCase{Rule::kHashKeyPattern, Match::kAnywhere, "as", true},
        PatternCase{Rule::kHashKeyPattern, Match::kAnywhere, "so", false},
        PatternCase{Rule::kSortKeyPattern, Match::kPrefix, "so", true},
        PatternCase{Rule::kSortKeyPattern, Match::kPostfix, "rt", true},
        PatternCase{Rule::kSortKeyPattern, Match::kAnywhere, "ha", false},
        PatternCase{Rule::kSortKeyPattern, Match::kAnywhere, "sorted", false},
        PatternCase{Rule::kSortKeyPattern, Match::kAnywhere, "", false}}) {
    CompactionRules rules = {{Operation::kDelete, 0, {{c.rule, c.match, c.pattern, 0, 0}}}};
    EXPECT_EQ(apply_compaction_rules(rules, {"hash", "sort"}, 0, kNow).drop, c.matches)
        << c.pattern;
  }
}

}  // namespace
}  // namespace markab::engine
