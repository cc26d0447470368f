#include "meta/core/env_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <optional>

namespace markab::meta {
namespace {

std::optional<int64_t> to_int(std::string_view text) {
  int64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  return out;
}

template <int64_t kMin, int64_t kMax>
bool in_range(std::string_view text) {
  auto value = to_int(text);
  return value && *value >= kMin && *value <= kMax;
}

bool is_bool(std::string_view text) {
  std::string l = lower(text);
  return l == "true" || l == "false";
}

bool anything(std::string_view) { return true; }
bool is_target_level(std::string_view text) {
  auto value = to_int(text);
  return value && (*value == -1 || *value >= 1);
}
bool is_force_or_skip(std::string_view text) { return text == "force" || text == "skip"; }
bool is_scenario(std::string_view text) {
  return text == "normal" || text == "prefer_write" || text == "bulk_load";
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> out;
  for (size_t start = 0;;) {
    size_t at = text.find(separator, start);
    out.push_back(text.substr(start, at - start));
    if (at == std::string_view::npos) return out;
    start = at + 1;
  }
}

// "<n>[K|M]*delay*<ms>" and "<n>[K|M]*reject*<ms>", each at most once, comma separated.
bool is_throttling(std::string_view text) {
  bool delay = false;
  bool reject = false;
  for (std::string_view part : split(text, ',')) {
    auto fields = split(part, '*');
    if (fields.size() != 3) return false;
    std::string_view units = fields[0];
    if (!units.empty() && (units.back() == 'K' || units.back() == 'M')) units.remove_suffix(1);
    auto count = to_int(units);
    auto wait = to_int(fields[2]);
    if (!count || *count < 0 || *count > INT32_MAX || !wait || *wait < 0) return false;
    bool& seen = fields[1] == "delay" ? delay : reject;
    if ((fields[1] != "delay" && fields[1] != "reject") || seen) return false;
    seen = true;
  }
  return true;
}

bool is_deny(std::string_view text) {
  auto fields = split(text, '*');
  if (fields.size() != 2) return false;
  bool how = fields[0] == "timeout" || fields[0] == "reconfig";
  bool what = fields[1] == "all" || fields[1] == "write" || fields[1] == "read";
  return how && what;
}

struct Rule {
  EnvRule shown;
  bool (*accepts)(std::string_view);
};

constexpr std::string_view kThrottlingText =
    "<units>*delay*<milliseconds> and/or <units>*reject*<milliseconds>, comma separated; units may "
    "end in K or M";
constexpr std::string_view kBoolText = "true | false";

const std::vector<Rule>& rules() {
  static const std::vector<Rule> kRules = {
      {{"replica.slow_query_threshold", "int64", ">= 20", "1000"}, in_range<20, INT64_MAX>},
      {{"replica.write_throttling", "string", kThrottlingText, "20000*delay*100,20000*reject*100"},
       is_throttling},
      {{"replica.write_throttling_by_size", "string", kThrottlingText,
        "20M*delay*100,20M*reject*100"},
       is_throttling},
      {{"replica.read_throttling", "string", kThrottlingText, "20000*delay*100,20000*reject*100"},
       is_throttling},
      {{"replica.backup_request_throttling", "string", kThrottlingText, "2000*delay*100"},
       is_throttling},
      {{"replica.read_throttling_by_size", "string", kThrottlingText,
        "20000*delay*100,20000*reject*100"},
       is_throttling},
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
       in_range<16 << 20, 512 << 20>},
      {{"rocksdb.num_levels", "int64", "[1, 10]", "6"}, in_range<1, 10>},
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
      {{"manual_compact.periodic.trigger_time", "string", "any", "3:00,21:00"}, anything},
      {{"user_specified_compaction", "string", "any", ""}, anything},
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
  if (rule.accepts(value)) return {};
  return Status(Errc::kInvalidParameters,
                fmt::format("{} = {} is not valid; accepted: {}, for example {}", rule.shown.key,
                            value, rule.shown.limitation, rule.shown.sample));
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
