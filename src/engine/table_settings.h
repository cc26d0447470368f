#pragma once
// The settings that the environments of a table give to its shards (spec 02 §13), and how they
// reach readers on other threads.
//
// OperationSettings are looked at by every operation: each field is set on the owner's shard and
// read anywhere; a reader may see a mix of two settings, which is harmless, since no two fields are
// related but the last two, and those are read as one. StoreSettings are for the store, which is
// told when they change (Store::reconfigure) and asks for them when it opens or compacts.

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "base/compaction_rules.h"
#include "base/table_envs.h"

namespace markab::engine {

struct OperationSettings {
  int32_t default_ttl_s = 0;
  int64_t slow_query_threshold_ms = 100;
  int64_t iteration_threshold_ms = 30000;  // 0: none
  bool block_cache_enabled = true;         // reads keep in the cache what they fetched from disk
  bool validate_partition_hash = false;
  int32_t partition_version = -1;  // partition_count - 1 as this replica knows it; -1: unknown
};

// The manual_compact.* environments. When a compaction is due is decided by the replica
// (replica/manual_compaction.h); the store runs it.
struct ManualCompactSettings {
  struct How {
    int32_t target_level = -1;  // -1: the store's choice; beyond its levels: -1 as well
    bool force_bottommost = false;
    friend bool operator==(const How&, const How&) = default;
  };
  bool disabled = false;
  int32_t max_running = INT32_MAX;  // of one node at a time; 0: none starts
  int64_t once_trigger_s = 0;       // Unix time; 0: never
  How once;
  std::vector<int32_t> periodic_minutes;  // of the local day, ascending
  How periodic;
  friend bool operator==(const ManualCompactSettings&, const ManualCompactSettings&) = default;
};

struct StoreSettings {
  UsageScenario usage_scenario = UsageScenario::kNormal;
  int64_t write_buffer_bytes = 64ll << 20;  // takes effect while the store is open
  int32_t num_levels = 6;                   // only when the store is created
  bool allow_ingest_behind = false;         // only when the store is opened
  int32_t checkpoint_reserve_min_count = 2;
  int32_t checkpoint_reserve_time_s = 1800;  // 0: age does not keep one
  ManualCompactSettings manual_compact;
  // Never changed in place; null: no rules.
  std::shared_ptr<const CompactionRules> compaction_rules;

  friend bool operator==(const StoreSettings& a, const StoreSettings& b) {
    bool same_rules = a.compaction_rules == b.compaction_rules ||
                      (a.compaction_rules != nullptr && b.compaction_rules != nullptr &&
                       *a.compaction_rules == *b.compaction_rules);
    return same_rules && a.usage_scenario == b.usage_scenario &&
           a.write_buffer_bytes == b.write_buffer_bytes && a.num_levels == b.num_levels &&
           a.allow_ingest_behind == b.allow_ingest_behind &&
           a.checkpoint_reserve_min_count == b.checkpoint_reserve_min_count &&
           a.checkpoint_reserve_time_s == b.checkpoint_reserve_time_s &&
           a.manual_compact == b.manual_compact;
  }
};

struct TableSettings : OperationSettings {
  StoreSettings store;
};

class LiveSettings {
 public:
  explicit LiveSettings(const TableSettings& settings) { set(settings); }

  void set(const TableSettings& s) {
    default_ttl_s_.store(s.default_ttl_s, std::memory_order_relaxed);
    slow_query_threshold_ms_.store(s.slow_query_threshold_ms, std::memory_order_relaxed);
    iteration_threshold_ms_.store(s.iteration_threshold_ms, std::memory_order_relaxed);
    block_cache_enabled_.store(s.block_cache_enabled, std::memory_order_relaxed);
    partition_.store(static_cast<uint64_t>(s.validate_partition_hash) << 32 |
                         static_cast<uint32_t>(s.partition_version),
                     std::memory_order_relaxed);
    std::lock_guard lock(store_mutex_);
    store_ = s.store;
  }
  OperationSettings get() const {
    OperationSettings s;
    s.default_ttl_s = default_ttl_s_.load(std::memory_order_relaxed);
    s.slow_query_threshold_ms = slow_query_threshold_ms_.load(std::memory_order_relaxed);
    s.iteration_threshold_ms = iteration_threshold_ms_.load(std::memory_order_relaxed);
    s.block_cache_enabled = block_cache_enabled_.load(std::memory_order_relaxed);
    uint64_t partition = partition_.load(std::memory_order_relaxed);
    s.validate_partition_hash = partition >> 32 != 0;
    s.partition_version = static_cast<int32_t>(static_cast<uint32_t>(partition));
    return s;
  }
  // Takes a lock: for compactions and the store's own changes, not for operations.
  StoreSettings store() const {
    std::lock_guard lock(store_mutex_);
    return store_;
  }

 private:
  std::atomic<int32_t> default_ttl_s_;
  std::atomic<int64_t> slow_query_threshold_ms_;
  std::atomic<int64_t> iteration_threshold_ms_;
  std::atomic<bool> block_cache_enabled_;
  std::atomic<uint64_t> partition_;
  mutable std::mutex store_mutex_;
  StoreSettings store_;
};

// Whether a row with this hash belongs to partition `index` (spec 02 §10, §14); `version` is known,
// that is >= 0.
inline bool row_is_ours(uint64_t hash, int32_t version, int32_t index) {
  return (hash & static_cast<uint64_t>(version)) == static_cast<uint64_t>(index);
}

}  // namespace markab::engine
