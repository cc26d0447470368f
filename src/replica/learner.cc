#include "replica/learner.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include "base/crc32c.h"
#include "base/log.h"
#include "replica/replica.h"
#include "replica/table_info.h"
#include "rpc/await.h"

namespace markab::replica {

namespace asio = boost::asio;
using asio::awaitable;
using rpc::TaskCode;

namespace {

constexpr uint32_t kLogChunk = 2u << 20;
constexpr uint32_t kFileChunk = 1u << 20;
constexpr Duration kRetry = std::chrono::milliseconds(100);
constexpr Duration kCallTimeout = std::chrono::seconds(10);
constexpr Duration kCheckpointTimeout = std::chrono::seconds(120);
constexpr int kMaxFailures =
    50;  // in a row; then the learner gives up and the meta server begins anew

}  // namespace

// ---- the learning side
// ---------------------------------------------------------------------------------------------
//
// What a co_await passes on by value (closures that own something, strings) has a name first: g++
// 12 copies such a temporary bit by bit into the frame and destroys it twice.

struct Learner::Flow : std::enable_shared_from_this<Learner::Flow> {
  Replica& replica;  // outlives the flow's steps: each checks `stopped` first
  std::weak_ptr<Replica> keep;
  ReplicaHost& host;
  io::Shard& shard;
  rpc::Network& network;
  const HostPort primary;
  const uint64_t signature;
  bool stopped = false;

  Flow(Replica& r, HostPort p, uint64_t s)
      : replica(r),
        keep(r.weak_from_this()),
        host(r.host_),
        shard(r.shard_),
        network(r.host_.network(r.shard_index())),
        primary(p),
        signature(s) {}

  // Coroutines keep the flow alive; the replica is alive whenever !stopped, since it owns the
  // Learner.
  static awaitable<void> run(std::shared_ptr<Flow> self) {
    int failures = 0;
    self->replica.metrics_.learn_count.add();
    while (!self->stopped && failures < kMaxFailures) {
      auto step = co_await ask(self);
      if (self->stopped) co_return;
      if (step && *step) {
        MARKAB_INFO("{} has what {} streams from here on (decree {})", self->replica.gpid(),
                    self->primary, self->replica.last_applied());
        self->replica.metrics_.learn_successful_count.add();
        co_return;
      }
      if (step) {
        failures = 0;
        continue;
      }
      ++failures;
      if (step.error().code() != Errc::kTryAgain) {
        MARKAB_WARN("{}: learning from {} failed and is tried again: {}", self->replica.gpid(),
                    self->primary, step.error());
      }
      co_await io::sleep_for(self->shard, kRetry);
    }
    if (self->stopped) co_return;
    self->replica.metrics_.learn_failed_count.add();
    MARKAB_ERROR("{}: gave up learning from {} after {} failures", self->replica.gpid(),
                 self->primary, failures);
  }

  // One round: asks the primary how to go on and does it. True: the stream has begun.
  static awaitable<Result<bool>> ask(std::shared_ptr<Flow> self) {
    LearnRequest request{self->host.self(), self->signature, self->replica.last_applied()};
    std::string bytes;
    encode(request, bytes);
    rpc::CallOptions options;
    options.gpid = self->replica.gpid();
    options.timeout = kCheckpointTimeout;  // the primary may have to make a checkpoint first
    auto answer =
        co_await rpc::call(self->network, self->primary, TaskCode::kLearn, options, bytes);
    if (self->stopped) co_return true;
    if (!answer.status.ok()) co_return answer.status;
    auto reply = decode_learn_reply(answer.result);
    if (!reply) co_return reply.error();
    switch (reply->mode) {
      case LearnReply::Mode::kRefused:
        co_return Status(reply->error, fmt::format("{} refused", self->primary));
      case LearnReply::Mode::kStream:
        self->replica.core_->begin_streaming();
        co_return true;
      case LearnReply::Mode::kLog:
        co_return co_await fetch_log(self);
      case LearnReply::Mode::kCheckpoint:
        co_return co_await fetch_checkpoint(self, std::move(*reply));
      case LearnReply::Mode::kDiscard:
        co_return co_await discard(self);
    }
    co_return Status(Errc::kInvalidData, "an unknown mode");
  }

  // Log and store what the primary had committed when asked, chunk by chunk.
  static awaitable<Result<bool>> fetch_log(std::shared_ptr<Flow> self) {
    for (;;) {
      std::string bytes;
      encode(FetchLog{self->replica.last_applied() + 1, kLogChunk}, bytes);
      rpc::CallOptions options;
      options.gpid = self->replica.gpid();
      options.timeout = kCallTimeout;
      auto answer =
          co_await rpc::call(self->network, self->primary, TaskCode::kFetchLog, options, bytes);
      if (self->stopped) co_return true;
      if (!answer.status.ok()) co_return answer.status;
      auto reply = decode_fetch_log_reply(answer.result);
      if (!reply) co_return reply.error();
      if (reply->error != Errc::kOk)
        co_return Status(reply->error, "the primary's log could not be read");
      if (reply->mutations.empty()) co_return false;
      for (const auto& m : reply->mutations) {
        if (m.decree <= self->replica.last_applied()) continue;
        auto status = co_await install_mutation(self, m);
        if (self->stopped) co_return true;
        if (!status.ok()) co_return status;
      }
      if (self->replica.last_applied() >= reply->committed) co_return false;  // ask how to go on
    }
  }

