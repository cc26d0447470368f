#pragma once
// What the meta server knows: tables, partitions, nodes. Plain values without I/O; the numbers of
// the enums are those of the wire (spec 03 §1.1), so that a cast is the whole conversion.
//
// Owned by MetaCore; everything here is used on the meta's shard.

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/status.h"

namespace markab::meta {

enum class TableStatus : int32_t {
  kInvalid = 0,
  kAvailable = 1,
  kCreating = 2,
  kDropping = 4,
  kDropped = 6,
  kRecalling = 7,
};

// How a membership changes (the wire's config_type).
enum class ChangeType : int32_t {
  kInvalid = 0,
  kAssignPrimary = 1,
  kUpgradeToPrimary = 2,
  kAddSecondary = 3,
  kUpgradeToSecondary = 4,
  kDowngradeToSecondary = 5,
  kDowngradeToInactive = 6,
  kRemove = 7,
  kAddSecondaryForBalance = 8,
  kForceUpdateBallot = 9,
  kDropPartition = 10,
  kRegisterChild = 11,
};
std::string_view change_name(ChangeType type);

// How a replica sees itself (the wire's partition_status).
enum class ReplicaStatus : int32_t {
  kInvalid = 0,
  kInactive = 1,
  kError = 2,
  kPrimary = 3,
  kSecondary = 4,
  kLearner = 5,
  kSplitting = 6,
};

enum class CompactionStatus : int32_t { kIdle = 0, kQueuing = 1, kRunning = 2, kFinished = 3 };

// The function level (spec 03 §9); "effective" is the configured one, lowered when too few nodes
// live.
enum class Level : int32_t {
  kStopped = 100,
  kBlind = 200,
  kFreezed = 300,
  kSteady = 400,
  kLively = 500
};
std::string_view level_name(Level level);  // "steady"
std::optional<Level> parse_level(std::string_view name);

// The health classes of 03 §5.3.
enum class Health { kDead, kUnreadable, kUnwritable, kWritableIll, kHealthy };
inline constexpr int kHealthClasses = 5;

// A table as it is stored and as the wire describes it (app_info).
struct TableInfo {
  TableStatus status = TableStatus::kInvalid;
  std::string type = "pegasus";
  std::string name;
  int32_t id = 0;
  int32_t partition_count = 0;
  std::map<std::string, std::string> envs;
  bool stateful = true;
  int32_t max_replica_count = 0;
  int64_t expire_second = 0;
  int64_t create_second = 0;
  int64_t drop_second = 0;
  bool duplicating = false;
  int32_t init_partition_count = -1;
  bool bulk_loading = false;
  bool atomic_idempotent = false;
  friend bool operator==(const TableInfo&, const TableInfo&) = default;
};

inline constexpr int32_t kDroppedFlag = 1;
inline constexpr size_t kMaxLastDrops = 3;

// A partition's membership as it is stored (partition_configuration).
struct PartitionConfig {
  Gpid pid;
  Ballot ballot = 0;  // 0: never assigned; -1: child of a split that is not registered yet
  int32_t max_replica_count = 0;
  HostPort primary;
  std::vector<HostPort> secondaries;
  std::vector<HostPort> last_drops;  // oldest first, never a member
  Decree last_committed = 0;         // as of the last change
  int32_t flags = 0;

  bool is_secondary(HostPort node) const;
  bool is_member(HostPort node) const { return node && (node == primary || is_secondary(node)); }
  std::vector<HostPort> members() const;  // primary first, when there is one
  size_t member_count() const { return secondaries.size() + (primary ? 1 : 0); }
  bool dropped() const { return (flags & kDroppedFlag) != 0; }
  friend bool operator==(const PartitionConfig&, const PartitionConfig&) = default;
};

// The same membership, whatever the order of secondaries and the last drops (spec 03 §10.1, a
// retry).
bool same_membership(const PartitionConfig& a, const PartitionConfig& b);
// `from` after one change, at ballot + 1 and with last_drops kept (03 §5.2). kInvalidParameters
// when the change makes no sense there, with the reason.
Result<PartitionConfig> changed(const PartitionConfig& from, ChangeType type, HostPort node);
// Checks what must hold of any stored membership; the sentence says what does not.
Status check_config(const PartitionConfig& config);

// Members that must be alive for writes (03 §5.3): `configured`, capped at the table's count, or by
// the table when <= 0.
int32_t write_quorum(int32_t configured, int32_t max_replica_count);

// What a node said about one replica in its config sync.
struct ReplicaReport {
  Gpid pid;
  Ballot ballot = -1;
  ReplicaStatus status = ReplicaStatus::kInvalid;
  Decree committed = -1;
  Decree prepared = -1;
  Decree durable = -1;
  std::string disk_tag;
  CompactionStatus compaction = CompactionStatus::kIdle;

