#include "engine/rocks_options.h"

#include <rocksdb/table.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "base/log.h"
#include "engine/hashkey_transform.h"

namespace markab::engine {

namespace {

constexpr size_t kMiB = 1u << 20;
constexpr size_t kWriteBufferBytes = 64 * kMiB;
constexpr int kWriteBuffers = 3;
constexpr int kLevels = 6;
constexpr uint64_t kTargetFileBytes = 64 * kMiB;
constexpr uint64_t kLevelBaseBytes = 640 * kMiB;
constexpr int kCompactAtFiles = 4;
constexpr int kBulkLoadBuffers = 6;
constexpr int64_t kBulkLoadFiles = 1000000000;              // L0 may grow for ever
constexpr uint64_t kSoftPendingBytes = uint64_t{64} << 30;  // RocksDB's own defaults
constexpr uint64_t kHardPendingBytes = uint64_t{256} << 30;
constexpr int kSlowdownFiles = 30;
constexpr int kStopFiles = 60;
// RocksDB's warnings and errors go to the daemon's log; it keeps no file of its own.
class LogForwarder final : public rocksdb::Logger {
 public:
  explicit LogForwarder(std::string store_name)
      : rocksdb::Logger(rocksdb::WARN_LEVEL), store_name_(std::move(store_name)) {}

  using rocksdb::Logger::Logv;
  void Logv(const rocksdb::InfoLogLevel level, const char* format, va_list ap) override {
    if (level < GetInfoLogLevel() || level == rocksdb::HEADER_LEVEL) return;
    // A warning at every checkpoint, which means nothing, and one every few seconds on a full disk,
    // which the store has told.
    if (std::strstr(format, "File Deletions") != nullptr ||
        std::strstr(format, "required disk buffer") != nullptr ||
        std::strstr(format, "Cannot clear hard error") != nullptr) {
      return;
    }
    char line[512];
    vsnprintf(line, sizeof line, format, ap);
    if (level == rocksdb::WARN_LEVEL) {
      MARKAB_WARN("engine {}: rocksdb: {}", store_name_, line);
    } else {
      MARKAB_ERROR("engine {}: rocksdb: {}", store_name_, line);
    }
  }
  void LogHeader(const char* /*format*/, va_list /*ap*/) override {}

