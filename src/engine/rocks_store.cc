#include "engine/rocks_store.h"

#include <rocksdb/convenience.h>
#include <rocksdb/listener.h>
#include <rocksdb/sst_file_reader.h>
#include <rocksdb/utilities/checkpoint.h>
#include <rocksdb/write_batch.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <optional>

#include "base/assert.h"
#include "base/escape.h"
#include "base/log.h"
#include "engine/deferred_sync.h"
#include "engine/effects.h"
#include "engine/manifest_check.h"
#include "engine/rocks_options.h"
#include "engine/value_codec.h"
#include "io/file.h"

namespace markab::engine {

namespace {

// A shard must not be held up by a heap of tombstones: after this many the read goes on in the
// blocking pool.
constexpr uint64_t kMaxTombstonesFromMemory = 2000;
// The batch of one huge write is not kept for ever.
constexpr size_t kMaxKeptBatchBytes = 1u << 20;
constexpr std::string_view kTableSuffix = ".sst";
// With less free space beyond what waits in memory, a store that stopped for want of it does not
// begin again.
constexpr uint64_t kWorthATry = 1u << 20;
// So long a flush is waited for.
constexpr std::chrono::seconds kLongestFlush{60};
// For CreateCheckpoint: take what is durable, flush nothing.
constexpr uint64_t kNeverFlush = UINT64_MAX;

rocksdb::ReadOptions point_options(bool memory_only, bool fill_cache) {
  rocksdb::ReadOptions o;
  o.read_tier = memory_only ? rocksdb::kBlockCacheTier : rocksdb::kReadAllTier;
  o.fill_cache = fill_cache;
  return o;
}
const rocksdb::ReadOptions kFromMemory = point_options(true, true);
const rocksdb::ReadOptions kFromDisk = point_options(false, true);
const rocksdb::ReadOptions kFromDiskOnce = point_options(false, false);

rocksdb::WriteOptions write_options() {
  rocksdb::WriteOptions o;
  o.disableWAL = true;
  o.no_slowdown = true;
  return o;
}
const rocksdb::WriteOptions kWrite = write_options();

rocksdb::Slice slice(std::string_view s) { return {s.data(), s.size()}; }

// A batch made of bytes, which gives them back, so that their capacity is used again.
class LoadedBatch final : public rocksdb::WriteBatch {
 public:
  explicit LoadedBatch(std::string&& bytes) : rocksdb::WriteBatch(std::move(bytes)) {}
  std::string take() { return std::move(rep_); }
};

// The packaged RocksDB is not built for the thread sanitizer, which sees its copying into a
// memtable but not the atomics that publish it, and takes a reader of the row for a race. So it
// does not look while RocksDB writes.
#if defined(__SANITIZE_THREAD__)
extern "C" void AnnotateIgnoreWritesBegin(const char* file, int line);
extern "C" void AnnotateIgnoreWritesEnd(const char* file, int line);
struct UnseenBySanitizer {
  UnseenBySanitizer() { AnnotateIgnoreWritesBegin(__FILE__, __LINE__); }
  ~UnseenBySanitizer() { AnnotateIgnoreWritesEnd(__FILE__, __LINE__); }
};
#else
struct UnseenBySanitizer {
  ~UnseenBySanitizer() {}  // not trivial, so that a variable of it is used
};
#endif

bool has_table_files(const std::string& dir) {
  auto names = io::real_file_system().list(dir);
  if (!names) return false;
  for (const std::string& name : *names) {
    if (name.ends_with(kTableSuffix)) return true;
  }
  return false;
}

}  // namespace

Status to_status(const rocksdb::Status& s) {
  if (s.ok()) return Status::Ok();
  std::string text = s.ToString();
  if (s.IsCorruption()) return Status(Errc::kRdbCorruption, std::move(text));
  if (s.IsNoSpace()) return Status(Errc::kDiskInsufficient, std::move(text));
  if (s.IsIOError()) {
    return Status(s.IsPathNotFound() ? Errc::kPathNotFound : Errc::kDiskIoError, std::move(text));
  }
  if (s.IsIncomplete() || s.IsBusy()) return Status(Errc::kBusy, std::move(text));
  return Status(Errc::kLocalAppFailure, std::move(text));
}

// Reads back the durable decree after each flush, so that last_flushed() is one load, and hears of
// what goes wrong in the background. Its calls come from RocksDB's threads.
class RocksStore::Listener final : public rocksdb::EventListener {
 public:
  explicit Listener(RocksStore& store) : store_(store) {}
  const char* Name() const override { return "markab.Listener"; }
  void OnBackgroundError(rocksdb::BackgroundErrorReason reason, rocksdb::Status* status) override {
    const bool known = store_.out_of_space();
    const bool flushes = reason == rocksdb::BackgroundErrorReason::kFlush ||
                         reason == rocksdb::BackgroundErrorReason::kFlushNoWAL;
    Status s = store_.failed(flushes ? "flushing" : "working on", *status);
    if (!known || !store_.out_of_space()) MARKAB_ERROR("engine {}: {}", store_.options_.gpid, s);
    std::lock_guard lock(store_.flush_mutex_);
    ++store_.failures_;
    store_.last_failure_ = std::move(s);
    store_.flush_ended_.notify_all();
  }
  // regain_space() is the only way back from a full disk. RocksDB's own, a thread that looks for
  // room each 5 s, keeps DB::Resume() away while it is under way, and was seen to wait for ever for
  // a flush that nobody does.
  void OnErrorRecoveryBegin(rocksdb::BackgroundErrorReason /*reason*/, rocksdb::Status /*error*/,
                            bool* auto_recovery) override {
    *auto_recovery = false;
  }
  void OnFlushBegin(rocksdb::DB* /*db*/, const rocksdb::FlushJobInfo& /*info*/) override {
    Status s = store_.sync_creation();
    if (!s.ok()) MARKAB_ERROR("engine {}: {}", store_.options_.gpid, s);
  }
  void OnFlushCompleted(rocksdb::DB* /*db*/, const rocksdb::FlushJobInfo& /*info*/) override {
    store_.note_flushed();
    std::lock_guard lock(store_.flush_mutex_);
    store_.flush_ended_.notify_all();
  }

