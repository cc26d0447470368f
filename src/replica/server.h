#pragma once
// The replica server: the replicas of one node, their routing, and the node's dealings with the
// meta servers.
//
// Built on seams only (Runtime, Network, FileSystem, OpenEngine), so that the simulator runs it as
// it is. Control state lives on shard 0; requests of clients are routed on whatever shard their
// bytes arrive, by an immutable snapshot that is swapped atomically (DESIGN §1.3).

#include <atomic>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/config.h"
#include "base/metrics.h"
#include "idl/meta_admin_types.h"
#include "idl/replica_admin_types.h"
#include "replica/disks.h"
#include "replica/host.h"
#include "replica/meta_link.h"
#include "replica/replica.h"
#include "rpc/dispatcher.h"
#include "rpc/http.h"
#include "security/access_guard.h"
#include "wal/log.h"

namespace markab::replica {

struct ServerOptions {
  security::AccessGuard* access = nullptr;  // who may do what; null: everybody everything
  HostPort self;
  std::string cluster_name;
  std::vector<DataDir> data_dirs;
  std::string boot_id;  // of the machine: another one than at the last start means that it rebooted
  wal::Disk::Options log;
  MetaLinkOptions meta;
  Duration config_sync_interval = std::chrono::seconds(30);
  Duration leave_timeout = std::chrono::seconds(3);
  // A data directory that cannot be used is left out, as long as another one can.
  bool ignore_broken_disk = true;
  // Read before each look at the disks, on the control shard: operators change these at run time.
  std::function<DiskRules()> disk_rules = [] { return DiskRules(); };
  Duration disk_sample_interval = std::chrono::seconds(10);
  Duration sweep_interval = std::chrono::minutes(10);
  // Keeps other daemons out of a data directory that is added at run time; blocking.
  std::function<Result<std::shared_ptr<void>>(const std::string&)> lock_directory;
  // Log that a restart has to replay, of all replicas together, as far as flushes of a reasonable
  // size allow.
  uint64_t replay_budget_bytes = 128u << 20;
  size_t max_copies = 5;                        // checkpoints copied to here at a time
  uint64_t copy_bytes_per_second = 100u << 20;  // in each direction; 0: no limit
  ReplicaTuning tuning;
};

class ReplicaServer final : public ReplicaHost {
 public:
  // `networks` holds one way out per shard. All references outlive the server.
  ReplicaServer(io::Runtime& runtime, std::vector<rpc::Network*> networks, io::FileSystem& files,
                OpenEngine open_engine, ServerOptions options, MetricRegistry& registry);
  ~ReplicaServer() override;

  // Checks the data directories: writable, of this cluster. Blocking; before start(). The sentence
  // names the remedy.
  Status prepare_disks();
  // Registers the RPC and HTTP handlers; before the server listens.
  void register_handlers(rpc::Dispatcher& dispatcher, rpc::HttpRouter& http);
  // Loads what the disks hold, then joins the cluster. Returns at once; serving goes on by itself.
  // On shard 0.
  void start();
  // Leaves gracefully: the meta server moves the primaries away; then `done`, at the latest after
  // leave_timeout. Clients are then told to look elsewhere. On shard 0.
  void leave(Task done);
  // Closes all replicas, marks the disks as cleanly closed and tells the meta server that this node
  // is gone. Then `done` on shard 0; nothing of the server runs any more.
  void stop(Task done);
  // The process is gone (simulator): nothing is closed, nobody is told; only destruction may
  // follow.
  void abandon();

  // ReplicaHost
  io::Runtime& runtime() override { return runtime_; }
  rpc::Network& network(int index) override { return *networks_[static_cast<size_t>(index)]; }
  io::FileSystem& files() override { return files_; }
  const OpenEngine& open_engine() const override { return open_engine_; }
  CopyLimits& copies() override { return copies_; }
  const ReplicaTuning& tuning() const override { return options_.tuning; }
  uint64_t flush_after_log_bytes() const override;
  HostPort self() const override { return options_.self; }
  const std::string& self_text() const override { return self_text_; }
  MetricRegistry& metrics() override { return registry_; }
  std::shared_ptr<CompactionSlots> compaction_slots() override { return compaction_slots_; }
  bool lease_valid(Instant now) const override { return link_->lease_valid(now); }
  void ask_meta(Replica& replica, const pacifica::AskMeta& ask,
                Callback<Errc, pacifica::Membership> done) override;
  void on_role_changed(Replica& replica, pacifica::Role before, pacifica::Role role) override;
  void on_broken(Replica& replica, const Status& why) override;

  // The open replicas, in the order of their partitions. On shard 0 (tests, admin commands).
  std::vector<std::shared_ptr<Replica>> replicas() const;
  const ServerOptions& options() const { return options_; }
  Disks& disks() { return disks_; }  // shard 0
  // Takes data directories into use, all or none: "tag:path,tag:path" (04 §4.4). `done` gets the
  // wire's code and a sentence. On shard 0.
  void add_disks(const std::string& text, Callback<Status> done);
  // Begins to move a secondary to another disk; answers at once, see 04 §4.4. On shard 0.
  void migrate(Gpid gpid, const std::string& from, const std::string& to, Callback<Status> done);
  // Any thread.
  bool has_primaries() const {
    return role_counts_[static_cast<int>(pacifica::Role::kPrimary)].load() > 0;
  }
  // What this node knows of the replica's table, in the wire's form.
  wire::app_info app_info_of(const Replica& replica) const;

