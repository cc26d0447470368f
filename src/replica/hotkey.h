#pragma once
// Finds the hash key that gets far more requests than the others of a partition (spec 02 §15, 07
// §2.6). Off until an operator starts it: then a request pays one relaxed load.
//
// In two steps, so that memory is bounded: requests are counted in a few buckets by the hash of
// their hash key; when one bucket stands out, the keys that fall into it are counted one by one.
// capture() on any shard; the rest under a lock on any thread; analyse() every second or so.

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/ids.h"
#include "base/status.h"

namespace markab::replica {

class HotkeyDetector {
 public:
  static constexpr size_t kBuckets = 37;
  static constexpr Duration kInterval = std::chrono::seconds(10);  // between two looks
  static constexpr Duration kGiveUp = std::chrono::seconds(150);   // without a result
  static constexpr int64_t kMinCaptured = 100;  // in an interval; fewer say nothing
  static constexpr double kBucketDeviations = 7;
  static constexpr double kKeyDeviations = 5;
  static constexpr size_t kMaxKeys = 1000;       // counted one by one
  static constexpr size_t kMaxKeyBytes = 65534;  // as spec 02 §3

  enum class State : uint8_t { kStopped, kCoarse, kFine, kFinished };

  // Whether requests are to be shown to capture().
  bool active() const {
    State state = state_.load(std::memory_order_relaxed);
    return state == State::kCoarse || state == State::kFine;
  }
  // `weight`: how much work the request is, in rows.
  void capture(std::string_view hash_key, int64_t weight);

  // False unless it was stopped.
  bool start(Instant now);
  void stop();
  State state() const { return state_.load(std::memory_order_acquire); }
  // The hash key, when state() is kFinished.
  std::string result() const;
  void analyse(Instant now);

 private:
  void analyse_buckets(Instant now);
  void analyse_keys();
  void clear_counts();

  std::atomic<State> state_{State::kStopped};
  std::array<std::atomic<int64_t>, kBuckets> buckets_{};
  std::atomic<uint32_t> hot_bucket_{0};
  mutable std::mutex mutex_;  // guards what follows
  std::unordered_map<std::string, int64_t> keys_;
  Instant started_{};
  Instant last_look_{};
  std::string result_;
};

// "READ_COARSE_DETECTING" and so on, without the kind: "STOPPED", "COARSE_DETECTING",
// "FINE_DETECTING", "FINISHED".
std::string_view hotkey_state_name(HotkeyDetector::State state);

}  // namespace markab::replica
