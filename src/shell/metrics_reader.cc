#include "shell/metrics_reader.h"

#include <boost/json.hpp>
#include <charconv>

namespace markab::shell {

namespace json = boost::json;

namespace {

using Values = std::map<std::string, double, std::less<>>;

double find(const Values& values, std::string_view name) {
  auto found = values.find(name);
  return found == values.end() ? 0 : found->second;
}

int32_t number_attribute(const json::object& attributes, std::string_view name, int32_t otherwise) {
  const auto* value = attributes.if_contains(name);
  const auto* text = value == nullptr ? nullptr : value->if_string();
  if (text == nullptr) return otherwise;
  int32_t number = otherwise;
  std::from_chars(text->data(), text->data() + text->size(), number);
  return number;
}

Outcome<json::object> parse_snapshot(std::string_view node, std::string_view text) {
  json::error_code bad;
  json::value parsed = json::parse(text, bad);
  const auto* object = bad ? nullptr : parsed.if_object();
  const auto* entities = object == nullptr ? nullptr : object->if_contains("entities");
  const auto* time = object == nullptr ? nullptr : object->if_contains("timestamp_ns");
  if (entities == nullptr || !entities->is_array() || time == nullptr || !time->is_int64()) {
    return Error{ErrorCode::kCorruption,
                 fmt::format("{} answered `metrics` with \"{}\"; is it of another version?", node,
                             text.substr(0, 100))};
  }
  return *object;
}

std::string text_of(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  const auto* text = value == nullptr ? nullptr : value->if_string();
  return text == nullptr ? "" : std::string(*text);
}

Values values_of(const json::object& entity) {
  Values out;
  const auto* metrics = entity.if_contains("metrics");
  if (metrics == nullptr || !metrics->is_array()) return out;
  for (const auto& item : metrics->get_array()) {
    const auto* metric = item.if_object();
    if (metric == nullptr) continue;
    const auto* value = metric->if_contains("value");
    if (value == nullptr) value = metric->if_contains("p99");
    if (value != nullptr && value->is_number())
      out[text_of(*metric, "name")] = value->to_number<double>();
  }
  return out;
}

// Unlike any other entity's.
std::string name_of(const json::object& entity) {
  return text_of(entity, "type") + " " + text_of(entity, "id");
}

std::map<std::string, Values> values_by_entity(const json::object& snapshot) {
  std::map<std::string, Values> out;
  for (const auto& item : snapshot.at("entities").get_array()) {
    const auto* entity = item.if_object();
    if (entity != nullptr) out[name_of(*entity)] = values_of(*entity);
  }
  return out;
}

}  // namespace

double EntityMetrics::value(std::string_view name) const { return find(values, name); }
double EntityMetrics::rate(std::string_view name) const { return find(rates, name); }

double NodeMetrics::sum(std::string_view type, std::string_view metric) const {
  double total = 0;
  for (const auto& entity : entities) {
    if (entity.type == type) total += entity.value(metric);
  }
  return total;
}

double NodeMetrics::sum_of_rates(std::string_view type, std::string_view metric) const {
  double total = 0;
  for (const auto& entity : entities) {
    if (entity.type == type) total += entity.rate(metric);
  }
  return total;
}

Outcome<NodeMetrics> read_metrics(std::string_view node, std::string_view first,
                                  std::string_view second) {
  auto before = parse_snapshot(node, first);
  if (!before) return before.error();
  auto after = parse_snapshot(node, second);
  if (!after) return after.error();
  const double elapsed_ns = after->at("timestamp_ns").to_number<double>() -
                            before->at("timestamp_ns").to_number<double>();
  const auto old_values = values_by_entity(*before);
  NodeMetrics out;
  out.node = node;
  out.role = text_of(*after, "role");
  for (const auto& item : after->at("entities").get_array()) {
    const auto* object = item.if_object();
    if (object == nullptr) continue;
    EntityMetrics entity;
    entity.type = text_of(*object, "type");
    entity.id = text_of(*object, "id");
    if (const auto* attributes = object->if_contains("attributes");
        attributes != nullptr && attributes->is_object()) {
      entity.table_id = number_attribute(attributes->get_object(), "table_id", 0);
      entity.partition = number_attribute(attributes->get_object(), "partition_id", -1);
    }
    entity.values = values_of(*object);
    if (auto old = old_values.find(name_of(*object)); old != old_values.end() && elapsed_ns > 0) {
      for (const auto& [name, value] : entity.values) {
        double grown = value - find(old->second, name);
        entity.rates[name] = grown > 0 ? grown * 1e9 / elapsed_ns : 0;
      }
    }
    out.entities.push_back(std::move(entity));
  }
  return out;
}

Outcome<std::vector<NodeMetrics>> watch_metrics(Session& session,
                                                const std::vector<MetricsQuery>& queries,
                                                Timeout interval) {
  auto ask = [&]() -> Outcome<std::vector<std::string>> {
    std::vector<std::string> answers;
    for (const auto& query : queries) {
      std::vector<std::string> arguments{"with_metric_fields=name,value,p99"};
      if (!query.types.empty()) arguments.push_back("types=" + query.types);
      if (!query.metrics.empty()) arguments.push_back("metrics=" + query.metrics);
      auto answer =
          session.admin().remote_command(query.node, "metrics", arguments, session.timeout);
      if (!answer) return answer.error();
      answers.push_back(std::move(*answer));
    }
    return answers;
  };
  auto first = ask();
  if (!first) return first.error();
  session.pause(interval);
  auto second = ask();
  if (!second) return second.error();
  std::vector<NodeMetrics> out;
  for (size_t i = 0; i < queries.size(); ++i) {
    auto metrics = read_metrics(queries[i].node, (*first)[i], (*second)[i]);
    if (!metrics) return metrics.error();
    out.push_back(std::move(*metrics));
  }
  return out;
}

}  // namespace markab::shell
