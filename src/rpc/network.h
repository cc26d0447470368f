#pragma once
// Outgoing messages, as a seam: calls from a shard to another node. The real side keeps connections
// (channel.h); the simulated side delays, loses, duplicates and reorders.
//
// A call ends exactly once on the calling shard: with the peer's answer, or with the reason why
// there is none. When a connection breaks, all its pending calls end at once (kNetworkFailure);
// none waits for its timeout.

#include <memory>
#include <string>
#include <string_view>

#include "base/function.h"
#include "base/ids.h"
#include "base/status.h"
#include "io/shard.h"
#include "rpc/task_code.h"

namespace markab::rpc {

struct CallOptions {
  Gpid gpid;  // {0, 0} for calls that name no partition
  uint64_t partition_hash = 0;
  Duration timeout = std::chrono::seconds(5);
};

// The answer to a call. `result` (the encoded result struct) points into `block` and is valid as
// long as that lives.
struct Reply {
  // Ok; or the peer's envelope error; or kNetworkFailure (connection refused or lost; the sentence
  // says which, and whether the request had been sent), kTimeout, kBusy (in-flight bound reached).
  Status status;
  // The failure is local and the request was surely never sent: safe to repeat anything.
  bool never_sent = false;
  std::string_view result;
  std::shared_ptr<void> block;
};

// One shard's way out. Calls are made on that shard only.
class Network {
 public:
  virtual ~Network() = default;
  // `args` is the encoded argument struct (codec.h, encode_args); copied before the call returns.
  virtual void call(HostPort to, TaskCode code, const CallOptions& options, std::string_view args,
                    Callback<Reply> done) = 0;
  // The address under which this node is known to others.
  virtual HostPort self() const = 0;
};

}  // namespace markab::rpc
