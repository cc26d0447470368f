#pragma once
// What a table's environments let in: denials and throttles of one replica (spec 02 §5, §13; 04
// §4.2, §4.3, §5). With none of them set, a request pays one relaxed load.
//
// configure() on the replica's shard, the questions on any.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <string>

#include "base/ids.h"
#include "base/table_envs.h"
#include "replica/throttle.h"

namespace markab::replica {

class Admission {
 public:
  // A throttle that does not parse is off, a denial that does not parse stays as it was.
  void configure(const std::map<std::string, std::string>& envs, int32_t partition_count);

  enum class Denial : uint8_t { kNone, kSilence, kReconfigure };
  Denial denies_reads() const { return denial(kReads); }
  Denial denies_writes() const { return denial(kWrites); }
  // A table may be closed to its clients' writes while another cluster feeds it (06 §5.3); one that
  // is closed altogether takes nothing.
  Denial denies_duplicates() const {
    return denies_reads() == Denial::kNone ? Denial::kNone : denies_writes();
  }

  // The throttles; ask on() before take().
  RequestThrottle reads;
  RequestThrottle backup_reads;
  RequestThrottle writes;
  RequestThrottle write_bytes;
  ReadBytesBudget read_bytes;

 private:
  static constexpr uint8_t kReads = 1;
  static constexpr uint8_t kWrites = 2;
  static constexpr uint8_t kReconfigureBit = 4;

  Denial denial(uint8_t kind) const {
    uint8_t rule = deny_.load(std::memory_order_relaxed);
    if ((rule & kind) == 0) return Denial::kNone;
    return (rule & kReconfigureBit) != 0 ? Denial::kReconfigure : Denial::kSilence;
  }

  std::atomic<uint8_t> deny_{0};
};

// How long a throttled request waits: never longer than half of what its client gives it.
inline Duration throttle_wait(int64_t wait_ms, int32_t client_timeout_ms) {
  constexpr int64_t kMost = 10000;  // for clients that do not tell their time-out
  int64_t most = client_timeout_ms > 0 ? client_timeout_ms / 2 : kMost;
  return std::chrono::milliseconds(std::min(wait_ms, most));
}

}  // namespace markab::replica
