#pragma once
// What compaction does to records (spec 02 §14): drops the dead and those that a split gave to
// another partition, gives records without expiry the table's default_ttl, and does what
// user_specified_compaction asks. Made once per store; RocksDB asks it for one filter per
// compaction, on its own threads.

#include <rocksdb/compaction_filter.h>

#include <atomic>
#include <cstdint>
#include <memory>

#include "base/compaction_rules.h"
#include "base/function.h"
#include "engine/key_codec.h"
#include "engine/table_settings.h"

namespace markab::engine {

// What the user's operations make of a record. Each sees it as it was before all of them; the first
// that deletes ends it, a later change of the expiry overrides an earlier one. Pure.
struct RecordFate {
  bool drop = false;
  uint32_t expire_ts = 0;
};
RecordFate apply_compaction_rules(const CompactionRules& rules, const KeyParts& parts,
                                  uint32_t expire_ts, uint32_t now);

class RecordFilterFactory final : public rocksdb::CompactionFilterFactory {
 public:
  // `settings` and `wall_us` outlive the store.
  RecordFilterFactory(const LiveSettings& settings, const Function<int64_t()>& wall_us,
                      int32_t partition_index)
      : settings_(settings), wall_us_(wall_us), partition_index_(partition_index) {}

  // No filter works before the store's data version is known.
  void activate(uint32_t data_version) {
    data_version_.store(static_cast<int32_t>(data_version), std::memory_order_release);
  }

  const char* Name() const override { return "markab.RecordFilterFactory"; }
  std::unique_ptr<rocksdb::CompactionFilter> CreateCompactionFilter(
      const rocksdb::CompactionFilter::Context& context) override;

 private:
  const LiveSettings& settings_;
  const Function<int64_t()>& wall_us_;
  const int32_t partition_index_;
  std::atomic<int32_t> data_version_{-1};
};

}  // namespace markab::engine
