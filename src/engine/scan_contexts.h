#pragma once
// The scans that clients have under way in one engine (spec 02 §10): what they asked, and the
// iterator that keeps their view of the store. Bounded in total and per peer; the one used longest
// ago makes room.
//
// Any thread: a lock guards the table, never a read; whoever reads has taken its context out.

#include <rocksdb/iterator.h>

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/ids.h"
#include "engine/range.h"
#include "idl/rrdb_types.h"

namespace markab::engine {

struct ScanContext {
  KeyRange range;
  std::unique_ptr<rocksdb::Iterator> rows;  // over `range`; destroyed first
  bool one_hash_key = false;
  uint32_t batch_rows = 0;
  bool no_value = false;
  bool validate_partition_hash = true;
  bool return_expire_ts = false;
  bool only_return_count = false;
  wire::filter_type::type hash_filter = wire::filter_type::FT_NO_FILTER;
  std::string hash_pattern;
  wire::filter_type::type sort_filter = wire::filter_type::FT_NO_FILTER;
  std::string sort_pattern;
  HostPort peer;
};

class ScanContexts {
 public:
  // Ids are `seed`'s 31 bits and a counter: unique across opens, positive, never 0.
  explicit ScanContexts(uint64_t seed);

  // Returns the new id.
  int64_t put(std::unique_ptr<ScanContext> context, Instant now);
  // Null when there is none of that id.
  std::unique_ptr<ScanContext> take(int64_t id);
  bool contains(int64_t id) const;
  // Drops those that were put before `until`.
  void expire(Instant until);
  size_t size() const;

 private:
  struct Entry {
    std::unique_ptr<ScanContext> context;
    Instant since;
  };
  // In the order of put(): the oldest has the smallest number.
  using Order = std::map<uint32_t, Entry>;

  std::unique_ptr<ScanContext> remove(Order::iterator at);
  Order::iterator find(int64_t id);

  const uint64_t high_word_;
  mutable std::mutex mutex_;
  uint32_t counter_ = 0;
  Order contexts_;
  std::unordered_map<HostPort, std::vector<uint32_t>> by_peer_;
};

}  // namespace markab::engine
