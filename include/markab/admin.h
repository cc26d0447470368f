#pragma once
// The administration of a cluster: tables, partitions, nodes. `client->admin()` lives as long as
// its client.
//
// All calls block and may be made from any thread that is not one of the client. Those that only
// ask are repeated until an answer or the deadline; those that change something are sent to one
// meta server after the other as long as the former ones surely did nothing, and end with
// kUnknownOutcome when an answer was lost: look, then repeat.

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "markab/client.h"

namespace markab {

enum class TableStatus {
  kInvalid = 0,
  kAvailable = 1,
  kCreating = 2,
  kDropping = 4,
  kDropped = 6,
  kRecalling = 7
};

struct TableInfo {
  int32_t app_id = 0;
  std::string name;
  std::string type;  // "pegasus"
  TableStatus status = TableStatus::kInvalid;
  int32_t partition_count = 0;
  int32_t replica_count = 0;
  bool is_stateful = true;
  std::map<std::string, std::string> envs;
  int64_t create_second = 0;  // unix time
  int64_t drop_second = 0;    // 0: not dropped
  int64_t expire_second = 0;  // a dropped table's data may be deleted from then on
  bool atomic_idempotent = false;
  bool duplicating = false;
};

struct PartitionInfo {
  int32_t index = 0;
  int64_t ballot = 0;
  int32_t replica_count = 0;  // wanted
  std::string primary;        // "10.0.0.1:34801"; "": none
  std::vector<std::string> secondaries;
  std::vector<std::string> last_drops;
  int64_t last_committed_decree = 0;  // as the meta server last heard
};

struct TablePartitions {
  int32_t app_id = 0;
  std::vector<PartitionInfo> partitions;  // all, by index
};

struct NodeInfo {
  std::string address;
  bool alive = false;
};

struct CreateOptions {
  int32_t partition_count = 8;
  int32_t replica_count = 3;
  bool ok_if_exists = true;  // with the same counts and environments
  std::map<std::string, std::string> envs;
  bool atomic_idempotent = false;
};

enum class MetaLevel {
  kStopped = 100,
  kBlind = 200,
  kFreezed = 300,
  kSteady = 400,
  kLively = 500,
  kUnchanged = 10000
};

// One step of a proposal. `type` is the wire's config_type (1 assign primary, 2 upgrade to
// primary, 3 add secondary, 5 downgrade to secondary, 6 downgrade to inactive, 7 remove, 8 add
// secondary for balance).
struct ProposalStep {
  std::string target;  // who is told; "": the primary
  std::string node;    // whom it is about
  int32_t type = 0;
};

// How far wait_writable got.
struct Readiness {
  int32_t partitions = 0;
  int32_t with_primary = 0;
  int32_t with_all_replicas = 0;
  int32_t writable = 0;
};

// How a manual compaction is done (spec 02 §13).
struct CompactionOptions {
  int64_t trigger_second = 0;     // unix time; 0: now
  int32_t target_level = -1;      // -1: the store's choice
  bool force_bottommost = false;  // also what is at the bottom already
  int32_t max_running = 0;        // of one node at a time; 0: as the table has it
};

// Which requests the detection of hot keys looks at, and what to do with it.
enum class HotkeyKind { kRead = 0, kWrite = 1 };
enum class HotkeyAction { kStart = 0, kStop = 1, kQuery = 2 };

class Admin {
 public:
  explicit Admin(Client& client) : client_(client) {}
  Admin(const Admin&) = delete;
  Admin& operator=(const Admin&) = delete;

