#pragma once
// The rules of the meta server as a pure state machine: events and the two clocks go in, actions
// come out; no I/O, no lock, no clock, no thread. The driver (meta/meta_server.h) makes actions
// real, in the order given.
//
// One core lives as long as one leadership: a new leader makes a new one and loads it from the
// store. Used on the meta's shard only.
//
// How memberships change (DESIGN §1.5; docs/differences.md tells how this departs from Pegasus):
// the meta server itself stores who is primary, in one write, and then tells the members by
// proposals that are repeated until each confirmed. Secondaries come and go by requests of the
// primary (add after learning, remove after a failure). Whoever asks, a change is applied here only
// once it is durable, and raises the ballot by exactly 1.
//
// Files: meta_core.cc (start, storing, ticks), nodes.cc (failure detection, leaving), membership.cc
// (changes, failover, proposals), guardian.cc (03 §10.2, §10.3), tables.cc (create, drop, recall,
// rename), table_settings.cc (envs, counts), config_sync.cc (03 §11).

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "meta/core/actions.h"
#include "meta/core/model.h"
#include "meta/core/options.h"

namespace markab::meta {

class MetaCore {
 public:
  MetaCore(CoreOptions options, Instant now);
  MetaCore(const MetaCore&) = delete;
  MetaCore& operator=(const MetaCore&) = delete;

  // --- start ---
  // Takes what the store held, finishes what a previous leader began (03 §5.1), presumes every
  // named node alive for one grace period (03 §8). kInvalidData names the table or partition that
  // cannot be understood: then nothing is served.
  Status load(std::vector<LoadedTable> tables, Moment t, Actions& out);
  bool loaded() const { return loaded_; }

  // --- storage ---
  // The store of that id is durable. There is no other outcome: a store is retried until it is, or
  // the leadership ends and this core with it.
  void on_stored(uint64_t id, Moment t, Actions& out);

  // --- nodes ---
  enum class BeaconVerdict {
    kRenewed,     // acknowledge as master: the lease goes on
    kNotAllowed,  // acknowledge with allowed = false
    kSilence,     // no answer: an old incarnation, one that was reported dead, or one that flaps
  };
  // start_time_ms: the incarnation; 0 when not told. Allowed before load().
  BeaconVerdict on_beacon(HostPort node, int64_t start_time_ms, Moment t, Actions& out);
  // A witness saw the process end. start_time_ms 0: whichever incarnation is current.
  void on_report_death(HostPort node, int64_t start_time_ms, const std::string& reason, Moment t,
                       Actions& out);
  // The node wants to leave: its primaries are moved away; answered (value = primaries left) when
  // none can be moved any more, at the latest after leave_bound.
  void on_leave(uint64_t token, HostPort node, int64_t start_time_ms, Moment t, Actions& out);
  void on_step_down_result(Gpid pid, Ballot ballot, Errc error, Decree committed, Moment t,
                           Actions& out);
  // Forgets a dead node that holds nothing. kBusy with the reason otherwise.
  Status forget_node(HostPort node);

  // --- administration ---
  void on_request(uint64_t token, Request request, Moment t, Actions& out);
  void on_balance(uint64_t token, const BalanceRequest& request, Moment t, Actions& out);
  void set_level(Level level, Moment t, Actions& out);

  // --- replicas ---
  void on_update(uint64_t token, const UpdateRequest& request, Moment t, Actions& out);
  SyncReply on_config_sync(HostPort node, const std::vector<ReplicaReport>& reports, Moment t,
                           Actions& out);
  // The peer confirmed a proposal (kOk) or did not.
  void on_proposal_result(const Propose& sent, Errc error, Moment t, Actions& out);

  // Every 100 to 200 ms.
  void on_tick(Moment t, Actions& out);

  // --- views ---
  const std::map<int32_t, Table>& tables() const { return tables_; }
  const std::map<HostPort, Node>& nodes() const { return nodes_; }
  // By name: available, creating, dropping (until that is durable) and recalling tables.
  const Table* find_table(const std::string& name) const;
  const Table* find_table(int32_t id) const;
  const Partition* find_partition(Gpid pid) const;
  Level configured_level() const { return options_.level; }
  Level effective_level() const;
  int alive_nodes() const;
  // Every node lives and has told what it holds.
  bool all_collected() const;
  Health health(const TableInfo& table, const PartitionConfig& config) const;
  std::vector<DddPartition> diagnose(int32_t app_id, int32_t index) const;  // -1: all
  // kInconsistentState when a partition's count is not the table's.
  Errc check_replica_count(const Table& table) const;
  // -1: every report is idle or missing; else percent.
  int compaction_progress(const Table& table) const;
  CoreOptions& options() { return options_; }
  const CoreOptions& options() const { return options_; }
  // Asserts the invariants of 03 §19 over everything. For tests and the simulator.
  void check_invariants() const;

