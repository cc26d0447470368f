#pragma once
// What befalls a cluster, by chance from its seed: faults of network, machines, disks, clocks and
// processes, and what operators do meanwhile. Several at once; each ends by itself.
//
// Some faults take away what was acknowledged on one node (a disk that rots or fails or is
// replaced; a machine's end when the log is not synced on acknowledgement). Replication promises to
// survive these one after the other, not at once: they strike one node, and the next one not before
// every partition is whole again.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sim_cluster.h"

namespace markab::sim {

// Which faults there are and how dense; drawn once per run, so that runs differ in kind.
struct FaultPlan {
  // By kind; 0: never.
  struct Weights {
    int noise = 4;    // losses, spikes, resets on all connections
    int cut = 4;      // one node from some or all others, one way or both
    int flap = 2;     // a cut that comes and goes
    int kill = 4;     // the process ends, its machine lives
    int crash = 4;    // the machine ends
    int power = 1;    // all machines end
    int restart = 2;  // SIGTERM
    int rolling = 1;  // all nodes, one after the other
    int pause = 4;    // SIGSTOP
    int meta = 3;     // a meta server ends, sleeps, or is cut off from the coordinator
    int slow_disk = 2;
    int full_disk = 1;
    int bad_disk = 1;  // operations fail with EIO
    int rot = 1;
    int new_disk = 1;
    int clock = 2;
    int move = 5;  // an administrator or the balancer moves replicas
    // Only with ZooKeeper:
    int ensemble = 0;  // sessions, servers, the whole ensemble
    int tables = 0;    // an administrator creates and drops tables
  } weights;
  Duration mean_gap = std::chrono::seconds(6);  // between the beginnings of two faults
};
FaultPlan draw_plan(Random& random);
// What else befalls a cluster with ZooKeeper.
void add_zookeeper_faults(FaultPlan& plan, uint64_t seed);

class Faults {
 public:
  Faults(SimCluster& cluster, FaultPlan plan);

  // Strikes from now on, until end().
  void start();
  // Nothing new; what lasts is ended: all nodes run, all ways are open, all disks are well.
  void end();
  // After end(): boots a node that was being stopped.
  void bring_up(int node) { boot(node); }
  uint64_t struck() const { return struck_; }
  // Each fault's beginning and end, for the timeline.
  void on_event(Callback<const std::string&> watch) { on_event_ = std::move(watch); }

 private:
  struct NodeState {
    bool bad_disk = false;  // its daemon uses the disk again only after a restart
    bool busy = false;      // dying, dead, being stopped, or asleep: one at a time
    uint64_t turn = 0;      // of what it is busy with; an older one's end is void
  };

  Random& random() { return cluster_.world().random(); }
  Duration between(Duration least, Duration most);
  void say(const std::string& what);
  // Runs `task` later unless end() came before.
  void later(Duration delay, Task task);
  void next();
  void strike();

  // network
  void noise();
  void cut();
  void flap();
  void flap_once(HostPort a, HostPort b, bool open, int left);
  // processes and machines
  std::optional<int> idle_node();
  bool may_lose(int node);
  void kill(int node, bool machine);
  void power();
  void restart(int node, Task then);
  void boot_when_stopped(int node);
  void await_stop(int node, std::shared_ptr<Task> then, int left);
  void rolling(int node);
  void pause(int node);
  void boot_later(int node, Duration delay);
  void boot(int node);
  void meta();
  // disks and clocks
  void slow_disk(int node);
  void disk_is_fast(int node);
  void full_disk(int node);
  void bad_disk(int node);
  void disk_is_well(int node);
  void rot(int node);
  void new_disk(int node);
  void clock();
  // ZooKeeper (faults_zookeeper.cc)
  void ensemble();
  int some_meta();
  void expire();
  void away();
  void server_stops();
  void slow_ensemble();
  void stop_meta();
  void kill_and_report_meta();
  void boot_meta_later(int node);
  void end_ensemble_faults();
  // operators
  void move();
  void tables();
  void create_table(const std::string& name);
  void drop_table(const std::string& name);

  SimCluster& cluster_;
  const FaultPlan plan_;
  std::vector<NodeState> nodes_;
  std::vector<bool> meta_busy_;
  std::optional<int> lost_;  // the node whose data may be gone
  int lost_boots_ = 0;       // it must have booted since: what rots is noticed when it is read
  bool rolling_ = false;
  bool noisy_ = false;
  bool quiet_ = false;        // nothing strikes for a while
  bool away_ = false;         // the ensemble
  bool one_stopped_ = false;  // of its servers
  bool slow_ = false;         // its answers
  int tables_made_ = 0;
  bool table_asked_ = false;
  bool over_ = false;
  uint64_t struck_ = 0;
  Callback<const std::string&> on_event_;
};

}  // namespace markab::sim
