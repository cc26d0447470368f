#pragma once
// A Store on RocksDB, with the layout of spec 02 §14: data in column family "default", the store's
// own facts in "pegasus_meta_cf"; no log of its own; both families flushed as one, so that data and
// decree become durable together.
//
// Owned by one Engine. Threads: see store.h. Blocking calls: open, flush, checkpoint, destruction.

#include <rocksdb/db.h>

#include <atomic>
#include <memory>
#include <string>

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
  Decree last_applied() const override { return last_applied_.load(std::memory_order_acquire); }
  Decree last_flushed() const override { return last_flushed_.load(std::memory_order_acquire); }
  uint32_t data_version() const override { return data_version_; }
  Status flush() override;
  Result<Decree> checkpoint(const std::string& dir) override;

  // The decree that a checkpoint directory holds. Blocking.
  static Result<Decree> decree_of_checkpoint(const std::string& dir);

  rocksdb::DB& db() { return *db_; }

 private:
  class FlushListener;
  RocksStore(RocksStoreOptions options, WriteBudget& budget);

  Status open_db(SharedResources& shared);
  Status write_first_facts();
  Status load_facts();
  // A fact of the meta family; `found` is false when it is absent.
  Status read_fact(rocksdb::ReadTier tier, const char* name, int64_t& value, bool& found) const;
  // Before the first flush of a new store: makes durable what its creation left to be synced.
  Status sync_creation();
  void note_flushed();
  Status failed(std::string_view what, const rocksdb::Status& status) const;

  const RocksStoreOptions options_;
  WriteBudget& budget_;
  std::unique_ptr<rocksdb::DB> db_;
  rocksdb::ColumnFamilyHandle* data_ = nullptr;
  rocksdb::ColumnFamilyHandle* meta_ = nullptr;
  uint32_t data_version_ = 0;
  std::atomic<Decree> last_applied_{0};
  std::atomic<Decree> last_flushed_{0};
  std::atomic<bool> open_{false};
  std::atomic<bool> creation_synced_{true};
  std::string scratch_;  // of write(): keeps its capacity
};

// What a RocksDB status means here; its text is kept.
Status to_status(const rocksdb::Status& status);

}  // namespace markab::engine
