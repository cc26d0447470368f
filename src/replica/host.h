#pragma once
// What one replica needs from the server around it: the ways out, the disks, the meta server's ear.
// A seam so that a replica can be tested alone.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/config.h"
#include "base/metrics.h"
#include "engine/engine.h"
#include "io/file.h"
#include "io/shard.h"
#include "pacifica/replica_core.h"
#include "replica/cache_budget.h"
#include "replica/capacity_units.h"
#include "replica/copy_limits.h"
#include "replica/duplicates.h"
#include "replica/manual_compaction.h"
#include "replica/slow_reads.h"
#include "rpc/network.h"
#include "wal/log.h"

namespace markab::replica {

class Replica;

// What a table is, as the meta server told last. Kept in the replica's directory.
struct TableInfo {
  std::string app_name;
  int32_t partition_count = 0;
  int32_t max_replica_count = 3;
  std::map<std::string, std::string> envs;
  friend bool operator==(const TableInfo&, const TableInfo&) = default;
};

// Opens a store in a directory; the real one is RocksDB, the simulator's an ordered map.
using OpenEngine = std::function<Result<std::unique_ptr<engine::Engine>>(engine::EngineOptions)>;

struct ReplicaTuning {
  size_t max_queued_bytes =
      64u << 20;  // of writes waiting for the window; more are refused with ERR_BUSY
  size_t max_batch_bytes = 1u << 20;  // of effects in one mutation
  size_t max_batch_requests = 256;
  size_t max_write_bytes = 1u << 20;           // [replication] max_allowed_write_size; 0: no bound
  uint64_t flush_after_log_bytes = 64u << 20;  // then the store is flushed and the log trimmed
  uint64_t keep_log_bytes = 64u << 20;         // kept for replicas that come back
  DuplicationPeers duplication;
  Duration lagging_write =
      std::chrono::seconds(10);  // duplicated ones that took longer are counted
  Duration hand_over_wait = std::chrono::seconds(2);  // writes held while the primary role moves
  AbnormalReadLimits abnormal_reads;
  engine::ReadLimits reads;
  engine::OperationSettings table_defaults;  // where a table has no environment of its own
  UnitSizes unit_sizes;
  // Of a replica's log, held for learners and duplication; beyond it the slowest loses its hold.
  uint64_t max_held_log_bytes = uint64_t{4} << 30;
  // An idle primary tells its members the membership and the commit point this often (04 §1.8).
  Duration group_check_interval = std::chrono::seconds(10);
  pacifica::CoreOptions core;
  // Of committed mutations in memory, all replicas together ([replication] mutation_cache_mb).
  std::shared_ptr<CacheBudget> cache = std::make_shared<CacheBudget>(256u << 20);
};

class ReplicaHost {
 public:
  virtual ~ReplicaHost() = default;

  virtual io::Runtime& runtime() = 0;
  // The way out of shard `index`.
  virtual rpc::Network& network(int index) = 0;
  // What copies of checkpoints may take.
  virtual CopyLimits& copies() = 0;
  virtual io::FileSystem& files() = 0;
  virtual const OpenEngine& open_engine() const = 0;
  virtual const ReplicaTuning& tuning() const = 0;
  // Bytes of log after which a replica flushes its store: what a restart replays is bounded for the
  // whole daemon, however many replicas it has. Any thread.
  virtual uint64_t flush_after_log_bytes() const { return tuning().flush_after_log_bytes; }
  virtual HostPort self() const = 0;
  // self() as text: what answers carry in their `server` field.
  virtual const std::string& self_text() const = 0;
  virtual MetricRegistry& metrics() = 0;
  // The manual compactions of this node. Shared, since one may still be ending when the server is
  // gone.
  virtual std::shared_ptr<CompactionSlots> compaction_slots() = 0;
  // Whether the lease granted by the meta server still runs (spec 04 §1.9). Any thread.
  virtual bool lease_valid(Instant now) const = 0;

  // Asks the meta server for a membership; `done` runs on the replica's shard.
  virtual void ask_meta(Replica& replica, const pacifica::AskMeta& ask,
                        Callback<Errc, pacifica::Membership> done) = 0;
  // The role or ballot changed, or the replica broke. On the replica's shard; must not call back
  // into it.
  virtual void on_role_changed(Replica& replica, pacifica::Role before, pacifica::Role role) = 0;
  virtual void on_broken(Replica& replica, const Status& why) = 0;
};

}  // namespace markab::replica
