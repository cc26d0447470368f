#pragma once
// The values of table environments (spec 02 §13): one grammar for the meta server, which refuses
// what is not of it, and the replicas, which obey it. Pure functions on text; any thread. What is
// wrong is told in words that fit behind "accepted: ".

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace markab {

// An integer with base 0 (decimal, 0x…, leading-0 octal) within [low, high].
std::optional<int64_t> parse_env_integer(std::string_view text, int64_t low, int64_t high);
// true or false, in any case.
std::optional<bool> parse_env_bool(std::string_view text);

// `N[K|M]*delay|reject*ms`, one or two of them with a comma between, each kind at most once. A part
// with 0 units is off.
struct ThrottleRule {
  int64_t delay_units = 0;  // of the whole table, per second; 0: no delay
  int64_t delay_ms = 0;
  int64_t reject_units = 0;  // 0: nothing is rejected
  int64_t reject_ms = 0;
  bool off() const { return delay_units == 0 && reject_units == 0; }
  friend bool operator==(const ThrottleRule&, const ThrottleRule&) = default;
};
std::optional<ThrottleRule> parse_throttle(std::string_view text);
// `N`, `NK`, `NM`, or a throttle of which only the reject part counts: bytes per second of the
// whole table; 0: off.
std::optional<int64_t> parse_read_bytes_limit(std::string_view text);

// `timeout|reconfig` `*` `all|write|read`.
struct DenyRule {
  enum class Answer : uint8_t { kSilence, kReconfigure } answer = Answer::kSilence;
  bool reads = false;
  bool writes = false;
  friend bool operator==(const DenyRule&, const DenyRule&) = default;
};
std::optional<DenyRule> parse_deny(std::string_view text);

// `H:MM,H:MM`: minutes of the day, ascending, without repetition. Empty text: none.
std::optional<std::vector<int32_t>> parse_day_times(std::string_view text);

enum class UsageScenario : uint8_t { kNormal, kPreferWrite, kBulkLoad };
// "normal", "prefer_write", "bulk_load"; lower case only, as upstream.
std::optional<UsageScenario> parse_usage_scenario(std::string_view text);
std::string_view usage_scenario_name(UsageScenario scenario);

// The ranges, in one place for both sides.
namespace env_range {
inline constexpr int64_t kSlowQueryMs = 20;  // the least
inline constexpr int64_t kWriteBufferMin = 16ll << 20;
inline constexpr int64_t kWriteBufferMax = 512ll << 20;
inline constexpr int64_t kLevelsMax = 10;
}  // namespace env_range

}  // namespace markab
