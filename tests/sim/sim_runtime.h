#pragma once
// The simulated side of io::Runtime: all shards and pools of all nodes in one thread, against one
// virtual clock. A run is a function of the seed: events are ordered by (virtual time, the order in
// which they were asked for), and whatever is left to chance (how long blocking work takes, how
// long a task waits for its turn) comes from the world's Random.
//
//   SimWorld world(seed);
//   auto node = std::make_unique<SimRuntime>(world, "r1", SimRuntime::Options{});
//   node->shard(0).post([&] { ... });
//   world.run_for(std::chrono::seconds(5));
//   node->kill();                                 // a crash: what it had queued is gone; then
//   destroy its objects node = std::make_unique<SimRuntime>(...);     // the node boots again
//
// The world outlives its runtimes; a runtime outlives the objects of its node. One thread uses all
// of it.

#include <boost/asio/execution_context.hpp>
#include <cstdint>
#include <memory>
#include <queue>
#include <string>
#include <vector>

#include "base/function.h"
#include "base/ids.h"
#include "base/random.h"
#include "io/shard.h"

namespace markab::sim {

class SimRuntime;
class SimShard;

// The clock and the queue of events.
class SimWorld {
 public:
  // Names a queued event; 0 = none. Never used again for another event.
  using EventId = uint64_t;

  explicit SimWorld(uint64_t seed) : random_(seed) {}
  ~SimWorld();
  SimWorld(const SimWorld&) = delete;
  SimWorld& operator=(const SimWorld&) = delete;

  Instant now() const { return now_; }
  Random& random() { return random_; }

  // An event of the world itself (a fault, a message in flight): no kill() drops it.
  EventId schedule(Instant at, Task task) { return add(nullptr, nullptr, at, std::move(task)); }
  EventId schedule_after(Duration delay, Task task) {
    return schedule(now_ + delay, std::move(task));
  }
  // Nothing when the event has run or was dropped.
  void cancel(EventId id);

  // Runs the next event; false when there is none.
  bool step();
  // Runs the events due up to then, and sets the clock to it. Returns how many ran.
  uint64_t run_until(Instant deadline);
  uint64_t run_for(Duration duration) { return run_until(now_ + duration); }
  // Runs until `reached` holds (asked before each event) or `limit` has passed; says whether it
  // holds.
  bool run_until(const Function<bool()>& reached, Duration limit);
  // Runs until no event is left, but at most `max_events` (asserted: a timer that always starts
  // itself again never ends).
  uint64_t run_until_idle(uint64_t max_events = 1'000'000);

  size_t pending() const { return pending_; }
  uint64_t events_run() const { return events_run_; }
  // A hash of all that ran so far (times and order): two runs of one seed that differ are not
  // deterministic.
  uint64_t fingerprint() const { return fingerprint_; }
  // Takes something that happened into the fingerprint: a message's bytes, an operation's result.
  void note(uint64_t what) { fingerprint_ = (fingerprint_ ^ what) * 0x100000001b3ull; }
  // The node whose event runs at this moment; nullptr outside of events and in the world's own.
  const SimRuntime* running() const { return current_runtime_; }

 private:
  friend class SimRuntime;
  friend class SimShard;

  struct Event {
    SimRuntime* owner = nullptr;  // null: the world
    SimShard* shard = nullptr;    // null: the world, or a thread of the owner's pool
    uint32_t generation = 1;
    bool used = false;
    Task task;
  };
  struct Due {
    Instant at;
    uint64_t sequence;
    EventId id;
    friend bool operator<(const Due& a,
                          const Due& b) {  // std::priority_queue gives the greatest first
      return a.at != b.at ? a.at > b.at : a.sequence > b.sequence;
    }
  };

  EventId add(SimRuntime* owner, SimShard* shard, Instant at, Task task);
  Event* find(EventId id);
  Task release(Event& event);
  bool run_next(Instant deadline);
  void drop_all_of(SimRuntime* owner);
  void requeue(const std::vector<EventId>& ids);

