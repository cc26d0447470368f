#pragma once
// The replication state machine of one replica: PacificA (Lin, Yang, Zhang, Zhou, MSR-TR-2008-25) with the rules of spec
// 04 §1. Pure: events and the time go in, actions come out; no I/O, no lock, no clock, no thread. The driver
// (replica/replica.h) turns actions into log appends, messages and store writes, in the order given.
//
// Owned by one replica, used on its shard. Invariants S1 to S18 of spec 04 §1.3 are assertions in the .cc, each named
// by its number.

#include <deque>
#include <map>
#include <optional>
#include <variant>
#include <vector>

#include "base/ids.h"
#include "pacifica/messages.h"

namespace markab::pacifica {

enum class Role { kInactive, kLearner, kSecondary, kPrimary, kError };

struct CoreOptions {
  HostPort self;
  size_t max_uncommitted = 256;              // mutations in flight at the primary; then can_propose() is kBusy
  size_t max_uncommitted_bytes = 32u << 20;
  size_t max_message_bytes = 1u << 20;       // of payload in one Prepare, at least one mutation
  size_t max_messages_in_flight = 16;        // Prepares without answer per peer
  size_t cache_mutations = 4096;             // committed ones kept for laggards and learners
  size_t cache_bytes = 16u << 20;
  Duration resend_after = std::chrono::milliseconds(200);   // no progress of a peer: go back to its last answer
  Duration prepare_timeout = std::chrono::seconds(3);       // no answer of a secondary: ask to remove it; learner: drop
  Duration commit_point_after = std::chrono::milliseconds(50);  // tell an idle peer the commit point (04 §1.8: <= 1 s)
  Duration meta_retry = std::chrono::seconds(1);
  int32_t min_replica_count = 0;             // [replication] mutation_2pc_min_replica_count; 0: the rule of 04 §1.4
};

// What the driver must do, in this order.
struct AppendReign { Ballot ballot; Decree keep_up_to; };            // log: ballot adopted, decrees above are void
struct AppendMutation { Mutation mutation; Decree committed; };      // log
struct SendPrepare { HostPort to; Prepare prepare; uint64_t token; };  // answer or failure comes back with the token
struct SendAck { uint64_t token; PrepareAck ack; };                  // answers the on_prepare() of that token
struct Commit { Mutation mutation; };                                // apply to the store; in decree order, no gaps
struct Abandon { Decree from; };  // own proposals at `from` and above lost their primary: their clients get no answer
enum class ChangeKind { kAddSecondary, kRemove, kDowngradeSelf };
struct AskMeta { ChangeKind kind; HostPort node; Membership wanted; };   // wanted.ballot = ballot + 1
struct RoleChanged { Role role; Ballot ballot; };
struct LearnerDropped { HostPort node; std::string reason; };
struct RelearnNeeded { std::string reason; };  // the state has a hole (04 §1.5): leave the group, learn anew
using Action = std::variant<AppendReign, AppendMutation, SendPrepare, SendAck, Commit, Abandon, AskMeta, RoleChanged,
                            LearnerDropped, RelearnNeeded>;
using Actions = std::vector<Action>;

class ReplicaCore {
 public:
  explicit ReplicaCore(CoreOptions options);

  // --- start -------------------------------------------------------------------------------------------------------
  // After replay: the highest ballot in the log, the decree that the store holds, the commit point known, and the
  // mutations above `committed`, contiguous, newest content each. The role is kInactive. `trusted`: the log is known to
  // hold all that was acknowledged (false after an unclean reboot with log_sync below always, or damage: then only
  // learning leads back into the group, 04 §2.2).
  void recovered(Ballot ballot, Decree committed, std::vector<Mutation> suffix, bool trusted);

