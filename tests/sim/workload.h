#pragma once
// Clients at work on one table: sets, deletes, increments and compare-and-exchanges of few keys by
// several clients at once, so that operations meet, with reads between; all of it recorded. A key
// has one of three kinds: registers, counters, and pairs (two rows of one hash key, always written
// together, which must never be seen to differ).
//
// A key is used for a bounded number of operations; then a new one takes its slot, and the old one
// is read once more at the end: what was acknowledged must still be there.

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "client/operations.h"
#include "history.h"
#include "sim_cluster.h"

namespace markab::sim {

struct WorkloadOptions {
  std::string table = "sim";
  int slots = 12;
  // Operations that a client has under way at once.
  int lanes = 2;
};

class Workload {
 public:
  Workload(SimCluster& cluster, const WorkloadOptions& options);

  void start();
  // The mean time between an answer and the next operation of the same lane.
  void set_pace(Duration think) { think_ = think; }
  // No new operations; those under way end by their deadline.
  void stop() { stopping_ = true; }
  bool idle() const { return busy_ == 0; }
  // Every slot's key was written after the call of mark().
  void mark();
  bool all_moved() const;
  std::string unmoved() const;
  // Reads every key that was ever used, once more; run the world until idle() && !reading().
  void read_all();
  bool reading() const { return !to_read_.empty(); }
  // Judges all histories.
  void judge(Watch& watch) const;

  uint64_t done() const { return done_; }
  uint64_t unknown() const { return unknown_; }
  size_t keys() const { return histories_.size(); }
  // Each operation's end, for the timeline.
  void on_end(Callback<const std::string&, const Operation&> watch) { on_end_ = std::move(watch); }

 private:
  enum class Kind { kRegister, kCounter, kPair };
  struct History {
    std::string name;
    Kind kind = Kind::kRegister;
    std::vector<Operation> operations;
    int unknown = 0;
    KeyState last_seen;
  };
  struct Slot {
    Kind kind = Kind::kRegister;
    int generation = 0;
    History* history = nullptr;
    bool moved = false;
  };
  using Done = Callback<Operation&&>;

  Random& random() { return cluster_.world().random(); }
  void renew(size_t slot);
  void next(int client);
  void again(int client);
  Operation choose(History& history);
  void perform(int client, History& history, Operation operation, Duration timeout, Task after);
  void send(int client, const History& history, Operation operation, Duration timeout, Done done);
  void finish(History& history, Operation&& operation);
  template <typename T>
  void call(int client, client::Prepared<T> prepared, Duration timeout, Operation operation,
            Done done, void (*take)(Operation&, T&));
  void read_next(int client);

  SimCluster& cluster_;
  const WorkloadOptions options_;
  Duration think_ = std::chrono::milliseconds(50);
  std::deque<History> histories_;  // of all keys; addresses stay
  std::vector<Slot> slots_;
  std::vector<History*> to_read_;
  bool stopping_ = false;
  int busy_ = 0;
  int64_t next_value_ = 1;
  uint64_t done_ = 0;
  uint64_t unknown_ = 0;
  Callback<const std::string&, const Operation&> on_end_;
};

}  // namespace markab::sim
