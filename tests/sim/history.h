#pragma once
// What clients asked of one key and what they were told, and whether some order of these operations
// explains it: linearizability, judged by search (Wing and Gong 1993, with Lowe's memory of states
// seen). Pure.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"

namespace markab::sim {

// The state of a key is a value or none.
using KeyState = std::optional<std::string>;

struct Operation {
  enum class Kind {
    kGet,
    kSet,              // to `value`
    kDelete,           // blindly
    kIncrement,        // of a decimal number, none counts as 0, by `amount`
    kCompareExchange,  // to `value` if the state is `expected`; tells the state it found
  };
  enum class Outcome {
    kDone,     // with the result below
    kNot,      // surely not executed
    kUnknown,  // executed at any time from `begin` on, or never
  };
  Kind kind = Kind::kGet;
  std::string value;
  KeyState expected;
  int64_t amount = 0;

  Outcome outcome = Outcome::kUnknown;
  KeyState found;       // kGet, kCompareExchange
  bool passed = false;  // kCompareExchange
  int64_t number = 0;   // kIncrement: the new value

  int client = 0;
  uint32_t repeats = 0;  // attempts before, which may have taken effect as well
  Instant begin;
  Instant end = kNever;
};

// More operations than this cannot be judged (asserted).
inline constexpr size_t kMaxOperations = 128;

// "" when some order explains the history, else a description of it. Values that are set must be
// unique within the history.
std::string explain_history(const std::string& key, const std::vector<Operation>& operations);

std::string to_string(const Operation& operation);

}  // namespace markab::sim
