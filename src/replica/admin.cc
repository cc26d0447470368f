#include "replica/admin.h"

#include <boost/json.hpp>
#include <charconv>
#include <set>

#include "base/log.h"
#include "idl/replica_admin_types.h"
#include "rpc/codec.h"

namespace markab::replica {

namespace json = boost::json;
using pacifica::Role;
using rpc::TaskCode;

namespace {

// "1" (a table) or "1.3" (a partition), comma-separated in each argument. False: a bad one.
struct Selection {
  std::set<int32_t> apps;
  std::set<Gpid> partitions;
  bool all() const { return apps.empty() && partitions.empty(); }
  bool has(Gpid gpid) const {
    return all() || apps.contains(gpid.app_id) || partitions.contains(gpid);
  }
};

bool parse_selection(const rpc::RemoteCommands::Arguments& arguments, Selection& out) {
  for (const auto& argument : arguments) {
    std::string_view rest = argument;
    while (!rest.empty()) {
      auto comma = rest.find(',');
      auto item = rest.substr(0, comma);
      rest = comma == std::string_view::npos ? std::string_view() : rest.substr(comma + 1);
      if (item.empty()) continue;
      if (auto gpid = Gpid::parse(item)) {
        out.partitions.insert(*gpid);
        continue;
      }
      int32_t app = 0;
      auto [end, error] = std::from_chars(item.data(), item.data() + item.size(), app);
      if (error != std::errc() || end != item.data() + item.size() || app <= 0) return false;
      out.apps.insert(app);
    }
  }
  return true;
}

std::string progress_text(Replica& replica) {
  return json::serialize(json::object{{"max_prepared_decree", replica.last_prepared()},
                                      {"max_plog_decree", replica.last_logged()},
                                      {"max_plog_decree_on_disk", replica.last_logged()},
                                      {"max_plog_commit_on_disk", replica.last_committed()},
                                      {"last_committed_decree", replica.last_committed()},
                                      {"last_applied_decree", replica.last_applied()},
                                      {"last_flushed_decree", replica.last_durable()},
                                      {"last_durable_decree", replica.last_durable()},
                                      {"max_gc_decree", replica.trimmed()},
                                      {"duplications", json::array()}});
}

std::string envs_text(Replica& replica) {
  std::string out;
  for (const auto& [key, value] : replica.table().envs)
    out += fmt::format("{}{}={}", out.empty() ? "" : ",", key, value);
  return out;
}

}  // namespace

void AdminService::for_replicas(const rpc::RemoteCommands::Arguments& ids, PerReplica text,
                                rpc::RemoteCommands::Answer answer) {
  Selection selection;
  if (!parse_selection(ids, selection)) {
    answer("invalid arguments: expected <app_id> or <app_id>.<index>, separated by commas");
    return;
  }
  struct Round {
    std::vector<std::shared_ptr<Replica>> replicas;
    std::map<Gpid, std::string> lines;
    std::set<Gpid> missing;
    PerReplica text;
    rpc::RemoteCommands::Answer answer;
    std::string self;
  };
  auto round = std::make_shared<Round>();
  round->text = std::move(text);
  round->answer = std::move(answer);
  round->missing = selection.partitions;
  round->self = server_.self_text();
  auto& runtime = server_.runtime();
  auto visit = std::make_shared<std::function<void(size_t)>>();
  *visit = [round, visit, &runtime](size_t i) {
    if (i < round->replicas.size()) {
      round->replicas[i]->shard().post([round, visit, i] {
        auto& replica = *round->replicas[i];
        auto role = replica.role();
        if (role == Role::kPrimary || role == Role::kSecondary) {
          round->missing.erase(replica.gpid());
          round->lines[replica.gpid()] =
              fmt::format("{}@{}@{} : {}", replica.gpid(), round->self,
                          role == Role::kPrimary ? "P" : "S", round->text(replica));
        }
        (*visit)(i + 1);
      });
      return;
    }
    for (auto gpid : round->missing)
      round->lines[gpid] = fmt::format("{}@{} : not found", gpid, round->self);
    std::string out =
        fmt::format("{} processed, {} not found", round->lines.size() - round->missing.size(),
                    round->missing.size());
    for (const auto& [gpid, line] : round->lines) out += "\n    " + line;
    round->replicas.clear();
    round->answer(std::move(out));
    runtime.shard(0).post([visit] { *visit = nullptr; });
  };
  runtime.shard(0).post([this, round, visit, selection] {
    for (auto& replica : server_.replicas()) {
      if (selection.has(replica->gpid())) round->replicas.push_back(replica);
    }
    (*visit)(0);
  });
}

void AdminService::register_handlers(rpc::Dispatcher& dispatcher, rpc::RemoteCommands& commands,
                                     rpc::HttpRouter& http) {
  using Arguments = rpc::RemoteCommands::Arguments;
  using Answer = rpc::RemoteCommands::Answer;
  dispatcher.on(TaskCode::kQueryDiskInfo,
                [this](rpc::Request r) { query_disk_info(std::move(r)); });
  dispatcher.on(TaskCode::kReplicaDiskMigrate,
                [this](rpc::Request r) { migrate_replica(std::move(r)); });
  dispatcher.on(TaskCode::kAddNewDisk, [this](rpc::Request r) { add_disk(std::move(r)); });
  dispatcher.on(TaskCode::kQueryAppInfo, [this](rpc::Request r) { query_app_info(std::move(r)); });
  dispatcher.on(TaskCode::kQueryReplicaInfo,
                [this](rpc::Request r) { query_replica_info(std::move(r)); });

  commands.on("replica.query-progress", "Decrees of replicas", "[id...]",
              [this](const Arguments& a, Answer answer) {
                for_replicas(a, progress_text, std::move(answer));
              });
  commands.on(
      "replica.query-app-envs", "Table environments that replicas know", "[id...]",
      [this](const Arguments& a, Answer answer) { for_replicas(a, envs_text, std::move(answer)); });
  commands.on("replica.query-compact", "Manual compaction of replicas", "[id...]",
              [this](const Arguments& a, Answer answer) {
                for_replicas(
                    a, [](Replica& replica) { return replica.compaction().describe(); },
                    std::move(answer));
              });
  commands.on("replica.trigger-checkpoint", "Makes what is applied durable", "[id...]",
              [this](const Arguments& a, Answer answer) {
                for_replicas(
                    a,
                    [](Replica& replica) {
                      replica.flush_store();
                      return std::string("triggered");
                    },
                    std::move(answer));
              });

  auto rate = [&](const char* name, const char* what, RateLimit& limit) {
    commands.on(name, what, "[MB/s|DEFAULT]",
                [this, &limit](const Arguments& a, Answer answer) { set_rate(limit, a, answer); });
  };
  rate("nfs.max_copy_rate_megabytes_per_disk", "Bandwidth of checkpoints copied to this node",
       server_.copies().receive);
  rate("nfs.max_send_rate_megabytes_per_disk", "Bandwidth of checkpoints copied from this node",
       server_.copies().send);

  http.on("replica/data_version", "Data version of a table's replicas here; app_id=N",
          [this](rpc::HttpRequest request, rpc::HttpRouter::Done done) {
            auto given = request.query.find("app_id");
            int32_t app = 0;
            bool good = given != request.query.end() &&
                        std::from_chars(given->second.data(),
                                        given->second.data() + given->second.size(), app)
                                .ec == std::errc();
            if (!good) {
              rpc::HttpResponse bad;
              bad.status = 400;
              bad.body = "app_id should be an integer\n";
              done(std::move(bad));
              return;
            }
            auto held = std::make_shared<rpc::HttpRouter::Done>(std::move(done));
            server_.runtime().shard(0).post([this, app, held] {
              json::object out;
              for (const auto& replica : server_.replicas()) {
                if (replica->gpid().app_id != app) continue;
                out[std::to_string(replica->gpid().partition_index)] =
                    json::object{{"data_version", "1"}};
              }
              rpc::HttpResponse response;
              response.body = json::serialize(out) + "\n";
              response.content_type = "application/json";
              (*held)(std::move(response));
            });
          });
}

// The form of spec 04 §6: no argument asks, DEFAULT resets, a number sets; 0 is no limit.
void AdminService::set_rate(RateLimit& limit, const rpc::RemoteCommands::Arguments& arguments,
                            const rpc::RemoteCommands::Answer& answer) {
  auto said = [&](const std::string& error) {
    answer(json::serialize(json::object{{"error", error}}) + "\n");
  };
  if (arguments.empty()) {
    answer(json::serialize(json::object{
               {"megabytes_per_second", std::to_string(limit.rate() >> 20)}, {"error", "ok"}}) +
           "\n");
    return;
  }
  if (arguments.size() > 1) return said("ERR: expected one argument");
  const auto& text = arguments.front();
  if (text == "DEFAULT") {
    limit.set_rate(server_.options().copy_bytes_per_second);
    return said("ok");
  }
  uint64_t megabytes = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), megabytes);
  if (error != std::errc() || end != text.data() + text.size() || megabytes > 1000000)
    return said("ERR: expected a number of MB per second from 0 (no limit) to 1000000");
  limit.set_rate(megabytes << 20);
  said("ok");
}

