#pragma once
// The real side of Shard: a thread that goes from turn to turn (poller.h). Owned by RealRuntime.

#include <atomic>
#include <boost/asio/execution_context.hpp>
#include <mutex>
#include <thread>
#include <vector>

#include "io/poller.h"
#include "io/shard.h"
#include "io/timer_queue.h"

namespace markab::io {

class RealShard final : public Shard {
 public:
  explicit RealShard(int index);
  // Frees what was dropped. After join().
  ~RealShard() override;

  void post(Task task) override;
  TimerHandle after(Duration delay, Task task) override;
  Instant now() const override;
  int64_t wall_us() const override;
  bool in_thread() const override;
  boost::asio::any_io_executor executor() override;
  int index() const override { return index_; }

  Poller& poller() { return poller_; }
  // The loop ends after the task it is in.
  void stop();
  void join();

 private:
  friend class ShardExecutor;
  // Tasks that tasks post belong to the turn, up to so many generations; sockets wait meanwhile.
  static constexpr int kGenerations = 8;

  void run();
  int timeout_ms();
  void run_tasks();
  // Moves what other threads posted behind what is queued here.
  void take_inbox();

  const int index_;
  boost::asio::execution_context context_;  // for coroutines; outlives what is queued
  Poller poller_;
  TimerQueue timers_;
  std::vector<Task> queue_;    // of this thread
  std::vector<Task> running_;  // taken from it
  std::atomic<bool> stopped_{false};
  std::atomic<bool> has_inbox_{false};

  std::mutex mutex_;         // of what follows
  std::vector<Task> inbox_;  // from other threads
  bool sleeping_ = false;    // the loop waits, or is about to: who posts wakes it
  bool freed_ = false;       // the end: what is posted is dropped

  std::thread thread_;  // last: starts when all else is there
};

}  // namespace markab::io
