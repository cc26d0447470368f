#include "meta/config_keys.h"

#include <fmt/format.h>

namespace markab::meta {

namespace {

constexpr const char* kMeta = "meta_server";
constexpr const char* kReplication = "replication";

Result<std::set<HostPort>> nodes_of(const Config& config, const char* section, const char* name) {
  std::set<HostPort> out;
  for (const auto& text : config.get_list(section, name)) {
    auto node = HostPort::parse(text);
    if (!node) return node.error().with_context(fmt::format("[{}] {}", section, name));
    out.insert(*node);
  }
  return out;
}

// The keys that are declared mutable.
void refresh(const Config& config, CoreOptions& core) {
  auto number = [&](const char* name) { return static_cast<int>(config.get_int(kMeta, name)); };
  core.min_live_nodes = number("min_live_node_count_for_unfreeze");
  core.min_replica_count = number("min_allowed_replica_count");
  core.max_replica_count = number("max_allowed_replica_count");
  core.max_reserved_dropped = number("max_reserved_dropped_replicas");
}

bool asks_for_zookeeper(const Config& config, const char* name) {
  return config.get_string(kMeta, name).find("zookeeper") != std::string::npos;
}

// What is asked for and is not there must not be taken for granted.
Status check_kinds(const Config& config) {
  bool state = asks_for_zookeeper(config, "meta_state_service_type");
  bool lock = asks_for_zookeeper(config, "distributed_lock_service_type");
  if (state != lock) {
    return Status(Errc::kInvalidParameters,
                  "[meta_server] meta_state_service_type and distributed_lock_service_type must "
                  "both be ZooKeeper's, or neither: who lost the election must not write");
  }
  if (config.get_bool(kMeta, "recover_from_replica_server")) {
    return Status(Errc::kInvalidParameters,
                  "[meta_server] recover_from_replica_server = true: this version cannot rebuild "
                  "its state from replica "
                  "servers; set it to false");
  }
  return {};
}

}  // namespace

std::vector<ConfigKey> meta_config_keys() {
  std::vector<ConfigKey> keys;
  auto integer = [&](const char* section, const char* name, int64_t value, int64_t min, int64_t max,
                     const char* what) {
    keys.push_back(ConfigKey::integer(section, name, value, min, max, what));
  };
  auto mutable_integer = [&](const char* name, int64_t value, int64_t min, int64_t max,
                             const char* what) {
    keys.push_back(ConfigKey::integer(kMeta, name, value, min, max, what).mutable_at_run_time());
  };
  auto text = [&](const char* section, const char* name, const char* value, const char* what) {
    keys.push_back(ConfigKey::text(section, name, value, what));
  };
  auto boolean = [&](const char* name, bool value, const char* what) {
    keys.push_back(ConfigKey::boolean(kMeta, name, value, what));
  };

  text(kMeta, "server_list", "127.0.0.1:34601", "The meta servers, as host:port,host:port");
  text(kMeta, "state_dir", "./meta",
       "Directory of the embedded state store; metas of one machine share it");
  text(kMeta, "cluster_root", "/", "Root of the cluster's state in ZooKeeper");
  keys.push_back(
      ConfigKey::word(kMeta, "meta_state_service_type", "embedded",
                      {"embedded", "meta_state_service_zookeeper", "meta_state_service_simple"},
                      "Where the cluster's state is kept"));
  text(kMeta, "meta_state_service_parameters", "", "Accepted, without effect");
  keys.push_back(ConfigKey::word(
      kMeta, "distributed_lock_service_type", "embedded",
      {"embedded", "distributed_lock_service_zookeeper", "distributed_lock_service_simple"},
      "How the leader is elected"));
  text(kMeta, "distributed_lock_service_parameters", "",
       "Root of the lock in ZooKeeper; empty: lock below cluster_root");
  keys.push_back(ConfigKey::word(kMeta, "meta_function_level_on_start", "steady",
                                 {"stopped", "blind", "freezed", "steady", "lively"},
                                 "Function level of a new leader"));
  integer(kMeta, "node_live_percentage_threshold_for_update", 50, 0, 100,
          "Percentage of nodes that must live, else the cluster is freezed");
  mutable_integer("min_live_node_count_for_unfreeze", 1, 0, 100000,
                  "Nodes that must live, else the cluster is freezed");
  boolean("recover_from_replica_server", false,
          "Wait for START_RECOVERY instead of serving an empty state");
  integer(kMeta, "hold_seconds_for_dropped_app", 604800, 1, INT32_MAX,
          "Seconds for which a dropped table can be recalled");
  mutable_integer("max_allowed_replica_count", 5, 1, 16, "Largest replica count of a table");
  mutable_integer("min_allowed_replica_count", 1, 1, 16, "Smallest replica count of a table");
  integer(kMeta, "max_partition_count", 65536, 1, 1 << 20, "Largest partition count of a table");
  boolean("add_secondary_enable_flow_control", false,
          "Bound the learners that a node gets in one guardian pass");
  integer(kMeta, "add_secondary_max_count_for_one_node", 10, 0, 100000,
          "That bound; 0 stops all adding");
  integer(kMeta, "replica_assign_delay_ms_for_dropouts", 600000, 0, INT64_MAX / 4,
          "Milliseconds for which a lost secondary is awaited before another node gets its place");
  integer(kMeta, "max_replicas_in_group", 4, 0, 100, "Accepted, without effect");
  mutable_integer("max_reserved_dropped_replicas", 1, 0, 16,
                  "Replicas of former members that are remembered beyond the count");
  integer(kMeta, "stable_rs_min_running_seconds", 0, 0, INT32_MAX,
          "A node that restarts sooner counts as unstable; 0: never");
  integer(kMeta, "max_succssive_unstable_restart", 5, 1, 1000,
          "Unstable restarts after which a node is left out");
  boolean("enable_white_list", false, "Only nodes of replica_white_list may join");
  text(kMeta, "replica_white_list", "", "Nodes that may join, as host:port,host:port");
  text(kMeta, "server_load_balancer_type", "greedy_load_balancer", "Accepted, without effect");
  text(kMeta, "partition_guardian_type", "partition_guardian", "Accepted, without effect");
  boolean("balance_cluster", false, "Balance over all tables instead of each on its own");
  mutable_integer("balance_op_count_per_round", 10, 0, 100000, "Moves of one balancing round");
  boolean("balancer_in_turn", false, "Balance one table at a time");
  boolean("only_primary_balancer", false, "Balance primaries only");
  boolean("only_move_primary", false, "Balance without copying data");
  boolean("cold_backup_disabled", true, "Refuse backups");
  integer(kReplication, "lb_interval_ms", 10000, 100, 3600000,
          "Milliseconds between guardian passes");
  keys.push_back(
      ConfigKey::boolean(kReplication, "duplication_enabled", true, "Accept duplications"));
  integer(kReplication, "mutation_2pc_min_replica_count", 0, 0, 16,
          "Members without which writes are refused; 0: a majority");
  integer(kReplication, "fd_check_interval_ms", 200, 10, 60000,
          "Milliseconds between looks at the beacons");
  integer(kReplication, "fd_lease_seconds", 5, 1, 600,
          "Seconds a node serves without the meta server");
  integer(kReplication, "fd_grace_seconds", 6, 2, 600,
          "Seconds without beacon after which a node is dead; above the lease");
  keys.push_back(ConfigKey::boolean(
      "markab", "allow_any_partition_count", false,
      "Allow tables whose partition count is no power of two; they cannot be split"));
  for (ConfigKey& key : zk::config_keys()) keys.push_back(std::move(key));
  return keys;
}

namespace {

bool is_node_path(const std::string& path) {
  return !path.empty() && path[0] == '/' && (path.size() == 1 || path.back() != '/') &&
         path.find("//") == std::string::npos;
}

Status read_zookeeper(const Config& config, MetaOptions& out) {
  if (!asks_for_zookeeper(config, "meta_state_service_type")) return {};
  auto refuse = [](std::string why) { return Status(Errc::kInvalidParameters, std::move(why)); };
  auto options = zk::read_options(config, out.warnings);
  if (!options) return options.error();
  std::string lock = config.get_string(kMeta, "distributed_lock_service_parameters");
  lock = lock.substr(0, lock.find_first_of(" ,"));
  out.lock_root = !lock.empty()             ? lock
                  : out.cluster_root == "/" ? "/lock"
                                            : out.cluster_root + "/lock";
  for (const std::string& path : {out.cluster_root, out.lock_root}) {
    if (!is_node_path(path)) {
      return refuse(
          fmt::format("[meta_server] cluster_root, distributed_lock_service_parameters: "
                      "{} is no path; write it as /markab/cluster1",
                      path));
    }
  }
  // 03 §7: else a meta failover makes every replica inactive.
  Duration bound = out.core.lease - out.check_interval;
  if (options->session_timeout >= bound) {
    return refuse(fmt::format(
        "[zookeeper] timeout_ms = {} must be below [replication] fd_lease_seconds less "
        "fd_check_interval_ms, which is {} ms: replicas would stop serving in each meta failover",
        options->session_timeout / std::chrono::milliseconds(1),
        bound / std::chrono::milliseconds(1)));
  }
  out.zookeeper_hosts = config.get_string("zookeeper", "hosts_list");
  out.zookeeper = std::move(*options);
  return {};
}

}  // namespace

Result<MetaOptions> read_meta_options(const Config& config, HostPort self) {
  MetaOptions out;
  CoreOptions& core = out.core;
  auto number = [&](const char* name) { return config.get_int(kMeta, name); };
  auto refuse = [](std::string why) { return Status(Errc::kInvalidParameters, std::move(why)); };
  if (Status s = check_kinds(config); !s.ok()) return s;
  out.self = self;
  out.server_list = config.get_list(kMeta, "server_list");
  out.cluster_name = config.get_string(kReplication, "cluster_name");
  out.cluster_root = config.get_string(kMeta, "cluster_root");
  out.check_interval =
      std::chrono::milliseconds(config.get_int(kReplication, "fd_check_interval_ms"));
  core.lease = std::chrono::seconds(config.get_int(kReplication, "fd_lease_seconds"));
  core.grace = std::chrono::seconds(config.get_int(kReplication, "fd_grace_seconds"));
  if (core.grace <= core.lease) {
    return refuse(
        "[replication] fd_grace_seconds must be above fd_lease_seconds: else a node could be given "
        "up while it "
        "still serves");
  }
  core.allow_list_enabled = config.get_bool(kMeta, "enable_white_list");
  auto allowed = nodes_of(config, kMeta, "replica_white_list");
  if (!allowed) return allowed.error();
  core.allow_list = std::move(*allowed);
  for (const auto& text : out.server_list) {
    if (auto node = HostPort::parse(text); !node)
      return node.error().with_context("[meta_server] server_list");
  }
  core.stable_seconds = number("stable_rs_min_running_seconds");
  core.max_unstable_restarts = static_cast<int>(number("max_succssive_unstable_restart"));
  core.level = *parse_level(config.get_string(kMeta, "meta_function_level_on_start"));
  core.live_percentage = static_cast<int>(number("node_live_percentage_threshold_for_update"));
  refresh(config, core);
  out.refresh = [&config](CoreOptions& options) { refresh(config, options); };
  if (core.min_replica_count > core.max_replica_count) {
    return refuse(
        "[meta_server] min_allowed_replica_count must not be above max_allowed_replica_count");
  }
  core.max_partition_count = static_cast<int32_t>(number("max_partition_count"));
  if (Status s = read_zookeeper(config, out); !s.ok()) return s;
  core.any_partition_count = config.get_bool("markab", "allow_any_partition_count");
  core.hold_dropped_seconds = number("hold_seconds_for_dropped_app");
  core.mutation_2pc_min_replica_count =
      static_cast<int32_t>(config.get_int(kReplication, "mutation_2pc_min_replica_count"));
  core.guardian_interval =
      std::chrono::milliseconds(config.get_int(kReplication, "lb_interval_ms"));
  core.assign_delay_ms = number("replica_assign_delay_ms_for_dropouts");
  core.flow_control = config.get_bool(kMeta, "add_secondary_enable_flow_control");
  core.max_adds_per_node = static_cast<int>(number("add_secondary_max_count_for_one_node"));
  core.balancer_in_turn = config.get_bool(kMeta, "balancer_in_turn");
  core.only_primary_balancer = config.get_bool(kMeta, "only_primary_balancer");
  core.only_move_primary = config.get_bool(kMeta, "only_move_primary");
  return out;
}

}  // namespace markab::meta
