#include "replica/reads.h"

#include "base/escape.h"
#include "base/log.h"
#include "engine/read_arena.h"
#include "rpc/codec.h"

namespace markab::replica {

using engine::ReadOutcome;
using rpc::TaskCode;

namespace {

// Executes the operation and leaves the encoded answer in `out`. kNeedsDisk: nothing is in `out`.
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
    if (outcome == ReadOutcome::kNeedsDisk) return Errc::kOk;
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
};

// The checks of spec 04 §4.3, in their order.
Errc check(ReplicaHost& host, const Replica& replica, const rpc::Request& request, Instant now) {
  if (replica.validates_partition_hash() && request.header.partition_hash != 0) {
    auto version = replica.partition_version();
    if (version < 0) return Errc::kSplitting;
    if ((request.header.partition_hash & static_cast<uint64_t>(version)) !=
        static_cast<uint64_t>(replica.gpid().partition_index)) {
      return Errc::kParentPartitionMisused;
    }
  }
  if (request.header.is_backup_request)
    return replica.serves_backup_reads() ? Errc::kOk : Errc::kInvalidState;
  // The lease is looked at when the read is executed, so that a process that slept never serves
  // what is stale (04 §1.9).
  return replica.serves_reads() && host.lease_valid(now) ? Errc::kOk : Errc::kInvalidState;
}

void finish(Replica& replica, rpc::Request& request, Errc error, const std::string& bytes,
            Instant now) {
  const auto& operation = replica.metrics().operation(request.header.code);
  if (operation.requests != nullptr) {
    operation.requests->add();
    operation.latency_ns->record((now - request.arrived).count());
  }
  if (request.header.is_backup_request) replica.metrics().backup_requests.add();
  if (error == Errc::kOk) {
    request.reply(bytes);
  } else {
    request.reply_error(error);
  }
}

void serve_from_disk(ReplicaHost& host, const std::shared_ptr<Replica>& replica, io::Shard& here,
                     engine::ReadContext context, rpc::Request request) {
  struct Job {
    rpc::Request request;
    std::shared_ptr<engine::Engine> engine;
    engine::ReadArena arena;
    std::string bytes;
    Errc error = Errc::kOk;
  };
  auto job = std::make_shared<Job>();
  job->request = std::move(request);
  job->engine = replica->hold_engine();
  context.memory_only = false;
  if (job->engine == nullptr) {
    job->request.reply_error(Errc::kInvalidState);
    return;
  }
  host.runtime().blocking().run(
      here,
      [&host, replica, context, job] {
        ReadOutcome outcome = ReadOutcome::kDone;
        ReadExecution execution(host, *replica, *job->engine, job->arena, context, job->bytes);
        job->error = execution.run(job->request.header.code, job->request.args, outcome);
        MARKAB_ASSERT(outcome == ReadOutcome::kDone,
                      "a read that may block says that it needs the disk");
      },
      [replica, job, &here] {
        job->engine.reset();
        finish(*replica, job->request, job->error, job->bytes, here.now());
      });
}

}  // namespace

void serve_read(ReplicaHost& host, const std::shared_ptr<Replica>& replica, io::Shard& here,
                rpc::Request request) {
  auto now = here.now();
  auto error = check(host, *replica, request, now);
  auto* engine = replica->engine();
  if (error == Errc::kOk && engine == nullptr) error = Errc::kInvalidState;
  if (request.header.code == TaskCode::kClearScanner) {
    int64_t id = 0;
    if (error == Errc::kOk && rpc::decode_args(request.args, id).ok()) engine->clear_scanner(id);
    // Over THFT nothing is ever answered to it (01 §5.2 rule 5); a native client waits for an empty
    // success.
    if (!request.is_thft()) request.reply({});
    return;
  }
  if (error != Errc::kOk) {
    request.reply_error(error);
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
  error = execution.run(request.header.code, request.args, outcome);
  if (outcome == ReadOutcome::kNeedsDisk) {
    serve_from_disk(host, replica, here, context, std::move(request));
    return;
  }
  finish(*replica, request, error, bytes, here.now());
}

}  // namespace markab::replica
