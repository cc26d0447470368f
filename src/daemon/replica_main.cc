// markab-replica: a replica server. Wires the rooms together and waits for a signal.

#include <bit>
#include <cctype>
#include <cstdio>
#include <future>
#include <sstream>

#include "base/log.h"
#include "daemon/config_keys.h"
#include "daemon/program.h"
#include "engine/engine.h"
#include "io/file.h"
#include "replica/admin.h"
#include "replica/server.h"
#include "rpc/channel.h"
#include "rpc/process_metrics.h"
#include "rpc/remote_command.h"
#include "rpc/server.h"
#include "rpc/version.h"
#include "security/service.h"

namespace markab::daemon {
namespace {

constexpr const char* kProgram = "markab-replica";

// Data directories below a path that the black list names are left out: its disk is known to be
// bad (spec 04 §3.1).
Result<std::vector<replica::DataDir>> data_dirs(const Config& config) {
  auto text = config.get_string("replication", "data_dirs");
  auto dirs = replica::parse_data_dirs(text);
  if (!dirs) return dirs.error().with_context("[replication] data_dirs");
  auto path = config.get_string("replication", "data_dirs_black_list_file");
  if (path.empty()) return dirs;
  auto list = io::real_file_system().read_all(path, 1u << 20);
  if (!list) {
    if (list.error().code() == Errc::kPathNotFound) return dirs;
    return list.error().with_context("[replication] data_dirs_black_list_file");
  }
  std::istringstream lines(*list);
  for (std::string line; std::getline(lines, line);) {
    while (!line.empty() && (line.back() == '/' || std::isspace(line.back()) != 0)) line.pop_back();
    if (line.empty()) continue;
    std::erase_if(*dirs, [&](const replica::DataDir& dir) {
      bool listed = dir.path == line || dir.path.starts_with(line + "/");
      if (listed) MARKAB_WARN("{} names {}: it is left out", path, dir.path);
      return listed;
    });
  }
  if (dirs->empty())
    return Status(Errc::kInvalidParameters,
                  fmt::format("{} names all of [replication] data_dirs", path));
  return dirs;
}

Result<replica::UnitSizes> unit_sizes(const Config& config) {
  replica::UnitSizes out;
  for (auto [name, size] : {std::pair{"perf_counter_read_capacity_unit_size", &out.read},
                            std::pair{"perf_counter_write_capacity_unit_size", &out.write}}) {
    *size = config.get_int("pegasus.server", name);
    if (!std::has_single_bit(static_cast<uint64_t>(*size)))
      return Status(
          Errc::kInvalidParameters,
          fmt::format("[pegasus.server] {} = {} is no power of two, as 4096 is", name, *size));
  }
  return out;
}

Result<replica::DuplicationPeers> duplication(const Config& config) {
  std::string own = config.get_string("replication", "dup_cluster_name");
  if (own.empty()) own = config.get_string("replication", "cluster_name");
  auto peers = replica::duplication_peers(config.get_open_section("duplication-group"), own);
  if (!peers) return peers.error();
  peers->takes_strangers = config.get_bool("replication", "dup_ignore_other_cluster_ids");
  using KeepNewer = replica::DuplicationPeers::KeepNewer;
  std::string rule = config.get_string("replication", "dup_verify_timetag");
  peers->keep_newer = rule == "always"         ? KeepNewer::kAlways
                      : rule == "as_requested" ? KeepNewer::kAsRequested
                                               : KeepNewer::kNever;
  return peers;
}

Result<replica::ServerOptions> server_options(const Config& config, int64_t start_time_ms) {
  replica::ServerOptions out;
  auto get = [&](const char* name) { return config.get_int("replication", name); };
  auto ms = [&](const char* name) { return Duration(std::chrono::milliseconds(get(name))); };
  auto self = own_address(config);
  if (!self) return self.error();
  out.self = *self;
  out.cluster_name = config.get_string("replication", "cluster_name");
  auto dirs = data_dirs(config);
  if (!dirs) return dirs.error();
  out.data_dirs = std::move(*dirs);
  out.boot_id = boot_id();
  auto sync = config.get_string("replication", "log_sync");
  out.log.sync = sync == "always"     ? wal::LogSync::kAlways
                 : sync == "interval" ? wal::LogSync::kInterval
                                      : wal::LogSync::kNone;
  out.log.interval = ms("log_sync_interval_ms");
  out.log.parallel_syncs = static_cast<int>(config.get_int("network", "sync_threads"));
  out.log.segment_bytes = static_cast<uint64_t>(get("log_private_file_size_mb")) << 20;
  auto metas = parse_nodes(config, "meta_server", "server_list");
  if (!metas) return metas.error();
  out.meta.metas = std::move(*metas);
  out.meta.beacon_interval = ms("fd_beacon_interval_ms");
  out.meta.lease = std::chrono::seconds(get("fd_lease_seconds"));
  out.meta.start_time_ms = start_time_ms;
  out.config_sync_interval = ms("config_sync_interval_ms");
  out.leave_timeout = ms("leave_timeout_ms");
  out.tuning.max_write_bytes = static_cast<size_t>(get("max_allowed_write_size"));
  out.tuning.max_queued_bytes = static_cast<size_t>(get("max_queued_write_mb")) << 20;
  out.tuning.flush_after_log_bytes = static_cast<uint64_t>(get("log_flush_mb")) << 20;
  out.tuning.keep_log_bytes = static_cast<uint64_t>(get("log_private_reserve_max_size_mb")) << 20;
  out.tuning.group_check_interval = ms("group_check_interval_ms");
  out.copy_bytes_per_second = static_cast<uint64_t>(get("learn_mb_per_second")) << 20;
  out.replay_budget_bytes = static_cast<uint64_t>(get("replay_budget_mb")) << 20;
  out.max_copies = static_cast<size_t>(get("learn_app_max_concurrent_count"));
  out.tuning.max_held_log_bytes = static_cast<uint64_t>(get("log_held_max_size_mb")) << 20;
  out.ignore_broken_disk = config.get_bool("replication", "ignore_broken_disk");
  out.sweep_interval = std::chrono::seconds(get("disk_stat_interval_seconds"));
  out.tuning.cache =
      std::make_shared<replica::CacheBudget>(static_cast<size_t>(get("mutation_cache_mb")) << 20);
  auto abnormal = [&](const char* name) {
    return config.get_int("pegasus.server", fmt::format("rocksdb_abnormal_{}_threshold", name));
  };
  out.tuning.abnormal_reads = {.get_bytes = abnormal("get_size"),
                               .multi_get_bytes = abnormal("multi_get_size"),
                               .multi_get_iterations = abnormal("multi_get_iterate_count"),
                               .batch_get_bytes = abnormal("batch_get_bytes"),
                               .batch_get_keys = abnormal("batch_get_count")};
  auto server = [&](const char* name) { return config.get_int("pegasus.server", name); };
  out.tuning.reads = {
      .multi_get_rows = static_cast<uint32_t>(server("rocksdb_multi_get_max_iteration_count")),
      .multi_get_bytes = static_cast<uint64_t>(server("rocksdb_multi_get_max_iteration_size")),
      .scan_rows = static_cast<uint32_t>(server("rocksdb_max_iteration_count"))};
  out.tuning.table_defaults.iteration_threshold_ms = server("rocksdb_iteration_threshold_time_ms");
  // Rounded up to what an environment can say.
  out.tuning.table_defaults.slow_query_threshold_ms =
      (server("rocksdb_slow_query_threshold_ns") - 1) / 1000000 + 1;
  auto peers = duplication(config);
  if (!peers) return peers.error();
  out.tuning.duplication = *peers;
  out.tuning.lagging_write =
      std::chrono::milliseconds(config.get_int("pegasus.server", "dup_lagging_write_threshold_ms"));
  auto sizes = unit_sizes(config);
  if (!sizes) return sizes.error();
  out.tuning.unit_sizes = *sizes;
  out.tuning.core.max_uncommitted = static_cast<size_t>(get("write_window"));
  out.tuning.core.prepare_timeout = ms("prepare_timeout_ms_for_secondaries");
  out.tuning.core.commit_point_after = ms("commit_point_after_ms");
  out.tuning.core.min_replica_count = static_cast<int32_t>(get("mutation_2pc_min_replica_count"));
  return out;
}

int run(int argc, char** argv) {
  auto arguments = parse_arguments(argc, argv, kProgram, "Markab's replica server");
  auto config =
      Config::load(arguments.config_file, replica_keys(), arguments.overrides, ignored_keys());
  if (!config) refuse_to_start(kProgram, config.error());
  auto start_time_ms = std::chrono::duration_cast<std::chrono::milliseconds>(
                           std::chrono::system_clock::now().time_since_epoch())
                           .count();
  auto options = server_options(**config, start_time_ms);
  if (!options) refuse_to_start(kProgram, options.error());
  auto security_options = security_or_refuse(**config, kProgram);
  if (arguments.check_only) {
    std::printf("%s: the configuration is good\n", kProgram);
    return 0;
  }
  StopSignal stop_signal;
  if (auto s = start_log(**config); !s.ok()) refuse_to_start(kProgram, s);
  MARKAB_INFO("{} {} starts as {} of cluster {}", kProgram, rpc::kVersion, options->self,
              options->cluster_name);

  std::vector<std::shared_ptr<void>> locks;
  for (auto& dir : options->data_dirs) {
    if (auto s = prepare_directory(dir.path, "[replication] data_dirs"); !s.ok()) {
      if (!options->ignore_broken_disk) refuse_to_start(kProgram, s);
      dir.broken = s;  // the server goes on with the others, if there are any
      continue;
    }
    auto lock = lock_directory(dir.path);
    if (!lock) refuse_to_start(kProgram, lock.error());
    locks.push_back(std::move(*lock));
  }

  options->lock_directory = lock_directory;
  options->disk_rules = [config = *config] {
    auto get = [&](const char* name) { return config->get_int("replication", name); };
    replica::DiskRules rules;
    rules.min_available_percent = get("disk_min_available_space_ratio");
    rules.refuse_writes_when_short =
        config->get_bool("replication", "reject_write_when_disk_insufficient");
    rules.ages.error = get("gc_disk_error_replica_interval_seconds");
    rules.ages.garbage = get("gc_disk_garbage_replica_interval_seconds");
    rules.ages.migration_target = get("gc_disk_migration_tmp_replica_interval_seconds");
    rules.ages.migration_origin = get("gc_disk_migration_origin_replica_interval_seconds");
    return rules;
  };

  io::RealRuntimeOptions runtime_options;
  runtime_options.shards = static_cast<int>((*config)->get_int("network", "shards"));
  runtime_options.blocking_threads =
      static_cast<int>((*config)->get_int("network", "blocking_threads"));
  runtime_options.range_read_threads =
      static_cast<int>((*config)->get_int("network", "range_read_threads"));
  runtime_options.sync_threads = static_cast<int>(options->data_dirs.size()) *
                                 static_cast<int>((*config)->get_int("network", "sync_threads"));
  runtime_options.background_threads =
      static_cast<int>((*config)->get_int("network", "background_threads"));
  io::RealRuntime runtime(runtime_options);
  MetricRegistry registry;
  auto process = rpc::process_metrics(registry);

  auto security =
      security::Service::start(runtime, **config, std::move(security_options), registry);
  if (!security) refuse_to_start(kProgram, security.error());
  rpc::ChannelOptions channel_options;
  channel_options.self = options->self;
  channel_options.negotiators = (*security)->negotiators();
  std::vector<std::unique_ptr<rpc::Network>> channels;
  std::vector<rpc::Network*> networks;
  for (int i = 0; i < runtime.shard_count(); ++i) {
    channels.push_back(rpc::make_channels(runtime, i, channel_options));
    networks.push_back(channels.back().get());
  }
  engine::SharedResourceOptions resources;
  resources.memory_bytes = static_cast<uint64_t>((*config)->get_int("engine", "memory_mb")) << 20;
  resources.write_rate_bytes = static_cast<uint64_t>((*config)->get_int("engine", "write_rate_mb"))
                               << 20;
  resources.background_threads =
      static_cast<int>((*config)->get_int("engine", "background_threads"));
  auto shared = engine::make_shared_resources(resources);
  auto shown = engine::show_shared_resources(shared, registry);
  auto open_engine = [shared](engine::EngineOptions o) {
    return engine::Engine::open(*shared, std::move(o));
  };

  options->access = &(*security)->access();
  auto self = options->self;
  auto linger = std::chrono::milliseconds((*config)->get_int("replication", "linger_ms"));
  auto identity = rpc::DaemonIdentity{options->cluster_name, "replica", self.host(), self.port};
  auto server = std::make_unique<replica::ReplicaServer>(
      runtime, networks, io::real_file_system(), open_engine, std::move(*options), registry);
  if (auto s = server->prepare_disks(); !s.ok()) refuse_to_start(kProgram, s);
  rpc::Dispatcher dispatcher;
  rpc::HttpRouter http;
  rpc::add_standard_paths(http, identity, **config, registry,
                          [&runtime] { return runtime.shard(0).wall_us(); });
  (*security)->guard(dispatcher, security::Service::Daemon::kReplica);
  server->register_handlers(dispatcher, http);
  rpc::RemoteCommands commands;
  rpc::add_standard_commands(commands, identity, **config, registry, runtime.shard(0));
  replica::AdminService admin(*server);
  admin.register_handlers(dispatcher, commands, http);
  commands.serve(dispatcher);
  auto listen = listen_options(**config, self);
  listen.guards = (*security)->guards();
  auto listening = rpc::Server::start(runtime, listen, dispatcher, http, registry);
  if (!listening) refuse_to_start(kProgram, listening.error());
  server->start();
  notify_ready();

  auto* signal = stop_signal.wait();
  MARKAB_INFO("{}: handing over and stopping", signal);
  notify_stopping();
  bool led = false;
  wait_for(runtime, [&](Task done) {
    led = server->has_primaries();
    server->leave(std::move(done));
  });
  // Clients that still ask here are told to look elsewhere before the connections close (spec 01
  // §12.3).
  if (led) {
    std::promise<void> lingered;
    io::TimerHandle timer;
    runtime.shard(0).post(
        [&] { timer = runtime.shard(0).after(linger, [&] { lingered.set_value(); }); });
    lingered.get_future().wait();
    runtime.run_and_wait(0, [&] { timer.cancel(); });
  }
  (*listening)->stop_accepting();
  wait_for(runtime, [&](Task done) { server->stop(std::move(done)); });
  (*listening)->stop(std::chrono::milliseconds(300));
  listening->reset();
  (*security)->stop();
  runtime.stop();
  channels.clear();
  server.reset();
  MARKAB_INFO("{} ends", kProgram);
  log::flush();
  return 0;
}

}  // namespace
}  // namespace markab::daemon

int main(int argc, char** argv) { return markab::daemon::run(argc, argv); }
