#pragma once
// Replica servers (production code) on simulated machines, and a meta server that does what the
// test says: it stores memberships, grants leases to everybody, and takes no decision of its own.
// One seed, one thread.

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/map_store.h"
#include "idl/fd_types.h"
#include "idl/markab_types.h"
#include "idl/meta_admin_types.h"
#include "replica/admin.h"
#include "replica/server.h"
#include "rpc/codec.h"
#include "rpc/http.h"
#include "sim/sim_files.h"
#include "sim/sim_network.h"
#include "sim/sim_runtime.h"

namespace markab::replica {

class ServerWorld {
 public:
  struct Options {
    int nodes = 3;
    std::vector<std::string> disks = {"a"};  // tags; a machine has the folders /a, /b, /c
    std::function<void(ServerOptions&)> tune = [](ServerOptions&) {};
  };
  explicit ServerWorld(Options options);
  ~ServerWorld();

  static HostPort address(int i) { return {0x0A000100 + static_cast<uint32_t>(i), 34801}; }
  static HostPort meta_address() { return {0x0A000001, 34601}; }
  static HostPort other_meta_address() { return {0x0A000002, 34601}; }

  void boot(int i);
  void kill(int i);
  void crash(int i);  // the machine: what was not durable is gone
  ReplicaServer& server(int i) { return *nodes_[static_cast<size_t>(i)].server; }
  sim::SimFileSystem& files(int i) { return *nodes_[static_cast<size_t>(i)].files; }
  sim::SimWorld& world() { return world_; }
  sim::SimNetwork& network() { return network_; }

  // A table of that id, one partition: the first node leads, the others follow.
  Gpid create(int app, std::vector<int> members);
  // The meta server's word to one node.
  void propose(int to, Gpid gpid, wire::config_type::type type, int node);
  const pacifica::Membership& membership(Gpid gpid) { return memberships_[gpid]; }
  bool is_member(Gpid gpid, int node);
  // The node's last word about it in a config sync; nullptr: it was not among its replicas.
  const wire::replica_info* reported(int i, Gpid gpid) const;
  // nullptr when it is not open there.
  std::shared_ptr<Replica> replica(int i, Gpid gpid);
  pacifica::Role role(int i, Gpid gpid);
  // A client's write, by itself; the envelope's code.
  Errc put(int to, Gpid gpid, const std::string& key, const std::string& value);
  // The store's rows there.
  std::map<std::string, std::string> rows(int i, Gpid gpid);
  // A call of an operator.
  template <typename Response, typename Request>
  Response ask(int to, rpc::TaskCode code, const Request& request) {
    Response response;
    auto reply = call(address(to), code, {}, rpc::encode_args(request));
    EXPECT_TRUE(reply.status.ok() && rpc::decode_result(reply.result, response).ok());
    return response;
  }
  rpc::Reply call(HostPort to, rpc::TaskCode code, Gpid gpid, const std::string& args);
  // Another meta server leads from now on, or the same one another time.
  void lead_anew() { ++leadership_; }
  void lead_elsewhere();
  void number_leaderships(bool yes) { leadership_ = yes ? 1 : 0; }
  int syncs() const { return syncs_; }
  // Config syncs stay unanswered until released.
  void hold_syncs() { hold_syncs_ = true; }
  void release_syncs();
  // What the meta server tells of a partition.
  wire::configuration_update_request entry(Gpid gpid);

  bool until(const Function<bool()>& reached, Duration limit = std::chrono::seconds(60)) {
    return world_.run_until(reached, limit);
  }

 private:
  struct Node {
    std::unique_ptr<sim::SimFileSystem> files;
    std::unique_ptr<sim::SimRuntime> runtime;
    std::vector<std::unique_ptr<rpc::Network>> networks;
    std::unique_ptr<MetricRegistry> metrics;
    std::unique_ptr<rpc::Dispatcher> dispatcher;
    std::unique_ptr<rpc::HttpRouter> http;
    std::unique_ptr<rpc::RemoteCommands> commands;
    std::unique_ptr<ReplicaServer> server;
    std::unique_ptr<AdminService> admin;
    int boots = 0;
  };
  void serve_meta();
  void answer_sync(rpc::Request request);
  void end(int i);

  const Options options_;
  sim::SimWorld world_{7};
  sim::SimNetwork network_{world_};
  std::unique_ptr<sim::SimRuntime> meta_;
  rpc::Dispatcher meta_dispatcher_;
  HostPort meta_at_ = meta_address();
  int64_t leadership_ = 1;
  int syncs_ = 0;
  bool hold_syncs_ = false;
  std::vector<rpc::Request> held_syncs_;
  std::unique_ptr<sim::SimRuntime> client_;
  std::unique_ptr<rpc::Network> client_network_;
  std::map<Gpid, pacifica::Membership> memberships_;
  std::map<HostPort, std::vector<wire::replica_info>> reports_;
  std::vector<Node> nodes_;
};

}  // namespace markab::replica
