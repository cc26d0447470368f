#pragma once
// A Store on RocksDB, with the layout of spec 02 §14: data in column family "default", the store's
// own facts in "pegasus_meta_cf"; no log of its own; both families flushed as one, so that data and
// decree become durable together.
//
// Owned by one Engine. Threads: see store.h. Blocking calls: open, flush, checkpoint, destruction.

#include <rocksdb/db.h>

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <unordered_map>

#include "base/function.h"
#include "base/ids.h"
#include "engine/shared_resources.h"
#include "engine/store.h"
#include "engine/table_settings.h"

namespace markab::engine {

struct RocksStoreOptions {
  Gpid gpid;
  std::string dir;
  // What the compaction filter asks. Both outlive the store.
  const LiveSettings* settings = nullptr;
  const Function<int64_t()>* wall_us = nullptr;
};

class RocksStore final : public Store {
 public:
  // Opens, or creates when `dir` is absent or empty. kRdbCorruption (RocksDB's own words name file
  // and offset), kDiskInsufficient, kDiskIoError, kInvalidVersion (data written by a newer server),
  // kFileOperationFailed.
  static Result<std::unique_ptr<RocksStore>> open(SharedResources& shared,
                                                  const RocksStoreOptions& options);
  ~RocksStore() override;

  Lookup get(std::string_view key, ReadFrom from, rocksdb::PinnableSlice& value,
             Status& error) const override;
  std::unique_ptr<rocksdb::Iterator> iterate(ReadFrom from, const rocksdb::Slice* lower,
                                             const rocksdb::Slice* upper,
                                             bool one_hash_key) const override;
  Status status_of(const rocksdb::Iterator& iterator) const override;
  Status write(Decree decree, std::string_view effects) override;
  // In one step.
  Status write_run(Decree first, const std::vector<std::string_view>& effects) override;
  Decree last_applied() const override { return last_applied_.load(std::memory_order_acquire); }
  Decree last_flushed() const override { return last_flushed_.load(std::memory_order_acquire); }
  uint32_t data_version() const override { return data_version_; }
  Status flush() override;
  Result<Decree> checkpoint(const std::string& dir) override;
  Status damage() const override;
  bool out_of_space() const override { return out_of_space_.load(std::memory_order_acquire); }
  Status regain_space() override;
  Status verify_checkpoint(const std::string& dir) override;
  StoreStatistics statistics() const override;
  // rocks_tuning.cc
  Status reconfigure(const StoreSettings& settings) override;
  Status compact(const ManualCompactSettings::How& how) override;
  void stop_compact() override { stop_compact_.store(true); }
  int32_t compact_progress() const override;
  int64_t last_manual_compact_ms() const override {
    return last_manual_compact_ms_.load(std::memory_order_acquire);
  }

  // The decree that a checkpoint directory holds. Blocking.
  static Result<Decree> decree_of_checkpoint(const std::string& dir);

  rocksdb::DB& db() { return *db_; }

 private:
  class Listener;
  RocksStore(RocksStoreOptions options, WriteBudget& budget);

  Status open_db(SharedResources& shared);
  // The decrees from `first` on, at least one, in one step.
  Status write_batch(Decree first, std::span<const std::string_view> run);
  Status write_first_facts();
  Status load_facts();
  // A fact of the meta family; `found` is false when it is absent.
  Status read_fact(rocksdb::ReadTier tier, const char* name, int64_t& value, bool& found) const;
  Status write_fact(const char* name, const std::string& value);
  // Before the first flush of a new store: makes durable what its creation left to be synced.
  Status sync_creation();
  void note_flushed();
  // Until a flush that was begun has made `decree` durable, or failed.
  Status wait_until_flushed(Decree decree, uint64_t failures_before);
  // The status in our words; keeps in mind damage and a full disk.
  Status failed(std::string_view what, const rocksdb::Status& status) const;
  void note_damage(const Status& status) const;

  const RocksStoreOptions options_;
  WriteBudget& budget_;
  const std::shared_ptr<TickerCounts> counts_ = std::make_shared<TickerCounts>();
  std::unique_ptr<rocksdb::DB> db_;
  rocksdb::ColumnFamilyHandle* data_ = nullptr;
  rocksdb::ColumnFamilyHandle* meta_ = nullptr;
  uint32_t data_version_ = 0;
  std::atomic<Decree> last_applied_{0};
  std::atomic<Decree> last_flushed_{0};
  std::atomic<bool> open_{false};
  std::atomic<bool> creation_synced_{true};
  // Mutable, since reads find damage.
  mutable std::atomic<bool> damaged_{false};
  mutable std::mutex damage_mutex_;
  mutable Status damage_;
  mutable std::atomic<bool> out_of_space_{false};
  std::mutex flush_mutex_;
  std::condition_variable flush_ended_;
  uint64_t failures_ = 0;  // in the background
  Status last_failure_;
  std::mutex reconfigure_mutex_;
  std::unordered_map<std::string, std::string> told_;  // the options that reconfigure() set last
  std::atomic<bool> stop_compact_{false};
  std::atomic<int64_t> compact_from_{0};   // compaction_input_bytes when it began
  std::atomic<int64_t> compact_bytes_{0};  // of the files then; 0: none runs
  std::atomic<int64_t> last_manual_compact_ms_{0};
  std::string scratch_;  // of write(): keeps its capacity
};

// What a RocksDB status means here; its text is kept.
Status to_status(const rocksdb::Status& status);

}  // namespace markab::engine
