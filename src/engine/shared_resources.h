#pragma once
// What all RocksDB stores of a daemon share, so that memory, threads and disk bandwidth are bounded
// per daemon and not per replica. Made once by the daemon before its first store and outlives them
// all; any thread.

#include <rocksdb/cache.h>
#include <rocksdb/env.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/rate_limiter.h>
#include <rocksdb/write_buffer_manager.h>

#include <cstdint>
#include <memory>

namespace markab::engine {

struct SharedResourceOptions {
  uint64_t block_cache_bytes =
      0;  // 0: a quarter of the machine's memory, between 64 MiB and 10 GiB
  uint64_t write_buffer_bytes = 0;         // 0: an eighth, between 64 MiB and 8 GiB
  int background_threads = 2;              // for flushes and for compactions, each
  uint64_t write_rate_bytes = 500u << 20;  // of flushes and compactions, per second; 0: no limit
};

class SharedResources {
 public:
  explicit SharedResources(const SharedResourceOptions& options);

  rocksdb::Env* env() const { return env_.get(); }
  const std::shared_ptr<rocksdb::Cache>& block_cache() const { return block_cache_; }
  const std::shared_ptr<rocksdb::WriteBufferManager>& write_buffers() const {
    return write_buffers_;
  }
  // Null when there is no limit.
  const std::shared_ptr<rocksdb::RateLimiter>& rate_limiter() const { return rate_limiter_; }
  const std::shared_ptr<const rocksdb::FilterPolicy>& bloom() const { return bloom_; }
  int background_threads() const { return background_threads_; }

 private:
  std::unique_ptr<rocksdb::Env> env_;
  int background_threads_;
  std::shared_ptr<rocksdb::Cache> block_cache_;
  std::shared_ptr<rocksdb::WriteBufferManager> write_buffers_;
  std::shared_ptr<rocksdb::RateLimiter> rate_limiter_;
  std::shared_ptr<const rocksdb::FilterPolicy> bloom_;
};

std::shared_ptr<SharedResources> make_shared_resources(const SharedResourceOptions& options);

// The memory that this process may use: the machine's, or less when its control group says so.
uint64_t usable_memory_bytes();

}  // namespace markab::engine
