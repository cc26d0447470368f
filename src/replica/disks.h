#pragma once
// The data directories of a replica server: which are usable, how full they are, where a new
// replica goes, and what lies in them that nobody needs any more (spec 04 §2.5, §3.2).
//
// Owned by the server, used on its control shard; what blocks runs on the background pool and takes
// copies of paths. Disks are added, never removed.

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/metrics.h"
#include "io/file.h"
#include "io/shard.h"
#include "wal/log.h"

namespace markab::replica {

struct DataDir {
  std::string tag;
  std::string path;
  Status broken = {};  // found unusable before the server began
  // <path>/replica/reps, where the replicas' directories are.
  std::string replicas() const { return path + "/replica/reps"; }
};

// "tag:path,tag:path"; tags and paths differ. kInvalidParameters.
Result<std::vector<DataDir>> parse_data_dirs(std::string_view text);

// The numbers are those of the wire's disk_status.
enum class DiskStatus { kNormal = 0, kSpaceInsufficient = 1, kIoError = 2 };
std::string_view disk_status_name(DiskStatus status);

// One disk, as replicas on any shard see it.
struct DiskHealth {
  std::atomic<DiskStatus> status{DiskStatus::kNormal};
  std::atomic<bool> refuses_writes{false};  // of clients (04 §4.2, row 10)
};

// How long what nobody needs is kept, by the end of its directory's name, in seconds (spec 04
// §2.5).
struct GarbageAges {
  int64_t error = 604800;             // .err
  int64_t garbage = 86400;            // .gar
  int64_t migration_target = 86400;   // .disk.migrate.tmp
  int64_t migration_origin = 604800;  // .disk.migrate.ori
};

struct DiskRules {
  int64_t min_available_percent = 10;
  bool refuse_writes_when_short = true;
  GarbageAges ages;
};

class Disks {
 public:
  struct Disk {
    DataDir dir;
    std::unique_ptr<wal::Disk> log;
    std::shared_ptr<DiskHealth> health = std::make_shared<DiskHealth>();
    io::SpaceInfo space;  // as sampled last
    std::string why;      // of a status that is not normal
    std::shared_ptr<MetricEntity> entity;
    Gauge* status_gauge = nullptr;
    Gauge* capacity_gauge = nullptr;
    Gauge* available_gauge = nullptr;
    std::shared_ptr<void> lock;  // of a disk that was added at run time
    DiskStatus status() const { return health->status.load(std::memory_order_relaxed); }
  };

  Disks(io::FileSystem& files, io::Runtime& runtime, const wal::Disk::Options& log,
        MetricRegistry& registry);

  Disk& add(DataDir dir);
  size_t size() const { return disks_.size(); }
  Disk& at(size_t i) { return *disks_.at(i); }
  const Disk& at(size_t i) const { return *disks_.at(i); }
  // size() when there is none.
  size_t find(std::string_view tag) const;
  void set_status(size_t i, DiskStatus status, std::string why);

  struct Load {
    int of_table = 0;
    int all = 0;
  };
  // The disk for a new replica: normal, with the fewest replicas of its table, then with the most
  // free space for each replica that it would hold. size() when no disk is normal.
  size_t choose(const std::vector<Load>& load) const;

  // Looks at the space of every disk and sets statuses; `done` on the control shard.
  void sample(const DiskRules& rules, Task done);
  // Removes what is older than its age; `done` tells how many directories went.
  void sweep(const DiskRules& rules, Callback<int> done);

 private:
  io::FileSystem& files_;
  io::Runtime& runtime_;
  const wal::Disk::Options log_options_;
  MetricRegistry& registry_;
  std::vector<std::unique_ptr<Disk>> disks_;
};

// When a directory of that name was set aside (microseconds since 1970), and how long it is kept;
// nothing for names that are never removed. Exposed for tests.
struct Aside {
  int64_t since_us = 0;
  int64_t keep_s = 0;
};
std::optional<Aside> parse_aside(std::string_view name, const GarbageAges& ages);

}  // namespace markab::replica
