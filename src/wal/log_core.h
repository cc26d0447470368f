#pragma once
// The state of an open log, shared by the Log that the replica owns and by the tasks under way (a
// write that was posted, a sync on the pool, a timer). Tasks keep it alive; once closed they touch
// nothing of the owner.
//
// What the shard alone uses is guarded by `gate_`, which matters only when the log is destroyed on
// another thread (the blocking pool): its tasks hold it while they run, close() takes it. What the
// pool and readers use as well is guarded by `mutex_`, held for short.

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "wal/disk.h"
#include "wal/log_index.h"
#include "wal/replay.h"

namespace markab::wal {

// A segment's file, open for appending. The shard appends while the pool syncs.
class SegmentFile {
 public:
  explicit SegmentFile(std::unique_ptr<io::AppendFile> file) : file_(std::move(file)) {}
  Status append(std::string_view data) { return file_->append(data); }
  uint64_t size() const { return file_->size(); }
  Status truncate(uint64_t size) { return file_->truncate(size); }
  Status sync() {
    std::lock_guard lock(syncing_);
    return file_->sync();
  }

 private:
  const std::unique_ptr<io::AppendFile> file_;
  std::mutex syncing_;
};

class LogCore final : public Syncable, public std::enable_shared_from_this<LogCore> {
 public:
  LogCore(DiskImpl& disk, io::Shard& shard, std::string dir);

  // Open: continues what was replayed. Blocking.
  Status start(Replayed replayed, Status damage, Decree after);
  // Writes and syncs what waits, then lets go of everything. Blocking. Any thread, once the shard
  // calls nothing more.
  void close();

  // Those of Log; see there.
  void set_on_durable(Log::OnDurable callback);
  Status append(const Record& record);
  void trim(Decree decree);
  Status reset(Decree decree);
  Decree last_decree() const;
  Decree trimmed() const;
  uint64_t bytes() const;
  uint64_t appended() const { return appended_.sequence; }
  uint64_t durable() const { return durable_.sequence; }
  bool out_of_space() const { return out_of_space_.load(std::memory_order_relaxed); }
  Result<std::vector<std::pair<Record, std::string>>> read(Decree from, size_t max_bytes);

  // Syncable.
  void sync() override;
  io::Shard& home() override { return shard_; }

 private:
  // A point in the log: after `sequence` records of this opening, with `decree` as the last valid
  // one.
  struct Position {
    uint64_t sequence = 0;
    Decree decree = 0;
  };
  // Bytes that wait to be written to one segment.
  struct Chunk {
    SegmentName segment;
    std::string bytes;
    Position end;
  };
  // Decrees above `low` change with record `sequence`.
  struct Change {
    uint64_t sequence = 0;
    Decree low = 0;
  };

  Status make_durable();
  void begin_segment();
  Result<std::unique_ptr<io::AppendFile>> open_segment(const SegmentName& name);
  void write_out();
  Status write_chunk(Chunk& chunk);
  Result<std::shared_ptr<SegmentFile>> create_segment(const SegmentName& name);
  void rotate();
  void sync_directory_behind();
  void wrote();
  void synced(const Position& position, const Status& status);
  void advance_durable(const Position& position);
  void fail(Status status);
  // After an error that ends the log unless the disk was full: then what waits is written when
  // there is space.
  void fail_or_wait(Status status);
  void tell_failure();
  void tell(const Status& status, Decree decree);
  Result<std::shared_ptr<SegmentFile>> begin_anew(const SegmentHeader& header);
  Status sync_all();
  void start_interval();
  void stop_timer(io::TimerHandle& timer);
  // Runs `step` on the shard unless the log is closed by then.
  template <typename F>
  void post(F step);

  io::FileSystem& files_;
  io::BlockingPool& pool_;
  const Disk::Options options_;
  const std::shared_ptr<Syncer> syncer_;
  io::Shard& shard_;
  const std::string dir_;

  std::recursive_mutex gate_;  // recursive: the owner may destroy the log from inside on_durable
  bool closed_ = false;
  Log::OnDurable on_durable_;
  Status error_;          // ended the log
  bool damaged_ = false;  // ... at the start: reset() mends it
  bool failure_told_ = false;
  std::deque<Chunk> chunks_;
  size_t unwritten_ = 0;
  bool write_posted_ = false;
  bool rotating_ = false;
  SegmentName current_name_;
  std::shared_ptr<SegmentFile> current_;
  Position appended_;
  Position durable_;
  std::deque<Change> changes_;  // not yet durable
  uint32_t chain_ = 0;
  uint32_t salt_ = 0;
  uint64_t next_index_ = 1;
  io::TimerHandle interval_;
  io::TimerHandle space_;  // the next try on a full disk

  std::atomic<uint64_t> epoch_{0};  // counts resets
  std::atomic<bool> directory_dirty_{false};
  std::atomic<bool> out_of_space_{false};

  std::mutex files_mutex_;  // held while the pool makes or removes files; close() waits for that
  bool files_closed_ = false;

  mutable std::mutex mutex_;
  LogIndex index_;
  Position written_;
  std::vector<std::shared_ptr<SegmentFile>> dirty_;    // written to since their last sync
  std::vector<std::shared_ptr<SegmentFile>> syncing_;  // under way
};

}  // namespace markab::wal
