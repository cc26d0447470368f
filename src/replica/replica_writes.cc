// The way of a write through its primary: admission, resolution into effects, proposal, answer.

#include "base/log.h"
#include "idl/duplication_types.h"
#include "replica/capacity_units.h"
#include "replica/replica.h"
#include "replica/spare_actions.h"
#include "replica/table_info.h"
#include "rpc/codec.h"

namespace markab::replica {

using pacifica::Role;
using rpc::TaskCode;

namespace {

// So much is worth a mutation of its own while another one is on its way.
constexpr size_t kFullRequests = 32;
constexpr size_t kFullBytes = 32u << 10;
// A source repeats what is refused each second, for ever: the first and then one in this many is
// logged.
constexpr uint64_t kToldRefusals = 60;

}  // namespace

void Replica::enqueue_write(rpc::Request request) {
  {
    std::lock_guard lock(inbox_mutex_);
    inbox_.push_back(std::move(request));
    if (pump_posted_) return;  // one hop carries all that arrives until it runs
    pump_posted_ = true;
  }
  if (shard_.in_thread()) return soon([](Replica& self) { self.pump(); });
  shard_.post([self = shared_from_this()] { self->pump(); });
}

void Replica::pump() {
  std::vector<rpc::Request> arrived;
  {
    std::lock_guard lock(inbox_mutex_);
    arrived.swap(inbox_);
    pump_posted_ = false;
  }
  for (auto& request : arrived) take_in(std::move(request), true);
  if (!closed_) propose_waiting();
}

// Queues a write, or answers why not. `throttled`: false for one that has waited already.
void Replica::take_in(rpc::Request request, bool throttled) {
  if (closed_) {
    request.reply_error(Errc::kObjectNotFound);
    return;
  }
  PendingWrite pending;
  auto refusal = admit(request, pending, throttled);
  if (refusal.silent) return;
  if (refusal.again) {
    delay(std::move(request), refusal.wait, [weak = weak_from_this()](rpc::Request late) {
      auto self = weak.lock();
      if (!self) return;
      self->take_in(std::move(late), false);
      if (!self->closed_) self->propose_waiting();
    });
  } else if (refusal.wait > Duration(0)) {
    delay(std::move(request), refusal.wait,
          [error = refusal.error](rpc::Request late) { late.reply_error(error); });
  } else if (refusal.error != Errc::kOk) {
    request.reply_error(refusal.error);
  } else {
    queue_bytes_ += request.args.size();
    pending.request = std::move(request);
    queue_.push_back(std::move(pending));
  }
}

// By count, then by bytes (spec 04 §4.2 row 13, §5).
Replica::Refusal Replica::check_throttles(const rpc::Request& request) {
  auto ask = [&](RequestThrottle& throttle, size_t units) -> Refusal {
    if (!throttle.on()) return {};
    auto decision = throttle.take(static_cast<int64_t>(units), shard_.wall_us());
    if (decision.verdict == RequestThrottle::Verdict::kAdmit) return {};
    Duration wait = throttle_wait(decision.wait_ms, request.header.timeout_ms);
    bool again = decision.verdict == RequestThrottle::Verdict::kDelay;
    (again ? metrics_.throttled_writes.delayed : metrics_.throttled_writes.rejected).add();
    return {
        .error = again ? Errc::kOk : Errc::kBusy, .silent = false, .again = again, .wait = wait};
  };
  // An ingestion is one small message for many rows, and waits for its own order (issue 2156).
  if (request.header.code == TaskCode::kIngest) return {};
  // What another cluster ships was throttled there; it would come again each second (06 §5.3).
  if (request.header.code == TaskCode::kDuplicate) return {};
  auto refusal = ask(admission_.writes, 1);
  if (refusal.error != Errc::kOk || refusal.again) return refusal;
  return ask(admission_.write_bytes, request.args.size());
}

// The longest body that is taken, in bytes; 0: no bound. A source accepts a write of the longest
// kind and wraps it (06 §5.3).
size_t Replica::longest_write(TaskCode code) const {
  constexpr size_t kWrapping = 64u << 10;
  size_t most = host_.tuning().max_write_bytes;
  return code == TaskCode::kDuplicate && most > 0 ? 2 * most + kWrapping : most;
}

// The checks of spec 04 §4.2 that need the replica, in their order; the body is decoded before
// anything is logged.
Replica::Refusal Replica::admit(rpc::Request& request, PendingWrite& out, bool throttled) {
  auto refuse = [](Errc error) {
    return Refusal{.error = error, .silent = false, .again = false, .wait = {}};
  };
  const auto& tuning = host_.tuning();
  bool duplicated = request.header.code == TaskCode::kDuplicate;
  switch (duplicated ? admission_.denies_duplicates() : admission_.denies_writes()) {
    case Admission::Denial::kNone:
      break;
    case Admission::Denial::kSilence:
      return {.error = Errc::kOk, .silent = true, .again = false, .wait = {}};
    case Admission::Denial::kReconfigure:
      return refuse(Errc::kInvalidState);
  }
  size_t longest = longest_write(request.header.code);
  if (longest > 0 && request.args.size() > longest) {
    metrics_.write_size_exceed_threshold_requests.add();
    return refuse(Errc::kInvalidData);
  }
  if (validates_hash_.load(std::memory_order_relaxed) && request.header.partition_hash != 0) {
    auto version = partition_version_.load(std::memory_order_relaxed);
    bool ours = version >= 0 && (request.header.partition_hash & static_cast<uint64_t>(version)) ==
                                    static_cast<uint64_t>(gpid().partition_index);
    if (!ours) {
      metrics_.splitting_rejected_write_requests.add();
      return refuse(version < 0 ? Errc::kSplitting : Errc::kParentPartitionMisused);
    }
  }
  if (core_->role() != Role::kPrimary) return refuse(Errc::kInvalidState);
  if (!host_.lease_valid(now())) return refuse(Errc::kInvalidState);
  // 04 §4.2, row 10
  if (options_.disk_health->refuses_writes.load(std::memory_order_relaxed))
    return refuse(Errc::kDiskInsufficient);
  if (out_of_space()) return refuse(Errc::kDiskInsufficient);
  if (throttled) {
    auto refusal = check_throttles(request);
    if (refusal.error != Errc::kOk || refusal.again) return refusal;
  }
  if (queue_bytes_ > tuning.max_queued_bytes) {
    metrics_.write_busy_requests.add();
    return refuse(Errc::kBusy);
  }
  return refuse(decode_write(request, out.write));
}

Errc Replica::decode_write(const rpc::Request& request, engine::WriteRequest& out) {
  Status decoded;
  switch (request.header.code) {
    case TaskCode::kPut:
      decoded = rpc::decode_args(request.args, out.emplace<wire::update_request>());
      break;
    case TaskCode::kRemove:
      decoded = rpc::decode_args(request.args, out.emplace<engine::RemoveRequest>().key);
      break;
    case TaskCode::kMultiPut:
      decoded = rpc::decode_args(request.args, out.emplace<wire::multi_put_request>());
      break;
    case TaskCode::kMultiRemove:
      decoded = rpc::decode_args(request.args, out.emplace<wire::multi_remove_request>());
      break;
    case TaskCode::kIncr:
      decoded = rpc::decode_args(request.args, out.emplace<wire::incr_request>());
      break;
    case TaskCode::kCheckAndSet:
      decoded = rpc::decode_args(request.args, out.emplace<wire::check_and_set_request>());
      break;
    case TaskCode::kCheckAndMutate:
      decoded = rpc::decode_args(request.args, out.emplace<wire::check_and_mutate_request>());
      break;
    case TaskCode::kDuplicate:
      return decode_duplicated(request, out.emplace<engine::DuplicateRequest>());
    default:
      return Errc::kHandlerNotFound;
  }
  if (!decoded.ok()) {
    metrics_.corrupt_writes.add();
    MARKAB_WARN("{}: {} from {} does not parse: {}", gpid(), request.name, request.peer(), decoded);
    return Errc::kInvalidData;
  }
  return Errc::kOk;
}

Errc Replica::decode_duplicated(const rpc::Request& request, engine::DuplicateRequest& out) {
  auto version = partition_version_.load(std::memory_order_relaxed);
  if (version < 0) return Errc::kSplitting;
  auto owns = [&](uint64_t hash) {
    return (hash & static_cast<uint64_t>(version)) == static_cast<uint64_t>(gpid().partition_index);
  };
  Status decoded = decode_duplicate(request.args, host_.tuning().duplication, owns, out);
  if (!decoded.ok() || !out.refusal.empty()) {
    metrics_.dup_refused_requests.add();
    if (refused_duplicates_++ % kToldRefusals == 0) {
      MARKAB_WARN("{}: writes duplicated by {} are refused, the {}. time: {}", gpid(),
                  request.peer(), refused_duplicates_,
                  decoded.ok() ? out.refusal : decoded.to_string());
    }
  }
  if (decoded.code() == Errc::kInvalidData) metrics_.corrupt_writes.add();
  return decoded.code();
}

void Replica::propose_waiting() {
  if (closed_ || fetching_) return;
  borrow_room(actions_);
  // Inherited mutations first (04 S7): new writes wait until they are applied, so that the resolver
  // sees their effects.
  while (!queue_.empty() && !handing_over_ && core_->role() == Role::kPrimary &&
         applied_ >= read_gate_) {
    // What arrives while a mutation is on its way joins the next one, as syncs gather writes: a
    // mutation costs three logs a write and two members a message, whatever is in it. Much is not
    // kept waiting.
    if (!in_flight_.empty() && queue_.size() < kFullRequests && queue_bytes_ < kFullBytes) break;
    auto error = core_->can_propose();
    if (error == Errc::kBusy) break;  // the window is full: acknowledgements bring us back
    if (error != Errc::kOk) {
      refuse_queue(error);
      break;
    }
    if (!propose_one_batch()) break;
  }
  core_->flush(now(), actions_);
  perform();
}

// Resolves what waits, up to the bounds of a batch, and proposes it. False: wait for a base value
// or for room.
bool Replica::propose_one_batch() {
  const auto& tuning = host_.tuning();
  engine::ResolveContext context;
  context.wall_us = shard_.wall_us();
  // Writes of another cluster are applied in a mutation of their own, not older than they are: what
  // is written here afterwards is newer (06 §5.4).
  context.timestamp_us = std::max(
      {context.wall_us, last_timestamp_us_ + 1, engine::newest_timestamp_us(queue_.front().write)});
  context.cluster_id = tuning.duplication.own_id;
  resolver_->begin(core_->next_decree(), context);
  std::vector<PendingWrite> batch;
  bool go_on = true;
  while (!queue_.empty() && batch.size() < tuning.max_batch_requests &&
         resolver_->batch_bytes() < tuning.max_batch_bytes) {
    auto& head = queue_.front();
    bool alone = std::holds_alternative<engine::DuplicateRequest>(head.write);
    if (alone && !batch.empty()) break;
    auto outcome = resolver_->add(head.write, head.result);
    if (outcome == engine::Resolver::Outcome::kDone) {
      queue_bytes_ -= head.request.args.size();
      batch.push_back(std::move(head));
      queue_.pop_front();
      if (alone) break;
      continue;
    }
    go_on = false;
    if (outcome == engine::Resolver::Outcome::kNeedsDisk) fetch_base_values();
    break;
  }
  auto effects = resolver_->end();
  if (batch.empty()) return go_on;
  if (effects == nullptr) {
    // Nothing to log: failed checks and refused arguments. They may rest on effects still in
    // flight, so their answers wait for the last of those.
    if (in_flight_.empty()) {
      for (auto& pending : batch) answer(pending, kNoDecree);
    } else {
      auto& last = in_flight_.back().writes;
      for (auto& pending : batch) last.push_back(std::move(pending));
    }
    return go_on;
  }
  last_timestamp_us_ = context.timestamp_us;
  auto decree = core_->propose(std::move(effects), context.timestamp_us, now(), actions_);
  in_flight_.push_back({decree, std::move(batch)});
  return go_on;
}

void Replica::fetch_base_values() {
  fetching_ = true;
  auto self = shared_from_this();
  // The fetch touches the store only, which it holds: the resolver may go away meanwhile.
  auto wanted = resolver_->wanted();
  host_.runtime().blocking().run(
      shard_, [engine = hold_engine(), wanted] { engine::Resolver::fetch(*engine, *wanted); },
      [self, wanted] {
        self->fetching_ = false;
        if (self->closed_) return;
        if (self->resolver_) self->resolver_->remember(wanted);
        self->propose_waiting();
      });
}

void Replica::refuse_queue(Errc error) {
  for (auto& pending : queue_) pending.request.reply_error(error);
  queue_.clear();
  queue_bytes_ = 0;
}

void Replica::answer_committed(Decree decree) {
  while (!in_flight_.empty() && in_flight_.front().decree <= decree) {
    auto flight = std::move(in_flight_.front());
    in_flight_.pop_front();
    for (auto& pending : flight.writes)
      answer(pending, pending.result.has_effects ? flight.decree : kNoDecree);
  }
}

void Replica::answer(PendingWrite& pending, Decree decree) {
  auto& request = pending.request;
  const auto& result = pending.result;
  thread_local std::string bytes;
  bytes.clear();
  auto fill = [&](auto& response) {
    response.error = result.error;
    response.app_id = gpid().app_id;
    response.partition_index = gpid().partition_index;
    response.decree = decree;
    response.server = host_.self_text();
    rpc::encode_result(response, bytes);
  };
  auto fill_check = [&](auto response) {
    response.check_value_returned = result.check_value_returned;
    response.check_value_exist = result.check_value_exist;
    response.check_value.view = result.check_value;
    fill(response);
  };
  switch (request.header.code) {
    case TaskCode::kMultiRemove: {
      wire::multi_remove_response response;
      response.count = result.number;
      fill(response);
      break;
    }
    case TaskCode::kIncr: {
      wire::incr_response response;
      response.new_value = result.number;
      fill(response);
      break;
    }
    case TaskCode::kDuplicate: {
      wire::duplicate_response response;
      response.__set_error(result.error);
      if (!result.hint.empty()) response.__set_error_hint(result.hint);
      rpc::encode_result(response, bytes);
      break;
    }
    case TaskCode::kCheckAndSet:
      fill_check(wire::check_and_set_response());
      break;
    case TaskCode::kCheckAndMutate:
      fill_check(wire::check_and_mutate_response());
      break;
    default: {
      wire::update_response response;
      fill(response);
    }
  }
  account(pending);
  request.reply(bytes);
}

void Replica::account(const PendingWrite& pending) {
  const auto& request = pending.request;
  const auto& operation = metrics_.operation(request.header.code);
  const Charge charge = charge_write(pending.write, pending.result, host_.tuning().unit_sizes);
  if (operation.requests != nullptr) {
    operation.requests->add();
    if (operation.latency_ns != nullptr)
      operation.latency_ns->record((now() - request.arrived).count());
    if (operation.bytes != nullptr) operation.bytes->add(charge.bytes);
  }
  if (const auto* duplicate = std::get_if<engine::DuplicateRequest>(&pending.write))
    account_lag(*duplicate);
  if (charge.read_units > 0) metrics_.read_capacity_units.add(charge.read_units);
  if (charge.write_units > 0) metrics_.write_capacity_units.add(charge.write_units);
  if (write_hotkeys_.active() && request.header.code != TaskCode::kDuplicate) {
    write_hotkeys_.capture(engine::hash_key_of(pending.write), engine::row_count(pending.write));
  }
}

// How long the writes were on their way from the other cluster, by both clusters' clocks.
void Replica::account_lag(const engine::DuplicateRequest& request) {
  int64_t now_us = shard_.wall_us();
  int64_t limit_us = host_.tuning().lagging_write / std::chrono::microseconds(1);
  for (const auto& write : request.writes) {
    int64_t lag_us = std::max<int64_t>(0, now_us - write.timestamp_us);
    metrics_.dup_time_lag_ms.record(lag_us / 1000);
    if (lag_us > limit_us) metrics_.dup_lagging_writes.add();
  }
}

}  // namespace markab::replica
