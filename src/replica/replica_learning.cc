// Learning as seen by a replica: as primary, inviting and feeding learners; as learner, taking the
// invitation.

#include <algorithm>

#include "base/crc32c.h"
#include "base/log.h"
#include "replica/learner.h"
#include "replica/replica.h"
#include "replica/table_info.h"

namespace markab::replica {

using pacifica::Role;
using rpc::TaskCode;

namespace {

constexpr Duration kInvitationTimeout = std::chrono::seconds(20);
constexpr Duration kShelfLife = std::chrono::minutes(5);
constexpr uint32_t kMaxChunk = 4u << 20;

std::string encoded(const auto& message) {
  std::string out;
  encode(message, out);
  return out;
}

}  // namespace

// ---- primary
// -------------------------------------------------------------------------------------------------------

void Replica::invite_learner(HostPort node) {
  if (closed_ || core_->role() != Role::kPrimary || node == host_.self()) return;
  const auto& m = core_->membership();
  if (std::find(m.secondaries.begin(), m.secondaries.end(), node) != m.secondaries.end()) return;
  for (const auto& peer : core_->peers()) {
    if (peer.node == node) return;  // it is learning already
  }
  if (next_signature_ >> 32 != static_cast<uint64_t>(m.ballot))
    next_signature_ = static_cast<uint64_t>(m.ballot) << 32;
  auto signature =
      ++next_signature_;  // spec 04 §1.1, learn signature: rises, restarts with each ballot
  invitations_[node] = signature;
  AddLearner invitation{m, signature, options_.table.app_name, options_.table.partition_count, {}};
  for (const auto& [key, value] : options_.table.envs) invitation.envs.emplace_back(key, value);
  rpc::CallOptions call;
  call.gpid = gpid();
  call.timeout = kInvitationTimeout;
  MARKAB_INFO("{}: invites {} to learn", gpid(), node);
  host_.network(options_.shard)
      .call(node, TaskCode::kLearnAddLearner, call, encoded(invitation),
            [weak = weak_from_this(), node, signature](rpc::Reply reply) {
              auto self = weak.lock();
              if (!self || self->closed_ || reply.status.ok()) return;
              auto found = self->invitations_.find(node);
              if (found == self->invitations_.end() || found->second != signature) return;
              MARKAB_WARN("{}: {} did not take the invitation to learn: {}", self->gpid(), node,
                          reply.status);
              self->invitations_.erase(found);
            });
}

void Replica::answer_learn(rpc::Request& request, const LearnReply& reply) {
  request.reply(encoded(reply));
}

void Replica::on_learn(rpc::Request request) {
  auto message = decode_learn_request(request.args);
  if (!message) {
    request.reply_error(Errc::kInvalidData);
    return;
  }
  LearnReply reply;
  reply.decree = closed_ ? 0 : core_->last_committed();
  auto refuse = [&](Errc error) {
    reply.error = error;
    answer_learn(request, reply);
  };
  if (closed_ || core_->role() != Role::kPrimary) return refuse(Errc::kInvalidState);
  auto invited = invitations_.find(message->learner);
  if (invited == invitations_.end()) return refuse(Errc::kObjectNotFound);
  if (invited->second != message->signature) return refuse(Errc::kWrongChecksum);
  if (message->position > core_->last_prepared()) {
    reply.mode = LearnReply::Mode::kDiscard;
    answer_learn(request, reply);
    return;
  }
  if (message->position > core_->last_committed())
    return refuse(Errc::kTryAgain);  // our own commit point lags
  if (message->position + 1 >= core_->first_cached()) {
    auto error = core_->add_learner(message->learner, message->signature, message->position, now(),
                                    actions_);
    if (error == Errc::kOk) {
      reply.mode = LearnReply::Mode::kStream;
      answer_learn(request, reply);
      perform();
      propose_waiting();
      return;
    }
    if (error != Errc::kObjectNotFound) return refuse(error);
  }
  if (log_->trimmed() <= message->position) {
    reply.mode = LearnReply::Mode::kLog;
    answer_learn(request, reply);
    return;
  }
  auto held = std::make_shared<rpc::Request>(std::move(request));
  shelf_->get(
      shared_from_this(), std::max(log_->trimmed(), message->position),
      [weak = weak_from_this(), held](Result<std::shared_ptr<CheckpointShelf::Checkpoint>> made) {
        auto self = weak.lock();
        if (!self) return;
        LearnReply reply;
        if (!made) {
          MARKAB_ERROR("{}: no checkpoint for a learner: {}", self->gpid(), made.error());
          reply.error = Errc::kGetLearnStateFailed;
        } else {
          reply.mode = LearnReply::Mode::kCheckpoint;
          reply.decree = (*made)->decree;
          reply.checkpoint = (*made)->id;
          reply.files = (*made)->files;
        }
        self->answer_learn(*held, reply);
      });
}

void Replica::on_fetch_log(rpc::Request request) {
  auto message = decode_fetch_log(request.args);
  if (!message || closed_) {
    request.reply_error(message ? Errc::kObjectNotFound : Errc::kInvalidData);
    return;
  }
  auto committed = core_->last_committed();
  if (message->from > committed) {
    request.reply(encoded(FetchLogReply{Errc::kOk, committed, {}}));
    return;
  }
  auto self = shared_from_this();
  auto held = std::make_shared<rpc::Request>(std::move(request));
  auto bytes = std::make_shared<std::string>();
  host_.runtime().blocking().run(
      shard_,
      [self, log = log_, from = message->from, max = std::min(message->max_bytes, kMaxChunk),
       committed, bytes] {
        FetchLogReply reply;
        reply.committed = committed;
        auto read = log->read(from, max);
        if (!read) {
          reply.error = read.error().code();
          MARKAB_WARN("{}: reading the log for a learner: {}", self->gpid(), read.error());
        } else {
          for (auto& [record, payload] : *read) {
            if (record.decree > committed) break;
            reply.mutations.push_back({record.ballot, record.decree, record.timestamp_us,
                                       std::make_shared<const std::string>(std::move(payload))});
          }
        }
        encode(reply, *bytes);
      },
      [held, bytes] { held->reply(*bytes); });
}

void Replica::on_fetch_file(rpc::Request request) {
  auto message = decode_fetch_file(request.args);
  if (!message) {
    request.reply_error(Errc::kInvalidData);
    return;
  }
  auto checkpoint = closed_ ? nullptr : shelf_->find(message->checkpoint, now());
  if (checkpoint == nullptr) {
    request.reply(encoded(FetchFileReply{Errc::kObjectNotFound, {}}));
    return;
  }
  auto held = std::make_shared<rpc::Request>(std::move(request));
  auto bytes = std::make_shared<std::string>();
  auto& files = host_.files();
  host_.runtime().blocking().run(
      shard_,
      [checkpoint, &files, message = std::move(*message), bytes] {
        FetchFileReply reply;
        std::string content;
        auto file = files.open_read(checkpoint->dir + "/" + message.name);
        auto status =
            file ? (*file)->read(message.offset, std::min(message.size, kMaxChunk), content)
                 : file.error();
        if (!status.ok()) {
          MARKAB_WARN("reading a checkpoint for a learner: {}", status);
          reply.error = status.code();
        }
        reply.bytes = content;
        encode(reply, *bytes);
      },
      [held, bytes] { held->reply(*bytes); });
}

// ---- learner
// -------------------------------------------------------------------------------------------------------

Errc Replica::on_add_learner(const AddLearner& message) {
  if (closed_ || broken_) return Errc::kInvalidState;
  if (learner_ && learner_->signature() == message.signature) return Errc::kOk;  // a repeat
  auto error = core_->start_learning(message.membership, message.signature, actions_);
  perform();
  if (error != Errc::kOk) return error;
  learner_ = std::make_unique<Learner>(*this, message.membership.primary, message.signature);
  return Errc::kOk;
}

// ---- the shelf
// -----------------------------------------------------------------------------------------------------

CheckpointShelf::CheckpointShelf(ReplicaHost& host, Gpid gpid, std::string dir)
    : host_(host), gpid_(gpid), dir_(std::move(dir)) {}

void CheckpointShelf::get(const std::shared_ptr<Replica>& replica, Decree at_least, Made done) {
  auto now = replica->shard().now();
  if (newest_ && newest_->decree >= at_least) {
    newest_->used = now;
    done(newest_);
    return;
  }
  waiting_.push_back(std::move(done));
  if (waiting_.size() > 1) return;
  auto made =
      std::make_shared<Result<std::shared_ptr<Checkpoint>>>(Status(Errc::kCheckpointFailed));
  auto checkpoint = std::make_shared<Checkpoint>();
  checkpoint->id = next_id_++;
  checkpoint->used = now;
  auto engine = replica->hold_engine();
  auto& files = host_.files();
  host_.runtime().blocking().run(
      replica->shard(),
      [made, checkpoint, engine, &files, dir = dir_]() mutable {
        auto write = [&]() -> Result<std::shared_ptr<Checkpoint>> {
          if (engine == nullptr) return Status(Errc::kInvalidState, "the store is being replaced");
          if (checkpoint->id == 1) {
            if (auto s = files.remove_all(dir); !s.ok()) return s;  // of an earlier process
          }
          if (auto s = files.create_directories(dir); !s.ok()) return s;
          checkpoint->dir = fmt::format("{}/{}", dir, checkpoint->id);
          if (auto s = files.remove_all(checkpoint->dir); !s.ok()) return s;
          auto decree = engine->store().checkpoint(checkpoint->dir);
          if (!decree) return decree.error();
          checkpoint->decree = *decree;
          auto names = files.list(checkpoint->dir);
          if (!names) return names.error();
          for (const auto& name : *names) {
            LearnFile described{name, 0, 0};
            auto file = files.open_read(checkpoint->dir + "/" + name);
            if (!file) return file.error();
            described.size = (*file)->size();
            std::string chunk;
            for (uint64_t at = 0; at < described.size; at += chunk.size()) {
              if (auto s = (*file)->read(at, 1u << 20, chunk); !s.ok()) return s;
              if (chunk.empty())
                return Status(Errc::kIncompleteData, fmt::format("{} became shorter", name));
              described.crc = crc32c(chunk, described.crc);
            }
            checkpoint->files.push_back(std::move(described));
          }
          return checkpoint;
        };
        *made = write();
        engine.reset();
      },
      [replica, this, made] {
        if (replica->broken() && !*made) newest_.reset();
        finish(std::move(*made));
      });
}

void CheckpointShelf::finish(Result<std::shared_ptr<Checkpoint>> made) {
  if (made) newest_ = *made;
  auto waiting = std::exchange(waiting_, {});
  for (auto& done : waiting) done(made);
}

std::shared_ptr<CheckpointShelf::Checkpoint> CheckpointShelf::find(uint64_t id, Instant now) {
  if (!newest_ || newest_->id != id) return nullptr;
  newest_->used = now;
  return newest_;
}

void CheckpointShelf::expire(Instant now) {
  if (!newest_ || now - newest_->used < kShelfLife) return;
  auto dir = newest_->dir;
  newest_.reset();
  auto& files = host_.files();
  host_.runtime().blocking().run(
      host_.runtime().shard(0),
      [&files, dir] {
        if (auto s = files.remove_all(dir); !s.ok())
          MARKAB_WARN("a learner's checkpoint stays behind: {}", s);
      },
      [] {});
}

}  // namespace markab::replica