  static awaitable<Status> install_mutation(std::shared_ptr<Flow> self,
                                            const pacifica::Mutation& m) {
    auto& replica = self->replica;
    if (m.decree != replica.last_applied() + 1) {
      co_return Status(Errc::kIncompleteData,
                       fmt::format("decree {} came after {}", m.decree, replica.last_applied()));
    }
    wal::Record record;
    record.ballot = m.ballot;
    record.decree = m.decree;
    record.timestamp_us = m.timestamp_us;
    record.committed = m.decree;
    record.payload = *m.payload;
    for (;;) {
      auto logged = replica.log_->append(record);
      if (logged.ok()) {
        ++replica.learned_records_;
        break;
      }
      if (logged.code() != Errc::kBusy) co_return logged;
      co_await io::sleep_for(self->shard, std::chrono::milliseconds(2));
      if (self->stopped) co_return Status();
    }
    for (;;) {
      auto applied = replica.engine_->apply(m.decree, *m.payload);
      if (applied.ok()) break;
      if (applied.code() != Errc::kBusy) co_return applied;
      co_await io::sleep_for(self->shard, std::chrono::milliseconds(2));
      if (self->stopped) co_return Status();
    }
    replica.applied_ = m.decree;
    replica.last_timestamp_us_ = std::max(replica.last_timestamp_us_, m.timestamp_us);
    replica.core_->learned(m.decree);
    co_return Status();
  }

  // Copies the files, checks them, and puts them in the place of the store.
  static awaitable<Result<bool>> fetch_checkpoint(std::shared_ptr<Flow> self, LearnReply plan) {
    auto& files = self->host.files();
    auto& pool = self->host.runtime().blocking();
    auto target = self->replica.dir() + "/learn";
    auto prepare = [&files, target] {
      if (auto s = files.remove_all(target); !s.ok()) return s;
      return files.create_directories(target);
    };
    auto prepared = co_await io::on_pool(pool, self->shard, std::move(prepare));
    if (self->stopped) co_return true;
    if (!prepared.ok()) co_return prepared;
    uint64_t total = 0;
    for (const auto& file : plan.files) total += file.size;
    MARKAB_INFO("{}: copies the checkpoint of decree {} from {}: {} files, {} bytes",
                self->replica.gpid(), plan.decree, self->primary, plan.files.size(), total);
    auto started = self->shard.now();
    uint64_t copied = 0;
    for (const auto& file : plan.files) {
      auto path = target + "/" + file.name;
      auto status =
          co_await fetch_file(self, plan.checkpoint, file, std::move(path), started, copied);
      if (self->stopped) co_return true;
      if (!status.ok()) co_return status;
    }
    co_return co_await install_store(self, target, plan.decree);
  }

  static awaitable<Status> fetch_file(std::shared_ptr<Flow> self, uint64_t checkpoint,
                                      const LearnFile& file, std::string path, Instant started,
                                      uint64_t& copied) {
    auto& pool = self->host.runtime().blocking();
    auto& fs = self->host.files();
    uint32_t crc = 0;
    for (uint64_t offset = 0; offset < file.size || offset == 0;) {
      std::string bytes;
      encode(FetchFile{checkpoint, file.name, offset, kFileChunk}, bytes);
      rpc::CallOptions options;
      options.gpid = self->replica.gpid();
      options.timeout = kCallTimeout;
      auto answer =
          co_await rpc::call(self->network, self->primary, TaskCode::kNfsCopy, options, bytes);
      if (self->stopped) co_return Status();
      if (!answer.status.ok()) co_return answer.status;
      auto reply = decode_fetch_file_reply(answer.result);
      if (!reply) co_return reply.error();
      if (reply->error != Errc::kOk)
        co_return Status(reply->error, fmt::format("reading {}", file.name));
      auto chunk = reply->bytes;
      if (chunk.empty() && offset < file.size) {
        co_return Status(Errc::kIncompleteData,
                         fmt::format("{} ended at {} of {}", file.name, offset, file.size));
      }
      crc = crc32c(chunk, crc);
      bool last = offset + chunk.size() >= file.size;
      auto write = [&fs, path, chunk, last, keep = answer.block] {
        auto out = fs.open_append(path);
        if (!out) return out.error();
        if (auto s = (*out)->append(chunk); !s.ok()) return s;
        return last ? (*out)->sync() : Status();
      };
      auto written = co_await io::on_pool(pool, self->shard, std::move(write));
      if (self->stopped) co_return Status();
      if (!written.ok()) co_return written;
      offset += chunk.size();
      copied += chunk.size();
      self->replica.metrics_.learn_copy_file_bytes.add(static_cast<int64_t>(chunk.size()));
      if (last) break;
      co_await hold_rate(self, started, copied);
      if (self->stopped) co_return Status();
    }
    if (crc != file.crc) {
      co_return Status(Errc::kWrongChecksum,
                       fmt::format("{} arrived damaged (crc {:08x}, expected {:08x})", file.name,
                                   crc, file.crc));
    }
    co_return Status();
  }

