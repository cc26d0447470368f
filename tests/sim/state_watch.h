#pragma once
// What must never happen to the cluster's state in ZooKeeper, noticed at each write in the order of
// writes: a ballot that goes back or stands for two memberships, a table or partition that is
// forgotten. Besides, what administrators were told: a table whose creation was acknowledged is
// there at the end, one that was dropped is not.

#include <map>
#include <set>
#include <string>

#include "meta/core/meta_core.h"
#include "meta/state_json.h"
#include "sim_zookeeper.h"
#include "watch.h"

namespace markab::sim {

class StateWatch {
 public:
  // `root` is the cluster's root. Hears of all writes from now on; both outlive it.
  StateWatch(SimZooKeeper& zookeeper, Watch& watch, std::string root);

  // How an administrator's request about a table ended; unknown: it had no answer, or an error.
  enum class Wish { kThere, kGone, kUnknown };
  void told(const std::string& table, Wish wish) { wishes_[table] = wish; }
  const std::map<std::string, Wish>& wishes() const { return wishes_; }

  // A replica at `who` has this ballot: it must have been stored before it was told.
  void seen(Gpid pid, Ballot ballot, const std::string& who);
  // At rest what the leader has is what is stored, and what administrators were told: "", or what
  // is not so. A write that is under way may make a difference for a moment.
  std::string difference(const meta::MetaCore& core) const;
  uint64_t ballots() const { return ballots_; }

 private:
  void changed(const std::string& path, const std::string* data);
  void table_changed(int32_t id, const std::string* data);
  void partition_changed(Gpid pid, const std::string* data);

  SimZooKeeper& zookeeper_;
  Watch& watch_;
  const std::string root_;
  std::map<int32_t, meta::TableInfo> tables_;
  std::map<Gpid, meta::PartitionConfig> partitions_;
  std::set<std::pair<Gpid, Ballot>> complained_;
  std::map<std::string, Wish> wishes_;
  uint64_t ballots_ = 0;
};

}  // namespace markab::sim