 private:
  RocksStore& store_;
};

RocksStore::RocksStore(RocksStoreOptions options, WriteBudget& budget)
    : options_(std::move(options)), budget_(budget) {
  MARKAB_ASSERT(options_.settings != nullptr && options_.wall_us != nullptr,
                "a store needs settings and a clock");
}

RocksStore::~RocksStore() {
  if (db_ == nullptr) return;
  open_.store(false);
  budget_.leave(db_.get());
  if (data_ != nullptr) db_->DestroyColumnFamilyHandle(data_);
  if (meta_ != nullptr) db_->DestroyColumnFamilyHandle(meta_);
  rocksdb::Status closed = db_->Close();
  if (!closed.ok()) {
    MARKAB_WARN("engine {}: closing {}: {}", options_.gpid, options_.dir, closed.ToString());
  }
}

Status RocksStore::failed(std::string_view what, const rocksdb::Status& status) const {
  Status s = to_status(status).with_context(
      fmt::format("{} the store of {} in {}", what, options_.gpid, options_.dir));
  if (s.code() == Errc::kRdbCorruption) note_damage(s);
  if (s.code() == Errc::kDiskInsufficient) out_of_space_.store(true, std::memory_order_release);
  return s;
}

void RocksStore::note_damage(const Status& status) const {
  std::lock_guard lock(damage_mutex_);
  if (!damage_.ok()) return;
  damage_ = status;
  damaged_.store(true, std::memory_order_release);
}

Status RocksStore::damage() const {
  if (!damaged_.load(std::memory_order_acquire)) return Status::Ok();
  std::lock_guard lock(damage_mutex_);
  return damage_;
}

Status RocksStore::regain_space() {
  if (!out_of_space()) return Status::Ok();
  // What waits in memory must fit, or the next flush fails as this one did, over and over.
  uint64_t waiting = 0;
  db_->GetIntProperty(data_, rocksdb::DB::Properties::kCurSizeAllMemTables, &waiting);
  auto space = io::real_file_system().space(options_.dir);
  if (space && space->available_bytes < waiting + kWorthATry) {
    return Status(Errc::kDiskInsufficient,
                  fmt::format("{} bytes are free below {}, {} wait in memory",
                              space->available_bytes, options_.dir, waiting));
  }
  // A flush that failed is done again; what a full disk kept from compacting is done by itself
  // later.
  rocksdb::Status resumed = db_->Resume();
  if (!resumed.ok()) return failed("taking up writing to", resumed);
  out_of_space_.store(false, std::memory_order_release);
  MARKAB_WARN("engine {}: there is space again; writes go on", options_.gpid);
  return flush();
}

Status RocksStore::verify_checkpoint(const std::string& dir) {
  auto names = io::real_file_system().list(dir);
  if (!names) return names.error();
  rocksdb::Options options;
  options.env = rocksdb::Env::Default();
  for (const std::string& name : *names) {
    if (!name.ends_with(kTableSuffix)) continue;
    rocksdb::SstFileReader reader(options);
    rocksdb::Status s = reader.Open(dir + "/" + name);
    if (s.ok()) s = reader.VerifyChecksum();
    if (!s.ok()) return failed(fmt::format("verifying {} of", name), s);
  }
  return Status::Ok();
}

Result<std::unique_ptr<RocksStore>> RocksStore::open(SharedResources& shared,
                                                     const RocksStoreOptions& options) {
  std::unique_ptr<RocksStore> store(new RocksStore(options, shared.write_budget()));
  if (Status s = store->open_db(shared); !s.ok()) return s;
  return store;
}

Status RocksStore::open_db(SharedResources& shared) {
  io::FileSystem& fs = io::real_file_system();
  bool fresh = !has_table_files(options_.dir);
  if (!fresh && !fs.exists(options_.dir + "/CURRENT")) {
    return Status(Errc::kRdbCorruption,
                  fmt::format("opening the store of {} in {}: there are table files, but CURRENT "
                              "is missing",
                              options_.gpid, options_.dir));
  }
  if (fresh) {
    // Only a creation, or a store without a single flush, looks like this. Nothing in it is
    // durable, and a creation that was cut short may lack a family: begin anew.
    if (Status s = fs.remove_all(options_.dir); !s.ok()) return s;
  } else if (Status s = check_manifest(fs, options_.dir); !s.ok()) {
    return s.with_context(
        fmt::format("opening the store of {} in {}", options_.gpid, options_.dir));
  }
  if (Status s = fs.create_directories(options_.dir); !s.ok()) return s;

  auto filter = std::make_shared<RecordFilterFactory>(*options_.settings, *options_.wall_us,
                                                      options_.gpid.partition_index);
  rocksdb::DBOptions db_options = make_db_options(shared, options_.gpid.to_string());
  db_options.statistics = counts_;
  db_options.create_if_missing = fresh;
  db_options.create_missing_column_families = fresh;
  db_options.listeners.push_back(std::make_shared<Listener>(*this));
  const StoreSettings settings = options_.settings->store();
  db_options.allow_ingest_behind = settings.allow_ingest_behind;
  std::vector<rocksdb::ColumnFamilyDescriptor> families = {
      {rocksdb::kDefaultColumnFamilyName, make_data_options(shared, filter)},
      {kMetaFamilyName, make_meta_options(shared)}};
  families[0].options.num_levels = settings.num_levels;
  told_ = data_options_of(settings, options_.gpid, budget_);
  rocksdb::Status set = rocksdb::GetColumnFamilyOptionsFromMap(
      rocksdb::ConfigOptions(), families[0].options, told_, &families[0].options);
  MARKAB_ASSERT(set.ok(), "options of ours that RocksDB does not know", set.ToString());
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* db = nullptr;
  std::optional<CreationScope> creation;
  if (fresh) {
    creation.emplace();
    creation_synced_.store(false);
  }
  rocksdb::Status opened = rocksdb::DB::Open(db_options, options_.dir, families, &handles, &db);
  if (opened.IsInvalidArgument() && !fresh) {
    // The environment names fewer levels than the store has: it counts at creation only.
    families[0].options.num_levels = static_cast<int>(env_range::kLevelsMax);
    opened = rocksdb::DB::Open(db_options, options_.dir, families, &handles, &db);
  }
  creation.reset();
  if (!opened.ok()) {
    Status s = failed("opening", opened);
    // Files that the MANIFEST names and that are not there, or a MANIFEST that lost its end and
    // with it a family.
    bool lost = !fresh && (s.code() == Errc::kPathNotFound || opened.IsNotFound() ||
                           opened.IsInvalidArgument());
    return lost ? Status(Errc::kRdbCorruption, s.message()) : s;
  }
  db_.reset(db);
  data_ = handles[0];
  meta_ = handles[1];
  budget_.join(db, {data_, meta_});
  if (Status s = fresh ? write_first_facts() : load_facts(); !s.ok()) return s;
  filter->activate(data_version_);
  open_.store(true, std::memory_order_release);
  return Status::Ok();
}

Status RocksStore::write_first_facts() {
  // Not flushed here: the first flush takes them along with the first data, and a store without any
  // is made anew.
  rocksdb::WriteBatch batch;
  batch.Put(meta_, kMetaDataVersion, std::to_string(kDataVersionTimetag));
  batch.Put(meta_, kMetaLastFlushedDecree, "0");
  batch.Put(meta_, kMetaLastManualCompactMs, "0");
  rocksdb::Status written = db_->Write(kWrite, &batch);
  if (!written.ok()) return failed("writing the first facts of", written);
  data_version_ = kDataVersionTimetag;
  return Status::Ok();
}

Status RocksStore::load_facts() {
  int64_t version = 0;
  int64_t decree = 0;
  int64_t compacted_ms = 0;
  bool has_compacted = false;
  bool has_version = false;
  bool has_decree = false;
  Status s = read_fact(rocksdb::kReadAllTier, kMetaDataVersion, version, has_version);
  if (s.ok()) s = read_fact(rocksdb::kReadAllTier, kMetaLastFlushedDecree, decree, has_decree);
  if (!s.ok()) return s;
  if (!has_version || !has_decree) {
    return Status(
        Errc::kRdbCorruption,
        fmt::format("the store of {} in {} lacks {} in column family {}; it is not a "
                    "store of this server, or it is damaged",
                    options_.gpid, options_.dir,
                    has_version ? kMetaLastFlushedDecree : kMetaDataVersion, kMetaFamilyName));
  }
  if (version < 0 || version > kDataVersionMax) {
    return Status(
        Errc::kInvalidVersion,
        fmt::format("the store of {} in {} has data version {}; this server reads 0 to {}",
                    options_.gpid, options_.dir, version, kDataVersionMax));
  }
  s = read_fact(rocksdb::kReadAllTier, kMetaLastManualCompactMs, compacted_ms, has_compacted);
  if (!s.ok()) return s;
  last_manual_compact_ms_.store(compacted_ms, std::memory_order_release);
  data_version_ = static_cast<uint32_t>(version);
  last_applied_.store(decree, std::memory_order_release);
  last_flushed_.store(decree, std::memory_order_release);
  return Status::Ok();
}

Status RocksStore::sync_creation() {
  if (creation_synced_.load(std::memory_order_acquire)) return Status::Ok();
  io::FileSystem& fs = io::real_file_system();
  auto manifest = fs.read_all(options_.dir + "/CURRENT");
  if (!manifest) return manifest.error();
  while (!manifest->empty() && manifest->back() == '\n') manifest->pop_back();
  for (const std::string& name : {*manifest, std::string("CURRENT")}) {
    auto file = fs.open_append(options_.dir + "/" + name);
    if (!file) return file.error();
    if (Status s = (*file)->sync(); !s.ok()) return s;
  }
  if (Status s = fs.sync_directory(options_.dir); !s.ok()) return s;
  Status s = fs.sync_directory(std::filesystem::path(options_.dir).parent_path());
  if (s.ok()) creation_synced_.store(true, std::memory_order_release);
  return s;
}

Status RocksStore::read_fact(rocksdb::ReadTier tier, const char* name, int64_t& value,
                             bool& found) const {
  rocksdb::ReadOptions read;
  read.read_tier = tier;
  std::string text;
  rocksdb::Status got = db_->Get(read, meta_, name, &text);
  found = got.ok();
  if (got.IsNotFound()) return Status::Ok();
  if (!got.ok()) return failed(fmt::format("reading {} of", name), got);
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    return Status(Errc::kRdbCorruption,
                  fmt::format("the store of {} in {}: {} is '{}', not a number", options_.gpid,
                              options_.dir, name, escape_cut(text)));
  }
  return Status::Ok();
}

