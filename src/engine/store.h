#pragma once
// The seam under the engine: an ordered store with two column families, atomic batches and a decree that becomes durable
// together with the data. Filled by RocksDB (rocks_store.h) and, in the simulator, by an ordered map of the same crash
// behaviour (map_store.h): a crash keeps what a flush had made durable and nothing else.
//
// Reads from any thread; write/flush/close from the owner's shard or the blocking pool, one at a time.

#include <rocksdb/iterator.h>
#include <rocksdb/slice.h>
#include <rocksdb/write_batch.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/status.h"

namespace markab::engine {

enum class Lookup { kFound, kNotFound, kNeedsDisk, kError };

// Bytes of a value that stay where the store has them until reset (RocksDB's PinnableSlice, or an own copy).
class PinnedValue;

struct ReadFrom {
  bool memory_only = false;  // kBlockCacheTier: kNeedsDisk instead of a disk read
};

class Store {
 public:
  virtual ~Store() = default;
  virtual Lookup get(std::string_view key, ReadFrom from, rocksdb::PinnableSlice& value, Status& error) = 0;
  // A consistent view; kNeedsDisk shows as an invalid iterator with status Incomplete when memory_only. `upper_bound`
  // must outlive the iterator; empty: none. `within_prefix` confines to the hash key of the seek key.
  virtual std::unique_ptr<rocksdb::Iterator> iterate(ReadFrom from, const rocksdb::Slice* lower_bound,
                                                     const rocksdb::Slice* upper_bound, bool total_order) = 0;
  // Applies a batch of effects and the decree in one step, without a log of its own. kBusy when writes are stalled
  // (never blocks), kRdbCorruption, kDiskInsufficient, kDiskIoError.
  virtual Status write(Decree decree, std::string_view effects) = 0;
  virtual Decree last_applied() const = 0;
  // The decree contained in durable files. Any thread.
  virtual Decree last_flushed() const = 0;
  // Makes everything applied durable. Blocking.
  virtual Status flush() = 0;
  // Writes a checkpoint (hard links where possible) into `dir`, which must not exist, and returns its decree. Blocking.
  virtual Result<Decree> checkpoint(const std::string& dir) = 0;
  // Names and sizes of what a checkpoint directory holds are the caller's business (io::FileSystem).
};

}  // namespace markab::engine
