// Tables and partitions as clients, metas and replicas describe them to one another (spec 01 §8, 03 §1).
include "base.thrift"

namespace cpp markab.wire

enum app_status {
  AS_INVALID = 0,
  AS_AVAILABLE = 1,
  AS_CREATING = 2,
  AS_CREATE_FAILED = 3,
  AS_DROPPING = 4,
  AS_DROP_FAILED = 5,
  AS_DROPPED = 6,
  AS_RECALLING = 7
}

enum partition_status {
  PS_INVALID = 0,
  PS_INACTIVE = 1,
  PS_ERROR = 2,
  PS_PRIMARY = 3,
  PS_SECONDARY = 4,
  PS_POTENTIAL_SECONDARY = 5,
  PS_PARTITION_SPLIT = 6
}

enum split_status {
  NOT_SPLIT = 0,
  SPLITTING = 1,
  PAUSING = 2,
  PAUSED = 3,
  CANCELING = 4
}

enum disk_status {
  NORMAL = 0,
  SPACE_INSUFFICIENT = 1,
  IO_ERROR = 2
}

enum manual_compaction_status {
  IDLE = 0,
  QUEUING = 1,
  RUNNING = 2,
  FINISHED = 3
}

enum pattern_match_type {
  PMT_INVALID = 0,
  PMT_MATCH_ALL = 1,
  PMT_MATCH_EXACT = 2,
  PMT_MATCH_ANYWHERE = 3,
  PMT_MATCH_PREFIX = 4,
  PMT_MATCH_POSTFIX = 5,
  PMT_MATCH_REGEX = 6
}

enum checksum_type {
  CST_INVALID = 0,
  CST_NONE = 1,
  CST_MD5 = 2
}

enum config_type {
  CT_INVALID = 0,
  CT_ASSIGN_PRIMARY = 1,
  CT_UPGRADE_TO_PRIMARY = 2,
  CT_ADD_SECONDARY = 3,
  CT_UPGRADE_TO_SECONDARY = 4,
  CT_DOWNGRADE_TO_SECONDARY = 5,
  CT_DOWNGRADE_TO_INACTIVE = 6,
  CT_REMOVE = 7,
  CT_ADD_SECONDARY_FOR_LB = 8,
  CT_PRIMARY_FORCE_UPDATE_BALLOT = 9,
  CT_DROP_PARTITION = 10,
  CT_REGISTER_CHILD = 11
}

// The meta struct of THFT header version 1 (spec 01 §3).
struct request_meta {
  1: i32 app_id
  2: i32 partition_index
  3: i32 client_timeout
  4: i64 partition_hash
  5: bool is_backup_request
}

// Fields 9 to 11: set or not by spec 01 §7.3.
struct partition_configuration {
  1: base.gpid pid
  2: i64 ballot
  3: i32 max_replica_count
  4: base.rpc_address primary
  5: list<base.rpc_address> secondaries
  6: list<base.rpc_address> last_drops
  7: i64 last_committed_decree
  8: i32 partition_flags
  9: optional base.host_port hp_primary
  10: optional list<base.host_port> hp_secondaries
  11: optional list<base.host_port> hp_last_drops
}

struct query_cfg_request {
  1: string app_name
  2: list<i32> partition_indices
}

struct query_cfg_response {
  1: base.error_code err
  2: i32 app_id
  3: i32 partition_count
  4: bool is_stateful
  5: list<partition_configuration> partitions
}

struct app_info {
  1: app_status status = app_status.AS_INVALID
  2: string app_type
  3: string app_name
  4: i32 app_id
  5: i32 partition_count
  6: map<string, string> envs
  7: bool is_stateful
  8: i32 max_replica_count
  9: i64 expire_second
  10: i64 create_second
  11: i64 drop_second
  12: optional bool duplicating = false
  13: i32 init_partition_count = -1
  14: optional bool is_bulk_loading = false
  15: optional bool atomic_idempotent = false
}

struct file_meta {
  1: string name
  2: i64 size
  3: string md5
}

struct replica_configuration {
  1: base.gpid pid
  2: i64 ballot
  3: base.rpc_address primary
  4: partition_status status = partition_status.PS_INVALID
  5: i64 learner_signature
  6: optional bool pop_all = false
  7: optional bool split_sync_to_child = false
  8: optional base.host_port hp_primary
}

struct replica_info {
  1: base.gpid pid
  2: i64 ballot
  3: partition_status status
  4: i64 last_committed_decree
  5: i64 last_prepared_decree
  6: i64 last_durable_decree
  7: string app_type
  8: string disk_tag
  9: optional manual_compaction_status manual_compact_status
}
