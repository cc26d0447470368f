#include "replica/replica.h"

#include <algorithm>

#include "base/log.h"
#include "base/plant.h"
#include "replica/learner.h"
#include "replica/spare_actions.h"
#include "replica/table_info.h"

namespace markab::replica {

using pacifica::Role;

namespace {

constexpr size_t kCacheLine = 64;
void fetch_ahead(const void* from, const void* to) {
  for (auto* at = static_cast<const char*>(from); at < to; at += kCacheLine) __builtin_prefetch(at);
}
template <typename T>
void fetch_ahead(const T* object) {
  if (object != nullptr) fetch_ahead(object, object + 1);
}

constexpr Duration kTick = std::chrono::milliseconds(50);
// In the replica's directory while its log may lack what it acknowledged (04 §2.2).
constexpr char kDoubtfulMark[] = "/.doubtful";
constexpr Duration kMaintenance = std::chrono::seconds(1);
constexpr int64_t kReadLogLines = 10;

std::shared_ptr<const security::UserSet> users_of(const TableInfo& table) {
  auto found = table.envs.find(std::string(security::kAllowedUsersEnv));
  return std::make_shared<const security::UserSet>(
      found == table.envs.end() ? security::UserSet() : security::parse_users(found->second));
}

}  // namespace

struct Replica::Recovery {
  Ballot ballot = 0;
  Ballot member = 0;
  bool trusted = true;
  std::vector<pacifica::Mutation> suffix;
};

Replica::Replica(ReplicaHost& host, OpenOptions options)
    : host_(host),
      options_(std::move(options)),
      shard_(host.runtime().shard(options_.shard)),
      metrics_(host.metrics(), options_.gpid),
      cache_share_(*host.tuning().cache),
      allowed_users_(users_of(options_.table)),
      delayed_(shard_),
      compaction_(host.runtime(), shard_, host.compaction_slots()) {
  // Of abnormal reads, this many lines a second and no more.
  read_log_.configure(
      {.delay_units = 0, .delay_ms = 0, .reject_units = kReadLogLines, .reject_ms = 0}, 1);
}

Replica::~Replica() {
  MARKAB_ASSERT(closed_ || core_ == nullptr, "a replica is dropped without close()", gpid());
}

void Replica::open(ReplicaHost& host, OpenOptions options, Opened done) {
  auto replica = std::shared_ptr<Replica>(new Replica(host, std::move(options)));
  auto recovery = std::make_shared<Recovery>();
  auto status = std::make_shared<Status>();
  // Not in the background: whoever starts wants to serve.
  host.runtime().blocking().run(
      replica->shard_, [replica, recovery, status] { *status = recover(*replica, *recovery); },
      [replica, recovery, status, done = std::move(done)] {
        if (!status->ok()) {
          done(status->with_context(
              fmt::format("opening {} in {}", replica->gpid(), replica->dir())));
          return;
        }
        replica->start(std::move(*recovery));
        done(replica);
      });
}

// Store first, then the log above it. What the log knows to be committed is applied while it
// streams by, so that only the window of uncommitted mutations is ever in memory.
Status Replica::recover(Replica& replica, Recovery& recovery) {
  auto& options = replica.options_;
  auto& files = replica.host_.files();
  if (auto s = files.create_directories(options.dir + "/data"); !s.ok()) return s;
  if (auto s = replica.save_table_info(); !s.ok()) return s;

  replica.settings_ = table_settings(options.table, {}, replica.host_.tuning().table_defaults);
  auto opened = replica.host_.open_engine()(replica.engine_options());
  if (!opened) return opened.error();
  replica.set_engine(std::move(*opened));

  auto& engine = *replica.engine_;
  Decree applied = engine.store().last_applied();
  std::map<Decree, pacifica::Mutation> pending;
  Status failure;
  auto apply = [&](const pacifica::Mutation& m) {
    failure = engine.apply(m.decree, *m.payload);
    if (failure.code() == Errc::kBusy) {
      failure = engine.store().flush();
      if (failure.ok()) failure = engine.apply(m.decree, *m.payload);
    }
    if (failure.ok()) applied = m.decree;
  };
  auto visit = [&](const wal::Record& record) {
    recovery.ballot = std::max(recovery.ballot, record.ballot);
    if (record.type == wal::Record::Type::kReign) {
      pending.erase(pending.upper_bound(record.decree), pending.end());
      return;
    }
    if (record.decree > applied) {
      pending[record.decree] = {record.ballot, record.decree, record.timestamp_us,
                                std::make_shared<const std::string>(record.payload)};
    }
    while (failure.ok() && !pending.empty() && pending.begin()->first == applied + 1 &&
           pending.begin()->first <= record.committed) {
      apply(pending.begin()->second);
      if (failure.ok()) pending.erase(pending.begin());
    }
    replica.last_timestamp_us_ = std::max(replica.last_timestamp_us_, record.timestamp_us);
  };
  wal::ReplaySummary summary;
  auto log =
      wal::Log::open(*options.disk, replica.shard_, options.dir + "/plog", applied, visit, summary);
  if (!log) return log.error();
  if (!failure.ok()) return failure.with_context("applying the log");
  replica.log_ = std::move(*log);
  replica.log_memory_ = replica.log_->hot_memory();

  recovery.ballot = std::max(recovery.ballot, summary.ballot);
  recovery.member = summary.member;
  recovery.trusted = options.trust_log;
  if (!summary.damage.ok()) {
    MARKAB_ERROR("{}: the log is damaged and this replica will learn anew: {}", options.gpid,
                 summary.damage);
    recovery.trusted = false;
  }
  if (summary.torn_bytes > 0) recovery.trusted = false;
  if (summary.began_anew) {
    MARKAB_ERROR(
        "{}: the store has decree {} and the log ends before it; this replica will learn anew",
        options.gpid, applied);
    recovery.trusted = false;
  }
  Decree next = applied;
  for (auto& [decree, mutation] : pending) {
    if (decree != next + 1) {
      MARKAB_ERROR("{}: the log has no decree {} although it has {}; this replica will learn anew",
                   options.gpid, next + 1, decree);
      recovery.trusted = false;
      break;
    }
    recovery.suffix.push_back(std::move(mutation));
    next = decree;
  }
  if (replica.log_->trimmed() > next) {
    MARKAB_ERROR(
        "{}: the log begins after decree {}, the store ends at {}; this replica will learn "
        "anew",
        options.gpid, replica.log_->trimmed(), next);
    recovery.trusted = false;
  }
  if (replica.log_->last_decree() != next) {
    // The log ends before the store does, or behind a hole: it goes on from what is whole.
    if (replica.log_->last_decree() < applied) {
      if (applied > 0 && summary.records > 0) recovery.trusted = false;
      if (auto s = replica.log_->reset(applied); !s.ok()) return s;
    }
  }
  // Only learning ends it: the next process finds nothing wrong with the machine, nor with a log
  // that this one has mended.
  auto mark = options.dir + kDoubtfulMark;
  if (!recovery.trusted) {
    if (auto s = files.write_atomic(mark, "{}"); !s.ok()) return s;
  }
  replica.marked_doubtful_ = files.exists(mark);
  if (replica.marked_doubtful_) recovery.trusted = false;
  replica.applied_ = applied;
  replica.resolver_ = std::make_unique<engine::Resolver>(engine);
  MARKAB_INFO(
      "{} opened: ballot {} (a member at {}), applied {}, prepared {}, replayed {} records ({} "
      "bytes, {} cut)",
      options.gpid, recovery.ballot, recovery.member, applied, next, summary.records, summary.bytes,
      summary.cut_bytes);
  return {};
}

void Replica::start(Recovery recovery) {
  auto core_options = host_.tuning().core;
  core_options.self = host_.self();
  core_ = std::make_unique<pacifica::ReplicaCore>(core_options);
  core_->bound_cache(cache_share_.renew(0, core_options.cache_bytes));
  core_->recovered(recovery.ballot, recovery.member, applied_, std::move(recovery.suffix),
                   recovery.trusted);
  shelf_ = std::make_unique<CheckpointShelf>(host_, options_.gpid, options_.dir + "/learn_source");
  log_->set_on_durable([this](const Status& status, Decree) {
    if (closed_) return;
    if (!status.ok()) {
      fail(status.with_context("the mutation log"));
      return;
    }
    tell_durable();
    propose_waiting();
  });
  on_table_info(options_.table);
  maintenance_timer_ = shard_.after(kMaintenance, [this] { maintain(); });
}

// The core counts its own records; what a learner wrote by itself is not among them.
void Replica::tell_durable() {
  auto records = log_->durable_records();
  borrow_room(actions_);
  core_->on_durable(records - std::min(records, learned_records_), now(), actions_);
  perform();
  if (!to_invite_.empty()) send_waiting_invitations();
}

Status Replica::save_table_info() {
  return host_.files().write_atomic(options_.dir + "/.app-info",
                                    table_info_to_json(options_.gpid, options_.table));
}

// ---- what the server tells
// -----------------------------------------------------------------------------------------

void Replica::on_membership(const pacifica::Membership& membership) {
  if (closed_) return;
  // Not without a store; whoever chose this replica says so again.
  if (installing_ && membership.primary == host_.self()) return;
  core_->on_membership(membership, now(), actions_);
  perform();
  propose_waiting();
}

void Replica::on_table_info(const TableInfo& table) {
  bool changed = !(table == options_.table);
  if (changed) {
    std::lock_guard lock(engine_mutex_);
    options_.table = table;
    allowed_users_.store(users_of(table));
  }
  auto settings = table_settings(table, settings_, host_.tuning().table_defaults);
  bool store_changed = !(settings.store == settings_.store);
  settings_ = settings;
  if (engine_) engine_->set_settings(settings);
  if (store_changed) reconfigure_store();
  admission_.configure(table.envs, table.partition_count);
  // In nanoseconds, whatever an operator wrote.
  slow_query_ns_.store(
      std::min<int64_t>(settings.slow_query_threshold_ms, INT64_MAX / 1000000) * 1000000,
      std::memory_order_relaxed);
  validates_hash_.store(settings.validate_partition_hash, std::memory_order_relaxed);
  partition_version_.store(settings.partition_version, std::memory_order_relaxed);
  if (!changed || closed_) return;
  auto self = shared_from_this();
  auto text = table_info_to_json(options_.gpid, table);
  host_.runtime().background().run(
      shard_,
      [self, text] {
        auto s = self->host_.files().write_atomic(self->dir() + "/.app-info", text);
        if (!s.ok())
          MARKAB_WARN("{}: the table's description could not be saved: {}", self->gpid(), s);
      },
      [self] {});
}

void Replica::delay(rpc::Request request, Duration wait, Callback<rpc::Request> due) {
  auto hold = [self = shared_from_this(), wait](rpc::Request& held, Callback<rpc::Request>& then) {
    if (self->closed_) {
      held.reply_error(Errc::kObjectNotFound);
    } else if (!self->delayed_.hold(held, wait, std::move(then))) {
      held.reply_error(Errc::kBusy);
    }
  };
  if (shard_.in_thread()) {
    hold(request, due);
    return;
  }
  shard_.post([hold = std::move(hold), request = std::move(request),
               due = std::move(due)]() mutable { hold(request, due); });
}

void Replica::on_node_dead(HostPort node) {
  if (closed_) return;
  forget_invitation(node);
  core_->on_node_dead(node, now(), actions_);
  perform();
  propose_waiting();
}

// A member again, with all that the group has.
void Replica::remove_doubt() {
  if (!marked_doubtful_) return;
  marked_doubtful_ = false;
  host_.runtime().blocking().run(
      shard_,
      [self = shared_from_this()] {
        auto& files = self->host_.files();
        auto s = files.remove(self->dir() + kDoubtfulMark);
        if (s.ok()) s = files.sync_directory(self->dir());
        if (!s.ok())
          MARKAB_WARN("{}: it will learn once more at its next start: {}", self->gpid(), s);
      },
      [] {});
}

void Replica::disown(Ballot ballot) {
  if (closed_ || core_->role() != Role::kPrimary || core_->ballot() != ballot) return;
  MARKAB_WARN("{}: the meta server no longer names this node a member at ballot {}", gpid(),
              ballot);
  core_->step_down(actions_);
  perform();
}

void Replica::remove_secondary(HostPort node) {
  if (closed_) return;
  core_->remove_secondary(node, now(), actions_);
  perform();
}

void Replica::step_down(Callback<Errc, Decree> done) {
  if (closed_ || core_->role() != Role::kPrimary) {
    done(Errc::kInvalidState, 0);
    return;
  }
  if (step_down_done_) step_down_done_(Errc::kBusy, core_->last_committed());
  step_down_done_ = std::move(done);
  handing_over_ = true;
  core_->step_down(actions_);
  perform();
  finish_step_down();
  hand_over_timer_ = shard_.after(host_.tuning().hand_over_wait, [this] {
    if (step_down_done_)
      std::exchange(step_down_done_, nullptr)(Errc::kTimeout, core_->last_committed());
    refuse_queue(Errc::kInvalidState);
  });
}

void Replica::finish_step_down() {
  if (!step_down_done_ || !in_flight_.empty() || !to_apply_.empty()) return;
  std::exchange(step_down_done_, nullptr)(Errc::kOk, core_->last_committed());
}

void Replica::close(Task done) {
  MARKAB_ASSERT(!closed_, "a replica is closed twice", gpid());
  closed_ = true;
  serves_reads_.store(false, std::memory_order_release);
  serves_backup_reads_.store(false, std::memory_order_release);
  compaction_.stop();
  learner_.reset();
  tick_timer_.cancel();
  maintenance_timer_.cancel();
  apply_retry_.cancel();
  gather_timer_.cancel();
  hand_over_timer_.cancel();
  delayed_sends_.clear();
  shelf_->stop();
  {
    std::lock_guard lock(inbox_mutex_);
    for (auto& request : inbox_) request.reply_error(Errc::kObjectNotFound);
    inbox_.clear();
  }
  delayed_.refuse_all(Errc::kObjectNotFound);
  refuse_queue(Errc::kObjectNotFound);
  if (step_down_done_)
    std::exchange(step_down_done_, nullptr)(Errc::kInvalidState, core_->last_committed());
  in_flight_.clear();  // their outcome is unknown: silence
  for (auto& [token, request] : prepares_) {
    std::string bytes;
    encode(pacifica::PrepareAck{Errc::kObjectNotFound, core_->ballot(), 0, 0}, bytes);
    request.reply(bytes);
  }
  prepares_.clear();
  log_->set_on_durable(
      nullptr);  // a reader on the pool may keep the log for longer than this replica lives
  auto self = shared_from_this();
  host_.runtime().background().run(
      shard_, [log = std::move(log_)]() mutable { log.reset(); },
      [self, done = std::move(done)] { done(); });
}

void Replica::abandon() {
  closed_ = true;
  delayed_.drop_all();
  compaction_.stop();
  learner_.reset();
}

void Replica::fail(const Status& why) {
  if (broken_ || closed_) return;
  broken_ = true;
  MARKAB_ERROR("{} is out of service: {}", gpid(), why);
  core_->fail(actions_);
  perform();
  refuse_queue(Errc::kInvalidState);
  host_.on_broken(*this, why);
}

// ---- actions of the core
// -------------------------------------------------------------------------------------------

void Replica::expect() const {
  fetch_ahead(&log_, &settings_);
  fetch_ahead(&inbox_mutex_, &invitations_);
}

void Replica::expect_more() const {
  if (closed_) return;
  fetch_ahead(core_.get());
  fetch_ahead(log_memory_.data(), log_memory_.data() + log_memory_.size());
  fetch_ahead(log_.get());
  fetch_ahead(resolver_.get());
  fetch_ahead(engine_.get());
}

void Replica::perform() {
  if (performing_ || closed_) return;  // the outer loop takes what an action adds
  performing_ = true;
  for (size_t i = 0; i < actions_.size(); ++i) {
    auto action = std::move(actions_[i]);
    std::visit([this](auto& a) { act(a); }, action);
  }
  actions_.clear();
  return_room(actions_);
  performing_ = false;
  if (!to_apply_.empty()) apply_committed();
  update_gates();
  schedule_tick();
}

void Replica::act(pacifica::AppendReign& action) {
  wal::Record record;
  record.type = wal::Record::Type::kReign;
  record.ballot = action.ballot;
  record.decree = action.keep_up_to;
  record.member = action.member;
  record.committed = core_->last_committed();
  if (auto s = log_->append(record); !s.ok()) fail(s.with_context("adopting a ballot"));
}

void Replica::act(pacifica::AppendMutation& action) {
  const auto& m = action.mutation;
  last_timestamp_us_ = std::max(last_timestamp_us_, m.timestamp_us);
  wal::Record record;
  record.ballot = m.ballot;
  record.decree = m.decree;
  record.timestamp_us = m.timestamp_us;
  record.committed = action.committed;
  record.payload = *m.payload;
  auto s = log_->append(record);
  // A log that waits for space for too long is no damaged one.
  if (s.code() == Errc::kBusy && log_->out_of_space())
    s = Status(Errc::kDiskInsufficient, std::string(s.message()));
  if (!s.ok()) fail(s.with_context("logging a mutation"));
}

void Replica::act(pacifica::SendPrepare& action) {
  thread_local std::string bytes;
  bytes.clear();
  encode(action.prepare, bytes);
  rpc::CallOptions options;
  options.gpid = gpid();
  options.timeout = host_.tuning().core.prepare_timeout;
  host_.network(options_.shard)
      .call(action.to, rpc::TaskCode::kPrepare, options, bytes,
            [weak = weak_from_this(), to = action.to, token = action.token](rpc::Reply reply) {
              auto self = weak.lock();
              if (!self) return;
              auto ack = reply.status.ok() ? decode_prepare_ack(reply.result)
                                           : Result<pacifica::PrepareAck>(reply.status);
              bool certain = reply.status.code() == Errc::kNetworkFailure && reply.never_sent;
              self->soon([to, token, certain, ack = std::move(ack)](Replica& replica) {
                replica.on_prepare_answer(to, token, ack, certain);
              });
            });
}

// `certain`: it never left.
void Replica::on_prepare_answer(HostPort from, uint64_t token,
                                const Result<pacifica::PrepareAck>& ack, bool certain) {
  if (closed_) return;
  borrow_room(actions_);
  if (ack) {
    if (ack->error != Errc::kOk) metrics_.prepare_failed_requests.add();
    core_->on_prepare_ack(from, token, *ack, now(), actions_);
  } else {
    metrics_.prepare_failed_requests.add();
    core_->on_prepare_failed(from, token, certain, now(), actions_);
  }
  perform();
  propose_waiting();
}

void Replica::act(pacifica::SendAck& action) {
  auto found = prepares_.find(action.token);
  if (found == prepares_.end()) return;  // closed meanwhile
  auto request = std::move(found->second);
  prepares_.erase(found);
  thread_local std::string bytes;
  bytes.clear();
  encode(action.ack, bytes);
  request.reply(bytes);
}

void Replica::act(pacifica::Commit& action) {
  metrics_.committed_requests.add();
  to_apply_bytes_ += action.mutation.payload->size();
  bool early = MARKAB_PLANTED(kApplyOutOfOrder) && !to_apply_.empty();
  to_apply_.insert(to_apply_.end() - (early ? 1 : 0), std::move(action.mutation));
}

void Replica::act(pacifica::Abandon& action) {
  // Prepared under a reign that ended: whether they will be committed is the next primary's doing,
  // so the clients hear nothing and see a time-out (spec 04 §4.2).
  std::erase_if(in_flight_, [&](const InFlight& f) { return f.decree >= action.from; });
  if (resolver_) resolver_->clear();
}

void Replica::act(pacifica::AskMeta& action) {
  host_.ask_meta(*this, action,
                 [weak = weak_from_this()](Errc error, pacifica::Membership current) {
                   auto self = weak.lock();
                   if (!self || self->closed_) return;
                   self->core_->on_meta_answer(error, current, self->now(), self->actions_);
                   self->perform();
                   self->propose_waiting();
                 });
}

void Replica::act(pacifica::RoleChanged& action) {
  MARKAB_INFO("{} is {} at ballot {} (prepared {}, committed {}, applied {})", gpid(),
              role_name(action.role), action.ballot, core_->last_prepared(),
              core_->last_committed(), applied_);
  hand_over_timer_.cancel();
  handing_over_ = false;
  if (action.role == Role::kPrimary || action.role == Role::kSecondary) remove_doubt();
  host_.on_role_changed(*this, static_cast<Role>(metrics_.role.value()), action.role);
  metrics_.role.set(static_cast<int64_t>(action.role));
  metrics_.ballot.set(action.ballot);
  if (action.continues) return;  // what is in flight goes on as it is
  if (resolver_) resolver_->clear();
  if (action.role == Role::kPrimary) {
    read_gate_ = core_->last_prepared();
  } else {
    forget_invitations();
    refuse_queue(Errc::kInvalidState);
    if (step_down_done_)
      std::exchange(step_down_done_, nullptr)(Errc::kOk, core_->last_committed());
  }
  if (action.role != Role::kLearner) learner_.reset();
}

void Replica::act(pacifica::LearnerDropped& action) {
  MARKAB_WARN("{}: {} is no longer a learner here: {}", gpid(), action.node, action.reason);
  forget_invitation(action.node);
}

void Replica::act(pacifica::RelearnNeeded& action) {
  MARKAB_ERROR("{}: this replica leaves its group and learns anew: {}", gpid(), action.reason);
  marked_doubtful_ = true;
  host_.runtime().blocking().run(
      shard_,
      [self = shared_from_this()] {
        auto s = self->host_.files().write_atomic(self->dir() + kDoubtfulMark, "{}");
        if (!s.ok()) MARKAB_WARN("{}: {}", self->gpid(), s);
      },
      [] {});
}

void Replica::update_gates() {
  auto role = core_->role();
  bool in_service = !broken_ && !closed_;
  bool serves = in_service && !handing_over_ && core_->reads_allowed() && applied_ >= read_gate_;
  MARKAB_ASSERT(!serves || applied_ >= core_->inherited(),
                "reads would be served before what was inherited is applied (04 S8)", applied_,
                core_->inherited());
  MARKAB_ASSERT(queue_.empty() || role == Role::kPrimary, "writes wait where nobody leads (04 S18)",
                queue_.size());
  serves_reads_.store(serves, std::memory_order_release);
  serves_backup_reads_.store(in_service && (role == Role::kPrimary || role == Role::kSecondary),
                             std::memory_order_release);
}

void Replica::schedule_tick() {
  if (tick_timer_ || closed_ || core_->idle()) return;
  tick_timer_ = shard_.after(kTick, [this] { tick(); });
}

void Replica::tick() {
  tick_timer_.cancel();
  core_->on_tick(now(), actions_);
  perform();
  propose_waiting();
  schedule_tick();
}

// Once a second: idle scan contexts go; when the log has grown, the store is flushed on the pool
// and the log behind it trimmed.
void Replica::maintain() {
  maintenance_timer_ = shard_.after(kMaintenance, [this] { maintain(); });
  check_group();
  if (!engine_) return;
  look_for_damage();
  if (closed_ || broken_) return;
  if (engine_->store().out_of_space()) wait_for_space();
  engine_->expire_scanners(now());
  consider_compaction();
  read_hotkeys_.analyse(now());
  write_hotkeys_.analyse(now());
  shelf_->expire(now());
  core_->bound_cache(cache_share_.renew(core_->cached_bytes(), host_.tuning().core.cache_bytes));
  metrics_.private_log_size_mb.set(static_cast<int64_t>(log_->bytes() >> 20));
  // What a flush could not trim, since somebody holds it, is no reason to flush again.
  if (log_->bytes() >= log_bytes_at_flush_ + host_.flush_after_log_bytes()) {
    flush_store();
  } else if (log_->bytes() > host_.tuning().keep_log_bytes) {
    trim_log();
  }
  show_store();
}

// A member that restarted under the same ballot knows commits only up to the last record that it
// logged, and an idle primary has nothing to send: without this it would stay there until the next
// write (04 §1.8).
void Replica::check_group() {
  if (core_->role() != Role::kPrimary ||
      now() - group_checked_ < host_.tuning().group_check_interval)
    return;
  group_checked_ = now();
  core_->check_group(now(), actions_);
  perform();
}

// ---- prepares from a primary
// ---------------------------------------------------------------------------------------

void Replica::on_prepare(rpc::Request request) {
  if (closed_) {
    std::string bytes;
    encode(pacifica::PrepareAck{Errc::kObjectNotFound, 0, 0, 0}, bytes);
    request.reply(bytes);
    return;
  }
  auto prepare = decode_prepare(request.args);
  if (!prepare) {
    MARKAB_WARN("{}: {} sent {}", gpid(), request.peer(), prepare.error());
    request.reply_error(Errc::kInvalidData);
    return;
  }
  auto token = next_token_++;
  prepares_.emplace(token, std::move(request));
  borrow_room(actions_);
  core_->on_prepare(prepare->membership.primary, token, *prepare, now(), actions_);
  perform();
}

}  // namespace markab::replica
