#pragma once
// What a store says about itself for /metrics (spec 07 §4.4, the rdb_* names), and the counters
// under it.
//
// RocksDB's own Statistics keeps some hundred kilobytes per core and store; TickerCounts keeps the
// few counters that are shown, so that hundreds of stores can afford them.

#include <rocksdb/statistics.h>

#include <array>
#include <atomic>
#include <cstdint>

namespace markab::engine {

struct StoreStatistics {
  int64_t sst_bytes = 0;
  int64_t sst_files = 0;
  int64_t estimated_keys = 0;
  int64_t memtable_bytes = 0;
  int64_t index_and_filter_bytes = 0;  // outside of the block cache
  int64_t sorted_runs = 0;  // files of L0 and levels with files: where a lookup may have to look
  // Since the store was opened.
  int64_t block_cache_hits = 0;
  int64_t block_cache_lookups = 0;
  int64_t bloom_seek_negatives = 0;
  int64_t bloom_seeks = 0;
  int64_t bloom_point_negatives = 0;
  int64_t bloom_point_positives = 0;
  int64_t bloom_point_true_positives = 0;
  int64_t memtable_hits = 0;
  int64_t l0_hits = 0;
  int64_t l1_hits = 0;
  int64_t l2_and_up_hits = 0;
  int64_t compaction_input_bytes = 0;
  int64_t compaction_output_bytes = 0;
  int64_t flushed_bytes = 0;
};

// Any thread.
class TickerCounts final : public rocksdb::Statistics {
 public:
  TickerCounts();

  const char* Name() const override { return "markab.TickerCounts"; }
  uint64_t getTickerCount(uint32_t ticker) const override;
  void recordTick(uint32_t ticker, uint64_t count) override;
  void setTickerCount(uint32_t ticker, uint64_t count) override;
  uint64_t getAndResetTickerCount(uint32_t ticker) override;
  void histogramData(uint32_t /*type*/, rocksdb::HistogramData* /*data*/) const override {}
  void reportTimeToHistogram(uint32_t /*type*/, uint64_t /*time*/) override {}
  void recordInHistogram(uint32_t /*type*/, uint64_t /*time*/) override {}
  bool HistEnabledForType(uint32_t /*type*/) const override { return false; }

  // The counters' part of the statistics.
  void fill(StoreStatistics& out) const;

 private:
  static constexpr size_t kKept = 16;
  static_assert(rocksdb::TICKER_ENUM_MAX < 4096);

  // Where each ticker is counted; kKept: not at all.
  std::array<uint8_t, rocksdb::TICKER_ENUM_MAX> slot_;
  std::array<std::atomic<uint64_t>, kKept> counts_{};
};

}  // namespace markab::engine
