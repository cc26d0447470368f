// What nodes and tables are doing, from the daemons' own metrics: nodes, server_stat, app_stat
// (07 §8.2, §8.3); and manual compaction.

#include <algorithm>
#include <boost/json.hpp>
#include <cmath>
#include <map>

#include "shell/metrics_reader.h"
#include "shell/session.h"
#include "shell/targets.h"

namespace markab::shell {

namespace json = boost::json;

namespace {

constexpr double kMiB = 1 << 20;
constexpr double kNanosecondsPerMillisecond = 1e6;
constexpr int64_t kDefaultIntervalMs = 1000;
constexpr int64_t kLongestIntervalMs = 60000;

const Option kJson{'j', "json", "", "print JSON with string values"};
const Option kOutput{'o', "output", "file", "write there"};
const Option kInterval{'i', "sample_interval_ms", "ms", "time between the two looks; default 1000"};
const Option kResolve{'r', "resolve_ip", "", "accepted"};

// Two decimals, as tables show what is not whole.
double rounded(double value) { return std::round(value * 100) / 100; }

Outcome<Timeout> interval_of(const Arguments& arguments) {
  auto ms = arguments.number('i', kDefaultIntervalMs, 1, kLongestIntervalMs);
  if (!ms) return to_error(ms.error());
  return Timeout(*ms);
}

// ---- nodes

struct Holdings {
  int primaries = 0;
  int secondaries = 0;
};

// What each node holds, over all tables that are available.
Outcome<std::map<std::string, Holdings>> count_replicas(Session& session) {
  auto tables = session.admin().list_tables(TableStatus::kAvailable, session.timeout);
  if (!tables) return tables.error();
  std::map<std::string, Holdings> by_node;
  for (const auto& table : *tables) {
    auto partitions = session.admin().partitions(table.name, session.timeout);
    if (!partitions) return partitions.error();
    for (const auto& partition : partitions->partitions) {
      if (!partition.primary.empty()) ++by_node[partition.primary].primaries;
      for (const auto& node : partition.secondaries) ++by_node[node].secondaries;
    }
  }
  return by_node;
}

// One column of a node's row.
struct NodeColumn {
  const char* name;
  double (*of)(const NodeMetrics& node);
};

double memory_mb(const NodeMetrics& node, const char* metric) {
  return node.sum("server", metric) / kMiB;
}
double percent(double part, double whole) { return whole <= 0 ? 0 : part * 100 / whole; }

double least_free_disk(const NodeMetrics& node) {
  double least = 100;
  for (const auto& entity : node.entities) {
    if (entity.type != "disk") continue;
    least = std::min(least, percent(entity.value("disk_capacity_avail_mb"),
                                    entity.value("disk_capacity_total_mb")));
  }
  return least;
}

// Of the slowest partition: percentiles of several do not add up.
double slowest_ms(const NodeMetrics& node, const char* metric) {
  double slowest = 0;
  for (const auto& entity : node.entities) {
    if (entity.type == "replica") slowest = std::max(slowest, entity.value(metric));
  }
  return slowest / kNanosecondsPerMillisecond;
}

constexpr NodeColumn kNodeUsage[] = {
    {"memused_res_mb", [](const auto& n) { return n.sum("server", "resident_mem_usage_mb"); }},
    {"block_cache_mb",
     [](const auto& n) { return memory_mb(n, "rdb_block_cache_mem_usage_bytes"); }},
    {"wbm_total_mb", [](const auto& n) { return memory_mb(n, "rdb_wbm_total_mem_usage_bytes"); }},
    {"wbm_mutable_mb",
     [](const auto& n) { return memory_mb(n, "rdb_wbm_mutable_mem_usage_bytes"); }},
    {"mem_tbl_mb",
     [](const auto& n) { return n.sum("replica", "rdb_memtable_mem_usage_bytes") / kMiB; }},
    {"mem_idx_mb",
     [](const auto& n) {
       return n.sum("replica", "rdb_index_and_filter_blocks_mem_usage_bytes") / kMiB;
     }},
    {"disk_avl_total_ratio",
     [](const auto& n) {
       return percent(n.sum("disk", "disk_capacity_avail_mb"),
                      n.sum("disk", "disk_capacity_total_mb"));
     }},
    {"disk_avl_min_ratio", least_free_disk},
};

constexpr NodeColumn kNodeRequests[] = {
    {"get_qps", [](const auto& n) { return n.sum_of_rates("replica", "get_requests"); }},
    {"mget_qps", [](const auto& n) { return n.sum_of_rates("replica", "multi_get_requests"); }},
    {"bget_qps", [](const auto& n) { return n.sum_of_rates("replica", "batch_get_requests"); }},
    {"read_cu", [](const auto& n) { return n.sum_of_rates("replica", "read_capacity_units"); }},
    {"put_qps", [](const auto& n) { return n.sum_of_rates("replica", "put_requests"); }},
    {"mput_qps", [](const auto& n) { return n.sum_of_rates("replica", "multi_put_requests"); }},
    {"write_cu", [](const auto& n) { return n.sum_of_rates("replica", "write_capacity_units"); }},
    {"get_p99(ms)", [](const auto& n) { return slowest_ms(n, "get_latency_ns"); }},
    {"mget_p99(ms)", [](const auto& n) { return slowest_ms(n, "multi_get_latency_ns"); }},
    {"bget_p99(ms)", [](const auto& n) { return slowest_ms(n, "batch_get_latency_ns"); }},
    {"put_p99(ms)", [](const auto& n) { return slowest_ms(n, "put_latency_ns"); }},
    {"mput_p99(ms)", [](const auto& n) { return slowest_ms(n, "multi_put_latency_ns"); }},
};

// The metrics columns that `nodes` was asked for, and the nodes that were asked for them.
struct NodeStatistics {
  std::vector<NodeColumn> columns;
  std::map<std::string, NodeMetrics> by_node;
};

Outcome<NodeStatistics> watch_nodes(Session& session, const Arguments& arguments,
                                    const std::vector<NodeInfo>& nodes) {
  NodeStatistics out;
  if (arguments.has('u'))
    out.columns.insert(out.columns.end(), std::begin(kNodeUsage), std::end(kNodeUsage));
  if (arguments.has('q'))
    out.columns.insert(out.columns.end(), std::begin(kNodeRequests), std::end(kNodeRequests));
  if (out.columns.empty()) return out;
  auto interval = interval_of(arguments);
  if (!interval) return interval.error();
  std::vector<MetricsQuery> queries;
  for (const auto& node : nodes) {
    if (node.alive) queries.push_back({node.address, "server,replica,disk", ""});
  }
  auto watched = watch_metrics(session, queries, *interval);
  if (!watched) return watched.error();
  for (auto& metrics : *watched) out.by_node[metrics.node] = std::move(metrics);
  return out;
}

Error nodes(Session& session, const Arguments& arguments) {
  std::string wanted = arguments.text('s', "all");
  if (wanted != "all" && wanted != "alive" && wanted != "unalive") {
    return {ErrorCode::kInvalidArgument,
            fmt::format("-s '{}'; allowed are all, alive and unalive", wanted)};
  }
  auto all = session.admin().list_nodes(session.timeout);
  if (!all) return all.error();
  std::map<std::string, Holdings> held;
  if (arguments.has('d')) {
    auto counted = count_replicas(session);
    if (!counted) return counted.error();
    held = std::move(*counted);
  }
  auto statistics = watch_nodes(session, arguments, *all);
  if (!statistics) return statistics.error();
  std::vector<std::string> columns{"address", "status"};
  if (arguments.has('d'))
    columns.insert(columns.end(), {"replica_count", "primary_count", "secondary_count"});
  for (const auto& column : statistics->columns) columns.emplace_back(column.name);
  Section details = Section::rows("details", columns);
  int alive = 0;
  for (const auto& node : *all) {
    alive += node.alive ? 1 : 0;
    if ((wanted == "alive" && !node.alive) || (wanted == "unalive" && node.alive)) continue;
    std::vector<json::value> row{json::string(node.address), node.alive ? "ALIVE" : "UNALIVE"};
    if (arguments.has('d')) {
      const Holdings& holdings = held[node.address];
      row.insert(row.end(), {holdings.primaries + holdings.secondaries, holdings.primaries,
                             holdings.secondaries});
    }
    const auto& metrics = statistics->by_node[node.address];  // nothing, of one that is not alive
    for (const auto& column : statistics->columns) row.emplace_back(rounded(column.of(metrics)));
    details.add_row(std::move(row));
  }
  Section summary = Section::fields("summary");
  summary.add_field("total_node_count", all->size());
  summary.add_field("alive_node_count", alive);
  summary.add_field("unalive_node_count", static_cast<int>(all->size()) - alive);
  return session.show({details, summary}, arguments);
}

// ---- server_stat

constexpr std::pair<const char*, const char*> kServerColumns[] = {
    {"virt_mem_mb", "virtual_mem_usage_mb"}, {"res_mem_mb", "resident_mem_usage_mb"}};
// Of replica servers.
constexpr const char* kReplicaCounts[] = {
    "total_replicas",     "opening_replicas",  "closing_replicas",
    "inactive_replicas",  "error_replicas",    "primary_replicas",
    "secondary_replicas", "learning_replicas", "splitting_replicas"};

Error server_stat(Session& session, const Arguments& arguments) {
  auto interval = interval_of(arguments);
  if (!interval) return interval.error();
  auto targets = choose_targets(session, arguments);
  if (!targets) return targets.error();
  std::vector<MetricsQuery> queries;
  for (const auto& target : *targets) queries.push_back({target.node, "server", ""});
  auto watched = watch_metrics(session, queries, *interval);
  if (!watched) return watched.error();
  std::vector<std::string> columns{"node", "role"};
  for (const auto& [column, metric] : kServerColumns) columns.emplace_back(column);
  columns.insert(columns.end(), std::begin(kReplicaCounts), std::end(kReplicaCounts));
  Section rows = Section::rows("server_stat", columns);
  for (const auto& node : *watched) {
    std::vector<json::value> row{json::string(node.node), json::string(node.role + "-server")};
    for (const auto& [column, metric] : kServerColumns)
      row.emplace_back(static_cast<int64_t>(node.sum("server", metric)));
    for (const char* count : kReplicaCounts) {
      if (node.role == "replica") {
        row.emplace_back(static_cast<int64_t>(node.sum("server", count)));
      } else {
        row.emplace_back("-");
      }
    }
    rows.add_row(std::move(row));
  }
  return session.show({rows}, arguments);
}

// ---- app_stat

// What a table or a partition did and has, added up.
using Totals = std::map<std::string, double, std::less<>>;

struct TableColumn {
  const char* name;
  double (*of)(const Totals& totals);
};

double total(const Totals& totals, std::string_view name) {
  auto found = totals.find(name);
  return found == totals.end() ? 0 : found->second;
}
double ratio(double part, double whole) { return whole <= 0 ? 0 : part / whole; }

// Per second.
constexpr std::pair<const char*, const char*> kTableRequests[] = {
    {"GET", "get_requests"},
    {"MGET", "multi_get_requests"},
    {"BGET", "batch_get_requests"},
    {"PUT", "put_requests"},
    {"MPUT", "multi_put_requests"},
    {"DEL", "remove_requests"},
    {"MDEL", "multi_remove_requests"},
    {"INCR", "incr_requests"},
    {"CAS", "check_and_set_requests"},
    {"CAM", "check_and_mutate_requests"},
    {"SCAN", "scan_requests"},
    {"RCU", "read_capacity_units"},
    {"WCU", "write_capacity_units"},
    {"expire", "read_expired_values"},
    {"filter", "read_filtered_values"},
    {"abnormal", "abnormal_read_requests"},
    {"delay", "throttling_delayed_read_requests,throttling_delayed_write_requests"},
    {"reject", "throttling_rejected_read_requests,throttling_rejected_write_requests"},
};

constexpr TableColumn kTableUsage[] = {
    {"file_mb", [](const Totals& t) { return total(t, "rdb_total_sst_size_mb"); }},
    {"file_num", [](const Totals& t) { return total(t, "rdb_total_sst_files"); }},
    {"mem_tbl_mb", [](const Totals& t) { return total(t, "rdb_memtable_mem_usage_bytes") / kMiB; }},
    {"mem_idx_mb",
     [](const Totals& t) {
       return total(t, "rdb_index_and_filter_blocks_mem_usage_bytes") / kMiB;
     }},
    {"hit_rate",
     [](const Totals& t) {
       return ratio(total(t, "rdb_block_cache_hit_count"), total(t, "rdb_block_cache_total_count"));
     }},
    {"seek_n_rate",
     [](const Totals& t) {
       return ratio(total(t, "rdb_bloom_filter_seek_negatives"),
                    total(t, "rdb_bloom_filter_seek_total"));
     }},
    {"point_n_rate",
     [](const Totals& t) {
       double negatives = total(t, "rdb_bloom_filter_point_lookup_negatives");
       return ratio(negatives, negatives + total(t, "rdb_bloom_filter_point_lookup_positives"));
     }},
    {"point_fp_rate",
     [](const Totals& t) {
       double wrong = total(t, "rdb_bloom_filter_point_lookup_positives") -
                      total(t, "rdb_bloom_filter_point_lookup_true_positives");
       return ratio(wrong, wrong + total(t, "rdb_bloom_filter_point_lookup_negatives"));
     }},
};

void add_to(Totals& totals, const Totals& more) {
  for (const auto& [name, value] : more) totals[name] += value;
}

// What one primary counted: rates of the counters, values of the rest.
Totals totals_of(const EntityMetrics& replica) {
  Totals out;
  for (const auto& [column, metrics] : kTableRequests) {
    for (std::string_view rest = metrics; !rest.empty();) {
      auto comma = std::min(rest.find(','), rest.size());
      out[column] += replica.rate(rest.substr(0, comma));
      rest.remove_prefix(std::min(comma + 1, rest.size()));
    }
  }
  for (const auto& [name, value] : replica.values) {
    if (name.starts_with("rdb_")) out[name] = value;
  }
  return out;
}

// The tables that are asked for, and the primaries of their partitions.
struct WatchedTables {
  std::vector<TableInfo> tables;
  std::map<int32_t, TablePartitions> partitions;  // by table id
  std::map<int32_t, std::vector<Totals>> totals;  // the same; of each partition
};

Outcome<WatchedTables> watch_tables(Session& session, const std::string& only, Timeout interval) {
  WatchedTables out;
  auto tables = session.admin().list_tables(TableStatus::kAvailable, session.timeout);
  if (!tables) return tables.error();
  std::map<std::string, MetricsQuery> queries;
  for (auto& table : *tables) {
    if (!only.empty() && table.name != only) continue;
    auto partitions = session.admin().partitions(table.name, session.timeout);
    if (!partitions) return partitions.error();
    for (const auto& partition : partitions->partitions) {
      if (!partition.primary.empty())
        queries.try_emplace(partition.primary, MetricsQuery{partition.primary, "replica", ""});
    }
    out.totals[table.app_id].resize(partitions->partitions.size());
    out.partitions[table.app_id] = std::move(*partitions);
    out.tables.push_back(std::move(table));
  }
  if (out.tables.empty() && !only.empty()) {
    return Error{ErrorCode::kTableNotFound,
                 fmt::format("there is no table {}; `ls` shows what there is", only)};
  }
  std::vector<MetricsQuery> asked;
  for (auto& [node, query] : queries) asked.push_back(std::move(query));
  auto watched = watch_metrics(session, asked, interval);
  if (!watched) return watched.error();
  for (const auto& node : *watched) {
    for (const auto& replica : node.entities) {
      auto table = out.partitions.find(replica.table_id);
      if (table == out.partitions.end() || replica.partition < 0 ||
          replica.partition >= static_cast<int32_t>(table->second.partitions.size())) {
        continue;
      }
      auto index = static_cast<size_t>(replica.partition);
      // Only the primary counts what clients do.
      if (table->second.partitions[index].primary == node.node)
        out.totals[replica.table_id][index] = totals_of(replica);
    }
  }
  return out;
}

Error app_stat(Session& session, const Arguments& arguments) {
  auto interval = interval_of(arguments);
  if (!interval) return interval.error();
  auto watched = watch_tables(session, arguments.text('a'), *interval);
  if (!watched) return watched.error();
  const bool requests = arguments.has('q') || !arguments.has('u');
  const bool usage = arguments.has('u') || !arguments.has('q');
  const bool by_partition = arguments.has('a');
  std::vector<std::string> columns{by_partition ? "pidx" : "app_name", "app_id", "pcount"};
  for (const auto& [name, metrics] : kTableRequests) {
    if (requests) columns.emplace_back(name);
  }
  for (const auto& column : kTableUsage) {
    if (usage) columns.emplace_back(column.name);
  }
  Section rows = Section::rows("app_stat", columns);
  auto add_row = [&](std::string name, int32_t app_id, size_t partitions, const Totals& totals) {
    std::vector<json::value> row{json::string(name), app_id, partitions};
    for (const auto& [column, metrics] : kTableRequests) {
      if (requests) row.emplace_back(rounded(total(totals, column)));
    }
    for (const auto& column : kTableUsage) {
      if (usage) row.emplace_back(rounded(column.of(totals)));
    }
    rows.add_row(std::move(row));
  };
  Totals all;
  size_t all_partitions = 0;
  size_t count = 0;
  for (const auto& table : watched->tables) {
    const auto& of_partitions = watched->totals[table.app_id];
    Totals of_table;
    for (size_t i = 0; i < of_partitions.size(); ++i) {
      add_to(of_table, of_partitions[i]);
      if (by_partition) add_row(std::to_string(i), table.app_id, 1, of_partitions[i]);
    }
    if (!by_partition) add_row(table.name, table.app_id, of_partitions.size(), of_table);
    add_to(all, of_table);
    all_partitions += of_partitions.size();
    count += by_partition ? of_partitions.size() : 1;
  }
  add_row(fmt::format("(total:{})", count),
          by_partition && !watched->tables.empty() ? watched->tables.front().app_id : 0,
          all_partitions, all);
  return session.show({rows}, arguments);
}

// ---- manual compaction

Error start_compaction(Session& session, const Arguments& arguments) {
  CompactionOptions options;
  auto level = arguments.number('l', -1, -1, INT32_MAX);
  auto running = arguments.number('c', 0, 0, INT32_MAX);
  auto at = arguments.number('t', 0, 0, INT64_MAX);
  for (const auto* number : {&level, &running, &at}) {
    if (!*number) return to_error(number->error());
  }
  options.target_level = static_cast<int32_t>(*level);
  options.max_running = static_cast<int32_t>(*running);
  options.trigger_second = *at;
  options.force_bottommost = arguments.has('b');
  auto done =
      session.admin().start_manual_compaction(arguments.text('a'), options, session.timeout);
  if (!done) return done.error();
  session.json ? session.emit({{"app_name", arguments.text('a')}, {"started", true}})
               : session.line(fmt::format("compaction of {} is started; `manual_compaction query "
                                          "-a {}` tells how far it is",
                                          arguments.text('a'), arguments.text('a')));
  return {};
}

Error manual_compaction(Session& session, const Arguments& arguments) {
  const std::string& action = arguments.word(0);
  if ((action != "start" && action != "query") || !arguments.has('a')) {
    return {ErrorCode::kInvalidArgument, "say `manual_compaction start|query -a TABLE`"};
  }
  if (action == "start") return start_compaction(session, arguments);
  auto percent_done =
      session.admin().manual_compaction_progress(arguments.text('a'), session.timeout);
  if (!percent_done) return percent_done.error();
  session.json ? session.emit({{"app_name", arguments.text('a')}, {"progress", *percent_done}})
               : session.line(fmt::format("compaction of {}: {} % of the replicas are done",
                                          arguments.text('a'), *percent_done));
  return {};
}

}  // namespace

std::vector<Command> statistics_commands() {
  return {
      {"nodes",
       "[-d] [-u] [-q] [-i MS] [-s all|alive|unalive] [-j] [-o FILE]",
       "the replica servers",
       {{'d', "detailed", "", "how many replicas each holds"},
        {'u', "resource_usage", "", "memory and disk of each"},
        {'q', "qps", "", "requests per second of each, and how long they take"},
        {'s', "status", "all|alive|unalive", "only these"},
        kInterval,
        kResolve,
        kJson,
        kOutput},
       0,
       0,
       nodes},
      {"server_stat",
       "[-t all|meta-server|replica-server] [-l HOST:PORT,...] [-i MS] [-j] [-o FILE]",
       "memory and replicas of the daemons",
       {{'t', "node_type", "all|meta-server|replica-server", "which daemons"},
        {'l', "node_list", "host:port,...", "these daemons"},
        kInterval,
        kResolve,
        kJson,
        kOutput},
       0,
       0,
       server_stat},
      {"app_stat",
       "[-a TABLE] [-q] [-u] [-i MS] [-j] [-o FILE]",
       "requests per second and storage of the tables, or of one table's partitions",
       {{'a', "app_name", "table", "this table, partition by partition"},
        {'q', "only_qps", "", "only requests"},
        {'u', "only_usage", "", "only storage"},
        kInterval,
        kJson,
        kOutput},
       0,
       0,
       app_stat},
      {"manual_compaction",
       "start|query -a TABLE [-l LEVEL] [-c COUNT] [-b] [-t UNIX_TIME]",
       "rewrite all data of a table, or tell how far that is",
       {{'a', "app_name", "table", "the table"},
        {'l', "target_level", "level", "-1, the default: the store's choice"},
        {'c', "max_concurrent_running_count", "n", "at once on a node; 0: as the table has it"},
        {'b', "bottommost_level_compaction", "", "rewrite the bottommost level as well"},
        {'t', "trigger_time", "unix time", "then; default now"}},
       1,
       1,
       manual_compaction},
  };
}

}  // namespace markab::shell
