#include "replica/disks.h"

#include <algorithm>
#include <charconv>

#include "base/log.h"

namespace markab::replica {

namespace {

// Earlier than any directory of ours: a number below it is no time.
constexpr int64_t kEpoch2010Us = int64_t{1262304000} * 1000000;

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

Status bad_item(std::string_view item, std::string_view why) {
  return {
      Errc::kInvalidParameters,
      fmt::format("'{}' {}; a data directory is tag:/path, as in ssd1:/data1/markab", item, why)};
}

}  // namespace

Result<std::vector<DataDir>> parse_data_dirs(std::string_view text) {
  std::vector<DataDir> out;
  while (!text.empty()) {
    auto comma = text.find(',');
    auto item = trim(text.substr(0, comma));
    text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
    if (item.empty()) continue;
    auto colon = item.find(':');
    if (colon == std::string_view::npos || colon == 0 || colon + 1 == item.size())
      return bad_item(item, "is not tag:path");
    DataDir dir;
    dir.tag = item.substr(0, colon);
    dir.path = item.substr(colon + 1);
    while (dir.path.size() > 1 && dir.path.back() == '/') dir.path.pop_back();
    for (const auto& other : out) {
      if (other.tag == dir.tag || other.path == dir.path)
        return bad_item(item, "repeats a tag or a path");
    }
    out.push_back(std::move(dir));
  }
  if (out.empty())
    return Status(Errc::kInvalidParameters,
                  "no data directory is named; give at least one tag:path");
  return out;
}

std::string_view disk_status_name(DiskStatus status) {
  switch (status) {
    case DiskStatus::kNormal:
      return "normal";
    case DiskStatus::kSpaceInsufficient:
      return "short of space";
    case DiskStatus::kIoError:
      return "failing";
  }
  return "unknown";
}

Disks::Disks(io::FileSystem& files, io::Runtime& runtime, const wal::Disk::Options& log,
             MetricRegistry& registry)
    : files_(files), runtime_(runtime), log_options_(log), registry_(registry) {}

Disks::Disk& Disks::add(DataDir dir) {
  auto disk = std::make_unique<Disk>();
  disk->log = wal::Disk::make(files_, runtime_.syncing(), log_options_);
  disk->entity = registry_.entity("disk", fmt::format("disk@{}", dir.tag),
                                  {{"tag", dir.tag}, {"data_dir", dir.replicas()}});
  disk->status_gauge =
      &disk->entity->gauge({"disk_status", "Status", "0 normal, 1 short of space, 2 failing"});
  disk->capacity_gauge =
      &disk->entity->gauge({"disk_capacity_total_mb", "MegaBytes", "Size of the disk"});
  disk->available_gauge =
      &disk->entity->gauge({"disk_capacity_avail_mb", "MegaBytes", "Free space of the disk"});
  disk->dir = std::move(dir);
  disks_.push_back(std::move(disk));
  return *disks_.back();
}

size_t Disks::find(std::string_view tag) const {
  size_t i = 0;
  while (i < disks_.size() && disks_[i]->dir.tag != tag) ++i;
  return i;
}

void Disks::set_status(size_t i, DiskStatus status, std::string why) {
  auto& disk = at(i);
  auto before = disk.health->status.exchange(status);
  disk.why = std::move(why);
  disk.status_gauge->set(static_cast<int64_t>(status));
  if (before == status) return;
  if (status == DiskStatus::kNormal) {
    MARKAB_INFO("the disk {} ({}) is normal again", disk.dir.tag, disk.dir.path);
  } else {
    MARKAB_ERROR("the disk {} ({}) is {}: {}", disk.dir.tag, disk.dir.path,
                 disk_status_name(status), disk.why);
  }
}

size_t Disks::choose(const std::vector<Load>& load) const {
  MARKAB_ASSERT(load.size() == disks_.size(), "a load per disk", load.size(), disks_.size());
  size_t best = disks_.size();
  auto room = [&](size_t i) {
    return static_cast<double>(disks_[i]->space.available_bytes) / (load[i].all + 1);
  };
  for (size_t i = 0; i < disks_.size(); ++i) {
    if (disks_[i]->status() != DiskStatus::kNormal) continue;
    if (best == disks_.size() || load[i].of_table < load[best].of_table ||
        (load[i].of_table == load[best].of_table && room(i) > room(best))) {
      best = i;
    }
  }
  return best;
}

void Disks::sample(const DiskRules& rules, Task done) {
  using Spaces = std::vector<Result<io::SpaceInfo>>;
  auto spaces = std::make_shared<Spaces>();
  std::vector<std::string> paths;
  for (const auto& disk : disks_) paths.push_back(disk->dir.path);
  runtime_.background().run(
      runtime_.shard(0),
      [&files = files_, spaces, paths] {
        for (const auto& path : paths) spaces->push_back(files.space(path));
      },
      [this, spaces, rules, done = std::move(done)] {
        for (size_t i = 0; i < spaces->size(); ++i) {
          auto& disk = at(i);
          if (disk.status() == DiskStatus::kIoError) continue;  // until an operator restarts it
          const auto& space = (*spaces)[i];
          if (!space) {
            MARKAB_WARN("the space of disk {} is not known: {}", disk.dir.tag, space.error());
            continue;
          }
          disk.space = *space;
          disk.capacity_gauge->set(static_cast<int64_t>(space->capacity_bytes >> 20));
          disk.available_gauge->set(static_cast<int64_t>(space->available_bytes >> 20));
          auto percent = space->capacity_bytes == 0
                             ? 0.0
                             : 100.0 * static_cast<double>(space->available_bytes) /
                                   static_cast<double>(space->capacity_bytes);
          bool enough = percent >= static_cast<double>(rules.min_available_percent);
          disk.health->refuses_writes = !enough && rules.refuse_writes_when_short;
          set_status(i, enough ? DiskStatus::kNormal : DiskStatus::kSpaceInsufficient,
                     enough ? std::string()
                            : fmt::format("{:.1f} % are free, [replication] "
                                          "disk_min_available_space_ratio is {} %",
                                          percent, rules.min_available_percent));
        }
        done();
      });
}

std::optional<Aside> parse_aside(std::string_view name, const GarbageAges& ages) {
  const std::pair<std::string_view, int64_t> kinds[] = {
      {".disk.migrate.tmp", ages.migration_target},
      {".disk.migrate.ori", ages.migration_origin},
      {".err", ages.error},
      {".gar", ages.garbage},
  };
  for (const auto& [suffix, keep] : kinds) {
    if (!name.ends_with(suffix)) continue;
    auto rest = name.substr(0, name.size() - suffix.size());
    auto dot = rest.rfind('.');
    if (dot == std::string_view::npos) return std::nullopt;
    auto number = rest.substr(dot + 1);
    int64_t since = 0;
    auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), since);
    if (error != std::errc() || end != number.data() + number.size() || since < kEpoch2010Us)
      return std::nullopt;
    return Aside{since, keep};
  }
  return std::nullopt;
}

void Disks::sweep(const DiskRules& rules, Callback<int> done) {
  std::vector<std::string> folders;
  for (const auto& disk : disks_) {
    if (disk->status() != DiskStatus::kIoError) folders.push_back(disk->dir.replicas());
  }
  auto removed = std::make_shared<int>(0);
  auto now_us = runtime_.shard(0).wall_us();
  runtime_.background().run(
      runtime_.shard(0),
      [&files = files_, folders, removed, now_us, ages = rules.ages] {
        for (const auto& folder : folders) {
          auto names = files.list(folder);
          if (!names) continue;
          for (const auto& name : *names) {
            auto aside = parse_aside(name, ages);
            if (!aside || (now_us - aside->since_us) / 1000000 < aside->keep_s) continue;
            auto path = folder + "/" + name;
            if (auto s = files.remove_all(path); !s.ok()) {
              MARKAB_WARN("{} is old and could not be removed: {}", path, s);
              continue;
            }
            MARKAB_INFO("removed {}, which was set aside {} s ago", path,
                        (now_us - aside->since_us) / 1000000);
            ++*removed;
          }
        }
      },
      [removed, done = std::move(done)] { done(*removed); });
}

}  // namespace markab::replica
