#pragma once
// What `user_specified_compaction` asks compactions to do to a table's records (spec 02 §13): its
// JSON, read once, for the meta server that refuses what cannot be read and for the compaction
// filter that applies it. Plain values.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace markab {

struct CompactionRule {
  enum class Type : uint8_t { kHashKeyPattern, kSortKeyPattern, kTtlRange } type{};
  enum class Match : uint8_t { kAnywhere, kPrefix, kPostfix } match{};  // of the patterns
  std::string pattern;                                                  // empty: never matches
  uint32_t start_ttl = 0;
  uint32_t stop_ttl = 0;
  friend bool operator==(const CompactionRule&, const CompactionRule&) = default;
};

struct CompactionOperation {
  enum class Type : uint8_t { kDelete, kTtlFromNow, kTtlFromCurrent, kTtlTimestamp } type{};
  uint32_t value = 0;                 // seconds; kTtlTimestamp: Unix time
  std::vector<CompactionRule> rules;  // at least one; all must match
  friend bool operator==(const CompactionOperation&, const CompactionOperation&) = default;
};

using CompactionRules = std::vector<CompactionOperation>;

// Empty text is no operation. kInvalidParameters with what is wrong and where: then nothing of it
// may be applied, since an operation that lost a rule would do more than it was asked to.
Result<CompactionRules> parse_compaction_rules(std::string_view json);

}  // namespace markab
