#include "sim/sim_runtime.h"

#include <algorithm>
#include <boost/asio/execution.hpp>

#include "base/assert.h"

namespace markab::sim {

// 2026-01-01 00:00:00 UTC, in microseconds: what the wall clocks show when the world begins.
constexpr int64_t kWallOrigin = 1767225600'000000;
constexpr int64_t kMillion = 1'000'000;

SimWorld::~SimWorld() {
  MARKAB_ASSERT(runtimes_ == 0, "a node of the simulation outlives its world", runtimes_);
}

SimWorld::EventId SimWorld::add(SimRuntime* owner, SimShard* shard, Instant at, Task task) {
  uint32_t slot;
  if (free_.empty()) {
    slot = static_cast<uint32_t>(events_.size());
    events_.emplace_back();
  } else {
    slot = free_.back();
    free_.pop_back();
  }
  Event& event = events_[slot];
  event.owner = owner;
  event.shard = shard;
  event.used = true;
  event.task = std::move(task);
  ++pending_;
  EventId id = static_cast<uint64_t>(event.generation) << 32 | slot;
  due_.push({std::max(at, now_), next_sequence_++, id});
  return id;
}

SimWorld::Event* SimWorld::find(EventId id) {
  auto slot = static_cast<uint32_t>(id);
  if (slot >= events_.size()) return nullptr;
  Event& event = events_[slot];
  return event.used && event.generation == id >> 32 ? &event : nullptr;
}

Task SimWorld::release(Event& event) {
  Task task = std::move(event.task);
  event.used = false;
  event.owner = nullptr;
  event.shard = nullptr;
  ++event.generation;
  free_.push_back(static_cast<uint32_t>(&event - events_.data()));
  --pending_;
  return task;
}

void SimWorld::cancel(EventId id) {
  Event* event = find(id);
  if (event == nullptr) return;
  Task task =
      release(*event);  // destroyed when this function ends: its closure may touch the queue
}

void SimWorld::drop_all_of(SimRuntime* owner) {
  std::vector<Task> dropped;  // destroyed at the end: their closures may touch the queue
  for (Event& event : events_) {
    if (event.used && event.owner == owner) dropped.push_back(release(event));
  }
}

void SimWorld::requeue(const std::vector<EventId>& ids) {
  for (EventId id : ids) {
    if (find(id) != nullptr) due_.push({now_, next_sequence_++, id});
  }
}

bool SimWorld::run_next(Instant deadline) {
  while (!due_.empty() && due_.top().at <= deadline) {
    Due next = due_.top();
    due_.pop();
    Event* event = find(next.id);
    if (event == nullptr) continue;  // cancelled
    now_ = std::max(now_, next.at);
    SimRuntime* owner = event->owner;
    if (owner != nullptr && owner->paused_) {
      owner->held_.push_back(next.id);
      continue;
    }
    note(static_cast<uint64_t>(next.at.ns));
    note(next.sequence);
    ++events_run_;
    SimShard* shard = event->shard;
    Task task = release(*event);
    auto* outer_runtime = std::exchange(current_runtime_, owner);
    auto* outer_shard = std::exchange(current_shard_, shard);
    task();
    task = nullptr;
    current_runtime_ = outer_runtime;
    current_shard_ = outer_shard;
    return true;
  }
  return false;
}

bool SimWorld::step() { return run_next(kNever); }

uint64_t SimWorld::run_until(Instant deadline) {
  uint64_t before = events_run_;
  while (run_next(deadline)) {
  }
  now_ = std::max(now_, deadline);
  return events_run_ - before;
}

bool SimWorld::run_until(const Function<bool()>& reached, Duration limit) {
  Instant deadline = now_ + limit;
  while (!reached()) {
    if (!run_next(deadline)) {
      now_ = std::max(now_, deadline);
      return reached();
    }
  }
  return true;
}

uint64_t SimWorld::run_until_idle(uint64_t max_events) {
  uint64_t before = events_run_;
  while (step()) {
    MARKAB_ASSERT(events_run_ - before <= max_events, "the simulation does not come to rest",
                  max_events);
  }
  return events_run_ - before;
}

// --- one node ---

struct SimRuntime::Pool final : io::BlockingPool {
  explicit Pool(SimRuntime& runtime) : runtime(runtime) {}

  void run(io::Shard& home, Task work, Task done) override {
    if (runtime.killed_) return;
    ++runtime.blocking_calls_;
    const Options& options = runtime.options_;
    auto spread = static_cast<uint64_t>(
        (options.max_blocking_latency - options.min_blocking_latency).count());
    auto latency = options.min_blocking_latency +
                   Duration(static_cast<int64_t>(runtime.world_.random_.below(spread + 1)));
    runtime.world_.add(&runtime, nullptr, runtime.world_.now_ + latency,
                       [&home, work = std::move(work), done = std::move(done)]() mutable {
                         work();
                         work = nullptr;
                         home.post(std::move(done));
                       });
  }