void RocksStore::note_flushed() {
  if (!open_.load(std::memory_order_acquire)) return;
  int64_t decree = 0;
  bool found = false;
  Status s = read_fact(rocksdb::kPersistedTier, kMetaLastFlushedDecree, decree, found);
  if (!s.ok()) {
    MARKAB_ERROR("engine {}: the decree of a finished flush cannot be read: {}", options_.gpid, s);
    return;
  }
  if (!found) return;
  Decree seen = last_flushed_.load(std::memory_order_relaxed);
  while (decree > seen &&
         !last_flushed_.compare_exchange_weak(seen, decree, std::memory_order_acq_rel)) {
  }
}

Lookup RocksStore::get(std::string_view key, ReadFrom from, rocksdb::PinnableSlice& value,
                       Status& error) const {
  const rocksdb::ReadOptions& how =
      from.memory_only ? kFromMemory : (from.fill_cache ? kFromDisk : kFromDiskOnce);
  rocksdb::Status got = db_->Get(how, data_, slice(key), &value);
  if (got.ok()) return Lookup::kFound;
  if (got.IsNotFound()) return Lookup::kNotFound;
  if (got.IsIncomplete() && from.memory_only) return Lookup::kNeedsDisk;
  error = failed("reading", got);
  return Lookup::kError;
}

