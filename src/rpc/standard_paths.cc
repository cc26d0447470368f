// The HTTP paths that every daemon answers (spec 07 §3.2).
#include <boost/json.hpp>
#include <ctime>

#include "rpc/http.h"
#include "rpc/metrics_text.h"

#ifndef MARKAB_VERSION
#error "the build says which version this is"
#endif

namespace markab::rpc {

namespace json = boost::json;

namespace {

HttpResponse text(std::string body, int status = 200) {
  HttpResponse response;
  response.status = status;
  response.body = std::move(body);
  return response;
}

HttpResponse json_text(const json::value& value) { return text(json::serialize(value) + "\n"); }

// The type names that Pegasus' tools know.
const char* type_name(const ConfigKey& key) {
  switch (key.type) {
    case ConfigKey::Type::kBool:
      return "FV_BOOL";
    case ConfigKey::Type::kInt:
      return "FV_INT64";
    case ConfigKey::Type::kDouble:
      return "FV_DOUBLE";
    case ConfigKey::Type::kString:
      return "FV_STRING";
  }
  return "";
}

json::object describe(const Config::Entry& entry) {
  return {{"name", entry.key.name},
          {"section", entry.key.section},
          {"type", type_name(entry.key)},
          {"tags", entry.key.is_mutable ? "flag_tag::FT_MUTABLE" : ""},
          {"description", entry.key.description},
          {"value", entry.value}};
}

HttpResponse show_configs(const Config& config, const HttpRequest& request) {
  if (!request.query.empty()) return text("there shouldn't be any arguments", 400);
  json::object all;
  for (const auto& entry : config.entries()) all.emplace(entry.key.name, describe(entry));
  return json_text(all);
}

HttpResponse show_config(const Config& config, const HttpRequest& request) {
  auto name = request.query.find("name");
  if (name == request.query.end() || name->second.empty())
    return text("name shouldn't be empty", 400);
  for (const auto& entry : config.entries()) {
    if (entry.key.name == name->second) return json_text(describe(entry));
  }
  return text(fmt::format("ERR_OBJECT_NOT_FOUND: '{}' is not found", name->second));
}

HttpResponse update_config(Config& config, const HttpRequest& request) {
  Status status;
  if (request.query.size() != 1) {
    status = Status(Errc::kInvalidParameters, "give exactly one key=value");
  } else {
    const auto& [name, value] = *request.query.begin();
    status = config.set(name, value);
  }
  return json_text({{"update_status", status.to_string()}});
}

HttpResponse show_metrics(const MetricRegistry& registry, const DaemonIdentity& identity,
                          int64_t wall_us, const HttpRequest& request) {
  auto error = [](std::string_view why) {
    HttpResponse response = json_text({{"error_message", why}});
    response.status = 400;
    return response;
  };
  if (request.is_post) return error("please use 'GET' method while querying for metrics");
  auto body = metrics_json(registry, identity, wall_us, request.query);
  return body ? text(std::move(*body)) : error(body.error().message());
}

// "2024-02-29 13:05:00", local time.
std::string local_time(int64_t wall_us) {
  std::time_t seconds = wall_us / 1000000;
  std::tm parts{};
  localtime_r(&seconds, &parts);
  char out[32];
  std::strftime(out, sizeof out, "%Y-%m-%d %H:%M:%S", &parts);
  return out;
}

}  // namespace

void add_standard_paths(HttpRouter& router, DaemonIdentity identity, Config& config,
                        const MetricRegistry& registry, Function<int64_t()> wall_us) {
  std::string started = local_time(wall_us());
  router.on("", "Lists all supported paths", [&router](HttpRequest, HttpRouter::Done done) {
    json::object all;
    for (const auto& [path, help] : router.help()) all.emplace(path, help);
    done(json_text(all));
  });
  router.on("version", "Gets the server version", [](HttpRequest, HttpRouter::Done done) {
    done(json_text({{"Version", MARKAB_VERSION}, {"GitCommit", MARKAB_GIT_COMMIT}}));
  });
  router.on("recentStartTime", "Gets the server start time",
            [started](HttpRequest, HttpRouter::Done done) {
              done(json_text({{"RecentStartTime", started}}));
            });
  router.on("configs", "Gets all configuration keys with their values",
            [&config](HttpRequest request, HttpRouter::Done done) {
              done(show_configs(config, request));
            });
  router.on("config", "Gets one configuration key: ?name=<key>",
            [&config](HttpRequest request, HttpRouter::Done done) {
              done(show_config(config, request));
            });
  router.on("updateConfig",
            "Changes a mutable configuration key until the next start: ?<key>=<value>",
            [&config](HttpRequest request, HttpRouter::Done done) {
              done(update_config(config, request));
            });
  router.on("metrics",
            "Gets the metrics as JSON; filters: with_metric_fields, types, ids, attributes, "
            "metrics, detail",
            [&registry, identity, wall_us = std::move(wall_us)](HttpRequest request,
                                                                HttpRouter::Done done) {
              done(show_metrics(registry, identity, wall_us(), request));
            });
  router.on("metrics/prometheus", "Gets the metrics in Prometheus' text format",
            [&registry, identity](HttpRequest, HttpRouter::Done done) {
              HttpResponse response = text(metrics_prometheus(registry, identity));
              response.content_type = "text/plain; version=0.0.4; charset=utf-8";
              done(std::move(response));
            });
}

}  // namespace markab::rpc
