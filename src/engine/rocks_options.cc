#include "engine/rocks_options.h"

#include <rocksdb/table.h>

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
constexpr int kSlowdownFiles = 30;
constexpr int kStopFiles = 60;
// A memtable's filter is allocated and zeroed with it, so an idle shard pays for it: 512 KiB, which
// still is 10 bits per hash key when a full memtable holds rows of 150 bytes. (Upstream's ratio of
// 0.1 costs 6.4 MiB per idle shard.)
constexpr double kMemtableBloomRatio = 1.0 / 128;
constexpr size_t kArenaBlockBytes = 256u << 10;

// RocksDB's warnings and errors go to the daemon's log; it keeps no file of its own.
class LogForwarder final : public rocksdb::Logger {
 public:
  explicit LogForwarder(std::string store_name)
      : rocksdb::Logger(rocksdb::WARN_LEVEL), store_name_(std::move(store_name)) {}

  using rocksdb::Logger::Logv;
  void Logv(const rocksdb::InfoLogLevel level, const char* format, va_list ap) override {
    if (level < GetInfoLogLevel() || level == rocksdb::HEADER_LEVEL) return;
    // A warning at every checkpoint, which means nothing.
    if (std::strstr(format, "File Deletions") != nullptr) return;
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
  o.arena_block_size = kArenaBlockBytes;
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
  o.level0_file_num_compaction_trigger = 4;
  o.compression_per_level.assign(kLevels, rocksdb::kLZ4Compression);
  o.compression_per_level[0] = o.compression_per_level[1] = rocksdb::kNoCompression;
  o.prefix_extractor = std::make_shared<HashkeyTransform>();
  o.memtable_prefix_bloom_size_ratio = kMemtableBloomRatio;
  o.compaction_filter_factory = std::move(filter);
  return o;
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
