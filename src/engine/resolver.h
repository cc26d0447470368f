#pragma once
// Turns client writes into effects on the primary, before they are logged: plain puts and deletes with computed expiry
// and timetag, serialised as a RocksDB WriteBatch (DESIGN §1.1). Sees the effects still in flight through a bounded
// overlay, so that atomic operations on one row need not wait for each other.
//
// Owned by one replica, used on its shard only. Nothing here blocks: a base value that is not in memory makes resolve()
// answer kNeedsDisk with the keys to be fetched.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/ids.h"
#include "engine/engine.h"
#include "idl/rrdb_types.h"

namespace markab::engine {

struct RemoveRequest {
  wire::blob key;
};
// One client write; its blobs view the request's bytes, which the caller keeps until the answer.
using WriteRequest =
    std::variant<wire::update_request, RemoveRequest, wire::multi_put_request, wire::multi_remove_request,
                 wire::incr_request, wire::check_and_set_request, wire::check_and_mutate_request>;

// What the client will be told once the effects are committed. Owns its bytes.
struct WriteResult {
  int32_t error = 0;       // spec 02 §2, storage result
  bool has_effects = false;  // false: nothing was added to the batch (a failed check, an invalid argument)
  int64_t number = 0;      // incr: the new value; multi_remove: the count
  bool check_value_returned = false;
  bool check_value_exist = false;
  std::string check_value;
};

struct ResolveContext {
  int64_t wall_us = 0;        // the primary's clock: expiry and default TTL are computed from it, once
  int64_t timestamp_us = 0;   // the mutation's, strictly rising per replica
  uint8_t cluster_id = 0;     // 0..127
};

class Resolver {
 public:
  static constexpr size_t kMaxOverlayBytes = 64u << 20;  // reached: resolve() answers kBusy

  explicit Resolver(const Engine& engine);
  ~Resolver();

  // Starts the batch of `decree`. Precondition: decree is above all that were begun before and not yet dropped.
  void begin(Decree decree, const ResolveContext& context);
  enum class Outcome { kDone, kNeedsDisk, kBusy };
  // Adds one request to the batch. kNeedsDisk: nothing was added; fetch(…) on the blocking pool, then call it again.
  Outcome add(const WriteRequest& request, WriteResult& result);
  // Reads what the last kNeedsDisk asked for. Blocking; any thread, while the owner waits. Then hand it to
  // remember() on the shard; it stays until the next successful add().
  struct Fetched;
  std::shared_ptr<Fetched> fetch() const;
  void remember(std::shared_ptr<Fetched> fetched);
  // Ends the batch: the serialised effects, or empty when no request had any (then no decree is used up). The effects
  // are visible to later batches until applied().
  std::string end();
  // Bytes gathered in the current batch.
  size_t batch_bytes() const;

  // The store now holds everything up to `decree`.
  void applied(Decree decree);
  // The primary role ended, or the batches above were dropped: forget everything in flight.
  void clear();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Whether the key of a request is well-formed and which hash its row has (spec 02 §3); false: malformed.
bool row_hash(const WriteRequest& request, uint64_t& hash);

}  // namespace markab::engine