  // Returns the table's id. The partitions have no primary yet: see wait_writable.
  Outcome<int32_t> create_table(std::string_view name, const CreateOptions& options,
                                Timeout timeout = {});
  // The data is kept for `reserve` (0: as long as the server is configured to), and recall_table
  // brings it back.
  Outcome<Nothing> drop_table(std::string_view name, Seconds reserve = {}, Timeout timeout = {});
  // new_name "": the old one.
  Outcome<TableInfo> recall_table(int32_t app_id, std::string_view new_name, Timeout timeout = {});
  Outcome<Nothing> rename_table(std::string_view old_name, std::string_view new_name,
                                Timeout timeout = {});
  // kInvalid: all that are remembered, dropped ones too.
  Outcome<std::vector<TableInfo>> list_tables(TableStatus status = TableStatus::kAvailable,
                                              Timeout timeout = {});
  Outcome<TablePartitions> partitions(std::string_view table, Timeout timeout = {});

  // Waits until every partition has a primary and all its replicas, and takes writes. The proof is
  // a write that leaves nothing: the deletion of a row that never was. `progress` is called on a
  // thread of the client when something changed.
  Outcome<Readiness> wait_writable(std::string_view table, Timeout timeout,
                                   const std::function<void(const Readiness&)>& progress = {});

  Outcome<std::vector<NodeInfo>> list_nodes(Timeout timeout = {});
  // Names and values as the meta server orders them: meta_servers, primary_meta_server, ...
  Outcome<std::vector<std::pair<std::string, std::string>>> cluster_info(Timeout timeout = {});

  Outcome<Nothing> set_envs(std::string_view table, const std::map<std::string, std::string>& envs,
                            Timeout timeout = {});
  Outcome<Nothing> del_envs(std::string_view table, const std::vector<std::string>& names,
                            Timeout timeout = {});
  // "": all.
  Outcome<Nothing> clear_envs(std::string_view table, std::string_view prefix,
                              Timeout timeout = {});

  Outcome<int32_t> replica_count(std::string_view table, Timeout timeout = {});
  Outcome<int32_t> set_replica_count(std::string_view table, int32_t count,
                                     Timeout timeout = {});  // the old one

  // Returns the level that was configured before; kUnchanged only asks.
  Outcome<MetaLevel> meta_level(MetaLevel level = MetaLevel::kUnchanged, Timeout timeout = {});
  Outcome<Nothing> propose(int32_t app_id, int32_t partition,
                           const std::vector<ProposalStep>& steps, bool force,
                           Timeout timeout = {});
  // As an operator who moves a primary or a replica: "move_pri", "copy_pri", "copy_sec".
  Outcome<Nothing> balance(int32_t app_id, int32_t partition, std::string_view kind,
                           std::string_view from, std::string_view to, Timeout timeout = {});

  // Runs a remote command of one daemon ("help" lists them) and returns what it printed.
  Outcome<std::string> remote_command(std::string_view node, std::string_view command,
                                      const std::vector<std::string>& arguments,
                                      Timeout timeout = {});

  // Rewrites all data of a table, each replica when its node's turn comes.
  Outcome<Nothing> start_manual_compaction(std::string_view table,
                                           const CompactionOptions& options = {},
                                           Timeout timeout = {});
  // How far it is, in percent of the replicas; 100: all are done. An error when none was started or
  // reported yet.
  Outcome<int32_t> manual_compaction_progress(std::string_view table, Timeout timeout = {});

  // Looks for the hash key that gets far more requests than the others of a partition, on the
  // daemon that holds its primary. Start it, query until there is a result (the hash key, escaped;
  // kBusy with the state until then), stop it.
  Outcome<std::string> detect_hotkey(std::string_view node, int32_t app_id, int32_t partition,
                                     HotkeyKind kind, HotkeyAction action, Timeout timeout = {});

  // Tells the meta servers that a replica daemon's process has surely ended, so that they need not
  // wait for its lease. `start_ms` as in its beacons; 0: whichever incarnation. Only for who knows
  // it: a supervisor.
  Outcome<Nothing> report_death(std::string_view node, int64_t start_ms, std::string_view reason,
                                Timeout timeout = {});

 private:
  Client& client_;
};

}  // namespace markab
