// The server's dealings with its disks: what lies on them at the start, who fails, who is added,
// what is swept. Moving a replica between them: disk_migration.cc.

#include <algorithm>
#include <charconv>

#include "base/log.h"
#include "replica/server.h"
#include "replica/table_info.h"

namespace markab::replica {

namespace {

// At a disk that is short of space: writes go on as soon as there is some again.
constexpr Duration kLookAgain = std::chrono::seconds(1);

// How far the log in a replica's directory reaches, by the names of its segments
// ("log.<index>.<decree before it>"): enough to tell the newer one of two copies.
std::pair<Decree, uint64_t> log_reach(io::FileSystem& files, const std::string& dir) {
  std::pair<Decree, uint64_t> most{-1, 0};
  auto names = files.list(dir + "/plog");
  if (!names) return most;
  for (const auto& name : *names) {
    auto first = name.find('.');
    auto last = name.rfind('.');
    if (first == std::string::npos || first == last) continue;
    uint64_t index = 0;
    Decree before = 0;
    std::from_chars(name.data() + first + 1, name.data() + last, index);
    std::from_chars(name.data() + last + 1, name.data() + name.size(), before);
    most = std::max(most, std::pair(before, index));
  }
  return most;
}

}  // namespace

// Blocking. A directory that cannot be read is set aside, never deleted (04 §3.1).
std::vector<ReplicaServer::Stored> ReplicaServer::find_stored(
    const std::vector<std::pair<size_t, DataDir>>& dirs) {
  std::vector<Stored> found;
  for (const auto& [disk, where] : dirs) {
    auto base = where.replicas();
    auto names = files_.list(base);
    if (!names) {
      MARKAB_ERROR("the replicas of disk {} are not served: {}", where.tag, names.error());
      continue;
    }
    for (const auto& name : *names) {
      auto gpid = parse_replica_dir_name(name);
      if (!gpid) continue;  // .err, .gar and what else spec 04 §2.5 lists
      auto dir = base + "/" + name;
      auto text = files_.read_all(dir + "/.app-info", 16u << 20);
      auto table = text ? table_info_from_json(*text, *gpid) : Result<TableInfo>(text.error());
      if (!table) {
        MARKAB_ERROR("{} is put aside: its .app-info is unusable: {}", dir, table.error());
        (void)files_.rename(dir, fmt::format("{}.{}.err", dir, control_.wall_us()));
        continue;
      }
      found.push_back({*gpid, std::move(*table), disk});
    }
  }
  return found;
}

// Blocking. One partition on two disks, as an interrupted move or an operator's copy leaves it: the
// one whose log reaches further stays.
void ReplicaServer::settle_twins(std::vector<Stored>& found,
                                 const std::vector<std::pair<size_t, DataDir>>& dirs) {
  auto dir_of = [&](const Stored& stored) {
    auto where = std::find_if(dirs.begin(), dirs.end(),
                              [&](const auto& entry) { return entry.first == stored.disk; });
    return where->second.replicas() + "/" + replica_dir_name(stored.gpid);
  };
  std::map<Gpid, size_t> kept;
  std::vector<bool> goes(found.size(), false);
  for (size_t i = 0; i < found.size(); ++i) {
    auto [it, fresh] = kept.emplace(found[i].gpid, i);
    if (fresh) continue;
    bool better =
        log_reach(files_, dir_of(found[i])) > log_reach(files_, dir_of(found[it->second]));
    auto loser = better ? std::exchange(it->second, i) : i;
    goes[loser] = true;
    auto dir = dir_of(found[loser]);
    MARKAB_ERROR("{} is on two disks; {} is put aside, {} reaches further", found[i].gpid, dir,
                 dir_of(found[it->second]));
    (void)files_.rename(dir, fmt::format("{}.{}.err", dir, control_.wall_us()));
  }
  size_t i = 0;
  std::erase_if(found, [&](const Stored&) { return goes[i++]; });
}

// ---- while it runs

void ReplicaServer::watch_disks() {
  if (stopped_) return;
  disks_.sample(options_.disk_rules(), [this] {
    if (stopped_) return;
    bool is_short = false;
    for (size_t i = 0; i < disks_.size(); ++i)
      is_short = is_short || disks_.at(i).status() == DiskStatus::kSpaceInsufficient;
    disk_timer_ = control_.after(is_short ? std::min(kLookAgain, options_.disk_sample_interval)
                                          : options_.disk_sample_interval,
                                 [this] { watch_disks(); });
  });
}

void ReplicaServer::sweep_disks() {
  if (stopped_) return;
  sweep_timer_ = control_.after(options_.sweep_interval, [this] { sweep_disks(); });
  disks_.sweep(options_.disk_rules(), [](int) {});
}

// Only the shards of this disk go down: each leaves its group, and the others serve on (04 §3.2).
void ReplicaServer::disk_failed(size_t disk, const Status& why) {
  if (disks_.at(disk).status() == DiskStatus::kIoError) return;
  disks_.set_status(disk, DiskStatus::kIoError, why.message());
  auto failed = why.with_context(fmt::format("the disk {} failed", disks_.at(disk).dir.tag));
  for (const auto& [gpid, entry] : entries_) {
    if (entry.disk != disk || entry.state != State::kOpen) continue;
    entry.replica->shard().post([replica = entry.replica, failed] { replica->fail(failed); });
  }
}

void ReplicaServer::add_disks(const std::string& text, Callback<Status> done) {
  auto parsed = parse_data_dirs(text);
  if (!parsed) return done(parsed.error());
  for (const auto& dir : *parsed) {
    for (size_t i = 0; i < disks_.size(); ++i) {
      const auto& used = disks_.at(i).dir;
      if (used.tag != dir.tag && used.path != dir.path) continue;
      return done({Errc::kNodeAlreadyExist,
                   fmt::format("the data directory {}:{} is in use already", used.tag, used.path)});
    }
  }
  struct Round {
    std::vector<DataDir> dirs;
    std::vector<std::shared_ptr<void>> locks;
    Status status;
  };
  auto round = std::make_shared<Round>();
  round->dirs = std::move(*parsed);
  runtime_.background().run(
      control_,
      [this, round] {
        for (const auto& dir : round->dirs) {
          auto names = files_.list(dir.replicas());
          if (names && !names->empty()) {
            round->status = Status(
                Errc::kDirNotEmpty,
                fmt::format("{} holds replicas already; a new disk is empty", dir.replicas()));
            return;
          }
        }
        for (const auto& dir : round->dirs) {
          bool same_boot = true;
          bool clean = true;
          round->status = prepare_disk(dir, same_boot, clean);
          if (round->status.ok() && options_.lock_directory) {
            auto lock = options_.lock_directory(dir.path);
            if (lock) round->locks.push_back(std::move(*lock));
            if (!lock) round->status = lock.error();
          }
          if (round->status.ok()) continue;
          round->status = Status(Errc::kFileOperationFailed, round->status.message());
          return;
        }
      },
      [this, round, done = std::move(done)] {
        if (round->status.ok()) {
          for (const auto& dir : round->dirs) {
            if (disks_.find(dir.tag) < disks_.size()) {  // somebody was quicker
              round->status = Status(Errc::kNodeAlreadyExist, "the tag is in use already");
              break;
            }
            auto& disk = disks_.add(dir);
            if (!round->locks.empty()) {
              disk.lock = std::move(round->locks.front());
              round->locks.erase(round->locks.begin());
            }
            MARKAB_INFO(
                "the data directory {}:{} was added; name it in [replication] data_dirs, "
                "too, to have it after a restart",
                dir.tag, dir.path);
          }
          disks_.sample(options_.disk_rules(), [] {});
        }
        done(round->status);
      });
}

}  // namespace markab::replica
