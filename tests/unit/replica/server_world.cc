#include "server_world.h"

#include <gtest/gtest.h>

namespace markab::replica {

using pacifica::Membership;
using rpc::TaskCode;

ServerWorld::ServerWorld(Options options) : options_(std::move(options)) {
  meta_ = std::make_unique<sim::SimRuntime>(world_, "meta", sim::SimRuntime::Options{});
  serve_meta();
  network_.up(meta_address(), *meta_, meta_dispatcher_);
  client_ = std::make_unique<sim::SimRuntime>(world_, "client", sim::SimRuntime::Options{});
  client_network_ = network_.make({0x0A000200, 1}, *client_, 0);
  nodes_.resize(static_cast<size_t>(options_.nodes));
  for (int i = 0; i < options_.nodes; ++i) {
    sim::SimFileSystem::Options files;
    files.directories = {"/a", "/b", "/c"};
    nodes_[static_cast<size_t>(i)].files =
        std::make_unique<sim::SimFileSystem>(world_.random().next(), files);
    boot(i);
  }
  world_.run_for(std::chrono::seconds(3));
}

ServerWorld::~ServerWorld() {
  for (int i = 0; i < options_.nodes; ++i) end(i);
  network_.down(meta_at_);
  held_syncs_.clear();
  meta_->kill();
  client_->kill();
  client_network_.reset();
}

void ServerWorld::boot(int i) {
  auto& node = nodes_[static_cast<size_t>(i)];
  sim::SimRuntime::Options runtime;
  runtime.shards = 2;
  node.runtime =
      std::make_unique<sim::SimRuntime>(world_, fmt::format("r{}.{}", i, ++node.boots), runtime);
  std::vector<rpc::Network*> networks;
  for (int shard = 0; shard < 2; ++shard) {
    node.networks.push_back(network_.make(address(i), *node.runtime, shard));
    networks.push_back(node.networks.back().get());
  }
  node.metrics = std::make_unique<MetricRegistry>();
  node.dispatcher = std::make_unique<rpc::Dispatcher>();
  node.http = std::make_unique<rpc::HttpRouter>();
  node.commands = std::make_unique<rpc::RemoteCommands>();
  ServerOptions options;
  options.self = address(i);
  options.cluster_name = "test";
  for (const auto& tag : options_.disks) {
    DataDir dir;
    dir.tag = tag;
    dir.path = "/" + tag;
    options.data_dirs.push_back(dir);
  }
  options.boot_id = "1";
  options.meta.metas = {meta_address(), other_meta_address()};
  options.meta.start_time_ms = node.boots;
  options_.tune(options);
  auto& files = *node.files;
  auto open = [&files](engine::EngineOptions o) -> Result<std::unique_ptr<engine::Engine>> {
    engine::MapStoreOptions store;
    store.dir = o.dir;
    auto opened = engine::MapStore::open(files, store);
    if (!opened) return opened.error();
    return engine::Engine::over(std::move(*opened), std::move(o));
  };
  node.server =
      std::make_unique<ReplicaServer>(*node.runtime, networks, files, open, options, *node.metrics);
  auto prepared = node.server->prepare_disks();
  MARKAB_ASSERT(prepared.ok(), "the simulated disk refuses", prepared);
  node.server->register_handlers(*node.dispatcher, *node.http);
  node.admin = std::make_unique<AdminService>(*node.server);
  node.admin->register_handlers(*node.dispatcher, *node.commands, *node.http);
  network_.up(address(i), *node.runtime, *node.dispatcher);
  node.server->start();
}

void ServerWorld::end(int i) {
  auto& node = nodes_[static_cast<size_t>(i)];
  if (!node.server) return;
  network_.down(address(i));
  node.runtime->kill();
  node.files->stop();
  node.server->abandon();
  node.admin.reset();
  node.server.reset();
  node.networks.clear();
  node.dispatcher.reset();
  node.http.reset();
  node.commands.reset();
  node.metrics.reset();
  node.runtime.reset();
}

void ServerWorld::kill(int i) {
  end(i);
  files(i).boot();
}

void ServerWorld::crash(int i) {
  end(i);
  files(i).boot();
  files(i).crash();
  files(i).boot();
}

wire::configuration_update_request ServerWorld::entry(Gpid gpid) {
  const auto& m = memberships_.at(gpid);
  wire::configuration_update_request out;
  out.info.status = wire::app_status::AS_AVAILABLE;
  out.info.app_type = "pegasus";
  out.info.app_name = fmt::format("table{}", gpid.app_id);
  out.info.app_id = gpid.app_id;
  out.info.partition_count = 1;
  out.info.max_replica_count = m.max_replica_count;
  out.info.is_stateful = true;
  out.info.envs["note"] = std::string(1000, 'e');
  out.config.pid = gpid;
  out.config.ballot = m.ballot;
  out.config.max_replica_count = m.max_replica_count;
  out.config.primary = m.primary;
  for (auto node : m.secondaries) out.config.secondaries.emplace_back(node);
  return out;
}

void ServerWorld::serve_meta() {
  meta_dispatcher_.on(TaskCode::kFdPing, [this](rpc::Request r) {
    wire::beacon_ack ack;
    ack.this_node = ack.primary_node = meta_at_;
    ack.is_master = ack.allowed = true;
    if (leadership_ != 0) ack.__set_leadership(leadership_);
    r.reply(rpc::encode_result(ack));
  });
  meta_dispatcher_.on(TaskCode::kConfigSync, [this](rpc::Request r) {
    ++syncs_;
    if (hold_syncs_) return held_syncs_.push_back(std::move(r));
    answer_sync(std::move(r));
  });
  meta_dispatcher_.on(TaskCode::kUpdatePartitionConfiguration, [this](rpc::Request r) {
    wire::configuration_update_request asked;
    MARKAB_ASSERT(rpc::decode_args(r.args, asked).ok(), "a change that does not parse");
    Gpid gpid = asked.config.pid;
    auto& m = memberships_.at(gpid);
    wire::configuration_update_response response;
    if (asked.config.ballot == m.ballot + 1) {
      m.ballot = asked.config.ballot;
      m.primary = asked.config.primary;
      m.secondaries.clear();
      for (const auto& node : asked.config.secondaries) m.secondaries.push_back(node);
    } else {
      response.err = Errc::kInvalidVersion;
    }
    response.config = entry(gpid).config;
    r.reply(rpc::encode_result(response));
  });
  meta_dispatcher_.on(TaskCode::kReportDeath, [](rpc::Request r) {
    r.reply(rpc::encode_result(wire::report_death_response()));
  });
}

const wire::replica_info* ServerWorld::reported(int i, Gpid gpid) const {
  auto found = reports_.find(address(i));
  if (found == reports_.end()) return nullptr;
  for (const auto& info : found->second) {
    if (Gpid(info.pid) == gpid) return &info;
  }
  return nullptr;
}

void ServerWorld::answer_sync(rpc::Request request) {
  wire::configuration_query_by_node_request asked;
  MARKAB_ASSERT(rpc::decode_args(request.args, asked).ok(), "a config sync that does not parse");
  reports_[asked.node.node] = asked.stored_replicas;
  wire::configuration_query_by_node_response response;
  for (const auto& [gpid, m] : memberships_) {
    bool named = m.primary == asked.node.node ||
                 std::find(m.secondaries.begin(), m.secondaries.end(), asked.node.node) !=
                     m.secondaries.end();
    if (named) response.partitions.push_back(entry(gpid));
  }
  request.reply(rpc::encode_result(response));
}

void ServerWorld::release_syncs() {
  hold_syncs_ = false;
  meta_->shard(0).post([this] {
    for (auto& request : std::exchange(held_syncs_, {})) answer_sync(std::move(request));
  });
}

void ServerWorld::lead_elsewhere() {
  network_.down(meta_at_);
  meta_at_ = meta_at_ == meta_address() ? other_meta_address() : meta_address();
  network_.up(meta_at_, *meta_, meta_dispatcher_);
}

rpc::Reply ServerWorld::call(HostPort to, TaskCode code, Gpid gpid, const std::string& args) {
  auto reply = std::make_shared<std::optional<rpc::Reply>>();
  client_->shard(0).post([this, to, code, gpid, args, reply] {
    rpc::CallOptions options;
    options.gpid = gpid;
    client_network_->call(to, code, options, args,
                          [reply](rpc::Reply r) { reply->emplace(std::move(r)); });
  });
  world_.run_until([&] { return reply->has_value(); }, std::chrono::seconds(20));
  MARKAB_ASSERT(reply->has_value(), "a call has no end");
  return std::move(**reply);
}

Gpid ServerWorld::create(int app, std::vector<int> members) {
  Gpid gpid{app, 0};
  auto& m = memberships_[gpid];
  m.ballot = 1;
  m.max_replica_count = 3;
  m.primary = address(members.front());
  for (size_t i = 1; i < members.size(); ++i) m.secondaries.push_back(address(members[i]));
  for (int node : members) {
    propose(node, gpid,
            node == members.front() ? wire::config_type::CT_ASSIGN_PRIMARY
                                    : wire::config_type::CT_ADD_SECONDARY,
            node);
  }
  EXPECT_TRUE(until([&] { return role(members.front(), gpid) == pacifica::Role::kPrimary; }));
  return gpid;
}

void ServerWorld::propose(int to, Gpid gpid, wire::config_type::type type, int node) {
  auto told = entry(gpid);
  told.type = type;
  told.node = address(node);
  auto reply = call(address(to), TaskCode::kConfigProposal, {}, rpc::encode_args(told));
  EXPECT_TRUE(reply.status.ok()) << reply.status.message();
}

bool ServerWorld::is_member(Gpid gpid, int node) {
  const auto& m = memberships_.at(gpid);
  return m.primary == address(node) || std::find(m.secondaries.begin(), m.secondaries.end(),
                                                 address(node)) != m.secondaries.end();
}

std::shared_ptr<Replica> ServerWorld::replica(int i, Gpid gpid) {
  if (!nodes_[static_cast<size_t>(i)].server) return nullptr;
  for (auto& replica : server(i).replicas()) {
    if (replica->gpid() == gpid) return replica;
  }
  return nullptr;
}

pacifica::Role ServerWorld::role(int i, Gpid gpid) {
  auto found = replica(i, gpid);
  return found ? found->role() : pacifica::Role::kError;
}

Errc ServerWorld::put(int to, Gpid gpid, const std::string& key, const std::string& value) {
  wire::update_request request;
  std::string raw = {static_cast<char>(key.size() >> 8), static_cast<char>(key.size() & 0xff)};
  raw += key;
  request.key.view = raw;
  request.value.view = value;
  return call(address(to), TaskCode::kPut, gpid, rpc::encode_args(request)).status.code();
}

std::map<std::string, std::string> ServerWorld::rows(int i, Gpid gpid) {
  std::map<std::string, std::string> out;
  auto found = replica(i, gpid);
  if (!found) return out;
  auto engine = found->hold_engine();
  auto all = engine->store().iterate({}, nullptr, nullptr, false);
  for (all->SeekToFirst(); all->Valid(); all->Next())
    out[all->key().ToString()] = all->value().ToString();
  return out;
}

}  // namespace markab::replica
