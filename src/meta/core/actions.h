#pragma once
// What the core wants from the world, in order, and what it is asked. Plain values.

#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "meta/core/model.h"

namespace markab::meta {

// --- actions ---

// Writes to be made durable together; stores are executed in the order of their ids. Answered by
// on_stored(id).
struct PutTable {
  TableInfo info;  // status is kAvailable or kDropped, never another
};
struct PutPartition {
  PartitionConfig config;
};
using StoreOp = std::variant<PutTable, PutPartition>;
struct Store {
  uint64_t id = 0;
  std::vector<StoreOp> ops;
};

// RPC_CONFIG_PROPOSAL to `target`, with the partition's stored membership. Answered by
// on_proposal_result().
struct Propose {
  Gpid pid;
  HostPort target;
  ChangeType type = ChangeType::kInvalid;
  HostPort node;  // whom it is about
  Ballot ballot = 0;
};

// RPC_MARKAB_STEP_DOWN. Answered by on_step_down_result().
struct AskStepDown {
  Gpid pid;
  HostPort target;
  Ballot ballot = 0;
};

// The answer to an administrative request.
struct AdminReply {
  Errc err = Errc::kOk;
  std::string hint;
  int64_t value = 0;              // the table's id, an old count, a progress, remaining primaries
  std::optional<TableInfo> info;  // of a recall
};
struct Answer {
  uint64_t token = 0;
  AdminReply reply;
};
// The answer to a replica's update request.
struct AnswerUpdate {
  uint64_t token = 0;
  Errc err = Errc::kOk;
  PartitionConfig config;
};

// For log lines and metrics.
struct MembershipChanged {
  PartitionConfig before;
  PartitionConfig after;
  ChangeType type = ChangeType::kInvalid;
  HostPort node;
  std::string reason;
  Health health_before = Health::kDead;
  Health health_after = Health::kDead;
};
struct NodeChanged {
  HostPort node;
  bool alive = false;
  std::string reason;
};
struct Note {
  bool warning = false;
  std::string text;
};

using Action = std::variant<Store, Propose, AskStepDown, Answer, AnswerUpdate, MembershipChanged,
                            NodeChanged, Note>;
using Actions = std::vector<Action>;

// --- requests ---

struct CreateTable {
  std::string name;
  int32_t partition_count = 0;
  int32_t replica_count = 0;
  bool success_if_exist = false;
  std::string type;
  bool stateful = true;
  std::map<std::string, std::string> envs;
  bool atomic_idempotent = false;
};
struct DropTable {
  std::string name;
  bool success_if_not_exist = false;
  int64_t reserve_seconds = 0;  // <= 0: the configured time
};
struct RecallTable {
  int32_t id = 0;
  std::string new_name;  // empty: the old one
};
struct RenameTable {
  std::string old_name;
  std::string new_name;
};
struct SetEnvs {
  std::string name;
  std::vector<std::pair<std::string, std::string>> pairs;
};
struct DeleteEnvs {
  std::string name;
  std::vector<std::string> keys;
};
struct ClearEnvs {
  std::string name;
  std::string prefix;  // empty: all
};
struct SetReplicaCount {
  std::string name;
  int32_t count = 0;
  Instant waits_since = {};  // for the first replicas to be made; 0: not yet
};
struct SetAtomicIdempotent {
  std::string name;
  bool value = false;
};
struct StartManualCompact {
  std::string name;
  int64_t trigger_time = 0;  // 0: now
  int32_t target_level = -1;
  bool bottommost = false;
  int32_t max_running_count = 0;
};
using Request = std::variant<CreateTable, DropTable, RecallTable, RenameTable, SetEnvs, DeleteEnvs,
                             ClearEnvs, SetReplicaCount, SetAtomicIdempotent, StartManualCompact>;

// PROPOSE_BALANCER (03 §4.5).
struct BalanceRequest {
  Gpid pid;
  std::vector<PlannedAction> actions;
  bool force = false;
};

// A replica asks for a change (03 §10.1).
struct UpdateRequest {
  PartitionConfig config;
  ChangeType type = ChangeType::kInvalid;
  HostPort node;
};

// The answer to a config sync (03 §11).
struct SyncReply {
  Errc err = Errc::kOk;
  std::vector<Gpid> partitions;        // those that the node serves
  std::vector<ReplicaReport> garbage;  // closed ones that it may delete
  // Those that it holds and does not serve. It learns their ballots, lest a message of an earlier
  // one that comes late makes it lead again (04 S9).
  std::vector<Gpid> elsewhere;
};

struct DddNode {
  DroppedReplica replica;
  bool alive = false;
};
struct DddPartition {
  PartitionConfig config;
  std::vector<DddNode> dropped;
  std::string reason;
};

// What the store held.
struct LoadedTable {
  TableInfo info;
  std::map<int32_t, PartitionConfig> partitions;
};

}  // namespace markab::meta
