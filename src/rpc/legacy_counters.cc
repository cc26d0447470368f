#include "rpc/legacy_counters.h"

#include <boost/json.hpp>
#include <ctime>
#include <regex>

namespace markab::rpc {
namespace {

constexpr Duration kRefresh = std::chrono::seconds(10);

enum class Kind { kNumber, kRate, kVolatile };

struct Mapping {
  const char* entity;  // metric entity type
  const char* metric;  // today's name
  const char* legacy;  // the old name; a replica's gets "@<app>.<index>"
  Kind kind;
};

// Spec 07 §4.6. Node-level sums of per-replica counters are not published: node-stat adds up by
// itself.
constexpr Mapping kMappings[] = {
    {"replica", "get_requests", "replica*app.pegasus*get_qps", Kind::kRate},
    {"replica", "multi_get_requests", "replica*app.pegasus*multi_get_qps", Kind::kRate},
    {"replica", "batch_get_requests", "replica*app.pegasus*batch_get_qps", Kind::kRate},
    {"replica", "put_requests", "replica*app.pegasus*put_qps", Kind::kRate},
    {"replica", "multi_put_requests", "replica*app.pegasus*multi_put_qps", Kind::kRate},
    {"replica", "remove_requests", "replica*app.pegasus*remove_qps", Kind::kRate},
    {"replica", "multi_remove_requests", "replica*app.pegasus*multi_remove_qps", Kind::kRate},
    {"replica", "incr_requests", "replica*app.pegasus*incr_qps", Kind::kRate},
    {"replica", "check_and_set_requests", "replica*app.pegasus*check_and_set_qps", Kind::kRate},
    {"replica", "check_and_mutate_requests", "replica*app.pegasus*check_and_mutate_qps",
     Kind::kRate},
    {"replica", "scan_requests", "replica*app.pegasus*scan_qps", Kind::kRate},
    {"replica", "read_capacity_units", "replica*app.pegasus*recent.read.cu", Kind::kVolatile},
    {"replica", "write_capacity_units", "replica*app.pegasus*recent.write.cu", Kind::kVolatile},
    {"replica", "read_expired_values", "replica*app.pegasus*recent.expire.count", Kind::kVolatile},
    {"replica", "read_filtered_values", "replica*app.pegasus*recent.filter.count", Kind::kVolatile},
    {"replica", "abnormal_read_requests", "replica*app.pegasus*recent.abnormal.count",
     Kind::kVolatile},
    {"replica", "rdb_total_sst_size_mb", "replica*app.pegasus*disk.storage.sst(MB)", Kind::kNumber},
    {"replica", "rdb_total_sst_files", "replica*app.pegasus*disk.storage.sst.count", Kind::kNumber},
    {"replica", "rdb_estimated_keys", "replica*app.pegasus*rdb.estimate_num_keys", Kind::kNumber},
    {"replica", "rdb_memtable_mem_usage_bytes", "replica*app.pegasus*rdb.memtable.memory_usage",
     Kind::kNumber},
    {"replica", "rdb_index_and_filter_blocks_mem_usage_bytes",
     "replica*app.pegasus*rdb.index_and_filter_blocks.memory_usage", Kind::kNumber},
    {"replica", "rdb_block_cache_hit_count", "replica*app.pegasus*rdb.block_cache.hit_count",
     Kind::kNumber},
    {"replica", "rdb_block_cache_total_count", "replica*app.pegasus*rdb.block_cache.total_count",
     Kind::kNumber},
    {"replica", "rdb_bloom_filter_seek_negatives", "replica*app.pegasus*rdb.bf_seek_negatives",
     Kind::kNumber},
    {"replica", "rdb_bloom_filter_seek_total", "replica*app.pegasus*rdb.bf_seek_total",
     Kind::kNumber},
    {"replica", "rdb_bloom_filter_point_lookup_true_positives",
     "replica*app.pegasus*rdb.bf_point_positive_true", Kind::kNumber},
    {"replica", "rdb_bloom_filter_point_lookup_positives",
     "replica*app.pegasus*rdb.bf_point_positive_total", Kind::kNumber},
    {"replica", "rdb_bloom_filter_point_lookup_negatives",
     "replica*app.pegasus*rdb.bf_point_negatives", Kind::kNumber},
    {"replica", "backup_requests", "replica*eon.replica*backup_request_qps", Kind::kRate},
    {"server", "total_replicas", "replica*eon.replica_stub*replica(Count)", Kind::kNumber},
    {"server", "opening_replicas", "replica*eon.replica_stub*opening.replica(Count)",
     Kind::kNumber},
    {"server", "closing_replicas", "replica*eon.replica_stub*closing.replica(Count)",
     Kind::kNumber},
    {"server", "resident_mem_usage_mb", "replica*server*memused.res(MB)", Kind::kNumber},
    {"server", "virtual_mem_usage_mb", "replica*server*memused.virt(MB)", Kind::kNumber},
    {"server", "rdb_block_cache_mem_usage_bytes",
     "replica*app.pegasus*rdb.block_cache.memory_usage", Kind::kNumber},
};

const char* kind_name(Kind kind) {
  switch (kind) {
    case Kind::kNumber:
      return "NUMBER";
    case Kind::kRate:
      return "RATE";
    case Kind::kVolatile:
      return "VOLATILE_NUMBER";
  }
  return "NUMBER";
}

// A script looks for exactly `"value":0`: whole numbers are written without a fraction.
std::string number_text(double value) {
  if (value == static_cast<double>(static_cast<int64_t>(value)))
    return std::to_string(static_cast<int64_t>(value));
  return fmt::format("{}", value);
}

bool matches(LegacyCounters::Match match, const std::vector<std::string>& patterns,
             const std::vector<std::regex>& expressions, const std::string& name) {
  if (patterns.empty()) return true;
  if (match == LegacyCounters::Match::kRegex) {
    for (const auto& expression : expressions) {
      if (std::regex_match(name, expression)) return true;
    }
    return false;
  }
  for (const auto& p : patterns) {
    if (match == LegacyCounters::Match::kSubstring && name.find(p) != std::string::npos)
      return true;
    if (match == LegacyCounters::Match::kPrefix && name.starts_with(p)) return true;
    if (match == LegacyCounters::Match::kPostfix && name.ends_with(p)) return true;
  }
  return false;
}

}  // namespace

std::string LegacyCounters::to_json(Match match, const std::vector<std::string>& patterns,
                                    Instant now, int64_t wall_us) {
  auto seconds = static_cast<std::time_t>(wall_us / 1000000);
  std::tm parts{};
  localtime_r(&seconds, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &parts);
  auto frame = [&](const std::string& result, const std::string& counters) {
    return fmt::format(
        "{{\"result\":{},\"timestamp\":{},\"timestamp_str\":\"{}\",\"counters\":[{}]}}",
        boost::json::serialize(boost::json::string(result)), static_cast<int64_t>(seconds), text,
        counters);
  };
  std::vector<std::regex> expressions;
  if (match == Match::kRegex) {
    for (const auto& p : patterns) {
      try {
        expressions.emplace_back(p, std::regex::basic);
      } catch (const std::regex_error&) {
        return frame(fmt::format("ERROR: invalid filter: {}", p), "");
      }
    }
  }

  std::lock_guard lock(mutex_);
  bool refresh = snapshot_at_.ns == 0 || now - snapshot_at_ >= kRefresh;
  double span = snapshot_at_.ns == 0 ? 0 : static_cast<double>((now - snapshot_at_).count()) * 1e-9;
  std::string counters;
  for (const auto& entity : registry_.entities()) {
    std::string suffix;
    if (entity->type == "replica") {
      suffix = fmt::format("@{}.{}", entity->attributes.at("table_id"),
                           entity->attributes.at("partition_id"));
    }
    entity->for_each([&](const MetricEntity::Item& item) {
      for (const auto& mapping : kMappings) {
        if (entity->type != mapping.entity || item.info.name != mapping.metric) continue;
        if (item.kind == MetricEntity::Item::Kind::kPercentile) continue;
        auto name = mapping.legacy + suffix;
        auto value = static_cast<double>(item.value());
        if (mapping.kind != Kind::kNumber) {
          if (refresh) {
            auto before = previous_.find(name);
            double grown = before == previous_.end() ? value : value - before->second.value;
            rates_[name] = mapping.kind == Kind::kRate ? (span > 0 ? grown / span : 0) : grown;
            previous_[name] = {value, now};
          }
          value = rates_[name];
        }
        if (!matches(match, patterns, expressions, name)) continue;
        counters += fmt::format("{}{{\"name\":{},\"type\":\"{}\",\"value\":{}}}",
                                counters.empty() ? "" : ",",
                                boost::json::serialize(boost::json::string(name)),
                                kind_name(mapping.kind), number_text(value));
      }
    });
  }
  if (refresh) snapshot_at_ = now;
  return frame("OK", counters);
}

}  // namespace markab::rpc