  // --- the meta server's word --------------------------------------------------------------------------------------
  // A membership from config sync, a proposal, or the answer to a change. Lower ballots are ignored. Makes this replica
  // primary, secondary or inactive as it says and as 04 §1.2 allows; what is not allowed (a learner or an untrusted
  // replica named primary) asks the meta to remove this replica (AskMeta kDowngradeSelf).
  void on_membership(const Membership& membership, Instant now, Actions& out);
  // The end of the one outstanding AskMeta: kOk or kInvalidVersion with the current membership; else it is asked again
  // after meta_retry for as long as it is still wanted.
  void on_meta_answer(Errc error, const Membership& current, Instant now, Actions& out);
  bool asking_meta() const;

  // --- primary -----------------------------------------------------------------------------------------------------
  // kOk; kInvalidState (not primary), kNotEnoughMember, kBusy (window full).
  Errc can_propose() const;
  // Takes the next decree. Precondition: can_propose() == kOk. Messages leave with the next flush().
  Decree propose(Payload payload, int64_t timestamp_us, Instant now, Actions& out);
  Decree next_decree() const;
  // Sends what is unsent to every peer, gathered. Call it once per turn of the shard after proposals and answers.
  void flush(Instant now, Actions& out);
  void on_prepare_ack(HostPort from, uint64_t token, const PrepareAck& ack, Instant now, Actions& out);
  // The Prepare with that token has no answer: `certain` when the peer's process surely does not run (connection
  // refused): a secondary is then asked to be removed at once, else after prepare_timeout.
  void on_prepare_failed(HostPort to, uint64_t token, bool certain, Instant now, Actions& out);
  // A member that the meta server declared dead: remove it without waiting.
  void on_node_dead(HostPort node, Instant now, Actions& out);
  // Takes the peer `node`, whose store and log stand at `position` (committed there), as a learner and streams to it
  // from position + 1. kObjectNotFound when that is below first_cached(): the driver ships log or checkpoint first.
  // A learner that has caught up gates commits, and is then asked to become a secondary (04 §1.14, row 5).
  Errc add_learner(HostPort node, uint64_t signature, Decree position, Instant now, Actions& out);
  void drop_learner(HostPort node, Actions& out);
  // Asks the meta to remove a secondary (operator, balancer).
  void remove_secondary(HostPort node, Instant now, Actions& out);
  Decree first_cached() const;  // the lowest decree that can be streamed from memory
  // True when reads may be served as far as this core knows: primary, and everything inherited is committed (S8). The
  // driver adds: applied, and the lease holds.
  bool reads_allowed() const;
  // Gives up the primary role at the same ballot (planned hand-over): nothing is proposed any more, reads are refused,
  // what is in flight still commits. Undone by the next membership.
  void step_down(Actions& out);

  // --- secondary and learner ---------------------------------------------------------------------------------------
  void on_prepare(HostPort from, uint64_t token, const Prepare& prepare, Instant now, Actions& out);
  // Becomes a learner under that ballot and signature: what is prepared above the commit point is void.
  // kVersionOutdated for a lower ballot; kInvalidState for a member.
  Errc start_learning(const Membership& membership, uint64_t signature, Actions& out);
  // The driver installed state (checkpoint, or log that it appended and applied itself) up to `decree`.
  void learned(Decree decree);

  // --- any role ----------------------------------------------------------------------------------------------------
  // The own log is durable up to `decree` (wal::Log::OnDurable).
  void on_durable(Decree decree, Instant now, Actions& out);
  void on_tick(Instant now, Actions& out);  // every 10 to 50 ms while not idle()
  bool idle() const;                        // nothing that needs ticks
  // Out of service: kError for good.
  void fail(Actions& out);

  Role role() const;
  Ballot ballot() const;
  const Membership& membership() const;
  Decree last_committed() const;
  Decree last_prepared() const;
  struct PeerState { HostPort node; bool learner; bool gating; Decree acked; Decree committed; };
  std::vector<PeerState> peers() const;  // of a primary
};

}  // namespace markab::pacifica
