#include "replica/hotkey.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/crc64.h"

namespace markab::replica {

namespace {

// Which of `counts` stands out from the rest by `deviations`, or -1. The deviation of the rest is
// taken as no smaller than that of requests which come at random.
int outlier(const std::vector<int64_t>& counts, double deviations, int64_t min_total) {
  if (counts.empty()) return -1;
  auto top = std::max_element(counts.begin(), counts.end());
  double total = 0;
  for (int64_t count : counts) total += static_cast<double>(count);
  if (total < static_cast<double>(min_total)) return -1;
  double rest = static_cast<double>(counts.size() - 1);
  double mean = rest == 0 ? 0 : (total - static_cast<double>(*top)) / rest;
  double square = 0;
  for (auto at = counts.begin(); at != counts.end(); ++at) {
    if (at != top) square += std::pow(static_cast<double>(*at) - mean, 2);
  }
  double deviation = rest == 0 ? 0 : std::sqrt(square / rest);
  double usual = std::max({deviation, std::sqrt(mean), 1.0});
  bool stands_out = static_cast<double>(*top) - mean >= deviations * usual;
  return stands_out ? static_cast<int>(top - counts.begin()) : -1;
}

uint32_t bucket_of(std::string_view hash_key) {
  // Not the low bits: those chose the partition.
  return static_cast<uint32_t>((crc64(hash_key) >> 32) % HotkeyDetector::kBuckets);
}

}  // namespace

void HotkeyDetector::capture(std::string_view hash_key, int64_t weight) {
  State state = state_.load(std::memory_order_acquire);
  uint32_t bucket = bucket_of(hash_key);
  if (state == State::kCoarse) {
    buckets_[bucket].fetch_add(weight, std::memory_order_relaxed);
    return;
  }
  if (state != State::kFine || bucket != hot_bucket_.load(std::memory_order_relaxed)) return;
  if (hash_key.size() > kMaxKeyBytes) return;
  std::lock_guard lock(mutex_);
  auto found = keys_.find(std::string(hash_key));
  if (found != keys_.end()) {
    found->second += weight;
  } else if (keys_.size() < kMaxKeys) {
    keys_.emplace(hash_key, weight);
  }
}

bool HotkeyDetector::start(Instant now) {
  std::lock_guard lock(mutex_);
  if (state() != State::kStopped) return false;
  clear_counts();
  started_ = last_look_ = now;
  state_.store(State::kCoarse, std::memory_order_release);
  return true;
}

void HotkeyDetector::stop() {
  std::lock_guard lock(mutex_);
  state_.store(State::kStopped, std::memory_order_release);
  clear_counts();
}

std::string HotkeyDetector::result() const {
  std::lock_guard lock(mutex_);
  return result_;
}

void HotkeyDetector::analyse(Instant now) {
  if (!active()) return;
  std::lock_guard lock(mutex_);
  if (!active() || now - last_look_ < kInterval) return;
  last_look_ = now;
  state() == State::kCoarse ? analyse_buckets(now) : analyse_keys();
  if (active() && now - started_ >= kGiveUp) {
    state_.store(State::kStopped, std::memory_order_release);
    clear_counts();
  }
}

void HotkeyDetector::analyse_buckets(Instant /*now*/) {
  std::vector<int64_t> counts;
  for (auto& bucket : buckets_) counts.push_back(bucket.exchange(0, std::memory_order_relaxed));
  int hot = outlier(counts, kBucketDeviations, kMinCaptured);
  if (hot < 0) return;
  keys_.clear();
  hot_bucket_.store(static_cast<uint32_t>(hot), std::memory_order_relaxed);
  state_.store(State::kFine, std::memory_order_release);
}

void HotkeyDetector::analyse_keys() {
  std::vector<int64_t> counts;
  std::vector<const std::string*> names;
  int64_t total = 0;
  for (const auto& [key, count] : keys_) {
    names.push_back(&key);
    counts.push_back(count);
    total += count;
  }
  int hot = -1;
  if (counts.size() >= 3) {
    hot = outlier(counts, kKeyDeviations, kMinCaptured);
  } else if (total >= kMinCaptured) {
    hot = static_cast<int>(std::max_element(counts.begin(), counts.end()) - counts.begin());
  }
  if (hot >= 0) {
    result_ = *names[static_cast<size_t>(hot)];
    state_.store(State::kFinished, std::memory_order_release);
  }
  keys_.clear();
}

void HotkeyDetector::clear_counts() {
  for (auto& bucket : buckets_) bucket.store(0, std::memory_order_relaxed);
  keys_.clear();
  result_.clear();
}

std::string_view hotkey_state_name(HotkeyDetector::State state) {
  switch (state) {
    case HotkeyDetector::State::kStopped:
      return "STOPPED";
    case HotkeyDetector::State::kCoarse:
      return "COARSE_DETECTING";
    case HotkeyDetector::State::kFine:
      return "FINE_DETECTING";
    case HotkeyDetector::State::kFinished:
      return "FINISHED";
  }
  return "";
}

}  // namespace markab::replica
