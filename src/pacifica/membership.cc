// Roles and reigns: what a membership makes of this replica (04 §1.2, §1.3), and what it asks the
// meta server to change (04 §1.7).
//
// An inactive replica may return to the group at the meta server's word when its log is trusted and
// no membership excluded it since; otherwise only learning leads back. One exception: named
// primary, an excluded replica with a trusted log accepts, since the meta server names such a one
// only when nobody else is left.

#include <algorithm>

#include "base/plant.h"
#include "pacifica/replica_core.h"

namespace markab::pacifica {

namespace {

bool has_secondary(const Membership& m, HostPort node) {
  return std::find(m.secondaries.begin(), m.secondaries.end(), node) != m.secondaries.end();
}

// Answers that leave open whether the change was, or will be, stored.
bool is_unsure(Errc error) { return error == Errc::kTimeout || error == Errc::kNetworkFailure; }

}  // namespace

bool ReplicaCore::names_self(const Membership& m) const {
  return m.primary == options_.self || has_secondary(m, options_.self);
}

void ReplicaCore::on_membership(const Membership& membership, Instant now, Actions& out) {
  touch(now);
  if (membership.ballot < ballot_ || membership.ballot == 0) return;  // S1
  if (role_ == Role::kError) {
    if (membership.ballot > membership_.ballot) membership_ = membership;
  } else if (membership.ballot > ballot_) {
    adopt(membership, out);
  } else {
    settle(membership, out);
  }
  pursue_changes(out);
}

// The membership of the ballot that is adopted already: all that may change is a recovered
// replica's return (04 §1.2).
void ReplicaCore::settle(const Membership& m, Actions& out) {
  if (membership_.ballot == m.ballot) {
    membership_.max_replica_count = m.max_replica_count;
    return;
  }
  membership_ = m;
  if (role_ != Role::kInactive) return;
  outside_ = outside_ || !names_self(m);
  // Named primary it stays inactive: what it proposed under this ballot before the restart is not
  // known (S2).
  if (!has_secondary(m, options_.self) || !trusted_ || outside_) return;
  if (member_ballot_ < ballot_) append_reign(ballot_, list_.last(), Role::kSecondary, out);
  set_role(Role::kSecondary, false, out);
}

void ReplicaCore::adopt(const Membership& m, Actions& out) {
  bool leads = m.primary == options_.self;
  // Only the next ballot surely continues a reign: in a gap somebody else may have led.
  bool next_ballot = m.ballot == ballot_ + 1;
  if (role_ == Role::kPrimary) {
    if (leads && next_ballot) return continue_reign(m, out);
    leave_reign(!leads, "the reign ended", out);
  } else if (m.primary != membership_.primary || !next_ballot) {
    refuse_pending(Errc::kVersionOutdated, out);
  }
  // From learner to primary at the next ballot is not possible (04 §1.2). In a gap it may have been
  // made a secondary without hearing of it, and be the one that is left.
  bool fit = role_ == Role::kLearner ? streaming_ && !next_ballot : trusted_;
  if (leads && fit) return begin_reign(m, out);

  Role role = role_under(m);
  bool continues = role == role_ && m.primary == membership_.primary;
  append_reign(m.ballot, list_.last(), role, out);
  if (role == Role::kInactive) {
    refuse_pending(Errc::kInvalidState, out);
    outside_ = true;
  } else if (role == Role::kSecondary) {
    trusted_ = true;
    outside_ = false;
  }
  membership_ = m;
  set_role(role, continues, out);
}

// Of a replica that does not lead under `m`.
Role ReplicaCore::role_under(const Membership& m) const {
  if (m.primary == options_.self) return Role::kInactive;
  if (has_secondary(m, options_.self)) {
    bool whole = role_ == Role::kLearner ? streaming_ : trusted_ && !outside_;  // S12
    return whole ? Role::kSecondary : Role::kInactive;
  }
  return role_ == Role::kLearner && m.primary == membership_.primary ? Role::kLearner
                                                                     : Role::kInactive;
}

// S7, S8: everything inherited is prepared again under the new ballot, before anything new and
// whatever the number of members; reads wait until it is committed.
void ReplicaCore::begin_reign(const Membership& m, Actions& out) {
  refuse_pending(Errc::kVersionOutdated, out);
  append_reign(m.ballot, MARKAB_PLANTED(kReuseDecree) ? last_committed_ : list_.last(),
               Role::kPrimary, out);
  membership_ = m;
  trusted_ = true;
  outside_ = false;
  reign_ = m.ballot;
  reign_prepared_ = list_.last();
  reign_committed_ = last_committed_;
  verified_ = list_.last();
  set_role(Role::kPrimary, false, out);
  for (Decree d = last_committed_ + 1; d <= reign_prepared_; ++d) {
    Mutation mutation = list_.at(d).mutation;  // S5: content and timestamp stay
    mutation.ballot = ballot_;
    append_mutation(std::move(mutation), out);
  }
  for (HostPort node : m.secondaries) {
    if (node == options_.self || find_peer(node) != nullptr) continue;
    Peer& peer = peers_.emplace_back();
    peer.node = node;
    // S3: a member has all that is committed; one that has not finds out itself (enter_reign).
    peer.acked = reign_committed_;
    peer.next = reign_committed_ + 1;
  }
}

// In-flight mutations keep their ballots and what was acknowledged stays acknowledged: within a
// reign a decree has one content, so a follower's log holds it whatever the ballot of the message
// was.
void ReplicaCore::continue_reign(const Membership& m, Actions& out) {
  append_reign(m.ballot, list_.last(), Role::kPrimary, out);
  membership_ = m;
  outdated_ = false;
  stepped_down_at_.reset();
  std::erase_if(peers_, [&](const Peer& p) { return !p.learner && !has_secondary(m, p.node); });
  for (auto& peer : peers_) {
    peer.greet = true;
    peer.asked = peer.unsure = false;  // whatever was asked at the ballot before is decided
    if (!peer.learner || !has_secondary(m, peer.node)) continue;
    peer.learner = false;
    peer.gating = true;
    peer.signature = 0;
    if (peer.leaving) doom(peer, Doom::kCertain, peer.reason);
    peer.leaving = false;
  }
  for (HostPort node : m.secondaries) {
    if (node == options_.self || find_peer(node) != nullptr) continue;
    Peer& peer = peers_.emplace_back();  // not by our asking: nothing is known of it
    peer.node = node;
    peer.next = std::max(last_committed_ + 1, list_.first());
  }
  sweep_learners(out);
  set_role(Role::kPrimary, true, out);
}

void ReplicaCore::leave_reign(bool abandon, const std::string& why, Actions& out) {
  if (abandon && last_committed_ < list_.last()) out.push_back(Abandon{last_committed_ + 1});
  for (const auto& peer : peers_) {
    if (peer.learner) out.push_back(LearnerDropped{peer.node, peer.leaving ? peer.reason : why});
  }
  peers_.clear();
  outdated_ = false;
  stepped_down_at_.reset();
}

void ReplicaCore::set_role(Role role, bool continues, Actions& out) {
  if (role_ == Role::kLearner && role != Role::kLearner) signature_ = 0;
  role_ = role;
  out.push_back(RoleChanged{role, ballot_, continues});
}

// --- what the meta server is asked

// S14: one change at a time, the most pressing first. Called whenever something may have become
// wanted.
void ReplicaCore::pursue_changes(Actions& out) {
  if (ask_ || now_ < ask_not_before_) return;
  if (role_ != Role::kPrimary) {
    bool unable = role_ == Role::kError || (role_ == Role::kInactive && (outside_ || !trusted_));
    if (unable && names_self(membership_)) ask(ChangeKind::kDowngradeSelf, options_.self, out);
    return;
  }
  if (!ballot_durable()) return;
  if (outdated_) return ask(ChangeKind::kNextBallot, options_.self, out);
  if (stepped_down_at_) {
    // The ballot is not to move beneath a hand-over that goes on.
    if (now_ - *stepped_down_at_ >= options_.hand_over_timeout)
      ask(ChangeKind::kNextBallot, options_.self, out);
    return;
  }
  for (auto& peer : peers_) {
    if (peer.doom != Doom::kNone) return ask(ChangeKind::kRemove, peer.node, out);
  }
  pursue_learners(out);
}

bool ReplicaCore::pursue_learners(Actions& out) {
  // What was inherited counts as committed here: the primary before may have told clients so, even
  // after its reign.
  Decree needed = std::max(last_committed_, reign_prepared_);
  for (auto& peer : peers_) {
    if (!peer.learner) continue;
    if (peer.asked && peer.leaving) {
      // It may be a secondary already, or become one by a request still under way: a higher ballot
      // decides it.
      ask(ChangeKind::kNextBallot, options_.self, out);
      return true;
    }
    if (peer.asked || (!peer.leaving && peer.gating && peer.acked >= needed)) {
      peer.asked = true;
      ask(ChangeKind::kAddSecondary, peer.node, out);
      return true;
    }
  }
  return false;
}

void ReplicaCore::ask(ChangeKind kind, HostPort node, Actions& out) {
  MARKAB_ASSERT(!ask_, "two changes of one membership are asked for at a time (04 S14)", node);
  Membership wanted = membership_;
  wanted.ballot = membership_.ballot + 1;
  switch (kind) {
    case ChangeKind::kAddSecondary:
      wanted.secondaries.push_back(node);
      break;
    case ChangeKind::kRemove:
    case ChangeKind::kDowngradeSelf:
      if (wanted.primary == node) wanted.primary = {};
      std::erase(wanted.secondaries, node);
      break;
    case ChangeKind::kNextBallot:
      break;
  }
  ask_ = Ask{kind, node, membership_.ballot};
  out.push_back(AskMeta{kind, node, std::move(wanted)});
}

void ReplicaCore::on_meta_answer(Errc error, const Membership& current, Instant now, Actions& out) {
  touch(now);
  if (!ask_) return;
  Ask asked = *ask_;
  ask_.reset();
  bool told = error == Errc::kOk || error == Errc::kInvalidVersion;
  bool news = told && current.ballot > membership_.ballot;
  if (!news && asked.ballot == membership_.ballot) {
    ask_not_before_ = now_ + options_.meta_retry;
    if (asked.kind == ChangeKind::kAddSecondary && role_ == Role::kPrimary)
      end_upgrade(asked.node, error, out);
  }
  if (told) {
    on_membership(current, now, out);
  } else {
    pursue_changes(out);
  }
}

// The upgrade of a learner was not stored, or nobody knows.
void ReplicaCore::end_upgrade(HostPort node, Errc error, Actions& out) {
  Peer* peer = find_peer(node);
  if (peer == nullptr || !peer->learner) return;
  if (is_unsure(error)) peer->unsure = true;
  if (peer->unsure) return;  // stays asked: it gates until a ballot decides
  peer->asked = false;
  sweep_learners(out);
}

}  // namespace markab::pacifica
