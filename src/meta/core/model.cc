#include "meta/core/model.h"

#include <algorithm>

namespace markab::meta {

std::string_view change_name(ChangeType type) {
  switch (type) {
    case ChangeType::kInvalid:
      return "CT_INVALID";
    case ChangeType::kAssignPrimary:
      return "CT_ASSIGN_PRIMARY";
    case ChangeType::kUpgradeToPrimary:
      return "CT_UPGRADE_TO_PRIMARY";
    case ChangeType::kAddSecondary:
      return "CT_ADD_SECONDARY";
    case ChangeType::kUpgradeToSecondary:
      return "CT_UPGRADE_TO_SECONDARY";
    case ChangeType::kDowngradeToSecondary:
      return "CT_DOWNGRADE_TO_SECONDARY";
    case ChangeType::kDowngradeToInactive:
      return "CT_DOWNGRADE_TO_INACTIVE";
    case ChangeType::kRemove:
      return "CT_REMOVE";
    case ChangeType::kAddSecondaryForBalance:
      return "CT_ADD_SECONDARY_FOR_LB";
    case ChangeType::kForceUpdateBallot:
      return "CT_PRIMARY_FORCE_UPDATE_BALLOT";
    case ChangeType::kDropPartition:
      return "CT_DROP_PARTITION";
    case ChangeType::kRegisterChild:
      return "CT_REGISTER_CHILD";
  }
  return "CT_UNKNOWN";
}

std::string_view level_name(Level level) {
  switch (level) {
    case Level::kStopped:
      return "stopped";
    case Level::kBlind:
      return "blind";
    case Level::kFreezed:
      return "freezed";
    case Level::kSteady:
      return "steady";
    case Level::kLively:
      return "lively";
  }
  return "unknown";
}

std::optional<Level> parse_level(std::string_view name) {
  for (Level level :
       {Level::kStopped, Level::kBlind, Level::kFreezed, Level::kSteady, Level::kLively}) {
    if (name == level_name(level)) return level;
  }
  return std::nullopt;
}

bool PartitionConfig::is_secondary(HostPort node) const {
  return std::find(secondaries.begin(), secondaries.end(), node) != secondaries.end();
}

std::vector<HostPort> PartitionConfig::members() const {
  std::vector<HostPort> out;
  if (primary) out.push_back(primary);
  out.insert(out.end(), secondaries.begin(), secondaries.end());
  return out;
}

bool same_membership(const PartitionConfig& a, const PartitionConfig& b) {
  if (a.ballot != b.ballot || a.pid != b.pid || a.max_replica_count != b.max_replica_count ||
      a.primary != b.primary || a.last_committed != b.last_committed) {
    return false;
  }
  return std::is_permutation(a.secondaries.begin(), a.secondaries.end(), b.secondaries.begin(),
                             b.secondaries.end());
}

namespace {

void remember_drop(PartitionConfig& config, HostPort node) {
  if (!node) return;
  std::erase(config.last_drops, node);
  config.last_drops.push_back(node);
  if (config.last_drops.size() > kMaxLastDrops) config.last_drops.erase(config.last_drops.begin());
}

Status refused(const PartitionConfig& from, ChangeType type, HostPort node, std::string_view why) {
  return Status(Errc::kInvalidParameters, fmt::format("{}: {} of {} at ballot {}: {}", from.pid,
                                                      change_name(type), node, from.ballot, why));
}

}  // namespace

Result<PartitionConfig> changed(const PartitionConfig& from, ChangeType type, HostPort node) {
  PartitionConfig to = from;
  to.ballot = from.ballot + 1;
  if (!node && type != ChangeType::kDropPartition)
    return refused(from, type, node, "no node is named");
  switch (type) {
    case ChangeType::kAssignPrimary:
      if (from.primary) return refused(from, type, node, "there is a primary");
      if (from.is_secondary(node)) return refused(from, type, node, "the node is a secondary");
      to.primary = node;
      std::erase(to.last_drops, node);
      return to;
    case ChangeType::kUpgradeToPrimary:
      if (from.primary) return refused(from, type, node, "there is a primary");
      if (!from.is_secondary(node)) return refused(from, type, node, "the node is no secondary");
      std::erase(to.secondaries, node);
      to.primary = node;
      std::erase(to.last_drops, node);
      return to;
    case ChangeType::kUpgradeToSecondary:
      if (!from.primary) return refused(from, type, node, "there is no primary");
      if (from.is_member(node)) return refused(from, type, node, "the node is a member");
      to.secondaries.push_back(node);
      std::erase(to.last_drops, node);
      return to;
    case ChangeType::kDowngradeToSecondary:
      if (from.primary != node) return refused(from, type, node, "the node is not the primary");
      to.primary = {};
      to.secondaries.push_back(node);
      return to;
    case ChangeType::kDowngradeToInactive:
    case ChangeType::kRemove:
      if (!from.is_member(node)) return refused(from, type, node, "the node is no member");
      if (from.primary == node) {
        to.primary = {};
      } else {
        std::erase(to.secondaries, node);
      }
      remember_drop(to, node);
      return to;
    case ChangeType::kForceUpdateBallot:
      if (from.primary != node) return refused(from, type, node, "the node is not the primary");
      return to;
    case ChangeType::kDropPartition:
      for (HostPort secondary : from.secondaries) remember_drop(to, secondary);
      remember_drop(to, from.primary);  // 03 §5.2: the primary last
      to.primary = {};
      to.secondaries.clear();
      to.flags |= kDroppedFlag;
      return to;
    case ChangeType::kInvalid:
    case ChangeType::kAddSecondary:
    case ChangeType::kAddSecondaryForBalance:
    case ChangeType::kRegisterChild:
      break;
  }
  return refused(from, type, node, "this is no change of a membership");
}

Status check_config(const PartitionConfig& config) {
  auto bad = [&](std::string_view why) {
    return Status(Errc::kInvalidData, fmt::format("{}: {}", config.pid, why));
  };
  if (config.ballot < -1) return bad(fmt::format("ballot {} is below -1", config.ballot));
  std::set<HostPort> seen;
  for (HostPort member : config.members()) {
    if (!member) return bad("a secondary has no address");
    if (!seen.insert(member).second) return bad(fmt::format("{} is a member twice", member));
  }
  if (config.last_drops.size() > kMaxLastDrops) return bad("more than three last drops");
  for (HostPort node : config.last_drops) {
    if (!node) return bad("a last drop has no address");
    if (!seen.insert(node).second)
      return bad(fmt::format("{} is in last_drops and a member, or there twice", node));
  }
  return {};
}

int32_t write_quorum(int32_t configured, int32_t max_replica_count) {
  if (configured > 0) return std::min(configured, max_replica_count);
  return max_replica_count <= 2 ? 1 : max_replica_count / 2 + 1;
}

}  // namespace markab::meta
