#pragma once
// One replica of one partition: drives the pure protocol core with the log, the store and the
// network.
//
// Belongs to one shard; its members are called there unless they say otherwise. Other shards see it
// through reads (reads.h), which use only the atomics and the engine here, and through
// enqueue_write(). Held by shared_ptr; close() before letting go.

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/engine.h"
#include "engine/resolver.h"
#include "pacifica/replica_core.h"
#include "replica/admission.h"
#include "replica/delayed_requests.h"
#include "replica/disks.h"
#include "replica/host.h"
#include "replica/hotkey.h"
#include "replica/learner.h"
#include "replica/messages.h"
#include "replica/metrics.h"
#include "rpc/message.h"
#include "security/access.h"
#include "wal/log.h"
#include "wal/trim_holds.h"

namespace markab::replica {

class Replica : public std::enable_shared_from_this<Replica> {
 public:
  struct OpenOptions {
    Gpid gpid;
    TableInfo table;
    std::string dir;  // <data dir>/replica/reps/<app>.<index>.pegasus
    wal::Disk* disk = nullptr;
    std::string disk_tag;
    std::shared_ptr<const DiskHealth> disk_health = std::make_shared<DiskHealth>();
    int shard = 0;
    // False after an unclean reboot with a log that is not synced on acknowledgement (spec 04
    // §2.2).
    bool trust_log = true;
  };
  using Opened = Callback<Result<std::shared_ptr<Replica>>>;

  // Opens the store, replays the log, and tells `done` on the replica's shard. The work runs on the
  // blocking pool. Any thread. Errors name the file.
  static void open(ReplicaHost& host, OpenOptions options, Opened done);
  ~Replica();

  // --- any thread
  // --------------------------------------------------------------------------------------------------
  const Gpid& gpid() const { return options_.gpid; }
  int shard_index() const { return options_.shard; }
  io::Shard& shard() const { return shard_; }
  const std::string& dir() const { return options_.dir; }
  const std::string& disk_tag() const { return options_.disk_tag; }
  // For a read that ends within the current task of any shard; nullptr while a learned store is
  // being put in place.
  engine::Engine* engine() const { return engine_now_.load(std::memory_order_acquire); }
  // For work on the blocking pool: holds the store open.
  std::shared_ptr<engine::Engine> hold_engine() const {
    std::lock_guard lock(engine_mutex_);
    return engine_;
  }
  ReplicaMetrics& metrics() { return metrics_; }
  // What the meta server told last about the table.
  TableInfo table_now() const {
    std::lock_guard lock(engine_mutex_);
    return options_.table;
  }
  // Primary, and everything inherited is applied. The lease is the host's.
  bool serves_reads() const { return serves_reads_.load(std::memory_order_acquire); }
  // Primary or secondary: may serve backup reads.
  bool serves_backup_reads() const { return serves_backup_reads_.load(std::memory_order_acquire); }
  bool validates_partition_hash() const { return validates_hash_.load(std::memory_order_relaxed); }
  int32_t partition_version() const { return partition_version_.load(std::memory_order_relaxed); }
  // What the table's environments let in.
  Admission& admission() { return admission_; }
  HotkeyDetector& read_hotkeys() { return read_hotkeys_; }
  HotkeyDetector& write_hotkeys() { return write_hotkeys_; }
  Duration slow_query_threshold() const {
    return Duration(slow_query_ns_.load(std::memory_order_relaxed));
  }
  // Whether one more line about a read may be logged in this second.
  bool may_log_read(int64_t wall_us) {
    return read_log_.take(1, wall_us).verdict == RequestThrottle::Verdict::kAdmit;
  }
  // Holds a request that a throttle makes wait; then `due` gets it, on the replica's shard. When
  // too many wait it is refused as busy.
  void delay(rpc::Request request, Duration wait, Callback<rpc::Request> due);
  // Who may read and write here (05 §7.3); empty: everybody.
  std::shared_ptr<const security::UserSet> allowed_users() const { return allowed_users_.load(); }
  // Runs `event` on the replica's shard, where the caller is, after what else came in this turn and
  // in the order of these calls. Meanwhile the memory that it will touch is fetched: of hundreds of
  // replicas it is cold, and an event waits for it line by line.
  template <typename F>
  void soon(F event);
  // Takes a client write; it will be answered, now or after it is committed.
  void enqueue_write(rpc::Request request);

  // --- the replica's shard
  // -----------------------------------------------------------------------------------------
  void on_membership(const pacifica::Membership& membership);
  void on_table_info(const TableInfo& table);
  void on_node_dead(HostPort node);
  // The meta server does not count this replica a member any more, as it is at `ballot`: a primary
  // stops serving until it knows more.
  void disown(Ballot ballot);
  void remove_secondary(HostPort node);
  // As primary: invites `node` to learn.
  void invite_learner(HostPort node);
  // As the invited: becomes a learner of `message.membership.primary`. The status goes back to the
  // primary.
  Errc on_add_learner(const AddLearner& message);
  void on_prepare(rpc::Request request);
  void on_learn(rpc::Request request);
  void on_fetch_log(rpc::Request request);
  void on_fetch_file(rpc::Request request);
  // Hands the primary role over: refuses new proposals, finishes what is in flight, then tells
  // `done` the commit point.
  void step_down(Callback<Errc, Decree> done);
  // Out of service: queued writes are refused, timers and learning end, the log is closed. Then
  // `done`, on the shard. The store is closed when the last owner lets go.
  void close(Task done);
  // The process is gone (simulator): lets go of everything without a word. Nothing of the replica
  // runs afterwards.
  void abandon();

