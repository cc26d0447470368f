#pragma once
// The simulated side of zk::Client: an ensemble with one order of writes, servers that follow it at
// their own pace, and sessions that expire.
//
//   SimZooKeeper zookeeper(world, {});
//   auto client = zookeeper.connect(runtime, 0, std::chrono::seconds(4));   // a zk::Client
//   zookeeper.cut(*client); zookeeper.heal(*client);    // its messages are lost
//   zookeeper.down(); zookeeper.up();                   // nobody is served, no session expires
//   zookeeper.stop_server(1); zookeeper.start_server(1);
//   zookeeper.expire(*client);                          // its session ends now, before its time:
//                                                       // what an operator's tool can do
//   zookeeper.on_change(...);                           // hears of each write, in their order
//
// What ZooKeeper guarantees holds, and not more: requests of one session take effect in order and
// are answered in order; a client sees its own writes and never goes back in time, not even when it
// changes servers; but a read may be older than what another client was told, a watch fires only
// when the client's server has come that far, and what a broken connection had under way may have
// taken effect or not.

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "sim/sim_runtime.h"
#include "zk/client.h"

namespace markab::sim {

class SimZooKeeper {
 public:
  struct Options {
    int servers = 3;
    Duration min_latency = std::chrono::microseconds(100);  // of a message, one way
    Duration max_latency = std::chrono::milliseconds(2);
    Duration max_lag = std::chrono::milliseconds(20);  // of a server behind the order of writes
    Duration tick = std::chrono::milliseconds(500);    // expiry is rounded up to it
  };
  SimZooKeeper(SimWorld& world, const Options& options);
  ~SimZooKeeper();

  // Whether a message passes between this client and that server, towards it (or back). The
  // connection is broken from the first one that does not.
  using Way = Function<bool(size_t server, bool towards)>;

  // A client of the node's process; it ends with that process' objects. The ensemble outlives it.
  // Without a `way` nothing but cut() is between the client and all servers.
  std::unique_ptr<zk::Client> connect(SimRuntime& node, int shard, Duration session_timeout,
                                      Way way = {});

  void down();
  void up();
  bool is_up() const { return up_; }
  void stop_server(int index);
  void start_server(int index);
  void cut(zk::Client& client);
  void heal(zk::Client& client);
  void expire(zk::Client& client);
  void set_latency(Duration least, Duration most);
  void set_lag(Duration most) { options_.max_lag = most; }
  int servers() const { return options_.servers; }

  // Each change in the order of writes: the path, and the new data or null when the node goes.
  void on_change(Callback<const std::string&, const std::string*> watch) {
    on_change_ = std::move(watch);
  }
  // What is stored, by path.
  std::map<std::string, std::string> data() const;
  bool has_session(int64_t id) const { return sessions_.count(id) != 0; }
  uint64_t writes() const { return static_cast<uint64_t>(head_.zxid); }
  uint64_t expirations() const { return expirations_; }

 private:
  friend class SimZooKeeperClient;
  struct Connection;
  struct Request;

  struct Entry {
    zk::Node node;
    std::set<std::string> children;  // names
    int32_t next_sequence = 0;
  };
  struct Change {
    enum class Kind { kCreate, kSet, kErase } kind = Kind::kCreate;
    std::string path;
    std::string data;
    int64_t owner = 0;
  };
  struct Write {
    int64_t zxid = 0;
    std::vector<Change> changes;
  };
  // A state of the tree: the newest one, and that of each server.
  struct Tree {
    std::map<std::string, Entry> entries;
    int64_t zxid = 0;
    void apply(const Write& write);
  };
  struct Server {
    Tree tree;
    bool runs = true;
    Instant applied_until;  // no later write may overtake an earlier one
    std::map<std::string, std::vector<std::pair<std::weak_ptr<Connection>, std::shared_ptr<Task>>>>
        watches;
  };
  struct Session {
    Duration timeout{};
    Instant deadline;
    std::weak_ptr<Connection> connection;
  };

  Duration latency();
  bool serves(int server) const { return up_ && servers_[static_cast<size_t>(server)].runs; }
  void touch(int64_t session);
  void watch_session(int64_t session);
  void end_session(int64_t session);
  zk::Outcome check(const std::vector<zk::Op>& ops, std::vector<Change>& changes);
  int64_t commit(std::vector<Change> changes);
  void apply(size_t server, const Write& write);
  void fire(Server& server, const Write& write);
  void arrive(const std::shared_ptr<Connection>& connection, Request request);
  void serve_next(const std::shared_ptr<Connection>& connection);
  void answer(const std::shared_ptr<Connection>& connection, Task task);
  void drop(const std::shared_ptr<Connection>& connection);
  void open(const std::shared_ptr<Connection>& connection, int64_t session, int64_t seen_zxid,
            Duration timeout);

  SimWorld& world_;
  Options options_;
  bool up_ = true;
  Tree head_;
  std::vector<Server> servers_;
  std::map<int64_t, Session> sessions_;
  int64_t next_session_ = 0x100;
  uint64_t expirations_ = 0;
  std::vector<std::weak_ptr<Connection>> connections_;
  Callback<const std::string&, const std::string*> on_change_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace markab::sim
