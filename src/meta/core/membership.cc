// Changes of memberships: those that replicas ask for (03 §10.1), failover, planned moves of the
// primary role, and the proposals that tell the members.

#include <algorithm>

#include "base/assert.h"
#include "meta/core/meta_core.h"

namespace markab::meta {

void MetaCore::on_update(uint64_t token, const UpdateRequest& request, Moment t, Actions& out) {
  Event event(*this, t, out);
  Gpid pid = request.config.pid;
  Table* table = table_of(pid);
  Partition* p = partition_of(pid);
  if (p == nullptr) {
    emit(AnswerUpdate{token, Errc::kObjectNotFound, request.config});
    return;
  }
  auto refuse = [&](Errc err, std::string_view why) {
    note(fmt::format("{}: {} of {} at ballot {} is refused with {}: {}", pid,
                     change_name(request.type), request.node, request.config.ballot, err, why));
    emit(AnswerUpdate{token, err, p->config});
  };
  // The order of the checks is that of 03 §10.1.
  if (effective_level() <= Level::kFreezed)
    return refuse(Errc::kStateFreezed, "the cluster is freezed");
  if (same_membership(request.config, p->config)) {
    emit(AnswerUpdate{token, Errc::kOk, p->config});
    return;
  }
  if (request.config.ballot != p->config.ballot + 1)
    return refuse(Errc::kInvalidVersion, "the ballot is not the next");
  if (p->pending) {
    // Upstream is silent here and the replica times out; we answer as soon as the other change is
    // stored.
    UpdateRequest copy = request;
    p->after.push_back([this, token, copy] {
      Partition* now = partition_of(copy.config.pid);
      emit(AnswerUpdate{
          token, same_membership(copy.config, now->config) ? Errc::kOk : Errc::kInvalidVersion,
          now->config});
    });
    return;
  }
  if (table->info.status != TableStatus::kAvailable)
    return refuse(Errc::kInvalidVersion, "the table is not available");
  if (request.type == ChangeType::kDropPartition || request.type == ChangeType::kRegisterChild) {
    return refuse(Errc::kInvalidParameters, "that is not for a replica to ask");
  }
  if (request.type == ChangeType::kDowngradeToInactive && p->creating.count(request.node) != 0) {
    // It was asked before the order to create its replica arrived, or it leaves.
    hurry(DeliveryKey{pid, request.node, request.node});
    return refuse(Errc::kInvalidVersion, "its replica is just being created");
  }
  if (request.type == ChangeType::kDowngradeToInactive && !may_go(*p, request.node))
    return refuse(Errc::kBusy, "no other member is known to have made its replica yet");
  auto next = changed(p->config, request.type, request.node);
  if (!next) return refuse(Errc::kInvalidVersion, next.error().message());
  PartitionConfig asked = request.config;
  asked.last_committed = next->last_committed;
  asked.max_replica_count = next->max_replica_count;
  if (!same_membership(asked, *next))
    return refuse(Errc::kInvalidVersion, "it would change more than it says");
  next->last_committed = std::max(p->config.last_committed, request.config.last_committed);
  bool elected = !next->primary && elect(*table, *next);
  store_change(
      *table, *p, *next, request.type, request.node,
      elected ? fmt::format("a replica asked; {} takes over", next->primary) : "a replica asked",
      elected || request.type == ChangeType::kDowngradeToInactive ? Tell::kMembers : Tell::kNobody,
      token);
}

// --- who becomes what ---

void MetaCore::fail_over(Table& table, Partition& p, ChangeType type, HostPort node,
                         std::string reason) {
  PartitionConfig next = changed(p.config, type, node).value();
  if (!elect(table, next)) reason += "; no secondary is alive";
  store_change(table, p, std::move(next), type, node, std::move(reason), Tell::kMembers);
}

// The first members are named before any of them has a replica. Until one besides `node` is known
// to have made it, `node` stays a member: what is empty at one may be full elsewhere, and with the
// ballot raised nobody would be told to create anything any more.
bool MetaCore::may_go(const Partition& p, HostPort node) const {
  if (p.config.ballot != 1) return true;
  auto members = p.config.members();
  if (members.size() == 1) return p.created.count(node) != 0;
  return std::any_of(members.begin(), members.end(), [&](HostPort member) {
    return member != node && p.created.count(member) != 0;
  });
}

bool MetaCore::may_lead(const Partition& p, HostPort node) const {
  return p.config.ballot != 1 || p.created.count(node) != 0;
}

const Partition* MetaCore::first_not_begun(const Table& table) {
  auto begun = [](const Partition& p) {
    return p.config.ballot > 1 || (p.config.ballot == 1 && p.created.count(p.config.primary) != 0);
  };
  auto found = std::find_if_not(table.partitions.begin(), table.partitions.end(), begun);
  return found == table.partitions.end() ? nullptr : &*found;
}

void MetaCore::promote(Table& table, Partition& p, HostPort node, std::string reason) {
  store_change(table, p, changed(p.config, ChangeType::kUpgradeToPrimary, node).value(),
               ChangeType::kUpgradeToPrimary, node, std::move(reason), Tell::kMembers);
}

void MetaCore::regrant(Table& table, Partition& p, std::string reason) {
  HostPort primary = p.config.primary;
  p.regranted = now();
  store_change(table, p, changed(p.config, ChangeType::kForceUpdateBallot, primary).value(),
               ChangeType::kForceUpdateBallot, primary, std::move(reason), Tell::kMembers);
}

bool MetaCore::elect(const Table& table, PartitionConfig& next) {
  MARKAB_ASSERT(!next.primary, "an election without need", next.pid);
  const Partition& p = *find_partition(next.pid);
  std::vector<HostPort> candidates;
  for (HostPort node : next.secondaries) {
    if (eligible(node) && may_lead(p, node)) candidates.push_back(node);
  }
  if (candidates.empty()) {  // one that is about to leave is better than none
    for (HostPort node : next.secondaries) {
      const Node* n = find_node(node);
      if (n != nullptr && n->alive && n->heard && may_lead(p, node)) candidates.push_back(node);
    }
  }
  HostPort chosen = best_primary(table, candidates);
  if (!chosen) return false;
  std::erase(next.secondaries, chosen);
  next.primary = chosen;
  return true;
}

HostPort MetaCore::best_primary(const Table& table, const std::vector<HostPort>& candidates) const {
  auto weight = [&](HostPort address) {
    const Node& n = *find_node(address);
    auto it = n.by_table.find(table.info.id);
    Load mine = it == n.by_table.end() ? Load{} : it->second;
    return std::make_tuple(mine.primaries, mine.replicas, n.total.primaries, n.total.replicas,
                           address);
  };
  HostPort best;
  for (HostPort candidate : candidates) {
    if (!best || weight(candidate) < weight(best)) best = candidate;
  }
  return best;
}

HostPort MetaCore::best_replica(const Table& table, const PartitionConfig& config,
                                bool allow_black_listed) const {
  HostPort best;
  std::tuple<int32_t, int32_t, HostPort> best_weight;
  for (const auto& [address, node] : nodes_) {
    if (!eligible(address) || config.is_member(address)) continue;
    if (!allow_black_listed && options_.black_list.count(address) != 0) continue;
    auto it = node.by_table.find(table.info.id);
    auto weight = std::make_tuple(it == node.by_table.end() ? 0 : it->second.replicas,
                                  node.total.replicas, address);
    if (!best || weight < best_weight) {
      best = address;
      best_weight = weight;
    }
  }
  return best;
}

void MetaCore::place_members(const Table& table, PartitionConfig& config) {
  std::vector<HostPort> candidates;
  for (const auto& [address, node] : nodes_) {
    if (eligible(address)) candidates.push_back(address);
  }
  config.primary = best_primary(table, candidates);
  while (config.primary && static_cast<int32_t>(config.member_count()) < config.max_replica_count) {
    HostPort next = best_replica(table, config, true);
    if (!next) break;
    config.secondaries.push_back(next);
  }
}

// --- planned moves ---

void MetaCore::start_move(Partition& p, HostPort to) {
  p.move = Partition::Move{p.config.primary, to, now(), false};
  emit(AskStepDown{p.config.pid, p.config.primary, p.config.ballot});
}

void MetaCore::on_step_down_result(Gpid pid, Ballot ballot, Errc error, Decree committed, Moment t,
                                   Actions& out) {
  Event event(*this, t, out);
  Table* table = table_of(pid);
  Partition* p = partition_of(pid);
  if (p == nullptr || !p->move || p->pending || p->config.ballot != ballot) return;
  // Who has no replica leads nothing, unless it has yet to be told to create it.
  if (error == Errc::kOk || (error == Errc::kObjectNotFound && may_go(*p, p->move->from))) {
    finish_move(*table, *p, committed);
    return;
  }
  note(fmt::format("{}: {} does not step down: {}", pid, p->move->from, error));
  if (leaves_.count(p->move->from) != 0) {
    p->move->answered = true;  // asked again after step_down_retry
  } else {
    p->move.reset();
    p->plan.clear();
  }
}

void MetaCore::finish_move(Table& table, Partition& p, Decree committed) {
  Partition::Move move = *p.move;
  PartitionConfig next = changed(p.config, ChangeType::kDowngradeToSecondary, move.from).value();
  next.last_committed = std::max(next.last_committed, committed);
  if (move.to && p.config.is_secondary(move.to) && eligible(move.to) && may_lead(p, move.to)) {
    std::erase(next.secondaries, move.to);
    next.primary = move.to;
  } else {
    std::erase(next.secondaries, move.from);  // not the one that just stepped down
    bool elected = elect(table, next);
    if (!elected) {
      // Nobody is left to take over: the old primary gets its role back, at a new ballot.
      p.move.reset();
      regrant(table, p, "nobody could take over from the primary that stepped down");
      return;
    }
    next.secondaries.push_back(move.from);
  }
  std::string reason = fmt::format("the primary role moves from {} to {}", move.from, next.primary);
  store_change(table, p, std::move(next), ChangeType::kDowngradeToSecondary, move.from,
               std::move(reason), Tell::kMembers);
}

// --- who was dropped ---

void MetaCore::update_dropped_list(Table&, Partition& p, const PartitionConfig& before) {
  for (HostPort node : before.members()) {
    if (!p.config.is_member(node)) {
      p.serving.erase(node);
      note_dropped(p, DroppedReplica{node, t_.wall_ms});
    }
  }
  std::erase_if(p.dropped, [&](const DroppedReplica& d) { return p.config.is_member(d.node); });
}

void MetaCore::note_dropped(Partition& p, DroppedReplica entry) {
  std::erase_if(p.dropped, [&](const DroppedReplica& d) { return d.node == entry.node; });
  auto order = [](const DroppedReplica& d) {
    return std::make_tuple(d.drop_time_ms, d.ballot, d.committed, d.prepared);
  };
  auto at = std::upper_bound(p.dropped.begin(), p.dropped.end(), entry,
                             [&](const auto& a, const auto& b) { return order(a) < order(b); });
  p.dropped.insert(at, entry);
  p.preferred_dropped = -1;
  // 03 §5.2: members and dropped ones together are bounded; the smallest goes first, but never one
  // of the last two that the DDD rule asks for.
  size_t bound = static_cast<size_t>(p.config.max_replica_count + options_.max_reserved_dropped);
  auto needed = [&](HostPort node) {
    auto& last = p.config.last_drops;
    return std::find(last.size() > 2 ? last.end() - 2 : last.begin(), last.end(), node) !=
           last.end();
  };
  for (auto it = p.dropped.begin();
       it != p.dropped.end() && p.config.member_count() + p.dropped.size() > bound;) {
    it = needed(it->node) ? it + 1 : p.dropped.erase(it);
  }
}

// --- proposals ---

void MetaCore::announce(const Partition& p, ChangeType type) {
  ChangeType said = !p.config.primary                    ? ChangeType::kDowngradeToSecondary
                    : type == ChangeType::kAssignPrimary ? ChangeType::kAssignPrimary
                                                         : ChangeType::kUpgradeToPrimary;
  for (HostPort member : p.config.members()) deliver(p, member, said, p.config.primary);
}

void MetaCore::announce_departure(const Partition& p, const PartitionConfig& before) {
  for (HostPort member : before.members()) deliver(p, member, ChangeType::kDropPartition, member);
}

void MetaCore::create_replicas(Partition& p) {
  for (HostPort member : p.config.members()) {
    p.creating.insert(member);
    deliver(p, member,
            member == p.config.primary ? ChangeType::kAssignPrimary : ChangeType::kAddSecondary,
            member);
  }
}

void MetaCore::deliver(const Partition& p, HostPort target, ChangeType type, HostPort node) {
  if (!alive(target)) return;  // config sync tells it when it comes back
  Delivery& d = deliveries_[DeliveryKey{p.config.pid, target, node}];
  bool about_other =
      target != node &&
      (type == ChangeType::kAddSecondary || type == ChangeType::kRemove ||
       type == ChangeType::kAddSecondaryForBalance || type == ChangeType::kDowngradeToInactive);
  d = Delivery{type, node, p.config.ballot, now(), false, about_other, false};
  bool invites = type == ChangeType::kAddSecondary || type == ChangeType::kAddSecondaryForBalance;
  if (invites && target != node) forget_report(p.config.pid, node);
  emit(Propose{p.config.pid, target, type, node, p.config.ballot});
}

// Who learns puts aside what it had prepared and its primary does not know: what it told before
// says no more what it has, should the primary be lost meanwhile (03 §10.3).
void MetaCore::forget_report(Gpid pid, HostPort node) {
  for (DroppedReplica& d : partition_of(pid)->dropped) {
    if (d.node == node) d.collected = false;
  }
}

// Again, at once, but once only until it is repeated anyhow: who asks for it at each time that it
// is told would make a storm of it.
void MetaCore::hurry(const DeliveryKey& key) {
  auto it = deliveries_.find(key);
  if (it == deliveries_.end() || it->second.hurried) return;
  it->second.hurried = true;
  emit(Propose{key.pid, key.target, it->second.type, key.node, it->second.ballot});
}

void MetaCore::forget_deliveries(Gpid pid) {
  auto first = deliveries_.lower_bound(DeliveryKey{pid, {}, {}});
  auto last = first;
  while (last != deliveries_.end() && last->first.pid == pid) ++last;
  deliveries_.erase(first, last);
}

void MetaCore::on_proposal_result(const Propose& sent, Errc error, Moment t, Actions& out) {
  Event event(*this, t, out);
  auto it = deliveries_.find(DeliveryKey{sent.pid, sent.target, sent.node});
  if (it == deliveries_.end() || it->second.ballot != sent.ballot || it->second.type != sent.type)
    return;
  bool done = error == Errc::kOk ||
              (sent.type == ChangeType::kDropPartition && error == Errc::kObjectNotFound);
  if (!done) return;  // sent again when its time has come
  if (it->second.is_cure) {
    it->second.confirmed = true;
    it->second.sent = now();
    return;
  }
  deliveries_.erase(it);
  Table* table = table_of(sent.pid);
  Partition* p = partition_of(sent.pid);
  if (p == nullptr || p->creating.erase(sent.target) == 0) return;
  p->created.insert(sent.target);
  if (!alive(p->config.primary)) cure(*table, *p);  // it waited for that
}

void MetaCore::resend_deliveries() {
  for (auto it = deliveries_.begin(); it != deliveries_.end();) {
    auto& [key, d] = *it;
    bool over = !alive(key.target) ||
                (d.type == ChangeType::kDowngradeToInactive && d.is_cure && alive(key.node) &&
                 !(partition_of(key.pid)->cure && partition_of(key.pid)->cure->node == key.node));
    if (over) {
      it = deliveries_.erase(it);
      continue;
    }
    if (now() - d.sent >= (d.confirmed ? options_.remind_after : options_.resend_after)) {
      d.sent = now();
      d.confirmed = false;
      d.hurried = false;
      emit(Propose{key.pid, key.target, d.type, key.node, d.ballot});
    }
    ++it;
  }
}

}  // namespace markab::meta
