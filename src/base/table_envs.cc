#include "base/table_envs.h"

#include <algorithm>
#include <charconv>
#include <string>

#include "base/integer_text.h"

namespace markab {

namespace {

std::string_view trim(std::string_view text) {
  size_t first = text.find_first_not_of(' ');
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(' ') - first + 1);
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> out;
  for (size_t start = 0;;) {
    size_t at = text.find(separator, start);
    out.push_back(trim(text.substr(start, at - start)));
    if (at == std::string_view::npos) return out;
    start = at + 1;
  }
}

// "20", "20K", "20M".
std::optional<int64_t> parse_units(std::string_view text) {
  int shift = 0;
  if (!text.empty() && text.back() == 'K') shift = 10;
  if (!text.empty() && text.back() == 'M') shift = 20;
  if (shift != 0) text.remove_suffix(1);
  auto units = parse_env_integer(text, 0, INT64_MAX >> shift);
  return units ? std::optional(*units << shift) : std::nullopt;
}

// A number of one or two digits within [0, high].
std::optional<int32_t> parse_clock_number(std::string_view text, int32_t high) {
  int32_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  bool whole = error == std::errc() && end == text.data() + text.size();
  return whole && text.size() <= 2 && value >= 0 && value <= high ? std::optional(value)
                                                                  : std::nullopt;
}

}  // namespace

std::optional<int64_t> parse_env_integer(std::string_view text, int64_t low, int64_t high) {
  int64_t value = 0;
  if (!parse_integer(text, value) || value < low || value > high) return std::nullopt;
  return value;
}

std::optional<bool> parse_env_bool(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  if (lower == "true") return true;
  if (lower == "false") return false;
  return std::nullopt;
}

std::optional<ThrottleRule> parse_throttle(std::string_view text) {
  ThrottleRule rule;
  bool delay_seen = false;
  bool reject_seen = false;
  for (std::string_view part : split(text, ',')) {
    auto fields = split(part, '*');
    if (fields.size() != 3) return std::nullopt;
    auto units = parse_units(fields[0]);
    auto ms = parse_env_integer(fields[2], 0, INT32_MAX);
    if (!units || !ms) return std::nullopt;
    if (fields[1] == "delay" && !delay_seen) {
      delay_seen = true;
      rule.delay_units = *units;
      rule.delay_ms = *ms;
    } else if (fields[1] == "reject" && !reject_seen) {
      reject_seen = true;
      rule.reject_units = *units;
      rule.reject_ms = *ms;
    } else {
      return std::nullopt;
    }
  }
  return rule;
}

std::optional<int64_t> parse_read_bytes_limit(std::string_view text) {
  if (auto units = parse_units(trim(text))) return units;
  auto rule = parse_throttle(text);
  return rule ? std::optional(rule->reject_units) : std::nullopt;
}

std::optional<DenyRule> parse_deny(std::string_view text) {
  auto fields = split(text, '*');
  if (fields.size() != 2) return std::nullopt;
  DenyRule rule;
  if (fields[0] == "reconfig") {
    rule.answer = DenyRule::Answer::kReconfigure;
  } else if (fields[0] != "timeout") {
    return std::nullopt;
  }
  rule.reads = fields[1] == "all" || fields[1] == "read";
  rule.writes = fields[1] == "all" || fields[1] == "write";
  return rule.reads || rule.writes ? std::optional(rule) : std::nullopt;
}

std::optional<std::vector<int32_t>> parse_day_times(std::string_view text) {
  std::vector<int32_t> minutes;
  if (trim(text).empty()) return minutes;
  for (std::string_view part : split(text, ',')) {
    auto fields = split(part, ':');
    if (fields.size() != 2 || fields[1].size() != 2) return std::nullopt;
    auto hour = parse_clock_number(fields[0], 23);
    auto minute = parse_clock_number(fields[1], 59);
    if (!hour || !minute) return std::nullopt;
    minutes.push_back(*hour * 60 + *minute);
  }
  std::sort(minutes.begin(), minutes.end());
  minutes.erase(std::unique(minutes.begin(), minutes.end()), minutes.end());
  return minutes;
}

std::optional<UsageScenario> parse_usage_scenario(std::string_view text) {
  for (auto scenario :
       {UsageScenario::kNormal, UsageScenario::kPreferWrite, UsageScenario::kBulkLoad}) {
    if (text == usage_scenario_name(scenario)) return scenario;
  }
  return std::nullopt;
}

std::string_view usage_scenario_name(UsageScenario scenario) {
  switch (scenario) {
    case UsageScenario::kNormal:
      return "normal";
    case UsageScenario::kPreferWrite:
      return "prefer_write";
    case UsageScenario::kBulkLoad:
      return "bulk_load";
  }
  return "normal";
}

}  // namespace markab
