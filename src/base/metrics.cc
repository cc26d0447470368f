#include "base/metrics.h"

#include <algorithm>
#include <bit>

namespace markab {

int Histogram::index(int64_t value) {
  auto v = static_cast<uint64_t>(std::max<int64_t>(value, 0));
  if (v >= 1ull << kMaxBits) return kBuckets - 1;
  if (v < 1ull << kSubBits) return static_cast<int>(v);
  int exponent = std::bit_width(v) - 1 - kSubBits;  // at least 0
  return ((exponent + 1) << kSubBits) + static_cast<int>((v >> exponent) & ((1 << kSubBits) - 1));
}

int64_t Histogram::upper_edge(int i) {
  if (i < 1 << kSubBits) return i;
  int exponent = (i >> kSubBits) - 1;
  int64_t base = (int64_t{1} << kSubBits) + (i & ((1 << kSubBits) - 1));
  return ((base + 1) << exponent) - 1;
}

int64_t Histogram::quantile(double q) const {
  int64_t total = 0;
  std::array<int64_t, kBuckets> copy;
  for (int i = 0; i < kBuckets; ++i) total += copy[i] = buckets_[i].load(std::memory_order_relaxed);
  if (total == 0) return 0;
  auto wanted =
      std::max<int64_t>(1, static_cast<int64_t>(q * static_cast<double>(total) + 0.999999));
  int64_t seen = 0;
  for (int i = 0; i < kBuckets; ++i) {
    seen += copy[i];
    if (seen >= wanted) return std::min(upper_edge(i), max());
  }
  return max();
}

void Histogram::merge(const Histogram& other) {
  for (int i = 0; i < kBuckets; ++i) {
    buckets_[i].fetch_add(other.buckets_[i].load(std::memory_order_relaxed),
                          std::memory_order_relaxed);
  }
  count_.fetch_add(other.count(), std::memory_order_relaxed);
  sum_.fetch_add(other.sum(), std::memory_order_relaxed);
  max_.store(std::max(max(), other.max()), std::memory_order_relaxed);
}

int64_t MetricEntity::Item::value() const {
  if (read) return read();
  return counter ? counter->value() : gauge->value();
}

MetricEntity::Item& MetricEntity::add(Item item) {
  std::lock_guard lock(mutex_);
  items_.push_back(std::make_unique<Item>(std::move(item)));
  return *items_.back();
}

Counter& MetricEntity::counter(MetricInfo info) {
  return *add({Item::Kind::kCounter, std::move(info), std::make_unique<Counter>(), nullptr, nullptr,
               nullptr})
              .counter;
}
Gauge& MetricEntity::gauge(MetricInfo info) {
  return *add({Item::Kind::kGauge, std::move(info), nullptr, std::make_unique<Gauge>(), nullptr,
               nullptr})
              .gauge;
}
void MetricEntity::gauge(MetricInfo info, Function<int64_t()> read) {
  add({Item::Kind::kGauge, std::move(info), nullptr, nullptr, nullptr, std::move(read)});
}
void MetricEntity::counter(MetricInfo info, Function<int64_t()> read) {
  add({Item::Kind::kCounter, std::move(info), nullptr, nullptr, nullptr, std::move(read)});
}
Histogram& MetricEntity::histogram(MetricInfo info) {
  return *add({Item::Kind::kPercentile, std::move(info), nullptr, nullptr,
               std::make_unique<Histogram>(), nullptr})
              .histogram;
}

void MetricEntity::for_each(const Function<void(const Item&)>& visit) const {
  std::lock_guard lock(mutex_);
  for (const auto& item : items_) visit(*item);
}

std::shared_ptr<MetricEntity> MetricRegistry::entity(
    std::string type, std::string id, std::map<std::string, std::string> attributes) {
  auto made = std::make_shared<MetricEntity>(std::move(type), std::move(id), std::move(attributes));
  std::lock_guard lock(mutex_);
  entities_.push_back(made);
  return made;
}

std::vector<std::shared_ptr<MetricEntity>> MetricRegistry::entities() const {
  std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<MetricEntity>> out;
  std::erase_if(entities_, [&](const auto& weak) {
    auto strong = weak.lock();
    if (strong) out.push_back(std::move(strong));
    return weak.expired();
  });
  return out;
}

}  // namespace markab
