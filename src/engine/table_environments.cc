#include "engine/table_environments.h"

#include <optional>
#include <string_view>

#include "base/table_envs.h"

namespace markab::engine {

namespace {

using Envs = std::map<std::string, std::string>;

// Sets `field` to what `parse` makes of the environment, to its default when that is absent, to
// what it was when it does not parse.
template <typename Field, typename Parse>
void take(const Envs& envs, const char* key, Field& field, const Field& old, Parse parse) {
  auto found = envs.find(key);
  if (found == envs.end()) return;
  auto parsed = parse(found->second);
  field = parsed ? static_cast<Field>(*parsed) : old;
}

template <typename Field>
void take_integer(const Envs& envs, const char* key, Field& field, const Field& old, int64_t low,
                  int64_t high) {
  take(envs, key, field, old,
       [&](std::string_view text) { return parse_env_integer(text, low, high); });
}

std::optional<int32_t> parse_target_level(std::string_view text) {
  auto level = parse_env_integer(text, -1, INT32_MAX);
  if (!level || *level == 0) return std::nullopt;
  return static_cast<int32_t>(*level);
}

std::optional<bool> parse_bottommost(std::string_view text) {
  if (text == "force") return true;
  if (text == "skip") return false;
  return std::nullopt;
}

void take_how(const Envs& envs, const std::string& prefix, ManualCompactSettings::How& how,
              const ManualCompactSettings::How& old) {
  take(envs, (prefix + "target_level").c_str(), how.target_level, old.target_level,
       parse_target_level);
  take(envs, (prefix + "bottommost_level_compaction").c_str(), how.force_bottommost,
       old.force_bottommost, parse_bottommost);
}

ManualCompactSettings manual_compact(const Envs& envs, const ManualCompactSettings& old) {
  ManualCompactSettings s;
  take(envs, "manual_compact.disabled", s.disabled, old.disabled, parse_env_bool);
  take_integer(envs, "manual_compact.max_concurrent_running_count", s.max_running, old.max_running,
               0, INT32_MAX);
  take_integer(envs, "manual_compact.once.trigger_time", s.once_trigger_s, old.once_trigger_s, 0,
               INT64_MAX);
  take_how(envs, "manual_compact.once.", s.once, old.once);
  take(envs, "manual_compact.periodic.trigger_time", s.periodic_minutes, old.periodic_minutes,
       parse_day_times);
  take_how(envs, "manual_compact.periodic.", s.periodic, old.periodic);
  return s;
}

StoreSettings store_settings(const Envs& envs, const StoreSettings& old) {
  StoreSettings s;
  take(envs, "rocksdb.usage_scenario", s.usage_scenario, old.usage_scenario, parse_usage_scenario);
  take_integer(envs, "rocksdb.write_buffer_size", s.write_buffer_bytes, old.write_buffer_bytes,
               env_range::kWriteBufferMin, env_range::kWriteBufferMax);
  take_integer(envs, "rocksdb.num_levels", s.num_levels, old.num_levels, 1, env_range::kLevelsMax);
  take(envs, "rocksdb.allow_ingest_behind", s.allow_ingest_behind, old.allow_ingest_behind,
       parse_env_bool);
  take_integer(envs, "rocksdb.checkpoint.reserve_min_count", s.checkpoint_reserve_min_count,
               old.checkpoint_reserve_min_count, 1, INT32_MAX);
  take_integer(envs, "rocksdb.checkpoint.reserve_time_seconds", s.checkpoint_reserve_time_s,
               old.checkpoint_reserve_time_s, 0, INT32_MAX);
  s.manual_compact = manual_compact(envs, old.manual_compact);
  auto rules = envs.find("user_specified_compaction");
  if (rules != envs.end() && !rules->second.empty()) {
    // Rules that do not parse are none at all: spec 02 §13, "bad JSON = no ops".
    if (auto parsed = parse_compaction_rules(rules->second); parsed && !parsed->empty()) {
      s.compaction_rules = std::make_shared<const CompactionRules>(std::move(*parsed));
    }
  }
  return s;
}

}  // namespace

TableSettings settings_from_environments(const Envs& envs, const TableSettings& old,
                                         const OperationSettings& defaults) {
  TableSettings s;
  static_cast<OperationSettings&>(s) = defaults;
  take_integer(envs, "default_ttl", s.default_ttl_s, old.default_ttl_s, 0, INT32_MAX);
  take_integer(envs, "replica.slow_query_threshold", s.slow_query_threshold_ms,
               old.slow_query_threshold_ms, env_range::kSlowQueryMs, INT64_MAX);
  take_integer(envs, "replica.rocksdb_iteration_threshold_time_ms", s.iteration_threshold_ms,
               old.iteration_threshold_ms, 0, INT64_MAX);
  take(envs, "replica.rocksdb_block_cache_enabled", s.block_cache_enabled, old.block_cache_enabled,
       parse_env_bool);
  take(envs, "replica.split.validate_partition_hash", s.validate_partition_hash,
       old.validate_partition_hash, parse_env_bool);
  s.store = store_settings(envs, old.store);
  return s;
}

}  // namespace markab::engine
