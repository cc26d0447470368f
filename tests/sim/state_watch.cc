#include "state_watch.h"

#include <fmt/format.h>

#include <cstdio>

namespace markab::sim {

StateWatch::StateWatch(SimZooKeeper& zookeeper, Watch& watch, std::string root)
    : zookeeper_(zookeeper), watch_(watch), root_(std::move(root)) {
  zookeeper_.on_change(
      [this](const std::string& path, const std::string* data) { changed(path, data); });
}

void StateWatch::changed(const std::string& path, const std::string* data) {
  const std::string apps = root_ + "/apps/";
  if (path.compare(0, apps.size(), apps) != 0) return;
  int table = 0;
  int partition = 0;
  int end = 0;
  const char* rest = path.c_str() + apps.size();
  if (std::sscanf(rest, "%d/%d%n", &table, &partition, &end) == 2 && rest[end] == '\0') {
    partition_changed(Gpid{table, partition}, data);
  } else if (std::sscanf(rest, "%d%n", &table, &end) == 1 && rest[end] == '\0') {
    table_changed(table, data);
  }
}

void StateWatch::table_changed(int32_t id, const std::string* data) {
  if (data == nullptr) {
    watch_.violation(fmt::format("table {} was erased from the state", id));
    return;
  }
  auto info = meta::table_from_json(*data);
  if (!info) {
    watch_.violation(fmt::format("table {} has a document nobody can read: {}", id, info.error()));
    return;
  }
  auto before = tables_.find(id);
  if (before != tables_.end() && (before->second.name != info->name ||
                                  before->second.partition_count != info->partition_count)) {
    watch_.violation(fmt::format("table {} was {} with {} partitions and becomes {} with {}", id,
                                 before->second.name, before->second.partition_count, info->name,
                                 info->partition_count));
  }
  tables_[id] = std::move(*info);
}

void StateWatch::partition_changed(Gpid pid, const std::string* data) {
  if (data == nullptr) {
    watch_.violation(fmt::format("{} was erased from the state", pid));
    return;
  }
  auto config = meta::partition_from_json(*data);
  if (!config) {
    watch_.violation(fmt::format("{} has a document nobody can read: {}", pid, config.error()));
    return;
  }
  ++ballots_;
  auto [it, fresh] = partitions_.try_emplace(pid, *config);
  if (fresh) return;
  const auto& before = it->second;
  if (config->ballot < before.ballot) {
    watch_.violation(fmt::format("{}: the stored ballot goes back from {} to {}", pid,
                                 before.ballot, config->ballot));
  } else if (config->ballot == before.ballot && !meta::same_membership(*config, before)) {
    watch_.violation(fmt::format("{}: ballot {} stands for two memberships", pid, config->ballot));
  }
  it->second = std::move(*config);
}

void StateWatch::seen(Gpid pid, Ballot ballot, const std::string& who) {
  auto stored = partitions_.find(pid);
  Ballot known = stored == partitions_.end() ? 0 : stored->second.ballot;
  if (ballot <= known || !complained_.emplace(pid, ballot).second) return;
  watch_.violation(
      fmt::format("{} at {} has ballot {}, of which {} is stored", pid, who, ballot, known));
}

std::string StateWatch::difference(const meta::MetaCore& core) const {
  std::set<std::string> available;
  for (const auto& [id, table] : core.tables()) {
    if (table.info.status == meta::TableStatus::kAvailable) available.insert(table.info.name);
  }
  for (const auto& [name, wish] : wishes_) {
    bool there = available.count(name) != 0;
    if (wish == Wish::kThere && !there)
      return fmt::format("table {} is lost: its creation was acknowledged", name);
    if (wish == Wish::kGone && there)
      return fmt::format("table {} is there: its drop was acknowledged", name);
  }
  meta::StateStore::Tree tree;
  for (auto& [path, data] : zookeeper_.data()) {
    if (path.compare(0, root_.size() + 1, root_ + "/") == 0) tree[path.substr(root_.size())] = data;
  }
  auto stored = meta::tables_from_tree(tree);
  if (!stored) return fmt::format("the stored state cannot be read: {}", stored.error());
  if (stored->size() != core.tables().size()) {
    return fmt::format("{} tables are stored, the leader has {}", stored->size(),
                       core.tables().size());
  }
  for (const auto& loaded : *stored) {
    auto table = core.tables().find(loaded.info.id);
    if (table == core.tables().end())
      return fmt::format("table {} is stored, the leader does not know it", loaded.info.id);
    for (const auto& [number, config] : loaded.partitions) {
      auto index = static_cast<size_t>(number);
      const auto& partitions = table->second.partitions;
      if (index >= partitions.size() || !(partitions[index].config == config)) {
        return fmt::format("{}: the leader has another membership than what is stored at ballot {}",
                           config.pid, config.ballot);
      }
    }
  }
  return {};
}

}  // namespace markab::sim
