#pragma once
// The counters of Pegasus 2.5 by their old names, computed from today's metrics, for the tools that
// still ask for them (spec 07 §4.6: admin-cli, collectors, scripts). Thread-safe.

#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/metrics.h"

namespace markab::rpc {

class LegacyCounters {
 public:
  enum class Match { kRegex, kSubstring, kPrefix, kPostfix };

  LegacyCounters(const MetricRegistry& registry, std::string role)
      : registry_(registry), role_(std::move(role)) {}

  // The compact JSON of spec 07 §4.6, keys in its order. Rates are per second over the time since
  // the snapshot before, which is at least ten seconds old (or as old as this object).
  std::string to_json(Match match, const std::vector<std::string>& patterns, Instant now,
                      int64_t wall_us);

 private:
  struct Sample {
    double value;
    Instant at;
  };
  const MetricRegistry& registry_;
  const std::string role_;
  std::mutex mutex_;
  std::map<std::string, Sample> previous_;  // totals at the last snapshot
  std::map<std::string, double> rates_;
  Instant snapshot_at_{0};
};

}  // namespace markab::rpc
