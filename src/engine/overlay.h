#pragma once
// The effects that are logged or about to be, but not yet in the store: what an atomic operation
// must see besides the store. Holds the batches themselves; the index over their keys is built when
// somebody asks, so that a table with nothing but plain writes never pays for it.
//
// Owned by one Resolver, on its shard.

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"

namespace markab::engine {

class Overlay {
 public:
  // What is in flight for a key.
  enum class Seen { kNothing, kValue, kDeletion };

  // Adds the effects of `decree`, above all that are here. The string may still grow at its end (it
  // is the batch under construction) and keeps its address.
  void add(Decree decree, std::shared_ptr<const std::string> effects);
  // The newest in-flight state of `raw_key`; `stored` is the value with its header, good until the
  // batch grows.
  Seen find(std::string_view raw_key, std::string_view& stored);
  // The last batch stayed without records: forget it.
  void drop_last();
  // Everything up to `decree` is in the store.
  void applied(Decree decree);
  void clear();
  // Of all batches here.
  size_t bytes() const;
  bool empty() const { return batches_.empty(); }

 private:
  struct Batch {
    Decree decree;
    std::shared_ptr<const std::string> effects;
    size_t indexed;  // bytes of `effects` that the index knows
  };
  // One key's newest record. `batch` 0: the slot is free.
  struct Slot {
    uint64_t hash = 0;
    uint64_t batch = 0;
    uint32_t key_at = 0;
    uint32_t key_bytes = 0;
    uint32_t value_at = 0;
    uint32_t value_bytes = 0;
    bool is_delete = false;
  };

  void index_rest();
  void index_batch(uint64_t number);
  void put_slot(const Slot& slot);
  void forget_front();
  // Where the key is, or the free slot where it would go.
  size_t probe(uint64_t hash, std::string_view key) const;
  std::string_view key_of(const Slot& slot) const;
  void erase_slot(size_t at);
  void grow();
  Batch& batch(uint64_t number) { return batches_[number - first_]; }
  const Batch& batch(uint64_t number) const { return batches_[number - first_]; }

  std::deque<Batch> batches_;
  uint64_t first_ = 1;  // the number of batches_.front(); numbers rise by one
  uint64_t first_unindexed_ =
      1;                     // batches from here on may have bytes that the index does not know
  std::vector<Slot> slots_;  // open addressing, linear probing; a power of two
  size_t used_ = 0;
  size_t finished_bytes_ = 0;  // of all batches but the last, which may grow
};

}  // namespace markab::engine
