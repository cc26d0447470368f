#include "sim_cluster.h"

#include "base/assert.h"
#include "engine/map_store.h"
#include "idl/markab_types.h"
#include "idl/meta_admin_types.h"
#include "rpc/codec.h"

namespace markab::sim {

namespace {

constexpr HostPort kClient{0x0A000200, 1};

}  // namespace

// One meta server: it leads from the start.
class SimCluster::SoleElection final : public meta::Election {
 public:
  SoleElection(io::Shard& shard, HostPort self) : shard_(shard), self_(self) {}
  void start(Callback<meta::Standing> on_change) override {
    auto held = std::make_shared<Callback<meta::Standing>>(std::move(on_change));
    shard_.post([held, self = self_] { (*held)({true, self}); });
  }
  void stop(Task done) override { shard_.post(std::move(done)); }

 private:
  io::Shard& shard_;
  const HostPort self_;
};

SimCluster::SimCluster(uint64_t seed, const ClusterOptions& options)
    : options_(options), world_(seed), network_(world_) {
  meta_runtime_ = std::make_unique<SimRuntime>(world_, "meta", SimRuntime::Options{});
  meta_network_ = network_.make(meta_address(), *meta_runtime_, 0);
  meta_store_ = std::make_unique<meta::MemoryStore>(meta_runtime_->shard(0), meta_disk_);
  meta_election_ = std::make_unique<SoleElection>(meta_runtime_->shard(0), meta_address());
  meta::MetaOptions meta_options;
  meta_options.self = meta_address();
  meta_options.server_list = {meta_address().to_string()};
  meta_options.cluster_name = "sim";
  meta_ = meta::MetaServer::start(
      {meta_runtime_->shard(0), *meta_network_, *meta_store_, *meta_election_, meta_metrics_},
      std::move(meta_options), meta_dispatcher_, meta_http_, meta_commands_);
  network_.up(meta_address(), *meta_runtime_, meta_dispatcher_);

  nodes_.resize(static_cast<size_t>(options.replicas));
  for (int i = 0; i < options.replicas; ++i) {
    SimFileSystem::Options files;
    files.directories = {"/data"};
    nodes_[static_cast<size_t>(i)].files =
        std::make_unique<SimFileSystem>(world_.random().next(), files);
    boot(i);
  }

  client_runtime_ = std::make_unique<SimRuntime>(world_, "client", SimRuntime::Options{});
  client_network_ = network_.make(kClient, *client_runtime_, 0);
  client::CoreOptions client_options;
  client_options.metas = {meta_address()};
  client_ =
      std::make_unique<client::Core>(client_runtime_->shard(0), *client_network_, client_options);
}

SimCluster::~SimCluster() {
  client_->stop();
  client_runtime_->kill();
  client_.reset();
  client_network_.reset();
  for (size_t i = 0; i < nodes_.size(); ++i) {
    if (nodes_[i].server) end_process(nodes_[i], replica_address(static_cast<int>(i)));
  }
  network_.down(meta_address());
  meta_runtime_->kill();
  meta_.reset();
  meta_election_.reset();
  meta_store_.reset();
  meta_network_.reset();
}

void SimCluster::boot(int i) {
  auto& node = nodes_[static_cast<size_t>(i)];
  MARKAB_ASSERT(node.server == nullptr, "a node that runs is booted", i);
  SimRuntime::Options runtime;
  runtime.shards = options_.shards;
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
  replica::ServerOptions options;
  options.self = replica_address(i);
  options.cluster_name = "sim";
  options.data_dirs = {{"default", "/data"}};
  options.boot_id = std::to_string(node.machine_boots);
  options.log.sync = options_.log_sync;
  options.meta.metas = {meta_address()};
  options.meta.start_time_ms = node.runtime->wall_us() / 1000 + node.boots;
  options.tuning.flush_after_log_bytes =
      64u << 10;  // small, so that flushes and checkpoints happen in a short run
  options.tuning.keep_log_bytes = 64u << 10;
  auto& files = *node.files;
  auto open = [&files, seed = world_.random().next()](
                  engine::EngineOptions o) -> Result<std::unique_ptr<engine::Engine>> {
    engine::MapStoreOptions store;
    store.dir = o.dir;
    store.needs_disk_percent = 10;
    store.seed = seed ^ o.gpid.packed();
    auto opened = engine::MapStore::open(files, store);
    if (!opened) return opened.error();
    o.seed = seed;
    return engine::Engine::over(std::move(*opened), std::move(o));
  };
  node.server = std::make_unique<replica::ReplicaServer>(*node.runtime, networks, files, open,
                                                         options, *node.metrics);
  auto prepared = node.server->prepare_disks();
  MARKAB_ASSERT(prepared.ok(), "the simulated disk refuses", prepared);
  node.server->register_handlers(*node.dispatcher, *node.http);
  network_.up(replica_address(i), *node.runtime, *node.dispatcher);
  node.server->start();
}

void SimCluster::end_process(Node& node, HostPort address) {
  network_.down(address);
  node.runtime->kill();
  node.files->stop();
  node.server->abandon();
  node.server.reset();
  node.networks.clear();
  node.dispatcher.reset();
  node.http.reset();
  node.metrics.reset();
  node.runtime.reset();
}

void SimCluster::kill(int i) {
  auto& node = nodes_[static_cast<size_t>(i)];
  end_process(node, replica_address(i));
  node.files->boot();
}

void SimCluster::crash(int i) {
  auto& node = nodes_[static_cast<size_t>(i)];
  end_process(node, replica_address(i));
  node.files->boot();
  node.files->crash(world_.random().next());
  node.files->boot();
  ++node.machine_boots;
}

void SimCluster::report_death(int i) {
  wire::report_death_request report;
  report.node = replica_address(i);
  report.reason = "the supervisor saw it end";
  rpc::CallOptions options;
  client_runtime_->shard(0).post([this, args = rpc::encode_args(report), options] {
    client_network_->call(meta_address(), rpc::TaskCode::kReportDeath, options, args,
                          [](const rpc::Reply&) {});
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
    client_runtime_->shard(0).post([&] {
      client::MetaRequest call;
      call.code = rpc::TaskCode::kCreateApp;
      call.args = rpc::encode_args(request);
      call.deadline = client_runtime_->shard(0).now() + std::chrono::seconds(5);
      call.only_asks = false;
      client_->call_meta(std::move(call), [&](client::Answer answer) {
        answered = true;
        wire::configuration_create_app_response response;
        created = answer.error.code == ErrorCode::kOk &&
                  rpc::decode_result(answer.result, response).ok() &&
                  response.err.code == Errc::kOk;
      });
    });
    world_.run_until([&] { return answered; }, std::chrono::seconds(10));
    if (!created) world_.run_for(std::chrono::milliseconds(100));
  }
  MARKAB_ASSERT(created, "the table could not be created");
}

std::map<Gpid, SimCluster::Content> SimCluster::content(int i) {
  std::map<Gpid, Content> out;
  auto& node = nodes_[static_cast<size_t>(i)];
  if (!node.server) return out;
  for (const auto& replica : node.server->replicas()) {
    auto role = replica->role();
    if (role != pacifica::Role::kPrimary && role != pacifica::Role::kSecondary) continue;
    auto& content = out[replica->gpid()];
    content.applied = replica->last_applied();
    auto engine = replica->hold_engine();
    auto rows = engine->store().iterate({}, nullptr, nullptr, false);
    for (rows->SeekToFirst(); rows->Valid(); rows->Next()) {
      content.rows[rows->key().ToString()] = rows->value().ToString();
    }
  }
  return out;
}

}  // namespace markab::sim
