// The replica and its store: committed mutations go in, settings and space are seen to, and what is
// durable lets the log go.

#include <string_view>
#include <vector>

#include "base/log.h"
#include "replica/replica.h"

namespace markab::replica {

using pacifica::Role;

namespace {

constexpr Duration kShowStore = std::chrono::seconds(10);
constexpr Duration kSpaceRetry = std::chrono::milliseconds(200);
constexpr Duration kApplyRetry = std::chrono::milliseconds(2);
// How long a secondary gathers what is committed, and how much of it.
constexpr Duration kGather = std::chrono::milliseconds(200);
constexpr size_t kGatheredMutations = 64;
constexpr size_t kGatheredBytes = 256u << 10;

}  // namespace

engine::EngineOptions Replica::engine_options() const {
  engine::EngineOptions out;
  out.gpid = gpid();
  out.dir = dir() + "/data/rdb";
  out.partition_count = options_.table.partition_count;
  out.settings = settings_;
  out.limits = host_.tuning().reads;
  out.now = [&shard = shard_] { return shard.now(); };
  return out;
}

void Replica::set_engine(std::shared_ptr<engine::Engine> engine) {
  engine_now_.store(engine.get(), std::memory_order_release);
  std::lock_guard lock(engine_mutex_);
  engine_.swap(engine);
}

// A write to the store costs a secondary several times what its rows cost, mostly in cold memory
// when there are hundreds of stores. Nobody waits for it there (04 §1.11: a backup read is promised
// no bound), so what is committed within a moment goes in together.
bool Replica::may_gather() const {
  return core_->role() == Role::kSecondary && to_apply_.size() < kGatheredMutations &&
         to_apply_bytes_ < kGatheredBytes;
}

void Replica::apply_committed() {
  if (to_apply_.empty()) return;
  if (!may_gather()) return apply_gathered();
  if (!gather_timer_) gather_timer_ = shard_.after(kGather, [this] { apply_gathered(); });
}

void Replica::apply_gathered() {
  gather_timer_.cancel();
  if (apply_retry_ || !engine_) return;
  thread_local std::vector<std::string_view> run;
  while (!to_apply_.empty()) {
    const Decree first = to_apply_.front().decree;
    run.clear();
    for (const auto& mutation : to_apply_) {
      if (run.size() == kGatheredMutations) break;
      if (mutation.decree != first + static_cast<Decree>(run.size())) break;
      run.push_back(*mutation.payload);
    }
    auto status = engine_->apply_run(first, run);
    const Decree reached =
        status.ok() ? first + static_cast<Decree>(run.size()) - 1 : engine_->store().last_applied();
    while (!to_apply_.empty() && to_apply_.front().decree <= reached) {
      to_apply_bytes_ -= to_apply_.front().payload->size();
      to_apply_.pop_front();
    }
    if (reached > applied_) {
      applied_ = reached;
      resolver_->applied(applied_);
      answer_committed(applied_);
    }
    if (status.code() == Errc::kBusy) {
      // RocksDB asks writers to wait. The shard does not block; everything in front of the store
      // keeps its bound.
      apply_retry_ = shard_.after(kApplyRetry, [this] {
        apply_retry_.cancel();
        apply_gathered();
        update_gates();
        propose_waiting();
      });
      return;
    }
    if (status.code() == Errc::kDiskInsufficient) return wait_for_space();
    if (!status.ok()) {
      fail(status.with_context(fmt::format("applying what follows decree {}", applied_)));
      return;
    }
  }
  metrics_.last_committed_decree.set(applied_);
  finish_step_down();
}

void Replica::look_for_damage() {
  if (closed_ || broken_ || !engine_) return;
  if (auto damage = engine_->store().damage(); !damage.ok()) fail(damage);
}

bool Replica::out_of_space() const {
  return log_->out_of_space() || (engine_ && engine_->store().out_of_space());
}

void Replica::wait_for_space() {
  if (regaining_ || closed_ || !engine_) return;
  regaining_ = true;
  host_.runtime().background().run(
      shard_, [engine = hold_engine()] { (void)engine->store().regain_space(); },
      [self = shared_from_this()] {
        self->regaining_ = false;
        if (self->closed_ || self->broken_ || self->apply_retry_) return;
        self->apply_retry_ = self->shard_.after(kSpaceRetry, [raw = self.get()] {
          raw->apply_retry_.cancel();
          // Even when nothing waits to be applied: clients are refused for as long as it is full.
          if (raw->engine_ && raw->engine_->store().out_of_space()) raw->wait_for_space();
          raw->apply_gathered();
          raw->update_gates();
          raw->propose_waiting();
        });
      });
}

// Now and then. Takes the store's lock, so not on the shard.
void Replica::show_store() {
  if (showing_ || (shown_at_ != Instant() && now() - shown_at_ < kShowStore)) return;
  showing_ = true;
  shown_at_ = now();
  auto seen = std::make_shared<engine::StoreStatistics>();
  host_.runtime().background().run(
      shard_, [engine = hold_engine(), seen] { *seen = engine->store().statistics(); },
      [self = shared_from_this(), seen] {
        self->showing_ = false;
        self->metrics_.show(*seen);
      });
}

void Replica::flush_store() {
  if (maintaining_ || closed_ || !engine_) return;
  apply_gathered();
  if (closed_ || broken_) return;
  maintaining_ = true;
  auto self = shared_from_this();
  auto status = std::make_shared<Status>();
  host_.runtime().background().run(
      shard_, [engine = engine_, status] { *status = engine->store().flush(); },
      [self, status] {
        self->maintaining_ = false;
        if (self->closed_) return;
        if (status->code() == Errc::kDiskInsufficient) return self->wait_for_space();
        if (status->code() == Errc::kBusy) return;  // the next maintenance flushes again
        if (!status->ok()) {
          self->fail(status->with_context("flushing the store"));
          return;
        }
        self->trim_log();
        self->log_bytes_at_flush_ = self->log_->bytes();
      });
}

void Replica::trim_log() {
  const auto& tuning = host_.tuning();
  if (log_->bytes() <= tuning.keep_log_bytes) return;
  auto durable = last_durable();
  log_->trim(log_holds_.limit(durable, now()));
  if (log_->bytes() <= tuning.max_held_log_bytes) return;
  auto slowest = log_holds_.slowest();
  if (!slowest || slowest->position >= durable) return;
  MARKAB_ERROR("{}: the log has {} MiB and {} holds it at decree {} of {}; it loses its hold",
               gpid(), log_->bytes() >> 20, slowest->who, slowest->position, durable);
  log_holds_.drop_slowest();
}

// Tells the store what it must take over by itself; it blocks for a moment, so on the pool, one
// after the other.
void Replica::reconfigure_store() {
  if (closed_ || !engine_ || reconfiguring_) return;
  reconfiguring_ = true;
  auto self = shared_from_this();
  auto told = std::make_shared<const engine::StoreSettings>(settings_.store);
  host_.runtime().background().run(
      shard_,
      [self, engine = engine_, told] {
        auto s = engine->store().reconfigure(*told);
        if (!s.ok()) {
          MARKAB_WARN("{}: the store did not take over the table's environments: {}", self->gpid(),
                      s);
        }
      },
      [self, told] {
        self->reconfiguring_ = false;
        if (!(*told == self->settings_.store)) self->reconfigure_store();
      });
}

// Only members compact: what a learner has is about to change.
void Replica::consider_compaction() {
  bool member = core_->role() == Role::kPrimary || core_->role() == Role::kSecondary;
  if (!member || closed_ || broken_) return;
  compaction_.consider(settings_.store.manual_compact, engine_, shared_from_this());
  auto state = compaction_.state();
  metrics_.rdb_manual_compact_queued_tasks.set(state == ManualCompaction::State::kQueuing);
  metrics_.rdb_manual_compact_running_tasks.set(state == ManualCompaction::State::kRunning);
}

}  // namespace markab::replica
