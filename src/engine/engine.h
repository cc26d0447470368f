#pragma once
// One shard of a table in one store: the operations of spec 02 on encoded keys and values.
//
// Reads (class Engine, const) run on any shard, first only from memory, and say kNeedsDisk when
// that is not enough or would hold up the shard for long; the caller repeats them on the blocking
// pool. Answers are filled into the wire structs; the bytes that their blobs view live in the
// caller's ReadArena. Writes go two ways: Resolver turns requests into effects on the primary
// (resolver.h), apply() writes effects, already logged, on every replica.
//
// The engine fills `error` and the data fields; app_id, partition_index, server and decree are the
// caller's.

#include <cstdint>
#include <memory>
#include <string>

#include "base/function.h"
#include "base/ids.h"
#include "base/status.h"
#include "engine/read_arena.h"
#include "engine/shared_resources.h"
#include "engine/store.h"
#include "engine/table_settings.h"
#include "idl/rrdb_types.h"

namespace markab::engine {

enum class ReadOutcome {
  kDone,        // the answer (which may be an error of spec 02 §2) is filled
  kNeedsDisk,   // memory_only was set and was not enough: repeat without it. The answer and the
                // arena hold nothing
  kUnfinished,  // a slice is used up: repeat with the same request, context and arena, untouched
};

// Storage results: the numbers that `error` fields carry (spec 02 §2). No other ever leaves.
namespace storage {
inline constexpr int32_t kOk = 0;
inline constexpr int32_t kNotFound = 1;
inline constexpr int32_t kCorruption = 2;
inline constexpr int32_t kInvalidArgument = 4;
inline constexpr int32_t kIoError = 5;
inline constexpr int32_t kIncomplete = 7;
inline constexpr int32_t kBusy = 11;
inline constexpr int32_t kTryAgain = 13;
}  // namespace storage

// Bounds of one read (spec 02 §6).
struct ReadLimits {
  uint32_t multi_get_rows = 3000;  // looked at, and so returned; at least 1
  uint64_t multi_get_bytes = 30u << 20;
  uint32_t scan_rows = 1000;  // looked at, of a batch; at least 1
};
// Bounds of ours, so that any answer fits into one frame: a point multi_get or a batch_get says 7
// with what fits, a scan batch ends early with a live context.
inline constexpr uint64_t kMaxPointAnswerBytes = 48u << 20;
inline constexpr uint64_t kMaxScanBatchBytes = 8u << 20;
// What a shard does in one go; beyond it a read continues (that is, starts anew) on the blocking
// pool.
inline constexpr uint32_t kMaxIterationsOnShard = 200;
inline constexpr uint64_t kMaxBytesOnShard = 256u << 10;
// Scan contexts. At the bounds the one that was used longest ago goes, of that peer or of all: its
// owner starts again from its last key (spec 02 §2, result 1 on scan).
inline constexpr size_t kMaxScanContexts = 1024;
inline constexpr size_t kMaxScanContextsPerPeer = 128;
inline constexpr Duration kScanContextIdle = std::chrono::minutes(5);

struct ReadContext {
  int64_t wall_us = 0;  // the clock at the request: expiry is judged by it
  Instant now;          // for time limits and idle contexts
  bool memory_only = true;
  // After which a read that has no other bound (sortkey_count) says kUnfinished, so that others get
  // their turn; looked at every 300 rows. 0: never. Not with memory_only.
  Duration slice{};
  HostPort peer;                // for bounds of scan contexts per peer
  uint64_t partition_hash = 0;  // the header's
};

struct EngineOptions {
  Gpid gpid;
  std::string dir;  // the store's directory (spec 04 §2.5: data/rdb)
  int32_t partition_count = 0;
  TableSettings settings;
  ReadLimits limits;
  Function<Instant()> now;  // for time limits inside long reads; any thread
  Function<int64_t()>
      wall_us;        // by which compaction judges expiry; any thread. Empty: RocksDB's own clock
  uint64_t seed = 0;  // makes scan context ids unique across opens; 0: drawn from the system
};

class Engine {
 public:
  // Opens or creates. Blocking. Errors: kRdbCorruption (file and offset in the message),
  // kDiskIoError, ...
  static Result<std::unique_ptr<Engine>> open(SharedResources& shared, EngineOptions options);
  // Over another store (the simulator).
  static std::unique_ptr<Engine> over(std::unique_ptr<Store> store, EngineOptions options);
  virtual ~Engine() = default;

  virtual ReadOutcome get(const wire::blob& key, const ReadContext&, ReadArena&,
                          wire::read_response&) const = 0;
  virtual ReadOutcome ttl(const wire::blob& key, const ReadContext&, ReadArena&,
                          wire::ttl_response&) const = 0;
  virtual ReadOutcome multi_get(const wire::multi_get_request&, const ReadContext&, ReadArena&,
                                wire::multi_get_response&) const = 0;
  virtual ReadOutcome batch_get(const wire::batch_get_request&, const ReadContext&, ReadArena&,
                                wire::batch_get_response&) const = 0;
  virtual ReadOutcome sortkey_count(const wire::blob& hash_key, const ReadContext&, ReadArena&,
                                    wire::count_response&) const = 0;
  // Scan contexts live in the engine, bounded per engine and per peer, and expire when idle (spec
  // 02 §10). Any thread; what may go on after its first batch runs on the blocking pool.
  virtual ReadOutcome get_scanner(const wire::get_scanner_request&, const ReadContext&, ReadArena&,
                                  wire::scan_response&) = 0;
  virtual ReadOutcome scan(const wire::scan_request&, const ReadContext&, ReadArena&,
                           wire::scan_response&) = 0;
  virtual void clear_scanner(int64_t context_id) = 0;
  // Drops contexts idle for five minutes; call it every few seconds. Frees iterators: it may take a
  // millisecond.
  virtual void expire_scanners(Instant now) = 0;
  virtual size_t scanner_count() const = 0;

  // Applies the effects of `decree`; precondition (asserted): decree == last_applied() + 1. Owner's
  // shard. Errors as of Store::write; after any but kBusy the replica is no longer whole.
  virtual Status apply(Decree decree, std::string_view effects) = 0;
  // The same for the decrees from `first` on; see Store::write_run().
  virtual Status apply_run(Decree first, const std::vector<std::string_view>& effects) = 0;
  virtual Store& store() = 0;
  virtual const Store& store() const = 0;
  virtual Gpid gpid() const = 0;
  // Owner's shard; takes effect at the next request and the next compaction. What the store itself
  // must take over is told to it by Store::reconfigure(). settings(): any thread.
  virtual void set_settings(const TableSettings& settings) = 0;
  virtual OperationSettings settings() const = 0;
};

// The number that a failure of the store has on the wire.
int32_t storage_error(const Status& status);

}  // namespace markab::engine