std::unique_ptr<rocksdb::Iterator> RocksStore::iterate(ReadFrom from, const rocksdb::Slice* lower,
                                                       const rocksdb::Slice* upper,
                                                       bool one_hash_key) const {
  rocksdb::ReadOptions how = point_options(from.memory_only, from.fill_cache);
  how.iterate_lower_bound = lower;
  how.iterate_upper_bound = upper;
  how.total_order_seek = !one_hash_key;
  if (from.memory_only) how.max_skippable_internal_keys = kMaxTombstonesFromMemory;
  return std::unique_ptr<rocksdb::Iterator>(db_->NewIterator(how, data_));
}

Status RocksStore::status_of(const rocksdb::Iterator& iterator) const {
  rocksdb::Status s = iterator.status();
  return s.ok() ? Status::Ok() : failed("reading", s);
}

Status RocksStore::write(Decree decree, std::string_view effects) {
  return write_batch(decree, {&effects, 1});
}

Status RocksStore::write_run(Decree first, const std::vector<std::string_view>& effects) {
  return effects.empty() ? Status::Ok() : write_batch(first, effects);
}

Status RocksStore::write_batch(Decree first, std::span<const std::string_view> run) {
  const Decree decree = first + static_cast<Decree>(run.size()) - 1;
  for (std::string_view effects : run) {
    if (valid_effects(effects)) continue;
    return Status(Errc::kInvalidData,
                  fmt::format("the effects of one of the decrees {} to {} of {} ({} bytes) are "
                              "malformed",
                              first, decree, options_.gpid, effects.size()));
  }
  if (out_of_space()) {
    return Status(
        Errc::kDiskInsufficient,
        fmt::format("the disk of {} is full; writes go on when there is space", options_.dir));
  }
  if (budget_.full()) {
    return Status(Errc::kBusy, "the memtables of this daemon are full; writes wait for a flush");
  }
  char text[24];
  size_t length = static_cast<size_t>(
      std::to_chars(text, text + sizeof text, static_cast<int64_t>(decree)).ptr - text);
  std::string bytes = std::move(scratch_);
  EffectsWriter::start(bytes);
  for (std::string_view effects : run) EffectsWriter::append(bytes, effects);
  EffectsWriter::put_in_family(bytes, meta_->GetID(), kMetaLastFlushedDecree, {text, length});
  LoadedBatch batch(std::move(bytes));
  rocksdb::Status written;
  {
    UnseenBySanitizer scope;
    written = db_->Write(kWrite, &batch);
  }
  scratch_ = batch.take();
  if (scratch_.capacity() > kMaxKeptBatchBytes) scratch_ = {};
  if (!written.ok()) return failed(fmt::format("writing decree {} to", decree), written);
  last_applied_.store(decree, std::memory_order_release);
  budget_.after_write();
  return Status::Ok();
}

