#pragma once
// Keeps a stranger from filling the log: of refusals of one kind to one host, one line per interval
// is written, with a count of those left out (spec 05 §2.7).

#include <cstdint>
#include <mutex>
#include <unordered_map>

#include "base/ids.h"

namespace markab::security {

// Any thread.
class RefusalLog {
 public:
  // Whether to write this one; `left_out` is then how many were not since the last.
  bool admit(Instant now, uint32_t ipv4, int kind, int64_t& left_out);

 private:
  static constexpr Duration kInterval = std::chrono::seconds(10);
  static constexpr size_t kMaxEntries = 4096;  // then all are forgotten
  struct Entry {
    Instant written;
    int64_t left_out = 0;
  };
  std::mutex mutex_;
  std::unordered_map<uint64_t, Entry> entries_;
};

}  // namespace markab::security
