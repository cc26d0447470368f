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
// A learner that reads the log and is not heard of for so long no longer holds it.
constexpr Duration kLearnerHold = std::chrono::seconds(60);
// One that was heard of so recently is invited to the same session again, which says nothing new to
// a learner that is at it, and all to one that restarted: the meta server repeats its wish every
// ten seconds, and a copy takes longer.
constexpr Duration kLearnerSilence = std::chrono::seconds(8);
// Of a file, summed in one visit to the pool.
constexpr size_t kSumSlice = 4u << 20;
constexpr size_t kMaxDelayedSends = 64;  // more are refused as busy

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
  if (!core_->ballot_durable()) {
    to_invite_.insert(node);
    return;
  }
  const auto& m = core_->membership();
  if (std::find(m.secondaries.begin(), m.secondaries.end(), node) != m.secondaries.end()) return;
  for (const auto& peer : core_->peers()) {
    if (peer.node == node) return;  // it is learning already
  }
  if (next_signature_ >> 32 != static_cast<uint64_t>(m.ballot))
    next_signature_ = static_cast<uint64_t>(m.ballot) << 32;
  auto session = invitations_.find(node);
  uint64_t signature = 0;
  if (session != invitations_.end() && now() - session->second.heard < kLearnerSilence) {
    // No process has acknowledged anything in this session: it is no peer of the core. Nor will a
    // late copy of this message reach one that has, since prepares come behind it on the same way.
    signature = session->second.signature;
  } else {
    signature = ++next_signature_;  // spec 04 §1.1: rises, restarts with each ballot
    forget_invitation(node);
    invitations_[node] = {signature, 0, now()};
  }
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
              if (found == self->invitations_.end() || found->second.signature != signature) return;
              MARKAB_WARN("{}: {} did not take the invitation to learn: {}", self->gpid(), node,
                          reply.status);
              self->forget_invitation(node);
            });
}

void Replica::forget_invitation(HostPort node) {
  to_invite_.erase(node);
  auto found = invitations_.find(node);
  if (found == invitations_.end()) return;
  log_holds_.release(found->second.hold);
  invitations_.erase(found);
}

void Replica::send_waiting_invitations() {
  if (!core_->ballot_durable()) return;
  for (HostPort node : std::exchange(to_invite_, {})) invite_learner(node);
}

void Replica::forget_invitations() {
  to_invite_.clear();
  while (!invitations_.empty()) forget_invitation(invitations_.begin()->first);
}

// Of a learner in session, by its signature (04 S13).
Replica::Invitation* Replica::find_invitation(uint64_t signature) {
  if (core_->role() != Role::kPrimary) return nullptr;
  for (auto& [node, invitation] : invitations_) {
    if (invitation.signature != signature) continue;
    invitation.heard = now();
    return &invitation;
  }
  return nullptr;
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
  if (invited->second.signature != message->signature) return refuse(Errc::kWrongChecksum);
  invited->second.heard = now();
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
      log_holds_.release(invited->second.hold);  // it is fed from memory now
      reply.mode = LearnReply::Mode::kStream;
      answer_learn(request, reply);
      perform();
      propose_waiting();
      return;
    }
    if (error != Errc::kObjectNotFound) return refuse(error);
  }
  if (std::max(log_->trimmed(), unreadable_up_to_) <= message->position) {
    hold_log(message->learner, invited->second, message->position);
    reply.mode = LearnReply::Mode::kLog;
    answer_learn(request, reply);
    return;
  }
  auto checkpoint =
      shelf_->get(*this, std::max({log_->trimmed(), unreadable_up_to_, message->position}));
  if (!checkpoint) return refuse(checkpoint.error().code());
  // What follows the checkpoint is read from the log, which must still be there when the copy ends.
  hold_log(message->learner, invited->second, (*checkpoint)->decree);
  reply.mode = LearnReply::Mode::kCheckpoint;
  reply.decree = (*checkpoint)->decree;
  reply.checkpoint = (*checkpoint)->id;
  reply.files = (*checkpoint)->files;
  answer_learn(request, reply);
}

// The log above `position` stays as long as the learner is heard of (04 S11).
void Replica::hold_log(HostPort learner, Invitation& invitation, Decree position) {
  log_holds_.release(invitation.hold);
  invitation.hold =
      log_holds_.hold(fmt::format("learner {}", learner), position, now() + kLearnerHold);
}

