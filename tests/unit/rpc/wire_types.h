#pragma once
// Which types a procedure's arguments and result have, for tests and fuzzers that see frames of all
// kinds.

#include <string>

#include "idl/base_types.h"
#include "idl/command_types.h"
#include "idl/duplication_types.h"
#include "idl/fd_types.h"
#include "idl/learn_types.h"
#include "idl/meta_admin_types.h"
#include "idl/partition_types.h"
#include "idl/replica_admin_types.h"
#include "idl/rrdb_types.h"
#include "idl/security_types.h"
#include "rpc/task_code.h"

namespace markab::rpc {

template <typename Args, typename Result>
struct WireTypes {
  using ArgsType = Args;
  using ResultType = Result;
};

// Calls `visit(WireTypes<...>{})`; false for a procedure that is not in the list.
template <typename Visit>
bool visit_wire_types(TaskCode code, Visit visit) {
  switch (code) {
#define MARKAB_WIRE_TYPES(task, args, result)     \
  case TaskCode::task:                            \
    visit(WireTypes<wire::args, wire::result>{}); \
    return true;
    MARKAB_WIRE_TYPES(kPut, update_request, update_response)
    MARKAB_WIRE_TYPES(kMultiPut, multi_put_request, update_response)
    MARKAB_WIRE_TYPES(kRemove, blob, update_response)
    MARKAB_WIRE_TYPES(kMultiRemove, multi_remove_request, multi_remove_response)
    MARKAB_WIRE_TYPES(kIncr, incr_request, incr_response)
    MARKAB_WIRE_TYPES(kCheckAndSet, check_and_set_request, check_and_set_response)
    MARKAB_WIRE_TYPES(kCheckAndMutate, check_and_mutate_request, check_and_mutate_response)
    MARKAB_WIRE_TYPES(kDuplicate, duplicate_request, duplicate_response)
    MARKAB_WIRE_TYPES(kGet, blob, read_response)
    MARKAB_WIRE_TYPES(kTtl, blob, ttl_response)
    MARKAB_WIRE_TYPES(kBatchGet, batch_get_request, batch_get_response)
    MARKAB_WIRE_TYPES(kMultiGet, multi_get_request, multi_get_response)
    MARKAB_WIRE_TYPES(kSortkeyCount, blob, count_response)
    MARKAB_WIRE_TYPES(kGetScanner, get_scanner_request, scan_response)
    MARKAB_WIRE_TYPES(kScan, scan_request, scan_response)
    MARKAB_WIRE_TYPES(kNegotiation, negotiation_request, negotiation_response)
    MARKAB_WIRE_TYPES(kQueryDiskInfo, query_disk_info_request, query_disk_info_response)
    MARKAB_WIRE_TYPES(kReplicaDiskMigrate, replica_disk_migrate_request,
                      replica_disk_migrate_response)
    MARKAB_WIRE_TYPES(kAddNewDisk, add_new_disk_request, add_new_disk_response)
    MARKAB_WIRE_TYPES(kDetectHotkey, detect_hotkey_request, detect_hotkey_response)
    MARKAB_WIRE_TYPES(kLearn, learn_request, learn_response)
    MARKAB_WIRE_TYPES(kQueryLastCheckpointInfo, learn_request, learn_response)
    MARKAB_WIRE_TYPES(kNfsGetFileSize, get_file_size_request, get_file_size_response)
    MARKAB_WIRE_TYPES(kNfsCopy, copy_request, copy_response)
    MARKAB_WIRE_TYPES(kQueryPartitionConfigByIndex, query_cfg_request, query_cfg_response)
    MARKAB_WIRE_TYPES(kCreateApp, configuration_create_app_request,
                      configuration_create_app_response)
    MARKAB_WIRE_TYPES(kDropApp, configuration_drop_app_request, configuration_drop_app_response)
    MARKAB_WIRE_TYPES(kRecallApp, configuration_recall_app_request,
                      configuration_recall_app_response)
    MARKAB_WIRE_TYPES(kRenameApp, configuration_rename_app_request,
                      configuration_rename_app_response)
    MARKAB_WIRE_TYPES(kListApps, configuration_list_apps_request, configuration_list_apps_response)
    MARKAB_WIRE_TYPES(kListNodes, configuration_list_nodes_request,
                      configuration_list_nodes_response)
    MARKAB_WIRE_TYPES(kClusterInfo, configuration_cluster_info_request,
                      configuration_cluster_info_response)
    MARKAB_WIRE_TYPES(kControlMeta, configuration_meta_control_request,
                      configuration_meta_control_response)
    MARKAB_WIRE_TYPES(kProposeBalancer, configuration_balancer_request,
                      configuration_balancer_response)
    MARKAB_WIRE_TYPES(kUpdateAppEnv, configuration_update_app_env_request,
                      configuration_update_app_env_response)
    MARKAB_WIRE_TYPES(kConfigSync, configuration_query_by_node_request,
                      configuration_query_by_node_response)
    MARKAB_WIRE_TYPES(kUpdatePartitionConfiguration, configuration_update_request,
                      configuration_update_response)
    MARKAB_WIRE_TYPES(kQueryDuplication, duplication_query_request, duplication_query_response)
    MARKAB_WIRE_TYPES(kAddDuplication, duplication_add_request, duplication_add_response)
    MARKAB_WIRE_TYPES(kDuplicationSync, duplication_sync_request, duplication_sync_response)
    MARKAB_WIRE_TYPES(kFdPing, beacon_msg, beacon_ack)
#undef MARKAB_WIRE_TYPES
    case TaskCode::kCliCall:
      visit(WireTypes<wire::command, std::string>{});
      return true;
    case TaskCode::kClearScanner:
      visit(WireTypes<int64_t, std::string>{});
      return true;
    default:
      return false;
  }
}

}  // namespace markab::rpc