 private:
  const std::string store_name_;
};

rocksdb::ColumnFamilyOptions make_family_options(const SharedResources& shared) {
  rocksdb::ColumnFamilyOptions o;
  o.write_buffer_size = kWriteBufferBytes;
  o.max_write_buffer_number = kWriteBuffers;
  o.arena_block_size = shared.write_budget().memtable_block_bytes();
  o.num_levels = kLevels;
  o.level0_slowdown_writes_trigger = kSlowdownFiles;
  o.level0_stop_writes_trigger = kStopFiles;
  o.target_file_size_base = kTargetFileBytes;
  o.target_file_size_multiplier = 1;
  o.max_bytes_for_level_base = kLevelBaseBytes;
  o.max_bytes_for_level_multiplier = 10;
  o.max_compaction_bytes = 25 * kTargetFileBytes;
  o.periodic_compaction_seconds = 0;
  o.ttl = 0;
  o.compression = rocksdb::kNoCompression;

  rocksdb::BlockBasedTableOptions table;
  table.block_cache = shared.block_cache();
  table.filter_policy = shared.bloom();
  table.format_version = 5;
  // In the cache, so that it bounds them as well; those of young files stay, every lookup meets
  // them.
  table.cache_index_and_filter_blocks = true;
  table.cache_index_and_filter_blocks_with_high_priority = true;
  table.pin_l0_filter_and_index_blocks_in_cache = true;
  o.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return o;
}

}  // namespace

rocksdb::DBOptions make_db_options(const SharedResources& shared, const std::string& store_name) {
  rocksdb::DBOptions o;
  o.env = shared.env();
  o.write_buffer_manager = shared.write_budget().accounting();
  o.rate_limiter = shared.rate_limiter();
  // Both, since RocksDB would make threads of its own choice out of max_background_jobs.
  o.max_background_flushes = shared.flush_threads();
  o.max_background_compactions = shared.compaction_threads();
  o.info_log = std::make_shared<LogForwarder>(store_name);
  o.atomic_flush = true;
  // The mutation log is elsewhere; what was not flushed is replayed from there.
  o.avoid_flush_during_shutdown = true;
  // One writer per store: no group of writers forms.
  o.allow_concurrent_memtable_write = false;
  o.enable_write_thread_adaptive_yield = false;
  // All files stay open: a lookup takes no lock for its file, and never opens one on a shard.
  o.max_open_files = -1;
  o.max_file_opening_threads = 1;
  o.skip_stats_update_on_db_open = true;
  o.skip_checking_sst_file_sizes_on_db_open = true;
  o.stats_dump_period_sec = 0;
  o.stats_persist_period_sec = 0;
  o.max_manifest_file_size = 4 * kMiB;
  o.bytes_per_sync = 1 * kMiB;
  return o;
}

rocksdb::ColumnFamilyOptions make_data_options(const SharedResources& shared,
                                               std::shared_ptr<RecordFilterFactory> filter) {
  rocksdb::ColumnFamilyOptions o = make_family_options(shared);
  o.level0_file_num_compaction_trigger = kCompactAtFiles;
  o.compression_per_level.assign(kLevels, rocksdb::kLZ4Compression);
  o.compression_per_level[0] = o.compression_per_level[1] = rocksdb::kNoCompression;
  o.prefix_extractor = std::make_shared<HashkeyTransform>();
  o.memtable_prefix_bloom_size_ratio =
      static_cast<double>(shared.write_budget().memtable_filter_bytes()) /
      static_cast<double>(o.write_buffer_size);
  o.compaction_filter_factory = std::move(filter);
  return o;
}

std::unordered_map<std::string, std::string> data_options_of(const StoreSettings& settings,
                                                             Gpid gpid, const WriteBudget& budget) {
  const auto configured = static_cast<uint64_t>(settings.write_buffer_bytes);
  // 0 to 255, ever the same for a partition.
  const uint64_t luck = (std::hash<Gpid>()(gpid) * 0x9E3779B97F4A7C15ull) >> 56;
  uint64_t buffer = configured * (244 + luck / 11) / 256;  // 95 to 105 %
  int buffers = kWriteBuffers;
  int64_t compact_at = kCompactAtFiles;
  int64_t slowdown = kSlowdownFiles;
  int64_t stop = kStopFiles;
  uint64_t soft = kSoftPendingBytes;
  uint64_t hard = kHardPendingBytes;
  uint64_t most_compacted = 25 * kTargetFileBytes;
  const bool bulk = settings.usage_scenario == UsageScenario::kBulkLoad;
  if (settings.usage_scenario == UsageScenario::kPreferWrite) {
    buffer = configured * (256 + luck) / 256;
    compact_at = std::max<int64_t>(compact_at, static_cast<int64_t>(kLevelBaseBytes / buffer));
  } else if (bulk) {
    buffer = configured * 4 * (244 + luck / 11) / 256;
    buffers = kBulkLoadBuffers;
    compact_at = slowdown = stop = kBulkLoadFiles;
    soft = hard = 0;
    most_compacted = uint64_t{1} << 60;
  }
  double filter = static_cast<double>(budget.memtable_filter_bytes()) / static_cast<double>(buffer);
  return {{"write_buffer_size", std::to_string(buffer)},
          {"max_write_buffer_number", std::to_string(buffers)},
          {"level0_file_num_compaction_trigger", std::to_string(compact_at)},
          {"level0_slowdown_writes_trigger", std::to_string(slowdown)},
          {"level0_stop_writes_trigger", std::to_string(stop)},
          {"soft_pending_compaction_bytes_limit", std::to_string(soft)},
          {"hard_pending_compaction_bytes_limit", std::to_string(hard)},
          {"max_compaction_bytes", std::to_string(most_compacted)},
          {"disable_auto_compactions", bulk ? "true" : "false"},
          {"memtable_prefix_bloom_size_ratio", fmt::format("{:.9f}", filter)}};
}

rocksdb::ColumnFamilyOptions make_meta_options(const SharedResources& shared) {
  rocksdb::ColumnFamilyOptions o = make_family_options(shared);
  o.level0_file_num_compaction_trigger = 10;
  // Every write puts the decree under the same key: overwrite it in place instead of growing the
  // memtable by a row.
  o.inplace_update_support = true;
  o.inplace_update_num_locks = 1;
  return o;
}

}  // namespace markab::engine
