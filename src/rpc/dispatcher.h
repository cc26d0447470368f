#pragma once
// From task code to handler. Filled before the server listens, then read-only: any shard reads it
// without a lock. Handlers run on the shard where the bytes arrived.

#include <array>
#include <cstddef>
#include <string>

#include "rpc/message.h"

namespace markab::rpc {

class Dispatcher {
 public:
  // Registers the handler of one task code; a second one for the same code is a bug.
  void on(TaskCode code, Handler handler);
  // All storage reads and writes (kRead, kWrite) whose header names a partition (spec 01 §10.2).
  void on_partition(Handler handler) { partition_ = std::move(handler); }
  // How requests of one code are refused (spec 05 §2.6): `encode` makes the result struct that says
  // so in its `err`. Codes without one are refused by the envelope.
  void on_refusal(TaskCode code, Function<std::string(Errc)> encode);
  // Asked before each handler but the partitions': false means that it has answered the request.
  void set_gate(Function<bool(Request&)> gate) { gate_ = std::move(gate); }
  void refuse(Request request, Errc error) const;
  // Calls the handler, or answers ERR_HANDLER_NOT_FOUND. With a partition handler (replica daemons)
  // a header app_id > 0 goes to it if the name is a storage one, and to no handler of the daemon's
  // own (01 §10.2); without (meta daemons) the ids are ignored.
  void dispatch(Request request) const;

 private:
  std::array<Handler, 256> handlers_;
  std::array<Function<std::string(Errc)>, 256> refusals_;
  Handler partition_;
  Function<bool(Request&)> gate_;
};

}  // namespace markab::rpc
