// The primary: proposals, the commit rule, and who stays a peer.

#include <algorithm>

#include "base/plant.h"
#include "pacifica/replica_core.h"

namespace markab::pacifica {

namespace {

constexpr size_t kMaxLearners = 16;
// A learner that lags by no more than this gates commits from then on, so that it can reach the
// commit point.
constexpr Decree kGateLag = 16;

}  // namespace

int32_t ReplicaCore::required_members() const {
  int32_t most = membership_.max_replica_count;
  if (options_.min_replica_count > 0) return std::min(options_.min_replica_count, most);
  return most <= 2 ? 1 : most / 2 + 1;  // 04 §1.4
}

Errc ReplicaCore::can_propose() const {
  if (role_ != Role::kPrimary || stepped_down_at_ || outdated_) return Errc::kInvalidState;
  if (static_cast<int32_t>(membership_.secondaries.size()) + 1 < required_members())
    return Errc::kNotEnoughMember;
  if (static_cast<size_t>(list_.last() - last_committed_) >= options_.max_uncommitted ||
      list_.bytes() - committed_bytes_ >= options_.max_uncommitted_bytes) {
    return Errc::kBusy;
  }
  return Errc::kOk;
}

Decree ReplicaCore::propose(Payload payload, int64_t timestamp_us, Instant now, Actions& out) {
  touch(now);
  MARKAB_ASSERT(can_propose() == Errc::kOk, "a proposal that cannot be made", can_propose());
  MARKAB_ASSERT(payload != nullptr, "a proposal without content");
  Decree decree = next_decree();
  append_mutation({ballot_, decree, timestamp_us, std::move(payload)}, out);
  verified_ = decree;
  return decree;
}

bool ReplicaCore::reads_allowed() const {
  return role_ == Role::kPrimary && !stepped_down_at_ && !outdated_ &&
         last_committed_ >= reign_prepared_;  // S8
}

void ReplicaCore::step_down(Actions&) {
  if (role_ == Role::kPrimary && !stepped_down_at_) stepped_down_at_ = now_;
}

// S3, S6: what is committed is durable here and at every peer that gates. A new membership counts
// once it is durable.
void ReplicaCore::advance_commit(Actions& out) {
  if (role_ != Role::kPrimary || !ballot_durable()) return;
  Decree target = durable_end_;
  for (const auto& peer : peers_) {
    if (peer.gating && !MARKAB_PLANTED(kAckBeforeAllPrepared))
      target = std::min(target, peer.acked);
  }
  if (target > last_committed_) commit_up_to(target, out);
}

Peer* ReplicaCore::find_peer(HostPort node) {
  for (auto& peer : peers_) {
    if (peer.node == node) return &peer;
  }
  return nullptr;
}

// --- members that go

void ReplicaCore::doom(Peer& peer, Doom doom, std::string reason) {
  if (doom <= peer.doom) return;
  peer.doom = doom;
  peer.reason = std::move(reason);
}

// A secondary is to be removed by the meta server; a learner is forgotten by the next sweep.
void ReplicaCore::give_up(Peer& peer, Doom why, std::string reason) {
  if (!peer.learner) return doom(peer, why, std::move(reason));
  if (peer.leaving) return;
  peer.leaving = true;
  peer.reason = std::move(reason);
}

// Learners that leave and whose upgrade is not being stored.
void ReplicaCore::sweep_learners(Actions& out) {
  bool dropped = false;
  for (auto& peer : peers_) {
    if (!peer.learner || !peer.leaving || peer.asked) continue;
    out.push_back(LearnerDropped{peer.node, peer.reason});
    dropped = true;
  }
  if (!dropped) return;
  std::erase_if(peers_, [](const Peer& p) { return p.learner && p.leaving && !p.asked; });
  advance_commit(out);
}

void ReplicaCore::check_peer(Peer& peer) {
  if (peer.unwell_since != kNever) {
    auto silence = now_ - peer.unwell_since;
    if (silence >= options_.prepare_timeout)
      give_up(peer, Doom::kUnwell, "no good answer within prepare_timeout");
    // A learner holds up nobody's writes by being slow; unless it may be a member already.
    if (peer.learner && !peer.asked && silence >= options_.resend_after) peer.gating = false;
  }
  if (peer.live_flights > 0 && now_ - peer.last_event >= options_.resend_after) {
    rewind(peer, peer.acked + 1);
    peer.probing = true;
  }
  if (peer.live_flights == 0 && peer.committed < last_committed_ &&
      now_ - peer.last_event >= options_.commit_point_after) {
    peer.greet = true;
  }
}

void ReplicaCore::on_node_dead(HostPort node, Instant now, Actions& out) {
  touch(now);
  Peer* peer = find_peer(node);
  if (peer == nullptr) return;
  give_up(*peer, Doom::kCertain, "the meta server declared it dead");
  sweep_learners(out);
  pursue_changes(out);
}

void ReplicaCore::remove_secondary(HostPort node, Instant now, Actions& out) {
  touch(now);
  Peer* peer = find_peer(node);
  if (peer == nullptr || peer->learner) return;
  doom(*peer, Doom::kCertain, "its removal was ordered");
  pursue_changes(out);
}

void ReplicaCore::check_group(Instant now, Actions& out) {
  for (auto& peer : peers_) peer.greet = true;
  flush(now, out);
}

// --- learners

Errc ReplicaCore::add_learner(HostPort node, uint64_t signature, Decree position, Instant now,
                              Actions& out) {
  touch(now);
  if (role_ != Role::kPrimary || stepped_down_at_ || outdated_) return Errc::kInvalidState;
  if (node == options_.self || signature == 0 || position < 0) return Errc::kInvalidState;
  if (position > last_committed_) return Errc::kInconsistentState;
  if (position + 1 < first_cached()) return Errc::kObjectNotFound;
  if (Peer* old = find_peer(node)) {
    if (!old->learner) return Errc::kInvalidState;
    if (old->asked) return Errc::kBusy;  // what it acknowledged may make it a member at any moment
    std::erase_if(peers_, [&](const Peer& p) { return p.node == node; });  // it learns anew
    advance_commit(out);
  }
  auto learners =
      std::count_if(peers_.begin(), peers_.end(), [](const Peer& p) { return p.learner; });
  if (static_cast<size_t>(learners) >= kMaxLearners) return Errc::kBusy;
  Peer& peer = peers_.emplace_back();
  peer.node = node;
  peer.learner = true;
  peer.gating = false;
  peer.signature = signature;
  peer.acked = peer.committed = position;
  peer.next = position + 1;
  return Errc::kOk;
}

void ReplicaCore::drop_learner(HostPort node, Actions& out) {
  Peer* peer = find_peer(node);
  if (peer == nullptr || !peer->learner) return;
  give_up(*peer, Doom::kCertain, "it was dropped by order");
  sweep_learners(out);
}

// 04 §1.14, row 5: from here on nothing is committed without it; once it has what was committed
// before, it may join.
void ReplicaCore::consider_gating(Peer& peer) {
  if (peer.learner && !peer.leaving && last_committed_ - peer.acked <= kGateLag) peer.gating = true;
}

}  // namespace markab::pacifica
