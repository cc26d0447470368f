#pragma once
// A whole cluster in one process from one seed: meta servers, replica servers and clients
// (production code) over the simulated clock, network, disks and coordination service, with the map
// store in RocksDB's place. Nodes are started and ended here, in all the ways in which real ones
// are; what is done to network and disks goes through network() and files().

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "client/core.h"
#include "meta/meta_server.h"
#include "replica/server.h"
#include "rpc/http.h"
#include "sim_coordinator.h"
#include "sim_files.h"
#include "sim_network.h"
#include "sim_runtime.h"
#include "sim_zookeeper.h"
#include "state_watch.h"
#include "watch.h"

namespace markab::sim {

struct ClusterOptions {
  int metas = 3;
  int replicas = 4;
  int clients = 3;
  int shards = 2;
  wal::LogSync log_sync = wal::LogSync::kAlways;
  // Of the replicas' tables, small so that flushes, checkpoints and trimming happen in short runs.
  uint64_t flush_after_log_bytes = 64u << 10;
  size_t cache_mutations = 4096;
  replica::DuplicationPeers duplication;
  // The metas' coordination: their production store and election over the simulated ZooKeeper, or
  // a simple stand-in of both.
  bool zookeeper = false;
  Duration zookeeper_timeout = std::chrono::seconds(4);
};

// How far a machine's clocks are from the world's.
struct MachineClock {
  int64_t drift_ppm = 0;
  int64_t wall_offset_us = 0;
};

class SimCluster {
 public:
  SimCluster(uint64_t seed, const ClusterOptions& options);
  ~SimCluster();

  SimWorld& world() { return world_; }
  SimNetwork& network() { return network_; }
  // Nullptr in clusters that have the other one.
  SimZooKeeper* zookeeper() { return zookeeper_.get(); }
  StateWatch* state_watch() { return state_watch_.get(); }
  static HostPort zookeeper_address(size_t server) {
    return {0x0A000310 + static_cast<uint32_t>(server), 2181};
  }
  Watch& watch() { return watch_; }
  const ClusterOptions& options() const { return options_; }

  static HostPort meta_address(int i = 0) { return {0x0A000001 + static_cast<uint32_t>(i), 34601}; }
  static HostPort replica_address(int i) { return {0x0A000100 + static_cast<uint32_t>(i), 34801}; }
  static HostPort client_address(int i) { return {0x0A000200 + static_cast<uint32_t>(i), 1}; }
  std::vector<HostPort> addresses() const;
  // Of the coordination service: one, or ZooKeeper's servers.
  std::vector<HostPort> coordinators() const;

  // --- metas ---
  bool meta_up(int i) const { return metas_[static_cast<size_t>(i)].server != nullptr; }
  void boot_meta(int i);
  void kill_meta(int i);
  // SIGTERM; then it is down. `done` runs unless it is killed before.
  void stop_meta(int i, Task done);
  // What a supervisor does when it saw the meta server end.
  void report_meta_death(int i);
  // Its session at ZooKeeper ends now.
  void expire_meta(int i) { zookeeper_->expire(*metas_[static_cast<size_t>(i)].client); }
  // Whom the coordination service takes for the leader; nobody: HostPort().
  HostPort elected() const;
  SimRuntime& meta_runtime(int i) { return *metas_[static_cast<size_t>(i)].runtime; }
  // The state as the leader has it; nullptr while none serves.
  meta::MetaCore* leading_core();

  // --- replica servers ---
  int boots(int i) const { return nodes_[static_cast<size_t>(i)].boots; }
  bool up(int i) const { return nodes_[static_cast<size_t>(i)].server != nullptr; }
  void boot(int i);
  // The machine dies: what was not durable may be gone. Its peers hear nothing until it boots.
  void crash(int i);
  // Only the process dies: the kernel keeps what was written, and tells the peers.
  void kill(int i);
  // SIGTERM: the node leaves and stops; it is down when stopped() says so.
  void stop(int i);
  bool stopping(int i) const { return nodes_[static_cast<size_t>(i)].stopping; }
  // What a supervisor does when it saw the process end.
  void report_death(int i);
  replica::ReplicaServer& server(int i) { return *nodes_[static_cast<size_t>(i)].server; }
  // For tests that hand a node requests of their own making.
  const rpc::Dispatcher& dispatcher(int i) const {
    return *nodes_[static_cast<size_t>(i)].dispatcher;
  }
  SimRuntime& runtime(int i) { return *nodes_[static_cast<size_t>(i)].runtime; }
  SimFileSystem& files(int i) { return *nodes_[static_cast<size_t>(i)].files; }
  void set_clock(int i, const MachineClock& clock);
  const MachineClock& clock(int i) const { return nodes_[static_cast<size_t>(i)].clock; }
  void set_disk_latency(int i, Duration least, Duration most);

