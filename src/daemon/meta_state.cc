#include "daemon/meta_state.h"

#include <algorithm>

#include "base/log.h"
#include "daemon/program.h"
#include "io/file.h"
#include "meta/embedded_election.h"
#include "meta/embedded_store.h"
#include "meta/zookeeper_election.h"
#include "meta/zookeeper_store.h"
#include "zk/session.h"

namespace markab::daemon {

Result<zk::NameRules> prepare_meta_state(const Config& config, const meta::MetaOptions& options) {
  if (!options.zookeeper) {
    auto dir = config.get_string("meta_server", "state_dir");
    if (auto s = prepare_directory(dir, "[meta_server] state_dir"); !s.ok()) return s;
    auto s = meta::claim_state_dir(io::real_file_system(), dir, options.cluster_name, options.self);
    if (!s.ok()) return s;
    return zk::NameRules{};
  }
  bool kerberos = options.zookeeper->sasl == zk::Sasl::kGssapi;
  if (config.get_bool("security", "enable_zookeeper_kerberos") && !kerberos) {
    return Status(Errc::kInvalidParameters,
                  "[security] enable_zookeeper_kerberos needs [zookeeper] sasl_mechanisms_type = "
                  "GSSAPI");
  }
  if (!kerberos) return zk::NameRules{};
  auto dir = config.get_string("core", "data_dir");
  if (auto s = prepare_directory(dir, "[core] data_dir"); !s.ok()) return s;
  return zk::pin_service_names(dir + "/krb5-names.conf");
}

std::function<std::vector<std::string>()> zookeeper_services(const meta::MetaOptions& options,
                                                             const zk::NameRules& names) {
  if (!options.zookeeper || options.zookeeper->sasl != zk::Sasl::kGssapi) return {};
  return [servers = options.zookeeper->servers, service = options.zookeeper->service, names] {
    std::vector<std::string> out;
    for (const auto& server : servers) {
      std::string name = service + "@" + zk::sasl_host(server, names);
      if (std::find(out.begin(), out.end(), name) == out.end()) out.push_back(std::move(name));
    }
    return out;
  };
}

MetaState make_meta_state(io::RealRuntime& runtime, const Config& config,
                          const meta::MetaOptions& options, const zk::NameRules& names,
                          security::TicketSource* tickets, std::shared_ptr<MetricEntity> entity) {
  io::Shard& shard = runtime.shard(0);
  io::BlockingPool& pool = runtime.blocking();
  MetaState out;
  if (!options.zookeeper) {
    auto dir = config.get_string("meta_server", "state_dir");
    out.store = meta::make_embedded_store(shard, pool, dir, options.cluster_name);
    out.election =
        meta::make_embedded_election(shard, pool, io::real_file_system(), dir, options.self);
    return out;
  }
  for (const std::string& warning : options.warnings) MARKAB_WARN("{}", warning);
  zk::SessionHooks hooks;
  hooks.names = names;
  if (tickets != nullptr) {
    hooks.before_login = [tickets] {
      security::Failure why;
      return tickets->current(why) != nullptr ? std::string() : why.to_string();
    };
  }
  zk::Options zookeeper = *options.zookeeper;
  zookeeper.plugin_path = config.get_string("security", "sasl_plugin_path");
  out.client =
      zk::make_client(shard, pool, std::move(zookeeper), std::move(hooks), std::move(entity));
  auto election = std::make_unique<meta::ZooKeeperElection>(shard, *out.client, options.lock_root,
                                                            options.self);
  meta::ZooKeeperStoreOptions store;
  store.root = options.cluster_root;
  store.fence = [e = election.get()] { return e->fence(); };
  store.on_fenced = [e = election.get()](const std::string& why) { e->resign(why); };
  out.store = meta::make_zookeeper_store(shard, *out.client, std::move(store));
  out.election = std::move(election);
  return out;
}

}  // namespace markab::daemon