 private:
  using Completion = std::function<void()>;

  // One event: collects the actions and, at its end, the writes that came up, as one Store.
  class Event {
   public:
    Event(MetaCore& core, Moment t, Actions& out);
    ~Event();
    Event(const Event&) = delete;
    Event& operator=(const Event&) = delete;

   private:
    MetaCore& core_;
  };
  friend class Event;

  template <typename T>
  void emit(T action) {
    out_->push_back(std::move(action));
  }
  void note(std::string text) { emit(Note{false, std::move(text)}); }
  void warn(std::string text) { emit(Note{true, std::move(text)}); }
  void answer(uint64_t token, Errc err, std::string hint = {}, int64_t value = 0);
  Instant now() const { return t_.now; }

  // --- storing (meta_core.cc) ---
  void store(StoreOp op, Completion done);
  void flush_stores();
  // Edits the table's node, durably first, then in memory; one write of a table at a time, further
  // ones wait. `edit` is called for the document (whose status is kAvailable or kDropped) and again
  // for the table's info.
  void store_table(Table& table, std::function<void(TableInfo&)> edit, Completion done);
  // Starts storing a change; `p` must be idle.
  void store_change(Table& table, Partition& p, PartitionConfig next, ChangeType type,
                    HostPort node, std::string reason, Tell tell, uint64_t token = 0,
                    Completion done = {});
  void apply_change(Gpid pid, const Completion& done);
  // Runs `action` now when no change of `p` is being stored, else when it is done.
  void when_idle(Partition& p, Completion action);
  void account(const Partition& p, int sign);
  Status load_table(LoadedTable& loaded);
  Status index_loaded_table(const Table& table);
  void resume_table(Table& table);
  void presume_members_alive();

  // --- nodes (nodes.cc) ---
  Node* find_node(HostPort node);
  const Node* find_node(HostPort node) const;
  Node& node_of(HostPort node);
  bool alive(HostPort node) const;
  // May get new primaries or replicas.
  bool eligible(HostPort node) const;
  void revive(Node& node, std::string reason);
  void node_died(Node& node, std::string reason);
  void bury(Node& node, int64_t start_time_ms, std::string reason);
  bool flapping(Node& node, int64_t start_time_ms);
  void check_nodes();
  void cure_partitions_of(HostPort node);
  void cure_all();
  void move_primaries_away(Node& node);
  void check_leaves();
  int count_primaries(HostPort node, bool movable_only) const;

  // --- membership (membership.cc) ---
  Table* table_of(Gpid pid);
  Partition* partition_of(Gpid pid);
  void fail_over(Table& table, Partition& p, ChangeType type, HostPort node, std::string reason);
  bool may_go(const Partition& p, HostPort node) const;
  bool may_lead(const Partition& p, HostPort node) const;
  // A partition of which no primary is known to have had a replica; nullptr: there is none.
  static const Partition* first_not_begun(const Table& table);
  void promote(Table& table, Partition& p, HostPort node, std::string reason);
  void regrant(Table& table, Partition& p, std::string reason);
  // Completes `next`, which has no primary, with the best living secondary, if there is one.
  bool elect(const Table& table, PartitionConfig& next);
  HostPort best_primary(const Table& table, const std::vector<HostPort>& candidates) const;
  HostPort best_replica(const Table& table, const PartitionConfig& config,
                        bool allow_black_listed) const;
  void place_members(const Table& table, PartitionConfig& config);
  void start_move(Partition& p, HostPort to);
  void finish_move(Table& table, Partition& p, Decree committed);
  void update_dropped_list(Table& table, Partition& p, const PartitionConfig& before);
  void note_dropped(Partition& p, DroppedReplica entry);
  // Proposals that are repeated until confirmed, or until the membership changed.
  void announce(const Partition& p, ChangeType type);
  void announce_departure(const Partition& p, const PartitionConfig& before);
  void create_replicas(Partition& p);
  void forget_report(Gpid pid, HostPort node);
  void deliver(const Partition& p, HostPort target, ChangeType type, HostPort node);
  void forget_deliveries(Gpid pid);
  void resend_deliveries();