  pacifica::Role role() const { return core_->role(); }
  const pacifica::Membership& membership() const { return core_->membership(); }
  Ballot ballot() const { return core_->ballot(); }
  Ballot member_ballot() const { return core_->member_ballot(); }
  bool doubtful() const { return core_->role() == pacifica::Role::kInactive && !core_->trusted(); }
  // Leads although its log is doubtful, by the meta server's choice.
  void lead_as_it_is() { core_->trust(); }
  Decree last_committed() const { return core_->last_committed(); }
  Decree last_prepared() const { return core_->last_prepared(); }
  Decree last_applied() const { return applied_; }
  Decree last_durable() const { return engine_ ? engine_->store().last_flushed() : 0; }
  Decree last_logged() const { return log_->last_decree(); }
  Decree trimmed() const { return log_->trimmed(); }
  const TableInfo& table() const { return options_.table; }
  const ManualCompaction& compaction() const { return compaction_; }
  // Makes what is applied durable, on the blocking pool; the log behind it may then be trimmed.
  void flush_store();
  bool broken() const { return broken_; }
  // Out of service for good: its disk fails.
  void fail(const Status& why);
  bool closed() const { return closed_; }
  // What keeps the log from being trimmed besides the store: duplication holds what it has not
  // shipped.
  wal::TrimHolds& log_holds() { return log_holds_; }
  // Leaves the group when the store found damage in its files.
  void look_for_damage();

 private:
  friend class Learner;
  struct PendingWrite {
    rpc::Request request;
    engine::WriteRequest write;
    engine::WriteResult result;
  };
  struct InFlight {
    Decree decree = 0;
    std::vector<PendingWrite> writes;
  };
  // What opening found; handed from the pool to the shard.
  struct Recovery;

  Replica(ReplicaHost& host, OpenOptions options);
  static Status recover(Replica& replica, Recovery& recovery);
  void start(Recovery recovery);

  // Have memory fetched: the replica's own, and then what that points to.
  void expect() const;
  void expect_more() const;

  // writes (replica_writes.cc)
  void pump();
  void propose_waiting();
  bool propose_one_batch();
  void fetch_base_values();
  void take_in(rpc::Request request, bool throttled);
  // The answer to a write that may not come in; nothing when it may.
  struct Refusal {
    Errc error = Errc::kOk;  // kOk and no silence: it may come in
    bool silent = false;
    bool again = false;  // after `wait`, without throttles
    Duration wait{};
  };
  Refusal check_throttles(const rpc::Request& request);
  Refusal admit(rpc::Request& request, PendingWrite& out, bool throttled);
  size_t longest_write(rpc::TaskCode code) const;
  Errc decode_write(const rpc::Request& request, engine::WriteRequest& out);
  Errc decode_duplicated(const rpc::Request& request, engine::DuplicateRequest& out);
  void refuse_queue(Errc error);
  void answer(PendingWrite& pending, Decree decree);
  void answer_committed(Decree decree);
  void account(const PendingWrite& pending);
  void account_lag(const engine::DuplicateRequest& request);

  // the core's actions (replica.cc)
  void perform();
  void act(pacifica::AppendReign& action);
  void act(pacifica::AppendMutation& action);
  void act(pacifica::SendPrepare& action);
  void on_prepare_answer(HostPort from, uint64_t token, const Result<pacifica::PrepareAck>& ack,
                         bool certain);
  void act(pacifica::SendAck& action);
  void act(pacifica::Commit& action);
  void act(pacifica::Abandon& action);
  void act(pacifica::AskMeta& action);
  void act(pacifica::RoleChanged& action);
  void act(pacifica::LearnerDropped& action);
  void act(pacifica::RelearnNeeded& action);
  void update_gates();
  void tell_durable();
  void finish_step_down();
  void remove_doubt();
  void flush_messages();
  void schedule_tick();
  void tick();
  void maintain();
  void check_group();
  // the store (replica_store.cc)
  void apply_committed();
  void apply_gathered();
  bool may_gather() const;
  void show_store();
  // The disk is full: reads go on, writes are refused, and both store and log try again.
  bool out_of_space() const;
  void wait_for_space();
  engine::EngineOptions engine_options() const;
  void set_engine(std::shared_ptr<engine::Engine> engine);
  void trim_log();
  void reconfigure_store();
  void consider_compaction();
  // learning (replica_learning.cc)
  struct Invitation {
    uint64_t signature = 0;
    wal::TrimHolds::Id hold = 0;  // 0: none
    Instant heard;                // of the learner, or when it was invited
  };
  void forget_invitation(HostPort node);
  void forget_invitations();
  void send_waiting_invitations();
  Invitation* find_invitation(uint64_t signature);
  void hold_log(HostPort learner, Invitation& invitation, Decree position);
  void send_file(std::shared_ptr<rpc::Request> held,
                 std::shared_ptr<CheckpointShelf::Checkpoint> checkpoint, FetchFile message);
  void answer_learn(rpc::Request& request, const LearnReply& reply);
  Status save_table_info();
  Instant now() const { return shard_.now(); }

