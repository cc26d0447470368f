// Start, the log's side, and what every role needs. Roles: membership.cc; primary: primary.cc,
// streaming.cc; others: follower.cc.

#include "pacifica/replica_core.h"

#include <algorithm>

namespace markab::pacifica {

ReplicaCore::ReplicaCore(CoreOptions options) : options_(std::move(options)) {
  MARKAB_ASSERT(options_.self, "a replica without a name");
  MARKAB_ASSERT(options_.max_uncommitted > 0 && options_.max_messages_in_flight > 0,
                "a window without room");
}

void ReplicaCore::recovered(Ballot ballot, Ballot member, Decree committed,
                            std::vector<Mutation> suffix, bool trusted) {
  MARKAB_ASSERT(ballot_ == 0 && appended_ == 0 && role_ == Role::kInactive,
                "recovered() comes first");
  MARKAB_ASSERT(member <= ballot, "a member at a ballot that is not adopted", member, ballot);
  ballot_ = recovered_ballot_ = ballot;
  member_ballot_ = member;
  trusted_ = trusted;
  last_committed_ = known_committed_ = verified_ = committed;
  list_.reset(committed);
  for (auto& mutation : suffix) {
    MARKAB_ASSERT(mutation.ballot <= ballot, "a mutation is above the log's ballot",
                  mutation.decree, mutation.ballot);
    list_.push_back(std::move(mutation), 0);
  }
  durable_end_ = list_.last();
}

// S1: the ballot of the log only rises. `role` is what this replica is under that ballot.
void ReplicaCore::append_reign(Ballot ballot, Decree keep_up_to, Role role, Actions& out) {
  MARKAB_ASSERT(ballot >= ballot_, "a ballot falls (04 S1)", ballot, ballot_);
  MARKAB_ASSERT(keep_up_to >= last_committed_, "a committed decree would be voided (04 S4)",
                keep_up_to, last_committed_);
  list_.truncate_after(keep_up_to);
  durable_end_ = std::min(durable_end_, keep_up_to);
  verified_ = std::min(verified_, keep_up_to);
  ballot_ = ballot;
  if (role == Role::kPrimary || role == Role::kSecondary) member_ballot_ = ballot;
  ballot_record_ = ++appended_;
  out.push_back(AppendReign{ballot, keep_up_to, member_ballot_});
}

void ReplicaCore::append_mutation(Mutation mutation, Actions& out) {
  MARKAB_ASSERT(mutation.ballot <= ballot_, "a mutation is above the adopted ballot (04 S1)",
                mutation.ballot, ballot_);
  MARKAB_ASSERT(mutation.decree > last_committed_, "a committed decree is prepared again",
                mutation.decree);
  ++appended_;
  out.push_back(AppendMutation{mutation, last_committed_});
  if (mutation.decree > list_.last()) {
    list_.push_back(std::move(mutation), appended_);
    return;
  }
  MARKAB_ASSERT(mutation.ballot > list_.at(mutation.decree).mutation.ballot,
                "a decree gets another content at the same ballot (04 S2)", mutation.decree,
                mutation.ballot);
  durable_end_ = std::min(durable_end_, mutation.decree - 1);
  list_.replace(std::move(mutation), appended_);
}

void ReplicaCore::on_durable(uint64_t records, Instant now, Actions& out) {
  touch(now);
  MARKAB_ASSERT(records <= appended_, "durable before it was appended", records, appended_);
  if (records <= durable_records_) return;
  bool ballot_was_durable = ballot_durable();
  durable_records_ = records;
  advance_durable();
  if (role_ == Role::kPrimary) {
    advance_commit(out);
    if (!ballot_was_durable) flush(now, out);
    pursue_changes(out);
  } else {
    advance_follower(out);
  }
}

void ReplicaCore::advance_durable() {
  while (durable_end_ < list_.last() && list_.at(durable_end_ + 1).record <= durable_records_)
    ++durable_end_;
}

// The only place where last_committed_ grows, but for learned().
void ReplicaCore::commit_up_to(Decree target, Actions& out) {
  MARKAB_ASSERT(target <= durable_end_ && target <= verified_,
                "a commit of what is not prepared (04 S3)", target, durable_end_, verified_);
  while (last_committed_ < target) {
    const auto& mutation =
        list_.at(++last_committed_).mutation;  // S4: in decree order, without gaps
    committed_bytes_ += MutationList::size_of(mutation);
    out.push_back(Commit{mutation});
  }
  known_committed_ = std::max(known_committed_, last_committed_);
  trim_cache();
}

void ReplicaCore::bound_cache(size_t bytes) {
  cache_bound_ = bytes;
  trim_cache();
}

void ReplicaCore::trim_cache() {
  while (list_.first() <= last_committed_ &&
         (static_cast<size_t>(last_committed_ - list_.first() + 1) > options_.cache_mutations ||
          committed_bytes_ > cache_bound_)) {
    committed_bytes_ -= MutationList::size_of(list_.at(list_.first()).mutation);
    list_.pop_front();
  }
}

void ReplicaCore::on_tick(Instant now, Actions& out) {
  touch(now);
  if (role_ == Role::kPrimary) {
    for (auto& peer : peers_) check_peer(peer);
    sweep_learners(out);
    advance_commit(out);  // who no longer gates is no longer waited for
    flush(now, out);
  }
  pursue_changes(out);
}

// What needs no tick: a follower, and a primary whose peers know all that it knows.
bool ReplicaCore::idle() const {
  if (ask_not_before_ > now_ || stepped_down_at_ || outdated_) return false;
  if (role_ != Role::kPrimary) return true;
  if (last_committed_ < list_.last()) return false;
  return std::all_of(peers_.begin(), peers_.end(), [&](const Peer& p) {
    return !p.learner && p.doom == Doom::kNone && !p.greet && p.live_flights == 0 &&
           p.unwell_since == kNever && p.next > list_.last() && p.committed >= last_committed_;
  });
}

void ReplicaCore::fail(Actions& out) {
  if (role_ == Role::kError) return;
  refuse_pending(Errc::kInvalidState, out);
  if (role_ == Role::kPrimary) leave_reign(true, "the primary failed", out);
  set_role(Role::kError, false, out);
  pursue_changes(out);
}

std::vector<ReplicaCore::PeerState> ReplicaCore::peers() const {
  std::vector<PeerState> states;
  for (const auto& p : peers_)
    states.push_back({p.node, p.learner, p.gating, p.acked, p.committed});
  return states;
}

}  // namespace markab::pacifica
