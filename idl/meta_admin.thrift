// What the meta server serves: membership updates, config sync, tables, nodes (spec 03 §1.4, §4, §13).
include "base.thrift"
include "partition.thrift"

namespace cpp markab.wire

enum node_status {
  NS_INVALID = 0,
  NS_ALIVE = 1,
  NS_UNALIVE = 2
}

enum meta_function_level {
  fl_stopped = 100,
  fl_blind = 200,
  fl_freezed = 300,
  fl_steady = 400,
  fl_lively = 500,
  fl_invalid = 10000
}

enum app_env_operation {
  APP_ENV_OP_INVALID = 0,
  APP_ENV_OP_SET = 1,
  APP_ENV_OP_DEL = 2,
  APP_ENV_OP_CLEAR = 3
}

enum balancer_request_type {
  move_primary = 0,
  copy_primary = 1,
  copy_secondary = 2
}

struct configuration_update_request {
  1: partition.app_info info
  2: partition.partition_configuration config
  3: partition.config_type type = partition.config_type.CT_INVALID
  4: base.rpc_address node
  5: base.rpc_address host_node
  6: optional partition.split_status meta_split_status
  7: optional base.host_port hp_node
}

struct configuration_update_response {
  1: base.error_code err
  2: partition.partition_configuration config
}

struct replica_server_info {
  1: map<string, string> geo_tags
  2: i64 total_capacity_mb
}

struct configuration_query_by_node_request {
  1: base.rpc_address node
  2: optional list<partition.replica_info> stored_replicas
  3: optional replica_server_info info
  4: optional base.host_port hp_node
}

struct configuration_query_by_node_response {
  1: base.error_code err
  2: list<configuration_update_request> partitions
  3: optional list<partition.replica_info> gc_replicas
  // Markab's own: the present memberships of stored replicas that are no members.
  100: optional list<configuration_update_request> elsewhere
}

struct create_app_options {
  1: i32 partition_count
  2: i32 replica_count
  3: bool success_if_exist
  4: string app_type
  5: bool is_stateful
  6: map<string, string> envs
  7: optional bool atomic_idempotent = false
}

struct configuration_create_app_request {
  1: string app_name
  2: create_app_options options
}

struct configuration_create_app_response {
  1: base.error_code err
  2: i32 appid
}

struct drop_app_options {
  1: bool success_if_not_exist
  2: optional i64 reserve_seconds
}

struct configuration_drop_app_request {
  1: string app_name
  2: drop_app_options options
}

struct configuration_drop_app_response {
  1: base.error_code err
}

struct configuration_recall_app_request {
  1: i32 app_id
  2: string new_app_name
}

struct configuration_recall_app_response {
  1: base.error_code err
  2: partition.app_info info
}

struct configuration_rename_app_request {
  1: string old_app_name
  2: string new_app_name
}

struct configuration_rename_app_response {
  1: base.error_code err
  2: string hint_message
}

struct configuration_list_apps_request {
  1: partition.app_status status = partition.app_status.AS_INVALID
  2: optional string app_name_pattern
  3: optional partition.pattern_match_type match_type
}

struct configuration_list_apps_response {
  1: base.error_code err
  2: list<partition.app_info> infos
  3: optional string hint_message
}

struct node_info {
  1: node_status status = node_status.NS_INVALID
  2: base.rpc_address node
  3: optional base.host_port hp_node
}

struct configuration_list_nodes_request {
  1: node_status status = node_status.NS_INVALID
}

struct configuration_list_nodes_response {
  1: base.error_code err
  2: list<node_info> infos
}

struct configuration_cluster_info_request {
}

struct configuration_cluster_info_response {
  1: base.error_code err
  2: list<string> keys
  3: list<string> values
}

struct configuration_meta_control_request {
  1: meta_function_level level
}

struct configuration_meta_control_response {
  1: base.error_code err
  2: meta_function_level old_level
}

// Id 4 was used once and is never to be used again (spec 03 §4.5).
struct configuration_proposal_action {
  1: base.rpc_address target
  2: base.rpc_address node
  3: partition.config_type type
  5: optional base.host_port hp_target
  6: optional base.host_port hp_node
}

struct configuration_balancer_request {
  1: base.gpid gpid
  2: list<configuration_proposal_action> action_list
  3: optional bool force = false
  4: optional balancer_request_type balance_type
}

struct configuration_balancer_response {
  1: base.error_code err
}

struct configuration_get_max_replica_count_request {
  1: string app_name
}

struct configuration_get_max_replica_count_response {
  1: base.error_code err
  2: i32 max_replica_count
  3: string hint_message
}

struct configuration_set_max_replica_count_request {
  1: string app_name
  2: i32 max_replica_count
}

struct configuration_set_max_replica_count_response {
  1: base.error_code err
  2: i32 old_max_replica_count
  3: string hint_message
}

struct configuration_get_atomic_idempotent_request {
  1: string app_name
}

struct configuration_get_atomic_idempotent_response {
  1: base.error_code err
  2: bool atomic_idempotent
  3: string hint_message
}

struct configuration_set_atomic_idempotent_request {
  1: string app_name
  2: bool atomic_idempotent
}

struct configuration_set_atomic_idempotent_response {
  1: base.error_code err
  2: bool old_atomic_idempotent
  3: string hint_message
}

struct start_app_manual_compact_request {
  1: string app_name
  2: optional i64 trigger_time
  3: optional i32 target_level
  4: optional bool bottommost
  5: optional i32 max_running_count
}

struct start_app_manual_compact_response {
  1: base.error_code err
  2: string hint_msg
}

struct query_app_manual_compact_request {
  1: string app_name
}

struct query_app_manual_compact_response {
  1: base.error_code err
  2: string hint_msg
  3: optional i32 progress
}

struct configuration_update_app_env_request {
  1: string app_name
  2: app_env_operation op = app_env_operation.APP_ENV_OP_INVALID
  3: optional list<string> keys
  4: optional list<string> values
  5: optional string clear_prefix
}

struct configuration_update_app_env_response {
  1: base.error_code err
  2: string hint_message
}

struct ddd_node_info {
  1: base.rpc_address node
  2: i64 drop_time_ms
  3: bool is_alive
  4: bool is_collected
  5: i64 ballot
  6: i64 last_committed_decree
  7: i64 last_prepared_decree
  8: optional base.host_port hp_node
}

struct ddd_partition_info {
  1: partition.partition_configuration config
  2: list<ddd_node_info> dropped
  3: string reason
}

struct ddd_diagnose_request {
  1: base.gpid pid
}

struct ddd_diagnose_response {
  1: base.error_code err
  2: list<ddd_partition_info> partitions
}

struct configuration_recovery_request {
  1: list<base.rpc_address> recovery_nodes
  2: bool skip_bad_nodes
  3: bool skip_lost_partitions
  4: optional list<base.host_port> hp_recovery_nodes
}

struct configuration_recovery_response {
  1: base.error_code err
  2: string hint_message
}
