// Create, drop, recall and rename (03 §4.2, §4.3, §5.1).

#include <algorithm>

#include "base/assert.h"
#include "meta/core/env_rules.h"
#include "meta/core/meta_core.h"

namespace markab::meta {

namespace {

constexpr size_t kMaxWaitingForNodes = 1000;
constexpr const char* kMasterCluster = "duplication.master_cluster";
constexpr const char* kFollowerStatus = "duplication.follower_app_status";

std::string env_of(const std::map<std::string, std::string>& envs, const char* key) {
  auto it = envs.find(key);
  return it == envs.end() ? std::string() : it->second;
}

bool is_power_of_two(int32_t n) { return n > 0 && (n & (n - 1)) == 0; }

}  // namespace

void MetaCore::on_request(uint64_t token, Request request, Moment t, Actions& out) {
  Event event(*this, t, out);
  MARKAB_ASSERT(loaded_, "a request before the state is loaded");
  dispatch(token, request);
}

void MetaCore::dispatch(uint64_t token, Request& request) {
  std::visit([&](auto& r) { handle(token, r); }, request);
}

void MetaCore::wait_for_nodes(uint64_t token, Request request) {
  if (waiting_for_nodes_.size() >= kMaxWaitingForNodes)
    return answer(token, Errc::kBusy, "too many requests wait for nodes to be heard of");
  waiting_for_nodes_.emplace_back(token, std::move(request));
}

// After each event that may have told who lives; what is still unclear waits again.
void MetaCore::retry_waiting_for_nodes() {
  auto waiting = std::exchange(waiting_for_nodes_, {});
  for (auto& [token, request] : waiting) dispatch(token, request);
}

bool MetaCore::defer(uint64_t token, Table& table, const Request& request) {
  if (!table.writing) return false;
  table.deferred.push_back([this, token, copy = request]() mutable { dispatch(token, copy); });
  return true;
}

Errc MetaCore::busy_code(TableStatus status) {
  switch (status) {
    case TableStatus::kAvailable:
      return Errc::kOk;
    case TableStatus::kCreating:
    case TableStatus::kRecalling:
      return Errc::kBusyCreating;
    case TableStatus::kDropping:
      return Errc::kBusyDropping;
    case TableStatus::kDropped:
      return Errc::kAppDropped;
    default:
      return Errc::kInvalidState;
  }
}

// --- create ---

Errc MetaCore::check_replica_count_range(int32_t count, std::string& hint) const {
  if (count < options_.min_replica_count || count > options_.max_replica_count) {
    hint = fmt::format("replica count {} is out of range; allowed are {} to {}", count,
                       options_.min_replica_count, options_.max_replica_count);
    return Errc::kInvalidParameters;
  }
  int32_t usable = 0, presumed = 0;
  for (const auto& [address, node] : nodes_) {
    if (!node.alive || node.leaving) continue;
    ++presumed;
    usable += node.heard ? 1 : 0;
  }
  if (count > usable) {
    // A new leader has not heard everybody yet. Who is presumed alive beacons soon, or is dead
    // after the grace.
    if (count <= presumed) return Errc::kTryAgain;
    hint = fmt::format("replica count {} needs as many living replica servers; there are {}", count,
                       usable);
    return Errc::kInvalidParameters;
  }
  return Errc::kOk;
}

Errc MetaCore::check_create(const CreateTable& request, std::string& hint) const {
  if (effective_level() <= Level::kFreezed) {
    hint = fmt::format("the cluster is {}; {} of {} nodes are alive", level_name(effective_level()),
                       alive_nodes(), nodes_.size());
    return Errc::kStateFreezed;
  }
  bool follower = !env_of(request.envs, kMasterCluster).empty();
  if (request.partition_count <= 0 || request.partition_count > options_.max_partition_count) {
    hint = fmt::format("partition count {} is out of range; allowed are 1 to {}",
                       request.partition_count, options_.max_partition_count);
    return Errc::kInvalidParameters;
  }
  if (!is_power_of_two(request.partition_count) && !follower && !options_.any_partition_count) {
    hint = fmt::format(
        "partition count {} is not a power of two, so that the table could never be split; "
        "[markab] allow_any_partition_count = true allows it",
        request.partition_count);
    return Errc::kInvalidParameters;
  }
  if (Errc err = check_replica_count_range(request.replica_count, hint); err != Errc::kOk)
    return err;
  if (!follower) {  // with that env nothing is refused: 06 §4.2
    for (const auto& [key, value] : request.envs) {
      if (Status s = check_env_at_creation(key, value); !s.ok()) {
        hint = s.message();
        return Errc::kInvalidParameters;
      }
    }
  }
  if (Status s = check_table_name(request.name); !s.ok()) {
    hint = s.message();
    return Errc::kInvalidParameters;
  }
  return Errc::kOk;
}

void MetaCore::handle(uint64_t token, CreateTable& request) {
  std::string hint;
  if (Errc err = check_create(request, hint); err != Errc::kOk) {
    if (err == Errc::kTryAgain) return wait_for_nodes(token, std::move(request));
    return answer(token, err, hint);
  }
  if (reserved_names_.count(request.name) != 0)
    return answer(token, Errc::kBusyCreating, "a table is being renamed to that");
  if (Table* existing = table_by_name(request.name); existing != nullptr) {
    answer_existing(token, *existing, request);
    return;
  }
  start_create(token, request);
}

bool MetaCore::answer_existing(uint64_t token, Table& table, CreateTable& request) {
  Errc busy = busy_code(table.info.status);
  if (busy != Errc::kOk) {
    answer(token, busy, fmt::format("table {} is in transition", request.name));
  } else if (request.success_if_exist) {
    const TableInfo& i = table.info;
    bool same = i.partition_count == request.partition_count && i.type == request.type &&
                i.envs == request.envs && i.stateful == request.stateful &&
                i.max_replica_count == request.replica_count;
    answer(token, same ? Errc::kOk : Errc::kInvalidParameters,
           same ? "" : fmt::format("table {} exists with other properties", request.name),
           same ? i.id : 0);
  } else if (!env_of(request.envs, kMasterCluster).empty()) {
    answer_follower_create(token, table, request);
  } else {
    answer(token, Errc::kAppExist,
           fmt::format("table {} exists; its id is {}", request.name, table.info.id));
  }
  return true;
}

// A duplication source repeats its CREATE (03 §4.2, the follower rule).
void MetaCore::answer_follower_create(uint64_t token, Table& table, CreateTable& request) {
  const TableInfo& info = table.info;
  if (env_of(info.envs, kMasterCluster) != env_of(request.envs, kMasterCluster)) {
    return answer(token, Errc::kAppExist, "the table exists and follows no table of that cluster");
  }
  if (request.envs.count(kFollowerStatus) == 0) {
    // Sources up to 2.5 say nothing; a repeat of what just succeeded is not an error (06 §4.2).
    bool repeat = t_.wall_seconds() - info.create_second <= 60;
    return answer(token, repeat ? Errc::kOk : Errc::kAppExist, "the table exists",
                  repeat ? info.id : 0);
  }
  if (info.envs.count(kFollowerStatus) == 0)
    return answer(token, Errc::kInvalidState, "the table is no follower being made");
  std::string mine = env_of(info.envs, kFollowerStatus);
  std::string asked = env_of(request.envs, kFollowerStatus);
  auto legal = [](const std::string& s) { return s == "creating" || s == "created"; };
  if (!legal(mine) || !legal(asked)) {
    return answer(token, Errc::kInvalidParameters,
                  fmt::format("{} is neither creating nor created", kFollowerStatus));
  }
  if (mine == asked) return answer(token, Errc::kOk, {}, info.id);
  if (mine == "created") return answer(token, Errc::kAppExist, "the table exists");
  int32_t id = info.id;
  store_table(
      table, [](TableInfo& i) { i.envs[kFollowerStatus] = "created"; },
      [this, token, id] { answer(token, Errc::kOk, {}, id); });
}

void MetaCore::start_create(uint64_t token, CreateTable& request) {
  int32_t id = ++max_table_id_;
  Table& table = tables_[id];
  TableInfo& info = table.info;
  info.status = TableStatus::kCreating;
  info.type = request.type;
  info.name = request.name;
  info.id = id;
  info.partition_count = request.partition_count;
  info.envs = request.envs;
  info.stateful = true;
  info.max_replica_count = request.replica_count;
  info.create_second = t_.wall_seconds();
  info.init_partition_count = request.partition_count;
  info.atomic_idempotent = request.atomic_idempotent;
  by_name_[info.name] = id;
  table.partitions.resize(static_cast<size_t>(request.partition_count));
  store_table(table, [](TableInfo&) {}, {});
  auto left = std::make_shared<int32_t>(request.partition_count);
  // The members are chosen now: the table is writable as soon as they have made their empty
  // replicas.
  for (int32_t i = 0; i < request.partition_count; ++i) {
    Partition& p = table.partitions[static_cast<size_t>(i)];
    p.config.pid = {id, i};
    p.config.max_replica_count = request.replica_count;
    PartitionConfig next = p.config;
    next.ballot = 1;
    place_members(table, next);
    HostPort primary = next.primary;
    store_change(table, p, std::move(next), ChangeType::kAssignPrimary, primary,
                 "the table is created", Tell::kCreate, 0, [this, token, id, left] {
                   if (--*left > 0) return;
                   tables_.at(id).info.status = TableStatus::kAvailable;
                   answer(token, Errc::kOk, {}, id);
                 });
  }
}

// --- drop ---

void MetaCore::handle(uint64_t token, DropTable& request) {
  Table* table = table_by_name(request.name);
  if (table == nullptr) {
    return answer(token, request.success_if_not_exist ? Errc::kOk : Errc::kAppNotExist,
                  fmt::format("there is no table {}", request.name));
  }
  if (defer(token, *table, request)) return;
  if (Errc busy = busy_code(table->info.status); busy != Errc::kOk)
    return answer(token, busy, "the table is in transition");
  if (table->info.bulk_loading) return answer(token, Errc::kBusy, "the table is bulk loading");
  int64_t reserve =
      request.reserve_seconds > 0 ? request.reserve_seconds : options_.hold_dropped_seconds;
  int64_t dropped_at = t_.wall_seconds();
  table->info.status = TableStatus::kDropping;
  store_table(
      *table,
      [dropped_at, reserve](TableInfo& i) {
        i.drop_second = dropped_at;
        i.expire_second = dropped_at + reserve;
      },
      [this, token, id = table->info.id] { mark_dropped(token, tables_.at(id)); });
}

// The app node is durable: the name is free, and the partitions follow.
void MetaCore::mark_dropped(uint64_t token, Table& table) {
  by_name_.erase(table.info.name);
  if (effective_level() <= Level::kBlind) {
    drops_waiting_for_level_[table.info.id] = token;
    return;
  }
  drop_partitions(token, table);
}

void MetaCore::drop_partitions(uint64_t token, Table& table) {
  int32_t id = table.info.id;
  auto left = std::make_shared<int32_t>(table.info.partition_count);
  for (Partition& p : table.partitions) {
    p.plan.clear();
    if (p.cure) clear_cure(p);
    int32_t index = p.config.pid.partition_index;
    when_idle(p, [this, token, id, index, left] {
      Table& t = tables_.at(id);
      Partition& part = t.partitions[static_cast<size_t>(index)];
      PartitionConfig next = changed(part.config, ChangeType::kDropPartition, {}).value();
      store_change(t, part, std::move(next), ChangeType::kDropPartition, {}, "the table is dropped",
                   Tell::kDeparted, 0, [this, token, id, left] {
                     if (--*left > 0) return;
                     tables_.at(id).info.status = TableStatus::kDropped;
                     answer(token, Errc::kOk, {}, id);
                   });
    });
  }
}

// --- recall ---

void MetaCore::handle(uint64_t token, RecallTable& request) {
  auto it = tables_.find(request.id);
  if (it == tables_.end())
    return answer(token, Errc::kAppNotExist, fmt::format("there is no table of id {}", request.id));
  Table& table = it->second;
  if (defer(token, table, request)) return;
  switch (table.info.status) {
    case TableStatus::kAvailable:
      return answer(token, Errc::kAppExist, "the table is not dropped");
    case TableStatus::kDropped:
      break;
    default:
      return answer(token, busy_code(table.info.status), "the table is in transition");
  }
  if (table.info.expire_second <= t_.wall_seconds()) {
    return answer(token, Errc::kAppNotExist, "the time in which it could be recalled has passed");
  }
  std::string name = request.new_name.empty() ? table.info.name : request.new_name;
  if (by_name_.count(name) != 0 || reserved_names_.count(name) != 0) {
    return answer(token, Errc::kInvalidParameters,
                  fmt::format("the name {} is in use; give another one", name));
  }
  if (!request.new_name.empty()) {
    if (Status s = check_table_name(name); !s.ok())
      return answer(token, Errc::kInvalidParameters, s.message());
  }
  table.info.status = TableStatus::kRecalling;
  by_name_[name] = table.info.id;
  store_table(
      table,
      [name](TableInfo& i) {
        i.name = name;
        i.drop_second = 0;
        i.expire_second = 0;
      },
      [this, token, id = table.info.id] { recall_partitions(token, tables_.at(id)); });
}

void MetaCore::recall_partitions(uint64_t token, Table& table) {
  int32_t id = table.info.id;
  auto left = std::make_shared<int32_t>(table.info.partition_count);
  for (Partition& p : table.partitions) {
    int32_t index = p.config.pid.partition_index;
    when_idle(p, [this, token, id, index, left] {
      Table& t = tables_.at(id);
      Partition& part = t.partitions[static_cast<size_t>(index)];
      PartitionConfig next = part.config;
      next.ballot += 1;
      next.flags &= ~kDroppedFlag;
      store_change(t, part, std::move(next), ChangeType::kInvalid, {}, "the table is recalled",
                   Tell::kNobody, 0, [this, token, id, left] {
                     if (--*left > 0) return;
                     Table& recalled = tables_.at(id);
                     recalled.info.status = TableStatus::kAvailable;
                     if (token != 0)
                       emit(Answer{token, AdminReply{Errc::kOk, {}, id, recalled.info}});
                     for (Partition& each : recalled.partitions) cure(recalled, each);
                   });
    });
  }
}

// --- rename ---

void MetaCore::handle(uint64_t token, RenameTable& request) {
  Table* table = table_by_name(request.old_name);
  if (table == nullptr)
    return answer(token, Errc::kAppNotExist, fmt::format("there is no table {}", request.old_name));
  if (defer(token, *table, request)) return;
  if (Errc busy = busy_code(table->info.status); busy != Errc::kOk)
    return answer(token, busy, "the table is in transition");
  if (by_name_.count(request.new_name) != 0 || reserved_names_.count(request.new_name) != 0) {
    return answer(token, Errc::kInvalidParameters,
                  fmt::format("the name {} is in use", request.new_name));
  }
  if (Status s = check_table_name(request.new_name); !s.ok())
    return answer(token, Errc::kInvalidParameters, s.message());
  std::string to = request.new_name;
  std::string from = request.old_name;
  reserved_names_.insert(to);
  store_table(
      *table, [to](TableInfo& i) { i.name = to; },
      [this, token, from, to, id = table->info.id] {
        by_name_.erase(from);
        by_name_[to] = id;
        reserved_names_.erase(to);
        answer(token, Errc::kOk);
      });
}

}  // namespace markab::meta