  // --- guardian (guardian.cc) ---
  // Looks at one partition and starts at most one step. Nothing while a change of it is being
  // stored.
  void cure(Table& table, Partition& p);
  void cure_without_primary(Table& table, Partition& p);
  void cure_from_dropped(Table& table, Partition& p);
  void assign_primary(Table& table, Partition& p, HostPort node, std::string reason);
  void cure_secondaries(Table& table, Partition& p);
  void add_secondary(Table& table, Partition& p);
  HostPort choose_secondary(const Table& table, Partition& p);
  void remove_surplus(Table& table, Partition& p);
  void set_cure(Partition& p, ChangeType type, HostPort node);
  void clear_cure(Partition& p);
  bool run_plan(Table& table, Partition& p);
  bool plan_step_valid(const Partition& p, const PlannedAction& step) const;
  void execute(Table& table, Partition& p, const PlannedAction& step);
  void after_change(Table& table, Partition& p, ChangeType type, HostPort node);

  // --- tables (tables.cc, table_settings.cc) ---
  void handle(uint64_t token, CreateTable& request);
  void handle(uint64_t token, DropTable& request);
  void handle(uint64_t token, RecallTable& request);
  void handle(uint64_t token, RenameTable& request);
  void handle(uint64_t token, SetEnvs& request);
  void handle(uint64_t token, DeleteEnvs& request);
  void handle(uint64_t token, ClearEnvs& request);
  void handle(uint64_t token, SetReplicaCount& request);
  void handle(uint64_t token, SetAtomicIdempotent& request);
  void handle(uint64_t token, StartManualCompact& request);
  Errc check_create(const CreateTable& request, std::string& hint) const;
  // kTryAgain: there are enough when those that are presumed alive are.
  Errc check_replica_count_range(int32_t count, std::string& hint) const;
  void wait_for_nodes(uint64_t token, Request request);
  void retry_waiting_for_nodes();
  bool answer_existing(uint64_t token, Table& table, CreateTable& request);
  void answer_follower_create(uint64_t token, Table& table, CreateTable& request);
  void start_create(uint64_t token, CreateTable& request);
  void mark_dropped(uint64_t token, Table& table);
  void drop_partitions(uint64_t token, Table& table);
  void recall_partitions(uint64_t token, Table& table);
  void change_replica_counts(uint64_t token, Table& table, int32_t count, int32_t old_count);
  void change_envs(
      uint64_t token, const std::string& name, Request request,
      const std::function<Status(std::map<std::string, std::string>&, std::string& hint)>& edit);
  Table* table_by_name(const std::string& name);
  // The error for a table that is not available; kOk otherwise.
  static Errc busy_code(TableStatus status);
  // When a write of the table is under way, keeps the request for later and says so.
  bool defer(uint64_t token, Table& table, const Request& request);
  void run_deferred(int32_t table_id);
  void dispatch(uint64_t token, Request& request);

  // --- config sync (config_sync.cc) ---
  void take_reports(Node& node, const std::vector<ReplicaReport>& reports, SyncReply& reply);
  void take_report(Node& node, const ReplicaReport& report, SyncReply& reply);
  void take_absence(Node& node, Table& table, Partition& p);
  bool sync_must_wait(HostPort node) const;
  void take_shut(Node& node, Table& table, Partition& p);
  void check_primary_report(Table& table, Partition& p, Node& node);

  CoreOptions options_;
  bool loaded_ = false;
  std::map<int32_t, Table> tables_;
  std::map<std::string, int32_t> by_name_;
  std::set<std::string> reserved_names_;  // being renamed to
  int32_t max_table_id_ = 0;
  std::map<HostPort, Node> nodes_;

  struct Delivery {
    ChangeType type = ChangeType::kInvalid;
    HostPort node;
    Ballot ballot = 0;
    Instant sent;
    bool confirmed = false;  // only cures stay after that, to be reminded of
    bool is_cure = false;
    bool hurried = false;  // it was repeated before its time, since then
  };
  // By partition, target and the node it is about.
  struct DeliveryKey {
    Gpid pid;
    HostPort target;
    HostPort node;
    friend auto operator<=>(const DeliveryKey&, const DeliveryKey&) = default;
  };
  void hurry(const DeliveryKey& key);
  std::map<DeliveryKey, Delivery> deliveries_;

  struct Leave {
    std::vector<uint64_t> tokens;
    Instant deadline;
  };
  std::map<HostPort, Leave> leaves_;
  std::map<int32_t, uint64_t> drops_waiting_for_level_;          // table -> token
  std::vector<std::pair<uint64_t, Request>> waiting_for_nodes_;  // with their tokens

  uint64_t next_store_id_ = 1;
  std::vector<StoreOp> new_ops_;
  std::vector<Completion> new_completions_;
  std::map<uint64_t, std::vector<Completion>> stores_;

  Instant last_tick_;
  Instant last_guardian_pass_;
  std::map<HostPort, int> adds_this_pass_;
  bool in_pass_ = false;
  Level last_effective_level_ = Level::kSteady;
  bool level_ever_checked_ = false;

  // Of the event under way.
  Moment t_;
  Actions* out_ = nullptr;
};

}  // namespace markab::meta
