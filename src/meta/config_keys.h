#pragma once
// The meta server's configuration keys (03 §17, 07 §9.3) and what it makes of them.

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/config.h"
#include "meta/core/options.h"
#include "security/access_guard.h"
#include "zk/options.h"

namespace markab::meta {

// Keys of the sections meta_server, replication (those the meta reads) and markab. The daemon adds
// what all share
// ([network], [core], [replication] cluster_name).
std::vector<ConfigKey> meta_config_keys();

struct MetaOptions {
  security::AccessGuard* access = nullptr;  // who may do what; null: everybody everything
  HostPort self;
  std::vector<std::string> server_list;  // as the operator spells them
  std::string cluster_name;
  std::string zookeeper_hosts;  // shown by cluster_info; empty with the embedded store
  std::string cluster_root;
  std::optional<zk::Options> zookeeper;  // unset: the embedded store
  std::string lock_root;                 // of the election in ZooKeeper
  std::vector<std::string> warnings;     // about the configuration, for the log
  Duration check_interval = std::chrono::milliseconds(200);
  CoreOptions core;
  // Brings options whose keys are mutable at run time up to date; empty: none are.
  std::function<void(CoreOptions&)> refresh;
};

// kInvalidParameters when values do not fit together or ask for what is not there: grace > lease,
// min <= max, addresses, kinds of stores. `config` must outlive the options.
Result<MetaOptions> read_meta_options(const Config& config, HostPort self);

}  // namespace markab::meta
