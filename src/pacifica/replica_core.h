#pragma once
// The replication state machine of one replica: PacificA (Lin, Yang, Zhang, Zhou, MSR-TR-2008-25)
// with the rules of spec 04 §1. Pure: events and the time go in, actions come out; no I/O, no lock,
// no clock, no thread. The driver (replica/replica.h) turns actions into log appends, messages and
// store writes, in the order given.
//
// Owned by one replica, used on its shard. Invariants S1 to S18 of spec 04 §1.3 are assertions in
// the .cc files, each named by its number. What a peer or the meta server sends is checked and
// refused, never asserted.

#include <deque>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/ids.h"
#include "pacifica/messages.h"
#include "pacifica/mutation_list.h"
#include "pacifica/peer.h"

namespace markab::pacifica {

// kInactive: out of service; it may return to the group (just recovered), or must learn first (see
// membership.cc).
enum class Role { kInactive, kLearner, kSecondary, kPrimary, kError };

struct CoreOptions {
  HostPort self;
  size_t max_uncommitted = 256;  // mutations in flight at the primary; then can_propose() is kBusy
  size_t max_uncommitted_bytes = 32u << 20;
  size_t max_message_bytes = 1u << 20;  // of payload in one Prepare, at least one mutation
  size_t max_messages_in_flight = 16;   // Prepares without answer per peer
  size_t cache_mutations = 4096;        // committed ones kept for laggards and learners
  size_t cache_bytes = 16u << 20;
  Duration resend_after =
      std::chrono::milliseconds(200);  // no progress of a peer: go back to its last answer
  // No good answer of a secondary: ask to remove it; of a learner: drop it.
  Duration prepare_timeout = std::chrono::seconds(3);
  // Tell an idle peer the commit point (04 §1.8: <= 1 s).
  Duration commit_point_after = std::chrono::milliseconds(50);
  Duration meta_retry = std::chrono::seconds(1);
  // After step_down() and no new membership: ask the meta server for the role back, at a new
  // ballot.
  Duration hand_over_timeout = std::chrono::seconds(10);
  int32_t min_replica_count =
      0;  // [replication] mutation_2pc_min_replica_count; 0: the rule of 04 §1.4
};

// What the driver must do, in this order.

// Log: the ballot is adopted, decrees above keep_up_to are void.
struct AppendReign {
  Ballot ballot;
  Decree keep_up_to;
  Ballot member;  // at which this replica was a member last, this ballot included
};
// Log: a mutation, or a rewrite of its decree under a higher ballot (the decrees above stay valid).
struct AppendMutation {
  Mutation mutation;
  Decree committed;  // the commit point known now; recovered() relies on finding it in the log
};
// The answer or the failure comes back with the token.
struct SendPrepare {
  HostPort to;
  Prepare prepare;
  uint64_t token;
};
// Answers the on_prepare() of that token.
struct SendAck {
  uint64_t token;
  PrepareAck ack;
};
// Apply to the store; in decree order, no gaps (04 S4).
struct Commit {
  Mutation mutation;
};
// Own proposals at `from` and above lost their primary: their clients get no answer.
struct Abandon {
  Decree from;
};
enum class ChangeKind {
  kAddSecondary,
  kRemove,
  kDowngradeSelf,
  // The same membership under the next ballot (config_type 9, PRIMARY_FORCE_UPDATE_BALLOT): voids
  // whatever else was asked at this ballot, takes a step-down back, or brings kInvalidVersion with
  // what is current.
  kNextBallot,
};
// wanted.ballot = ballot + 1: stored only if the meta server's ballot is still `ballot`. Ends with
// on_meta_answer().
struct AskMeta {
  ChangeKind kind;
  HostPort node;
  Membership wanted;
};
struct RoleChanged {
  Role role;
  Ballot ballot;
  // The same role goes on under a new ballot; for a primary also the same reign: proposals in
  // flight, and what the driver knows of them, stay as they are.
  bool continues = false;
};
struct LearnerDropped {
  HostPort node;
  std::string reason;
};
// The state has a hole (04 §1.5): this replica left the group and must learn anew.
struct RelearnNeeded {
  std::string reason;
};
using Action = std::variant<AppendReign, AppendMutation, SendPrepare, SendAck, Commit, Abandon,
                            AskMeta, RoleChanged, LearnerDropped, RelearnNeeded>;
using Actions = std::vector<Action>;

class ReplicaCore {
 public:
  explicit ReplicaCore(CoreOptions options);

