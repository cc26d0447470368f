#pragma once
// What all RocksDB stores of a daemon share, so that memory, threads and disk bandwidth are bounded
// per daemon and not per replica. Made once by the daemon before its first store and outlives them
// all; any thread.

#include <rocksdb/cache.h>
#include <rocksdb/env.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/rate_limiter.h>

#include <cstdint>
#include <memory>

#include "base/metrics.h"
#include "engine/write_budget.h"

namespace markab::engine {

struct SharedResourceOptions {
  // The one bound of what stores hold in memory: blocks, indexes, filters and memtables together.
  // 0: kMemoryShare of what the process may use, between kLeastMemory and kMostMemory.
  uint64_t memory_bytes = 0;
  // Of it, memtables; 0: a third. What is left is the block cache's.
  uint64_t write_buffer_bytes = 0;
  // A quarter of them, at least one, flushes; the others, at least one, compact.
  int background_threads = 2;
  // Of flushes and compactions, per second; 0: no limit.
  uint64_t write_rate_bytes = 500u << 20;
};

// What a process holds besides (replication
// windows, connections, RocksDB's bookkeeping per store) is why the share is no larger.
inline constexpr double kMemoryShare = 0.4;
inline constexpr uint64_t kLeastMemory = 128u << 20;
inline constexpr uint64_t kMostMemory = uint64_t{16} << 30;

class SharedResources {
 public:
  explicit SharedResources(const SharedResourceOptions& options);

  // What memory_bytes came to.
  uint64_t memory_bytes() const { return memory_bytes_; }

  rocksdb::Env* env() const { return env_.get(); }
  const std::shared_ptr<rocksdb::Cache>& block_cache() const { return block_cache_; }
  // Null when there is no limit.
  const std::shared_ptr<rocksdb::RateLimiter>& rate_limiter() const { return rate_limiter_; }
  const std::shared_ptr<const rocksdb::FilterPolicy>& bloom() const { return bloom_; }
  int flush_threads() const { return flush_threads_; }
  int compaction_threads() const { return compaction_threads_; }
  WriteBudget& write_budget() const { return *write_budget_; }

 private:
  const uint64_t memory_bytes_;
  std::unique_ptr<rocksdb::Env> env_;
  int flush_threads_;
  int compaction_threads_;
  std::shared_ptr<rocksdb::Cache> block_cache_;
  std::unique_ptr<WriteBudget> write_budget_;
  std::shared_ptr<rocksdb::RateLimiter> rate_limiter_;
  std::shared_ptr<const rocksdb::FilterPolicy> bloom_;
};

std::shared_ptr<SharedResources> make_shared_resources(const SharedResourceOptions& options);

// Shows them (spec 07 §4.4, "server"); the entity keeps them alive.
std::shared_ptr<MetricEntity> show_shared_resources(std::shared_ptr<SharedResources> shared,
                                                    MetricRegistry& registry);

// The memory that this process may use: the machine's, or less when its control group says so.
uint64_t usable_memory_bytes();

}  // namespace markab::engine
