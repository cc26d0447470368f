#pragma once
// From task code to handler. Filled before the server listens, then read-only: any shard reads it
// without a lock. Handlers run on the shard where the bytes arrived.

#include <array>
#include <cstddef>

#include "rpc/message.h"

namespace markab::rpc {

class Dispatcher {
 public:
  // Registers the handler of one task code; a second one for the same code is a bug.
  void on(TaskCode code, Handler handler);
  // All storage reads and writes (kRead, kWrite) whose header names a partition (spec 01 §10.2).
  void on_partition(Handler handler) { partition_ = std::move(handler); }
  // Calls the handler, or answers ERR_HANDLER_NOT_FOUND. With a partition handler (replica daemons)
  // a header app_id > 0 goes to it if the name is a storage one, and to no handler of the daemon's
  // own (01 §10.2); without (meta daemons) the ids are ignored.
  void dispatch(Request request) const;

 private:
  std::array<Handler, 256> handlers_;
  Handler partition_;
};

}  // namespace markab::rpc
