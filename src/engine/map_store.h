#pragma once
// A Store that is an ordered map: the simulator's. It has the crash behaviour of RocksStore - a new
// object over the same files sees what the last flush() had written and nothing else - and is
// deterministic. Its files go through io::FileSystem, so that simulated disks lose, tear and fill
// up under it as under everything else.
//
// One thread: the simulator's. Format of its file: docs/formats.md, "Map store".

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "base/random.h"
#include "engine/store.h"
#include "io/file.h"

namespace markab::engine {

struct MapStoreOptions {
  std::string dir;
  // Of the reads from memory, how many say kNeedsDisk, so that callers' second way is walked too.
  uint32_t needs_disk_percent = 0;
  uint64_t seed = 1;
};

class MapStore final : public Store {
 public:
  // Opens what flush() or checkpoint() left in `dir`, or begins empty. `files` outlives the store.
  // Errors: kRdbCorruption (file and offset in the message), and those of `files`.
  static Result<std::unique_ptr<MapStore>> open(io::FileSystem& files, MapStoreOptions options);

  Lookup get(std::string_view key, ReadFrom from, rocksdb::PinnableSlice& value,
             Status& error) const override;
  std::unique_ptr<rocksdb::Iterator> iterate(ReadFrom from, const rocksdb::Slice* lower,
                                             const rocksdb::Slice* upper,
                                             bool one_hash_key) const override;
  Status status_of(const rocksdb::Iterator& iterator) const override;
  Status write(Decree decree, std::string_view effects) override;
  Decree last_applied() const override { return last_applied_; }
  Decree last_flushed() const override { return last_flushed_; }
  uint32_t data_version() const override;
  Status flush() override;
  Result<Decree> checkpoint(const std::string& dir) override;

  using Rows = std::map<std::string, std::string, std::less<>>;

 private:
  MapStore(io::FileSystem& files, MapStoreOptions options);
  Status load();
  bool says_needs_disk(ReadFrom from) const;

  io::FileSystem& files_;
  const MapStoreOptions options_;
  mutable Random random_;
  // Iterators hold the rows they began with; a write to rows that somebody holds works on a copy.
  std::shared_ptr<Rows> rows_ = std::make_shared<Rows>();
  Decree last_applied_ = 0;
  Decree last_flushed_ = 0;
  // What the last flush wrote, for checkpoints.
  std::string durable_;
};

}  // namespace markab::engine
