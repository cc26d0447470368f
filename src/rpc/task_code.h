#pragma once
// The names of remote procedures (spec 01 §11). On the wire a procedure is its name; inside it is a
// small integer, so that dispatch is an array look-up.

#include <cstdint>
#include <string_view>

namespace markab::rpc {

// How a daemon treats a request of that name.
enum class TaskKind : uint8_t {
  kRead,     // storage read: goes to the partition in the header
  kWrite,    // storage write: goes to the partition in the header
  kMeta,     // served by meta daemons
  kReplica,  // served by replica daemons, outside of the client path
  kBoth,     // served by every daemon
};

// X(enumerator, wire name without RPC_, kind)
#define MARKAB_TASK_CODES(X)                                                         \
  X(kPut, "RRDB_RRDB_PUT", kWrite)                                                   \
  X(kMultiPut, "RRDB_RRDB_MULTI_PUT", kWrite)                                        \
  X(kRemove, "RRDB_RRDB_REMOVE", kWrite)                                             \
  X(kMultiRemove, "RRDB_RRDB_MULTI_REMOVE", kWrite)                                  \
  X(kIncr, "RRDB_RRDB_INCR", kWrite)                                                 \
  X(kCheckAndSet, "RRDB_RRDB_CHECK_AND_SET", kWrite)                                 \
  X(kCheckAndMutate, "RRDB_RRDB_CHECK_AND_MUTATE", kWrite)                           \
  X(kDuplicate, "RRDB_RRDB_DUPLICATE", kWrite)                                       \
  X(kIngest, "RRDB_RRDB_BULK_LOAD", kWrite)                                          \
  X(kGet, "RRDB_RRDB_GET", kRead)                                                    \
  X(kTtl, "RRDB_RRDB_TTL", kRead)                                                    \
  X(kBatchGet, "RRDB_RRDB_BATCH_GET", kRead)                                         \
  X(kMultiGet, "RRDB_RRDB_MULTI_GET", kRead)                                         \
  X(kSortkeyCount, "RRDB_RRDB_SORTKEY_COUNT", kRead)                                 \
  X(kGetScanner, "RRDB_RRDB_GET_SCANNER", kRead)                                     \
  X(kScan, "RRDB_RRDB_SCAN", kRead)                                                  \
  X(kClearScanner, "RRDB_RRDB_CLEAR_SCANNER", kRead)                                 \
  X(kCliCall, "CLI_CLI_CALL", kBoth)                                                 \
  X(kNegotiation, "NEGOTIATION", kBoth)                                              \
  X(kQueryDiskInfo, "QUERY_DISK_INFO", kReplica)                                     \
  X(kReplicaDiskMigrate, "REPLICA_DISK_MIGRATE", kReplica)                           \
  X(kAddNewDisk, "ADD_NEW_DISK", kReplica)                                           \
  X(kDetectHotkey, "DETECT_HOTKEY", kReplica)                                        \
  X(kQueryAppInfo, "QUERY_APP_INFO", kReplica)                                       \
  X(kQueryLastCheckpointInfo, "QUERY_LAST_CHECKPOINT_INFO", kReplica)                \
  X(kNfsGetFileSize, "NFS_GET_FILE_SIZE", kReplica)                                  \
  X(kNfsCopy, "NFS_COPY", kReplica)                                                  \
  X(kQueryReplicaInfo, "QUERY_REPLICA_INFO", kReplica)                               \
  X(kQueryPnDecree, "QUERY_PN_DECREE", kReplica)                                     \
  X(kConfigProposal, "CONFIG_PROPOSAL", kReplica)                                    \
  X(kPrepare, "PREPARE", kReplica)                                                   \
  X(kGroupCheck, "GROUP_CHECK", kReplica)                                            \
  X(kLearn, "LEARN", kReplica)                                                       \
  X(kLearnCompletionNotify, "LEARN_COMPLETION_NOTIFY", kReplica)                     \
  X(kLearnAddLearner, "LEARN_ADD_LEARNER", kReplica)                                 \
  X(kRemoveReplica, "REMOVE_REPLICA", kReplica)                                      \
  X(kColdBackup, "COLD_BACKUP", kReplica)                                            \
  X(kClearColdBackup, "CLEAR_COLD_BACKUP", kReplica)                                 \
  X(kBulkLoad, "BULK_LOAD", kReplica)                                                \
  X(kGroupBulkLoad, "GROUP_BULK_LOAD", kReplica)                                     \
  X(kSplitNotifyCatchUp, "SPLIT_NOTIFY_CATCH_UP", kReplica)                          \
  X(kSplitUpdateChildPartitionCount, "SPLIT_UPDATE_CHILD_PARTITION_COUNT", kReplica) \
  X(kQueryPartitionConfigByIndex, "CM_QUERY_PARTITION_CONFIG_BY_INDEX", kMeta)       \
  X(kCreateApp, "CM_CREATE_APP", kMeta)                                              \
  X(kDropApp, "CM_DROP_APP", kMeta)                                                  \
  X(kRecallApp, "CM_RECALL_APP", kMeta)                                              \
  X(kRenameApp, "CM_RENAME_APP", kMeta)                                              \
  X(kListApps, "CM_LIST_APPS", kMeta)                                                \
  X(kListNodes, "CM_LIST_NODES", kMeta)                                              \
  X(kClusterInfo, "CM_CLUSTER_INFO", kMeta)                                          \
  X(kControlMeta, "CM_CONTROL_META", kMeta)                                          \
  X(kProposeBalancer, "CM_PROPOSE_BALANCER", kMeta)                                  \
  X(kStartRecovery, "CM_START_RECOVERY", kMeta)                                      \
  X(kUpdateAppEnv, "CM_UPDATE_APP_ENV", kMeta)                                       \
  X(kDddDiagnose, "CM_DDD_DIAGNOSE", kMeta)                                          \
  X(kGetMaxReplicaCount, "CM_GET_MAX_REPLICA_COUNT", kMeta)                          \
  X(kSetMaxReplicaCount, "CM_SET_MAX_REPLICA_COUNT", kMeta)                          \
  X(kGetAtomicIdempotent, "CM_GET_ATOMIC_IDEMPOTENT", kMeta)                         \
  X(kSetAtomicIdempotent, "CM_SET_ATOMIC_IDEMPOTENT", kMeta)                         \
  X(kAddDuplication, "CM_ADD_DUPLICATION", kMeta)                                    \
  X(kModifyDuplication, "CM_MODIFY_DUPLICATION", kMeta)                              \
  X(kQueryDuplication, "CM_QUERY_DUPLICATION", kMeta)                                \
  X(kListDuplication, "CM_LIST_DUPLICATION", kMeta)                                  \
  X(kStartBackupApp, "CM_START_BACKUP_APP", kMeta)                                   \
  X(kQueryBackupStatus, "CM_QUERY_BACKUP_STATUS", kMeta)                             \
  X(kStartRestore, "CM_START_RESTORE", kMeta)                                        \
  X(kQueryRestoreStatus, "CM_QUERY_RESTORE_STATUS", kMeta)                           \
  X(kAddBackupPolicy, "CM_ADD_BACKUP_POLICY", kMeta)                                 \
  X(kModifyBackupPolicy, "CM_MODIFY_BACKUP_POLICY", kMeta)                           \
  X(kQueryBackupPolicy, "CM_QUERY_BACKUP_POLICY", kMeta)                             \
  X(kStartPartitionSplit, "CM_START_PARTITION_SPLIT", kMeta)                         \
  X(kQueryPartitionSplit, "CM_QUERY_PARTITION_SPLIT", kMeta)                         \
  X(kControlPartitionSplit, "CM_CONTROL_PARTITION_SPLIT", kMeta)                     \
  X(kStartBulkLoad, "CM_START_BULK_LOAD", kMeta)                                     \
  X(kQueryBulkLoadStatus, "CM_QUERY_BULK_LOAD_STATUS", kMeta)                        \
  X(kControlBulkLoad, "CM_CONTROL_BULK_LOAD", kMeta)                                 \
  X(kClearBulkLoad, "CM_CLEAR_BULK_LOAD", kMeta)                                     \
  X(kStartManualCompact, "CM_START_MANUAL_COMPACT", kMeta)                           \
  X(kQueryManualCompactStatus, "CM_QUERY_MANUAL_COMPACT_STATUS", kMeta)              \
  X(kConfigSync, "CM_CONFIG_SYNC", kMeta)                                            \
  X(kUpdatePartitionConfiguration, "CM_UPDATE_PARTITION_CONFIGURATION", kMeta)       \
  X(kDuplicationSync, "CM_DUPLICATION_SYNC", kMeta)                                  \
  X(kReportRestoreStatus, "CM_REPORT_RESTORE_STATUS", kMeta)                         \
  X(kRegisterChildReplica, "CM_REGISTER_CHILD_REPLICA", kMeta)                       \
  X(kNotifyStopSplit, "CM_NOTIFY_STOP_SPLIT", kMeta)                                 \
  X(kQueryChildState, "CM_QUERY_CHILD_STATE", kMeta)                                 \
  X(kFdPing, "FD_FAILURE_DETECTOR_PING", kMeta)                                      \
  /* ours: between our own daemons, supervisors and shell */                         \
  X(kReportDeath, "MARKAB_REPORT_DEATH", kMeta)                                      \
  X(kLeave, "MARKAB_LEAVE", kMeta)                                                   \
  X(kRelay, "MARKAB_RELAY", kMeta)                                                   \
  X(kFetchLog, "MARKAB_FETCH_LOG", kReplica)                                         \
  X(kStepDown, "MARKAB_STEP_DOWN", kReplica)

enum class TaskCode : uint8_t {
  kUnknown = 0,
#define X(name, text, kind) name,
  MARKAB_TASK_CODES(X)
#undef X
};

// "RPC_RRDB_RRDB_GET"; the string lives for ever. "" for kUnknown.
std::string_view task_name(TaskCode code);
// "RPC_RRDB_RRDB_GET_ACK".
std::string_view task_ack_name(TaskCode code);
// kUnknown for a name that is not in the list.
TaskCode task_from_name(std::string_view name);
TaskKind task_kind(TaskCode code);

}  // namespace markab::rpc
