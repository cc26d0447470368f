#include "replica/reads.h"

#include "base/log.h"
#include "base/plant.h"
#include "engine/read_arena.h"
#include "replica/capacity_units.h"
#include "replica/slow_reads.h"
#include "rpc/codec.h"

namespace markab::replica {

using engine::ReadOutcome;
using rpc::TaskCode;

namespace {

// Executes the operation and leaves the encoded answer in `out`, once the outcome is kDone.
class ReadExecution {
 public:
  ReadExecution(ReplicaHost& host, Replica& replica, engine::Engine& engine,
                engine::ReadArena& arena, const engine::ReadContext& context, std::string& out)
      : host_(host),
        replica_(replica),
        engine_(engine),
        arena_(arena),
        context_(context),
        out_(out) {}

  // kInvalidData when the arguments do not parse, kHandlerNotFound for a code that is no read.
  Errc run(TaskCode code, std::string_view args, ReadOutcome& outcome) {
    switch (code) {
      case TaskCode::kGet:
        return one<wire::blob, wire::read_response>(args, outcome, [this](auto& q, auto& r) {
          return engine_.get(q, context_, arena_, r);
        });
      case TaskCode::kTtl:
        return one<wire::blob, wire::ttl_response>(args, outcome, [this](auto& q, auto& r) {
          return engine_.ttl(q, context_, arena_, r);
        });
      case TaskCode::kMultiGet:
        return one<wire::multi_get_request, wire::multi_get_response>(
            args, outcome,
            [this](auto& q, auto& r) { return engine_.multi_get(q, context_, arena_, r); });
      case TaskCode::kBatchGet:
        return one<wire::batch_get_request, wire::batch_get_response>(
            args, outcome,
            [this](auto& q, auto& r) { return engine_.batch_get(q, context_, arena_, r); });
      case TaskCode::kSortkeyCount:
        return one<wire::blob, wire::count_response>(args, outcome, [this](auto& q, auto& r) {
          return engine_.sortkey_count(q, context_, arena_, r);
        });
      case TaskCode::kGetScanner:
        return one<wire::get_scanner_request, wire::scan_response>(
            args, outcome,
            [this](auto& q, auto& r) { return engine_.get_scanner(q, context_, arena_, r); });
      case TaskCode::kScan:
        return one<wire::scan_request, wire::scan_response>(
            args, outcome,
            [this](auto& q, auto& r) { return engine_.scan(q, context_, arena_, r); });
      default:
        return Errc::kHandlerNotFound;
    }
  }
  // What the answer says in its `error` field, once run() answered kOk.
  int32_t storage_error() const { return storage_error_; }

 private:
  template <typename Query, typename Response, typename Operation>
  Errc one(std::string_view args, ReadOutcome& outcome, Operation operation) {
    Query query;
    if (auto s = rpc::decode_args(args, query); !s.ok()) {
      MARKAB_WARN("{}: the arguments of a read do not parse: {}", replica_.gpid(), s);
      return Errc::kInvalidData;
    }
    Response response;
    outcome = operation(query, response);
    if (outcome != ReadOutcome::kDone) return Errc::kOk;
    storage_error_ = response.error;
    response.app_id = replica_.gpid().app_id;
    response.partition_index = replica_.gpid().partition_index;
    response.server = host_.self_text();
    out_.clear();
    rpc::encode_result(response, out_);
    return Errc::kOk;
  }

