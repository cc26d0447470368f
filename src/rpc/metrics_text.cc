#include "rpc/metrics_text.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <boost/json.hpp>
#include <set>

#include "rpc/pretty_json.h"

namespace markab::rpc {

namespace json = boost::json;

namespace {

constexpr std::pair<const char*, double> kQuantiles[] = {
    {"p50", 0.5}, {"p90", 0.9}, {"p95", 0.95}, {"p99", 0.99}, {"p999", 0.999}};

using Words = std::set<std::string, std::less<>>;

std::vector<std::string> split(std::string_view list) {
  std::vector<std::string> out;
  for (size_t at = 0; at < list.size();) {
    size_t end = std::min(list.find(',', at), list.size());
    if (end > at) out.emplace_back(list.substr(at, end - at));
    at = end + 1;
  }
  return out;
}
Words words(std::string_view list) {
  auto items = split(list);
  return {items.begin(), items.end()};
}

// An empty filter lets everything pass.
struct Filter {
  Words fields, types, ids, metrics;
  std::vector<std::pair<std::string, std::string>> attributes;
  bool detail = false;

  static bool passes(const Words& filter, std::string_view word) {
    return filter.empty() || filter.contains(word);
  }
  bool wants(const MetricEntity& entity) const {
    if (!passes(types, entity.type) || !passes(ids, entity.id)) return false;
    if (attributes.empty()) return true;
    for (const auto& [key, value] : attributes) {
      auto found = entity.attributes.find(key);
      if (found != entity.attributes.end() && found->second == value) return true;
    }
    return false;
  }
  bool wants_field(std::string_view name, bool is_detail) const {
    return fields.empty() ? detail || !is_detail : fields.contains(name);
  }
};

Result<Filter> parse_filter(const std::map<std::string, std::string>& query) {
  Filter filter;
  for (const auto& [name, value] : query) {
    if (name == "with_metric_fields") {
      filter.fields = words(value);
    } else if (name == "types") {
      filter.types = words(value);
    } else if (name == "ids") {
      filter.ids = words(value);
    } else if (name == "metrics") {
      filter.metrics = words(value);
    } else if (name == "attributes") {
      auto items = split(value);
      if (items.size() % 2 != 0) {
        return Status(Errc::kInvalidParameters,
                      "the number of attributes is odd; give them as key,value,key,value");
      }
      for (size_t i = 0; i < items.size(); i += 2)
        filter.attributes.emplace_back(items[i], items[i + 1]);
    } else if (name == "detail") {
      if (value != "true" && value != "false" && !value.empty()) {
        return Status(Errc::kInvalidParameters,
                      fmt::format("detail={} is neither true nor false", value));
      }
      filter.detail = value == "true";
    } else {
      return Status(Errc::kInvalidParameters, fmt::format("unknown field {}={}", name, value));
    }
  }
  return filter;
}

const char* kind_name(MetricEntity::Item::Kind kind) {
  switch (kind) {
    case MetricEntity::Item::Kind::kCounter:
      return "Counter";
    case MetricEntity::Item::Kind::kGauge:
      return "Gauge";
    case MetricEntity::Item::Kind::kPercentile:
      return "Percentile";
  }
  return "";
}

json::object describe(const MetricEntity::Item& item, const Filter& filter) {
  json::object metric;
  auto put = [&](std::string_view field, const auto& value, bool is_detail = false) {
    if (filter.wants_field(field, is_detail)) metric.emplace(field, value);
  };
  put("name", item.info.name);
  put("type", kind_name(item.kind), true);
  put("unit", item.info.unit, true);
  put("desc", item.info.description, true);
  if (item.kind == MetricEntity::Item::Kind::kPercentile) {
    for (auto [name, q] : kQuantiles) {
      if (filter.wants_field(name, false)) metric.emplace(name, item.histogram->quantile(q));
    }
  } else {
    put("value", item.value());
  }
  return metric;
}

}  // namespace

Result<std::string> metrics_json(const MetricRegistry& registry, const DaemonIdentity& identity,
                                 int64_t wall_us, const std::map<std::string, std::string>& query) {
  auto filter = parse_filter(query);
  if (!filter) return filter.error();
  json::array entities;
  for (const auto& entity : registry.entities()) {
    if (!filter->wants(*entity)) continue;
    json::array metrics;
    entity->for_each([&](const MetricEntity::Item& item) {
      if (!Filter::passes(filter->metrics, item.info.name)) return;
      json::object metric = describe(item, *filter);
      if (!metric.empty()) metrics.push_back(std::move(metric));
    });
    if (metrics.empty()) continue;
    json::object attributes;
    for (const auto& [key, value] : entity->attributes) attributes.emplace(key, value);
    entities.push_back({{"type", entity->type},
                        {"id", entity->id},
                        {"attributes", std::move(attributes)},
                        {"metrics", std::move(metrics)}});
  }
  json::object top{{"cluster", identity.cluster},
                   {"role", identity.role},
                   {"host", identity.host},
                   {"port", identity.port},
                   {"timestamp_ns", wall_us * 1000}};
  top.emplace("entities", std::move(entities));
  return pretty_json(top) + "\n";
}

std::string metrics_prometheus(const MetricRegistry& registry, const DaemonIdentity& identity) {
  // The format wants all samples of a name together.
  std::map<std::string, prometheus::MetricFamily> families;
  for (const auto& entity : registry.entities()) {
    std::vector<prometheus::ClientMetric::Label> labels;
    for (const auto& [key, value] : entity->attributes) labels.push_back({key, value});
    labels.push_back({"cluster", identity.cluster});
    labels.push_back({"role", identity.role});
    labels.push_back({"instance", fmt::format("{}:{}", identity.host, identity.port)});
    entity->for_each([&](const MetricEntity::Item& item) {
      bool counts = item.kind == MetricEntity::Item::Kind::kCounter;
      std::string name = "markab_" + item.info.name + (counts ? "_total" : "");
      prometheus::MetricFamily& family = families[name];
      family.name = name;
      family.help = item.info.description;
      prometheus::ClientMetric metric;
      metric.label = labels;
      if (item.kind == MetricEntity::Item::Kind::kPercentile) {
        family.type = prometheus::MetricType::Summary;
        metric.summary.sample_count = static_cast<uint64_t>(item.histogram->count());
        metric.summary.sample_sum = static_cast<double>(item.histogram->sum());
        for (auto [_, q] : kQuantiles) {
          metric.summary.quantile.push_back({q, static_cast<double>(item.histogram->quantile(q))});
        }
      } else if (counts) {
        family.type = prometheus::MetricType::Counter;
        metric.counter.value = static_cast<double>(item.value());
      } else {
        family.type = prometheus::MetricType::Gauge;
        metric.gauge.value = static_cast<double>(item.value());
      }
      family.metric.push_back(std::move(metric));
    });
  }
  std::vector<prometheus::MetricFamily> list;
  for (auto& [_, family] : families) list.push_back(std::move(family));
  return prometheus::TextSerializer().Serialize(list);
}

}  // namespace markab::rpc