  SimRuntime& runtime;
};

SimRuntime::SimRuntime(SimWorld& world, std::string name, const Options& options)
    : world_(world),
      name_(std::move(name)),
      options_(options),
      world_anchor_(world.now_),
      local_anchor_(world.now_),
      pool_(std::make_unique<Pool>(*this)) {
  MARKAB_ASSERT(options.shards > 0, "a node needs a shard", name_);
  set_blocking_latency(options.min_blocking_latency, options.max_blocking_latency);
  for (int i = 0; i < options.shards; ++i) shards_.push_back(std::make_unique<SimShard>(*this, i));
  ++world_.runtimes_;
}

SimRuntime::~SimRuntime() {
  kill();
  MARKAB_ASSERT(world_.current_runtime_ != this, "a node is destroyed by a task of its own", name_);
  --world_.runtimes_;
}

io::Shard& SimRuntime::shard(int index) { return *shards_.at(static_cast<size_t>(index)); }

io::BlockingPool& SimRuntime::blocking() { return *pool_; }

void SimRuntime::kill() {
  killed_ = true;  // first: closures that are destroyed may post
  world_.drop_all_of(this);
  held_.clear();
}

void SimRuntime::pause() { paused_ = true; }

size_t SimRuntime::queued() const {
  return static_cast<size_t>(
      std::count_if(world_.events_.begin(), world_.events_.end(),
                    [this](const auto& event) { return event.used && event.owner == this; }));
}

void SimRuntime::resume() {
  if (!paused_) return;
  paused_ = false;
  world_.requeue(std::exchange(held_, {}));
}

void SimRuntime::set_blocking_latency(Duration least, Duration most) {
  MARKAB_ASSERT(least >= Duration(0) && least <= most, "not a range of latencies", least.count(),
                most.count());
  options_.min_blocking_latency = least;
  options_.max_blocking_latency = most;
}

void SimRuntime::set_clock_drift_ppm(int64_t ppm) {
  MARKAB_ASSERT(ppm > -kMillion, "a clock does not run backwards", ppm);
  local_anchor_ = now();
  world_anchor_ = world_.now_;
  options_.clock_drift_ppm = ppm;
}

Instant SimRuntime::now() const {
  auto passed = static_cast<__int128>((world_.now_ - world_anchor_).count());
  return local_anchor_ +
         Duration(static_cast<int64_t>(passed * (kMillion + options_.clock_drift_ppm) / kMillion));
}

Instant SimRuntime::world_time(Instant local) const {
  auto passed = static_cast<__int128>((local - local_anchor_).count());
  __int128 rate = kMillion + options_.clock_drift_ppm;
  return world_anchor_ + Duration(static_cast<int64_t>((passed * kMillion + rate - 1) / rate));
}

int64_t SimRuntime::wall_us() const {
  return kWallOrigin + world_.now_.ns / 1000 + options_.wall_offset_us;
}

// --- one shard ---

// Lets asio's coroutines run as events of the world. Never runs anything inline.
class SimExecutor {
 public:
  explicit SimExecutor(SimShard& shard) noexcept : shard_(&shard) {}

  template <typename F>
  void execute(F&& f) const {
    shard_->post(Task(std::forward<F>(f)));
  }
  boost::asio::execution_context& query(boost::asio::execution::context_t) const noexcept {
    return shard_->context_;
  }
  static constexpr boost::asio::execution::blocking_t query(
      boost::asio::execution::blocking_t) noexcept {
    return boost::asio::execution::blocking.never;
  }
  friend bool operator==(const SimExecutor&, const SimExecutor&) noexcept = default;

 private:
  SimShard* shard_;
};

void SimShard::post(Task task) {
  if (runtime_.killed_) return;
  SimWorld& world = runtime_.world_;
  Instant due = world.now_;
  if (auto most = runtime_.options_.max_task_delay.count(); most > 0) {
    due =
        due + Duration(static_cast<int64_t>(world.random_.below(static_cast<uint64_t>(most) + 1)));
  }
  last_due_ = std::max(last_due_, due);
  world.add(&runtime_, this, last_due_, std::move(task));
}

io::TimerHandle SimShard::after(Duration delay, Task task) {
  struct Timer final : io::TimerHandle::Impl {
    Timer(SimWorld& world, SimWorld::EventId id) : world(world), id(id) {}
    ~Timer() override { world.cancel(id); }
    SimWorld& world;
    SimWorld::EventId id;
  };
  MARKAB_ASSERT(in_thread(), "a timer is set from another thread than its shard's", index_);
  if (runtime_.killed_) return {};
  SimWorld& world = runtime_.world_;
  Instant due = runtime_.world_time(runtime_.now() + std::max(delay, Duration(0)));
  return io::TimerHandle(
      std::make_unique<Timer>(world, world.add(&runtime_, this, due, std::move(task))));
}

bool SimShard::in_thread() const {
  const SimWorld& world = runtime_.world_;
  return world.current_runtime_ == nullptr || world.current_shard_ == this;
}

boost::asio::any_io_executor SimShard::executor() { return SimExecutor(*this); }

}  // namespace markab::sim