  ReplicaHost& host_;
  Replica& replica_;
  engine::Engine& engine_;
  engine::ReadArena& arena_;
  const engine::ReadContext& context_;
  std::string& out_;
  int32_t storage_error_ = 0;
};

// What becomes of a read before it is executed.
struct Gate {
  enum class Way { kServe, kRefuse, kSilence, kDelay, kRefuseLater } way = Way::kServe;
  Errc error = Errc::kOk;
  Duration wait{};
};
constexpr Gate kServe{};
constexpr Gate kSilence{Gate::Way::kSilence, Errc::kOk, {}};
constexpr Gate refuse(Errc error) { return {Gate::Way::kRefuse, error, {}}; }

Gate check_throttle(Replica& replica, const rpc::Request& request, io::Shard& here) {
  const bool backup = request.header.is_backup_request;
  auto& admission = replica.admission();
  auto& throttle = backup ? admission.backup_reads : admission.reads;
  if (!throttle.on()) return kServe;
  auto decision = throttle.take(1, here.wall_us());
  if (decision.verdict == RequestThrottle::Verdict::kAdmit) return kServe;
  const auto& metrics =
      backup ? replica.metrics().throttled_backups : replica.metrics().throttled_reads;
  const Duration wait = throttle_wait(decision.wait_ms, request.header.timeout_ms);
  if (decision.verdict == RequestThrottle::Verdict::kDelay) {
    metrics.delayed.add();
    return {Gate::Way::kDelay, Errc::kOk, wait};
  }
  metrics.rejected.add();
  // A quick refusal from a secondary would fail a read that the primary is about to answer.
  if (backup) return kSilence;
  return {wait > Duration(0) ? Gate::Way::kRefuseLater : Gate::Way::kRefuse, Errc::kBusy, wait};
}

// The checks of spec 04 §4.3, in their order.
Gate check(ReplicaHost& host, Replica& replica, const rpc::Request& request, io::Shard& here,
           Instant now, bool throttled) {
  switch (replica.admission().denies_reads()) {
    case Admission::Denial::kNone:
      break;
    case Admission::Denial::kSilence:
      return kSilence;
    case Admission::Denial::kReconfigure:
      return refuse(Errc::kInvalidState);
  }
  if (replica.validates_partition_hash() && request.header.partition_hash != 0) {
    auto version = replica.partition_version();
    bool ours = version >= 0 && (request.header.partition_hash & static_cast<uint64_t>(version)) ==
                                    static_cast<uint64_t>(replica.gpid().partition_index);
    if (!ours) {
      replica.metrics().splitting_rejected_read_requests.add();
      return refuse(version < 0 ? Errc::kSplitting : Errc::kParentPartitionMisused);
    }
  }
  if (!replica.serves_backup_reads()) return refuse(Errc::kInvalidState);
  if (throttled) {
    if (auto gate = check_throttle(replica, request, here); gate.way != Gate::Way::kServe)
      return gate;
  }
  // The lease is looked at when the read is executed, so that a process that slept never serves
  // what is stale (04 §1.9).
  bool leased = host.lease_valid(now) || MARKAB_PLANTED(kServeAfterLease);
  bool serves = request.header.is_backup_request || (replica.serves_reads() && leased);
  if (!serves) return refuse(Errc::kInvalidState);
  auto& budget = replica.admission().read_bytes;
  if (throttled && budget.on() && !budget.anything_left(now)) {
    replica.metrics().throttled_reads.rejected.add();
    return refuse(Errc::kBusy);
  }
  return kServe;
}

// One line for each abnormal read, at most so many in a second.
void note_abnormal(Replica& replica, const rpc::Request& request, int32_t storage_error,
                   const engine::ReadStats& stats, Duration took, int64_t wall_us) {
  replica.metrics().abnormal_read_requests.add();
  if (!replica.may_log_read(wall_us)) return;
  MARKAB_WARN(
      "{}: abnormal read: {} from {} of {} took {} ms and looked at {} records ({} dead, {} "
      "filtered "
      "out), {} bytes, error {}",
      replica.gpid(), request.name, request.peer(),
      describe_read(request.header.code, request.args), took.count() / 1000000, stats.iterations,
      stats.expired, stats.filtered, stats.bytes, storage_error);
}

void account(ReplicaHost& host, Replica& replica, const rpc::Request& request,
             int32_t storage_error, const engine::ReadStats& stats, io::Shard& here, Instant now) {
  auto& metrics = replica.metrics();
  const auto code = request.header.code;
  if (stats.expired > 0) metrics.read_expired_values.add(stats.expired);
  if (stats.filtered > 0) metrics.read_filtered_values.add(stats.filtered);
  const Charge charge = charge_read(code, storage_error, stats, host.tuning().unit_sizes);
  if (charge.read_units > 0) metrics.read_capacity_units.add(charge.read_units);
  if (auto* bytes = metrics.operation(code).bytes) bytes->add(charge.bytes);
  if (request.header.is_backup_request) {
    metrics.backup_requests.add();
    metrics.backup_request_bytes.add(charge.bytes);
  }
  if (auto& budget = replica.admission().read_bytes; budget.on()) budget.pay(charge.bytes, now);
  if (replica.read_hotkeys().active()) {
    int64_t weight = std::max<int64_t>(1, code == TaskCode::kBatchGet ? 1 : stats.iterations);
    visit_hash_keys(code, request.args, [&](std::string_view hash_key) {
      replica.read_hotkeys().capture(hash_key, weight);
    });
  }
  const Duration took = now - request.arrived;
  if (took >= replica.slow_query_threshold() ||
      touched_much(host.tuning().abnormal_reads, code, stats)) {
    note_abnormal(replica, request, storage_error, stats, took, here.wall_us());
  }
}

void finish(ReplicaHost& host, Replica& replica, rpc::Request& request, Errc error,
            int32_t storage_error, const engine::ReadStats& stats, const std::string& bytes,
            io::Shard& here) {
  const Instant now = here.now();
  const auto& operation = replica.metrics().operation(request.header.code);
  if (operation.requests != nullptr) {
    operation.requests->add();
    operation.latency_ns->record((now - request.arrived).count());
  }
  if (error == Errc::kOk) {
    account(host, replica, request, storage_error, stats, here, now);
    request.reply(bytes);
  } else {
    request.reply_error(error);
  }
}

// A read that met damage is not answered with an error of the row: the replica leaves its group,
// and the client is sent to look for who serves it then.
void look_for_damage(const std::shared_ptr<Replica>& replica, const engine::Engine& engine,
                     const engine::ReadArena& arena, Errc& error) {
  if (arena.failure.ok() || engine.store().damage().ok()) return;
  error = Errc::kInvalidState;
  replica->shard().post([replica] { replica->look_for_damage(); });
}

// Reads of many rows have threads of their own, so that none of a single row waits behind them.
bool reads_a_range(TaskCode code) {
  return code == TaskCode::kMultiGet || code == TaskCode::kSortkeyCount ||
         code == TaskCode::kGetScanner || code == TaskCode::kScan;
}

// A read on a pool, from its first slice to its answer. All that takes long with a large answer,
// to encode it, to frame it and to free what it was made of, happens on the pool's thread; the
// shard only takes over the bytes.
class PooledRead : public std::enable_shared_from_this<PooledRead> {
 public:
  PooledRead(ReplicaHost& host, std::shared_ptr<Replica> replica, io::Shard& here,
             const engine::ReadContext& context, rpc::Request request)
      : host_(host),
        replica_(std::move(replica)),
        here_(here),
        context_(context),
        request_(std::move(request)),
        pool_(reads_a_range(request_.header.code) ? host.runtime().range_reads()
                                                  : host.runtime().blocking()),
        material_(std::make_unique<Material>()) {
    material_->engine = replica_->hold_engine();
    context_.memory_only = false;
    context_.slice = kSlice;
  }

