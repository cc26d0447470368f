#pragma once
// Metric types and the registry that a daemon shows at /metrics (JSON of spec 07 §4 and Prometheus
// text).
//
// Recording (Counter::add, Histogram::record) is wait-free from any thread. Entities are made and
// dropped rarely, under a lock. An owner keeps the shared_ptr of its Entity; when the last owner
// lets go, the entity leaves the registry.

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/function.h"

namespace markab {

class Counter {
 public:
  void add(int64_t n = 1) { value_.fetch_add(n, std::memory_order_relaxed); }
  int64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<int64_t> value_{0};
};

class Gauge {
 public:
  void set(int64_t v) { value_.store(v, std::memory_order_relaxed); }
  void add(int64_t n) { value_.fetch_add(n, std::memory_order_relaxed); }
  int64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<int64_t> value_{0};
};

// A log-linear histogram: 16 linear steps per power of two, so that a percentile is off by at
// most 6.25 %. Values are non-negative; 2^40 and above fall into the last bucket.
class Histogram {
 public:
  static constexpr int kSubBits = 4;
  static constexpr int kMaxBits = 40;
  static constexpr int kBuckets = (kMaxBits - kSubBits + 1) << kSubBits;

  void record(int64_t value) {
    buckets_[index(value)].fetch_add(1, std::memory_order_relaxed);
    count_.fetch_add(1, std::memory_order_relaxed);
    sum_.fetch_add(value, std::memory_order_relaxed);
    int64_t seen = max_.load(std::memory_order_relaxed);
    while (value > seen && !max_.compare_exchange_weak(seen, value, std::memory_order_relaxed)) {
    }
  }
  int64_t count() const { return count_.load(std::memory_order_relaxed); }
  int64_t sum() const { return sum_.load(std::memory_order_relaxed); }
  int64_t max() const { return max_.load(std::memory_order_relaxed); }
  // The upper edge of the bucket that holds the `q`-quantile (0 < q <= 1), at most max(); 0 when
  // nothing was recorded.
  int64_t quantile(double q) const;
  // Adds the records of `other`, as when per-thread histograms are joined.
  void merge(const Histogram& other);

 private:
  static int index(int64_t value);
  static int64_t upper_edge(int index);

  std::array<std::atomic<int64_t>, kBuckets> buckets_{};
  std::atomic<int64_t> count_{0};
  std::atomic<int64_t> sum_{0};
  std::atomic<int64_t> max_{0};
};

struct MetricInfo {
  std::string name;         // "get_requests"
  std::string unit;         // "Requests", "NanoSeconds", "Bytes", "MegaBytes", ...
  std::string description;  // one sentence
};

// The metrics of one thing: type "server", "replica", "table", ... (spec 07 §4.1). Metrics are
// added once, right after creation, and live as long as the entity.
class MetricEntity {
 public:
  MetricEntity(std::string type, std::string id, std::map<std::string, std::string> attributes)
      : type(std::move(type)), id(std::move(id)), attributes(std::move(attributes)) {}

  Counter& counter(MetricInfo info);
  Gauge& gauge(MetricInfo info);
  // A gauge computed when somebody looks. `read` is called on the looking thread and must stay
  // callable as long as the entity lives.
  void gauge(MetricInfo info, Function<int64_t()> read);
  // A counter computed when somebody looks.
  void counter(MetricInfo info, Function<int64_t()> read);
  Histogram& histogram(MetricInfo info);

  const std::string type;
  const std::string id;
  const std::map<std::string, std::string> attributes;

  struct Item {
    enum class Kind { kCounter, kGauge, kPercentile } kind;
    MetricInfo info;
    std::unique_ptr<Counter> counter;
    std::unique_ptr<Gauge> gauge;
    std::unique_ptr<Histogram> histogram;
    Function<int64_t()> read;
    int64_t value() const;  // for counters and gauges
  };
  // Calls `visit` for each item in the order of creation. Any thread.
  void for_each(const Function<void(const Item&)>& visit) const;

 private:
  Item& add(Item item);
  mutable std::mutex mutex_;
  std::vector<std::unique_ptr<Item>> items_;
};

class MetricRegistry {
 public:
  std::shared_ptr<MetricEntity> entity(std::string type, std::string id,
                                       std::map<std::string, std::string> attributes = {});
  // The living entities, in the order of creation. Any thread.
  std::vector<std::shared_ptr<MetricEntity>> entities() const;

 private:
  mutable std::mutex mutex_;
  mutable std::vector<std::weak_ptr<MetricEntity>> entities_;
};

}  // namespace markab
