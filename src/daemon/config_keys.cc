#include "daemon/config_keys.h"

#include "security/options.h"

namespace markab::daemon {

std::vector<ConfigKey> common_keys(uint16_t default_port) {
  std::vector<ConfigKey> keys;
  auto add = [&](ConfigKey key) { keys.push_back(std::move(key)); };
  add(ConfigKey::text("core", "data_dir", ".", "Directory of the daemon's own files"));
  add(ConfigKey::text("core", "log_file", "", "Log file; empty: standard error"));
  add(ConfigKey::word("core", "logging_start_level", "info",
                      {"debug", "info", "warning", "error", "LOG_LEVEL_DEBUG", "LOG_LEVEL_INFO",
                       "LOG_LEVEL_WARNING", "LOG_LEVEL_ERROR", "LOG_LEVEL_FATAL"},
                      "Least level that is logged"));
  add(ConfigKey::text("network", "address", "127.0.0.1",
                      "IPv4 address to listen on and to be known by"));
  add(ConfigKey::integer("network", "port", default_port, 1, 65535, "Port of RPC and HTTP"));
  add(ConfigKey::integer("network", "shards", 0, 0, 1024, "Event loops; 0: one per core"));
  add(ConfigKey::integer("network", "blocking_threads", 4, 1, 256,
                         "Threads for reads of single rows that must go to the disk"));
  add(ConfigKey::integer("network", "max_frame_bytes", 64 << 20, 1 << 20, 1 << 30,
                         "Longest message taken from a peer, in bytes"));
  add(ConfigKey::integer("network", "conn_threshold_per_ip", 0, 0, 1000000,
                         "Connections per peer address; 0: no bound"));
  add(ConfigKey::boolean("http", "enable_http_server", true, "Answer HTTP on the port"));
  add(ConfigKey::text("markab", "host_port_always", "",
                      "CIDR list of peers whose answers carry host_port fields"));
  add(ConfigKey::text("markab", "host_port_never", "",
                      "CIDR list of peers whose answers never carry host_port fields"));
  add(ConfigKey::text("replication", "cluster_name", "markab",
                      "Name of the cluster, in metrics and data directories"));
  for (auto& key : security::security_config_keys()) add(std::move(key));
  return keys;
}

namespace {

// A number of the replica server.
struct Number {
  const char* name;
  int64_t value;
  int64_t min;
  int64_t max;
  const char* description;
};

constexpr Number kReplicationNumbers[] = {
    {"log_sync_interval_ms", 100, 1, 60000, "With log_sync = interval: milliseconds between syncs"},
    {"log_private_file_size_mb", 32, 1, 1024, "Size of a log segment in MiB"},
    {"log_flush_mb", 64, 1, 65536, "Log of a replica, in MiB, after which its store is flushed"},
    {"replay_budget_mb", 128, 16, 1 << 20,
     "Log that a restart may have to replay, in MiB of all replicas together; stores are flushed "
     "accordingly, each 4 MiB at the least and log_flush_mb at the most"},
    {"log_private_reserve_max_size_mb", 64, 0, 65536,
     "Log kept for replicas that come back, in MiB per replica"},
    {"max_allowed_write_size", 1 << 20, 0, 64 << 20,
     "Longest body of a write in bytes; 0: no bound"},
    {"max_queued_write_mb", 64, 1, 4096,
     "Writes waiting per replica, in MiB; more are refused as busy"},
    {"mutation_cache_mb", 256, 1, 1 << 20,
     "Committed mutations kept in memory for members that lag, all replicas together, in MiB"},
    {"write_window", 64, 1, 4096, "Mutations in flight per replica"},
    {"mutation_2pc_min_replica_count", 0, 0, 16,
     "Members without which writes are refused; 0: a majority"},
    {"commit_point_after_ms", 500, 1, 1000,
     "Idleness after which secondaries are told the last commit point; a write tells it too"},
    {"prepare_timeout_ms_for_secondaries", 3000, 100, 60000,
     "Silence after which a secondary is given up"},
    {"fd_beacon_interval_ms", 1000, 20, 60000, "Milliseconds between beacons to the meta server"},
    {"fd_lease_seconds", 5, 1, 600, "Seconds a node serves without the meta server"},
    {"group_check_interval_ms", 10000, 1000, 600000,
     "Milliseconds between a primary's messages to members that have nothing new"},
    {"config_sync_interval_ms", 30000, 100, 600000,
     "Milliseconds between full comparisons with the meta server"},
    {"leave_timeout_ms", 2500, 100, 60000, "Longest time for handing over primaries at SIGTERM"},
    {"linger_ms", 2000, 0, 60000,
     "Time for which moved partitions are still answered for at SIGTERM"},
    {"learn_mb_per_second", 100, 0, 100000,
     "Bandwidth of all checkpoint copies to this node, and of all from it, in MiB/s; 0: no limit"},
    {"learn_app_max_concurrent_count", 5, 1, 1000,
     "Checkpoints copied to this node at a time; others wait for their turn"},
    {"log_held_max_size_mb", 4096, 64, 1 << 24,
     "Log kept for learners and duplication, in MiB per replica; then the slowest begins anew"},
    {"disk_stat_interval_seconds", 600, 1, 86400,
     "Seconds between removals of what was set aside long enough"},
};

// Those that may be changed while the server runs.
constexpr Number kLiveReplicationNumbers[] = {
    {"disk_min_available_space_ratio", 10, 0, 100,
     "Percent of a disk below which it takes no new replicas and no writes"},
    {"gc_disk_error_replica_interval_seconds", 604800, 0, 1 << 30,
     "Seconds for which a replica set aside as damaged is kept"},
    {"gc_disk_garbage_replica_interval_seconds", 86400, 0, 1 << 30,
     "Seconds for which a replica that is not needed is kept"},
    {"gc_disk_migration_tmp_replica_interval_seconds", 86400, 0, 1 << 30,
     "Seconds for which an unfinished copy to another disk is kept"},
    {"gc_disk_migration_origin_replica_interval_seconds", 604800, 0, 1 << 30,
     "Seconds for which a replica that moved to another disk is kept at its origin"},
};

constexpr Number kServerNumbers[] = {
    {"rocksdb_multi_get_max_iteration_count", 3000, 1, 1000000,
     "Rows that a multi_get looks at, and returns, at most"},
    {"rocksdb_multi_get_max_iteration_size", 30 << 20, 1, 48 << 20,
     "Bytes of sort keys and values that a multi_get returns at most"},
    {"rocksdb_max_iteration_count", 1000, 1, 1000000,
     "Rows that one batch of a scan looks at at most"},
    {"rocksdb_iteration_threshold_time_ms", 30000, 0, INT32_MAX,
     "Milliseconds that a read of many rows may take, where a table says nothing else; 0: any"},
    {"rocksdb_slow_query_threshold_ns", 100000000, 20000000, INT64_MAX,
     "Nanoseconds from which a read counts as slow, where a table says nothing else"},
    {"rocksdb_abnormal_get_size_threshold", 1000000, 0, INT32_MAX,
     "Bytes of a value from which a get counts as abnormal; 0: none"},
    {"rocksdb_abnormal_multi_get_size_threshold", 10000000, 0, INT32_MAX,
     "Bytes of an answer from which a multi_get counts as abnormal; 0: none"},
    {"rocksdb_abnormal_multi_get_iterate_count_threshold", 1000, 0, INT32_MAX,
     "Rows looked at from which a multi_get counts as abnormal; 0: none"},
    {"rocksdb_abnormal_batch_get_bytes_threshold", 10000000, 0, INT32_MAX,
     "Bytes of an answer from which a batch_get counts as abnormal; 0: none"},
    {"rocksdb_abnormal_batch_get_count_threshold", 2000, 0, INT32_MAX,
     "Keys from which a batch_get counts as abnormal; 0: none"},
    {"perf_counter_read_capacity_unit_size", 4096, 1, 1 << 30,
     "Bytes that one capacity unit reads; a power of two"},
    {"perf_counter_write_capacity_unit_size", 4096, 1, 1 << 30,
     "Bytes that one capacity unit writes; a power of two"},
    {"dup_lagging_write_threshold_ms", 10000, 0, INT32_MAX,
     "Milliseconds on their way after which duplicated writes count as lagging"},
};

constexpr Number kEngineNumbers[] = {
    {"memory_mb", 0, 0, 16 << 20,
     "Block cache and write buffers of all replicas together, in MiB; 0: 40 % of the memory, "
     "between 128 MiB and 16 GiB"},
    {"write_rate_mb", 500, 0, 1 << 20,
     "Flushes and compactions of all replicas together, in MiB/s; 0: no limit"},
    {"background_threads", 2, 1, 256, "Threads for flushes and compactions"},
};

constexpr Number kThreadNumbers[] = {
    {"range_read_threads", 4, 1, 256,
     "Threads for reads of many rows; what single rows need from the disk does not wait for them"},
    {"sync_threads", 4, 1, 64, "Threads per data directory that sync logs"},
    {"background_threads", 4, 1, 64,
     "Threads that open, flush and copy stores, behind all other work"},
};

template <size_t N>
void add_numbers(std::vector<ConfigKey>& keys, const char* section, const Number (&numbers)[N],
                 bool live = false) {
  for (const Number& n : numbers) {
    auto key = ConfigKey::integer(section, n.name, n.value, n.min, n.max, n.description);
    keys.push_back(live ? std::move(key).mutable_at_run_time() : std::move(key));
  }
}

}  // namespace

std::vector<ConfigKey> replica_keys() {
  auto keys = common_keys(34801);
  auto add = [&](ConfigKey key) { keys.push_back(std::move(key)); };
  add(ConfigKey::text("meta_server", "server_list", "127.0.0.1:34601",
                      "The meta servers, as host:port,host:port"));
  add_numbers(keys, "network", kThreadNumbers);
  add(ConfigKey::text("replication", "data_dirs", "default:./data",
                      "Where replicas are kept, as tag:path,tag:path"));
  add(ConfigKey::word("replication", "log_sync", "always", {"always", "interval", "none"},
                      "When a write is acknowledged: after the log is synced, before a sync each "
                      "interval, or when the "
                      "kernel has it"));
  add_numbers(keys, "replication", kReplicationNumbers);
  add(ConfigKey::text("replication", "data_dirs_black_list_file", "",
                      "File that names paths, one a line, below which no data directory is used"));
  add(ConfigKey::boolean("replication", "ignore_broken_disk", true,
                         "Start without a data directory that cannot be used"));
  add_numbers(keys, "replication", kLiveReplicationNumbers, true);
  add(ConfigKey::boolean("replication", "reject_write_when_disk_insufficient", true,
                         "Refuse writes of clients when the disk is short of space")
          .mutable_at_run_time());
  add_numbers(keys, "pegasus.server", kServerNumbers);
  add_numbers(keys, "engine", kEngineNumbers);
  add(ConfigKey::text("replication", "dup_cluster_name", "",
                      "This cluster's name in [duplication-group]; empty: cluster_name"));
  add(ConfigKey::boolean("replication", "dup_ignore_other_cluster_ids", false,
                         "Take duplicated writes of clusters that [duplication-group] does not "
                         "name"));
  add(ConfigKey::word("replication", "dup_verify_timetag", "always",
                      {"always", "as_requested", "never"},
                      "When a duplicated put gives way to a newer record of this cluster"));
  add(ConfigKey::text("duplication-group", "", "",
                      "Clusters that duplicate to each other, and their ids, 1 to 127"));
  return keys;
}

Config::Ignored ignored_keys() {
  Config::Ignored out;
  for (const char* section :
       {"apps*", "threadpool*", "task*", "tools*", "uri-resolver*", "uri*", "block_service*",
        "meta_server.apps*", "pegasus.collector*", "pegasus.clusters*", "components*", "nfs*",
        "metrics*", "http*", "ddl_client*", "shell*", "zookeeper*", "ranger*", "pegasus.server*"}) {
    out.emplace_back(section, "");
  }
  for (const char* key :
       {"tool", "toollets", "pause_on_start", "logging_factory_name", "logging_flush_on_exit",
        "enable_default_app_mimic", "tcmalloc_release_rate", "cli_local", "cli_remote"}) {
    out.emplace_back("core", key);
  }
  for (const char* key : {"primary_interface", "explicit_host_address", "io_service_worker_count",
                          "conn_pool_max_size", "enable_udp", "unknown_message_header_format"}) {
    out.emplace_back("network", key);
  }
  return out;
}

}  // namespace markab::daemon