void Replica::on_fetch_log(rpc::Request request) {
  auto message = decode_fetch_log(request.args);
  if (!message || closed_) {
    request.reply_error(message ? Errc::kObjectNotFound : Errc::kInvalidData);
    return;
  }
  auto* invitation = find_invitation(message->signature);
  if (invitation == nullptr) {
    request.reply(encoded(FetchLogReply{Errc::kWrongChecksum, 0, {}}));
    return;
  }
  log_holds_.advance(invitation->hold, message->from - 1, now() + kLearnerHold);
  auto committed = core_->last_committed();
  if (message->from > committed) {
    request.reply(encoded(FetchLogReply{Errc::kOk, committed, {}}));
    return;
  }
  auto self = shared_from_this();
  auto held = std::make_shared<rpc::Request>(std::move(request));
  struct Outcome {
    std::string bytes;
    bool damaged = false;
  };
  auto outcome = std::make_shared<Outcome>();
  host_.runtime().background().run(
      shard_,
      [self, log = log_, from = message->from, max = std::min(message->max_bytes, kMaxChunk),
       committed, outcome] {
        FetchLogReply reply;
        reply.committed = committed;
        auto read = log->read(from, max);
        if (!read) {
          reply.error = read.error().code();
          outcome->damaged = reply.error == Errc::kInvalidData;
          MARKAB_WARN("{}: reading the log for a learner: {}{}", self->gpid(), read.error(),
                      outcome->damaged ? "; learners get a checkpoint instead" : "");
        } else {
          for (auto& [record, payload] : *read) {
            if (record.decree > committed) break;
            reply.mutations.push_back({record.ballot, record.decree, record.timestamp_us,
                                       std::make_shared<const std::string>(std::move(payload))});
          }
        }
        encode(reply, outcome->bytes);
      },
      [self, held, outcome, committed] {
        if (outcome->damaged) self->unreadable_up_to_ = committed;
        held->reply(outcome->bytes);
      });
}

void Replica::on_fetch_file(rpc::Request request) {
  auto message = decode_fetch_file(request.args);
  if (!message) {
    request.reply_error(Errc::kInvalidData);
    return;
  }
  auto* invitation = closed_ ? nullptr : find_invitation(message->signature);
  auto checkpoint = invitation == nullptr ? nullptr : shelf_->find(message->checkpoint, now());
  if (checkpoint == nullptr) {
    request.reply(encoded(FetchFileReply{Errc::kObjectNotFound, {}}));
    return;
  }
  log_holds_.advance(invitation->hold, checkpoint->decree, now() + kLearnerHold);
  auto held = std::make_shared<rpc::Request>(std::move(request));
  auto wait = host_.copies().send.reserve(std::min(message->size, kMaxChunk), now());
  if (wait == Duration(0)) return send_file(held, checkpoint, std::move(*message));
  if (delayed_sends_.size() >= kMaxDelayedSends) {
    held->reply(encoded(FetchFileReply{Errc::kBusy, {}}));
    return;
  }
  auto id = next_delayed_send_++;
  delayed_sends_[id] =
      shard_.after(wait, [this, id, held, checkpoint, message = std::move(*message)] {
        auto timer = std::move(delayed_sends_[id]);  // it owns this closure
        delayed_sends_.erase(id);
        send_file(held, checkpoint, message);
      });
}

