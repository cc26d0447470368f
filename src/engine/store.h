#pragma once
// The seam under the engine: an ordered store with two column families, atomic batches and a decree
// that becomes durable together with the data. Filled by RocksDB (rocks_store.h) and, in the
// simulator, by an ordered map of the same crash behaviour (map_store.h): a crash keeps what a
// flush had made durable and nothing else.
//
// A store that found damage in its files says so ever after (damage()); what it answers is right
// none the less, or an error.
//
// Reads from any thread; write, flush, checkpoint and close from the owner's shard or the blocking
// pool, writes one at a time.

#include <rocksdb/iterator.h>
#include <rocksdb/slice.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/ids.h"
#include "base/status.h"
#include "engine/store_statistics.h"
#include "engine/table_settings.h"

namespace markab::engine {

// Names on disk, shared with Pegasus (spec 02 §14).
inline constexpr char kMetaFamilyName[] = "pegasus_meta_cf";
inline constexpr char kMetaDataVersion[] = "pegasus_data_version";
inline constexpr char kMetaLastFlushedDecree[] = "pegasus_last_flushed_decree";
inline constexpr char kMetaLastManualCompactMs[] = "pegasus_last_manual_compact_finish_time";
inline constexpr char kMetaUsageScenario[] = "rocksdb.usage_scenario";

enum class Lookup { kFound, kNotFound, kNeedsDisk, kError };

struct ReadFrom {
  bool memory_only =
      false;  // kNeedsDisk, or an iterator of status Incomplete, instead of a disk read
  bool fill_cache = true;  // keep what a disk read brought in
};

class Store {
 public:
  virtual ~Store() = default;

  // Pins the value in `value`; `error` is set with kError only.
  virtual Lookup get(std::string_view key, ReadFrom from, rocksdb::PinnableSlice& value,
                     Status& error) const = 0;
  // A consistent view of [lower, upper); a bound that is null is none, one that is given must
  // outlive the iterator. `one_hash_key` promises that every key in the bounds has the same hash
  // key as the key of each seek: then filters may skip files.
  virtual std::unique_ptr<rocksdb::Iterator> iterate(ReadFrom from, const rocksdb::Slice* lower,
                                                     const rocksdb::Slice* upper,
                                                     bool one_hash_key) const = 0;
  // The error behind an iterator that stopped, in our words.
  virtual Status status_of(const rocksdb::Iterator& iterator) const = 0;

  // Applies effects (effects.h) and the decree in one step, without a log of its own; empty effects
  // carry the decree alone. kBusy when writes are stalled (never blocks, nothing was applied),
  // kInvalidData for bytes that are no effects (nothing was applied), kRdbCorruption,
  // kDiskInsufficient (the disk is full; nothing was applied, reads go on: try regain_space() now
  // and then), kDiskIoError.
  virtual Status write(Decree decree, std::string_view effects) = 0;
  // The same for the decrees from `first` on, in one step or several: after an error last_applied()
  // tells how far it came.
  virtual Status write_run(Decree first, const std::vector<std::string_view>& effects) {
    Status status;
    for (size_t i = 0; i < effects.size() && status.ok(); ++i) status = write(first++, effects[i]);
    return status;
  }
  // Any thread.
  virtual Decree last_applied() const = 0;
  // The decree contained in durable files. Any thread; never touches a disk.
  virtual Decree last_flushed() const = 0;
  // Which value encoding the store has (value_codec.h). Any thread.
  virtual uint32_t data_version() const = 0;

  // Makes everything applied durable. Blocking.
  virtual Status flush() = 0;
  // Writes what is durable (flush() first for all that is applied) into `dir`, which must not
  // exist, by hard links where possible, and returns the decree it holds. Blocking.
  virtual Result<Decree> checkpoint(const std::string& dir) = 0;

  // --- Settings and manual compaction (spec 02 §13, §14). A store that has no use for them keeps
  // these defaults. The replica decides when a compaction is due (replica/manual_compaction.h).

  // Takes over what changed since it was opened or last told: usage scenario, write buffer,
  // checkpoints kept. Blocking; one call at a time.
  virtual Status reconfigure(const StoreSettings& /*settings*/) { return Status::Ok(); }
  // Compacts everything and remembers when that ended. Blocking, for minutes; one at a time; reads
  // and writes go on meanwhile.
  virtual Status compact(const ManualCompactSettings::How& /*how*/) { return Status::Ok(); }
  // Lets compact() end early, with kBusy, and not begin again before the next call. Any thread.
  virtual void stop_compact() {}
  // Percent of the running compact(). Any thread.
  virtual int32_t compact_progress() const { return 0; }
  // When the last compact() ended, in milliseconds of Unix time; 0: never. Any thread.
  virtual int64_t last_manual_compact_ms() const { return 0; }

  // The first damage that a read, a flush or a compaction found in the files; Ok: none so far. Any
  // thread; one load while there is none.
  virtual Status damage() const { return Status::Ok(); }
  // Whether the disk was too full for a flush or a compaction. Any thread.
  virtual bool out_of_space() const { return false; }
  // After kDiskInsufficient: takes up writing again if there is space now, else kDiskInsufficient.
  // Blocking.
  virtual Status regain_space() { return Status::Ok(); }
  // Reads through every file of a checkpoint. kRdbCorruption names file and offset; it is then also
  // this store's damage. Blocking, for as long as reading takes.
  virtual Status verify_checkpoint(const std::string& /*dir*/) { return Status::Ok(); }

  // For /metrics. Any thread; takes the store's lock for a moment.
  virtual StoreStatistics statistics() const { return {}; }
};

}  // namespace markab::engine