  void start() {
    if (material_->engine == nullptr) {
      request_.reply_error(Errc::kInvalidState);
      return;
    }
    take_turn();
  }

 private:
  // Of a read that goes on for long; then others that wait for the pool get their turn.
  static constexpr Duration kSlice = std::chrono::milliseconds(5);

  // What the answer is made of; gone, on the pool, once it is given. The engine goes last.
  struct Material {
    std::shared_ptr<engine::Engine> engine;
    engine::ReadArena arena;
    std::string bytes;
  };

  // On the shard.
  void take_turn() {
    auto self = shared_from_this();
    pool_.run(
        here_, [self] { self->read(); },
        [self] {
          if (self->material_ != nullptr) self->take_turn();
        });
  }
  // On the pool.
  void read() {
    auto& [engine, arena, bytes] = *material_;
    ReadOutcome outcome = ReadOutcome::kDone;
    ReadExecution execution(host_, *replica_, *engine, arena, context_, bytes);
    Errc error = execution.run(request_.header.code, request_.args, outcome);
    MARKAB_ASSERT(outcome != ReadOutcome::kNeedsDisk,
                  "a read that may block says that it needs the disk");
    if (outcome == ReadOutcome::kUnfinished) return;
    look_for_damage(replica_, *engine, arena, error);
    finish(host_, *replica_, request_, error, execution.storage_error(), arena.stats, bytes, here_);
    material_.reset();
  }

