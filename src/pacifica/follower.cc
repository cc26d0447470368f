// Secondary and learner: what a Prepare does to this replica (04 §1.5), and when it is
// acknowledged.
//
// Up to `verified_` the list is known to equal the primary's. Above it may lie what earlier reigns
// prepared: it stays until the primary's content replaces it, for it may have been committed by an
// earlier reign and be needed if this replica leads next; only what lies above the primary's own
// list of that time is void.

#include <algorithm>

#include "base/assert.h"
#include "base/plant.h"
#include "pacifica/replica_core.h"

namespace markab::pacifica {

namespace {

constexpr size_t kMaxPendingAcks = 256;

}  // namespace

bool ReplicaCore::well_formed(HostPort from, const Prepare& p) const {
  if (from == options_.self || p.membership.primary != from) return false;
  if (p.reign <= 0 || p.reign > p.membership.ballot) return false;
  if (p.reign_committed < 0 || p.reign_committed > p.reign_prepared || p.previous < 0) return false;
  Decree decree = p.previous;
  for (const auto& m : p.mutations) {
    if (m.decree != ++decree || m.ballot > p.membership.ballot || m.payload == nullptr)
      return false;
    // Above what was committed when the reign began, everything bears its stamp.
    if (m.decree > p.reign_committed && m.ballot < p.reign) return false;
  }
  return p.committed >= 0;
}

void ReplicaCore::on_prepare(HostPort from, uint64_t token, const Prepare& p, Instant now,
                             Actions& out) {
  touch(now);
  auto answer = [&](Errc error, Ballot ballot, Decree prepared) {
    out.push_back(SendAck{token, {error, ballot, prepared, last_committed_}});
  };
  if (!well_formed(from, p)) return answer(Errc::kInvalidState, ballot_, 0);
  if (p.membership.ballot < ballot_ && !MARKAB_PLANTED(kSkipBallotCheck)) {
    return answer(Errc::kVersionOutdated, ballot_, 0);  // S1
  }
  on_membership(p.membership, now, out);
  if (Errc error = accepts(p); error != Errc::kOk) return answer(error, ballot_, 0);
  if (role_ == Role::kLearner && !streaming_) {
    return answer(Errc::kTryAgain, p.membership.ballot, verified_);
  }
  bool earlier = MARKAB_PLANTED(kSkipBallotCheck) && p.reign < reign_;  // as if of this one
  if (p.reign != reign_ && !earlier && !enter_reign(p, out))
    return answer(Errc::kInvalidState, ballot_, 0);

  known_committed_ = std::max(known_committed_, p.committed);
  Errc taken = take_run(p, out);
  advance_follower(out);
  Decree end = p.previous + static_cast<Decree>(p.mutations.size());
  if (taken == Errc::kOk && pending_.size() >= kMaxPendingAcks) taken = Errc::kTryAgain;
  if (taken != Errc::kOk) {
    answer(taken, p.membership.ballot, verified_);
  } else if (end <= durable_end_ && ballot_durable()) {
    answer(Errc::kOk, p.membership.ballot, std::min(verified_, durable_end_));
  } else {
    pending_.push_back({token, p.membership.ballot, end});
  }
}

// S13: a learner listens to its session only; a secondary to none.
Errc ReplicaCore::accepts(const Prepare& p) const {
  if (membership_.primary != p.membership.primary && !MARKAB_PLANTED(kSkipBallotCheck))
    return Errc::kInvalidState;  // two primaries at one ballot
  if (p.signature != 0) {
    return role_ == Role::kLearner && p.signature == signature_ ? Errc::kOk : Errc::kWrongChecksum;
  }
  return role_ == Role::kSecondary ? Errc::kOk : Errc::kInvalidState;
}

// The first message of a reign. False: this replica cannot follow it.
bool ReplicaCore::enter_reign(const Prepare& p, Actions& out) {
  if (p.reign < reign_) return false;
  refuse_pending(Errc::kVersionOutdated, out);
  if (role_ == Role::kLearner) {
    if (reign_ != 0) return false;  // a new reign knows no learners
    verified_ = list_.last();
    reign_ = p.reign;
    return true;
  }
  // After a restart the reign may be the one that was followed before: then the log goes beyond its
  // beginning.
  bool resumed = reign_ == 0 && p.reign <= recovered_ballot_;
  if (last_committed_ > p.reign_prepared && !resumed) {
    relearn("the new primary lacks what is committed here", out);
    return false;
  }
  if (list_.last() < p.reign_committed) {
    relearn("the log ends before what the primary had committed", out);
    return false;
  }
  reign_ = p.reign;
  Decree keep = list_.last();
  while (keep > std::max(p.reign_prepared, last_committed_) &&
         list_.at(keep).mutation.ballot < reign_)
    --keep;
  if (keep < list_.last()) append_reign(ballot_, keep, role_, out);
  // S3: a member's log holds what earlier reigns committed.
  verified_ = std::max(last_committed_, p.reign_committed);
  extend_verified();
  return true;
}

// S2: what bears this reign's stamp is this primary's content.
void ReplicaCore::extend_verified() {
  while (verified_ < list_.last() && list_.at(verified_ + 1).mutation.ballot >= reign_) ++verified_;
}

Errc ReplicaCore::take_run(const Prepare& p, Actions& out) {
  MARKAB_ASSERT(role_ == (p.signature == 0 ? Role::kSecondary : Role::kLearner) &&
                    (p.signature == 0 || p.signature == signature_),
                "mutations of another session are taken (04 S13)", p.signature, signature_);
  if (p.previous > verified_) return Errc::kTryAgain;
  size_t most = options_.max_uncommitted + options_.cache_mutations;
  size_t most_bytes = options_.max_uncommitted_bytes + options_.cache_bytes;
  for (const auto& m : p.mutations) {
    if (m.decree <= verified_) continue;
    if (m.decree <= list_.last()) {
      Ballot held = list_.at(m.decree).mutation.ballot;
      if (m.ballot < held) return Errc::kInvalidState;  // not from this primary's list
      if (m.ballot > held) append_mutation(m, out);
    } else if (static_cast<size_t>(m.decree - last_committed_) > most ||
               list_.bytes() - committed_bytes_ > most_bytes) {
      return Errc::kTryAgain;  // S10: the log is slower than the stream
    } else {
      append_mutation(m, out);
    }
    verified_ = m.decree;
    extend_verified();
  }
  return Errc::kOk;
}

// Commits what is known to be, verified and durable, and acknowledges what became durable.
void ReplicaCore::advance_follower(Actions& out) {
  if (!ballot_durable() || (role_ != Role::kSecondary && role_ != Role::kLearner)) return;
  Decree ready = std::min(verified_, durable_end_);
  Decree target = std::min(known_committed_, ready);
  if (target > last_committed_) commit_up_to(target, out);
  std::erase_if(pending_, [&](const PendingAck& p) {
    if (p.end > ready) return false;
    out.push_back(SendAck{p.token, {Errc::kOk, p.ballot, ready, last_committed_}});
    return true;
  });
}

void ReplicaCore::refuse_pending(Errc error, Actions& out) {
  for (const auto& p : pending_)
    out.push_back(SendAck{p.token, {error, ballot_, 0, last_committed_}});
  pending_.clear();
}

void ReplicaCore::relearn(std::string reason, Actions& out) {
  trusted_ = false;
  outside_ = true;
  out.push_back(RelearnNeeded{std::move(reason)});
  set_role(Role::kInactive, false, out);
  pursue_changes(out);
}

Errc ReplicaCore::start_learning(const Membership& membership, uint64_t signature, Actions& out) {
  if (role_ == Role::kError || signature == 0 || names_self(membership)) return Errc::kInvalidState;
  if (membership.ballot < ballot_ || membership.ballot == 0) return Errc::kVersionOutdated;  // S1
  if (membership.ballot == ballot_ && (role_ == Role::kPrimary || role_ == Role::kSecondary))
    return Errc::kInvalidState;
  if (role_ == Role::kLearner && membership.ballot == ballot_) {
    if (signature == signature_) return Errc::kOk;
    if (signature < signature_) return Errc::kVersionOutdated;
  }
  refuse_pending(Errc::kInvalidState, out);
  if (role_ == Role::kPrimary) leave_reign(true, "the reign ended", out);
  append_reign(membership.ballot, last_committed_, Role::kLearner, out);
  membership_ = membership;
  outside_ = true;
  reign_ = 0;
  verified_ = last_committed_;
  known_committed_ = last_committed_;
  streaming_ = false;
  set_role(Role::kLearner, false, out);
  signature_ = signature;
  return Errc::kOk;
}

void ReplicaCore::learned(Decree decree) {
  // Its session may have ended meanwhile; what was committed is whole without it.
  MARKAB_ASSERT(role_ == Role::kInactive || (role_ == Role::kLearner && !streaming_),
                "state is installed in a replica that does not learn", decree);
  list_.reset(decree);
  committed_bytes_ = 0;
  last_committed_ = verified_ = known_committed_ = durable_end_ = decree;
}

void ReplicaCore::begin_streaming() {
  if (role_ == Role::kLearner) streaming_ = true;
}

}  // namespace markab::pacifica
