#pragma once
// A shard of the machine: one event loop, one thread, a clock and timers. Everything that a
// connection or a replica does happens on its shard, so that no lock is needed. This is a seam:
// RealShard runs an event loop on a thread; the simulator runs all shards of all nodes in one
// thread against a virtual clock.

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/function.h"
#include "base/ids.h"

namespace markab::io {

class TimerHandle;

class Shard {
 public:
  virtual ~Shard() = default;

  // Runs `task` on this shard, after what was posted before. Any thread. Tasks posted after stop()
  // are dropped.
  virtual void post(Task task) = 0;
  // Runs `task` on this shard once, not before now() + delay. This shard's thread only. Letting go
  // of the handle cancels.
  [[nodiscard]] virtual TimerHandle after(Duration delay, Task task) = 0;
  // The monotonic clock. Any thread.
  virtual Instant now() const = 0;
  // Microseconds since 1970 UTC; may jump. Any thread.
  virtual int64_t wall_us() const = 0;
  virtual bool in_thread() const = 0;
  // For coroutines (co_spawn): runs on this shard. Timers of asio are not for use above this room:
  // use after().
  virtual boost::asio::any_io_executor executor() = 0;
  // 0..n-1 within the daemon.
  virtual int index() const = 0;
};

// A pending timer; cancels when destroyed. Owned on the shard's thread.
class TimerHandle {
 public:
  struct Impl {
    virtual ~Impl() = default;  // destroying it cancels
  };
  TimerHandle() = default;
  explicit TimerHandle(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
  void cancel() { impl_.reset(); }
  explicit operator bool() const { return impl_ != nullptr; }

 private:
  std::unique_ptr<Impl> impl_;
};

// Runs blocking work (disk reads that miss the cache, checkpoints, opening stores) away from the
// shards.
class BlockingPool {
 public:
  virtual ~BlockingPool() = default;
  // Runs `work` on a thread of the pool, then `done` on `home`. After stop() neither runs.
  virtual void run(Shard& home, Task work, Task done) = 0;
};

// The shards and the pool of one daemon.
class Runtime {
 public:
  virtual ~Runtime() = default;
  virtual int shard_count() const = 0;
  virtual Shard& shard(int index) = 0;
  // For what a client waits for: reads that miss the cache.
  virtual BlockingPool& blocking() = 0;
  // For reads of many rows: those of single rows do not wait behind them, and the shards come first
  // where the processors are few.
  virtual BlockingPool& range_reads() { return blocking(); }
  // For syncs of logs: they wait for the disk only, and neither wait behind reads nor hold them up.
  virtual BlockingPool& syncing() { return blocking(); }
  // For long work that nobody waits for by the millisecond: stores that open, close and flush,
  // checkpoints, copies. Its threads yield the processor and the disk to all others.
  virtual BlockingPool& background() { return blocking(); }
};

// Runs `done` on `home` after every shard of `runtime` has finished the task it was in when this
// was called: what was unpublished before the call is then seen by no task any more. Any thread.
void after_all_shards(Runtime& runtime, Shard& home, Task done);

struct RealRuntimeOptions {
  int shards = 0;  // 0: one per core
  int blocking_threads = 4;
  int range_read_threads = 0;  // 0: the blocking threads serve them
  int sync_threads = 0;        // 0: what syncs uses the blocking threads
  int background_threads = 0;  // 0: so does background work
};

class Poller;
class RealShard;

// The real side: starts its threads in the constructor.
class RealRuntime final : public Runtime {
 public:
  explicit RealRuntime(const RealRuntimeOptions& options);
  ~RealRuntime() override;  // stop()

  int shard_count() const override;
  Shard& shard(int index) override;
  BlockingPool& blocking() override;
  BlockingPool& range_reads() override;
  BlockingPool& syncing() override;
  BlockingPool& background() override;
  // Of a shard, for sockets.
  Poller& poller(int index);
  // Runs `task` on shard `index` and waits for it. Not from a shard's thread.
  void run_and_wait(int index, Task task);
  // Ends the loops and joins all threads; queued tasks are dropped. Owners must have stopped what
  // they started.
  void stop();

 private:
  struct Pool;
  std::vector<std::unique_ptr<RealShard>> shards_;
  std::unique_ptr<Pool> blocking_;
  std::unique_ptr<Pool> range_reads_;
  std::unique_ptr<Pool> syncing_;
  std::unique_ptr<Pool> background_;
};

}  // namespace markab::io
