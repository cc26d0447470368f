#pragma once
// The simulated side of rpc::Network: messages between the nodes of one world, delayed, lost, cut
// off or refused as the test says. Requests reach the Dispatcher of the node they name, on one of
// its shards; answers and failures come back as a real channel would bring them: a dead process
// refuses, a process that dies fails what it owes, silence times out.

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "rpc/dispatcher.h"
#include "rpc/network.h"
#include "sim_runtime.h"

namespace markab::sim {

struct NetworkFaults {
  Duration min_delay = std::chrono::microseconds(50);
  Duration max_delay = std::chrono::microseconds(500);
  double lose_request = 0;  // probability per message
  double lose_reply = 0;
};

class SimNetwork {
 public:
  explicit SimNetwork(SimWorld& world) : world_(world) {}

  // `node` listens from now on; `dispatcher` and `runtime` live until down(node).
  void up(HostPort node, SimRuntime& runtime, const rpc::Dispatcher& dispatcher);
  // The process is gone: new calls to it are refused, pending ones fail at once.
  void down(HostPort node);
  // One shard's way out. The object lives at most as long as the runtime.
  std::unique_ptr<rpc::Network> make(HostPort self, SimRuntime& runtime, int shard);

  void set_faults(const NetworkFaults& faults) { faults_ = faults; }
  // Nothing passes from `from` to `to` (one way) until heal().
  void cut(HostPort from, HostPort to) { cuts_.insert({from, to}); }
  void isolate(HostPort node, const std::vector<HostPort>& others) {
    for (auto other : others) {
      cut(node, other);
      cut(other, node);
    }
  }
  void heal() { cuts_.clear(); }
  uint64_t messages() const { return messages_; }

 private:
  struct Endpoint {
    SimRuntime* runtime;
    const rpc::Dispatcher* dispatcher;
    uint64_t incarnation;
    int next_shard = 0;
  };
  class Caller;
  class Sink;
  struct Pending;

  Duration delay() {
    auto span = static_cast<uint64_t>((faults_.max_delay - faults_.min_delay).count());
    return faults_.min_delay +
           Duration(static_cast<int64_t>(span == 0 ? 0 : world_.random().below(span)));
  }
  bool passes(HostPort from, HostPort to) const { return !cuts_.contains({from, to}); }
  void deliver(const std::shared_ptr<Pending>& call);
  static void finish(const std::shared_ptr<Pending>& call, rpc::Reply reply);

  SimWorld& world_;
  NetworkFaults faults_;
  std::map<HostPort, Endpoint> endpoints_;
  std::set<std::pair<HostPort, HostPort>> cuts_;
  // Per direction, nothing overtakes what was sent before it: a connection is a stream.
  std::map<std::pair<HostPort, HostPort>, Instant> last_arrival_;
  std::vector<std::weak_ptr<Pending>> delivered_;  // calls that a node owes an answer
  uint64_t next_incarnation_ = 1;
  uint64_t next_id_ = 1;
  uint64_t messages_ = 0;

  Instant arrival(HostPort from, HostPort to);
};

}  // namespace markab::sim
