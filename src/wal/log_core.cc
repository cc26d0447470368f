#include "wal/log_core.h"

#include <algorithm>

#include "base/assert.h"
#include "base/log.h"
#include "base/plant.h"
#include "wal/segment_reader.h"

namespace markab::wal {
namespace {

// The buffer of the last chunk, to be used again. Of the thread, not of the log: with hundreds of
// logs it would be cold memory each time. What grew beyond the bound is not kept.
constexpr size_t kSpareBytes = 1u << 20;
thread_local std::string spare_buffer;
// How often a full disk is tried again.
constexpr Duration kSpaceRetry = std::chrono::milliseconds(100);

}  // namespace

LogCore::LogCore(DiskImpl& disk, io::Shard& shard, std::string dir)
    : files_(disk.files()),
      pool_(disk.pool()),
      options_(disk.options()),
      syncer_(disk.syncer()),
      shard_(shard),
      dir_(std::move(dir)) {}

template <typename F>
void LogCore::post(F step) {
  shard_.post([self = shared_from_this(), step = std::move(step)]() mutable {
    std::lock_guard gate(self->gate_);
    if (!self->closed_) step(*self);
  });
}

// --- open and close ---

Status LogCore::start(Replayed replayed, Status damage, Decree after) {
  next_index_ = replayed.next_index;
  index_ = std::move(replayed.index);
  chain_ = replayed.chain;
  appended_.decree = durable_.decree = written_.decree = index_.last_decree();
  if (!damage.ok()) {
    damaged_ = true;
    error_ = std::move(damage);
    failure_told_ = true;  // the summary tells it
    return {};
  }
  if (index_.segments().empty() || index_.last_decree() < after) {
    if (!index_.segments().empty()) {
      MARKAB_WARN("{}: the log ends at decree {}, the checkpoint at {}; the log begins anew there",
                  dir_, index_.last_decree(), after);
    }
    return reset(after);
  }
  if (options_.sync != LogSync::kNone) {
    if (auto s = make_durable(); !s.ok()) return s;
  }
  current_name_ = index_.segments().back().name;
  salt_ = current_name_.salt();
  auto file = open_segment(current_name_);
  if (!file) return file.error();
  current_ = std::make_shared<SegmentFile>(std::move(*file));
  return {};
}

// What a process that died wrote may be in the kernel's memory only; what open() delivers counts as
// durable. A file without such bytes is synced in no time.
Status LogCore::make_durable() {
  for (const Segment& segment : index_.segments()) {
    auto file = files_.open_append(segment_path(dir_, segment.name));
    if (!file) return file.error();
    if (auto s = (*file)->sync(); !s.ok()) return s;
  }
  return files_.sync_directory(dir_);
}

void LogCore::close() {
  std::lock_guard gate(gate_);
  MARKAB_ASSERT(!closed_, "a log is closed twice", dir_);
  closed_ = true;
  stop_timer(interval_);
  stop_timer(space_);
  {
    std::lock_guard lock(
        files_mutex_);  // a rotation or removal that runs ends first; one that waits does nothing
    files_closed_ = true;
  }
  on_durable_ = nullptr;
  Status status = error_;
  while (status.ok() && !chunks_.empty()) {
    if (options_.sync == LogSync::kAlways && chunks_.front().segment.index != current_name_.index)
      status = sync_all();
    if (status.ok()) status = write_chunk(chunks_.front());
  }
  if (status.ok() && options_.sync != LogSync::kNone) {
    status = sync_all();
    if (status.ok() && directory_dirty_) status = files_.sync_directory(dir_);
  }
  // Of a mapped file, what is reserved. Now: the next Log::open() may append to it.
  if (status.ok() && options_.sync != LogSync::kAlways && current_ != nullptr)
    status = current_->truncate(current_->size());
  if (!status.ok() && error_.ok()) MARKAB_WARN("{}: closing the log: {}", dir_, status);
  chunks_.clear();
}

void LogCore::set_on_durable(Log::OnDurable callback) {
  on_durable_ = std::move(callback);
  if (!error_.ok() && !failure_told_) post([](LogCore& core) { core.tell_failure(); });
}

// --- appending ---

Status LogCore::append(const Record& record) {
  MARKAB_ASSERT(shard_.in_thread(), "a record is appended from another thread than the shard's",
                dir_);
  if (!error_.ok()) return error_;
  const size_t size = kRecordHeader + record.payload.size();
  if (unwritten_ > 0 && unwritten_ + size > options_.max_unwritten_bytes) {
    return {Errc::kBusy,
            fmt::format("{}: {} bytes wait to be written to the log", dir_, unwritten_)};
  }
  MARKAB_ASSERT(record.type == Record::Type::kReign || record.type == Record::Type::kMutation,
                "no such record");
  MARKAB_ASSERT(record.ballot >= 0 && record.decree >= 0 && record.committed >= 0,
                "a negative ballot or decree", record.ballot, record.decree, record.committed);
  MARKAB_ASSERT(record.member >= 0 && record.member <= record.ballot,
                "a member at a ballot that is not adopted", record.member, record.ballot);
  std::lock_guard lock(mutex_);
  auto admitted = index_.admits(record);
  MARKAB_ASSERT(admitted.ok(), "a record is appended that cannot follow", dir_, admitted);
  if (index_.segments().back().bytes >= options_.segment_bytes) begin_segment();
  if (chunks_.empty()) {
    chunks_.push_back({current_name_, std::exchange(spare_buffer, {}), {}});
  }
  const Decree before = index_.last_decree();
  Chunk& chunk = chunks_.back();
  chain_ = encode_record(record, chain_, salt_, chunk.bytes);
  index_.add_record(record, size);
  unwritten_ += size;
  ++appended_.sequence;
  appended_.decree = index_.last_decree();
  chunk.end = appended_;
  if (record.decree <= before &&
      (record.type == Record::Type::kMutation || record.decree < before)) {
    changes_.push_back({appended_.sequence,
                        record.type == Record::Type::kReign ? record.decree : record.decree - 1});
  }
  if (!write_posted_) {
    write_posted_ = true;
    post([](LogCore& core) {
      core.write_posted_ = false;
      core.write_out();
    });
  }
  return {};
}

// Precondition: mutex_ is held.
void LogCore::begin_segment() {
  SegmentHeader header;
  header.name = {next_index_++, index_.last_decree()};
  header.ballot = index_.ballot();
  header.member = index_.member();
  header.committed = index_.committed();
  header.chain = chain_;
  index_.add_segment(header);
  salt_ = header.name.salt();
  chunks_.push_back({header.name, {}, appended_});
  header.encode(chunks_.back().bytes);
  unwritten_ += kSegmentHeader;
}

void LogCore::write_out() {
  if (!error_.ok() || rotating_) return;
  bool wrote_any = false;
  while (!chunks_.empty()) {
    Chunk& chunk = chunks_.front();
    if (chunk.segment.index != current_name_.index && options_.sync == LogSync::kAlways) {
      rotate();
      break;
    }
    if (auto s = write_chunk(chunk); !s.ok()) {
      fail_or_wait(std::move(s));
      break;
    }
    wrote_any = true;
  }
  if (chunks_.empty() && out_of_space_.exchange(false)) {
    MARKAB_WARN("{}: there is space again; the log goes on", dir_);
  }
  if (wrote_any && error_.ok()) wrote();
}

void LogCore::fail_or_wait(Status status) {
  if (status.code() != Errc::kDiskInsufficient) return fail(std::move(status));
  if (!out_of_space_.exchange(true)) {
    MARKAB_ERROR("{}: the log waits at decree {} until there is space: {}", dir_, durable_.decree,
                 status);
  }
  if (space_) return;
  space_ = shard_.after(kSpaceRetry, [self = shared_from_this()] {
    std::lock_guard gate(self->gate_);
    if (self->closed_) return;
    self->space_ = {};
    self->write_out();
  });
}

Status LogCore::write_chunk(Chunk& chunk) {
  if (chunk.segment.index != current_name_.index) {
    // What is reserved behind its end would be damage there (docs/formats.md).
    if (options_.sync != LogSync::kAlways) {
      if (auto s = current_->truncate(current_->size()); !s.ok()) return s;
    }
    auto file = create_segment(chunk.segment);
    if (!file) return file.error();
    current_ = std::move(*file);
    current_name_ = chunk.segment;
    directory_dirty_ = true;
    if (!closed_) sync_directory_behind();
  }
  const uint64_t before = current_->size();
  if (auto s = current_->append(chunk.bytes); !s.ok()) {
    // The chunk will be written whole.
    if (s.code() == Errc::kDiskInsufficient) {
      if (auto cut = current_->truncate(before); !cut.ok()) return cut;
    }
    return s;
  }
  unwritten_ -= chunk.bytes.size();
  {
    std::lock_guard lock(mutex_);
    auto& segments = index_.segments();
    // A trim can have removed nothing at or behind the current segment.
    segments[chunk.segment.index - segments.front().name.index].written += chunk.bytes.size();
    written_ = chunk.end;
    if (options_.sync != LogSync::kNone &&
        std::find(dirty_.begin(), dirty_.end(), current_) == dirty_.end())
      dirty_.push_back(current_);
  }
  if (chunk.bytes.capacity() <= kSpareBytes) {
    spare_buffer = std::move(chunk.bytes);
    spare_buffer.clear();
  }
  chunks_.pop_front();
  return {};
}

void LogCore::wrote() {
  if (options_.sync == LogSync::kAlways) return syncer_->request(shared_from_this());
  if (options_.sync == LogSync::kInterval) start_interval();
  advance_durable(written_);
}

// --- rotation ---

// What must not be durable when it is acknowledged is written through a mapping: the record is then
// where write(2) would put it, without the call.
Result<std::unique_ptr<io::AppendFile>> LogCore::open_segment(const SegmentName& name) {
  auto path = segment_path(dir_, name);
  return options_.sync == LogSync::kAlways ? files_.open_append(path)
                                           : files_.open_append_mapped(path);
}

Result<std::shared_ptr<SegmentFile>> LogCore::create_segment(const SegmentName& name) {
  auto path = segment_path(dir_, name);
  auto file = open_segment(name);
  if (!file) return file.error();
  if ((*file)->size() != 0) {
    return Status(Errc::kPathAlreadyExist,
                  fmt::format("{} is there already, with {} bytes", path, (*file)->size()));
  }
  return std::make_shared<SegmentFile>(std::move(*file));
}

// With kAlways a segment is begun only when the one before it is durable: a crash then tears the
// last segment alone. Meanwhile records wait in the buffer, no longer than they would wait for a
// sync anyway.
void LogCore::rotate() {
  struct Outcome {
    Status status;
    bool synced = false;  // what went before is safe: the new segment may be tried again
    Position position;
    std::shared_ptr<SegmentFile> file;
  };
  rotating_ = true;
  auto outcome = std::make_shared<Outcome>();
  outcome->position = written_;
  pool_.run(
      shard_,
      [self = shared_from_this(), outcome, epoch = epoch_.load(), old = current_,
       name = chunks_.front().segment] {
        std::lock_guard lock(self->files_mutex_);
        if (self->files_closed_ || self->epoch_ != epoch) return;
        outcome->status = old->sync();
        if (!outcome->status.ok()) return;
        outcome->synced = true;
        auto file = self->create_segment(name);
        outcome->status = file ? self->files_.sync_directory(self->dir_) : file.error();
        if (file) outcome->file = std::move(*file);
      },
      [self = shared_from_this(), outcome, epoch = epoch_.load(), name = chunks_.front().segment] {
        std::lock_guard gate(self->gate_);
        if (self->closed_ || self->epoch_ != epoch) return;
        self->rotating_ = false;
        if (!outcome->status.ok()) {
          return outcome->synced ? self->fail_or_wait(std::move(outcome->status))
                                 : self->fail(std::move(outcome->status));
        }
        self->current_ = std::move(outcome->file);
        self->current_name_ = name;
        self->advance_durable(outcome->position);
        if (!self->closed_) self->write_out();
      });
}

// The other modes do not wait: a host that goes down uncleanly learns again (04 §2.2).
void LogCore::sync_directory_behind() {
  pool_.run(
      shard_,
      [self = shared_from_this()] {
        std::lock_guard lock(self->files_mutex_);
        if (self->files_closed_) return;
        self->directory_dirty_ = false;
        if (auto s = self->files_.sync_directory(self->dir_); !s.ok()) {
          self->post([s](LogCore& core) { core.fail(s); });
        }
      },
      [] {});
}

// --- durability ---

void LogCore::sync() {
  Position position;
  uint64_t epoch = 0;
  {
    std::lock_guard lock(mutex_);
    epoch = epoch_;
    position = written_;
    syncing_ = std::exchange(dirty_, {});
    if (syncing_.empty()) return;
  }
  Status status;
  for (auto& file : syncing_) {
    if (!MARKAB_PLANTED(kForgetSync)) status = file->sync();
    if (!status.ok()) break;
  }
  {
    std::lock_guard lock(mutex_);
    syncing_.clear();
  }
  post([epoch, position, status = std::move(status)](LogCore& core) {
    if (core.epoch_ == epoch) core.synced(position, status);
  });
}

void LogCore::synced(const Position& position, const Status& status) {
  if (!status.ok()) return fail(status);
  if (options_.sync == LogSync::kAlways) advance_durable(position);
}

void LogCore::advance_durable(const Position& position) {
  if (!error_.ok() || position.sequence <= durable_.sequence) return;
  MARKAB_ASSERT(position.sequence <= appended_.sequence, "durable before it was appended",
                position.sequence, appended_.sequence);
  durable_ = position;
  while (!changes_.empty() && changes_.front().sequence <= position.sequence) changes_.pop_front();
  Decree decree = position.decree;
  for (const Change& change : changes_) decree = std::min(decree, change.low);
  tell(Status(), decree);
}

// The owner may destroy the log, or set another callback, from inside.
void LogCore::tell(const Status& status, Decree decree) {
  if (!on_durable_) return;
  auto callback = std::exchange(on_durable_, nullptr);
  callback(status, decree);
  if (!closed_ && !on_durable_) on_durable_ = std::move(callback);
}

void LogCore::fail(Status status) {
  if (!error_.ok()) return;
  MARKAB_ERROR("{}: the log ends at decree {}: {}", dir_, durable_.decree, status);
  error_ = std::move(status);
  stop_timer(interval_);
  stop_timer(space_);
  chunks_.clear();
  unwritten_ = 0;
  tell_failure();
}

void LogCore::tell_failure() {
  if (!on_durable_ || failure_told_) return;
  failure_told_ = true;
  tell(error_, durable_.decree);
}

// Syncs what was written, also what the pool has in its hands. Blocking.
Status LogCore::sync_all() {
  std::vector<std::shared_ptr<SegmentFile>> files;
  {
    std::lock_guard lock(mutex_);
    files = syncing_;
    files.insert(files.end(), dirty_.begin(), dirty_.end());
    dirty_.clear();
  }
  for (auto& file : files) {
    if (auto s = file->sync(); !s.ok()) return s;
  }
  return {};
}

void LogCore::start_interval() {
  if (interval_) return;
  interval_ = shard_.after(options_.interval, [self = shared_from_this()] {
    std::lock_guard gate(self->gate_);
    if (self->closed_) return;
    self->interval_ = {};
    self->syncer_->request(self);
  });
}

void LogCore::stop_timer(io::TimerHandle& timer) {
  if (!timer) return;
  if (shard_.in_thread()) return timer.cancel();
  // A timer is let go of on its shard's thread.
  shard_.post([held = std::make_shared<io::TimerHandle>(std::move(timer))] { held->cancel(); });
}

// --- trimming and beginning anew ---

void LogCore::trim(Decree decree) {
  uint64_t below = 0;
  {
    std::lock_guard lock(mutex_);
    size_t count = index_.removable(decree);
    // What is not written yet is not removed.
    while (count > 0 && index_.segments()[count].name.index > current_name_.index) --count;
    if (count == 0) return;
    index_.remove_oldest(count);
    below = index_.segments().front().name.index;
  }
  pool_.run(
      shard_,
      [self = shared_from_this(), below] {
        std::lock_guard lock(self->files_mutex_);
        if (self->files_closed_) return;
        auto s = remove_segments(self->files_, self->dir_, below);
        // Nothing is lost by a segment that stays: the next trim or start removes it.
        if (!s.ok()) MARKAB_WARN("{}: old segments of the log stay: {}", self->dir_, s);
      },
      [] {});
}

// The new segment is durable before the old ones go: a crash leaves the old log whole, or the new
// one.
Status LogCore::reset(Decree decree) {
  if (!error_.ok() && !damaged_) return error_;
  std::lock_guard files_lock(files_mutex_);
  ++epoch_;  // what is under way concerns the old log
  SegmentHeader header;
  {
    std::lock_guard lock(mutex_);
    header.name = {next_index_++, decree};
    header.fresh = true;
    header.ballot = index_.ballot();
    header.member = index_.member();
    header.committed = decree;
  }
  auto file = begin_anew(header);
  if (!file) {
    // The disk may hold the old log or the new one: neither can go on.
    damaged_ = false;
    error_ = file.error();
    failure_told_ = true;
    return error_;
  }
  std::lock_guard lock(mutex_);
  index_.clear(decree);
  index_.add_segment(header);
  index_.segments().back().written = kSegmentHeader;
  current_ = std::move(*file);
  current_name_ = header.name;
  salt_ = header.name.salt();
  chain_ = header.chain;
  chunks_.clear();
  unwritten_ = 0;
  rotating_ = false;
  dirty_.clear();
  changes_.clear();
  appended_.decree = decree;
  written_ = durable_ = appended_;
  damaged_ = false;
  error_ = {};
  failure_told_ = false;
  out_of_space_ = false;
  return {};
}

// Precondition: files_mutex_ is held.
Result<std::shared_ptr<SegmentFile>> LogCore::begin_anew(const SegmentHeader& header) {
  auto file = create_segment(header.name);
  if (!file) return file;
  std::string bytes;
  header.encode(bytes);
  Status s = (*file)->append(bytes);
  if (s.ok()) s = (*file)->sync();
  if (s.ok()) s = files_.sync_directory(dir_);
  if (s.ok()) s = remove_segments(files_, dir_, header.name.index);
  if (!s.ok()) return s;
  return file;
}

Decree LogCore::last_decree() const {
  std::lock_guard lock(mutex_);
  return index_.last_decree();
}
Decree LogCore::trimmed() const {
  std::lock_guard lock(mutex_);
  return index_.trimmed();
}
uint64_t LogCore::bytes() const {
  std::lock_guard lock(mutex_);
  return index_.bytes();
}

}  // namespace markab::wal