  // --- start

  // After replay: the highest ballot in the log, the one at which this replica was a member last
  // (AppendReign), the commit point known (what the store holds, and at least the highest
  // `committed` of any record whose decrees are there), and the mutations above it, contiguous,
  // newest content each. All of it counts as durable. The role is kInactive.
  // `trusted`: the log is known to hold all that was acknowledged (false after an unclean reboot
  // with log_sync below always, or damage: then only learning leads back into the group, 04 §2.2).
  void recovered(Ballot ballot, Ballot member, Decree committed, std::vector<Mutation> suffix,
                 bool trusted);

  // --- the meta server's word

  // A membership from config sync, a proposal, or the answer to a change. Lower ballots are
  // ignored. Makes this replica primary, secondary or inactive as it says and as 04 §1.2 allows;
  // what is not allowed (a learner or an untrusted replica named primary) asks the meta to remove
  // this replica (AskMeta kDowngradeSelf). A recovered replica becomes primary only at a ballot
  // above the one in its log (04 S2).
  void on_membership(const Membership& membership, Instant now, Actions& out);
  // The end of the one outstanding AskMeta: kOk or kInvalidVersion with the current membership;
  // else it is asked again after meta_retry for as long as it is still wanted. Every AskMeta must
  // end here, also when the role has changed.
  void on_meta_answer(Errc error, const Membership& current, Instant now, Actions& out);
  // An AskMeta has not ended yet.
  bool asking_meta() const { return ask_.has_value(); }

  // --- primary

  // kOk; kInvalidState (not primary, stepped down, or a peer knows a higher ballot),
  // kNotEnoughMember, kBusy (window full).
  Errc can_propose() const;
  // Takes the next decree. Precondition: can_propose() == kOk. Messages leave with flush().
  Decree propose(Payload payload, int64_t timestamp_us, Instant now, Actions& out);
  Decree next_decree() const { return list_.last() + 1; }
  // Sends what is unsent to every peer, gathered. Call it once per turn of the shard after
  // proposals and answers. Under a new ballot nothing is sent before that ballot is durable here
  // (04 S1, S2).
  void flush(Instant now, Actions& out);
  void on_prepare_ack(HostPort from, uint64_t token, const PrepareAck& ack, Instant now,
                      Actions& out);
  // The Prepare with that token has no answer: `certain` when the peer's process surely does not
  // run (connection refused): a secondary is then asked to be removed at once, else after
  // prepare_timeout.
  void on_prepare_failed(HostPort to, uint64_t token, bool certain, Instant now, Actions& out);
  // A member that the meta server declared dead: remove it without waiting.
  void on_node_dead(HostPort node, Instant now, Actions& out);
  // Takes the peer `node`, whose store and log stand at `position` (committed there), as a learner
  // and streams to it from position + 1. A learner that has caught up gates commits, and is then
  // asked to become a secondary (04 §1.14, row 5). Signatures are not used twice, also not by
  // another process: see start_learning(). kObjectNotFound when position + 1 is below
  // first_cached(): the driver ships log or checkpoint first. kInvalidState (not primary; `node` is
  // a member), kInconsistentState (position above the own commit point), kBusy (its upgrade is
  // being stored, or too many learners).
  Errc add_learner(HostPort node, uint64_t signature, Decree position, Instant now, Actions& out);
  // A learner whose upgrade is being stored goes when the meta server has answered.
  void drop_learner(HostPort node, Actions& out);
  // Asks the meta to remove a secondary (operator, balancer).
  void remove_secondary(HostPort node, Instant now, Actions& out);
  // The lowest decree that can be streamed from memory.
  Decree first_cached() const { return list_.first(); }
  // What committed mutations kept for laggards and learners take, and another bound for it than
  // cache_bytes: what is above goes at once.
  size_t cached_bytes() const { return committed_bytes_; }
  void bound_cache(size_t bytes);
  // Tells every peer the membership and the commit point, also when nothing is new (04 §1.8): a
  // restarted one may have forgotten. Every group_check_interval_ms, not oftener than once a
  // second.
  void check_group(Instant now, Actions& out);
  // True when reads may be served as far as this core knows: primary, and everything inherited is
  // committed (S8). The driver adds: applied, and the lease holds.
  bool reads_allowed() const;
  // The last decree that was prepared when this reign began; reads wait until it is applied (S8).
  Decree inherited() const { return reign_prepared_; }
  // Gives up the primary role at the same ballot (planned hand-over): nothing is proposed any more,
  // reads are refused, what is in flight still commits. Undone only by a membership with a higher
  // ballot, since one with the same ballot may be older than the hand-over (04 S9). Without one for
  // hand_over_timeout: AskMeta kNextBallot.
  void step_down(Actions& out);

