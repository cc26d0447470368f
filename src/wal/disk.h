#pragma once
// Group commit: the logs of one disk that wait for a sync share one visit to the blocking pool. One
// round is under way at a time; it takes all logs that wait when it begins, and those that come
// meanwhile make the next one.
//
// Thread-safe. Rounds keep what they touch alive: a log may be destroyed while its sync is under
// way.

#include <memory>
#include <mutex>
#include <vector>

#include "wal/log.h"

namespace markab::wal {

// What can be synced: one log.
class Syncable {
 public:
  virtual ~Syncable() = default;
  // Syncs what was written before the call, and tells its owner. On a thread of the pool.
  virtual void sync_round() = 0;
  // Where the round's end is noted. Lives as long as the runtime.
  virtual io::Shard& home() = 0;

 private:
  friend class Syncer;
  bool waits_ = false;  // guarded by Syncer::mutex_
};

class Syncer : public std::enable_shared_from_this<Syncer> {
 public:
  explicit Syncer(io::BlockingPool& pool) : pool_(pool) {}

  // `log` takes part in the next round that begins. Any thread.
  void request(std::shared_ptr<Syncable> log);

 private:
  void start_round(io::Shard& home);
  void run_round();

  io::BlockingPool& pool_;
  std::mutex mutex_;
  std::vector<std::shared_ptr<Syncable>> waiting_;
  bool under_way_ = false;
};

class DiskImpl final : public Disk {
 public:
  DiskImpl(io::FileSystem& files, io::BlockingPool& pool, const Options& options);

  io::FileSystem& files() override { return files_; }
  const Options& options() const override { return options_; }
  io::BlockingPool& pool() { return pool_; }
  const std::shared_ptr<Syncer>& syncer() const { return syncer_; }

 private:
  io::FileSystem& files_;
  io::BlockingPool& pool_;
  const Options options_;
  const std::shared_ptr<Syncer> syncer_;
};

}  // namespace markab::wal
