#pragma once
// The metrics of a registry as text: JSON as Pegasus' tools read it (spec 07 §4.2, §4.3) and the
// Prometheus exposition format (spec 07 §4.7). Any thread.

#include <cstdint>
#include <map>
#include <string>

#include "base/metrics.h"
#include "base/status.h"
#include "rpc/http.h"

namespace markab::rpc {

// `query` as it came with the request. kInvalidParameters with the sentence for the 400 answer.
Result<std::string> metrics_json(const MetricRegistry& registry, const DaemonIdentity& identity,
                                 int64_t wall_us, const std::map<std::string, std::string>& query);

std::string metrics_prometheus(const MetricRegistry& registry, const DaemonIdentity& identity);

}  // namespace markab::rpc
