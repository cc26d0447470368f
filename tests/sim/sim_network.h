#pragma once
// The simulated side of rpc::Network: what TCP does to the messages of the nodes of one world.
//
// Each shard of a node has one connection to each peer that it calls. On a connection messages
// arrive in order, in each direction; on different connections they overtake each other. A message
// is late because segments were lost and sent again (a spike, which holds up all behind it), or
// because the way is cut: what was sent into a cut waits and arrives late when the cut heals, or
// the connection breaks by then. When a connection breaks, its calls end with kNetworkFailure,
// although some of the requests under way still arrive: that is where duplicates and reordering
// come from, for callers repeat what failed. A process that is gone refuses; one that dies breaks
// its connections; a machine that dies is silent until it runs again. Besides, a message may be
// dropped by its sender or receiver without a word (lose), which every caller must survive too.
//
// One thread. The world outlives it; it outlives every node.

#include <deque>
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
  // Probabilities per message.
  double lose = 0;
  double spike = 0;
  double reset = 0;
  Duration max_spike = std::chrono::seconds(1);
};

class SimNetwork {
 public:
  explicit SimNetwork(SimWorld& world) : world_(world) {}
  ~SimNetwork();

  // `node` listens from now on; `dispatcher` and `runtime` live until down(node).
  void up(HostPort node, SimRuntime& runtime, const rpc::Dispatcher& dispatcher);
  // The process is gone: new calls to it are refused, pending ones fail at once. With its machine
  // nobody is told anything.
  void down(HostPort node, bool with_machine = false);
  // One shard's way out. The object lives at most as long as the runtime.
  std::unique_ptr<rpc::Network> make(HostPort self, SimRuntime& runtime, int shard);

  void set_faults(const NetworkFaults& faults) { faults_ = faults; }
  const NetworkFaults& faults() const { return faults_; }
  // Nothing passes from `from` to `to` (one way) until the cut heals.
  void cut(HostPort from, HostPort to) { cuts_.insert({from, to}); }
  void isolate(HostPort node, const std::vector<HostPort>& others) {
    for (auto other : others) {
      cut(node, other);
      cut(other, node);
    }
  }
  void heal(HostPort from, HostPort to);
  void heal();
  bool passes(HostPort from, HostPort to) const { return !cuts_.contains({from, to}); }

  uint64_t messages() const { return messages_; }
  // Calls without an end; for the check that none is forgotten.
  size_t pending() const;
  // Called for each answer that reaches its caller.
  void on_answer(Callback<HostPort> watch) { on_answer_ = std::move(watch); }

 private:
  struct Endpoint {
    SimRuntime* runtime;
    const rpc::Dispatcher* dispatcher;
  };
  struct Pending;
  struct Connection;
  class Caller;
  class Sink;
  using ConnectionPtr = std::shared_ptr<Connection>;
  using PendingPtr = std::shared_ptr<Pending>;
  enum Direction { kForth, kBack };

  Duration delay();
  ConnectionPtr connect(Caller& caller, HostPort to);
  void transmit(const ConnectionPtr& c, Direction direction, Task deliver);
  void put_under_way(const ConnectionPtr& c, Direction direction, Task deliver);
  void release(const ConnectionPtr& c, Direction direction);
  void heal_connections();
  void break_connection(const ConnectionPtr& c, const char* why);
  void break_all_to(HostPort node, const char* why);
  void deliver(const ConnectionPtr& c, const PendingPtr& call);
  void finish(const PendingPtr& call, rpc::Reply reply);

  SimWorld& world_;
  NetworkFaults faults_;
  std::map<HostPort, Endpoint> endpoints_;
  std::set<HostPort> dead_machines_;
  std::set<std::pair<HostPort, HostPort>> cuts_;
  // By caller (numbers in the order of their making) and peer.
  std::map<std::pair<uint64_t, HostPort>, ConnectionPtr> connections_;
  uint64_t next_caller_ = 1;
  uint64_t next_id_ = 1;
  uint64_t messages_ = 0;
  Callback<HostPort> on_answer_;
};

}  // namespace markab::sim