  // Sleeps until the bandwidth limit allows more.
  static awaitable<void> hold_rate(std::shared_ptr<Flow> self, Instant started, uint64_t copied) {
    auto due = Duration(
        static_cast<int64_t>(static_cast<double>(copied) * 1e9 /
                             static_cast<double>(self->host.tuning().learn_bytes_per_second)));
    auto spent = self->shard.now() - started;
    if (due > spent) co_await io::sleep_for(self->shard, due - spent);
  }

  static awaitable<Result<bool>> discard(std::shared_ptr<Flow> self) {
    MARKAB_WARN(
        "{}: holds decrees that its group does not know; its state is put aside and learned anew",
        self->replica.gpid());
    std::string nothing;
    co_return co_await install_store(self, std::move(nothing), 0);
  }

  // Replaces the store by the one in `source` (none: an empty one); the old one is kept beside it
  // until the new one is open.
  static awaitable<Result<bool>> install_store(std::shared_ptr<Flow> self, std::string source,
                                               Decree decree) {
    auto& replica = self->replica;
    auto& pool = self->host.runtime().blocking();
    auto& fs = self->host.files();
    auto live = replica.dir() + "/data/rdb";
    auto aside = fmt::format("{}/data.{}.discarded", replica.dir(), self->shard.wall_us());
    replica.serves_backup_reads_.store(false, std::memory_order_release);
    replica.resolver_.reset();
    auto old = replica.hold_engine();
    replica.set_engine(nullptr);
    co_await quiet(self);  // no shard is inside a read of the old store any more
    if (self->stopped) co_return true;
    engine::EngineOptions options;
    options.gpid = replica.gpid();
    options.dir = live;
    options.partition_count = replica.options_.table.partition_count;
    options.settings = replica.settings_;
    options.now = [&shard = self->shard] { return shard.now(); };
    auto slot = std::make_shared<engine::EngineOptions>(std::move(options));
    auto exchange = [&fs, &host = self->host, old = std::move(old), live, aside, source,
                     slot]() mutable -> Result<std::unique_ptr<engine::Engine>> {
      old.reset();  // closes it, unless a read on the pool still holds it: then the rename does not
                    // hurt that
      if (fs.exists(live)) {
        if (auto s = fs.rename(live, aside); !s.ok()) return s;
      }
      if (!source.empty()) {
        if (auto s = fs.rename(source, live); !s.ok()) return s;
      }
      auto result = host.open_engine()(std::move(*slot));
      if (result) {
        if (auto s = fs.remove_all(aside); !s.ok()) MARKAB_WARN("{} stays behind: {}", aside, s);
      }
      return result;
    };
    auto opened = co_await io::on_pool(pool, self->shard, std::move(exchange));
    if (self->stopped) co_return true;
    if (!opened) {
      replica.fail(opened.error().with_context("opening the learned store"));
      co_return opened.error();
    }
    auto applied = (*opened)->store().last_applied();
    replica.set_engine(std::shared_ptr<engine::Engine>(std::move(*opened)));
    replica.resolver_ = std::make_unique<engine::Resolver>(*replica.engine());
    replica.applied_ = applied;
    if (applied != decree) {
      co_return Status(Errc::kInconsistentState,
                       fmt::format("the checkpoint of decree {} holds decree {}", decree, applied));
    }
    if (auto s = replica.log_->reset(decree); !s.ok()) co_return s;
    replica.core_->learned(decree);
    replica.tell_durable();  // the log does not tell what was pending when it was reset
    co_return false;
  }

  static awaitable<void> quiet(std::shared_ptr<Flow> self) {
    co_await asio::async_initiate<const asio::use_awaitable_t<>, void()>(
        [&](auto handler) {
          io::after_all_shards(self->host.runtime(), self->shard,
                               [handler = std::move(handler)]() mutable { std::move(handler)(); });
        },
        asio::use_awaitable);
  }
};

Learner::Learner(Replica& replica, HostPort primary, uint64_t signature)
    : signature_(signature), flow_(std::make_shared<Flow>(replica, primary, signature)) {
  asio::co_spawn(flow_->shard.executor(), Flow::run(flow_), asio::detached);
}

Learner::~Learner() { flow_->stopped = true; }

}  // namespace markab::replica
