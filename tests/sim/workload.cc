#include "workload.h"

#include <algorithm>
#include <cmath>

#include "base/crc64.h"

namespace markab::sim {

namespace {

using OpKind = Operation::Kind;
using Outcome = Operation::Outcome;

constexpr size_t kOperationsPerKey = 48;  // or a few more; half of what the judge takes
// Each may take effect at any later time, which the judge must consider.
constexpr int kUnknownPerKey = 4;
constexpr uint32_t kMostRepeats = 3;
constexpr Duration kLongestPause = std::chrono::seconds(5);
constexpr Duration kFinalTimeout = std::chrono::seconds(5);
constexpr Duration kReadAgain = std::chrono::milliseconds(10);
// A pair whose rows differ reads as this, which nobody wrote.
constexpr char kTorn[] = "torn";

// Nothing of the operation was executed, nor will be. An idempotent operation may have been sent
// several times, and its last failure tells nothing about the earlier attempts.
bool surely_not_done(OpKind kind, ErrorCode code) {
  if (kind != OpKind::kIncrement && kind != OpKind::kCompareExchange) return false;
  return code == ErrorCode::kUnavailable || code == ErrorCode::kBusy ||
         code == ErrorCode::kTableNotFound || code == ErrorCode::kInvalidArgument;
}

}  // namespace

Workload::Workload(SimCluster& cluster, const WorkloadOptions& options)
    : cluster_(cluster), options_(options) {
  slots_.resize(static_cast<size_t>(options.slots));
  for (size_t i = 0; i < slots_.size(); ++i) {
    slots_[i].kind = static_cast<Kind>(i % 3);
    renew(i);
  }
}

void Workload::renew(size_t slot) {
  auto& s = slots_[slot];
  ++s.generation;
  auto& history = histories_.emplace_back();
  history.name = fmt::format("k{}.{}", slot, s.generation);
  history.kind = s.kind;
  s.history = &history;
}

void Workload::start() {
  for (int client = 0; client < cluster_.options().clients; ++client) {
    for (int lane = 0; lane < options_.lanes; ++lane) {
      cluster_.client(client).shard().post([this, client] { next(client); });
    }
  }
}

void Workload::mark() {
  for (auto& slot : slots_) slot.moved = false;
}

bool Workload::all_moved() const { return unmoved().empty(); }

std::string Workload::unmoved() const {
  for (const auto& slot : slots_) {
    if (!slot.moved) return slot.history->name;
  }
  return {};
}

void Workload::next(int client) {
  if (stopping_) return;
  auto slot = random().below(slots_.size());
  auto* history = slots_[slot].history;
  if (history->operations.size() >= kOperationsPerKey || history->unknown >= kUnknownPerKey) {
    renew(slot);
    history = slots_[slot].history;
  }
  auto timeout = std::chrono::milliseconds(500 + static_cast<int64_t>(random().below(2500)));
  auto operation = choose(*history);
  bool writes = operation.kind != OpKind::kGet;
  perform(client, *history, std::move(operation), timeout, [this, client, slot, history, writes] {
    const auto& last = history->operations.back();
    if (writes && last.outcome == Outcome::kDone) slots_[slot].moved = true;
    again(client);
  });
}

void Workload::again(int client) {
  // Exponential, so that operations come in bunches and in gaps.
  double u = static_cast<double>(random().below(1'000'000) + 1) / 1e6;
  auto pause =
      std::min(Duration(static_cast<int64_t>(-std::log(u) * static_cast<double>(think_.count()))),
               kLongestPause);
  auto timer = std::make_shared<io::TimerHandle>();
  *timer = cluster_.client(client).shard().after(pause, [this, client, timer] {
    auto release = std::move(*timer);
    next(client);
  });
}

Operation Workload::choose(History& history) {
  Operation op;
  auto dice = random().below(100);
  if (dice < 35) return op;  // a read
  bool deletes = dice >= 95 && history.kind != Kind::kPair;
  if (deletes) {
    op.kind = OpKind::kDelete;
    return op;
  }
  if (history.kind == Kind::kCounter) {
    op.kind = OpKind::kIncrement;
    op.amount = 1 + static_cast<int64_t>(random().below(1'000'000));
    return op;
  }
  op.kind = OpKind::kSet;
  op.value = fmt::format("v{}", next_value_++);
  if (history.kind == Kind::kRegister && dice < 65) {
    op.kind = OpKind::kCompareExchange;
    op.expected = history.last_seen;
  }
  return op;
}

void Workload::perform(int client, History& history, Operation operation, Duration timeout,
                       Task after) {
  ++busy_;
  operation.client = client;
  operation.begin = cluster_.world().now();
  send(client, history, std::move(operation), timeout,
       [this, &history, after = std::move(after)](Operation&& ended) {
         --busy_;
         finish(history, std::move(ended));
         after();
       });
}

void Workload::finish(History& history, Operation&& operation) {
  operation.end = cluster_.world().now();
  if (operation.outcome == Outcome::kUnknown && operation.kind != OpKind::kGet) {
    ++history.unknown;
    ++unknown_;
  }
  if (operation.outcome == Outcome::kDone) {
    ++done_;
    switch (operation.kind) {
      case OpKind::kGet:
        history.last_seen = operation.found;
        break;
      case OpKind::kSet:
        history.last_seen = operation.value;
        break;
      case OpKind::kDelete:
        history.last_seen = std::nullopt;
        break;
      case OpKind::kCompareExchange:
        history.last_seen = operation.passed ? KeyState(operation.value) : operation.found;
        break;
      case OpKind::kIncrement:
        break;
    }
  }
  // An idempotent operation that was repeated may have taken effect before, and may once more.
  if (operation.kind != OpKind::kGet) {
    auto other = operation;
    other.outcome = Outcome::kUnknown;
    other.end = kNever;
    for (auto left = std::min(operation.repeats, kMostRepeats); left > 0; --left) {
      ++history.unknown;
      history.operations.push_back(other);
    }
  }
  cluster_.world().note(crc64(to_string(operation)));
  if (on_end_) on_end_(history.name, operation);
  history.operations.push_back(std::move(operation));
}

// --- the messages ---

template <typename T>
void Workload::call(int client, client::Prepared<T> prepared, Duration timeout, Operation operation,
                    Done done, void (*take)(Operation&, T&)) {
  auto& core = cluster_.client(client);
  auto* table = core.table(options_.table);
  auto held = std::make_shared<std::pair<Operation, Done>>(std::move(operation), std::move(done));
  core.call(*table, std::move(prepared.request), core.shard().now() + timeout,
            [held, take, read = prepared.read](client::Answer answer) {
              auto& op = held->first;
              auto error = answer.error;
              op.repeats = answer.unsure_attempts;
              if (!error) {
                auto outcome = read(std::move(answer));
                error = outcome.error();
                if (!error) {
                  op.outcome = Outcome::kDone;
                  take(op, *outcome);
                }
              }
              if (error.code == ErrorCode::kNotFound) {
                op.outcome = Outcome::kDone;  // a read of nothing
              } else if (error) {
                op.outcome =
                    surely_not_done(op.kind, error.code) ? Outcome::kNot : Outcome::kUnknown;
              }
              held->second(std::move(op));
            });
}

void Workload::send(int client, const History& history, Operation operation, Duration timeout,
                    Done done) {
  const auto& name = history.name;
  auto ignore = [](Operation&, auto&) {};
  bool pair = history.kind == Kind::kPair;
  // What the closures need is copied before `operation` moves away.
  auto value = operation.value;
  auto amount = operation.amount;
  switch (operation.kind) {
    case OpKind::kGet:
      if (pair) {
        return call<Cells>(client, client::prepare_multi_get(name, {"a", "b"}), timeout,
                           std::move(operation), std::move(done), [](Operation& op, Cells& got) {
                             if (got.cells.empty()) return;
                             bool whole =
                                 got.cells.size() == 2 && got.cells[0].value == got.cells[1].value;
                             op.found = whole ? got.cells[0].value : kTorn;
                           });
      }
      return call<std::string>(client, client::prepare_get(name, "a"), timeout,
                               std::move(operation), std::move(done),
                               [](Operation& op, std::string& got) { op.found = std::move(got); });
    case OpKind::kSet:
      if (pair) {
        return call<Nothing>(client,
                             client::prepare_multi_set(name, {{"a", value}, {"b", value}}, 0),
                             timeout, std::move(operation), std::move(done), ignore);
      }
      return call<Nothing>(client, client::prepare_set(name, "a", value, 0), timeout,
                           std::move(operation), std::move(done), ignore);
    case OpKind::kDelete:
      return call<Nothing>(client, client::prepare_del(name, "a"), timeout, std::move(operation),
                           std::move(done), ignore);
    case OpKind::kIncrement:
      return call<int64_t>(client, client::prepare_incr(name, "a", amount, 0), timeout,
                           std::move(operation), std::move(done),
                           [](Operation& op, int64_t& got) { op.number = got; });
    case OpKind::kCompareExchange: {
      Condition condition;
      condition.check_sort_key = "a";
      condition.check = operation.expected ? Check::kBytesEqual : Check::kNotExist;
      condition.operand = operation.expected.value_or("");
      condition.return_check_value = true;
      auto prepared = client::prepare_check_and_set(name, condition, {"a", value}, 0);
      return call<Checked>(client, std::move(prepared), timeout, std::move(operation),
                           std::move(done), [](Operation& op, Checked& got) {
                             op.passed = got.passed;
                             op.found = got.check_value;
                           });
    }
  }
}

// --- the end ---

void Workload::read_all() {
  for (auto& history : histories_) to_read_.push_back(&history);
  for (int client = 0; client < cluster_.options().clients; ++client) {
    for (int lane = 0; lane < 4; ++lane) {
      cluster_.client(client).shard().post([this, client] { read_next(client); });
    }
  }
}

void Workload::read_next(int client) {
  if (to_read_.empty()) return;
  auto* history = to_read_.back();
  to_read_.pop_back();
  perform(client, *history, Operation(), kFinalTimeout, [this, client, history] {
    // Without an answer nothing is proven: once more.
    if (history->operations.back().outcome != Outcome::kDone) {
      history->operations.pop_back();
      to_read_.push_back(history);
      // A client that is full answers at once, again and again.
      cluster_.world().schedule_after(kReadAgain, [this, client] {
        cluster_.client(client).shard().post([this, client] { read_next(client); });
      });
      return;
    }
    read_next(client);
  });
}

void Workload::judge(Watch& watch) const {
  for (const auto& history : histories_) {
    auto complaint = explain_history(history.name, history.operations);
    if (!complaint.empty()) watch.violation(std::move(complaint));
  }
}

}  // namespace markab::sim
