// How a replica gets what it lacks: the learn conversation and the copying of files (spec 04 §4.5, 06 §4.3, §4.4).
include "base.thrift"
include "partition.thrift"

namespace cpp markab.wire

enum learn_type {
  LT_INVALID = 0,
  LT_CACHE = 1,
  LT_APP = 2,
  LT_LOG = 3
}

enum learner_status {
  LearningInvalid = 0,
  LearningWithoutPrepare = 1,
  LearningWithPrepareTransient = 2,
  LearningWithPrepare = 3,
  LearningSucceeded = 4,
  LearningFailed = 5
}

struct learn_state {
  1: i64 from_decree_excluded
  2: i64 to_decree_included
  3: base.blob meta
  4: list<string> files
  5: optional i64 learn_start_decree
  6: optional list<i64> file_sizes
  7: optional list<string> file_checksums
}

struct learn_request {
  1: base.gpid pid
  2: base.rpc_address learner
  3: i64 signature
  4: i64 last_committed_decree_in_app
  5: i64 last_committed_decree_in_prepare_list
  6: base.blob app_specific_learn_request
  7: optional i64 max_gced_decree
  8: optional base.host_port hp_learner
  9: optional partition.checksum_type checksum_type = partition.checksum_type.CST_NONE
}

struct learn_response {
  1: base.error_code err
  2: partition.replica_configuration config
  3: i64 last_committed_decree
  4: i64 prepare_start_decree
  5: learn_type type = learn_type.LT_INVALID
  6: learn_state state
  7: base.rpc_address learnee
  8: string base_local_dir
  9: optional string replica_disk_tag
  10: optional base.host_port hp_learnee
}

struct get_file_size_request {
  1: base.rpc_address source
  2: string dst_dir
  3: list<string> file_list
  4: string source_dir
  5: bool overwrite
  6: optional string source_disk_tag
  7: optional string dest_disk_tag
  8: optional base.gpid pid
  9: optional base.host_port hp_source
}

// `error` is a number, not a name: 0 is success (06 §4.4).
struct get_file_size_response {
  1: i32 error
  2: list<string> file_list
  3: list<i64> size_list
}

struct copy_request {
  1: base.rpc_address source
  2: string source_dir
  3: string dst_dir
  4: string file_name
  5: i64 offset
  6: i32 size
  7: bool is_last
  8: bool overwrite
  9: optional string source_disk_tag
  10: optional base.gpid pid
  11: optional base.host_port hp_source
}

struct copy_response {
  1: base.error_code error
  2: base.blob file_content
  3: i64 offset
  4: i32 size
}
