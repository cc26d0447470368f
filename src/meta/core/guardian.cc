// The guardian (03 §10.2, §10.3): looks at one partition and starts at most one step that makes it
// better.

#include <algorithm>

#include "base/assert.h"
#include "meta/core/meta_core.h"

namespace markab::meta {

void MetaCore::cure(Table& table, Partition& p) {
  if (table.info.status != TableStatus::kAvailable || p.pending || p.config.ballot < 0) return;
  Level level = effective_level();
  if (level <= Level::kBlind) return;  // held; the pass looks again
  HostPort primary = p.config.primary;
  if (primary && !alive(primary)) {
    p.move.reset();
    if (!may_go(p, primary)) {
      p.trouble = fmt::format("the primary {} is dead, and nobody else has a replica yet", primary);
      return;
    }
    fail_over(table, p, ChangeType::kDowngradeToInactive, primary,
              fmt::format("the primary {} is dead", primary));
    return;
  }
  if (p.move) return;
  if (!primary && !p.config.secondaries.empty()) {
    // Also while freezed: it brings service back and moves no data.
    PartitionConfig next = p.config;
    if (elect(table, next)) {
      promote(table, p, next.primary, "there was no primary");
    } else {
      p.trouble = "all secondaries are dead";
    }
    return;
  }
  if (level <= Level::kFreezed) return;
  if (run_plan(table, p)) return;
  if (!primary) {
    cure_without_primary(table, p);
  } else {
    cure_secondaries(table, p);
  }
}

void MetaCore::cure_without_primary(Table& table, Partition& p) {
  if (p.config.ballot > 0 || !p.config.last_drops.empty()) {
    cure_from_dropped(table, p);
    return;
  }
  // Never assigned. A new leader waits for the nodes to show up before it decides that there are
  // not enough.
  int candidates = static_cast<int>(std::count_if(
      nodes_.begin(), nodes_.end(), [this](const auto& entry) { return eligible(entry.first); }));
  bool any_unheard = std::any_of(nodes_.begin(), nodes_.end(), [](const auto& entry) {
    return entry.second.alive && !entry.second.heard;
  });
  if (candidates == 0 || (candidates < p.config.max_replica_count && any_unheard)) return;
  PartitionConfig next = p.config;
  next.ballot += 1;
  place_members(table, next);
  HostPort chosen = next.primary;
  store_change(table, p, std::move(next), ChangeType::kAssignPrimary, chosen, "its first members",
               Tell::kCreate);
}

// "DDD": every replica was dropped. Who may come back first? (03 §10.3)
void MetaCore::cure_from_dropped(Table& table, Partition& p) {
  const auto& drops = p.config.last_drops;
  auto entry_of = [&](HostPort node) -> const DroppedReplica* {
    for (const DroppedReplica& d : p.dropped) {
      if (d.node == node) return &d;
    }
    return nullptr;
  };
  auto fail = [&](std::string why) {
    if (why != p.trouble) warn(fmt::format("{}: no primary can be chosen: {}", p.config.pid, why));
    p.trouble = std::move(why);
    ++p.choose_primary_failures;
  };
  auto known = [&](HostPort node, std::string& why) -> const DroppedReplica* {
    const DroppedReplica* d = entry_of(node);
    if (!alive(node)) {
      why = fmt::format("{}, one of the last to serve it, is not alive", node);
    } else if (d == nullptr || !d->collected) {
      why = fmt::format("{} has not reported its replicas yet", node);
    } else if (d->shut) {
      why = fmt::format(
          "{} has a replica of it on a disk that is full or fails, and what is in it is not known: "
          "free or repair that disk, or assign a primary by hand",
          node);
    } else {
      return d;
    }
    return nullptr;
  };
  std::string why;
  if (drops.empty()) return fail("no node is known to have served it");
  const DroppedReplica* last = known(drops.back(), why);
  if (last == nullptr) return fail(why);
  if (drops.size() == 1) {
    if (last->ballot < 0)
      return fail(fmt::format("{} served it last and has no replica of it any more", last->node));
    return assign_primary(table, p, last->node, "it served last");
  }
  const DroppedReplica* prev = known(drops[drops.size() - 2], why);
  if (prev == nullptr) return fail(why);
  if (last->ballot < 0 && prev->ballot < 0) {
    return fail(
        fmt::format("neither {} nor {} has a replica of it any more", prev->node, last->node));
  }
  // The higher ballot was a member for longer. Its commit point may well be behind, for a restarted
  // replica knows it only up to the last header it logged (04 §1.10); what counts is that it has
  // prepared all that anybody knows to be committed.
  const DroppedReplica* chosen = last;
  if (prev->ballot != last->ballot) {
    chosen = prev->ballot > last->ballot ? prev : last;
  } else if (prev->doubtful != last->doubtful) {
    chosen = prev->doubtful ? last : prev;
  } else if (prev->committed != last->committed) {
    chosen = prev->committed > last->committed ? prev : last;
  } else if (prev->prepared > last->prepared) {
    chosen = prev;
  }
  Decree committed = std::max({prev->committed, last->committed, p.config.last_committed});
  const DroppedReplica* other = chosen == last ? prev : last;
  // A doubtful log that ends before what is known to be committed has nothing that the other lacks.
  if (chosen->doubtful && chosen->prepared < committed && other->prepared >= committed &&
      !other->doubtful)
    chosen = other;
  if (chosen->prepared < committed) {
    return fail(
        fmt::format("{} has ballot {} and has prepared up to {}, but {} is known to be committed",
                    chosen->node, chosen->ballot, chosen->prepared, committed));
  }
  assign_primary(table, p, chosen->node, "of the last two to serve it, it has most");
}

void MetaCore::assign_primary(Table& table, Partition& p, HostPort node, std::string reason) {
  store_change(table, p, changed(p.config, ChangeType::kAssignPrimary, node).value(),
               ChangeType::kAssignPrimary, node, std::move(reason), Tell::kMembers);
}

// --- secondaries ---

void MetaCore::cure_secondaries(Table& table, Partition& p) {
  // The dead leave by the primary's request; it is told at once and reminded.
  for (HostPort node : p.config.secondaries) {
    DeliveryKey key{p.config.pid, p.config.primary, node};
    if (!alive(node) && deliveries_.count(key) == 0)
      deliver(p, p.config.primary, ChangeType::kDowngradeToInactive, node);
  }
  auto members = static_cast<int32_t>(p.config.member_count());
  if (members < p.config.max_replica_count) {
    add_secondary(table, p);
  } else if (members > p.config.max_replica_count) {
    remove_surplus(table, p);
  } else if (p.cure) {
    clear_cure(p);
  }
}

void MetaCore::add_secondary(Table& table, Partition& p) {
  bool adding = p.cure && (p.cure->type == ChangeType::kAddSecondary ||
                           p.cure->type == ChangeType::kAddSecondaryForBalance);
  if (adding && eligible(p.cure->node) && !p.config.is_member(p.cure->node)) {
    DeliveryKey key{p.config.pid, p.config.primary, p.cure->node};
    if (deliveries_.count(key) == 0) deliver(p, p.config.primary, p.cure->type, p.cure->node);
    return;
  }
  if (p.cure) clear_cure(p);
  if (options_.max_adds_per_node == 0) return;
  HostPort node = choose_secondary(table, p);
  if (!node) return;
  if (options_.flow_control) {
    if (!in_pass_ || adds_this_pass_[node] >= options_.max_adds_per_node) return;
    ++adds_this_pass_[node];
  }
  set_cure(p, ChangeType::kAddSecondary, node);
}

HostPort MetaCore::choose_secondary(const Table& table, Partition& p) {
  auto usable = [&](HostPort node) {
    const Node* n = find_node(node);
    return eligible(node) && n->collected && !p.config.is_member(node);
  };
  int32_t quorum =
      write_quorum(options_.mutation_2pc_min_replica_count, p.config.max_replica_count);
  bool too_few =
      p.config.max_replica_count > quorum && static_cast<int32_t>(p.config.member_count()) < quorum;
  bool emergency = too_few || p.dropped.empty();
  if (!p.dropped.empty()) {
    const DroppedReplica& greatest = p.dropped.back();
    emergency = emergency || t_.wall_ms - greatest.drop_time_ms > options_.assign_delay_ms ||
                options_.black_list.count(greatest.node) != 0;
    if (!emergency) return usable(greatest.node) ? greatest.node : HostPort{};
  }
  // From the preferred one downwards; the next time below it, so that one whose learning failed is
  // not tried at once.
  int at = p.preferred_dropped < 0
               ? static_cast<int>(p.dropped.size()) - 1
               : std::min(p.preferred_dropped, static_cast<int>(p.dropped.size()) - 1);
  for (; at >= 0; --at) {
    HostPort node = p.dropped[static_cast<size_t>(at)].node;
    if (!usable(node)) continue;
    p.preferred_dropped = at == 0 ? -1 : at - 1;
    if (options_.black_list.count(node) == 0) return node;
    break;
  }
  p.preferred_dropped = -1;
  HostPort fresh = best_replica(table, p.config, false);
  return fresh && usable(fresh) ? fresh : HostPort{};
}

void MetaCore::remove_surplus(Table& table, Partition& p) {
  if (p.cure && p.cure->type == ChangeType::kRemove && p.config.is_secondary(p.cure->node)) {
    DeliveryKey key{p.config.pid, p.config.primary, p.cure->node};
    if (deliveries_.count(key) == 0)
      deliver(p, p.config.primary, ChangeType::kRemove, p.cure->node);
    return;
  }
  HostPort fullest;
  std::tuple<bool, int32_t, int32_t> most;
  for (HostPort node : p.config.secondaries) {
    const Node& n = node_of(node);
    auto it = n.by_table.find(table.info.id);
    auto weight = std::make_tuple(!n.alive, n.total.replicas,
                                  it == n.by_table.end() ? 0 : it->second.replicas);
    if (!fullest || weight > most) {
      fullest = node;
      most = weight;
    }
  }
  set_cure(p, ChangeType::kRemove, fullest);
}

void MetaCore::set_cure(Partition& p, ChangeType type, HostPort node) {
  if (p.cure) clear_cure(p);
  account(p, -1);
  p.cure = Partition::Cure{type, node, false};
  account(p, +1);
  deliver(p, p.config.primary, type, node);
}

void MetaCore::clear_cure(Partition& p) {
  MARKAB_ASSERT(p.cure, "no cure to clear", p.config.pid);
  deliveries_.erase(DeliveryKey{p.config.pid, p.config.primary, p.cure->node});
  account(p, -1);
  p.cure.reset();
  account(p, +1);
}

// --- what an operator planned (03 §4.5, §10.2) ---

void MetaCore::on_balance(uint64_t token, const BalanceRequest& request, Moment t, Actions& out) {
  Event event(*this, t, out);
  Table* table = table_of(request.pid);
  if (table == nullptr) return answer(token, Errc::kAppNotExist);
  Partition* p = partition_of(request.pid);
  if (table->info.status != TableStatus::kAvailable || p == nullptr) {
    return answer(token, Errc::kInvalidParameters,
                  "the table is not available, or has no such partition");
  }
  std::vector<PlannedAction> actions = request.actions;
  if (request.force) {
    for (PlannedAction& step : actions) {
      if (!step.target) step.target = p->config.primary;
      Gpid pid = request.pid;
      when_idle(*p, [this, pid, step] { execute(*table_of(pid), *partition_of(pid), step); });
    }
    return answer(token, Errc::kOk);
  }
  if (!p->plan.empty() || p->cure || p->move) {
    return answer(token, Errc::kInvalidParameters,
                  "an earlier proposal for this partition is not finished");
  }
  for (PlannedAction& step : actions) {
    if (step.target) continue;
    if (!p->config.primary)
      return answer(token, Errc::kInvalidParameters, "no target is named and there is no primary");
    step.target = p->config.primary;
  }
  p->plan.assign(actions.begin(), actions.end());
  answer(token, Errc::kOk);
  cure(*table, *p);
}

bool MetaCore::run_plan(Table& table, Partition& p) {
  if (p.plan.empty()) return false;
  PlannedAction step = p.plan.front();
  if (!plan_step_valid(p, step)) {
    note(fmt::format("{}: the planned {} of {} is not possible any more; the plan is dropped",
                     p.config.pid, change_name(step.type), step.node));
    p.plan.clear();
    if (p.cure) clear_cure(p);
    return false;
  }
  execute(table, p, step);
  return true;
}

bool MetaCore::plan_step_valid(const Partition& p, const PlannedAction& step) const {
  const PartitionConfig& c = p.config;
  if (!step.target || !step.node || !alive(step.target)) return false;
  bool removes = step.type == ChangeType::kDowngradeToInactive || step.type == ChangeType::kRemove;
  if (!removes && !alive(step.node)) return false;
  switch (step.type) {
    case ChangeType::kAssignPrimary:
      return step.node == step.target && !c.primary && !c.is_secondary(step.node);
    case ChangeType::kUpgradeToPrimary:
      return step.node == step.target && !c.primary && c.is_secondary(step.node);
    case ChangeType::kAddSecondary:
    case ChangeType::kAddSecondaryForBalance:
      return c.primary && step.target == c.primary && !c.is_member(step.node);
    case ChangeType::kDowngradeToInactive:
    case ChangeType::kRemove:
      return c.primary && step.target == c.primary && c.is_secondary(step.node);
    case ChangeType::kDowngradeToSecondary:
      return c.primary && step.node == step.target && step.target == c.primary &&
             !c.secondaries.empty();
    default:
      return false;
  }
}

void MetaCore::execute(Table& table, Partition& p, const PlannedAction& step) {
  if (!plan_step_valid(p, step)) {
    note(fmt::format("{}: {} of {} is not possible now", p.config.pid, change_name(step.type),
                     step.node));
    return;
  }
  switch (step.type) {
    case ChangeType::kAssignPrimary:
      return assign_primary(table, p, step.node, "an operator said so");
    case ChangeType::kUpgradeToPrimary:
      return promote(table, p, step.node, "an operator said so");
    case ChangeType::kDowngradeToSecondary: {
      bool then_upgrade = p.plan.size() > 1 && p.plan[1].type == ChangeType::kUpgradeToPrimary;
      if (!p.move) start_move(p, then_upgrade ? p.plan[1].node : HostPort{});
      return;
    }
    default:
      break;
  }
  bool asked = p.cure && p.cure->type == step.type && p.cure->node == step.node &&
               deliveries_.count(DeliveryKey{p.config.pid, p.config.primary, step.node}) != 0;
  if (!asked) set_cure(p, step.type, step.node);
}

void MetaCore::after_change(Table&, Partition& p, ChangeType type, HostPort node) {
  if (p.plan.empty()) return;
  PlannedAction head = p.plan.front();
  bool adds =
      head.type == ChangeType::kAddSecondary || head.type == ChangeType::kAddSecondaryForBalance;
  bool removes = head.type == ChangeType::kRemove || head.type == ChangeType::kDowngradeToInactive;
  bool match =
      head.node == node &&
      (head.type == type || (adds && type == ChangeType::kUpgradeToSecondary) ||
       (removes && (type == ChangeType::kRemove || type == ChangeType::kDowngradeToInactive)));
  if (!match) {
    p.plan.clear();
    return;
  }
  p.plan.pop_front();
  // A downgrade and the upgrade behind it are one stored change here.
  if (!p.plan.empty() && p.plan.front().type == ChangeType::kUpgradeToPrimary &&
      p.plan.front().node == p.config.primary) {
    p.plan.pop_front();
  }
}

void MetaCore::set_level(Level level, Moment t, Actions& out) {
  Event event(*this, t, out);
  options_.level = level;
  if (level <= Level::kSteady) {
    for (auto& [id, table] : tables_) {
      for (Partition& p : table.partitions) p.plan.clear();
    }
  }
}

// --- what the last two know (03 §4.8) ---

std::vector<DddPartition> MetaCore::diagnose(int32_t app_id, int32_t index) const {
  std::vector<DddPartition> out;
  for (const auto& [id, table] : tables_) {
    if (app_id != -1 && id != app_id) continue;
    if (table.info.status != TableStatus::kAvailable) continue;
    for (const Partition& p : table.partitions) {
      if (index != -1 && p.config.pid.partition_index != index) continue;
      if (p.config.member_count() > 0 || p.trouble.empty()) continue;
      DddPartition ddd{p.config, {}, p.trouble};
      for (const DroppedReplica& d : p.dropped) ddd.dropped.push_back({d, alive(d.node)});
      // The C++ shell looks each of the last two up without checking that it is there.
      for (HostPort node : p.config.last_drops) {
        bool there = std::any_of(ddd.dropped.begin(), ddd.dropped.end(),
                                 [&](const DddNode& d) { return d.replica.node == node; });
        if (!there) ddd.dropped.push_back({DroppedReplica{node}, alive(node)});
      }
      out.push_back(std::move(ddd));
    }
  }
  return out;
}

}  // namespace markab::meta
