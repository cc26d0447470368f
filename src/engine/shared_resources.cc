#include "engine/shared_resources.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <mutex>

#include "engine/deferred_sync.h"
#include "io/file.h"

namespace markab::engine {

namespace {

constexpr uint64_t kWriteBufferPart = 3;  // one of so many
// Of the cache, for index and filter blocks, which every lookup needs.
constexpr double kHighPriorityRatio = 0.3;
constexpr double kBloomBitsPerKey = 10;
constexpr char kControlGroupLimit[] = "/sys/fs/cgroup/memory.max";

uint64_t bound_of(uint64_t wanted) {
  if (wanted != 0) return wanted;
  auto share = static_cast<uint64_t>(static_cast<double>(usable_memory_bytes()) * kMemoryShare);
  return std::clamp(share, kLeastMemory, kMostMemory);
}

uint64_t write_buffers_of(uint64_t wanted, uint64_t memory) {
  return std::min(wanted != 0 ? wanted : memory / kWriteBufferPart, memory);
}

// Of a total, between two looks that are a second apart or more.
class Rate {
 public:
  int64_t per_second(int64_t total, uint64_t now_us) {
    std::lock_guard lock(mutex_);
    if (now_us < looked_us_ + 1000000) return rate_;
    auto elapsed = static_cast<double>(now_us - looked_us_) * 1e-6;
    rate_ =
        looked_us_ == 0 ? 0 : static_cast<int64_t>(static_cast<double>(total - total_) / elapsed);
    total_ = total;
    looked_us_ = now_us;
    return rate_;
  }

 private:
  std::mutex mutex_;
  uint64_t looked_us_ = 0;
  int64_t total_ = 0;
  int64_t rate_ = 0;
};

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
    : memory_bytes_(bound_of(options.memory_bytes)),
      env_(make_store_env()),
      flush_threads_(std::max(1, options.background_threads / 4)),
      compaction_threads_(std::max(1, options.background_threads - flush_threads_)) {
  const uint64_t write_buffers = write_buffers_of(options.write_buffer_bytes, memory_bytes_);
  rocksdb::LRUCacheOptions cache;
  cache.capacity = memory_bytes_ - write_buffers;
  cache.high_pri_pool_ratio = kHighPriorityRatio;
  block_cache_ = rocksdb::NewLRUCache(cache);
  // Not charged to the cache: a burst of writes must not evict what reads need.
  write_budget_ = std::make_unique<WriteBudget>(write_buffers);
  if (options.write_rate_bytes > 0) {
    rate_limiter_.reset(
        rocksdb::NewGenericRateLimiter(static_cast<int64_t>(options.write_rate_bytes)));
  }
  bloom_.reset(rocksdb::NewBloomFilterPolicy(kBloomBitsPerKey, false));
  env_->SetBackgroundThreads(flush_threads_, rocksdb::Env::HIGH);
  env_->SetBackgroundThreads(compaction_threads_, rocksdb::Env::LOW);
}

std::shared_ptr<MetricEntity> show_shared_resources(std::shared_ptr<SharedResources> shared,
                                                    MetricRegistry& registry) {
  auto entity = registry.entity("server", "engine");
  auto add = [&](const char* name, const char* unit, const char* description,
                 int64_t (*value)(const SharedResources&)) {
    entity->gauge({name, unit, description}, [shared, value] { return value(*shared); });
  };
  add("rdb_block_cache_mem_usage_bytes", "Bytes", "Memory of the block cache of all replicas",
      [](const SharedResources& s) { return static_cast<int64_t>(s.block_cache()->GetUsage()); });
  add("rdb_wbm_total_mem_usage_bytes", "Bytes", "Memory of the write buffers of all replicas",
      [](const SharedResources& s) { return static_cast<int64_t>(s.write_budget().used()); });
  add("rdb_wbm_mutable_mem_usage_bytes", "Bytes",
      "Memory of the write buffers that are not being flushed", [](const SharedResources& s) {
        return static_cast<int64_t>(s.write_budget().used_mutable());
      });
  add("rdb_memory_limit_bytes", "Bytes", "The bound of block cache and write buffers together",
      [](const SharedResources& s) { return static_cast<int64_t>(s.memory_bytes()); });
  if (shared->rate_limiter() != nullptr) {
    entity->gauge({"rdb_write_rate_limiter_through_bytes_per_sec", "Bytes",
                   "Bytes that flushes and compactions write per second, since the last look"},
                  [shared, rate = std::make_shared<Rate>()] {
                    return rate->per_second(shared->rate_limiter()->GetTotalBytesThrough(),
                                            shared->env()->NowMicros());
                  });
  }
  return entity;
}

std::shared_ptr<SharedResources> make_shared_resources(const SharedResourceOptions& options) {
  return std::make_shared<SharedResources>(options);
}

}  // namespace markab::engine