void AdminService::query_disk_info(rpc::Request request) {
  auto asked = std::make_shared<wire::query_disk_info_request>();
  if (!rpc::decode_args(request.args, *asked).ok()) {
    request.reply_error(Errc::kInvalidData);
    return;
  }
  auto held = std::make_shared<rpc::Request>(std::move(request));
  server_.runtime().shard(0).post([this, held, asked] {
    struct Round {
      wire::query_disk_info_response response;
      std::vector<std::shared_ptr<Replica>> replicas;
    };
    auto round = std::make_shared<Round>();
    round->replicas = server_.replicas();
    for (size_t i = 0; i < server_.disks().size(); ++i) {
      const auto& known = server_.disks().at(i);
      wire::disk_info disk;
      disk.tag = known.dir.tag;
      disk.full_dir = known.dir.replicas();
      // admin-cli divides by the capacity: it is never 0 (spec 04 §4.4).
      disk.disk_capacity_mb =
          std::max<int64_t>(1, static_cast<int64_t>(known.space.capacity_bytes >> 20));
      disk.disk_available_mb = static_cast<int64_t>(known.space.available_bytes >> 20);
      if (known.status() != DiskStatus::kIoError) {
        round->response.total_capacity_mb += disk.disk_capacity_mb;
        round->response.total_available_mb += disk.disk_available_mb;
      }
      round->response.disk_infos.push_back(std::move(disk));
    }
    for (const auto& replica : round->replicas) {
      if (!asked->app_name.empty() && replica->table_now().app_name != asked->app_name) continue;
      for (auto& disk : round->response.disk_infos) {
        if (disk.tag != replica->disk_tag()) continue;
        auto gpid = replica->gpid();
        bool primary = replica->metrics().role.value() == static_cast<int64_t>(Role::kPrimary);
        bool secondary = replica->metrics().role.value() == static_cast<int64_t>(Role::kSecondary);
        if (primary) disk.holding_primary_replicas[gpid.app_id].insert(gpid);
        if (secondary) disk.holding_secondary_replicas[gpid.app_id].insert(gpid);
      }
    }
    held->reply(rpc::encode_result(round->response));
  });
}