Status RocksStore::flush() {
  if (Status s = sync_creation(); !s.ok()) return s;
  const Decree wanted = last_applied();
  uint64_t failures = 0;
  {
    std::lock_guard lock(flush_mutex_);
    failures = failures_;
  }
  rocksdb::FlushOptions how;
  how.wait = true;
  how.allow_write_stall = true;
  rocksdb::Status flushed = db_->Flush(how, {data_, meta_});
  if (!flushed.ok()) return failed("flushing", flushed);
  note_flushed();
  return wait_until_flushed(wanted, failures);
}

// RocksDB (7.8) comes back from a flush at once, and well, once it was resumed after an error.
Status RocksStore::wait_until_flushed(Decree decree, uint64_t failures_before) {
  std::unique_lock lock(flush_mutex_);
  const bool ended = flush_ended_.wait_for(lock, kLongestFlush, [&] {
    return last_flushed() >= decree || failures_ != failures_before;
  });
  if (last_flushed() >= decree) return Status::Ok();
  if (ended) return last_failure_;
  return Status(Errc::kBusy,
                fmt::format("the store of {} in {} is at decree {} on disk, and was to "
                            "have flushed {} by now",
                            options_.gpid, options_.dir, last_flushed(), decree));
}

StoreStatistics RocksStore::statistics() const {
  StoreStatistics out;
  counts_->fill(out);
  using Property = rocksdb::DB::Properties;
  auto property = [this](const std::string& name) {
    uint64_t value = 0;
    return db_->GetIntProperty(data_, name, &value) ? static_cast<int64_t>(value) : 0;
  };
  out.sst_bytes = property(Property::kTotalSstFilesSize);
  out.estimated_keys = property(Property::kEstimateNumKeys);
  out.memtable_bytes = property(Property::kSizeAllMemTables);
  out.index_and_filter_bytes = property(Property::kEstimateTableReadersMem);
  rocksdb::ColumnFamilyMetaData files;
  db_->GetColumnFamilyMetaData(data_, &files);
  for (const auto& level : files.levels) {
    auto count = static_cast<int64_t>(level.files.size());
    out.sst_files += count;
    out.sorted_runs += level.level == 0 ? count : std::min<int64_t>(count, 1);
  }
  return out;
}

