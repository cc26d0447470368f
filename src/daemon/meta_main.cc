// markab-meta: a meta server. Wires the rooms together and waits for a signal.

#include <cstdio>
#include <future>

#include "base/log.h"
#include "daemon/config_keys.h"
#include "daemon/meta_state.h"
#include "daemon/program.h"
#include "meta/config_keys.h"
#include "meta/meta_server.h"
#include "rpc/channel.h"
#include "rpc/process_metrics.h"
#include "rpc/remote_command.h"
#include "rpc/server.h"
#include "rpc/version.h"
#include "security/service.h"

namespace markab::daemon {
namespace {

constexpr const char* kProgram = "markab-meta";

std::vector<ConfigKey> meta_keys() {
  auto keys = common_keys(34601);
  for (auto& key : meta::meta_config_keys()) keys.push_back(std::move(key));
  return keys;
}

int run(int argc, char** argv) {
  auto arguments = parse_arguments(argc, argv, kProgram, "Markab's meta server");
  auto config =
      Config::load(arguments.config_file, meta_keys(), arguments.overrides, ignored_keys());
  if (!config) refuse_to_start(kProgram, config.error());
  auto self = own_address(**config);
  if (!self) refuse_to_start(kProgram, self.error());
  auto options = meta::read_meta_options(**config, *self);
  if (!options) refuse_to_start(kProgram, options.error());
  auto security_options = security_or_refuse(**config, kProgram);
  if (arguments.check_only) {
    std::printf("%s: the configuration is good\n", kProgram);
    return 0;
  }
  StopSignal stop_signal;
  auto names = prepare_meta_state(**config, *options);
  if (!names) refuse_to_start(kProgram, names.error());
  if (auto s = start_log(**config); !s.ok()) refuse_to_start(kProgram, s);
  auto cluster = options->cluster_name;
  MARKAB_INFO("{} {} starts as {} of cluster {}", kProgram, rpc::kVersion, *self, cluster);

  // The meta's work is one shard's (meta_server.h); connections share it.
  io::RealRuntimeOptions runtime_options;
  runtime_options.shards = 1;
  // A login to ZooKeeper may hold one for as long as a KDC does not answer.
  runtime_options.blocking_threads = options->zookeeper ? 4 : 2;
  io::RealRuntime runtime(runtime_options);
  MetricRegistry registry;
  auto process = rpc::process_metrics(registry);
  security_options.more_services = zookeeper_services(*options, *names);
  auto security =
      security::Service::start(runtime, **config, std::move(security_options), registry);
  if (!security) refuse_to_start(kProgram, security.error());
  rpc::ChannelOptions channel_options;
  channel_options.self = *self;
  channel_options.negotiators = (*security)->negotiators();
  auto channels = rpc::make_channels(runtime, 0, channel_options);
  auto state =
      make_meta_state(runtime, **config, *options, *names, (*security)->tickets(), process);

  rpc::Dispatcher dispatcher;
  rpc::HttpRouter http;
  rpc::RemoteCommands commands;
  const rpc::DaemonIdentity identity{cluster, "meta", self->host(), self->port};
  rpc::add_standard_paths(http, identity, **config, registry,
                          [&runtime] { return runtime.shard(0).wall_us(); });
  rpc::add_standard_commands(commands, identity, **config, registry, runtime.shard(0));
  (*security)->guard(dispatcher, security::Service::Daemon::kMeta);
  options->access = &(*security)->access();
  auto server = meta::MetaServer::start(
      {runtime.shard(0), *channels, *state.store, *state.election, registry}, std::move(*options),
      dispatcher, http, commands);
  commands.serve(dispatcher);
  auto listen = listen_options(**config, *self);
  listen.guards = (*security)->guards();
  auto listening = rpc::Server::start(runtime, listen, dispatcher, http, registry);
  if (!listening) refuse_to_start(kProgram, listening.error());
  notify_ready();

  const auto* signal = stop_signal.wait();
  MARKAB_INFO("{}: stopping", signal);
  notify_stopping();
  (*listening)->stop_accepting();
  wait_for(runtime, [&](Task done) { server->stop(std::move(done)); });
  (*listening)->stop(std::chrono::milliseconds(300));
  listening->reset();
  (*security)->stop();
  runtime.stop();
  channels.reset();
  server.reset();
  MARKAB_INFO("{} ends", kProgram);
  log::flush();
  return 0;
}

}  // namespace
}  // namespace markab::daemon

int main(int argc, char** argv) { return markab::daemon::run(argc, argv); }
