#include "engine/shared_resources.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "engine/deferred_sync.h"
#include "io/file.h"

namespace markab::engine {

namespace {

constexpr uint64_t kMiB = 1u << 20;
constexpr uint64_t kMinShare = 64 * kMiB;
constexpr uint64_t kMaxBlockCache = 10240 * kMiB;
constexpr uint64_t kMaxWriteBuffers = 8192 * kMiB;
// Of the cache, for index and filter blocks, which every lookup needs.
constexpr double kHighPriorityRatio = 0.3;
constexpr double kBloomBitsPerKey = 10;
constexpr char kControlGroupLimit[] = "/sys/fs/cgroup/memory.max";

uint64_t share(uint64_t wanted, uint64_t divisor, uint64_t most) {
  if (wanted != 0) return wanted;
  return std::clamp(usable_memory_bytes() / divisor, kMinShare, most);
}

}  // namespace

uint64_t usable_memory_bytes() {
  uint64_t machine = static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) *
                     static_cast<uint64_t>(sysconf(_SC_PAGE_SIZE));
  auto text = io::real_file_system().read_all(kControlGroupLimit, 64);
  uint64_t limit = 0;
  if (text && std::from_chars(text->data(), text->data() + text->size(), limit).ec == std::errc() &&
      limit > 0) {
    return std::min(machine, limit);
  }
  return machine;
}

SharedResources::SharedResources(const SharedResourceOptions& options)
    : env_(make_store_env()),
      flush_threads_(std::max(1, options.background_threads / 4)),
      compaction_threads_(std::max(1, options.background_threads - flush_threads_)) {
  rocksdb::LRUCacheOptions cache;
  cache.capacity = share(options.block_cache_bytes, 4, kMaxBlockCache);
  cache.high_pri_pool_ratio = kHighPriorityRatio;
  block_cache_ = rocksdb::NewLRUCache(cache);
  // Not charged to the cache: a burst of writes must not evict what reads need.
  write_budget_ =
      std::make_unique<WriteBudget>(share(options.write_buffer_bytes, 8, kMaxWriteBuffers));
  if (options.write_rate_bytes > 0) {
    rate_limiter_.reset(
        rocksdb::NewGenericRateLimiter(static_cast<int64_t>(options.write_rate_bytes)));
  }
  bloom_.reset(rocksdb::NewBloomFilterPolicy(kBloomBitsPerKey, false));
  env_->SetBackgroundThreads(flush_threads_, rocksdb::Env::HIGH);
  env_->SetBackgroundThreads(compaction_threads_, rocksdb::Env::LOW);
}

std::shared_ptr<SharedResources> make_shared_resources(const SharedResourceOptions& options) {
  return std::make_shared<SharedResources>(options);
}

}  // namespace markab::engine
