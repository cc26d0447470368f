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
    waiting_.push_back(std::move(log));
    if (under_way_) return;
    under_way_ = true;
  }
  start_round(home);
}

void Syncer::start_round(io::Shard& home) {
  auto self = shared_from_this();
  pool_.run(
      home, [self] { self->run_round(); }, [] {});
}

void Syncer::run_round() {
  std::vector<std::shared_ptr<Syncable>> logs;
  {
    std::lock_guard lock(mutex_);
    logs.swap(waiting_);
  }
  for (auto& log : logs) {
    {
      std::lock_guard lock(mutex_);
      log->waits_ = false;  // what is written from here on asks for another round
    }
    log->sync_round();
  }
  io::Shard* next = nullptr;
  {
    std::lock_guard lock(mutex_);
    if (waiting_.empty()) {
      under_way_ = false;
    } else {
      next = &waiting_.front()->home();
    }
  }
  if (next != nullptr) start_round(*next);
}

DiskImpl::DiskImpl(io::FileSystem& files, io::BlockingPool& pool, const Options& options)
    : files_(files), pool_(pool), options_(options), syncer_(std::make_shared<Syncer>(pool)) {
  MARKAB_ASSERT(options.segment_bytes > kSegmentHeader, "a segment has no room for a record",
                options.segment_bytes);
  MARKAB_ASSERT(options.interval > Duration(0), "an interval of no length",
                options.interval.count());
}

std::unique_ptr<Disk> Disk::make(io::FileSystem& files, io::BlockingPool& pool,
                                 const Options& options) {
  return std::make_unique<DiskImpl>(files, pool, options);
}

}  // namespace markab::wal
