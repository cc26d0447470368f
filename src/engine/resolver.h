#pragma once
// Turns client writes into effects on the primary, before they are logged: plain puts and deletes
// with computed expiry and timetag, serialised as a RocksDB WriteBatch (DESIGN §1.1; effects.h).
// Sees the effects still in flight through a bounded overlay, so that atomic operations on one row
// need not wait for each other.
//
// Owned by one replica, used on its shard only. Nothing here blocks: a base value that is not in
// memory makes add() answer kNeedsDisk, and the caller fetches it on the blocking pool.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/ids.h"
#include "base/status.h"
#include "engine/engine.h"
#include "engine/write_request.h"

namespace markab::engine {

// What the client will be told once the effects are committed. Owns its bytes.
struct WriteResult {
  int32_t error = 0;  // spec 02 §2, storage result
  bool has_effects =
      false;  // false: nothing was added to the batch (a failed check, an invalid argument)
  int64_t number = 0;  // incr: the new value; multi_remove: the count
  bool check_value_returned = false;
  bool check_value_exist = false;
  std::string check_value;
  std::string hint;  // duplicate: why it was refused
};

struct ResolveContext {
  int64_t wall_us = 0;  // the primary's clock: expiry and default TTL are computed from it, once
  int64_t timestamp_us = 0;  // the mutation's, strictly rising per replica
  uint8_t cluster_id = 0;    // 0..127
};

class Resolver {
 public:
  // Effects in flight and not yet applied. Reached: add() answers kBusy.
  static constexpr size_t kMaxOverlayBytes = 64u << 20;

  // `engine` outlives the resolver.
  explicit Resolver(const Engine& engine);
  ~Resolver();

  // Starts the batch of `decree`. Precondition: decree is above all that were begun before and not
  // yet dropped.
  void begin(Decree decree, const ResolveContext& context);
  enum class Outcome { kDone, kNeedsDisk, kBusy };
  // Adds one request to the batch. kNeedsDisk: nothing was added; fetch what is wanted() on the
  // blocking pool, remember() it, and call add() again, in this batch or a later one.
  // A DuplicateRequest wants a batch of its own whose timestamp is at least newest_timestamp_us().
  Outcome add(const WriteRequest& request, WriteResult& result);
  // Ends the batch: the serialised effects, or null when no request had any (then no decree is used
  // up). The effects are visible to later batches until applied().
  std::shared_ptr<const std::string> end();
  // Bytes gathered in the current batch.
  size_t batch_bytes() const;

  // Base values on their way from the disk.
  struct Fetched;
  // What the last kNeedsDisk asked for. Between this and remember() the caller adds nothing.
  std::shared_ptr<Fetched> wanted() const;
  // Reads them. Blocking; any thread; touches the store only.
  static void fetch(const Engine& engine, Fetched& fetched);
  // They serve the next add(); ignored when clear() came between.
  void remember(std::shared_ptr<Fetched> fetched);

  // The store now holds everything up to `decree`.
  void applied(Decree decree);
  // The primary role ended, or the batches above were dropped: forget everything in flight. Not
  // within a batch.
  void clear();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace markab::engine
