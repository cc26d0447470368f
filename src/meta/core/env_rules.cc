#include "meta/core/env_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <optional>

#include "base/compaction_rules.h"
#include "base/escape.h"
#include "base/table_envs.h"

namespace markab::meta {
namespace {

// "" when the value is accepted; else why not, where the rule's limitation does not say it.
using Verdict = std::optional<std::string>;
constexpr auto kAccepted = std::nullopt;
Verdict verdict(bool accepted) { return accepted ? Verdict() : Verdict(std::string()); }

template <int64_t kMin, int64_t kMax>
Verdict in_range(std::string_view text) {
  return verdict(parse_env_integer(text, kMin, kMax).has_value());
}

Verdict is_bool(std::string_view text) { return verdict(parse_env_bool(text).has_value()); }
Verdict anything(std::string_view) { return kAccepted; }
Verdict is_target_level(std::string_view text) {
  auto value = parse_env_integer(text, -1, INT32_MAX);
  return verdict(value && *value != 0);
}
Verdict is_force_or_skip(std::string_view text) {
  return verdict(text == "force" || text == "skip");
}
Verdict is_scenario(std::string_view text) {
  return verdict(parse_usage_scenario(text).has_value());
}
Verdict is_throttling(std::string_view text) { return verdict(parse_throttle(text).has_value()); }
Verdict is_read_bytes_limit(std::string_view text) {
  return verdict(parse_read_bytes_limit(text).has_value());
}
Verdict is_deny(std::string_view text) { return verdict(parse_deny(text).has_value()); }
Verdict is_day_times(std::string_view text) { return verdict(parse_day_times(text).has_value()); }
Verdict is_compaction_rules(std::string_view text) {
  auto rules = parse_compaction_rules(text);
  return rules ? Verdict() : Verdict(rules.error().message());
}

struct Rule {
  EnvRule shown;
  Verdict (*judge)(std::string_view);
};

constexpr std::string_view kThrottlingText =
    "<units>*delay*<milliseconds> and/or <units>*reject*<milliseconds>, comma separated; units may "
    "end in K or M";
constexpr std::string_view kBoolText = "true | false";

const std::vector<Rule>& rules() {
  static const std::vector<Rule> kRules = {
      {{"replica.slow_query_threshold", "int64", ">= 20", "1000"},
       in_range<env_range::kSlowQueryMs, INT64_MAX>},
      {{"replica.write_throttling", "string", kThrottlingText, "20000*delay*100,20000*reject*100"},
       is_throttling},
      {{"replica.write_throttling_by_size", "string", kThrottlingText,
        "20M*delay*100,20M*reject*100"},
       is_throttling},
      {{"replica.read_throttling", "string", kThrottlingText, "20000*delay*100,20000*reject*100"},
       is_throttling},
      {{"replica.backup_request_throttling", "string", kThrottlingText, "2000*delay*100"},
       is_throttling},
      {{"replica.read_throttling_by_size", "string",
        "<bytes>, <bytes>K, <bytes>M, or as the other throttlings, of which only the reject part "
        "counts",
        "20000*delay*100,20000*reject*100"},
       is_read_bytes_limit},
      {{"replica.rocksdb_iteration_threshold_time_ms", "int64", ">= 0", "1000"},
       in_range<0, INT64_MAX>},
      {{"replica.rocksdb_block_cache_enabled", "bool", kBoolText, "true"}, is_bool},
      {{"replica.split.validate_partition_hash", "bool", kBoolText, "true"}, is_bool},
      {{"rocksdb.allow_ingest_behind", "bool", kBoolText, "true"}, is_bool},
      {{"manual_compact.disabled", "bool", kBoolText, "true"}, is_bool},
      {{"replica.deny_client_request", "string",
        "timeout*all | timeout*write | timeout*read | reconfig*all | "
        "reconfig*write | reconfig*read",
        "timeout*all"},
       is_deny},
      {{"rocksdb.write_buffer_size", "int64", "[16777216, 536870912]", "16777216"},
       in_range<env_range::kWriteBufferMin, env_range::kWriteBufferMax>},
      {{"rocksdb.num_levels", "int64", "[1, 10]", "6"}, in_range<1, env_range::kLevelsMax>},
      {{"rocksdb.usage_scenario", "string", "normal | prefer_write | bulk_load", "normal"},
       is_scenario},
      {{"rocksdb.checkpoint.reserve_min_count", "int32", "> 0", "2"}, in_range<1, INT32_MAX>},
      {{"rocksdb.checkpoint.reserve_time_seconds", "int32", ">= 0", "3600"},
       in_range<0, INT32_MAX>},
      {{"default_ttl", "int32", ">= 0", "86400"}, in_range<0, INT32_MAX>},
      {{"manual_compact.max_concurrent_running_count", "int32", ">= 0", "4"},
       in_range<0, INT32_MAX>},
      {{"manual_compact.once.trigger_time", "int64", ">= 0", "1700000000"}, in_range<0, INT64_MAX>},
      {{"manual_compact.once.target_level", "int64", "-1 or >= 1", "6"}, is_target_level},
      {{"manual_compact.periodic.target_level", "int64", "-1 or >= 1", "6"}, is_target_level},
      {{"manual_compact.once.bottommost_level_compaction", "string", "force | skip", "skip"},
       is_force_or_skip},
      {{"manual_compact.periodic.bottommost_level_compaction", "string", "force | skip", "skip"},
       is_force_or_skip},
      {{"manual_compact.periodic.trigger_time", "string",
        "times of the day as H:MM, comma separated; empty for none", "3:00,21:00"},
       is_day_times},
      {{"user_specified_compaction", "string",
        R"(JSON: {"ops":[{"type":…,"params":…,"rules":[{"type":…,"params":…}]}]}; empty for none)",
        R"({"ops":[{"type":"COT_DELETE","params":"","rules":[{"type":"FRT_HASHKEY_PATTERN",)"
        R"("params":"{\"pattern\":\"tmp_\",\"match_type\":\"SMT_MATCH_PREFIX\"}"}]}]})"},
       is_compaction_rules},
      {{"business.info", "string", "any", "owner=search"}, anything},
      {{"replica_access_controller.allowed_users", "string", "any", "user1;user2"}, anything},
      {{"replica_access_controller.ranger_policies", "string", "any", ""}, anything},
      {{"duplication.master_cluster", "string", "any", "c4tst"}, anything},
      {{"duplication.master_metas", "string", "any", "10.0.0.1:34601"}, anything},
      {{"duplication.master_app_name", "string", "any", "temp"}, anything},
      {{"duplication.follower_app_status", "string", "any", "creating"}, anything},
  };
  return kRules;
}

