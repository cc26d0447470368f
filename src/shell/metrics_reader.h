#pragma once
// What daemons count, as statistics commands want it: two looks at the metrics of each daemon, some
// time apart, and per entity the values of the second and how much they grew per second. Daemons
// are asked by the remote command `metrics`, which passes wherever the shell does. One thread.

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "shell/session.h"

namespace markab::shell {

// One daemon.
struct MetricsQuery {
  std::string node;
  std::string types;    // comma lists as of /metrics (07 §4.3); "": all
  std::string metrics;  // the same
};

// One entity of a daemon: "server", "replica" of a partition, "disk".
struct EntityMetrics {
  std::string type;
  std::string id;
  int32_t table_id = 0;  // of a replica
  int32_t partition = -1;
  std::map<std::string, double, std::less<>> values;  // p99 for latencies
  std::map<std::string, double, std::less<>> rates;   // per second; 0 when it is new or began anew

  double value(std::string_view name) const;  // 0 when there is none
  double rate(std::string_view name) const;
};

struct NodeMetrics {
  std::string node;
  std::string role;  // "meta", "replica"
  std::vector<EntityMetrics> entities;

  // Over the entities of a type.
  double sum(std::string_view type, std::string_view metric) const;
  double sum_of_rates(std::string_view type, std::string_view metric) const;
};

// The answers in `text`, as /metrics prints them; public for tests. kCorruption when it is none.
Outcome<NodeMetrics> read_metrics(std::string_view node, std::string_view first,
                                  std::string_view second);

// Asks each daemon twice, `interval` apart. The first that does not answer ends it.
Outcome<std::vector<NodeMetrics>> watch_metrics(Session& session,
                                                const std::vector<MetricsQuery>& queries,
                                                Timeout interval);

}  // namespace markab::shell
