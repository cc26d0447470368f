// What the environments of a table change in its store: usage scenario, write buffer (spec 02 §13,
// §14), and manual compaction.

#include <algorithm>

#include "base/log.h"
#include "engine/rocks_options.h"
#include "engine/rocks_store.h"

namespace markab::engine {

Status RocksStore::reconfigure(const StoreSettings& settings) {
  auto wanted = data_options_of(settings, options_.gpid, budget_);
  std::lock_guard lock(reconfigure_mutex_);
  std::unordered_map<std::string, std::string> changed;
  for (const auto& [name, value] : wanted) {
    auto now = told_.find(name);
    if (now == told_.end() || now->second != value) changed[name] = value;
  }
  if (changed.empty()) return Status::Ok();
  rocksdb::Status set = db_->SetOptions(data_, changed);
  if (!set.ok()) return failed("changing the options of", set);
  told_ = std::move(wanted);
  std::string scenario(usage_scenario_name(settings.usage_scenario));
  std::string names;
  for (const auto& [name, value] : changed) names += fmt::format(" {}={}", name, value);
  MARKAB_INFO("engine {}: usage scenario {}:{}", options_.gpid, scenario, names);
  return write_fact(kMetaUsageScenario, scenario);
}

// Blocks when writes are stalled, unlike write().
Status RocksStore::write_fact(const char* name, const std::string& value) {
  rocksdb::WriteOptions how;
  how.disableWAL = true;
  rocksdb::Status written = db_->Put(how, meta_, name, value);
  return written.ok() ? Status::Ok() : failed(fmt::format("writing {} to", name), written);
}

Status RocksStore::compact(const ManualCompactSettings::How& how) {
  stop_compact_.store(false);
  if (Status s = flush(); !s.ok()) return s;
  StoreStatistics before;
  counts_->fill(before);
  compact_from_.store(before.compaction_input_bytes);
  compact_bytes_.store(std::max<int64_t>(1, statistics().sst_bytes));
  rocksdb::CompactRangeOptions options;
  options.exclusive_manual_compaction = true;
  options.change_level = true;
  options.target_level = how.target_level < db_->NumberLevels(data_) ? how.target_level : -1;
  options.bottommost_level_compaction = how.force_bottommost
                                            ? rocksdb::BottommostLevelCompaction::kForce
                                            : rocksdb::BottommostLevelCompaction::kSkip;
  options.canceled = &stop_compact_;
  rocksdb::Status done = db_->CompactRange(options, data_, nullptr, nullptr);
  compact_bytes_.store(0);
  if (done.IsIncomplete()) {
    return Status(Errc::kBusy, fmt::format("the compaction of {} was stopped", options_.gpid));
  }
  if (!done.ok()) return failed("compacting", done);
  int64_t now_ms = (*options_.wall_us)() / 1000;
  if (Status s = write_fact(kMetaLastManualCompactMs, std::to_string(now_ms)); !s.ok()) return s;
  if (Status s = flush(); !s.ok()) return s;
  last_manual_compact_ms_.store(now_ms, std::memory_order_release);
  return Status::Ok();
}

// RocksDB tells no progress; what it has read of what there was is close enough.
int32_t RocksStore::compact_progress() const {
  int64_t bytes = compact_bytes_.load();
  if (bytes == 0) return 0;
  StoreStatistics counted;
  counts_->fill(counted);
  int64_t read = counted.compaction_input_bytes - compact_from_.load();
  return static_cast<int32_t>(std::clamp<int64_t>(read * 100 / bytes, 0, 99));
}

}  // namespace markab::engine