  ReplicaHost& host_;
  const std::shared_ptr<Replica> replica_;  // let go on the shard
  io::Shard& here_;
  engine::ReadContext context_;
  rpc::Request request_;
  io::BlockingPool& pool_;
  std::unique_ptr<Material> material_;  // null: answered
};

void serve(ReplicaHost& host, const std::shared_ptr<Replica>& replica, io::Shard& here,
           rpc::Request request, bool throttled);

// Does with a request what `gate` says; it is not served.
void turn_away(ReplicaHost& host, const std::shared_ptr<Replica>& replica, const Gate& gate,
               rpc::Request request) {
  switch (gate.way) {
    case Gate::Way::kServe:
    case Gate::Way::kSilence:
      return;
    case Gate::Way::kRefuse:
      request.reply_error(gate.error);
      return;
    case Gate::Way::kRefuseLater:
      replica->delay(std::move(request), gate.wait,
                     [error = gate.error](rpc::Request late) { late.reply_error(error); });
      return;
    case Gate::Way::kDelay:
      replica->delay(std::move(request), gate.wait,
                     [&host, weak = std::weak_ptr(replica)](rpc::Request late) {
                       auto again = weak.lock();
                       if (again) serve(host, again, again->shard(), std::move(late), false);
                     });
      return;
  }
}

void clear_scanner(Replica& replica, const Gate& gate, rpc::Request& request) {
  int64_t id = 0;
  auto* engine = replica.engine();
  if (gate.way == Gate::Way::kServe && engine != nullptr &&
      rpc::decode_args(request.args, id).ok()) {
    engine->clear_scanner(id);
  }
  // Over THFT nothing is ever answered to it (01 §5.2 rule 5); a native client waits for an empty
  // success.
  if (!request.is_thft() && gate.way != Gate::Way::kSilence) request.reply({});
}

void serve(ReplicaHost& host, const std::shared_ptr<Replica>& replica, io::Shard& here,
           rpc::Request request, bool throttled) {
  auto now = here.now();
  // Letting go of a scan is no load.
  bool clears = request.header.code == TaskCode::kClearScanner;
  auto gate = check(host, *replica, request, here, now, throttled && !clears);
  if (clears) {
    clear_scanner(*replica, gate, request);
    return;
  }
  auto* engine = replica->engine();
  if (gate.way == Gate::Way::kServe && engine == nullptr) gate = refuse(Errc::kInvalidState);
  if (gate.way != Gate::Way::kServe) {
    turn_away(host, replica, gate, std::move(request));
    return;
  }
  thread_local engine::ReadArena arena;
  thread_local std::string bytes;
  arena.reset();
  engine::ReadContext context;
  context.wall_us = here.wall_us();
  context.now = now;
  context.memory_only = true;
  context.peer = request.peer();
  context.partition_hash = request.header.partition_hash;
  ReadOutcome outcome = ReadOutcome::kDone;
  ReadExecution execution(host, *replica, *engine, arena, context, bytes);
  auto error = execution.run(request.header.code, request.args, outcome);
  if (outcome == ReadOutcome::kNeedsDisk) {
    std::make_shared<PooledRead>(host, replica, here, context, std::move(request))->start();
    return;
  }
  look_for_damage(replica, *engine, arena, error);
  finish(host, *replica, request, error, execution.storage_error(), arena.stats, bytes, here);
}

}  // namespace

void serve_read(ReplicaHost& host, const std::shared_ptr<Replica>& replica, io::Shard& here,
                rpc::Request request) {
  serve(host, replica, here, std::move(request), true);
}

}  // namespace markab::replica