  // --- secondary and learner

  void on_prepare(HostPort from, uint64_t token, const Prepare& prepare, Instant now, Actions& out);
  // Becomes a learner under that ballot and signature: what is prepared above the commit point is
  // void. Repeating the current signature changes nothing. kVersionOutdated for a lower ballot or
  // signature; kInvalidState for a member. Caution: an invitation whose signature an earlier
  // process of this replica took up must not reach it again, or acknowledged mutations are voided.
  Errc start_learning(const Membership& membership, uint64_t signature, Actions& out);
  // The driver installed state (checkpoint, or log that it appended and applied itself) up to
  // `decree`, durable. Such appends do not count in on_durable(). Precondition: a learner before
  // begin_streaming(), or one that lost its session meanwhile and is inactive.
  void learned(Decree decree);
  // The primary streams from here on; nothing is installed any more. Until then prepares are
  // answered kTryAgain, so that a late one of another round cannot interfere with an installation.
  void begin_streaming();

  // --- any role

  // The first `records` of the AppendReign and AppendMutation actions of this core are durable. (A
  // decree would not tell: the same decree is logged again under a higher ballot.)
  void on_durable(uint64_t records, Instant now, Actions& out);
  void on_tick(Instant now, Actions& out);  // every 10 to 50 ms while not idle()
  bool idle() const;                        // nothing that needs ticks
  // Out of service for good.
  void fail(Actions& out);

  // Whether the log is known to hold all that this replica ever acknowledged.
  bool trusted() const { return trusted_; }
  // What the meta server is to judge this replica by: the ballot at which it was a member last, in
  // this life or an earlier one. Of those that it merely heard of since, as a learner, a removed
  // member or one with a doubtful log, it may lack what their members committed.
  Ballot member_ballot() const { return member_ballot_; }
  // The meta server chose this replica to lead, knowing that its log is doubtful: nobody has more
  // (04 §2.2, last sentence). Before the membership that says so.
  void trust() {
    if (role_ == Role::kInactive) trusted_ = true;
  }

  Role role() const { return role_; }
  Ballot ballot() const { return ballot_; }
  // Whether a crash would leave it. Before, a primary invites no learner: who learns voids what it
  // prepared as a member, and then this log alone must tell that it has more (03 §10.3).
  bool ballot_durable() const { return ballot_record_ <= durable_records_; }
  const Membership& membership() const { return membership_; }
  Decree last_committed() const { return last_committed_; }
  Decree last_prepared() const { return list_.last(); }
  struct PeerState {
    HostPort node;
    bool learner;
    bool gating;
    Decree acked;
    Decree committed;
  };
  std::vector<PeerState> peers() const;  // of a primary

 private:
  struct Ask {
    ChangeKind kind;
    HostPort node;
    Ballot ballot;  // under which it was asked
  };
  struct PendingAck {
    uint64_t token;
    Ballot ballot;
    Decree end;
  };

