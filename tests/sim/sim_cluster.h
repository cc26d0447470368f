#pragma once
// A whole cluster in one process from one seed: a meta server and replica servers (production code)
// over the simulated clock, network and disks, with the map store in RocksDB's place. Crashes lose
// what was not durable.

#include <memory>
#include <string>
#include <vector>

#include "client/core.h"
#include "meta/memory_store.h"
#include "meta/meta_server.h"
#include "replica/server.h"
#include "rpc/http.h"
#include "sim_files.h"
#include "sim_network.h"
#include "sim_runtime.h"

namespace markab::sim {

struct ClusterOptions {
  int replicas = 3;
  int shards = 2;
  wal::LogSync log_sync = wal::LogSync::kAlways;
};

class SimCluster {
 public:
  SimCluster(uint64_t seed, const ClusterOptions& options);
  ~SimCluster();

  SimWorld& world() { return world_; }
  SimNetwork& network() { return network_; }
  client::Core& client() { return *client_; }
  static HostPort meta_address() { return {0x0A000001, 34601}; }
  static HostPort replica_address(int i) { return {0x0A000100 + static_cast<uint32_t>(i), 34801}; }

  // Creates a table of three replicas and waits until it is known to be durable.
  void create_table(const std::string& name, int partitions);

  bool up(int i) const { return nodes_[static_cast<size_t>(i)].server != nullptr; }
  // The machine dies: what was not durable may be gone.
  void crash(int i);
  // Only the process dies: the kernel keeps what was written.
  void kill(int i);
  void boot(int i);
  // What a supervisor does when it saw the process end.
  void report_death(int i);
  replica::ReplicaServer& server(int i) { return *nodes_[static_cast<size_t>(i)].server; }
  // For tests that hand a node requests of their own making.
  const rpc::Dispatcher& dispatcher(int i) const {
    return *nodes_[static_cast<size_t>(i)].dispatcher;
  }

  // The rows of a replica, and how far it has applied; empty when it is not there.
  struct Content {
    Decree applied = 0;
    std::map<std::string, std::string> rows;
  };
  std::map<Gpid, Content> content(int i);

 private:
  class SoleElection;
  struct Node {
    std::unique_ptr<SimFileSystem> files;
    std::unique_ptr<SimRuntime> runtime;
    std::vector<std::unique_ptr<rpc::Network>> networks;
    std::unique_ptr<MetricRegistry> metrics;
    std::unique_ptr<rpc::Dispatcher> dispatcher;
    std::unique_ptr<rpc::HttpRouter> http;
    std::unique_ptr<replica::ReplicaServer> server;
    int boots = 0;
    int machine_boots = 0;
  };
  void end_process(Node& node, HostPort address);

  const ClusterOptions options_;
  SimWorld world_;
  SimNetwork network_;

  meta::MemoryDisk meta_disk_;
  std::unique_ptr<SimRuntime> meta_runtime_;
  std::unique_ptr<rpc::Network> meta_network_;
  std::unique_ptr<meta::MemoryStore> meta_store_;
  std::unique_ptr<meta::Election> meta_election_;
  MetricRegistry meta_metrics_;
  rpc::Dispatcher meta_dispatcher_;
  rpc::HttpRouter meta_http_;
  rpc::RemoteCommands meta_commands_;
  std::unique_ptr<meta::MetaServer> meta_;

  std::vector<Node> nodes_;

  std::unique_ptr<SimRuntime> client_runtime_;
  std::unique_ptr<rpc::Network> client_network_;
  std::unique_ptr<client::Core> client_;
};

}  // namespace markab::sim
