#include "replica/learner.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <map>

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
// For the log, before the attempt counts as one that is to be repeated.
constexpr Duration kDurableWait = std::chrono::milliseconds(500);
constexpr Duration kLongestRetry = std::chrono::seconds(2);
constexpr Duration kCallTimeout = std::chrono::seconds(10);
// Without a byte learned; then the learner gives up and the meta server begins anew.
constexpr Duration kPatience = std::chrono::seconds(60);
// The primary makes a checkpoint, and sums it no faster than copies may be.
constexpr Duration kCheckpointPatience = std::chrono::hours(2);

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
  uint64_t signature;
  bool stopped = false;
  bool streaming = false;
  bool finished = false;
  Instant progressed;
  std::shared_ptr<CopyLimits::Place> place;  // among those who copy checkpoints

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
    self->replica.metrics_.learn_count.add();
    self->progress();
    co_await learn(self);
    self->finished = true;
  }

  static awaitable<void> learn(std::shared_ptr<Flow> self) {
    while (self->replica.installing_) {  // for the session before
      co_await io::sleep_for(self->shard, std::chrono::milliseconds(2));
      if (self->stopped) co_return;
    }
    auto wait = kRetry;
    auto asked_since = self->shard.now();
    for (;;) {
      auto step = co_await ask(self);
      if (self->stopped) co_return;
      if (step && *step) break;
      auto now = self->shard.now();
      if (step) {
        self->progress();
        wait = kRetry;
        asked_since = now;
        continue;
      }
      bool patient = step.error().code() == Errc::kTryAgain;
      if (!patient) {
        asked_since = now;
        MARKAB_WARN("{}: learning from {} failed and is tried again: {}", self->replica.gpid(),
                    self->primary, step.error());
      } else if (now - asked_since < kCheckpointPatience) {
        self->progress();
      }
      if (now - self->progressed > kPatience) {
        self->replica.metrics_.learn_failed_count.add();
        MARKAB_ERROR("{}: gave up learning from {}: nothing came for {} s", self->replica.gpid(),
                     self->primary,
                     std::chrono::duration_cast<std::chrono::seconds>(kPatience).count());
        co_return;
      }
      co_await io::sleep_for(self->shard, wait);
      if (self->stopped) co_return;
      wait = patient ? kRetry : std::min(wait * 2, kLongestRetry);
    }
    MARKAB_INFO("{} has what {} streams from here on (decree {})", self->replica.gpid(),
                self->primary, self->replica.last_applied());
    self->replica.metrics_.learn_successful_count.add();
    auto& pool = self->host.runtime().background();
    auto clean = [&fs = self->host.files(), dir = self->copy_dir()] { return fs.remove_all(dir); };
    auto cleaned = co_await io::on_pool(pool, self->shard, std::move(clean));
    if (!cleaned.ok()) MARKAB_WARN("a copy that is not needed stays behind: {}", cleaned);
  }

  void progress() { progressed = shard.now(); }
  std::string copy_dir() const { return replica.dir() + "/learn"; }

  // One round: asks the primary how to go on and does it. True: the stream has begun.
  static awaitable<Result<bool>> ask(std::shared_ptr<Flow> self) {
    // What was committed in the role before may wait for the store. The log has it already, so to
    // ask for it would be to log it twice.
    if (self->replica.last_applied() < self->replica.core_->last_committed())
      co_return Status(Errc::kTryAgain, "what is committed here is not applied yet");
    // What was learned so far is to count as prepared here: a crash must not take it back.
    auto began = self->shard.now();
    while (self->replica.log_->durable_records() < self->replica.log_->appended_records()) {
      if (self->shard.now() - began > kDurableWait)
        co_return Status(Errc::kTryAgain, "what was learned is not durable yet");
      co_await io::sleep_for(self->shard, std::chrono::milliseconds(2));
      if (self->stopped) co_return true;
    }
    LearnRequest request{self->host.self(), self->signature, self->replica.last_applied()};
    std::string bytes;
    encode(request, bytes);
    rpc::CallOptions options;
    options.gpid = self->replica.gpid();
    options.timeout = kCallTimeout;
    auto answer =
        co_await rpc::call(self->network, self->primary, TaskCode::kLearn, options, bytes);
    if (self->stopped) co_return true;
    if (!answer.status.ok()) co_return answer.status;
    auto reply = decode_learn_reply(answer.result);
    if (!reply) co_return reply.error();
    switch (reply->mode) {
      case LearnReply::Mode::kRefused:
        co_return Status(reply->error == Errc::kOk ? Errc::kInvalidData : reply->error,
                         fmt::format("{} refused", self->primary));
      case LearnReply::Mode::kStream:
        self->replica.core_->begin_streaming();
        self->streaming = true;
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
      encode(FetchLog{self->signature, self->replica.last_applied() + 1, kLogChunk}, bytes);
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
      self->progress();
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

  // A file of the checkpoint, and how much of it is here already.
  struct Piece {
    LearnFile file;
    uint64_t have = 0;
    uint32_t crc = 0;  // of what is here
    bool whole() const { return have == file.size && crc == file.crc; }
  };

  // Copies the files, checks them, and puts them in the place of the store. What an earlier attempt
  // left is used: table files never change, so a copy goes on where it broke off, also from a later
  // checkpoint, or after a restart.
  static awaitable<Result<bool>> fetch_checkpoint(std::shared_ptr<Flow> self, LearnReply plan) {
    co_await turn(self);
    if (self->stopped) co_return true;
    auto& pool = self->host.runtime().background();
    auto look = [&files = self->host.files(), dir = self->copy_dir(), plan = plan.files] {
      return inspect(files, dir, plan);
    };
    auto pieces = co_await io::on_pool(pool, self->shard, std::move(look));
    if (self->stopped) co_return true;
    if (!pieces) co_return pieces.error();
    uint64_t total = 0;
    uint64_t here = 0;
    for (const auto& piece : *pieces) {
      total += piece.file.size;
      here += piece.have;
    }
    MARKAB_INFO("{}: copies the checkpoint of decree {} from {}: {} files, {} bytes, {} are here",
                self->replica.gpid(), plan.decree, self->primary, plan.files.size(), total, here);
    self->replica.metrics_.learn_resumed_file_bytes.add(static_cast<int64_t>(here));
    for (auto& piece : *pieces) {
      if (piece.whole() && piece.file.size > 0) continue;
      auto status = co_await fetch_file(self, plan.checkpoint, piece);
      if (self->stopped) co_return true;
      if (!status.ok()) {
        self->place.reset();
        co_return status;
      }
    }
    auto installed = co_await install_store(self, self->copy_dir(), plan.decree);
    if (!self->stopped) self->place.reset();
    co_return installed;
  }

  // Waits until this replica may copy; the bound is the daemon's.
  static awaitable<void> turn(std::shared_ptr<Flow> self) {
    if (self->place) co_return;
    co_await asio::async_initiate<const asio::use_awaitable_t<>, void()>(
        [&](auto handler) {
          self->place = self->host.copies().enter(
              self->shard, [handler = std::move(handler)]() mutable { std::move(handler)(); });
        },
        asio::use_awaitable);
    if (!self->stopped) self->progress();
  }

  // On the pool. Removes what is not of the plan, and sums what is.
  static Result<std::vector<Piece>> inspect(io::FileSystem& fs, const std::string& dir,
                                            const std::vector<LearnFile>& plan) {
    if (auto s = fs.create_directories(dir); !s.ok()) return s;
    auto names = fs.list(dir);
    if (!names) return names.error();
    std::map<std::string, Piece> pieces;
    for (const auto& file : plan) pieces[file.name].file = file;
    for (const auto& name : *names) {
      auto path = dir + "/" + name;
      auto found = pieces.find(name);
      if (found != pieces.end()) {
        if (auto s = sum_up(fs, path, found->second); !s.ok()) return s;
        if (found->second.have > 0) continue;
      }
      if (auto s = fs.remove_all(path); !s.ok()) return s;
    }
    std::vector<Piece> out;
    for (auto& [name, piece] : pieces) out.push_back(std::move(piece));
    return out;
  }

  // Nothing stays of a file that is none of this plan's, as far as can be told.
  static Status sum_up(io::FileSystem& fs, const std::string& path, Piece& piece) {
    auto file = fs.open_read(path);
    if (!file) return file.error();
    if ((*file)->size() > piece.file.size) return {};
    std::string bytes;
    do {
      if (auto s = (*file)->read(piece.have, kFileChunk, bytes); !s.ok()) return s;
      piece.crc = crc32c(bytes, piece.crc);
      piece.have += bytes.size();
    } while (!bytes.empty());
    if (piece.have == piece.file.size && piece.crc != piece.file.crc) {
      piece.have = 0;
      piece.crc = 0;
    }
    if (!piece.whole()) return {};
    auto writer = fs.open_append(path);  // the kernel may have it in memory only
    return writer ? (*writer)->sync() : writer.error();
  }

  static awaitable<Status> fetch_file(std::shared_ptr<Flow> self, uint64_t checkpoint,
                                      Piece& piece) {
    auto& pool = self->host.runtime().background();
    auto& fs = self->host.files();
    const auto& file = piece.file;
    auto path = self->copy_dir() + "/" + file.name;
    for (;;) {
      auto wait = self->host.copies().receive.reserve(
          std::min<uint64_t>(kFileChunk, file.size - piece.have), self->shard.now());
      if (wait > Duration(0)) co_await io::sleep_for(self->shard, wait);
      if (self->stopped) co_return Status();
      std::string bytes;
      encode(FetchFile{self->signature, checkpoint, file.name, piece.have, kFileChunk}, bytes);
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
      if ((chunk.empty() && piece.have < file.size) || chunk.size() > file.size - piece.have) {
        co_return Status(Errc::kIncompleteData,
                         fmt::format("{} came with {} bytes at {} of {}", file.name, chunk.size(),
                                     piece.have, file.size));
      }
      piece.crc = crc32c(chunk, piece.crc);
      piece.have += chunk.size();
      bool last = piece.have == file.size;
      bool bad = last && piece.crc != file.crc;
      // A file that arrived damaged goes: the next attempt begins it anew.
      auto write = [&fs, path, chunk, last, bad, keep = answer.block]() -> Status {
        if (bad) return fs.remove_all(path);
        auto out = fs.open_append(path);
        if (!out) return out.error();
        if (auto s = (*out)->append(chunk); !s.ok()) return s;
        return last ? (*out)->sync() : Status();
      };
      auto written = co_await io::on_pool(pool, self->shard, std::move(write));
      if (self->stopped) co_return Status();
      if (!written.ok()) co_return written;
      if (bad) {
        co_return Status(Errc::kWrongChecksum,
                         fmt::format("{} arrived damaged (crc {:08x}, expected {:08x})", file.name,
                                     piece.crc, file.crc));
      }
      self->progress();
      self->replica.metrics_.learn_copy_file_bytes.add(static_cast<int64_t>(chunk.size()));
      if (last) co_return Status();
    }
  }

  static awaitable<Result<bool>> discard(std::shared_ptr<Flow> self) {
    MARKAB_WARN(
        "{}: holds decrees that its group does not know; its state is put aside and learned anew",
        self->replica.gpid());
    std::string nothing;
    co_return co_await install_store(self, std::move(nothing), 0);
  }

  // Replaces the store by the one in `source` (none: an empty one); the old one is kept beside it
  // until the new one is open. Once begun it ends, also when the session does: a replica without a
  // store, or with another one than its log continues, would be left.
  static awaitable<Result<bool>> install_store(std::shared_ptr<Flow> self, std::string source,
                                               Decree decree) {
    auto& replica = self->replica;
    auto& pool = self->host.runtime().background();
    auto& fs = self->host.files();
    auto live = replica.dir() + "/data/rdb";
    auto aside = fmt::format("{}/data.{}.discarded", replica.dir(), self->shard.wall_us());
    auto alive = replica.shared_from_this();
    replica.installing_ = true;
    replica.serves_backup_reads_.store(false, std::memory_order_release);
    replica.resolver_.reset();
    auto old = replica.hold_engine();
    replica.set_engine(nullptr);
    co_await quiet(self);  // no shard is inside a read of the old store any more
    auto slot = std::make_shared<engine::EngineOptions>(replica.engine_options());
    auto exchange = [&fs, &host = self->host, old = std::move(old), live, aside, source, slot,
                     dir = replica.dir()]() mutable -> Result<std::unique_ptr<engine::Engine>> {
      old.reset();  // closes it, unless a read on the pool still holds it: then the rename does not
                    // hurt that
      // Durable before the log goes on behind it, and before the old one goes.
      if (!source.empty()) {
        if (auto s = fs.sync_directory(source); !s.ok()) return s;
      }
      if (fs.exists(live)) {
        if (auto s = fs.rename(live, aside); !s.ok()) return s;
      }
      if (!source.empty()) {
        if (auto s = fs.rename(source, live); !s.ok()) return s;
      }
      auto result = host.open_engine()(std::move(*slot));
      if (auto s = fs.sync_directory(dir + "/data"); !s.ok()) return s;
      if (auto s = fs.sync_directory(dir); !s.ok()) return s;
      if (result) {
        if (auto s = fs.remove_all(aside); !s.ok()) MARKAB_WARN("{} stays behind: {}", aside, s);
      }
      return result;
    };
    auto opened = co_await io::on_pool(pool, self->shard, std::move(exchange));
    replica.installing_ = false;
    // Out of service meanwhile: nothing is installed in what only waits to be closed.
    if (replica.closed_ || replica.broken_) co_return true;
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
    co_return self->stopped;
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
    : flow_(std::make_shared<Flow>(replica, primary, signature)) {
  asio::co_spawn(flow_->shard.executor(), Flow::run(flow_), asio::detached);
}

uint64_t Learner::signature() const { return flow_->signature; }
HostPort Learner::primary() const { return flow_->primary; }

bool Learner::go_on_as(uint64_t signature) {
  if (flow_->finished || flow_->streaming) return false;
  flow_->signature = signature;
  return true;
}

// A flow that waits for its turn to copy is let go of with its place.
Learner::~Learner() {
  flow_->stopped = true;
  auto place = std::move(flow_->place);
}

}  // namespace markab::replica
