#pragma once
// The settings that the environments of a table give to its shards (spec 02 §13), and how they
// reach readers on other threads: each field is set on the owner's shard and read anywhere; a
// reader may see a mix of two settings, which is harmless, since no two fields are related but the
// last two, and those are read as one.

#include <atomic>
#include <cstdint>

namespace markab::engine {

struct TableSettings {
  int32_t default_ttl_s = 0;
  int64_t slow_query_threshold_ms = 100;
  int64_t iteration_threshold_ms = 30000;  // 0: none
  bool validate_partition_hash = false;
  int32_t partition_version = -1;  // partition_count - 1 as this replica knows it; -1: unknown
};

class LiveSettings {
 public:
  explicit LiveSettings(const TableSettings& settings) { set(settings); }

  void set(const TableSettings& s) {
    default_ttl_s_.store(s.default_ttl_s, std::memory_order_relaxed);
    slow_query_threshold_ms_.store(s.slow_query_threshold_ms, std::memory_order_relaxed);
    iteration_threshold_ms_.store(s.iteration_threshold_ms, std::memory_order_relaxed);
    partition_.store(static_cast<uint64_t>(s.validate_partition_hash) << 32 |
                         static_cast<uint32_t>(s.partition_version),
                     std::memory_order_relaxed);
  }
  TableSettings get() const {
    TableSettings s;
    s.default_ttl_s = default_ttl_s_.load(std::memory_order_relaxed);
    s.slow_query_threshold_ms = slow_query_threshold_ms_.load(std::memory_order_relaxed);
    s.iteration_threshold_ms = iteration_threshold_ms_.load(std::memory_order_relaxed);
    uint64_t partition = partition_.load(std::memory_order_relaxed);
    s.validate_partition_hash = partition >> 32 != 0;
    s.partition_version = static_cast<int32_t>(static_cast<uint32_t>(partition));
    return s;
  }

 private:
  std::atomic<int32_t> default_ttl_s_;
  std::atomic<int64_t> slow_query_threshold_ms_;
  std::atomic<int64_t> iteration_threshold_ms_;
  std::atomic<uint64_t> partition_;
};

// Whether a row with this hash belongs to partition `index` (spec 02 §10, §14); `version` is known,
// that is >= 0.
inline bool row_is_ours(uint64_t hash, int32_t version, int32_t index) {
  return (hash & static_cast<uint64_t>(version)) == static_cast<uint64_t>(index);
}

}  // namespace markab::engine
