#include "security/access.h"

#include <fmt/format.h>

namespace markab::security {

using rpc::TaskCode;
using rpc::TaskKind;

std::string_view access_class_name(AccessClass c) {
  constexpr std::string_view kNames[] = {"open", "data", "internal", "admin"};
  return kNames[static_cast<size_t>(c)];
}

AccessClass access_class(TaskCode code) {
  switch (code) {
    case TaskCode::kNegotiation:
    // 05 §7.2: the default open list of meta servers.
    case TaskCode::kClusterInfo:
    case TaskCode::kListApps:
    case TaskCode::kDddDiagnose:
    case TaskCode::kListNodes:
    case TaskCode::kQueryPartitionConfigByIndex:
      return AccessClass::kOpen;
    // Between daemons: what replica servers and meta servers tell each other, and what a supervisor
    // witnesses.
    case TaskCode::kConfigSync:
    case TaskCode::kUpdatePartitionConfiguration:
    case TaskCode::kDuplicationSync:
    case TaskCode::kReportRestoreStatus:
    case TaskCode::kRegisterChildReplica:
    case TaskCode::kNotifyStopSplit:
    case TaskCode::kQueryChildState:
    case TaskCode::kFdPing:
    case TaskCode::kReportDeath:
    case TaskCode::kLeave:
    case TaskCode::kRelay:
    case TaskCode::kFetchLog:
    case TaskCode::kStepDown:
    case TaskCode::kQueryAppInfo:
    case TaskCode::kQueryLastCheckpointInfo:
    case TaskCode::kNfsGetFileSize:
    case TaskCode::kNfsCopy:
    case TaskCode::kQueryReplicaInfo:
    case TaskCode::kQueryPnDecree:
    case TaskCode::kConfigProposal:
    case TaskCode::kPrepare:
    case TaskCode::kGroupCheck:
    case TaskCode::kLearn:
    case TaskCode::kLearnCompletionNotify:
    case TaskCode::kLearnAddLearner:
    case TaskCode::kRemoveReplica:
    case TaskCode::kColdBackup:
    case TaskCode::kClearColdBackup:
    case TaskCode::kBulkLoad:
    case TaskCode::kGroupBulkLoad:
    case TaskCode::kSplitNotifyCatchUp:
    case TaskCode::kSplitUpdateChildPartitionCount:
      return AccessClass::kInternal;
    default:
      break;
  }
  TaskKind kind = rpc::task_kind(code);
  // Ingestion is told by the replica server to itself, not by clients.
  if (code == TaskCode::kIngest) return AccessClass::kInternal;
  return kind == TaskKind::kRead || kind == TaskKind::kWrite ? AccessClass::kData
                                                             : AccessClass::kAdmin;
}

UserSet parse_users(std::string_view text) {
  UserSet out;
  while (!text.empty()) {
    auto comma = std::min(text.find(','), text.size());
    std::string_view item = text.substr(0, comma);
    while (!item.empty() && (item.front() == ' ' || item.front() == '\t')) item.remove_prefix(1);
    while (!item.empty() && (item.back() == ' ' || item.back() == '\t')) item.remove_suffix(1);
    if (!item.empty()) out.emplace(item);
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return out;
}

Result<AccessRules> AccessRules::make(AccessOptions options) {
  AccessRules made;
  for (const std::string& name : options.open_codes) {
    TaskCode code = rpc::task_from_name(name);
    if (code == TaskCode::kUnknown) {
      return Status(
          Errc::kInvalidParameters,
          fmt::format("[security] meta_acl_rpc_allow_list: no task code is called '{}'", name));
    }
    made.open_.insert(code);
  }
  made.options_ = std::move(options);
  return made;
}

bool AccessRules::allows(TaskCode code, std::string_view user) const {
  if (!options_.enable_acl || is_super(user)) return true;
  AccessClass c = access_class(code);
  if (code == TaskCode::kNegotiation || open_.contains(code)) return true;
  if (c == AccessClass::kOpen) return open_.empty();  // the list replaces the default (05 §7.2)
  return c == AccessClass::kInternal && is_service(user);
}

bool AccessRules::allows_data(const UserSet& allowed_users, std::string_view user) const {
  if (!options_.enable_acl || allowed_users.empty()) return true;
  return is_super(user) || allowed_users.contains(user);
}

}  // namespace markab::security
