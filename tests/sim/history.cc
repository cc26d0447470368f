#include "history.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>
#include <unordered_set>

#include "base/assert.h"

namespace markab::sim {

namespace {

using Kind = Operation::Kind;
using Outcome = Operation::Outcome;

std::string text(const KeyState& state) { return state ? *state : "none"; }

// What a value of `state` counts as; histories of counters hold nothing but numbers.
int64_t number_of(const KeyState& state) { return state ? std::stoll(*state) : 0; }

// Whether `op` may take effect on `state`; then `after` is what it leaves.
bool step(const Operation& op, const KeyState& state, KeyState& after) {
  bool told = op.outcome == Outcome::kDone;
  after = state;
  switch (op.kind) {
    case Kind::kGet:
      return !told || op.found == state;
    case Kind::kSet:
      after = op.value;
      return true;
    case Kind::kDelete:
      after = std::nullopt;
      return true;
    case Kind::kIncrement: {
      int64_t sum = number_of(state) + op.amount;
      after = std::to_string(sum);
      return !told || sum == op.number;
    }
    case Kind::kCompareExchange: {
      bool passes = state == op.expected;
      if (passes) after = op.value;
      return !told || (passes == op.passed && op.found == state);
    }
  }
  return false;
}

class Search {
 public:
  explicit Search(std::vector<Operation> operations) : ops_(std::move(operations)) {
    MARKAB_ASSERT(ops_.size() <= kMaxOperations, "a history is too long to be judged", ops_.size());
    std::stable_sort(ops_.begin(), ops_.end(),
                     [](const auto& a, const auto& b) { return a.begin < b.begin; });
    for (const auto& op : ops_) left_ += op.outcome == Outcome::kDone ? 1 : 0;
  }

  bool explains() { return left_ == 0 || go_on(std::nullopt); }

 private:
  using Bits = std::array<uint64_t, kMaxOperations / 64>;

  bool done(size_t i) const { return (done_[i / 64] >> (i % 64) & 1) != 0; }
  void flip(size_t i) { done_[i / 64] ^= uint64_t{1} << (i % 64); }

  // True when this set of operations was seen to lead nowhere from this state.
  bool seen(const KeyState& state) {
    std::string key(reinterpret_cast<const char*>(done_.data()), sizeof(done_));
    key += state ? "=" + *state : "";
    return !seen_.insert(std::move(key)).second;
  }

  // Next comes an operation that began before the first of the others ended.
  bool go_on(const KeyState& state) {
    if (seen(state)) return false;
    Instant first_end = kNever;
    for (size_t i = 0; i < ops_.size(); ++i) {
      if (!done(i)) first_end = std::min(first_end, ops_[i].end);
    }
    // What clients were told first: it leaves the least choice.
    for (bool told : {true, false}) {
      for (size_t i = 0; i < ops_.size() && ops_[i].begin <= first_end; ++i) {
        if (done(i) || (ops_[i].outcome == Outcome::kDone) != told) continue;
        KeyState after;
        if (!step(ops_[i], state, after)) continue;
        flip(i);
        if (told) --left_;
        if (left_ == 0 || go_on(after)) return true;
        if (told) ++left_;
        flip(i);
      }
    }
    return false;
  }

  std::vector<Operation> ops_;
  Bits done_{};
  size_t left_ = 0;  // told and not yet in the order
  std::unordered_set<std::string> seen_;
};

// Operations that change nothing about the verdict: what surely was not executed, reads without an
// answer, and writes without an answer whose value nobody saw (an order without them is as good).
std::vector<Operation> relevant(const std::vector<Operation>& operations) {
  std::set<std::string> seen;
  for (const auto& op : operations) {
    if (op.outcome == Outcome::kDone && op.found) seen.insert(*op.found);
    if (op.kind == Kind::kCompareExchange && op.expected) seen.insert(*op.expected);
  }
  std::vector<Operation> kept;
  for (const auto& op : operations) {
    if (op.outcome == Outcome::kNot) continue;
    if (op.outcome == Outcome::kUnknown) {
      if (op.kind == Kind::kGet) continue;
      bool sets = op.kind == Kind::kSet || op.kind == Kind::kCompareExchange;
      if (sets && !seen.contains(op.value)) continue;
    }
    kept.push_back(op);
    if (op.outcome == Outcome::kUnknown) kept.back().end = kNever;
  }
  return kept;
}

}  // namespace

std::string to_string(const Operation& op) {
  std::string what;
  switch (op.kind) {
    case Kind::kGet:
      what = "get";
      break;
    case Kind::kSet:
      what = fmt::format("set {}", op.value);
      break;
    case Kind::kDelete:
      what = "del";
      break;
    case Kind::kIncrement:
      what = fmt::format("incr by {}", op.amount);
      break;
    case Kind::kCompareExchange:
      what = fmt::format("if {} set {}", text(op.expected), op.value);
      break;
  }
  switch (op.outcome) {
    case Outcome::kNot:
      return what + ": not done";
    case Outcome::kUnknown:
      return what + ": unknown";
    case Outcome::kDone:
      break;
  }
  if (op.kind == Kind::kGet) return fmt::format("{}: {}", what, text(op.found));
  if (op.kind == Kind::kIncrement) return fmt::format("{}: {}", what, op.number);
  if (op.kind == Kind::kCompareExchange) {
    return fmt::format("{}: {}, found {}", what, op.passed ? "done" : "no", text(op.found));
  }
  return what + ": done";
}

std::string explain_history(const std::string& key, const std::vector<Operation>& operations) {
  auto ops = relevant(operations);
  if (Search(ops).explains()) return {};
  std::stable_sort(ops.begin(), ops.end(),
                   [](const auto& a, const auto& b) { return a.begin < b.begin; });
  std::string out = fmt::format("{}: no order of its operations explains what clients saw:", key);
  for (const auto& op : ops) {
    out += fmt::format(
        "\n    {:12.6f} .. {:>12} client {}: {}", static_cast<double>(op.begin.ns) / 1e9,
        op.end == kNever ? std::string("-")
                         : fmt::format("{:.6f}", static_cast<double>(op.end.ns) / 1e9),
        op.client, to_string(op));
  }
  return out;
}

}  // namespace markab::sim
