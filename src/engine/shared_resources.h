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

#include "engine/write_budget.h"

namespace markab::engine {

struct SharedResourceOptions {
  // 0: a quarter of the machine's memory, between 64 MiB and 10 GiB.
  uint64_t block_cache_bytes = 0;
  // 0: an eighth, between 64 MiB and 8 GiB.
  uint64_t write_buffer_bytes = 0;
  // A quarter of them, at least one, flushes; the others, at least one, compact.
  int background_threads = 2;
  // Of flushes and compactions, per second; 0: no limit.
  uint64_t write_rate_bytes = 500u << 20;
};

class SharedResources {
 public:
  explicit SharedResources(const SharedResourceOptions& options);

  rocksdb::Env* env() const { return env_.get(); }
  const std::shared_ptr<rocksdb::Cache>& block_cache() const { return block_cache_; }
  // Null when there is no limit.
  const std::shared_ptr<rocksdb::RateLimiter>& rate_limiter() const { return rate_limiter_; }
  const std::shared_ptr<const rocksdb::FilterPolicy>& bloom() const { return bloom_; }
  int flush_threads() const { return flush_threads_; }
  int compaction_threads() const { return compaction_threads_; }
  WriteBudget& write_budget() const { return *write_budget_; }

 private:
  std::unique_ptr<rocksdb::Env> env_;
  int flush_threads_;
  int compaction_threads_;
  std::shared_ptr<rocksdb::Cache> block_cache_;
  std::unique_ptr<WriteBudget> write_budget_;
  std::shared_ptr<rocksdb::RateLimiter> rate_limiter_;
  std::shared_ptr<const rocksdb::FilterPolicy> bloom_;
};

std::shared_ptr<SharedResources> make_shared_resources(const SharedResourceOptions& options);

// The memory that this process may use: the machine's, or less when its control group says so.
uint64_t usable_memory_bytes();

}  // namespace markab::engine
