#pragma once
// Where a meta daemon keeps its state and how its leader is elected, as the configuration says:
// embedded in a directory of the machine, or in ZooKeeper. Made by main() before the server starts.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/metrics.h"
#include "io/shard.h"
#include "meta/config_keys.h"
#include "meta/election.h"
#include "meta/state_store.h"
#include "security/tickets.h"
#include "zk/client.h"
#include "zk/principal.h"

namespace markab::daemon {

struct MetaState {
  std::unique_ptr<zk::Client> client;  // null with the embedded store
  std::unique_ptr<meta::Election> election;
  std::unique_ptr<meta::StateStore> store;
};

// What must happen before any thread is started: the embedded store's directory is claimed; names
// of services are pinned for logins to ZooKeeper (zk/principal.h).
Result<zk::NameRules> prepare_meta_state(const Config& config, const meta::MetaOptions& options);

// The services at which logins to ZooKeeper will need tickets, for the keeper of the tickets: so
// that going over to another server, or a new session, does not wait for a slow KDC. Empty without
// Kerberos there.
std::function<std::vector<std::string>()> zookeeper_services(const meta::MetaOptions& options,
                                                             const zk::NameRules& names);

// On shard 0 of the runtime. `tickets` may be null: then ZooKeeper's logins use what the library
// finds.
MetaState make_meta_state(io::RealRuntime& runtime, const Config& config,
                          const meta::MetaOptions& options, const zk::NameRules& names,
                          security::TicketSource* tickets, std::shared_ptr<MetricEntity> entity);

}  // namespace markab::daemon
