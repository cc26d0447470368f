#pragma once
// Group commit: a log that waits for a sync waits once, whatever it appends meanwhile, and the logs
// of one disk are synced side by side, at most Options::parallel_syncs of them at a time, so that
// the file system commits them together.
//
// Side by side since ext4 makes callers that come one after the other wait for a journal commit
// each: 16 logs of one disk took 65 ms in one thread, 15 ms in two, 1.6 ms in four, not less in
// more (tests/bench/wal_bench, "always/16").
//
// Thread-safe. What is under way keeps what it touches alive: a log may be destroyed while its sync
// is under way.

#include <deque>
#include <memory>
#include <mutex>

#include "wal/log.h"

namespace markab::wal {

// What can be synced: one log.
class Syncable {
 public:
  virtual ~Syncable() = default;
  // Syncs what was written before the call, and tells its owner. On a thread of the pool; never
  // twice at a time.
  virtual void sync() = 0;
  // The shard that it belongs to; lives as long as the runtime.
  virtual io::Shard& home() = 0;

 private:
  friend class Syncer;
  // Guarded by Syncer::mutex_.
  bool waits_ = false;  // for its turn, or for the end of its sync under way
  bool under_way_ = false;
};

class Syncer : public std::enable_shared_from_this<Syncer> {
 public:
  Syncer(io::BlockingPool& pool, int parallel) : pool_(pool), parallel_(parallel) {}

  // `log` is synced after what waits already. Any thread.
  void request(std::shared_ptr<Syncable> log);
  // Lets go of what waits. A log and its syncer hold each other while it is in the queue, and a
  // pool that has stopped never empties it.
  void close();

 private:
  void visit(io::Shard& home);
  void sync_next();

  io::BlockingPool& pool_;
  const int parallel_;
  std::mutex mutex_;
  std::deque<std::shared_ptr<Syncable>> queue_;
  int visits_ = 0;  // to the pool, asked for or under way; each syncs one log
};

class DiskImpl final : public Disk {
 public:
  DiskImpl(io::FileSystem& files, io::BlockingPool& pool, const Options& options);
  ~DiskImpl() override { syncer_->close(); }

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