const Rule* find_rule(std::string_view key) {
  for (const Rule& rule : rules()) {
    if (rule.shown.key == key) return &rule;
  }
  return nullptr;
}

Status check(const Rule& rule, std::string_view value) {
  Verdict why = rule.judge(value);
  if (!why) return {};
  return Status(Errc::kInvalidParameters,
                fmt::format("{} = {} is not valid{}{}; accepted: {}, for example {}",
                            rule.shown.key, escape_cut(value), why->empty() ? "" : ": ", *why,
                            rule.shown.limitation, rule.shown.sample));
}

}  // namespace

const std::vector<EnvRule>& env_rules() {
  static const std::vector<EnvRule> kShown = [] {
    std::vector<EnvRule> out;
    for (const Rule& rule : rules()) out.push_back(rule.shown);
    return out;
  }();
  return kShown;
}

Status check_env(std::string_view key, std::string_view value) {
  const Rule* rule = find_rule(key);
  if (rule == nullptr) {
    return Status(Errc::kInvalidParameters,
                  fmt::format("app_env '{}' is not supported; GET /envs/list shows what is", key));
  }
  return check(*rule, value);
}

Status check_env_at_creation(std::string_view key, std::string_view value) {
  const Rule* rule = find_rule(key);
  return rule == nullptr ? Status() : check(*rule, value);
}

Status check_table_name(std::string_view name) {
  bool legal = !name.empty() && name.size() <= 128 &&
               std::all_of(name.begin(), name.end(), [](unsigned char c) {
                 return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                        (c >= 'A' && c <= 'Z') || c == '_' || c == '.' || c == ':';
               });
  if (legal) return {};
  return Status(
      Errc::kInvalidParameters,
      fmt::format("'{}' is no table name: 1 to 128 of letters, digits, '_', '.' and ':'", name));
}

}  // namespace markab::meta
