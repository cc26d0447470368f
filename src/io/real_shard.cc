#include "io/real_shard.h"

#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

#include "base/assert.h"

namespace markab::io {

namespace asio = boost::asio;

namespace {

// The shard whose thread this is.
thread_local const RealShard* current_shard = nullptr;

// No wait is longer; a clock that stood still while the machine slept costs no more than that.
constexpr int kLongestWaitMs = 3'600'000;

}  // namespace

// Lets asio's coroutines run as tasks of the shard, never inline.
class ShardExecutor {
 public:
  explicit ShardExecutor(RealShard& shard) noexcept : shard_(&shard) {}

  template <typename F>
  void execute(F&& f) const {
    shard_->post(Task(std::forward<F>(f)));
  }
  asio::execution_context& query(asio::execution::context_t) const noexcept {
    return shard_->context_;
  }
  static constexpr asio::execution::blocking_t query(asio::execution::blocking_t) noexcept {
    return asio::execution::blocking.never;
  }
  friend bool operator==(const ShardExecutor&, const ShardExecutor&) noexcept = default;

 private:
  RealShard* shard_;
};

RealShard::RealShard(int index) : index_(index), thread_([this] { run(); }) {}

RealShard::~RealShard() {
  {
    std::lock_guard lock(mutex_);
    freed_ = true;
  }
  // What is freed may let go of more.
  timers_.clear();
  for (auto* tasks : {&running_, &queue_, &inbox_}) {
    auto freed = std::move(*tasks);
    tasks->clear();
  }
}

void RealShard::post(Task task) {
  if (in_thread()) {
    if (has_inbox_.load(std::memory_order_acquire)) take_inbox();
    queue_.push_back(std::move(task));
    return;
  }
  std::lock_guard lock(mutex_);
  if (freed_) return;
  inbox_.push_back(std::move(task));
  has_inbox_.store(true, std::memory_order_release);
  // Under the lock: once the task is seen the shard may end, and waits for the lock to do so.
  if (std::exchange(sleeping_, false)) poller_.wake();
}

TimerHandle RealShard::after(Duration delay, Task task) {
  MARKAB_ASSERT(in_thread(), "a timer is set from another thread than its shard's", index_);
  return timers_.add(now() + std::max(delay, Duration::zero()), std::move(task));
}

Instant RealShard::now() const {
  return {std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now().time_since_epoch())
              .count()};
}

int64_t RealShard::wall_us() const {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

bool RealShard::in_thread() const { return current_shard == this; }

asio::any_io_executor RealShard::executor() { return ShardExecutor(*this); }

void RealShard::stop() {
  stopped_.store(true);
  poller_.wake();
}

void RealShard::join() {
  if (thread_.joinable()) thread_.join();
}

// --- the loop

void RealShard::run() {
  auto name = fmt::format("shard{}", index_);
  pthread_setname_np(pthread_self(), name.c_str());
  current_shard = this;
  while (!stopped_.load(std::memory_order_relaxed)) {
    poller_.wait(timeout_ms());
    if (timers_.next() != kNever) timers_.run_due(now());
    run_tasks();
    poller_.end_turn();
  }
  current_shard = nullptr;
}

// Until the next timer, rounded up: none fires too early.
int RealShard::timeout_ms() {
  if (!queue_.empty() || poller_.ends_wanted()) return 0;
  {
    std::lock_guard lock(mutex_);
    if (!inbox_.empty()) return 0;
    sleeping_ = true;
  }
  Instant next = timers_.next();
  if (next == kNever) return -1;
  int64_t left = std::max<int64_t>(0, (next - now()).count());
  return static_cast<int>(std::min<int64_t>((left + 999'999) / 1'000'000, kLongestWaitMs));
}

void RealShard::take_inbox() {
  std::lock_guard lock(mutex_);
  std::move(inbox_.begin(), inbox_.end(), std::back_inserter(queue_));
  inbox_.clear();
  has_inbox_.store(false, std::memory_order_relaxed);
  sleeping_ = false;
}

void RealShard::run_tasks() {
  for (int i = 0; i < kGenerations; ++i) {
    if (i == 0 || has_inbox_.load(std::memory_order_acquire)) take_inbox();
    if (queue_.empty()) return;
    running_.swap(queue_);
    for (Task& task : running_) {
      // What is left is freed with the shard.
      if (stopped_.load(std::memory_order_relaxed)) return;
      Task run = std::move(task);
      run();
    }
    running_.clear();
  }
}

}  // namespace markab::io
