#include "sim_cluster.h"

#include "base/assert.h"
#include "engine/map_store.h"
#include "idl/markab_types.h"
#include "idl/meta_admin_types.h"
#include "meta/zookeeper_election.h"
#include "meta/zookeeper_store.h"
#include "rpc/codec.h"

namespace markab::sim {

using pacifica::Role;

constexpr const char* kClusterRoot = "/markab";

SimCluster::SimCluster(uint64_t seed, const ClusterOptions& options)
    : options_(options), world_(seed), network_(world_), coordinator_(world_, network_) {
  if (options.zookeeper) {
    zookeeper_ = std::make_unique<SimZooKeeper>(world_, SimZooKeeper::Options{});
    state_watch_ = std::make_unique<StateWatch>(*zookeeper_, watch_, kClusterRoot);
  }
  metas_.resize(static_cast<size_t>(options.metas));
  for (int i = 0; i < options.metas; ++i) boot_meta(i);
  nodes_.resize(static_cast<size_t>(options.replicas));
  for (int i = 0; i < options.replicas; ++i) {
    SimFileSystem::Options files;
    files.directories = {"/data"};
    nodes_[static_cast<size_t>(i)].files =
        std::make_unique<SimFileSystem>(world_.random().next(), files);
    boot(i);
  }
  clients_.resize(static_cast<size_t>(options.clients));
  for (int i = 0; i < options.clients; ++i) {
    auto& client = clients_[static_cast<size_t>(i)];
    client.runtime =
        std::make_unique<SimRuntime>(world_, fmt::format("c{}", i), SimRuntime::Options{});
    client.network = network_.make(client_address(i), *client.runtime, 0);
    client::CoreOptions core;
    core.metas = meta_list();
    client.core = std::make_unique<client::Core>(client.runtime->shard(0), *client.network, core);
  }
}

SimCluster::~SimCluster() {
  for (auto& client : clients_) {
    if (client.core) client.core->stop();
    client.runtime->kill();
    client.core.reset();
    client.network.reset();
  }
  for (int i = 0; i < options_.replicas; ++i) {
    if (up(i)) end_process(i, false);
  }
  for (int i = 0; i < options_.metas; ++i) {
    if (meta_up(i)) kill_meta(i);
  }
}

std::vector<HostPort> SimCluster::meta_list() const {
  std::vector<HostPort> out;
  for (int i = 0; i < options_.metas; ++i) out.push_back(meta_address(i));
  return out;
}

std::vector<HostPort> SimCluster::addresses() const {
  auto out = meta_list();
  for (int i = 0; i < options_.replicas; ++i) out.push_back(replica_address(i));
  for (int i = 0; i < options_.clients; ++i) out.push_back(client_address(i));
  for (auto coordinator : coordinators()) out.push_back(coordinator);
  return out;
}

std::vector<HostPort> SimCluster::coordinators() const {
  if (zookeeper_ == nullptr) return {SimCoordinator::kAddress};
  std::vector<HostPort> out;
  for (int i = 0; i < zookeeper_->servers(); ++i)
    out.push_back(zookeeper_address(static_cast<size_t>(i)));
  return out;
}

// --- metas ---

void SimCluster::boot_meta(int i) {
  auto& meta = metas_[static_cast<size_t>(i)];
  MARKAB_ASSERT(meta.server == nullptr, "a meta server that runs is booted", i);
  meta.runtime = std::make_unique<SimRuntime>(world_, fmt::format("m{}.{}", i, ++meta.boots),
                                              SimRuntime::Options{});
  meta.network = network_.make(meta_address(i), *meta.runtime, 0);
  coordinate(i);
  meta.metrics = std::make_unique<MetricRegistry>();
  meta.dispatcher = std::make_unique<rpc::Dispatcher>();
  meta.http = std::make_unique<rpc::HttpRouter>();
  meta.commands = std::make_unique<rpc::RemoteCommands>();
  meta::MetaOptions options;
  options.self = meta_address(i);
  for (const auto& address : meta_list()) options.server_list.push_back(address.to_string());
  options.cluster_name = "sim";
  meta.server = meta::MetaServer::start(
      {meta.runtime->shard(0), *meta.network, *meta.store, *meta.election, *meta.metrics},
      std::move(options), *meta.dispatcher, *meta.http, *meta.commands);
  network_.up(meta_address(i), *meta.runtime, *meta.dispatcher);
}

// The metas' store and election, as options say.
void SimCluster::coordinate(int i) {
  auto& meta = metas_[static_cast<size_t>(i)];
  if (zookeeper_ == nullptr) {
    auto session = coordinator_.connect(*meta.runtime, meta_address(i));
    meta.store = SimCoordinator::make_store(session);
    meta.election = SimCoordinator::make_election(session);
    return;
  }
  auto way = [this, self = meta_address(i)](size_t server, bool towards) {
    auto other = zookeeper_address(server);
    double reset = network_.faults().reset;
    if (reset > 0 && world_.random().chance(reset)) return false;
    return towards ? network_.passes(self, other) : network_.passes(other, self);
  };
  meta.client = zookeeper_->connect(*meta.runtime, 0, options_.zookeeper_timeout, way);
  auto& shard = meta.runtime->shard(0);
  auto election = std::make_unique<meta::ZooKeeperElection>(
      shard, *meta.client, std::string(kClusterRoot) + "/lock", meta_address(i));
  meta::ZooKeeperStoreOptions store;
  store.root = kClusterRoot;
  store.fence = [e = election.get()] { return e->fence(); };
  store.on_fenced = [e = election.get()](const std::string& why) { e->resign(why); };
  meta.store = meta::make_zookeeper_store(shard, *meta.client, std::move(store));
  meta.election = std::move(election);
}

void SimCluster::stop_meta(int i, Task done) {
  auto held = std::make_shared<Task>(std::move(done));
  auto& meta = metas_[static_cast<size_t>(i)];
  meta.runtime->shard(0).post([this, i, boots = meta.boots, held] {
    metas_[static_cast<size_t>(i)].server->stop([this, i, boots, held] {
      // Not from inside of its own task.
      world_.schedule_after(std::chrono::milliseconds(1), [this, i, boots, held] {
        if (!meta_up(i) || metas_[static_cast<size_t>(i)].boots != boots) return;
        kill_meta(i);
        (*held)();
      });
    });
  });
}

void SimCluster::report_meta_death(int i) {
  wire::report_death_request report;
  report.node = meta_address(i);
  report.reason = "the supervisor saw it end";
  ask_meta(rpc::TaskCode::kReportDeath, rpc::encode_args(report), nullptr);
}

HostPort SimCluster::elected() const {
  if (zookeeper_ == nullptr) return coordinator_.leader();
  for (size_t i = 0; i < metas_.size(); ++i) {
    if (metas_[i].election != nullptr && metas_[i].election->holds())
      return meta_address(static_cast<int>(i));
  }
  return {};
}

void SimCluster::check_leaders() {
  if (zookeeper_ == nullptr) return;
  HostPort first;
  for (size_t i = 0; i < metas_.size(); ++i) {
    if (metas_[i].election == nullptr || !metas_[i].election->holds()) continue;
    auto self = meta_address(static_cast<int>(i));
    if (first) watch_.violation(fmt::format("both {} and {} may act as the leader", first, self));
    first = self;
  }
}

void SimCluster::check_ballots() {
  if (state_watch_ == nullptr) return;
  for (int i = 0; i < options_.replicas; ++i) {
    if (!up(i)) continue;
    for (const auto& replica : server(i).replicas())
      state_watch_->seen(replica->gpid(), replica->ballot(), fmt::format("r{}", i));
  }
}

void SimCluster::kill_meta(int i) {
  auto& meta = metas_[static_cast<size_t>(i)];
  network_.down(meta_address(i));
  meta.runtime->kill();
  meta.server.reset();
  meta.election.reset();
  meta.store.reset();
  meta.client.reset();
  meta.network.reset();
  meta.commands.reset();
  meta.http.reset();
  meta.dispatcher.reset();
  meta.metrics.reset();
  meta.runtime.reset();
}

meta::MetaCore* SimCluster::leading_core() {
  for (auto& meta : metas_) {
    if (meta.server != nullptr && !meta.runtime->paused() && meta.server->serving() &&
        meta.server->standing().leading) {
      return meta.server->core();
    }
  }
  return nullptr;
}

// --- replica servers ---

replica::ServerOptions SimCluster::server_options(int i) const {
  const auto& node = nodes_[static_cast<size_t>(i)];
  replica::ServerOptions options;
  options.self = replica_address(i);
  options.cluster_name = "sim";
  options.data_dirs = {{"default", "/data"}};
  options.boot_id = std::to_string(node.machine_boots);
  options.log.sync = options_.log_sync;
  options.meta.metas = meta_list();
  options.meta.start_time_ms = node.runtime->wall_us() / 1000;
  options.tuning.flush_after_log_bytes = options_.flush_after_log_bytes;
  options.tuning.keep_log_bytes = options_.flush_after_log_bytes;
  options.tuning.core.cache_mutations = options_.cache_mutations;
  options.tuning.duplication = options_.duplication;
  return options;
}

replica::OpenEngine SimCluster::open_engine(int i) {
  auto& node = nodes_[static_cast<size_t>(i)];
  return [this, &files = *node.files, who = node.runtime->name(), seed = world_.random().next()](
             engine::EngineOptions o) -> Result<std::unique_ptr<engine::Engine>> {
    engine::MapStoreOptions store;
    store.dir = o.dir;
    store.needs_disk_percent = 10;
    store.seed = seed ^ o.gpid.packed();
    auto opened = engine::MapStore::open(files, store);
    if (!opened) return opened.error();
    o.seed = seed;
    auto watched = watch_.around(std::move(*opened), o.gpid, who);
    return engine::Engine::over(std::move(watched), std::move(o));
  };
}

void SimCluster::boot(int i) {
  auto& node = nodes_[static_cast<size_t>(i)];
  MARKAB_ASSERT(node.server == nullptr, "a node that runs is booted", i);
  SimRuntime::Options runtime;
  runtime.shards = options_.shards;
  runtime.clock_drift_ppm = node.clock.drift_ppm;
  runtime.wall_offset_us = node.clock.wall_offset_us;
  runtime.min_blocking_latency = node.least_latency;
  runtime.max_blocking_latency = node.most_latency;
  node.runtime =
      std::make_unique<SimRuntime>(world_, fmt::format("r{}.{}", i, ++node.boots), runtime);
  std::vector<rpc::Network*> networks;
  for (int shard = 0; shard < options_.shards; ++shard) {
    node.networks.push_back(network_.make(replica_address(i), *node.runtime, shard));
    networks.push_back(node.networks.back().get());
  }
  node.metrics = std::make_unique<MetricRegistry>();
  node.dispatcher = std::make_unique<rpc::Dispatcher>();
  node.http = std::make_unique<rpc::HttpRouter>();
  node.server = std::make_unique<replica::ReplicaServer>(
      *node.runtime, networks, *node.files, open_engine(i), server_options(i), *node.metrics);
  node.start_time_ms = node.server->options().meta.start_time_ms;
  node.stopping = false;
  if (auto prepared = node.server->prepare_disks(); !prepared.ok()) {
    // As the real daemon: it says why and ends; its supervisor tries again later.
    node.server->abandon();
    let_go_of(i);
    return;
  }
  node.server->register_handlers(*node.dispatcher, *node.http);
  network_.up(replica_address(i), *node.runtime, *node.dispatcher);
  node.server->start();
}

void SimCluster::let_go_of(int i) {
  auto& node = nodes_[static_cast<size_t>(i)];
  node.server.reset();
  node.networks.clear();
  node.dispatcher.reset();
  node.http.reset();
  node.metrics.reset();
  node.runtime.reset();
  node.stopping = false;
}

void SimCluster::end_process(int i, bool with_machine) {
  auto& node = nodes_[static_cast<size_t>(i)];
  network_.down(replica_address(i), with_machine);
  node.runtime->kill();
  node.files->stop();
  node.server->abandon();
  let_go_of(i);
}

void SimCluster::kill(int i) {
  end_process(i, false);
  files(i).boot();
}

void SimCluster::crash(int i) {
  auto& node = nodes_[static_cast<size_t>(i)];
  end_process(i, true);
  node.files->boot();
  node.files->crash(world_.random().next());
  node.files->boot();
  ++node.machine_boots;
}

void SimCluster::stop(int i) {
  auto& node = nodes_[static_cast<size_t>(i)];
  MARKAB_ASSERT(node.server != nullptr && !node.stopping, "a node that does not run is stopped", i);
  node.stopping = true;
  node.runtime->shard(0).post([this, i] {
    server(i).leave([this, i] {
      server(i).stop([this, i, boots = nodes_[static_cast<size_t>(i)].boots] {
        // Not from inside of its own task.
        world_.schedule_after(std::chrono::milliseconds(1), [this, i, boots] {
          auto& ended = nodes_[static_cast<size_t>(i)];
          if (ended.server == nullptr || ended.boots != boots) return;  // it was killed meanwhile
          network_.down(replica_address(i));
          ended.runtime->kill();
          let_go_of(i);
        });
      });
    });
  });
}

void SimCluster::report_death(int i) {
  wire::report_death_request report;
  report.node = replica_address(i);
  report.start_time = nodes_[static_cast<size_t>(i)].start_time_ms;
  report.reason = "the supervisor saw it end";
  ask_meta(rpc::TaskCode::kReportDeath, rpc::encode_args(report), nullptr);
}

void SimCluster::set_clock(int i, const MachineClock& clock) {
  auto& node = nodes_[static_cast<size_t>(i)];
  node.clock = clock;
  if (node.runtime == nullptr) return;
  node.runtime->set_clock_drift_ppm(clock.drift_ppm);
  node.runtime->set_wall_offset_us(clock.wall_offset_us);
}

void SimCluster::set_disk_latency(int i, Duration least, Duration most) {
  auto& node = nodes_[static_cast<size_t>(i)];
  node.least_latency = least;
  node.most_latency = most;
  if (node.runtime != nullptr) node.runtime->set_blocking_latency(least, most);
}

// --- clients ---

void SimCluster::ask_meta(rpc::TaskCode code, std::string args, Callback<client::Answer> done) {
  auto held = std::make_shared<Callback<client::Answer>>(std::move(done));
  client_runtime(0).shard(0).post([this, code, args = std::move(args), held] {
    client::MetaRequest call;
    call.code = code;
    call.args = args;
    call.deadline = client_runtime(0).shard(0).now() + std::chrono::seconds(5);
    call.only_asks = false;
    client(0).call_meta(std::move(call), [held](client::Answer answer) {
      if (*held) (*held)(std::move(answer));
    });
  });
}

void SimCluster::create_table(const std::string& name, int partitions) {
  wire::configuration_create_app_request request;
  request.app_name = name;
  request.options.partition_count = partitions;
  request.options.replica_count = 3;
  request.options.success_if_exist = true;
  request.options.app_type = "pegasus";
  request.options.is_stateful = true;
  bool created = false;
  // Nodes must have joined first: it is asked again until then.
  for (int attempt = 0; attempt < 200 && !created; ++attempt) {
    bool answered = false;
    ask_meta(rpc::TaskCode::kCreateApp, rpc::encode_args(request), [&](client::Answer answer) {
      answered = true;
      wire::configuration_create_app_response response;
      created = answer.error.code == ErrorCode::kOk &&
                rpc::decode_result(answer.result, response).ok() && response.err.code == Errc::kOk;
    });
    world_.run_until([&] { return answered; }, std::chrono::seconds(10));
    if (!created) world_.run_for(std::chrono::milliseconds(100));
  }
  MARKAB_ASSERT(created, "the table could not be created");
}

// --- checks ---

std::string SimCluster::missing_at(const meta::Table& table, const meta::Partition& partition) {
  const auto& config = partition.config;
  if (config.member_count() < static_cast<size_t>(table.info.max_replica_count) || !config.primary)
    return fmt::format("{} has {} members", config.pid, config.member_count());
  for (int i = 0; i < options_.replicas; ++i) {
    bool primary = config.primary == replica_address(i);
    if (!primary && !config.is_secondary(replica_address(i))) continue;
    if (!up(i)) return fmt::format("{}: member {} is down", config.pid, replica_address(i));
    bool serves = false;
    for (const auto& replica : server(i).replicas()) {
      if (replica->gpid() != config.pid || replica->ballot() != config.ballot) continue;
      serves = primary ? replica->role() == Role::kPrimary && replica->serves_reads()
                       : replica->role() == Role::kSecondary;
    }
    if (!serves) {
      return fmt::format("{}: member {} is not in its role at ballot {}", config.pid,
                         replica_address(i), config.ballot);
    }
  }
  return {};
}

std::string SimCluster::unhealthy() {
  auto* core = leading_core();
  if (core == nullptr) return "no meta server leads";
  for (const auto& [id, table] : core->tables()) {
    if (table.info.status != meta::TableStatus::kAvailable) continue;
    for (const auto& partition : table.partitions) {
      if (auto missing = missing_at(table, partition); !missing.empty()) return missing;
    }
  }
  return {};
}

std::map<Gpid, SimCluster::Content> SimCluster::content(int i) {
  std::map<Gpid, Content> out;
  if (!up(i)) return out;
  for (const auto& replica : server(i).replicas()) {
    if (replica->role() != Role::kPrimary && replica->role() != Role::kSecondary) continue;
    auto& content = out[replica->gpid()];
    content.ballot = replica->ballot();
    content.applied = replica->last_applied();
    auto engine = replica->hold_engine();
    auto rows = engine->store().iterate({}, nullptr, nullptr, false);
    for (rows->SeekToFirst(); rows->Valid(); rows->Next()) {
      content.rows[rows->key().ToString()] = rows->value().ToString();
    }
  }
  return out;
}

void SimCluster::check_leases() {
  std::map<Gpid, int> serving;
  for (int i = 0; i < options_.replicas; ++i) {
    if (!up(i)) continue;
    auto now = runtime(i).now();
    if (!server(i).lease_valid(now)) continue;
    for (const auto& replica : server(i).replicas()) {
      if (!replica->serves_reads()) continue;
      auto [other, first] = serving.emplace(replica->gpid(), i);
      if (first) continue;
      watch_.violation(
          fmt::format("{}: both r{} and r{} serve reads (S9)", replica->gpid(), other->second, i));
    }
  }
}

std::string SimCluster::shut_down() {
  for (int i = 0; i < options_.replicas; ++i) {
    if (up(i) && !stopping(i)) stop(i);
  }
  auto all_down = [this] {
    for (int i = 0; i < options_.replicas; ++i) {
      if (up(i)) return false;
    }
    return true;
  };
  if (!world_.run_until(all_down, std::chrono::seconds(30)))
    return "a replica server does not stop";
  for (int i = 0; i < options_.replicas; ++i) {
    if (auto open = files(i).open_files(); open != 0)
      return fmt::format("r{} left {} files open", i, open);
  }
  for (int i = 0; i < options_.metas; ++i) {
    auto& meta = metas_[static_cast<size_t>(i)];
    bool stopped = false;
    meta.runtime->shard(0).post([&] { meta.server->stop([&stopped] { stopped = true; }); });
    if (!world_.run_until([&] { return stopped; }, std::chrono::seconds(10)))
      return fmt::format("m{} does not stop", i);
    kill_meta(i);
  }
  for (auto& client : clients_) {
    client.runtime->shard(0).post([&client] { client.core->stop(); });
  }
  world_.run_for(std::chrono::seconds(10));
  for (auto& client : clients_) {
    if (auto left = client.core->in_flight(); left != 0)
      return fmt::format("{}: {} operations never ended", client.runtime->name(), left);
    client.core.reset();
    client.network.reset();
    if (auto left = client.runtime->queued(); left != 0)
      return fmt::format("{} left {} tasks behind", client.runtime->name(), left);
  }
  return {};
}

}  // namespace markab::sim