  // membership.cc
  void adopt(const Membership& m, Actions& out);
  void settle(const Membership& m, Actions& out);
  Role role_under(const Membership& m) const;
  void begin_reign(const Membership& m, Actions& out);
  void continue_reign(const Membership& m, Actions& out);
  void leave_reign(bool abandon, const std::string& why, Actions& out);
  void set_role(Role role, bool continues, Actions& out);
  bool names_self(const Membership& m) const;
  void pursue_changes(Actions& out);
  bool pursue_learners(Actions& out);
  void ask(ChangeKind kind, HostPort node, Actions& out);
  void end_upgrade(HostPort node, Errc error, Actions& out);

  // replica_core.cc
  void append_reign(Ballot ballot, Decree keep_up_to, Role role, Actions& out);
  void append_mutation(Mutation mutation, Actions& out);
  void commit_up_to(Decree target, Actions& out);
  void trim_cache();
  void advance_durable();
  void touch(Instant now) { now_ = std::max(now_, now); }

  // primary.cc
  void advance_commit(Actions& out);
  void consider_gating(Peer& peer);
  void doom(Peer& peer, Doom doom, std::string reason);
  void give_up(Peer& peer, Doom doom, std::string reason);
  void sweep_learners(Actions& out);
  void check_peer(Peer& peer);
  Peer* find_peer(HostPort node);
  int32_t required_members() const;

  // streaming.cc
  void send_to(Peer& peer, Actions& out);
  void send_run(Peer& peer, Actions& out);
  void rewind(Peer& peer, Decree next);
  std::optional<Flight> land(Peer& peer, uint64_t token);
  void on_good_answer(Peer& peer, const Flight& flight, const PrepareAck& ack, Actions& out);
  void on_gap(Peer& peer, const Flight& flight, const PrepareAck& ack);
  void on_refusal(Peer& peer, const Flight& flight, const PrepareAck& ack);

  // follower.cc
  bool well_formed(HostPort from, const Prepare& p) const;
  Errc accepts(const Prepare& p) const;
  bool enter_reign(const Prepare& p, Actions& out);
  Errc take_run(const Prepare& p, Actions& out);
  void extend_verified();
  void advance_follower(Actions& out);
  void refuse_pending(Errc error, Actions& out);
  void relearn(std::string reason, Actions& out);

  const CoreOptions options_;
  Instant now_;  // the latest that any event told

  Role role_ = Role::kInactive;
  Ballot ballot_ = 0;            // the highest adopted; appended to the log
  Ballot recovered_ballot_ = 0;  // what the log held at the start
  Ballot member_ballot_ = 0;     // at which it was a member last; appended to the log
  Membership membership_;  // of ballot_, or of none (ballot 0) when only the log told the ballot
  bool trusted_ = true;    // the log holds all that this replica ever acknowledged
  // A membership excluded this replica: it may return by learning, or by being named primary.
  bool outside_ = false;

  MutationList list_;
  size_t committed_bytes_ = 0;  // of list_
  size_t cache_bound_ = options_.cache_bytes;
  Decree last_committed_ = 0;

  uint64_t appended_ = 0;         // AppendReign and AppendMutation actions given out
  uint64_t durable_records_ = 0;  // how many of them are durable
  uint64_t ballot_record_ = 0;    // the one that logged ballot_
  Decree durable_end_ = 0;        // the list is durable up to here, in its present content

  // The reign that this replica leads or follows.
  Ballot reign_ = 0;  // 0: none since recovery or start of learning
  Decree reign_prepared_ = 0;
  Decree reign_committed_ = 0;

  // primary
  std::vector<Peer> peers_;
  uint64_t next_token_ = 1;
  bool outdated_ = false;  // a peer knows a higher ballot
  std::optional<Instant> stepped_down_at_;
  std::optional<Ask> ask_;
  Instant ask_not_before_;

  // secondary and learner
  Decree verified_ = 0;         // up to here the list equals the primary's
  Decree known_committed_ = 0;  // as primaries told; what is not verified and durable waits
  std::deque<PendingAck> pending_;
  uint64_t signature_ = 0;  // of the learner's session
  bool streaming_ = false;  // the learner's state is whole: prepares continue it (04 S12)
};

}  // namespace markab::pacifica