 private:
  friend class AdminService;
  using Routes = std::unordered_map<Gpid, std::shared_ptr<Replica>>;
  enum class State { kOpening, kOpen, kClosing };
  enum class Origin {
    kNew,     // created empty
    kStored,  // found when the daemon began
    kShut,    // waited in shut_
  };
  struct Entry {
    State state = State::kOpening;
    std::shared_ptr<Replica> replica;
    std::vector<Callback<Errc>> waiting;  // until it is open
    size_t disk = 0;
    Origin origin = Origin::kNew;
    TableInfo table;      // of what was stored; until it is open
    bool shuts = false;   // closing, to wait in shut_
    bool begins = false;  // created empty with its partition, as one of the first members
  };
  struct Shut {
    TableInfo table;
    size_t disk = 0;
  };

  // A partition that this node is told to begin, and to lead.
  struct FirstLead {
    Gpid gpid;
    Callback<bool> done;  // whether that is current
  };

  // requests
  void route(rpc::Request request);
  void route_to_owner(rpc::Request request, void (Replica::*handler)(rpc::Request));
  void on_proposal(rpc::Request request);
  void take_proposal(const std::shared_ptr<rpc::Request>& held,
                     const std::shared_ptr<wire::configuration_update_request>& told,
                     bool confirmed = false);
  void take_held_proposals();
  void end_first_leads(std::vector<FirstLead> asked,
                       const wire::configuration_query_by_node_response& response);
  void on_add_learner(rpc::Request request);
  void on_step_down(rpc::Request request);

  // opening and closing
  void load_all();
  void open_replica(Gpid gpid, TableInfo table, size_t disk, Origin origin, Callback<Errc> done);
  void opened(Gpid gpid, Result<std::shared_ptr<Replica>> result);
  void close_replica(Gpid gpid, Task done);
  void discard_replica(Gpid gpid, const char* suffix);
  void set_aside(const std::string& dir, const char* suffix);
  // shut_replicas.cc
  void shut(Gpid gpid, TableInfo table, size_t disk);
  bool is_shut(Gpid gpid) const;
  void wait_to_reopen();
  void reopen_next(size_t disk);
  void reopen(Gpid gpid, Callback<Errc> done);
  void discard_shut(Gpid gpid);
  void report_shut(std::vector<wire::replica_info>& out) const;
  void report_begun(std::vector<wire::replica_info>& out) const;
  void publish_routes();
  // disks_.size() when no disk can take it.
  size_t choose_disk(Gpid gpid) const;
  struct Stored {
    Gpid gpid;
    TableInfo table;
    size_t disk;
  };
  std::vector<Stored> find_stored(const std::vector<std::pair<size_t, DataDir>>& dirs);
  void settle_twins(std::vector<Stored>& found,
                    const std::vector<std::pair<size_t, DataDir>>& dirs);
  Status prepare_disk(const DataDir& dir, bool& same_boot, bool& clean);
  std::string node_mark(const char* state) const;
  Status mark_open(const std::string& path, const std::string& before);
  void watch_disks();
  void sweep_disks();
  void disk_failed(size_t disk, const Status& why);
  struct Migration;
  int shard_of(Gpid gpid) const;

  // the meta server
  void config_sync();
  void schedule_sync(Duration delay);
  void send_sync(std::vector<wire::replica_info> stored);
  void apply_sync(const wire::configuration_query_by_node_response& response);
  void disown_absent(const wire::configuration_query_by_node_response& response,
                     const std::map<Gpid, Ballot>& reported);
  void apply_membership(const wire::configuration_update_request& told);
  void report_missing(const wire::configuration_update_request& told);
  void collect_replicas(Callback<std::vector<wire::replica_info>> done);
  void ask_removal(Gpid gpid, const wire::app_info& info, const pacifica::Membership& membership,
                   Decree committed, Callback<Errc> done);
  void ask_to_leave(Instant deadline, std::shared_ptr<Task> done);

  io::Runtime& runtime_;
  io::Shard& control_;
  std::vector<rpc::Network*> networks_;
  io::FileSystem& files_;
  OpenEngine open_engine_;
  ServerOptions options_;
  const std::string self_text_;
  MetricRegistry& registry_;
  const std::shared_ptr<CompactionSlots> compaction_slots_ = std::make_shared<CompactionSlots>();
  std::shared_ptr<MetricEntity> entity_;
  std::unique_ptr<MetaLink> link_;
  Disks disks_;
  CopyLimits copies_;
  // Partitions that move between disks: nothing else opens or creates them. Shared with the moves,
  // which end in their own time.
  std::shared_ptr<std::set<Gpid>> moving_ = std::make_shared<std::set<Gpid>>();
  io::TimerHandle disk_timer_;
  io::TimerHandle sweep_timer_;
  bool trust_log_ = true;

  std::map<Gpid, Entry> entries_;  // shard 0
  std::map<Gpid, Shut> shut_;      // shard 0; none of them is in entries_
  std::atomic<int64_t> shut_count_ = 0;
  io::TimerHandle reopen_timer_;
  std::atomic<const Routes*> routes_;
  io::TimerHandle sync_timer_;
  io::TimerHandle leave_timer_;
  bool syncing_ = false;
  std::vector<Task> held_proposals_;    // to lead here, until this node knows what is current
  std::vector<FirstLead> first_leads_;  // until the next config sync that begins from here on
  bool loaded_ = false;
  bool leaving_ = false;
  bool stopped_ = false;
  std::atomic<int64_t> role_counts_[5] = {};
};

}  // namespace markab::replica
