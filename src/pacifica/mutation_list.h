#pragma once
// The mutations of one replica that are in memory: contiguous decrees, the committed ones in front
// (kept for laggards and learners), the prepared ones behind. A ring that grows by doubling, so
// steady traffic allocates nothing.
//
// Owned by ReplicaCore, which bounds it.

#include <cstdint>
#include <vector>

#include "base/assert.h"
#include "pacifica/messages.h"

namespace markab::pacifica {

class MutationList {
 public:
  struct Entry {
    Mutation mutation;
    uint64_t record =
        0;  // number of the append that logged it; 0: in the log since before this core
  };
  // Of memory that a mutation takes besides its payload, for the bounds in bytes.
  static constexpr size_t kOverhead = 64;
  static size_t size_of(const Mutation& m) {
    return kOverhead + (m.payload == nullptr ? 0 : m.payload->size());
  }

  // Empties the list; the next decree is `before` + 1.
  void reset(Decree before);
  Decree first() const { return first_; }  // last() + 1 when empty
  Decree last() const { return first_ + static_cast<Decree>(count_) - 1; }
  bool holds(Decree d) const { return d >= first_ && d <= last(); }
  size_t bytes() const { return bytes_; }

  Entry& at(Decree d) {
    MARKAB_ASSERT(holds(d), "a decree that is not in memory", d, first_, last());
    return slots_[index(d)];
  }
  const Entry& at(Decree d) const { return const_cast<MutationList*>(this)->at(d); }

  // Precondition: its decree is last() + 1.
  void push_back(Mutation mutation, uint64_t record);
  // Another content for a decree that is held.
  void replace(Mutation mutation, uint64_t record);
  void truncate_after(Decree keep);
  void pop_front();

 private:
  size_t index(Decree d) const {
    return (head_ + static_cast<size_t>(d - first_)) & (slots_.size() - 1);
  }
  void grow();

  std::vector<Entry> slots_;  // a power of two
  size_t head_ = 0;
  size_t count_ = 0;
  size_t bytes_ = 0;
  Decree first_ = 1;
};

}  // namespace markab::pacifica
