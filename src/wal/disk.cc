#include "wal/disk.h"

#include "base/assert.h"
#include "wal/format.h"

namespace markab::wal {

void Syncer::request(std::shared_ptr<Syncable> log) {
  io::Shard& home = log->home();
  {
    std::lock_guard lock(mutex_);
    if (log->waits_) return;
    log->waits_ = true;
    if (log->under_way_) return;  // sync_next() puts it into the queue
    queue_.push_back(std::move(log));
    if (visits_ == parallel_) return;
    ++visits_;
  }
  visit(home);
}

void Syncer::close() {
  std::deque<std::shared_ptr<Syncable>> dropped;  // destroyed without the lock
  std::lock_guard lock(mutex_);
  dropped.swap(queue_);
}

// One log per visit: others who need the pool have their turn between.
void Syncer::visit(io::Shard& home) {
  pool_.run(
      home, [self = shared_from_this()] { self->sync_next(); }, [] {});
}

void Syncer::sync_next() {
  std::shared_ptr<Syncable> log;
  {
    std::lock_guard lock(mutex_);
    if (queue_.empty()) {
      --visits_;
      return;
    }
    log = std::move(queue_.front());
    queue_.pop_front();
    log->waits_ = false;  // what is written from here on asks again
    log->under_way_ = true;
  }
  log->sync();
  {
    std::lock_guard lock(mutex_);
    log->under_way_ = false;
    if (log->waits_) queue_.push_back(log);
    if (queue_.empty()) {
      --visits_;
      return;
    }
  }
  visit(log->home());
}

DiskImpl::DiskImpl(io::FileSystem& files, io::BlockingPool& pool, const Options& options)
    : files_(files),
      pool_(pool),
      options_(options),
      syncer_(std::make_shared<Syncer>(pool, options.parallel_syncs)) {
  MARKAB_ASSERT(options.segment_bytes > kSegmentHeader, "a segment has no room for a record",
                options.segment_bytes);
  MARKAB_ASSERT(options.interval > Duration(0), "an interval of no length",
                options.interval.count());
  MARKAB_ASSERT(options.parallel_syncs > 0, "nobody syncs", options.parallel_syncs);
}

std::unique_ptr<Disk> Disk::make(io::FileSystem& files, io::BlockingPool& pool,
                                 const Options& options) {
  return std::make_unique<DiskImpl>(files, pool, options);
}

}  // namespace markab::wal