  Random random_;
  Instant now_{1'000'000'000};
  uint64_t next_sequence_ = 1;
  std::priority_queue<Due> due_;
  std::vector<Event> events_;  // slots; an EventId is (generation, slot)
  std::vector<uint32_t> free_;
  size_t pending_ = 0;
  int runtimes_ = 0;
  uint64_t events_run_ = 0;
  uint64_t fingerprint_ = 0xcbf29ce484222325ull;
  // What runs at this moment; both null outside of events and in events of the world.
  SimRuntime* current_runtime_ = nullptr;
  SimShard* current_shard_ = nullptr;
};

// The shards and the blocking pool of one simulated process, from its start to its end.
class SimRuntime final : public io::Runtime {
 public:
  struct Options {
    int shards = 1;
    // Blocking work takes effect this long after it was asked for (uniform); `done` follows as a
    // task of its own, so a crash may fall between them.
    Duration min_blocking_latency = std::chrono::microseconds(50);
    Duration max_blocking_latency = std::chrono::microseconds(500);
    // A posted task waits up to this long for its turn (uniform); the order within a shard is kept.
    Duration max_task_delay = Duration(0);
    // Its monotonic clock runs this much faster than the world's.
    int64_t clock_drift_ppm = 0;
    // Its wall clock is ahead of the world's by this.
    int64_t wall_offset_us = 0;
  };

  SimRuntime(SimWorld& world, std::string name, const Options& options);
  ~SimRuntime() override;  // kill()

  int shard_count() const override { return static_cast<int>(shards_.size()); }
  io::Shard& shard(int index) override;
  io::BlockingPool& blocking() override;

  // The process ends here and now, without a word: queued tasks, timers and blocking work are
  // destroyed without having run, later ones are dropped. The task that runs at this moment, if it
  // is one of this node, ends normally.
  void kill();
  bool killed() const { return killed_; }
  // As SIGSTOP and SIGCONT: nothing of this node runs in between, its clocks go on; then what fell
  // due runs in order.
  void pause();
  void resume();
  bool paused() const { return paused_; }

  void set_blocking_latency(Duration least, Duration most);
  void set_clock_drift_ppm(int64_t ppm);  // from here on; the clock does not jump
  void set_wall_offset_us(int64_t offset) { options_.wall_offset_us = offset; }
  // Calls of BlockingPool::run so far.
  uint64_t blocking_calls() const { return blocking_calls_; }

  // The node's clocks.
  Instant now() const;
  int64_t wall_us() const;

  SimWorld& world() { return world_; }
  const std::string& name() const { return name_; }
  // Tasks, timers and blocking work that have not run yet. Walks the whole queue.
  size_t queued() const;

 private:
  friend class SimWorld;
  friend class SimShard;
  struct Pool;

  // The instant of the world at which this node's clock shows `local`, or a little after.
  Instant world_time(Instant local) const;

  SimWorld& world_;
  const std::string name_;
  Options options_;
  Instant world_anchor_;  // at this instant of the world ...
  Instant local_anchor_;  // ... the node's clock showed this
  bool killed_ = false;
  bool paused_ = false;
  std::vector<SimWorld::EventId> held_;  // fell due while paused
  uint64_t blocking_calls_ = 0;
  std::vector<std::unique_ptr<SimShard>> shards_;
  std::unique_ptr<Pool> pool_;
};

class SimShard final : public io::Shard {
 public:
  SimShard(SimRuntime& runtime, int index) : runtime_(runtime), index_(index) {}

  void post(Task task) override;
  io::TimerHandle after(Duration delay, Task task) override;
  Instant now() const override { return runtime_.now(); }
  int64_t wall_us() const override { return runtime_.wall_us(); }
  // Also outside of any event, so that a test may set things up.
  bool in_thread() const override;
  boost::asio::any_io_executor executor() override;
  int index() const override { return index_; }

  SimRuntime& runtime() { return runtime_; }

 private:
  friend class SimExecutor;

  SimRuntime& runtime_;
  const int index_;
  Instant last_due_;  // no later post may overtake an earlier one
  boost::asio::execution_context context_;
};

}  // namespace markab::sim
