// Between the replicas of one partition. These shapes are ours (04 §1: only what clients see is fixed): a prepare
// carries a run of mutations, each with its effects as bytes.
include "base.thrift"
include "partition.thrift"
include "learn.thrift"

namespace cpp markab.wire

struct mutation {
  1: i64 ballot
  2: i64 decree
  3: i64 timestamp_us
  4: base.blob effects
}

struct prepare_request {
  1: base.gpid pid
  2: i64 ballot
  3: base.rpc_address primary
  4: partition.partition_status status
  5: i64 learner_signature
  6: i64 last_committed_decree
  7: list<mutation> mutations
}

// Acknowledges every decree up to `decree` of the request's run.
struct prepare_ack {
  1: base.gpid pid
  2: base.error_code err
  3: i64 ballot
  4: i64 decree
  5: i64 last_committed_decree_in_app
  6: i64 last_committed_decree_in_prepare_list
}

struct group_check_request {
  1: partition.app_info app
  2: base.rpc_address node
  3: partition.replica_configuration config
  4: i64 last_committed_decree
  5: optional i64 confirmed_decree
  6: optional base.gpid child_gpid
  7: optional partition.split_status meta_split_status
}

struct group_check_response {
  1: base.gpid pid
  2: base.error_code err
  3: i64 last_committed_decree_in_app
  4: i64 last_committed_decree_in_prepare_list
  5: learn.learner_status learner_status_ = learn.learner_status.LearningInvalid
  6: i64 learner_signature
  7: base.rpc_address node
  8: optional bool is_split_stopped
  9: optional partition.disk_status disk_status = partition.disk_status.NORMAL
}

struct learn_notify_response {
  1: base.gpid pid
  2: base.error_code err
  3: i64 signature
}