void Replica::send_file(std::shared_ptr<rpc::Request> held,
                        std::shared_ptr<CheckpointShelf::Checkpoint> checkpoint,
                        FetchFile message) {
  auto bytes = std::make_shared<std::string>();
  auto& files = host_.files();
  host_.runtime().background().run(
      shard_,
      [checkpoint, &files, message = std::move(message), bytes] {
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
  // Invited anew, since it was not heard of for a while (it waits for its turn to copy, or the
  // network was cut): what it has fetched so far counts.
  if (learner_ && learner_->primary() == message.membership.primary &&
      learner_->go_on_as(message.signature)) {
    return Errc::kOk;
  }
  learner_ = std::make_unique<Learner>(*this, message.membership.primary, message.signature);
  return Errc::kOk;
}

// ---- the shelf
// -----------------------------------------------------------------------------------------------------

CheckpointShelf::CheckpointShelf(ReplicaHost& host, Gpid gpid, std::string dir)
    : host_(host), gpid_(gpid), dir_(std::move(dir)) {}

Result<std::shared_ptr<CheckpointShelf::Checkpoint>> CheckpointShelf::get(Replica& replica,
                                                                          Decree at_least) {
  auto now = replica.shard().now();
  if (newest_ && newest_->decree >= at_least) {
    newest_->used = now;
    return newest_;
  }
  if (!failed_.ok()) {  // told once; who asks again has it tried again
    auto told = std::exchange(failed_, Status());
    MARKAB_ERROR("{}: no checkpoint for a learner: {}", gpid_, told);
    return Status(Errc::kGetLearnStateFailed);
  }
  if (!making_) make(replica);
  return Status(Errc::kTryAgain, "the checkpoint is being made");
}

// Hard links and a flush; then the files are summed, slice by slice and no faster than copies may
// be, since a store can be large and others need the disk.
void CheckpointShelf::make(Replica& replica) {
  making_ = std::make_shared<Checkpoint>();
  making_->id = next_id_++;
  making_->dir = fmt::format("{}/{}", dir_, making_->id);
  auto status = std::make_shared<Status>();
  auto& files = host_.files();
  host_.runtime().background().run(
      replica.shard(),
      [status, checkpoint = making_, engine = replica.hold_engine(), &files, dir = dir_] {
        auto write = [&]() -> Status {
          if (engine == nullptr) return {Errc::kInvalidState, "the store is being replaced"};
          if (checkpoint->id == 1) {
            if (auto s = files.remove_all(dir); !s.ok()) return s;  // of an earlier process
          }
          if (auto s = files.create_directories(dir); !s.ok()) return s;
          if (auto s = files.remove_all(checkpoint->dir); !s.ok()) return s;
          auto decree = engine->store().checkpoint(checkpoint->dir);
          if (!decree) return decree.error();
          checkpoint->decree = *decree;
          // A learner must not be given what is damaged here.
          if (auto s = engine->store().verify_checkpoint(checkpoint->dir); !s.ok()) return s;
          auto names = files.list(checkpoint->dir);
          if (!names) return names.error();
          for (const auto& name : *names) {
            auto size = files.file_size(checkpoint->dir + "/" + name);
            if (!size) return size.error();
            checkpoint->files.push_back({name, *size, 0});
          }
          return {};
        };
        *status = write();
      },
      [self = replica.shared_from_this(), this, status] {
        if (!status->ok() || making_->files.empty()) return made(*self, *status);
        sum(*self, 0, 0);
      });
}

// The checksum of file `index` from `offset` on, then of the files behind it.
void CheckpointShelf::sum(Replica& replica, size_t index, uint64_t offset) {
  if (replica.closed()) return;
  auto& files = making_->files;
  // What has its number in its name never changes: a table file summed for an earlier checkpoint.
  while (offset == 0 && index < files.size() && known(files[index])) ++index;
  if (index == files.size()) return made(replica, {});
  auto wait = host_.copies().send.reserve(std::min<uint64_t>(kSumSlice, files[index].size - offset),
                                          replica.shard().now());
  sum_timer_ = replica.shard().after(wait, [this, weak = replica.weak_from_this(), index, offset] {
    auto self = weak.lock();
    if (!self) return;
    struct Slice {
      Status status;
      uint64_t bytes = 0;
    };
    auto slice = std::make_shared<Slice>();
    auto& fs = host_.files();
    host_.runtime().background().run(
        self->shard(),
        [slice, checkpoint = making_, index, offset, &fs] {
          auto& file = checkpoint->files[index];
          auto opened = fs.open_read(checkpoint->dir + "/" + file.name);
          std::string bytes;
          slice->status = opened ? (*opened)->read(offset, kSumSlice, bytes) : opened.error();
          if (!slice->status.ok()) return;
          if (bytes.empty() && offset < file.size) {
            slice->status =
                Status(Errc::kIncompleteData, fmt::format("{} became shorter", file.name));
          }
          file.crc = crc32c(bytes, file.crc);
          slice->bytes = bytes.size();
        },
        [self, this, slice, index, offset] {
          if (!slice->status.ok()) return made(*self, slice->status);
          const auto& file = making_->files[index];
          if (offset + slice->bytes < file.size) return sum(*self, index, offset + slice->bytes);
          sums_[file.name] = file;
          sum(*self, index + 1, 0);
        });
  });
}

bool CheckpointShelf::known(LearnFile& file) const {
  if (!file.name.ends_with(".sst")) return false;
  auto found = sums_.find(file.name);
  if (found == sums_.end() || found->second.size != file.size) return false;
  file.crc = found->second.crc;
  return true;
}

void CheckpointShelf::made(Replica& replica, Status status) {
  auto checkpoint = std::exchange(making_, nullptr);
  if (replica.closed()) return;
  failed_ = std::move(status);
  if (!failed_.ok()) return;
  std::map<std::string, LearnFile> sums;  // of files that still exist
  for (const auto& file : checkpoint->files) sums[file.name] = file;
  sums_ = std::move(sums);
  checkpoint->used = replica.shard().now();
  if (newest_) drop(newest_->dir);
  newest_ = std::move(checkpoint);
}

std::shared_ptr<CheckpointShelf::Checkpoint> CheckpointShelf::find(uint64_t id, Instant now) {
  if (!newest_ || newest_->id != id) return nullptr;
  newest_->used = now;
  return newest_;
}

void CheckpointShelf::expire(Instant now) {
  if (!newest_ || now - newest_->used < kShelfLife) return;
  drop(newest_->dir);
  newest_.reset();
}

void CheckpointShelf::drop(const std::string& dir) {
  auto& files = host_.files();
  host_.runtime().background().run(
      host_.runtime().shard(0),
      [&files, dir] {
        if (auto s = files.remove_all(dir); !s.ok())
          MARKAB_WARN("a learner's checkpoint stays behind: {}", s);
      },
      [] {});
}

}  // namespace markab::replica