Result<Decree> RocksStore::checkpoint(const std::string& dir) {
  int64_t before = 0;
  bool found = false;
  if (Status s = read_fact(rocksdb::kPersistedTier, kMetaLastFlushedDecree, before, found);
      !s.ok()) {
    return s;
  }
  if (!found) {
    // Nothing was ever flushed, so there is nothing to copy yet.
    if (Status s = flush(); !s.ok()) return s;
    before = last_flushed();
  }
  rocksdb::Checkpoint* raw = nullptr;
  rocksdb::Status made = rocksdb::Checkpoint::Create(db_.get(), &raw);
  std::unique_ptr<rocksdb::Checkpoint> maker(raw);
  if (made.ok()) made = maker->CreateCheckpoint(dir, kNeverFlush);
  if (!made.ok()) return failed(fmt::format("writing the checkpoint {} of", dir), made);
  int64_t after = 0;
  if (Status s = read_fact(rocksdb::kPersistedTier, kMetaLastFlushedDecree, after, found);
      !s.ok()) {
    return s;
  }
  // Durable decrees only grow: when both ends agree, so does what lies between. Else ask the
  // checkpoint itself.
  if (before == after) return Decree{after};
  return decree_of_checkpoint(dir);
}

Result<Decree> RocksStore::decree_of_checkpoint(const std::string& dir) {
  rocksdb::DBOptions options;
  options.max_file_opening_threads = 1;
  std::vector<rocksdb::ColumnFamilyDescriptor> families = {
      {rocksdb::kDefaultColumnFamilyName, rocksdb::ColumnFamilyOptions()},
      {kMetaFamilyName, rocksdb::ColumnFamilyOptions()}};
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* raw = nullptr;
  rocksdb::Status opened = rocksdb::DB::OpenForReadOnly(options, dir, families, &handles, &raw);
  std::string where = fmt::format("reading the decree of the checkpoint {}", dir);
  if (!opened.ok()) return to_status(opened).with_context(where);
  std::unique_ptr<rocksdb::DB> db(raw);
  std::string text;
  rocksdb::Status got = db->Get(rocksdb::ReadOptions(), handles[1], kMetaLastFlushedDecree, &text);
  for (rocksdb::ColumnFamilyHandle* handle : handles) db->DestroyColumnFamilyHandle(handle);
  if (!got.ok()) return to_status(got).with_context(where);
  Decree decree = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), decree);
  if (error != std::errc() || end != text.data() + text.size()) {
    return Status(Errc::kRdbCorruption,
                  fmt::format("{}: '{}' is not a number", where, escape_cut(text)));
  }
  return decree;
}

}  // namespace markab::engine
