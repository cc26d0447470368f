#pragma once
// The limits on requests and bytes per second that a table's environments set (spec 02 §13, 04 §5),
// for one partition. Pure but for atomics: taken from any shard, no lock; configured on the
// replica's shard.

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "base/ids.h"
#include "base/table_envs.h"

namespace markab::replica {

// Windows of one second of the wall clock. A rule's units are the table's: a partition has its
// share and one more.
class RequestThrottle {
 public:
  enum class Verdict : uint8_t { kAdmit, kDelay, kReject };
  struct Decision {
    Verdict verdict = Verdict::kAdmit;
    int64_t wait_ms = 0;  // before it is looked at again, or before the refusal is sent
  };

  void configure(const ThrottleRule& rule, int32_t partition_count) {
    auto share = [&](int64_t units) {
      return units == 0 ? 0 : std::min(units / partition_count + 1, kMaxUnits);
    };
    delay_units_.store(share(rule.delay_units), std::memory_order_relaxed);
    delay_ms_.store(rule.delay_ms, std::memory_order_relaxed);
    reject_units_.store(share(rule.reject_units), std::memory_order_relaxed);
    reject_ms_.store(rule.reject_ms, std::memory_order_relaxed);
    on_.store(!rule.off(), std::memory_order_relaxed);
  }
  bool on() const { return on_.load(std::memory_order_relaxed); }

  // What is rejected does not count, what is delayed does.
  Decision take(int64_t units, int64_t wall_us) {
    const int64_t reject = reject_units_.load(std::memory_order_relaxed);
    const int64_t delay = delay_units_.load(std::memory_order_relaxed);
    const uint64_t second = static_cast<uint64_t>(wall_us / 1000000) << kUnitBits;
    uint64_t seen = window_.load(std::memory_order_relaxed);
    int64_t used = 0;
    do {
      bool same = (seen & ~kUnitMask) == second;
      used = std::min((same ? static_cast<int64_t>(seen & kUnitMask) : 0) + units, kMaxUnits);
      if (reject > 0 && used > reject) {
        return {Verdict::kReject, reject_ms_.load(std::memory_order_relaxed)};
      }
    } while (!window_.compare_exchange_weak(seen, second | static_cast<uint64_t>(used),
                                            std::memory_order_relaxed));
    if (delay > 0 && used > delay) {
      return {Verdict::kDelay, delay_ms_.load(std::memory_order_relaxed)};
    }
    return {};
  }

 private:
  // One word: the second's low 24 bits, then the units used in it.
  static constexpr int kUnitBits = 40;
  static constexpr uint64_t kUnitMask = (uint64_t{1} << kUnitBits) - 1;
  static constexpr int64_t kMaxUnits = static_cast<int64_t>(kUnitMask);

  std::atomic<bool> on_{false};
  std::atomic<int64_t> delay_units_{0};
  std::atomic<int64_t> delay_ms_{0};
  std::atomic<int64_t> reject_units_{0};
  std::atomic<int64_t> reject_ms_{0};
  std::atomic<uint64_t> window_{0};
};

// A bucket of bytes that fills at `rate` and holds one second's worth. A read is let in while there
// is anything in it and pays afterwards, so that it may go into debt.
class ReadBytesBudget {
 public:
  // 0: no bound. A change begins with a full bucket.
  void configure(int64_t bytes_per_second, int32_t partition_count) {
    int64_t share =
        bytes_per_second == 0 ? 0 : std::max<int64_t>(1, bytes_per_second / partition_count);
    if (share == rate_.load(std::memory_order_relaxed)) return;
    empty_at_ns_.store(INT64_MIN, std::memory_order_relaxed);
    rate_.store(share, std::memory_order_relaxed);
  }
  bool on() const { return rate_.load(std::memory_order_relaxed) > 0; }
  bool anything_left(Instant now) const {
    return now.ns > empty_at_ns_.load(std::memory_order_relaxed);
  }
  void pay(int64_t bytes, Instant now) {
    const int64_t rate = rate_.load(std::memory_order_relaxed);
    if (rate == 0) return;
    // Whoever is in debt for more than this has waited long enough.
    const int64_t cost_ns =
        std::min(bytes / rate * kSecond + bytes % rate * kSecond / rate, kMaxDebt);
    int64_t seen = empty_at_ns_.load(std::memory_order_relaxed);
    int64_t next = 0;
    do {
      // Full is a second's worth of filling.
      next = std::min(std::max(seen, now.ns - kSecond) + cost_ns, now.ns + kMaxDebt);
    } while (!empty_at_ns_.compare_exchange_weak(seen, next, std::memory_order_relaxed));
  }

 private:
  static constexpr int64_t kSecond = 1000000000;
  static constexpr int64_t kMaxDebt = 60 * kSecond;

  std::atomic<int64_t> rate_{0};  // of this partition
  // When the bucket was or will be empty: what it holds is `rate` for the time since, at most a
  // second.
  std::atomic<int64_t> empty_at_ns_{INT64_MIN};
};

}  // namespace markab::replica
