#include "engine/store_statistics.h"

#include <iterator>

namespace markab::engine {

namespace {

constexpr uint32_t kShown[] = {
    rocksdb::BLOCK_CACHE_HIT,
    rocksdb::BLOCK_CACHE_MISS,
    rocksdb::BLOOM_FILTER_PREFIX_CHECKED,
    rocksdb::BLOOM_FILTER_PREFIX_USEFUL,
    rocksdb::BLOOM_FILTER_USEFUL,
    rocksdb::BLOOM_FILTER_FULL_POSITIVE,
    rocksdb::BLOOM_FILTER_FULL_TRUE_POSITIVE,
    rocksdb::MEMTABLE_HIT,
    rocksdb::GET_HIT_L0,
    rocksdb::GET_HIT_L1,
    rocksdb::GET_HIT_L2_AND_UP,
    rocksdb::COMPACT_READ_BYTES,
    rocksdb::COMPACT_WRITE_BYTES,
    rocksdb::FLUSH_WRITE_BYTES,
};

}  // namespace

TickerCounts::TickerCounts() {
  static_assert(std::size(kShown) <= kKept);
  slot_.fill(static_cast<uint8_t>(kKept));
  for (size_t i = 0; i < std::size(kShown); ++i) slot_[kShown[i]] = static_cast<uint8_t>(i);
  // No clock is read for a histogram that nobody keeps.
  set_stats_level(rocksdb::StatsLevel::kExceptHistogramOrTimers);
}

uint64_t TickerCounts::getTickerCount(uint32_t ticker) const {
  if (ticker >= slot_.size() || slot_[ticker] == kKept) return 0;
  return counts_[slot_[ticker]].load(std::memory_order_relaxed);
}

void TickerCounts::recordTick(uint32_t ticker, uint64_t count) {
  if (ticker >= slot_.size() || slot_[ticker] == kKept) return;
  counts_[slot_[ticker]].fetch_add(count, std::memory_order_relaxed);
}

void TickerCounts::setTickerCount(uint32_t ticker, uint64_t count) {
  if (ticker >= slot_.size() || slot_[ticker] == kKept) return;
  counts_[slot_[ticker]].store(count, std::memory_order_relaxed);
}

uint64_t TickerCounts::getAndResetTickerCount(uint32_t ticker) {
  if (ticker >= slot_.size() || slot_[ticker] == kKept) return 0;
  return counts_[slot_[ticker]].exchange(0, std::memory_order_relaxed);
}

void TickerCounts::fill(StoreStatistics& out) const {
  auto count = [this](uint32_t ticker) { return static_cast<int64_t>(getTickerCount(ticker)); };
  out.block_cache_hits = count(rocksdb::BLOCK_CACHE_HIT);
  out.block_cache_lookups = out.block_cache_hits + count(rocksdb::BLOCK_CACHE_MISS);
  out.bloom_seek_negatives = count(rocksdb::BLOOM_FILTER_PREFIX_USEFUL);
  out.bloom_seeks = count(rocksdb::BLOOM_FILTER_PREFIX_CHECKED);
  out.bloom_point_negatives = count(rocksdb::BLOOM_FILTER_USEFUL);
  out.bloom_point_positives = count(rocksdb::BLOOM_FILTER_FULL_POSITIVE);
  out.bloom_point_true_positives = count(rocksdb::BLOOM_FILTER_FULL_TRUE_POSITIVE);
  out.memtable_hits = count(rocksdb::MEMTABLE_HIT);
  out.l0_hits = count(rocksdb::GET_HIT_L0);
  out.l1_hits = count(rocksdb::GET_HIT_L1);
  out.l2_and_up_hits = count(rocksdb::GET_HIT_L2_AND_UP);
  out.compaction_input_bytes = count(rocksdb::COMPACT_READ_BYTES);
  out.compaction_output_bytes = count(rocksdb::COMPACT_WRITE_BYTES);
  out.flushed_bytes = count(rocksdb::FLUSH_WRITE_BYTES);
}

}  // namespace markab::engine