  // --- clients ---
  client::Core& client(int i) { return *clients_[static_cast<size_t>(i)].core; }
  SimRuntime& client_runtime(int i) { return *clients_[static_cast<size_t>(i)].runtime; }
  // Creates a table of three replicas and waits until it is known to be durable.
  void create_table(const std::string& name, int partitions);
  // An administrator's call, from client 0; `done` may be empty.
  void ask_meta(rpc::TaskCode code, std::string args, Callback<client::Answer> done);

  // "" when every partition has all its members, each in its role, and the primary serves; else
  // what is missing.
  std::string unhealthy();
  // The rows of a replica in service, and how far it has applied.
  struct Content {
    Ballot ballot = 0;
    Decree applied = 0;
    std::map<std::string, std::string> rows;
  };
  std::map<Gpid, Content> content(int i);
  // Asks for S9 now: at most one replica of a partition serves reads.
  void check_leases();
  // At most one meta server may act as the leader at this moment (ZooKeeper only).
  void check_leaders();
  // No replica has a ballot that is not stored (ZooKeeper only).
  void check_ballots();
  // Ends everything gracefully and says what was left behind ("" when nothing).
  std::string shut_down();

 private:
  struct Meta {
    std::unique_ptr<SimRuntime> runtime;
    std::unique_ptr<rpc::Network> network;
    std::unique_ptr<zk::Client> client;
    std::unique_ptr<meta::StateStore> store;
    std::unique_ptr<meta::Election> election;
    std::unique_ptr<MetricRegistry> metrics;
    std::unique_ptr<rpc::Dispatcher> dispatcher;
    std::unique_ptr<rpc::HttpRouter> http;
    std::unique_ptr<rpc::RemoteCommands> commands;
    std::unique_ptr<meta::MetaServer> server;
    int boots = 0;
  };
  struct Node {
    std::unique_ptr<SimFileSystem> files;
    std::unique_ptr<SimRuntime> runtime;
    std::vector<std::unique_ptr<rpc::Network>> networks;
    std::unique_ptr<MetricRegistry> metrics;
    std::unique_ptr<rpc::Dispatcher> dispatcher;
    std::unique_ptr<rpc::HttpRouter> http;
    std::unique_ptr<replica::ReplicaServer> server;
    MachineClock clock;
    Duration least_latency = std::chrono::microseconds(50);
    Duration most_latency = std::chrono::microseconds(500);
    bool stopping = false;
    int64_t start_time_ms = 0;  // of the last process
    int boots = 0;
    int machine_boots = 0;
  };
  struct Client {
    std::unique_ptr<SimRuntime> runtime;
    std::unique_ptr<rpc::Network> network;
    std::unique_ptr<client::Core> core;
  };
  std::vector<HostPort> meta_list() const;
  void coordinate(int i);
  replica::ServerOptions server_options(int i) const;
  replica::OpenEngine open_engine(int i);
  void end_process(int i, bool with_machine);
  void let_go_of(int i);
  std::string missing_at(const meta::Table& table, const meta::Partition& partition);

  const ClusterOptions options_;
  SimWorld world_;
  SimNetwork network_;
  SimCoordinator coordinator_;
  Watch watch_;
  std::unique_ptr<SimZooKeeper> zookeeper_;
  std::unique_ptr<StateWatch> state_watch_;
  std::vector<Meta> metas_;
  std::vector<Node> nodes_;
  std::vector<Client> clients_;
};

}  // namespace markab::sim