  // It lies on a disk of the node that is full or fails; what it has is not known.
  bool shut() const { return status == ReplicaStatus::kError && ballot < 0; }
};

// A node that was a member, or that holds a replica without being one (03 §5.2).
struct DroppedReplica {
  HostPort node;
  int64_t drop_time_ms = 0;  // 0: learned only from a report
  // A report of the node arrived since it was dropped; without a replica in it, ballot stays -1.
  bool collected = false;
  Ballot ballot = -1;
  Decree committed = -1;
  Decree prepared = -1;
  bool doubtful = false;  // its log may lack what it acknowledged (04 §2.2)
  bool shut = false;      // there is one, on a disk that is full or fails; what it has is not known
};

// One step that an operator or the balancer asked for (PROPOSE_BALANCER).
struct PlannedAction {
  HostPort target;
  HostPort node;
  ChangeType type = ChangeType::kInvalid;
};

// Who hears by proposal of a change that became durable.
enum class Tell {
  kNobody,    // a replica asked for it and gets the answer
  kMembers,   // the new membership
  kCreate,    // the new members, to create their empty replicas
  kDeparted,  // the members that were
};

struct Partition {
  PartitionConfig config;

  // The one change that is being stored; `config` becomes it when it is durable.
  struct Pending {
    PartitionConfig next;
    ChangeType type = ChangeType::kInvalid;
    HostPort node;
    std::string reason;
    Tell tell = Tell::kNobody;
    uint64_t token = 0;  // the update request that asked for it; 0: none
  };
  std::optional<Pending> pending;
  std::vector<std::function<void()>> after;  // run when `pending` is done, before anything else

  // What the primary was asked to do and did not finish: add or remove a secondary.
  struct Cure {
    ChangeType type = ChangeType::kInvalid;
    HostPort node;
    bool seen_learning = false;
  };
  std::optional<Cure> cure;
  // A hand-over of the primary role that waits for the old primary to step down.
  struct Move {
    HostPort from;
    HostPort to;  // none: whoever is best
    Instant asked;
    bool answered = false;
  };
  std::optional<Move> move;
  std::deque<PlannedAction> plan;

  std::vector<DroppedReplica> dropped;  // ascending by (time, ballot, committed, prepared)
  int preferred_dropped = -1;  // where the walk over `dropped` goes on; -1: at the greatest
  std::map<HostPort, ReplicaReport> serving;  // the members' last reports
  std::set<HostPort>
      creating;  // members that were told to create their empty replica and did not confirm
  // Members that were heard to have their replica since this leader knows this membership.
  std::set<HostPort> created;
  Instant changed;      // when this leader last changed the membership
  Instant regranted;    // when its primary last got a new ballot for having restarted
  std::string trouble;  // why no primary can be chosen; "" otherwise
  int64_t choose_primary_failures = 0;
};

struct Table {
  TableInfo info;
  std::vector<Partition> partitions;
  // A write of this table's node is under way; requests that would start another one wait here.
  bool writing = false;
  std::deque<std::function<void()>> deferred;
};

// What weighs on a node: what is stored, what is being stored and what it was asked to learn.
struct Load {
  int32_t primaries = 0;
  int32_t replicas = 0;
};

struct Node {
  HostPort address;
  bool alive = false;
  bool heard = false;  // a beacon arrived in this leadership (otherwise it is only presumed alive)
  bool collected = false;  // a config sync arrived since it lives
  Instant reported;        // when the last one did
  bool leaving = false;
  int64_t start_time_ms = 0;  // the incarnation; 0: not told
  Instant last_beacon;
  Instant died;
  Instant leaving_since;
  // The incarnation was reported dead by a witness: its own late beacons do not revive it before
  // this instant.
  Instant no_revival_before;
  // Reported dead before a beacon told this leader which incarnation runs: it may be a later one.
  int64_t suspect_start_ms = 0;
  int unstable_restarts = 0;
  Load total;
  std::map<int32_t, Load> by_table;
};

}  // namespace markab::meta
