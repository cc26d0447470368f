#pragma once
// Failures as values. A Status is a wire error code and a sentence that names the cause; Result<T>
// is a value or a Status. Both are plain values: any thread, no allocation when all is well.
//
// The codes are those of the wire (spec 01 §9.1): their names travel, the integers are only for
// logs.

#include <fmt/format.h>

#include <boost/system/result.hpp>
#include <cstdint>
#include <string>
#include <string_view>

namespace markab {

enum class Errc : int32_t {
  kOk = 0,
  kUnknown,
  kServiceNotFound,
  kServiceAlreadyRunning,
  kIoPending,
  kTimeout,
  kServiceNotActive,
  kBusy,
  kNetworkInitFailed,
  kForwardToOthers,
  kObjectNotFound,
  kHandlerNotFound,
  kLearnFileFailed,
  kGetLearnStateFailed,
  kInvalidVersion,
  kInvalidParameters,
  kCapacityExceeded,
  kInvalidState,
  kInactiveState,
  kNotEnoughMember,
  kFileOperationFailed,
  kHandleEof,
  kWrongChecksum,
  kInvalidData,
  kInvalidHandle,
  kIncompleteData,
  kVersionOutdated,
  kPathNotFound,
  kPathAlreadyExist,
  kAddressAlreadyUsed,
  kStateFreezed,
  kLocalAppFailure,
  kBindIocpFailed,
  kNetworkStartFailed,
  kNotImplemented,
  kCheckpointFailed,
  kWrongTiming,
  kNoNeedOperate,
  kCorruption,
  kTryAgain,
  kClusterNotFound,
  kClusterAlreadyExist,
  kServiceAlreadyExist,
  kInjected,
  kReplicationFailure,
  kAppExist,
  kAppNotExist,
  kBusyCreating,
  kBusyDropping,
  kNetworkFailure,
  kUnderRecovery,
  kLearnerNotFound,
  kOperationDisabled,
  kExpired,
  kLockAlreadyExist,
  kHoldByOthers,
  kRecursiveLock,
  kNoOwner,
  kNodeAlreadyExist,
  kInconsistentState,
  kArrayIndexOutOfRange,
  kDirNotEmpty,
  kFsInternal,
  kIgnoreBadData,
  kAppDropped,
  kMockInternal,
  kZookeeperOperation,
  kChildRegistered,
  kIngestionFailed,
  kUnauthenticated,
  kKrb5Internal,
  kSaslInternal,
  kSaslIncomplete,
  kAclDeny,
  kSplitting,
  kParentPartitionMisused,
  kChildNotReady,
  kDiskInsufficient,
  kRetryExhausted,  // from here on known to C++ peers only: never in a THFT envelope
  kSyncRangerPoliciesFailed,
  kRangerParseAcl,
  kRangerPoliciesNoNeedUpdate,
  kRdbCorruption,
  kDiskIoError,
  kCurlFailed,
  kDupExist,
  kHttpError,
  kNotMatched,
};
inline constexpr int32_t kErrcCount = static_cast<int32_t>(Errc::kNotMatched) + 1;

// "ERR_OK" and so on; the string lives for ever.
std::string_view errc_name(Errc code);
// kUnknown for a name that is not in the list.
Errc errc_from_name(std::string_view name);
// The code that may be sent in a THFT envelope instead of `code` (spec 01 §9.1): itself where Go,
// Java and Python know it, else the nearest name that all of them know.
Errc errc_for_thft(Errc code);

class [[nodiscard]] Status {
 public:
  Status() = default;
  // NOLINTNEXTLINE(google-explicit-constructor): `return Errc::kBusy;` reads well
  Status(Errc code) : code_(code) {}
  Status(Errc code, std::string message) : code_(code), message_(std::move(message)) {}

  static Status Ok() { return {}; }

  bool ok() const { return code_ == Errc::kOk; }
  Errc code() const { return code_; }
  const std::string& message() const { return message_; }
  // "ERR_BUSY: the write queue of 2.3 holds 64 MiB", or only the name.
  std::string to_string() const;
  // The same code with `context` in front of the message: "opening 2.3: ...".
  Status with_context(std::string_view context) const;

  friend bool operator==(const Status& a, const Status& b) { return a.code_ == b.code_; }

 private:
  Errc code_ = Errc::kOk;
  std::string message_;
};

[[noreturn]] void throw_exception_from_error(const Status& status,
                                             const boost::source_location& where);

template <typename T>
using Result = boost::system::result<T, Status>;

}  // namespace markab

template <>
struct fmt::formatter<markab::Errc> : fmt::formatter<std::string_view> {
  auto format(markab::Errc code, fmt::format_context& context) const {
    return fmt::formatter<std::string_view>::format(markab::errc_name(code), context);
  }
};
template <>
struct fmt::formatter<markab::Status> : fmt::formatter<std::string_view> {
  auto format(const markab::Status& status, fmt::format_context& context) const {
    return fmt::formatter<std::string_view>::format(status.to_string(), context);
  }
};
