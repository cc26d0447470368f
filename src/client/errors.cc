#include "client/errors.h"

#include <fmt/format.h>

namespace markab {

const char* to_string(ErrorCode code) {
  switch (code) {
    case ErrorCode::kOk:
      return "Ok";
    case ErrorCode::kNotFound:
      return "NotFound";
    case ErrorCode::kTableNotFound:
      return "TableNotFound";
    case ErrorCode::kTimeout:
      return "Timeout";
    case ErrorCode::kInvalidArgument:
      return "InvalidArgument";
    case ErrorCode::kBusy:
      return "Busy";
    case ErrorCode::kUnavailable:
      return "Unavailable";
    case ErrorCode::kDenied:
      return "Denied";
    case ErrorCode::kCorruption:
      return "Corruption";
    case ErrorCode::kUnknownOutcome:
      return "UnknownOutcome";
    case ErrorCode::kAlreadyExists:
      return "AlreadyExists";
    case ErrorCode::kInternal:
      return "Internal";
    case ErrorCode::kClosed:
      return "Closed";
  }
  return "Unknown";
}

std::string Error::to_string() const {
  return message.empty() ? markab::to_string(code)
                         : fmt::format("{}: {}", markab::to_string(code), message);
}

std::string Origin::server() const {
  return fmt::format("{}.{}.{}.{}:{}", ipv4 >> 24, ipv4 >> 16 & 255, ipv4 >> 8 & 255, ipv4 & 255,
                     port);
}

namespace client {

Remedy remedy_of(Errc envelope) {
  switch (envelope) {
    case Errc::kObjectNotFound:
    case Errc::kInvalidState:
    case Errc::kInactiveState:
    case Errc::kParentPartitionMisused:
    case Errc::kSplitting:
      return Remedy::kReroute;
    case Errc::kBusy:
    case Errc::kServiceNotActive:
    case Errc::kTryAgain:
      return Remedy::kWait;
    // A member may have been lost, or the window filled, after the prepares went out (04 §1).
    case Errc::kNotEnoughMember:
    case Errc::kCapacityExceeded:
    case Errc::kNetworkFailure:
    case Errc::kReplicationFailure:
      return Remedy::kUnsure;
    default:
      return Remedy::kFinal;
  }
}

Remedy remedy_of_unsent(Errc code) {
  if (code == Errc::kBusy) return Remedy::kWait;
  return code == Errc::kNetworkFailure || code == Errc::kTimeout ? Remedy::kReroute
                                                                 : Remedy::kFinal;
}

ErrorCode code_of(Errc code) {
  switch (code) {
    case Errc::kOk:
      return ErrorCode::kOk;
    case Errc::kTimeout:
      return ErrorCode::kTimeout;
    case Errc::kBusy:
    case Errc::kCapacityExceeded:
    case Errc::kDiskInsufficient:
    case Errc::kBusyCreating:
    case Errc::kBusyDropping:
      return ErrorCode::kBusy;
    case Errc::kNetworkFailure:
    case Errc::kServiceNotActive:
    case Errc::kForwardToOthers:
    case Errc::kInvalidState:
    case Errc::kInactiveState:
    case Errc::kObjectNotFound:
    case Errc::kNotEnoughMember:
    case Errc::kSplitting:
    case Errc::kParentPartitionMisused:
    case Errc::kUnderRecovery:
      return ErrorCode::kUnavailable;
    case Errc::kInvalidParameters:
    case Errc::kInvalidData:
    case Errc::kHandlerNotFound:
    case Errc::kOperationDisabled:
    case Errc::kStateFreezed:
      return ErrorCode::kInvalidArgument;
    case Errc::kAclDeny:
    case Errc::kUnauthenticated:
      return ErrorCode::kDenied;
    case Errc::kCorruption:
    case Errc::kRdbCorruption:
      return ErrorCode::kCorruption;
    case Errc::kAppExist:
      return ErrorCode::kAlreadyExists;
    case Errc::kAppNotExist:
    case Errc::kAppDropped:
      return ErrorCode::kTableNotFound;
    default:
      return ErrorCode::kInternal;
  }
}

namespace {
constexpr std::string_view kStorageNames[] = {"Ok",
                                              "NotFound",
                                              "Corruption",
                                              "NotSupported",
                                              "InvalidArgument",
                                              "IOError",
                                              "MergeInProgress",
                                              "Incomplete",
                                              "ShutdownInProgress",
                                              "TimedOut",
                                              "Aborted",
                                              "Busy",
                                              "Expired",
                                              "TryAgain"};
}  // namespace

ErrorCode code_of_storage(int32_t error) {
  switch (error) {
    case 0:
      return ErrorCode::kOk;
    case 1:
      return ErrorCode::kNotFound;
    case 2:
      return ErrorCode::kCorruption;
    case 3:
    case 4:
      return ErrorCode::kInvalidArgument;
    case 8:
      return ErrorCode::kUnavailable;
    case 9:
      return ErrorCode::kTimeout;
    case 11:
      return ErrorCode::kBusy;
    default:
      return ErrorCode::kInternal;
  }
}

Error storage_error(int32_t error, rpc::TaskCode task) {
  if (error == 1) return {ErrorCode::kNotFound, "no such row"};
  std::string_view name = error >= 0 && error < static_cast<int32_t>(std::size(kStorageNames))
                              ? kStorageNames[error]
                              : "unknown";
  return {code_of_storage(error), fmt::format("the server ended {} with storage error {} ({})",
                                              operation_name(task), error, name)};
}

bool is_idempotent(rpc::TaskCode code) {
  return code != rpc::TaskCode::kIncr && code != rpc::TaskCode::kCheckAndSet &&
         code != rpc::TaskCode::kCheckAndMutate;
}

std::string_view operation_name(rpc::TaskCode code) {
  using rpc::TaskCode;
  switch (code) {
    case TaskCode::kPut:
      return "set";
    case TaskCode::kMultiPut:
      return "multi_set";
    case TaskCode::kRemove:
      return "del";
    case TaskCode::kMultiRemove:
      return "multi_del";
    case TaskCode::kIncr:
      return "incr";
    case TaskCode::kCheckAndSet:
      return "check_and_set";
    case TaskCode::kCheckAndMutate:
      return "check_and_mutate";
    case TaskCode::kGet:
      return "get";
    case TaskCode::kTtl:
      return "ttl";
    case TaskCode::kBatchGet:
      return "batch_get";
    case TaskCode::kMultiGet:
      return "multi_get";
    case TaskCode::kSortkeyCount:
      return "sortkey_count";
    case TaskCode::kGetScanner:
    case TaskCode::kScan:
    case TaskCode::kClearScanner:
      return "scan";
    default:
      return rpc::task_name(code);
  }
}

}  // namespace client
}  // namespace markab
