#pragma once
// From what the wire says to what the caller is told. Pure; any thread.

#include <string>
#include <string_view>

#include "base/status.h"
#include "markab/outcome.h"
#include "rpc/task_code.h"

namespace markab::client {

// What to do about a failed attempt of a data operation (spec 01 §9.3, §12.2).
enum class Remedy {
  kFinal,    // tell the caller
  kReroute,  // surely not executed, it may live elsewhere: ask the meta, repeat anything
  kWait,     // surely not executed, same place: repeat anything after a while
  kUnsure,   // may have been executed: repeat what is idempotent
};

Remedy remedy_of(Errc envelope);
// Of a request that our own side could not, or would not, send.
Remedy remedy_of_unsent(Errc code);
ErrorCode code_of(Errc code);
// The storage outcome in a response (RocksDB's status codes, spec 02 §2); kOk for 0.
ErrorCode code_of_storage(int32_t error);
// An Error for a storage outcome that is not 0: "the server refused the arguments of get (4,
// InvalidArgument)".
Error storage_error(int32_t error, rpc::TaskCode task);

// Repeating it twice is the same as doing it once.
bool is_idempotent(rpc::TaskCode code);
// "get", "multi_set", "scan" and so on, as the caller knows the operation.
std::string_view operation_name(rpc::TaskCode code);

}  // namespace markab::client
