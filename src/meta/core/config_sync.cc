// Config sync (03 §11): a node tells what it holds and gets to know what it shall serve.

#include <algorithm>
#include <unordered_map>

#include "meta/core/meta_core.h"

namespace markab::meta {

// A primary that restarted gets a new ballot at most this often; who still does not serve asks to
// be removed.
constexpr Duration kRegrantPause = std::chrono::seconds(10);
// A report may have been written before the node heard of a change: what it lacks then is no news.
constexpr Duration kReportDelay = std::chrono::seconds(5);

SyncReply MetaCore::on_config_sync(HostPort address, const std::vector<ReplicaReport>& reports,
                                   Moment t, Actions& out) {
  Event event(*this, t, out);
  SyncReply reply;
  Node* node = find_node(address);
  if (node == nullptr || !node->alive) {  // first contact, or declared dead: the beacon comes first
    reply.err = Errc::kObjectNotFound;
    return reply;
  }
  if (sync_must_wait(address)) {
    reply.err = Errc::kBusy;
    return reply;
  }
  bool first = !node->collected;
  node->collected = true;
  node->reported = now();
  take_reports(*node, reports, reply);
  if (first) cure_partitions_of(address);
  if (sync_must_wait(address)) {  // a restarted primary gets a new ballot first
    reply = {};
    reply.err = Errc::kBusy;
    return reply;
  }
  for (auto& [id, table] : tables_) {
    if (table.info.status == TableStatus::kDropped) continue;
    for (const Partition& p : table.partitions) {
      if (p.config.is_member(address)) reply.partitions.push_back(p.config.pid);
    }
  }
  for (const ReplicaReport& report : reports) {
    const Partition* p = partition_of(report.pid);
    bool available = p != nullptr && table_of(report.pid)->info.status == TableStatus::kAvailable;
    if (available && p->config.ballot > 0 && !p->config.is_member(address))
      reply.elsewhere.push_back(report.pid);
  }
  return reply;
}

bool MetaCore::sync_must_wait(HostPort node) const {
  for (const auto& [id, table] : tables_) {
    if (table.info.status == TableStatus::kDropped) continue;
    for (const Partition& p : table.partitions) {
      if (!p.pending) continue;
      bool concerned = p.config.is_member(node) || p.pending->next.is_member(node);
      if (concerned && (p.pending->token == 0 || p.pending->node == node)) return true;
    }
  }
  return false;
}

void MetaCore::take_reports(Node& node, const std::vector<ReplicaReport>& reports,
                            SyncReply& reply) {
  std::set<Gpid> reported;
  for (const ReplicaReport& report : reports) {
    reported.insert(report.pid);
    take_report(node, report, reply);
  }
  for (auto& [id, table] : tables_) {
    for (Partition& p : table.partitions) {
      if (reported.count(p.config.pid) == 0) take_absence(node, table, p);
    }
  }
}

void MetaCore::take_report(Node& node, const ReplicaReport& report, SyncReply& reply) {
  Table* table = table_of(report.pid);
  if (table != nullptr && report.pid.partition_index >= table->info.partition_count &&
      report.pid.partition_index < 2 * table->info.partition_count &&
      report.status == ReplicaStatus::kError) {
    reply.garbage.push_back(report);  // left over from a cancelled split
    return;
  }
  Partition* p = partition_of(report.pid);
  if (p == nullptr) {
    warn(fmt::format("{} holds a replica of {}, which is not known here; it is left alone",
                     node.address, report.pid));
    return;
  }
  bool lively = effective_level() >= Level::kLively;
  if (table->info.status == TableStatus::kDropped) {
    bool expired = table->info.expire_second > 0 && table->info.expire_second <= t_.wall_seconds();
    if (expired && lively) reply.garbage.push_back(report);
  }
  bool dropped = table->info.status == TableStatus::kDropped;
  if (table->info.status != TableStatus::kAvailable && !dropped) return;
  if (p->config.is_member(node.address)) {
    if (report.shut()) return take_shut(node, *table, *p);
    p->serving[node.address] = report;
    p->created.insert(node.address);
    if (node.address == p->config.primary) {
      check_primary_report(*table, *p, node);
    } else if (p->config.ballot == 1 && !alive(p->config.primary)) {
      cure(*table, *p);  // it waited for that
    }
    return;
  }
  if (p->cure && p->cure->node == node.address) {
    bool failed =
        report.status == ReplicaStatus::kError || report.status == ReplicaStatus::kInactive;
    if (report.status == ReplicaStatus::kLearner) p->cure->seen_learning = true;
    if (p->cure->seen_learning && failed) {
      note(fmt::format("{}: {} did not finish learning", report.pid, node.address));
      p->plan.clear();
      clear_cure(*p);
    }
  }
  auto known = std::find_if(p->dropped.begin(), p->dropped.end(),
                            [&](const DroppedReplica& d) { return d.node == node.address; });
  int64_t drop_time = known == p->dropped.end() ? 0 : known->drop_time_ms;
  note_dropped(
      *p, DroppedReplica{node.address, drop_time, true, report.ballot, report.committed,
                         report.prepared, report.status == ReplicaStatus::kError, report.shut()});
  bool kept = std::any_of(p->dropped.begin(), p->dropped.end(),
                          [&](const DroppedReplica& d) { return d.node == node.address; });
  // 03 §19 row 24: an extra copy goes only while the partition is whole.
  bool whole = static_cast<int32_t>(p->config.member_count()) >= p->config.max_replica_count &&
               p->serving.size() >= p->config.member_count();
  if (!kept && !dropped && lively && whole && report.status != ReplicaStatus::kLearner)
    reply.garbage.push_back(report);
  if (!p->config.primary && p->config.secondaries.empty()) cure(*table, *p);
}

// The node told all that it holds, and this partition is not among it.
void MetaCore::take_absence(Node& node, Table& table, Partition& p) {
  for (DroppedReplica& d : p.dropped) {
    if (d.node != node.address) continue;
    bool news = !d.collected;
    d = DroppedReplica{d.node, d.drop_time_ms, true, -1, -1, -1};
    if (news && !p.config.primary) cure(table, p);
    return;
  }
  if (!p.config.is_member(node.address) || p.pending ||
      table.info.status != TableStatus::kAvailable)
    return;
  p.serving.erase(node.address);
  p.created.erase(node.address);
  if (p.creating.count(node.address) != 0) return;
  if (p.changed.ns != 0 && now() - p.changed < kReportDelay) return;
  if (p.config.ballot == 1) {
    // Was the leader before us lost between storing the table and telling its members? Then nobody
    // has it yet. What a member told before the partition was there says nothing about it.
    auto has_told = [&](const Node* n) {
      return n->collected && (p.changed.ns == 0 || n->reported - p.changed >= kReportDelay);
    };
    bool all_without = true;
    for (HostPort member : p.config.members()) {
      const Node* n = find_node(member);
      all_without = all_without && n != nullptr && n->alive && has_told(n) &&
                    p.serving.count(member) == 0 && p.creating.count(member) == 0;
    }
    if (all_without) {
      note(
          fmt::format("{}: no member has a replica yet; they are told to create it", p.config.pid));
      create_replicas(p);
      return;
    }
    bool unknown = false;
    for (HostPort member : p.config.members()) {
      const Node* n = find_node(member);
      unknown = unknown || (n != nullptr && n->alive && !has_told(n));
    }
    if (unknown || !may_go(p, node.address)) return;  // decided when the others have reported
  }
  if (p.config.primary == node.address && effective_level() > Level::kBlind) {
    fail_over(table, p, ChangeType::kDowngradeToInactive, node.address,
              fmt::format("{} is primary but has no replica of it", node.address));
  }
}

// A member has its replica on a disk that is full or fails: it does not serve, and has not lost
// anything.
void MetaCore::take_shut(Node& node, Table& table, Partition& p) {
  p.serving.erase(node.address);
  p.created.insert(node.address);
  if (p.pending || (p.changed.ns != 0 && now() - p.changed < kReportDelay)) return;
  if (p.config.primary == node.address && may_go(p, node.address) &&
      effective_level() > Level::kBlind) {
    fail_over(table, p, ChangeType::kDowngradeToInactive, node.address,
              fmt::format("{} is primary, on a disk that is full or fails", node.address));
  }
}

void MetaCore::check_primary_report(Table& table, Partition& p, Node& node) {
  const ReplicaReport& report = p.serving.at(node.address);
  if (p.pending || p.move || table.info.status != TableStatus::kAvailable) return;
  bool out_of_service =
      report.status == ReplicaStatus::kInactive && report.ballot == p.config.ballot;
  bool told = deliveries_.count(DeliveryKey{p.config.pid, node.address, node.address}) != 0;
  if (!out_of_service || told || effective_level() <= Level::kBlind) return;
  if (p.regranted.ns != 0 && now() - p.regranted < kRegrantPause) return;
  // It restarted, and this leader did not see it. A primary must not go on at a ballot of its
  // former life (04 S2).
  regrant(table, p, "the primary was out of service at its ballot");
}

}  // namespace markab::meta
