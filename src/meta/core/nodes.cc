// Failure detection (03 §8) and planned leaving.
//
// A node is dead when its beacons stop for `grace`, when a newer incarnation of it beacons (then
// the earlier one is certainly gone), or when a witness says so. A witness is believed: that
// incarnation's later beacons (they were under way, or the witness erred) are met with silence for
// one grace period; who still beacons then has surely lost its lease, was not dead after all, and
// starts anew.

#include <algorithm>

#include "base/assert.h"
#include "meta/core/meta_core.h"

namespace markab::meta {

Node* MetaCore::find_node(HostPort node) {
  auto it = nodes_.find(node);
  return it == nodes_.end() ? nullptr : &it->second;
}
const Node* MetaCore::find_node(HostPort node) const {
  auto it = nodes_.find(node);
  return it == nodes_.end() ? nullptr : &it->second;
}

Node& MetaCore::node_of(HostPort node) {
  auto [it, fresh] = nodes_.try_emplace(node);
  if (fresh) {
    it->second.address = node;
    it->second.died = t_.now;
  }
  return it->second;
}

bool MetaCore::alive(HostPort node) const {
  const Node* n = find_node(node);
  return n != nullptr && n->alive;
}

bool MetaCore::eligible(HostPort node) const {
  const Node* n = find_node(node);
  return n != nullptr && n->alive && n->heard && !n->leaving;
}

int MetaCore::alive_nodes() const {
  return static_cast<int>(std::count_if(nodes_.begin(), nodes_.end(),
                                        [](const auto& entry) { return entry.second.alive; }));
}

bool MetaCore::all_collected() const {
  return std::all_of(nodes_.begin(), nodes_.end(), [](const auto& entry) {
    return entry.second.alive && entry.second.collected;
  });
}

Level MetaCore::effective_level() const {
  if (options_.level <= Level::kFreezed) return options_.level;
  int alive = alive_nodes();
  int all = static_cast<int>(nodes_.size());
  if (alive < options_.min_live_nodes || alive * 100 < options_.live_percentage * all)
    return Level::kFreezed;
  return options_.level;
}

MetaCore::BeaconVerdict MetaCore::on_beacon(HostPort address, int64_t start_time_ms, Moment t,
                                            Actions& out) {
  Event event(*this, t, out);
  Node* known = find_node(address);
  if (known == nullptr && options_.allow_list_enabled && options_.allow_list.count(address) == 0) {
    return BeaconVerdict::kNotAllowed;
  }
  Node& node = node_of(address);
  if (node.start_time_ms == 0 && start_time_ms != 0 && start_time_ms == node.suspect_start_ms) {
    bury(node, start_time_ms, "it was reported dead");  // sent before it died
    return BeaconVerdict::kSilence;
  }
  node.suspect_start_ms = 0;
  bool told = start_time_ms != 0 && node.start_time_ms != 0;
  if (told && start_time_ms < node.start_time_ms && node.alive)
    return BeaconVerdict::kSilence;  // late, from a former life
  if (told && start_time_ms > node.start_time_ms) {
    if (flapping(node, start_time_ms)) return BeaconVerdict::kSilence;
    if (node.alive) node_died(node, "it was restarted");
    node.no_revival_before = {};
  } else if (!node.alive && now() < node.no_revival_before) {
    return BeaconVerdict::kSilence;
  }
  if (start_time_ms != 0) node.start_time_ms = start_time_ms;
  node.last_beacon = now();
  if (!node.alive || !node.heard)
    revive(node, known == nullptr ? "its first beacon" : "its beacon");
  return BeaconVerdict::kRenewed;
}

void MetaCore::revive(Node& node, std::string reason) {
  if (!node.alive) emit(NodeChanged{node.address, true, std::move(reason)});
  node.alive = true;
  node.heard = true;
  if (!loaded_) return;
  cure_partitions_of(node.address);
  retry_waiting_for_nodes();
}

bool MetaCore::flapping(Node& node, int64_t start_time_ms) {
  if (options_.stable_seconds <= 0) return false;
  if (start_time_ms - node.start_time_ms >= options_.stable_seconds * 1000) {
    node.unstable_restarts = 0;
    return false;
  }
  if (node.unstable_restarts >= options_.max_unstable_restarts) return true;
  if (++node.unstable_restarts == options_.max_unstable_restarts) {
    warn(
        fmt::format("{} restarted {} times within {} s each; its next restarts are not answered "
                    "until it was stable",
                    node.address, node.unstable_restarts, options_.stable_seconds));
  }
  return false;
}

void MetaCore::on_report_death(HostPort address, int64_t start_time_ms, const std::string& reason,
                               Moment t, Actions& out) {
  Event event(*this, t, out);
  Node* node = find_node(address);
  if (node == nullptr) {
    note(fmt::format("{} is reported dead but is not known here", address));
    return;
  }
  // Not "later than": wall clocks step back, and then an earlier incarnation has the greater
  // number.
  if (start_time_ms != 0 && node->start_time_ms != 0 && start_time_ms != node->start_time_ms) {
    note(fmt::format("{} is reported dead, but that was another incarnation ({}, not {})", address,
                     start_time_ms, node->start_time_ms));
    return;
  }
  // What is alive by presumption may be a later incarnation, with a lease from the leader before.
  if (start_time_ms != 0 && node->start_time_ms == 0 && node->alive) {
    note(
        fmt::format("{} (started {}) is reported dead; its next beacon will tell whether that is "
                    "what runs there",
                    address, start_time_ms));
    node->suspect_start_ms = start_time_ms;
    return;
  }
  bury(*node, start_time_ms,
       fmt::format("reported: {}", reason.empty() ? "its process ended" : reason));
}

// Dead for certain: its own late beacons do not revive it.
void MetaCore::bury(Node& node, int64_t start_time_ms, std::string reason) {
  if (start_time_ms != 0) node.start_time_ms = std::max(node.start_time_ms, start_time_ms);
  node.suspect_start_ms = 0;
  node.no_revival_before = now() + options_.grace;
  if (node.alive) node_died(node, std::move(reason));
}

void MetaCore::node_died(Node& node, std::string reason) {
  emit(NodeChanged{node.address, false, std::move(reason)});
  node.alive = false;
  node.heard = false;
  node.collected = false;
  node.leaving = false;
  node.died = now();
  for (auto& [id, table] : tables_) {
    for (Partition& p : table.partitions) {
      p.serving.erase(node.address);
      p.creating.erase(node.address);
      for (DroppedReplica& d : p.dropped) {
        if (d.node == node.address) d.collected = false;
      }
      if (p.cure && p.cure->node == node.address) clear_cure(p);
    }
  }
  if (auto leave = leaves_.find(node.address); leave != leaves_.end()) {
    for (uint64_t token : leave->second.tokens) answer(token, Errc::kOk);
    leaves_.erase(leave);
  }
  if (loaded_) cure_partitions_of(node.address);
}

void MetaCore::check_nodes() {
  for (auto& [address, node] : nodes_) {
    if (node.alive && now() - node.last_beacon > options_.grace) {
      node_died(node, fmt::format("no beacon for {} ms",
                                  std::chrono::duration_cast<std::chrono::milliseconds>(
                                      now() - node.last_beacon)
                                      .count()));
    }
    if (node.leaving && now() - node.leaving_since > options_.forget_leaving_after) {
      node.leaving = false;
      note(fmt::format("{} wanted to leave and did not; it counts as staying again", address));
    }
  }
  if (!loaded_) return;
  std::vector<HostPort> forgotten;
  for (auto& [address, node] : nodes_) {
    if (!node.alive && now() - node.died > options_.forget_dead_after) forgotten.push_back(address);
  }
  for (HostPort address : forgotten) {
    if (forget_node(address).ok())
      note(fmt::format("{} is dead for long and holds nothing; it is forgotten", address));
  }
}

Status MetaCore::forget_node(HostPort address) {
  Node* node = find_node(address);
  if (node == nullptr)
    return Status(Errc::kObjectNotFound, fmt::format("{} is not known", address));
  if (node->alive) return Status(Errc::kBusy, fmt::format("{} is alive", address));
  if (node->total.replicas > 0) {
    return Status(Errc::kBusy, fmt::format("{} is still a member of {} partitions", address,
                                           node->total.replicas));
  }
  nodes_.erase(address);
  return {};
}

void MetaCore::cure_partitions_of(HostPort node) {
  for (auto& [id, table] : tables_) {
    if (table.info.status != TableStatus::kAvailable) continue;
    for (Partition& p : table.partitions) {
      bool ill = static_cast<int32_t>(p.config.member_count()) < p.config.max_replica_count;
      if (ill || p.config.is_member(node) || (p.cure && p.cure->node == node)) cure(table, p);
    }
  }
}

void MetaCore::cure_all() {
  if (!loaded_) return;
  last_guardian_pass_ = now();
  in_pass_ = true;
  adds_this_pass_.clear();
  // 03 §10.3: first the partitions without any secondary, then the others.
  for (bool alone : {true, false}) {
    for (auto& [id, table] : tables_) {
      if (table.info.status != TableStatus::kAvailable) continue;
      for (Partition& p : table.partitions) {
        if (p.config.secondaries.empty() == alone) cure(table, p);
      }
    }
  }
  in_pass_ = false;
}

// --- leaving ---

void MetaCore::on_leave(uint64_t token, HostPort address, int64_t start_time_ms, Moment t,
                        Actions& out) {
  Event event(*this, t, out);
  Node* node = find_node(address);
  bool gone =
      node == nullptr || !node->alive ||
      (start_time_ms != 0 && node->start_time_ms != 0 && start_time_ms < node->start_time_ms);
  if (gone) {
    answer(token, Errc::kOk);
    return;
  }
  if (!node->leaving)
    note(fmt::format("{} leaves; {} primaries are to be moved", address,
                     count_primaries(address, false)));
  node->leaving = true;
  node->leaving_since = now();
  auto [leave, fresh] = leaves_.try_emplace(address);
  if (fresh) leave->second.deadline = now() + options_.leave_bound;
  leave->second.tokens.push_back(token);
  move_primaries_away(*node);
  check_leaves();
}

int MetaCore::count_primaries(HostPort node, bool movable_only) const {
  int count = 0;
  for (const auto& [id, table] : tables_) {
    for (const Partition& p : table.partitions) {
      if (p.config.primary != node) continue;
      bool movable =
          p.pending || std::any_of(p.config.secondaries.begin(), p.config.secondaries.end(),
                                   [&](HostPort s) { return eligible(s); });
      if (movable || !movable_only) ++count;
    }
  }
  return count;
}

void MetaCore::move_primaries_away(Node& node) {
  if (effective_level() <= Level::kBlind) return;
  for (auto& [id, table] : tables_) {
    if (table.info.status != TableStatus::kAvailable) continue;
    for (Partition& p : table.partitions) {
      if (p.config.primary != node.address || p.pending) continue;
      bool waits =
          p.move && (!p.move->answered || now() - p.move->asked < options_.step_down_retry);
      bool movable = std::any_of(p.config.secondaries.begin(), p.config.secondaries.end(),
                                 [&](HostPort s) { return eligible(s); });
      if (movable && !waits) start_move(p, {});
    }
  }
}

void MetaCore::check_leaves() {
  for (auto it = leaves_.begin(); it != leaves_.end();) {
    Node& node = node_of(it->first);
    move_primaries_away(node);
    if (count_primaries(it->first, true) > 0 && now() < it->second.deadline) {
      ++it;
      continue;
    }
    // Those that nobody can take over are not worth waiting for and not counted.
    int left = count_primaries(it->first, true);
    int stay = count_primaries(it->first, false);
    if (stay > 0) {
      note(fmt::format("{} leaves with {} primaries, of which {} could still be moved", it->first,
                       stay, left));
    }
    for (uint64_t token : it->second.tokens) answer(token, Errc::kOk, {}, left);
    it = leaves_.erase(it);
  }
}

}  // namespace markab::meta