void AdminService::migrate_replica(rpc::Request request) {
  wire::replica_disk_migrate_request asked;
  if (!rpc::decode_args(request.args, asked).ok()) {
    request.reply_error(Errc::kInvalidData);
    return;
  }
  auto held = std::make_shared<rpc::Request>(std::move(request));
  server_.runtime().shard(0).post([this, held, asked] {
    server_.migrate(asked.pid, asked.origin_disk, asked.target_disk, [held](const Status& status) {
      wire::replica_disk_migrate_response response;
      response.err = status.code();
      if (!status.message().empty()) response.__set_hint(status.message());
      held->reply(rpc::encode_result(response));
    });
  });
}

void AdminService::add_disk(rpc::Request request) {
  wire::add_new_disk_request asked;
  if (!rpc::decode_args(request.args, asked).ok()) {
    request.reply_error(Errc::kInvalidData);
    return;
  }
  auto held = std::make_shared<rpc::Request>(std::move(request));
  server_.runtime().shard(0).post([this, held, asked] {
    server_.add_disks(asked.disk_str, [held](const Status& status) {
      wire::add_new_disk_response response;
      response.err = status.code();
      if (!status.ok()) response.__set_err_hint(status.message());
      held->reply(rpc::encode_result(response));
    });
  });
}

void AdminService::query_app_info(rpc::Request request) {
  auto held = std::make_shared<rpc::Request>(std::move(request));
  server_.runtime().shard(0).post([this, held] {
    wire::query_app_info_response response;
    std::set<int32_t> seen;
    for (const auto& replica : server_.replicas()) {
      if (!seen.insert(replica->gpid().app_id).second) continue;
      response.apps.push_back(server_.app_info_of(*replica));
    }
    held->reply(rpc::encode_result(response));
  });
}

void AdminService::query_replica_info(rpc::Request request) {
  auto held = std::make_shared<rpc::Request>(std::move(request));
  server_.runtime().shard(0).post([this, held] {
    server_.collect_replicas([held](std::vector<wire::replica_info> infos) {
      wire::query_replica_info_response response;
      response.replicas = std::move(infos);
      held->reply(rpc::encode_result(response));
    });
  });
}

}  // namespace markab::replica
