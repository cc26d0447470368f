#include "client/core.h"

#include <algorithm>

#include "base/assert.h"
#include "client/errors.h"

namespace markab::client {

// The first repetition waits so long at most for a fresh answer of the metas.
constexpr Duration kEagerPatience = std::chrono::milliseconds(50);
// Of a watch round: more calls than that wait for the next one.
constexpr int kWatchedPerRound = 4096;

struct Core::Life {
  Core* core;
};

struct Core::Call {
  enum class State { kFree, kWaiting, kSent };
  State state = State::kFree;
  uint32_t slot = 0;
  uint32_t generation = 1;

  Table* table = nullptr;
  PartitionRequest request;
  Instant started;
  Instant deadline;
  AnswerCallback done;

  uint32_t attempt = 0;
  uint32_t unsure = 0;  // of these, ended without our knowing whether they took effect
  int32_t index = -1;   // of the last attempt, as are the next three
  HostPort node;
  Ballot ballot = 0;
  Instant sent_at;
  bool listed = false;  // in table->waiting
  bool eager = true;    // the next answer of a meta is reason enough to try again
  Duration backoff{0};
  io::TimerHandle timer;
  Errc last_code = Errc::kOk;
  std::string last_failure;

  Call* older = nullptr;
  Call* newer = nullptr;

