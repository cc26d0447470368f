// Operators' and the meta server's questions to a replica server (spec 04 §4.4).
include "base.thrift"
include "partition.thrift"

namespace cpp markab.wire

enum hotkey_type {
  READ = 0,
  WRITE = 1
}

enum detect_action {
  START = 0,
  STOP = 1,
  QUERY = 2
}

struct disk_info {
  1: string tag
  2: string full_dir
  3: i64 disk_capacity_mb
  4: i64 disk_available_mb
  5: map<i32, set<base.gpid>> holding_primary_replicas
  6: map<i32, set<base.gpid>> holding_secondary_replicas
}

struct query_disk_info_request {
  1: base.rpc_address node1
  2: string app_name
  3: optional base.host_port hp_node1
}

struct query_disk_info_response {
  1: base.error_code err
  2: i64 total_capacity_mb
  3: i64 total_available_mb
  4: list<disk_info> disk_infos
}

struct replica_disk_migrate_request {
  1: base.gpid pid
  2: string origin_disk
  3: string target_disk
}

struct replica_disk_migrate_response {
  1: base.error_code err
  2: optional string hint
}

struct add_new_disk_request {
  1: string disk_str
}

struct add_new_disk_response {
  1: base.error_code err
  2: optional string err_hint
}

struct detect_hotkey_request {
  1: hotkey_type type
  2: detect_action action
  3: base.gpid pid
}

struct detect_hotkey_response {
  1: base.error_code err
  2: optional string err_hint
  3: optional string hotkey_result
}

struct query_app_info_request {
  1: base.rpc_address meta_server
  2: optional base.host_port hp_meta_server
}

struct query_app_info_response {
  1: base.error_code err
  2: list<partition.app_info> apps
}

struct query_replica_info_request {
  1: base.rpc_address node1
  2: optional base.host_port hp_node1
}

struct query_replica_info_response {
  1: base.error_code err
  2: list<partition.replica_info> replicas
}

struct query_replica_decree_request {
  1: base.gpid pid
  2: base.rpc_address node1
  3: optional base.host_port hp_node1
}

struct query_replica_decree_response {
  1: base.error_code err
  2: i64 last_decree
}
