#include "meta/core/meta_core.h"

#include <algorithm>

#include "base/assert.h"

namespace markab::meta {

MetaCore::MetaCore(CoreOptions options, Instant now)
    : options_(std::move(options)), last_tick_(now) {
  last_guardian_pass_ = now;
}

MetaCore::Event::Event(MetaCore& core, Moment t, Actions& out) : core_(core) {
  MARKAB_ASSERT(core.out_ == nullptr, "an event of the core came up inside another one");
  core.t_ = t;
  core.out_ = &out;
}

MetaCore::Event::~Event() {
  core_.flush_stores();
  core_.out_ = nullptr;
}

void MetaCore::answer(uint64_t token, Errc err, std::string hint, int64_t value) {
  if (token == 0) return;
  emit(Answer{token, AdminReply{err, std::move(hint), value, std::nullopt}});
}

// --- storing ---

void MetaCore::store(StoreOp op, Completion done) {
  new_ops_.push_back(std::move(op));
  if (done) new_completions_.push_back(std::move(done));
}

void MetaCore::flush_stores() {
  if (new_ops_.empty()) {
    MARKAB_ASSERT(new_completions_.empty(), "a completion waits for no write");
    return;
  }
  uint64_t id = next_store_id_++;
  stores_[id] = std::exchange(new_completions_, {});
  emit(Store{id, std::exchange(new_ops_, {})});
}

void MetaCore::on_stored(uint64_t id, Moment t, Actions& out) {
  Event event(*this, t, out);
  auto it = stores_.find(id);
  MARKAB_ASSERT(it != stores_.end(), "a store that was never asked for, or twice", id);
  MARKAB_ASSERT(it == stores_.begin(), "stores became durable out of order", id);
  auto completions = std::move(it->second);
  stores_.erase(it);
  for (auto& completion : completions) completion();
  check_leaves();
}

void MetaCore::store_table(Table& table, std::function<void(TableInfo&)> edit, Completion done) {
  int32_t id = table.info.id;
  if (table.writing) {
    table.deferred.push_back([this, id, edit = std::move(edit), done = std::move(done)] {
      if (auto it = tables_.find(id); it != tables_.end()) store_table(it->second, edit, done);
    });
    return;
  }
  TableInfo document = table.info;
  bool dropped =
      document.status == TableStatus::kDropped || document.status == TableStatus::kDropping;
  document.status = dropped ? TableStatus::kDropped : TableStatus::kAvailable;
  edit(document);
  table.writing = true;
  store(PutTable{document}, [this, id, edit = std::move(edit), done = std::move(done)] {
    auto it = tables_.find(id);
    MARKAB_ASSERT(it != tables_.end(), "a table went away while it was being written", id);
    TableStatus status = it->second.info.status;
    edit(it->second.info);
    it->second.info.status = status;
    it->second.writing = false;
    if (done) done();
    run_deferred(id);
  });
}

void MetaCore::run_deferred(int32_t table_id) {
  for (;;) {
    auto it = tables_.find(table_id);
    if (it == tables_.end() || it->second.writing || it->second.deferred.empty()) return;
    auto next = std::move(it->second.deferred.front());
    it->second.deferred.pop_front();
    next();
  }
}

void MetaCore::store_change(Table& table, Partition& p, PartitionConfig next, ChangeType type,
                            HostPort node, std::string reason, Tell tell, uint64_t token,
                            Completion done) {
  MARKAB_ASSERT(!p.pending, "two changes of one partition at a time", p.config.pid);
  MARKAB_ASSERT(next.ballot == p.config.ballot + 1, "a change raises the ballot by exactly 1",
                p.config.pid, p.config.ballot, next.ballot);
  Status sound = check_config(next);
  MARKAB_ASSERT(sound.ok(), "a membership that must not be", sound.message());
  MARKAB_ASSERT(next.max_replica_count > 0 && table.info.id == next.pid.app_id,
                "a foreign membership", next.pid);
  account(p, -1);
  p.pending = Partition::Pending{std::move(next), type, node, std::move(reason), tell, token};
  account(p, +1);
  Gpid pid = p.config.pid;
  store(PutPartition{p.pending->next},
        [this, pid, done = std::move(done)] { apply_change(pid, done); });
}

void MetaCore::apply_change(Gpid pid, const Completion& done) {
  Table* table = table_of(pid);
  Partition* p = partition_of(pid);
  MARKAB_ASSERT(p != nullptr && p->pending, "a change became durable that nobody asked for", pid);
  PartitionConfig before = p->config;
  account(*p, -1);
  Partition::Pending change = std::move(*p->pending);
  p->pending.reset();
  p->config = change.next;
  p->changed = now();
  p->move.reset();
  p->creating.clear();
  p->created.clear();
  if (p->cure && (p->config.primary != before.primary || change.node == p->cure->node))
    p->cure.reset();
  account(*p, +1);
  forget_deliveries(pid);
  if (p->config.primary) p->trouble.clear();
  update_dropped_list(*table, *p, before);
  emit(MembershipChanged{before, p->config, change.type, change.node, change.reason,
                         health(table->info, before), health(table->info, p->config)});
  if (change.token != 0) emit(AnswerUpdate{change.token, Errc::kOk, p->config});
  switch (change.tell) {
    case Tell::kNobody:
      break;
    case Tell::kMembers:
      announce(*p, change.type);
      break;
    case Tell::kCreate:
      create_replicas(*p);
      break;
    case Tell::kDeparted:
      announce_departure(*p, before);
      break;
  }
  if (done) done();
  auto waiting = std::exchange(p->after, {});
  for (size_t i = 0; i < waiting.size(); ++i) {
    if (p->pending) {  // the rest stays behind the new change
      p->after.insert(p->after.end(), waiting.begin() + static_cast<ptrdiff_t>(i), waiting.end());
      return;
    }
    waiting[i]();
  }
  if (p->pending) return;
  after_change(*table, *p, change.type, change.node);
  cure(*table, *p);
}

void MetaCore::when_idle(Partition& p, Completion action) {
  if (p.pending) {
    p.after.push_back(std::move(action));
  } else {
    action();
  }
}

void MetaCore::account(const Partition& p, int sign) {
  const PartitionConfig& config = p.pending ? p.pending->next : p.config;
  int32_t table = config.pid.app_id;
  auto add = [&](HostPort node, int primaries, int replicas) {
    Node& n = node_of(node);
    Load& of_table = n.by_table[table];
    n.total.primaries += primaries;
    n.total.replicas += replicas;
    of_table.primaries += primaries;
    of_table.replicas += replicas;
    MARKAB_ASSERT(of_table.primaries >= 0 && of_table.replicas >= of_table.primaries,
                  "the load of a node is off", node, table);
    if (of_table.replicas == 0) n.by_table.erase(table);
  };
  if (config.primary) add(config.primary, sign, sign);
  for (HostPort node : config.secondaries) add(node, 0, sign);
  bool learning = p.cure && (p.cure->type == ChangeType::kAddSecondary ||
                             p.cure->type == ChangeType::kAddSecondaryForBalance);
  if (learning && !config.is_member(p.cure->node)) add(p.cure->node, 0, sign);
}

// --- start ---

Status MetaCore::load(std::vector<LoadedTable> tables, Moment t, Actions& out) {
  MARKAB_ASSERT(!loaded_, "the core is loaded twice");
  Event event(*this, t, out);
  std::sort(tables.begin(), tables.end(),
            [](const LoadedTable& a, const LoadedTable& b) { return a.info.id < b.info.id; });
  for (LoadedTable& table : tables) {
    if (Status s = load_table(table); !s.ok()) return s;
  }
  for (auto& [id, table] : tables_) {
    for (Partition& p : table.partitions) account(p, +1);
  }
  presume_members_alive();
  loaded_ = true;
  for (auto& [id, table] : tables_) resume_table(table);
  note(fmt::format("loaded {} tables; {} nodes are presumed alive", tables_.size(), alive_nodes()));
  return {};
}

Status MetaCore::load_table(LoadedTable& loaded) {
  const TableInfo& info = loaded.info;
  auto bad = [&](std::string_view why) {
    return Status(Errc::kInvalidData, fmt::format("table {} ({}): {}", info.id, info.name, why));
  };
  if (info.id <= 0) return bad("its id is not positive");
  if (tables_.count(info.id) != 0) return bad("its id occurs twice");
  if (info.status != TableStatus::kAvailable && info.status != TableStatus::kDropped) {
    return bad("its stored status is neither AS_AVAILABLE nor AS_DROPPED");
  }
  if (info.partition_count <= 0 || info.partition_count > options_.max_partition_count) {
    return bad(fmt::format("its partition count {} is out of range", info.partition_count));
  }
  if (info.max_replica_count <= 0) return bad("its replica count is not positive");
  Table table;
  table.info = info;
  table.partitions.resize(static_cast<size_t>(info.partition_count));
  for (int32_t i = 0; i < info.partition_count; ++i) {
    Partition& p = table.partitions[static_cast<size_t>(i)];
    p.config.pid = {info.id, i};
    p.config.max_replica_count = info.max_replica_count;
    auto found = loaded.partitions.find(i);
    if (found == loaded.partitions.end()) continue;
    if (found->second.pid != p.config.pid)
      return bad(fmt::format("partition {} names another one: {}", i, found->second.pid));
    if (Status s = check_config(found->second); !s.ok()) return s;
    p.config = found->second;
    for (HostPort node : p.config.last_drops) p.dropped.push_back(DroppedReplica{node});
  }
  // 03 §5.1: what is stored as done may be half done.
  table.info.status =
      info.status == TableStatus::kAvailable ? TableStatus::kCreating : TableStatus::kDropping;
  max_table_id_ = std::max(max_table_id_, info.id);
  auto [it, fresh] = tables_.emplace(info.id, std::move(table));
  // Which partitions are missing is seen again in resume_table() by this mark.
  for (Partition& p : it->second.partitions) {
    if (loaded.partitions.count(p.config.pid.partition_index) == 0) p.config.ballot = -2;
  }
  return index_loaded_table(it->second);
}

Status MetaCore::index_loaded_table(const Table& table) {
  if (table.info.status != TableStatus::kCreating) return {};
  auto [other, fresh] = by_name_.emplace(table.info.name, table.info.id);
  if (fresh) return {};
  return Status(Errc::kInvalidData,
                fmt::format("tables {} and {} are both available under the name {}", other->second,
                            table.info.id, table.info.name));
}

void MetaCore::resume_table(Table& table) {
  bool wanted = table.info.status == TableStatus::kCreating;
  int created = 0;
  int flagged = 0;
  for (Partition& p : table.partitions) {
    bool missing = p.config.ballot == -2;
    if (missing) {
      // Stored as never assigned; the guardian places it.
      p.config.ballot = 0;
      p.config.flags = wanted ? 0 : kDroppedFlag;
      store(PutPartition{p.config}, {});
      ++created;
    } else if (wanted == p.config.dropped()) {
      PartitionConfig next = p.config;
      if (wanted) {
        next.flags &= ~kDroppedFlag;
        next.ballot += 1;
      } else {
        next = changed(p.config, ChangeType::kDropPartition, {}).value();
      }
      store_change(table, p, next, wanted ? ChangeType::kInvalid : ChangeType::kDropPartition, {},
                   "finishing what the previous leader began",
                   wanted ? Tell::kNobody : Tell::kDeparted);
      ++flagged;
    }
  }
  table.info.status = wanted ? TableStatus::kAvailable : TableStatus::kDropped;
  if (created + flagged > 0) {
    warn(fmt::format("table {} ({}) was {} by half: {} partitions are created and {} marked now",
                     table.info.id, table.info.name, wanted ? "created or recalled" : "dropped",
                     created, flagged));
  }
  static const std::string kUpdate = "max_replica_count.update";
  auto update = table.info.envs.find(kUpdate);
  if (wanted && update != table.info.envs.end()) {
    int32_t count = 0;
    if (sscanf(update->second.c_str(), "updating;%d", &count) == 1 && count > 0) {
      change_replica_counts(0, table, count, table.info.max_replica_count);
    } else {
      warn(fmt::format("table {}: the env {} = {} cannot be understood; left alone", table.info.id,
                       kUpdate, update->second));
    }
  }
}

void MetaCore::presume_members_alive() {
  for (auto& [id, table] : tables_) {
    for (const Partition& p : table.partitions) {
      for (HostPort node : p.config.members()) node_of(node);
      for (HostPort node : p.config.last_drops) node_of(node);
    }
  }
  for (auto& [address, node] : nodes_) {
    if (node.alive) continue;  // its beacon was faster than the store
    node.alive = true;
    node.last_beacon = now();
  }
}

// --- ticks ---

void MetaCore::on_tick(Moment t, Actions& out) {
  Event event(*this, t, out);
  // Who did not run for a while heard nobody: the silence of that time is not the nodes'.
  Duration gap = now() - last_tick_;
  if (gap > options_.lease / 2) {
    for (auto& [address, node] : nodes_) node.last_beacon = node.last_beacon + gap;
    warn(fmt::format("the meta server did not run for {} ms; the nodes get that much more time",
                     std::chrono::duration_cast<std::chrono::milliseconds>(gap).count()));
  }
  last_tick_ = now();
  check_nodes();
  if (!loaded_) return;
  retry_waiting_for_nodes();
  Level level = effective_level();
  if (!level_ever_checked_ || level != last_effective_level_) {
    if (level_ever_checked_) {
      warn(fmt::format("the effective level is now {} ({} of {} nodes alive)", level_name(level),
                       alive_nodes(), nodes_.size()));
    }
    bool rose = level_ever_checked_ && level > last_effective_level_;
    last_effective_level_ = level;
    level_ever_checked_ = true;
    if (rose) cure_all();
  }
  if (level > Level::kBlind && !drops_waiting_for_level_.empty()) {
    auto waiting = std::exchange(drops_waiting_for_level_, {});
    for (auto& [id, token] : waiting) drop_partitions(token, tables_.at(id));
  }
  resend_deliveries();
  check_leaves();
  if (now() - last_guardian_pass_ >= options_.guardian_interval) cure_all();
}

// --- views ---

const Table* MetaCore::find_table(const std::string& name) const {
  auto it = by_name_.find(name);
  return it == by_name_.end() ? nullptr : &tables_.at(it->second);
}

const Table* MetaCore::find_table(int32_t id) const {
  auto it = tables_.find(id);
  return it == tables_.end() ? nullptr : &it->second;
}

const Partition* MetaCore::find_partition(Gpid pid) const {
  const Table* table = find_table(pid.app_id);
  if (table == nullptr || pid.partition_index < 0 ||
      pid.partition_index >= table->info.partition_count)
    return nullptr;
  return &table->partitions[static_cast<size_t>(pid.partition_index)];
}

Table* MetaCore::table_of(Gpid pid) { return const_cast<Table*>(find_table(pid.app_id)); }
Partition* MetaCore::partition_of(Gpid pid) { return const_cast<Partition*>(find_partition(pid)); }
Table* MetaCore::table_by_name(const std::string& name) {
  return const_cast<Table*>(find_table(name));
}

Health MetaCore::health(const TableInfo& table, const PartitionConfig& config) const {
  auto count = static_cast<int32_t>(config.member_count());
  if (!config.primary) return config.secondaries.empty() ? Health::kDead : Health::kUnreadable;
  if (count < write_quorum(options_.mutation_2pc_min_replica_count, table.max_replica_count))
    return Health::kUnwritable;
  return count < table.max_replica_count ? Health::kWritableIll : Health::kHealthy;
}

Errc MetaCore::check_replica_count(const Table& table) const {
  for (const Partition& p : table.partitions) {
    if (p.config.max_replica_count != table.info.max_replica_count) return Errc::kInconsistentState;
  }
  return Errc::kOk;
}

int MetaCore::compaction_progress(const Table& table) const {
  int64_t finished = 0;
  bool any = false;
  for (const Partition& p : table.partitions) {
    for (HostPort member : p.config.members()) {
      auto it = p.serving.find(member);
      if (it == p.serving.end() || it->second.compaction == CompactionStatus::kIdle) continue;
      any = true;
      if (it->second.compaction == CompactionStatus::kFinished) ++finished;
    }
  }
  if (!any) return -1;
  return static_cast<int>(finished * 100 /
                          (int64_t{table.info.partition_count} * table.info.max_replica_count));
}

void MetaCore::check_invariants() const {
  std::map<HostPort, Load> loads;
  for (const auto& [id, table] : tables_) {
    MARKAB_ASSERT(static_cast<int32_t>(table.partitions.size()) == table.info.partition_count,
                  "partitions are missing", id);
    for (const Partition& p : table.partitions) {
      Status sound = check_config(p.config);
      MARKAB_ASSERT(sound.ok(), "a membership that must not be", sound.message());
      const PartitionConfig& config = p.pending ? p.pending->next : p.config;
      for (HostPort node : config.members()) ++loads[node].replicas;
      if (config.primary) ++loads[config.primary].primaries;
      if (p.cure && p.cure->type != ChangeType::kRemove &&
          p.cure->type != ChangeType::kDowngradeToInactive && !config.is_member(p.cure->node)) {
        ++loads[p.cure->node].replicas;
      }
      for (const DroppedReplica& d : p.dropped) {
        MARKAB_ASSERT(!p.config.is_member(d.node), "a member counts as dropped", p.config.pid,
                      d.node);
      }
    }
  }
  for (const auto& [address, node] : nodes_) {
    MARKAB_ASSERT(node.total.replicas == loads[address].replicas &&
                      node.total.primaries == loads[address].primaries,
                  "the load of a node is off", address, node.total.replicas,
                  loads[address].replicas);
  }
}

}  // namespace markab::meta