  CallId id() const { return static_cast<CallId>(generation) << 32 | slot; }
  const Routing& routing() const { return table->routing; }
  bool idempotent() const { return is_idempotent(request.code); }
  bool only_resolves() const { return request.code == rpc::TaskCode::kUnknown; }
  int32_t target() const {
    return request.partition >= 0 ? request.partition : routing().index_of(request.hash);
  }
};

Core::Core(io::Shard& shard, rpc::Network& network, const CoreOptions& options)
    : shard_(shard),
      network_(network),
      options_(options),
      metas_(shard, network,
             [&] {
               MetaGroupOptions metas;
               metas.servers = options.metas;
               return metas;
             }()),
      random_(static_cast<uint64_t>(shard.wall_us()) * 31 + static_cast<uint64_t>(shard.index())),
      life_(std::make_shared<Life>(Life{this})) {}

Core::~Core() {
  stop();
  life_->core = nullptr;
}

void Core::stop() {
  if (stopped_) return;
  stopped_ = true;
  watch_timer_.cancel();
  for (size_t i = 0; i < calls_.size(); ++i) {
    if (calls_[i]->state != Call::State::kFree)
      fail(*calls_[i], ErrorCode::kClosed, "the client was closed");
  }
  metas_.close({ErrorCode::kClosed, "the client was closed"});
}

Core::Table* Core::table(std::string_view name) {
  if (auto it = tables_.find(name); it != tables_.end()) return it->second.get();
  if (tables_.size() >= kMaxTables) return nullptr;
  auto table =
      std::unique_ptr<Table>(new Table{Routing(std::string(name), shard_, metas_, Routing::Limits{},
                                               [this, key = std::string(name)](Routing&) {
                                                 return on_routing(*tables_.find(key)->second);
                                               }),
                                       {}});
  return tables_.emplace(std::string(name), std::move(table)).first->second.get();
}

// --- the life of a call ---

Core::Call* Core::find(CallId id) {
  auto slot = static_cast<uint32_t>(id);
  if (slot >= calls_.size()) return nullptr;
  Call* call = calls_[slot].get();
  return call->state != Call::State::kFree && call->generation == id >> 32 ? call : nullptr;
}

Core::Call* Core::add(Table& table, Instant deadline, AnswerCallback& done) {
  if (stopped_ || in_flight_ >= options_.max_in_flight) {
    Answer answer;
    answer.error =
        stopped_
            ? Error{ErrorCode::kClosed, "the client was closed"}
            : Error{ErrorCode::kBusy,
                    fmt::format("{} operations are under way, as many as allowed", in_flight_)};
    done(std::move(answer));
    return nullptr;
  }
  if (free_.empty()) {
    free_.push_back(static_cast<uint32_t>(calls_.size()));
    calls_.push_back(std::make_unique<Call>());
  }
  uint32_t slot = free_.back();
  free_.pop_back();
  Call* call = calls_[slot].get();
  call->slot = slot;
  call->state = Call::State::kWaiting;
  call->table = &table;
  call->started = shard_.now();
  call->deadline = deadline;
  call->done = std::move(done);
  call->attempt = 0;
  call->unsure = 0;
  call->index = -1;
  call->node = {};
  call->ballot = 0;
  call->listed = false;
  call->eager = true;
  call->backoff = options_.first_backoff;
  call->last_code = Errc::kOk;
  call->last_failure.clear();
  ++in_flight_;
  return call;
}

void Core::resolve(Table& table, Instant deadline, AnswerCallback done) {
  call(table, {}, deadline, std::move(done));
}

void Core::call(Table& table, PartitionRequest request, Instant deadline, AnswerCallback done) {
  Call* call = add(table, deadline, done);
  if (call == nullptr) return;
  call->request = std::move(request);
  send(*call);
}

void Core::call_meta(MetaRequest request, AnswerCallback done) {
  if (stopped_) {
    Answer answer;
    answer.error = {ErrorCode::kClosed, "the client was closed"};
    return done(std::move(answer));
  }
  metas_.call(std::move(request), std::move(done));
}

void Core::call_node(HostPort node, rpc::TaskCode code, std::string_view args, Instant deadline,
                     AnswerCallback done) {
  if (stopped_) {
    Answer answer;
    answer.error = {ErrorCode::kClosed, "the client was closed"};
    return done(std::move(answer));
  }
  rpc::CallOptions options;
  options.timeout = std::max(deadline - shard_.now(), Duration(0));
  network_.call(node, code, options, args, [node, code, done = std::move(done)](rpc::Reply reply) {
    Answer answer;
    answer.code = reply.status.code();
    answer.origin.ipv4 = node.ipv4;
    answer.origin.port = node.port;
    if (!reply.status.ok()) {
      answer.error = {code_of(answer.code), fmt::format("{} to {}: {}", rpc::task_name(code), node,
                                                        reply.status.to_string())};
    } else {
      answer.result = reply.result;
      answer.block = std::move(reply.block);
    }
    done(std::move(answer));
  });
}

void Core::send(Call& call) {
  const Routing& routing = call.routing();
  if (shard_.now() >= call.deadline) return fail_at_deadline(call);
  if (!routing.known()) return wait(call, true);
  if (call.only_resolves()) {
    Answer answer;
    answer.origin.app_id = routing.app_id();
    return finish(call, std::move(answer));
  }
  int32_t index = call.target();
  if (index >= routing.partition_count()) {
    return fail(call, ErrorCode::kInvalidArgument,
                fmt::format("there is no partition {}; the table has {}", index,
                            routing.partition_count()));
  }
  const auto& partition = routing.at(index);
  call.index = index;
  if (!partition.primary) {
    call.last_failure = "the partition has no primary";
    return wait(call, true);
  }
  call.node = partition.primary;
  call.ballot = partition.ballot;
  call.timer.cancel();
  ++call.attempt;
  link(call);
  rpc::CallOptions options;
  options.gpid = {routing.app_id(), index};
  options.partition_hash = call.request.partition >= 0 && call.request.hash == 0
                               ? static_cast<uint64_t>(call.request.partition)
                               : call.request.hash;
  options.timeout = call.deadline - call.sent_at;
  network_.call(
      call.node, call.request.code, options, call.request.args,
      [life = life_, id = call.id(), attempt = call.attempt, node = call.node](rpc::Reply reply) {
        if (life->core != nullptr) life->core->on_reply(id, attempt, node, std::move(reply));
      });
}

void Core::on_reply(CallId id, uint32_t attempt, HostPort node, rpc::Reply reply) {
  Errc code = reply.status.code();
  bool spoke = !reply.never_sent && code != Errc::kNetworkFailure && code != Errc::kTimeout;
  if (spoke) heard_[node] = shard_.now();
  Call* call = find(id);
  if (call == nullptr) return;
  bool current = call->state == Call::State::kSent && call->attempt == attempt;
  // An attempt that was given up may still bring the answer; its failure says nothing new.
  if (!current && code != Errc::kOk) return;
  if (code == Errc::kOk) {
    Answer answer;
    answer.result = reply.result;
    answer.block = std::move(reply.block);
    answer.origin = {call->routing().app_id(), call->index, -1, node.ipv4, node.port};
    return finish(*call, std::move(answer));
  }
  call->last_code = code;
  call->last_failure = fmt::format("{}: {}", node, reply.status.to_string());
  if (code == Errc::kTimeout && !reply.never_sent) return fail_at_deadline(*call);
  unlink(*call);
  Remedy remedy = reply.never_sent ? remedy_of_unsent(code) : remedy_of(code);
  if (remedy == Remedy::kUnsure && call->idempotent()) {
    remedy = Remedy::kReroute;
    ++call->unsure;
  }
  switch (remedy) {
    case Remedy::kReroute:
      return wait(*call, true);
    case Remedy::kWait:
      return wait(*call, false);
    case Remedy::kUnsure:
      return fail(*call, ErrorCode::kUnknownOutcome,
                  "the answer was lost, and whether it was done is not known");
    case Remedy::kFinal:
      return fail(*call, code_of(code), "refused");
  }
}

void Core::wait(Call& call, bool reroute) {
  call.state = Call::State::kWaiting;
  auto half = static_cast<uint64_t>(call.backoff.count()) / 2;
  Duration pause(static_cast<int64_t>(half + random_.below(half + 1)));
  // Nothing to try before the metas have spoken.
  if (reroute && call.eager) pause = std::max(pause, kEagerPatience);
  if (!(reroute && call.eager)) call.backoff = std::min(call.backoff * 2, options_.last_backoff);
  pause = std::min(pause, std::max(call.deadline - shard_.now(), Duration(0)));
  call.timer = shard_.after(pause, [this, &call] { on_timer(call); });
  if (!reroute) return;
  if (!call.listed) {
    call.listed = true;
    call.table->waiting.push_back(call.id());
  }
  call.table->routing.refresh();
}

void Core::on_timer(Call& call) {
  if (shard_.now() >= call.deadline) return fail_at_deadline(call);
  call.eager = false;
  send(call);
}

bool Core::on_routing(Table& table) {
  auto waiting = std::move(table.waiting);
  table.waiting.clear();
  for (CallId id : waiting) {
    Call* call = find(id);
    if (call == nullptr) continue;
    call->listed = false;
    if (call->state == Call::State::kWaiting) wake(*call);
  }
  return !table.waiting.empty();
}

void Core::wake(Call& call) {
  const Routing& routing = call.routing();
  if (routing.last_error().code == ErrorCode::kTableNotFound) {
    return fail(call, ErrorCode::kTableNotFound, routing.last_error().message);
  }
  if (!routing.known()) call.last_failure = routing.last_error().message;
  if (routing.known()) {
    if (call.only_resolves() || call.target() >= routing.partition_count()) return send(call);
    const auto& partition = routing.at(call.target());
    bool moved =
        call.attempt == 0 || partition.primary != call.node || partition.ballot != call.ballot;
    if (partition.primary && (moved || call.eager)) {
      call.eager = false;
      return send(call);
    }
    if (!partition.primary) call.last_failure = "the partition has no primary";
  }
  call.listed = true;
  call.table->waiting.push_back(call.id());
}

// --- nodes that say nothing ---

void Core::link(Call& call) {
  call.state = Call::State::kSent;
  call.sent_at = shard_.now();
  call.older = newest_;
  call.newer = nullptr;
  (newest_ != nullptr ? newest_->newer : oldest_) = &call;
  newest_ = &call;
  if (watching_) return;
  watching_ = true;
  watch_timer_ = shard_.after(options_.watch_interval, [this] { watch(); });
}

void Core::unlink(Call& call) {
  if (call.state != Call::State::kSent) return;
  (call.older != nullptr ? call.older->newer : oldest_) = call.newer;
  (call.newer != nullptr ? call.newer->older : newest_) = call.older;
  call.older = call.newer = nullptr;
  call.state = Call::State::kWaiting;
}

void Core::watch() {
  Instant limit = shard_.now() - options_.silence;
  std::vector<CallId> silent;
  int looked_at = 0;
  for (Call* call = oldest_; call != nullptr && call->sent_at <= limit; call = call->newer) {
    if (++looked_at > kWatchedPerRound) break;
    auto heard = heard_.find(call->node);
    if (heard == heard_.end() || heard->second <= limit) silent.push_back(call->id());
  }
  for (CallId id : silent) {
    if (Call* call = find(id); call != nullptr && call->state == Call::State::kSent)
      on_silence(*call);
  }
  watching_ = oldest_ != nullptr && !stopped_;
  if (watching_) watch_timer_ = shard_.after(options_.watch_interval, [this] { watch(); });
}

void Core::on_silence(Call& call) {
  Routing& routing = call.table->routing;
  bool moved = false;
  if (routing.known() && call.target() < routing.partition_count()) {
    HostPort primary = routing.at(call.target()).primary;
    moved = primary && primary != call.node;
  }
  if (!moved) return routing.refresh();
  call.last_code = Errc::kTimeout;
  call.last_failure = fmt::format(
      "{} said nothing for {} ms, and the partition has moved away from it", call.node,
      std::chrono::duration_cast<std::chrono::milliseconds>(shard_.now() - call.sent_at).count());
  if (!call.idempotent()) {
    return fail(call, ErrorCode::kUnknownOutcome,
                "the answer is missing, and whether it was done is not known");
  }
  ++call.unsure;
  unlink(call);
  send(call);
}

// --- how a call ends ---

void Core::finish(Call& call, Answer answer) {
  unlink(call);
  answer.unsure_attempts = call.unsure;
  AnswerCallback done = std::move(call.done);
  call.timer.cancel();
  call.state = Call::State::kFree;
  call.request.args.clear();
  ++call.generation;
  free_.push_back(call.slot);
  --in_flight_;
  done(std::move(answer));
}

std::string Core::describe(const Call& call) const {
  auto ms =
      std::chrono::duration_cast<std::chrono::milliseconds>(shard_.now() - call.started).count();
  std::string where =
      call.index >= 0 ? fmt::format(", partition {}.{}", call.routing().app_id(), call.index) : "";
  std::string_view what = call.only_resolves() ? "opening" : operation_name(call.request.code);
  return fmt::format("{} in table {}{} ({} attempt{}, {} ms)", what, call.routing().name(), where,
                     call.attempt, call.attempt == 1 ? "" : "s", ms);
}

void Core::fail(Call& call, ErrorCode code, std::string_view what) {
  Answer answer;
  answer.code = call.last_code;
  answer.error = {code, fmt::format("{}: {}", describe(call), what)};
  if (!call.last_failure.empty()) answer.error.message += fmt::format("; {}", call.last_failure);
  finish(call, std::move(answer));
}

void Core::fail_at_deadline(Call& call) {
  if (call.state == Call::State::kSent) {
    if (!call.idempotent()) {
      return fail(call, ErrorCode::kUnknownOutcome,
                  "no answer before the deadline, and whether it was done is not known");
    }
    return fail(call, ErrorCode::kTimeout,
                fmt::format("no answer from {} before the deadline", call.node));
  }
  if (call.last_code == Errc::kBusy)
    return fail(call, ErrorCode::kBusy, "the server was too busy until the deadline");
  std::string_view what = call.only_resolves() ? "the meta servers told nothing before the deadline"
                          : call.attempt == 0  ? "no primary was found before the deadline"
                                               : "no primary took it before the deadline";
  fail(call, ErrorCode::kUnavailable, what);
}

}  // namespace markab::client