  ReplicaHost& host_;
  OpenOptions options_;
  io::Shard& shard_;
  ReplicaMetrics metrics_;
  CacheBudget::Share cache_share_;
  mutable std::mutex
      engine_mutex_;  // guards engine_ and options_.table against readers on other threads
  std::shared_ptr<engine::Engine> engine_;
  std::atomic<engine::Engine*> engine_now_{nullptr};
  std::atomic<std::shared_ptr<const security::UserSet>> allowed_users_;
  std::shared_ptr<wal::Log> log_;  // shared with reads for learners on the pool
  std::string_view log_memory_;    // Log::hot_memory()
  std::unique_ptr<pacifica::ReplicaCore> core_;
  std::unique_ptr<engine::Resolver> resolver_;
  engine::TableSettings settings_;  // of the table's environments

  std::atomic<bool> serves_reads_{false};
  std::atomic<bool> serves_backup_reads_{false};
  std::atomic<bool> validates_hash_{false};
  std::atomic<int32_t> partition_version_{-1};

  Admission admission_;
  HotkeyDetector read_hotkeys_;
  HotkeyDetector write_hotkeys_;
  std::atomic<int64_t> slow_query_ns_{INT64_MAX};
  RequestThrottle read_log_;
  DelayedRequests delayed_;
  ManualCompaction compaction_;

  // Writes from other shards; guarded by inbox_mutex_.
  std::mutex inbox_mutex_;
  std::vector<rpc::Request> inbox_;
  bool pump_posted_ = false;

  std::deque<PendingWrite> queue_;  // admitted, not proposed
  size_t queue_bytes_ = 0;
  std::deque<InFlight> in_flight_;  // proposed, not answered
  bool fetching_ = false;           // base values are being read from disk
  int64_t last_timestamp_us_ = 0;
  uint64_t refused_duplicates_ = 0;

  pacifica::Actions actions_;
  bool performing_ = false;
  bool flush_posted_ = false;
  std::deque<pacifica::Mutation> to_apply_;
  size_t to_apply_bytes_ = 0;
  io::TimerHandle gather_timer_;
  Decree applied_ = 0;
  uint64_t learned_records_ = 0;  // appended to the log by a learner, not by the core
  Decree read_gate_ = 0;          // applied must reach it before reads are served
  io::TimerHandle apply_retry_;
  io::TimerHandle tick_timer_;
  io::TimerHandle maintenance_timer_;
  io::TimerHandle hand_over_timer_;
  bool handing_over_ = false;
  Callback<Errc, Decree> step_down_done_;
  bool ask_outstanding_ = false;

  std::unordered_map<uint64_t, rpc::Request> prepares_;  // to be acknowledged, by token
  uint64_t next_token_ = 1;
  std::map<HostPort, Invitation> invitations_;  // learners
  bool installing_ = false;                     // the store is being replaced by a learned one
  std::set<HostPort> to_invite_;                // when the ballot is durable
  wal::TrimHolds log_holds_;
  std::map<uint64_t, io::TimerHandle> delayed_sends_;  // file chunks that wait for the rate limit
  uint64_t next_delayed_send_ = 1;
  uint64_t next_signature_ = 0;
  std::unique_ptr<Learner> learner_;
  std::unique_ptr<CheckpointShelf> shelf_;
  Decree unreadable_up_to_ = 0;  // the log was found damaged when this was committed
  Instant group_checked_;
  uint64_t log_bytes_at_flush_ = 0;  // what was left of the log by the last flush
  bool maintaining_ = false;
  bool showing_ = false;
  bool regaining_ = false;      // space, on the pool
  Instant shown_at_;            // what the store says about itself
  bool reconfiguring_ = false;  // the store is being told of settings
  bool broken_ = false;
  bool marked_doubtful_ = false;  // there is a file that says so
  bool closed_ = false;
};

template <typename F>
void Replica::soon(F event) {
  if constexpr (sizeof(F) > sizeof(void*)) {  // moved once, not with each task
    soon([held = std::make_unique<F>(std::move(event))](Replica& self) { (*held)(self); });
  } else {
    expect();
    shard_.post([self = shared_from_this(), event = std::move(event)]() mutable {
      self->expect_more();
      auto& shard = self->shard_;
      shard.post([self = std::move(self), event = std::move(event)]() mutable { event(*self); });
    });
  }
}

}  // namespace markab::replica
