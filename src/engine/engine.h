#pragma once
// One shard of a table in one store: the operations of spec 02 on encoded keys and values.
//
// Reads (class Engine, const) run on any shard, first only from memory, and say kNeedsDisk when that is not enough; the
// caller repeats them on the blocking pool. Answers are filled into the wire structs; the bytes that their blobs view
// live in the caller's ReadArena. Writes go two ways: Resolver turns requests into effects on the primary (resolver.h),
// apply() writes effects, already logged, on every replica.
//
// The engine fills `error` and the data fields; app_id, partition_index, server and decree are the caller's.

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/metrics.h"
#include "base/status.h"
#include "engine/store.h"
#include "idl/rrdb_types.h"  // generated

namespace markab::engine {

enum class ReadOutcome {
  kDone,       // the answer (which may be an error of spec 02 §2) is filled
  kNeedsDisk,  // memory_only was set and was not enough: repeat without it
};

// Keeps alive what the blobs of an answer point to. Reused between reads of one shard: reset() keeps the capacity.
class ReadArena;

// The settings that the environments of a table give (spec 02 §13), as an immutable snapshot.
struct TableSettings {
  int32_t default_ttl_s = 0;
  int64_t slow_query_threshold_ms = 100;
  int64_t iteration_threshold_ms = 30000;
  bool validate_partition_hash = false;
  int32_t partition_version = -1;  // partition_count - 1 as this replica knows it; -1: unknown
};

struct ReadContext {
  int64_t wall_us = 0;          // the clock at the request: expiry is judged by it
  Instant now;                  // for time limits
  bool memory_only = true;
  HostPort peer;                // for bounds of scan contexts per peer
  uint64_t partition_hash = 0;  // the header's
};

// What all engines of a daemon share: block cache, write-buffer budget, background threads, rate limiter.
class SharedResources;
struct SharedResourceOptions {
  uint64_t block_cache_bytes = 0;   // 0: a stated share of the machine's memory
  uint64_t write_buffer_bytes = 0;  // 0: likewise
  int background_threads = 2;
  uint64_t write_rate_bytes = 500u << 20;  // of flushes and compactions, per second
};
std::shared_ptr<SharedResources> make_shared_resources(const SharedResourceOptions& options);

struct EngineOptions {
  Gpid gpid;
  std::string dir;                 // the store's directory (spec 04 §2.5: data/rdb)
  int32_t partition_count = 0;
  TableSettings settings;
  Function<Instant()> now;         // for time limits inside long reads
};

class Engine {
 public:
  // Opens or creates. Blocking. Errors: kRdbCorruption (file and offset in the message), kDiskIoError, ...
  static Result<std::unique_ptr<Engine>> open(SharedResources& shared, EngineOptions options);
  // Over another store (the simulator).
  static std::unique_ptr<Engine> over(std::unique_ptr<Store> store, EngineOptions options);
  virtual ~Engine() = default;

  virtual ReadOutcome get(const wire::blob& key, const ReadContext&, ReadArena&, wire::read_response&) const = 0;
  virtual ReadOutcome ttl(const wire::blob& key, const ReadContext&, ReadArena&, wire::ttl_response&) const = 0;
  virtual ReadOutcome multi_get(const wire::multi_get_request&, const ReadContext&, ReadArena&,
                                wire::multi_get_response&) const = 0;
  virtual ReadOutcome batch_get(const wire::batch_get_request&, const ReadContext&, ReadArena&,
                                wire::batch_get_response&) const = 0;
  virtual ReadOutcome sortkey_count(const wire::blob& hash_key, const ReadContext&, ReadArena&,
                                    wire::count_response&) const = 0;
  // Scan contexts live in the engine, bounded per engine and per peer, and expire when idle (spec 02 §10).
  virtual ReadOutcome get_scanner(const wire::get_scanner_request&, const ReadContext&, ReadArena&,
                                  wire::scan_response&) = 0;
  virtual ReadOutcome scan(const wire::scan_request&, const ReadContext&, ReadArena&, wire::scan_response&) = 0;
  virtual void clear_scanner(int64_t context_id) = 0;
  // Drops contexts idle for five minutes; call it every few seconds.
  virtual void expire_scanners(Instant now) = 0;

  // Applies the effects of `decree`; precondition (asserted): decree == last_applied() + 1. Owner's shard.
  virtual Status apply(Decree decree, std::string_view effects) = 0;
  virtual Store& store() = 0;
  virtual const Store& store() const = 0;
  virtual void set_settings(const TableSettings& settings) = 0;
};

}  // namespace markab::engine
