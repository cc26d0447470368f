// HTTP pages under /meta and /envs/list (03 §15, 07 §3.3). All values are strings; a follower
// points to the leader.

#include <boost/json.hpp>
#include <ctime>

#include "meta/core/env_rules.h"
#include "meta/meta_server.h"

namespace markab::meta {

namespace json = boost::json;

namespace {

using Query = std::map<std::string, std::string>;

rpc::HttpResponse page(const json::object& body) {
  rpc::HttpResponse r;
  r.body = json::serialize(body) + "\n";
  r.content_type = "application/json";
  return r;
}

rpc::HttpResponse refusal(int status, std::string why) {
  rpc::HttpResponse r;
  r.status = status;
  r.body = std::move(why);
  return r;
}

std::string time_text(int64_t seconds) {
  if (seconds <= 0) return "-";
  auto t = static_cast<std::time_t>(seconds);
  std::tm parts{};
  localtime_r(&t, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &parts);
  return std::string(text) + ".000";
}

// True when every argument is one of `known`.
bool only(const Query& query, std::initializer_list<std::string_view> known) {
  for (const auto& [name, value] : query) {
    if (std::find(known.begin(), known.end(), name) == known.end()) return false;
  }
  return true;
}

struct HealthCount {
  int healthy = 0;
  int unhealthy = 0;
  int write_unhealthy = 0;
  int read_unhealthy = 0;
};

HealthCount count_health(const MetaCore& core, const Table& table) {
  HealthCount out;
  for (const Partition& p : table.partitions) {
    Health h = core.health(table.info, p.config);
    ++(h == Health::kHealthy ? out.healthy : out.unhealthy);
    if (h == Health::kDead || h == Health::kUnreadable || h == Health::kUnwritable)
      ++out.write_unhealthy;
    if (h == Health::kDead || h == Health::kUnreadable) ++out.read_unhealthy;
  }
  return out;
}

std::string status_name(TableStatus status) {
  switch (status) {
    case TableStatus::kAvailable:
      return "AS_AVAILABLE";
    case TableStatus::kCreating:
      return "AS_CREATING";
    case TableStatus::kDropping:
      return "AS_DROPPING";
    case TableStatus::kDropped:
      return "AS_DROPPED";
    case TableStatus::kRecalling:
      return "AS_RECALLING";
    default:
      return "AS_INVALID";
  }
}

void add_app_detail(const MetaCore& core, const Table& table, json::object& out) {
  json::object replicas;
  std::map<std::string, std::pair<int, int>> nodes;
  for (const Partition& p : table.partitions) {
    std::string index = std::to_string(p.config.pid.partition_index);
    std::string secondaries;
    for (HostPort s : p.config.secondaries) {
      secondaries += (secondaries.empty() ? "" : ",") + s.to_string();
      ++nodes[s.to_string()].second;
    }
    if (p.config.primary) ++nodes[p.config.primary.to_string()].first;
    replicas[index] = json::object{{"pidx", index},
                                   {"ballot", std::to_string(p.config.ballot)},
                                   {"replica_count", fmt::format("{}/{}", p.config.member_count(),
                                                                 p.config.max_replica_count)},
                                   {"primary", p.config.primary.to_string()},
                                   {"secondaries", "[" + secondaries + "]"}};
  }
  out["replicas"] = std::move(replicas);
  json::object rows;
  int primaries = 0;
  int secondaries = 0;
  auto row = [](const std::string& name, int p, int s) {
    return json::object{{"node", name},
                        {"primary", std::to_string(p)},
                        {"secondary", std::to_string(s)},
                        {"total", std::to_string(p + s)}};
  };
  for (const auto& [name, count] : nodes) {
    rows[name] = row(name, count.first, count.second);
    primaries += count.first;
    secondaries += count.second;
  }
  rows["total"] = row("total", primaries, secondaries);
  out["nodes"] = std::move(rows);
  HealthCount h = count_health(core, table);
  out["healthy"] =
      json::object{{"fully_healthy_partition_count", std::to_string(h.healthy)},
                   {"unhealthy_partition_count", std::to_string(h.unhealthy)},
                   {"write_unhealthy_partition_count", std::to_string(h.write_unhealthy)},
                   {"read_unhealthy_partition_count", std::to_string(h.read_unhealthy)}};
}

rpc::HttpResponse app_page(const MetaCore& core, const Query& query) {
  if (!only(query, {"name", "detail"})) return refusal(400, "the arguments are name and detail");
  auto name = query.find("name");
  if (name == query.end() || name->second.empty())
    return refusal(400, "app name shouldn't be empty");
  const Table* table = core.find_table(name->second);
  if (table == nullptr) return refusal(404, fmt::format("table not found: \"{}\"", name->second));
  json::object out;
  out["general"] =
      json::object{{"app_name", table->info.name},
                   {"app_id", std::to_string(table->info.id)},
                   {"partition_count", std::to_string(table->info.partition_count)},
                   {"max_replica_count", std::to_string(table->info.max_replica_count)}};
  if (query.count("detail") != 0) add_app_detail(core, *table, out);
  return page(out);
}

rpc::HttpResponse apps_page(const MetaCore& core, const Query& query) {
  if (!only(query, {"detail"})) return refusal(400, "the only argument is detail");
  bool detail = query.count("detail") != 0;
  json::object general;
  json::object healthy;
  int total = 0;
  HealthCount apps;
  for (const auto& [id, table] : core.tables()) {
    const TableInfo& i = table.info;
    if (i.status != TableStatus::kAvailable) continue;
    ++total;
    std::string key = std::to_string(id);
    general[key] = json::object{{"app_id", key},
                                {"status", status_name(i.status)},
                                {"app_name", i.name},
                                {"app_type", i.type},
                                {"partition_count", std::to_string(i.partition_count)},
                                {"replica_count", std::to_string(i.max_replica_count)},
                                {"is_stateful", i.stateful ? "true" : "false"},
                                {"create_time", time_text(i.create_second)},
                                {"drop_time", time_text(i.drop_second)},
                                {"drop_expire", time_text(i.expire_second)},
                                {"envs_count", std::to_string(i.envs.size())}};
    HealthCount h = count_health(core, table);
    ++(h.unhealthy == 0 ? apps.healthy : apps.unhealthy);
    apps.write_unhealthy += h.write_unhealthy > 0 ? 1 : 0;
    apps.read_unhealthy += h.read_unhealthy > 0 ? 1 : 0;
    healthy[key] = json::object{{"app_id", key},
                                {"app_name", i.name},
                                {"partition_count", std::to_string(i.partition_count)},
                                {"fully_healthy", std::to_string(h.healthy)},
                                {"unhealthy", std::to_string(h.unhealthy)},
                                {"write_unhealthy", std::to_string(h.write_unhealthy)},
                                {"read_unhealthy", std::to_string(h.read_unhealthy)}};
  }
  json::object out;
  out["general_info"] = std::move(general);
  json::object summary{{"total_app_count", std::to_string(total)}};
  if (detail) {
    out["healthy_info"] = std::move(healthy);
    summary["fully_healthy_app_count"] = std::to_string(apps.healthy);
    summary["unhealthy_app_count"] = std::to_string(apps.unhealthy);
    summary["write_unhealthy_app_count"] = std::to_string(apps.write_unhealthy);
    summary["read_unhealthy_app_count"] = std::to_string(apps.read_unhealthy);
  }
  out["summary"] = std::move(summary);
  return page(out);
}

rpc::HttpResponse nodes_page(const MetaCore& core, const Query& query) {
  if (!only(query, {"detail"})) return refusal(400, "the only argument is detail");
  json::object details;
  for (const auto& [address, node] : core.nodes()) {
    std::string name = address.to_string();
    json::object row{{"address", name}, {"status", node.alive ? "ALIVE" : "UNALIVE"}};
    if (query.count("detail") != 0) {
      row["replica_count"] = std::to_string(node.total.replicas);
      row["primary_count"] = std::to_string(node.total.primaries);
      row["secondary_count"] = std::to_string(node.total.replicas - node.total.primaries);
    }
    details[name] = std::move(row);
  }
  int alive = core.alive_nodes();
  int total = static_cast<int>(core.nodes().size());
  json::object out;
  out["details"] = std::move(details);
  out["summary"] = json::object{{"total_node_count", std::to_string(total)},
                                {"alive_node_count", std::to_string(alive)},
                                {"unalive_node_count", std::to_string(total - alive)}};
  return page(out);
}

rpc::HttpResponse envs_page(const MetaCore& core, const Query& query) {
  auto name = query.find("name");
  if (name == query.end() || name->second.empty())
    return refusal(400, "app name shouldn't be empty");
  const Table* table = core.find_table(name->second);
  if (table == nullptr) return refusal(404, fmt::format("table not found: \"{}\"", name->second));
  json::object out;
  for (const auto& [key, value] : table->info.envs) out[key] = value;
  return page(out);
}

rpc::HttpResponse env_rules_page() {
  json::object out;
  for (const EnvRule& rule : env_rules()) {
    out[rule.key] =
        json::object{{"type", rule.type}, {"limitation", rule.limitation}, {"sample", rule.sample}};
  }
  return page(out);
}

bool is_unreserved(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
         c == '_' || c == '.' || c == '~' || c == ':';
}

std::string encoded(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (is_unreserved(c)) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

rpc::HttpResponse redirect(HostPort leader, const rpc::HttpRequest& request) {
  if (!leader) return refusal(503, "no meta server leads at the moment; try again");
  rpc::HttpResponse r;
  r.status = 307;
  r.location = fmt::format("http://{}/{}", leader, request.path);
  char separator = '?';
  for (const auto& [name, value] : request.query) {
    r.location += separator + encoded(name) + (value.empty() ? "" : "=" + encoded(value));
    separator = '&';
  }
  return r;
}

std::string text_of(const json::object& body, std::string_view name, std::string fallback = "") {
  const json::value* v = body.if_contains(name);
  if (v == nullptr) return fallback;
  if (v->is_string()) return std::string(v->get_string());
  return json::serialize(*v);
}

// The envs that a POST asks for; kInvalidParameters says what is wrong with it.
Result<SetEnvs> compaction_envs(const json::object& body) {
  auto refuse = [](std::string why) { return Status(Errc::kInvalidParameters, std::move(why)); };
  SetEnvs out{text_of(body, "app_name"), {}};
  if (out.name.empty()) return refuse("app_name should not be empty");
  std::string type = text_of(body, "type");
  if (type != "once" && type != "periodic") return refuse("type should be once or periodic");
  std::string prefix = "manual_compact." + type + ".";
  std::string level = text_of(body, "target_level", "-1");
  std::string bottommost = text_of(body, "bottommost_level_compaction", "skip");
  std::string running = text_of(body, "max_concurrent_running_count", "0");
  std::string trigger = text_of(body, "trigger_time");
  if (trigger.empty()) return refuse("trigger_time should not be empty");
  out.pairs = {{prefix + "target_level", level},
               {prefix + "bottommost_level_compaction", bottommost},
               {prefix + "trigger_time", trigger}};
  if (running != "0")
    out.pairs.emplace_back("manual_compact.max_concurrent_running_count", running);
  for (const auto& [key, value] : out.pairs) {
    if (Status s = check_env(key, value); !s.ok()) return s;
  }
  return out;
}

Result<SetEnvs> scenario_envs(const json::object& body) {
  SetEnvs out{text_of(body, "app_name"), {{"rocksdb.usage_scenario", text_of(body, "scenario")}}};
  if (out.name.empty()) return Status(Errc::kInvalidParameters, "app_name should not be empty");
  const std::string& scenario = out.pairs[0].second;
  if (scenario != "normal" && scenario != "bulk_load") {
    return Status(Errc::kInvalidParameters, "scenario should be normal or bulk_load");
  }
  return out;
}

}  // namespace

void MetaServer::register_http(rpc::HttpRouter& http) {
  using Page = std::function<void(const rpc::HttpRequest&, rpc::HttpRouter::Done)>;
  // Runs `serve_page` on the shard when this server leads and serves.
  auto add = [this, &http](const char* path, const char* help, Page serve_page) {
    http.on(path, help, [this, serve_page](rpc::HttpRequest request, rpc::HttpRouter::Done done) {
      seams_.shard.post([this, alive = alive_, serve_page, request = std::move(request),
                         done = std::move(done)]() mutable {
        if (!*alive || stopped_) return done(refusal(503, "this meta server stops"));
        if (leadership_ == nullptr) return done(redirect(standing_.leader, request));
        if (!leadership_->serving())
          return done(refusal(503, "this meta server is loading its state; try again"));
        serve_page(request, std::move(done));
      });
    });
  };
  auto show = [&](const char* path, const char* help,
                  rpc::HttpResponse (*make)(const MetaCore&, const Query&)) {
    add(path, help, [this, make](const rpc::HttpRequest& request, rpc::HttpRouter::Done done) {
      done(make(leadership_->core(), request.query));
    });
  };
  auto absent = [&](const char* path, const char* help) {
    add(path, help, [](const rpc::HttpRequest&, rpc::HttpRouter::Done done) {
      done(refusal(404, "this service is not active"));
    });
  };
  auto set = [&](const char* path, const char* help,
                 Result<SetEnvs> (*parse)(const json::object&)) {
    add(path, help, [this, parse](const rpc::HttpRequest& request, rpc::HttpRouter::Done done) {
      boost::system::error_code error;
      json::value body = json::parse(request.body, error);
      if (!request.is_post || error || !body.is_object())
        return done(refusal(400, "invalid request structure"));
      auto envs = parse(body.get_object());
      if (!envs) return done(refusal(400, envs.error().message()));
      std::string what = fmt::format("HTTP: environments of table {}", envs->name);
      uint64_t token = leadership_->await([done = std::move(done), what](const AdminReply& reply) {
        audit("", {}, what, reply.err, reply.hint);
        done(page({{"error", errc_name(reply.err)}, {"hint_message", reply.hint}}));
      });
      leadership_->event(
          [&](MetaCore& core, Moment t, Actions& out) { core.on_request(token, *envs, t, out); });
    });
  };
  show("meta/app", "name=NAME[&detail]: one table", app_page);
  show("meta/apps", "[detail]: all available tables", apps_page);
  show("meta/nodes", "[detail]: the replica servers", nodes_page);
  show("meta/app_envs", "name=NAME: the environments of a table", envs_page);
  add("meta/cluster", "the cluster", [this](const rpc::HttpRequest&, rpc::HttpRouter::Done done) {
    json::object out;
    for (const auto& [key, value] : cluster_info()) {
      if (key != "cluster_name") out[key] = value;
    }
    done(page(out));
  });
  absent("meta/backup_policy", "backup policies");
  absent("meta/app/duplication", "name=NAME: the duplications of a table");
  absent("meta/app/query_bulk_load", "name=NAME: the bulk load of a table");
  absent("meta/app/start_bulk_load", "POST: start a bulk load");
  set("meta/app/start_compaction", "POST: compact a table", compaction_envs);
  set("meta/app/usage_scenario", "POST: set the usage scenario of a table", scenario_envs);
  http.on("envs/list", "the environments that tables take",
          [](rpc::HttpRequest, rpc::HttpRouter::Done done) { done(env_rules_page()); });
}

}  // namespace markab::meta
