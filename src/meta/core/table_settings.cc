// What is set per table: environments (03 §14), replica count and idempotence (03 §4.6), manual
// compaction (03 §4.7).

#include <algorithm>

#include "base/assert.h"
#include "base/table_envs.h"
#include "meta/core/env_rules.h"
#include "meta/core/meta_core.h"

namespace markab::meta {

namespace {
constexpr const char* kCountUpdate = "max_replica_count.update";
// A new table's replicas are made within a moment; who asks has an answer before it gives up.
constexpr Duration kWaitForBeginning = std::chrono::seconds(4);
}  // namespace

// --- environments ---

void MetaCore::change_envs(
    uint64_t token, const std::string& name, Request request,
    const std::function<Status(std::map<std::string, std::string>&, std::string& hint)>& edit) {
  Table* table = table_by_name(name);
  if (table == nullptr)
    return answer(token, Errc::kAppNotExist, fmt::format("there is no table {}", name));
  if (defer(token, *table, request)) return;
  if (Errc busy = busy_code(table->info.status); busy != Errc::kOk)
    return answer(token, busy, "the table is in transition");
  auto envs = table->info.envs;
  std::string hint;
  if (Status s = edit(envs, hint); !s.ok()) return answer(token, s.code(), s.message());
  if (envs == table->info.envs) return answer(token, Errc::kOk, hint);
  store_table(
      *table, [envs](TableInfo& i) { i.envs = envs; },
      [this, token, hint] { answer(token, Errc::kOk, hint); });
}

void MetaCore::handle(uint64_t token, SetEnvs& request) {
  change_envs(token, request.name, request, [&](auto& envs, std::string&) -> Status {
    for (const auto& [key, value] : request.pairs) {
      if (Status s = check_env(key, value); !s.ok()) return s;
      envs[key] = value;
    }
    return {};
  });
}

void MetaCore::handle(uint64_t token, DeleteEnvs& request) {
  change_envs(token, request.name, request, [&](auto& envs, std::string& hint) -> Status {
    std::string deleted;
    for (const std::string& key : request.keys) {
      if (envs.erase(key) != 0) deleted += fmt::format("    {}\n", key);
    }
    hint = deleted.empty() ? "none of the keys is set" : "deleted keys:\n" + deleted;
    return {};
  });
}

void MetaCore::handle(uint64_t token, ClearEnvs& request) {
  change_envs(token, request.name, request, [&](auto& envs, std::string& hint) -> Status {
    std::string prefix = request.prefix.empty() ? "" : request.prefix + ".";
    std::string deleted;
    for (auto it = envs.begin(); it != envs.end();) {
      bool match = prefix.empty() || (it->first.size() > prefix.size() &&
                                      it->first.compare(0, prefix.size(), prefix) == 0);
      if (match && it->first != kCountUpdate) {
        deleted += fmt::format("    {}\n", it->first);
        it = envs.erase(it);
      } else {
        ++it;
      }
    }
    hint = deleted.empty() ? "no key has that prefix" : "deleted keys:\n" + deleted;
    return {};
  });
}

// --- replica count ---

void MetaCore::handle(uint64_t token, SetReplicaCount& request) {
  Table* table = table_by_name(request.name);
  if (table == nullptr)
    return answer(token, Errc::kAppNotExist, fmt::format("there is no table {}", request.name));
  if (defer(token, *table, request)) return;
  int32_t old = table->info.max_replica_count;
  // A change under way makes the counts differ; it is told by its own error below.
  bool updating = table->info.envs.count(kCountUpdate) != 0;
  if (!updating && check_replica_count(*table) != Errc::kOk) {
    return answer(token, Errc::kInconsistentState,
                  "the replica counts of the partitions differ from the table's", old);
  }
  if (table->info.status != TableStatus::kAvailable)
    return answer(token, Errc::kInvalidState, "the table is in transition", old);
  if (effective_level() <= Level::kFreezed)
    return answer(token, Errc::kStateFreezed, "the cluster is freezed", old);
  std::string hint;
  if (Errc err = check_replica_count_range(request.count, hint); err != Errc::kOk) {
    if (err == Errc::kTryAgain) return wait_for_nodes(token, std::move(request));
    return answer(token, err, hint, old);
  }
  if (!updating && request.count == old)
    return answer(token, Errc::kOk, "it has that count already", old);
  if (updating)
    return answer(token, Errc::kOperationDisabled,
                  "another change of the replica count is under way", old);
  // It raises the ballot, and nobody is told to create anything at a later one than the first.
  if (const Partition* unborn = first_not_begun(*table); unborn != nullptr) {
    if (request.waits_since.ns == 0) request.waits_since = now();
    if (now() - request.waits_since < kWaitForBeginning)
      return wait_for_nodes(token, std::move(request));
    return answer(token, Errc::kInvalidState,
                  fmt::format("the primary of {} is not known to have made its replica yet; repeat "
                              "it when the table is healthy",
                              unborn->config.pid),
                  old);
  }
  int32_t count = request.count;
  store_table(
      *table, [count](TableInfo& i) { i.envs[kCountUpdate] = fmt::format("updating;{}", count); },
      [this, token, count, old, id = table->info.id] {
        change_replica_counts(token, tables_.at(id), count, old);
      });
}

void MetaCore::change_replica_counts(uint64_t token, Table& table, int32_t count, int32_t old) {
  int32_t id = table.info.id;
  auto finish = [this, token, count, old, id] {
    store_table(
        tables_.at(id),
        [count](TableInfo& i) {
          i.max_replica_count = count;
          i.envs.erase(kCountUpdate);
        },
        [this, token, old, id] {
          answer(token, Errc::kOk, {}, old);
          Table& t = tables_.at(id);
          for (Partition& p : t.partitions) cure(t, p);
        });
  };
  auto left = std::make_shared<int32_t>(1);  // held until all are asked for
  for (Partition& p : table.partitions) {
    if (!p.pending && p.config.max_replica_count == count) continue;  // 03 §19 row 17
    ++*left;
    int32_t index = p.config.pid.partition_index;
    when_idle(p, [this, id, index, count, finish, left] {
      Table& t = tables_.at(id);
      Partition& part = t.partitions[static_cast<size_t>(index)];
      PartitionConfig next = part.config;
      next.ballot += 1;
      next.max_replica_count = count;
      store_change(t, part, std::move(next), ChangeType::kInvalid, {}, "the replica count changes",
                   Tell::kMembers, 0, [finish, left] {
                     if (--*left == 0) finish();
                   });
    });
  }
  if (--*left == 0) finish();
}

void MetaCore::handle(uint64_t token, SetAtomicIdempotent& request) {
  Table* table = table_by_name(request.name);
  if (table == nullptr)
    return answer(token, Errc::kAppNotExist, fmt::format("there is no table {}", request.name));
  if (defer(token, *table, request)) return;
  bool old = table->info.atomic_idempotent;
  if (table->info.status != TableStatus::kAvailable)
    return answer(token, Errc::kInvalidState, "the table is in transition", old);
  if (effective_level() <= Level::kFreezed)
    return answer(token, Errc::kStateFreezed, "the cluster is freezed", old);
  if (old == request.value) return answer(token, Errc::kOk, "it is so already", old);
  bool value = request.value;
  store_table(
      *table, [value](TableInfo& i) { i.atomic_idempotent = value; },
      [this, token, old] { answer(token, Errc::kOk, {}, old); });
}

// --- manual compaction ---

void MetaCore::handle(uint64_t token, StartManualCompact& request) {
  Table* table = table_by_name(request.name);
  if (table == nullptr)
    return answer(token, Errc::kAppNotExist, fmt::format("there is no table {}", request.name));
  if (defer(token, *table, request)) return;
  if (table->info.status != TableStatus::kAvailable)
    return answer(token, Errc::kAppDropped, "the table is not available");
  auto disabled = table->info.envs.find("manual_compact.disabled");
  if (disabled != table->info.envs.end() && parse_env_bool(disabled->second).value_or(false)) {
    return answer(token, Errc::kOperationDisabled,
                  "the env manual_compact.disabled is true; set it to false first");
  }
  if (request.target_level < -1)
    return answer(token, Errc::kInvalidParameters, "target_level is -1 or more");
  if (request.max_running_count < 0)
    return answer(token, Errc::kInvalidParameters, "max_running_count is 0 or more");
  int64_t at = request.trigger_time > 0 ? request.trigger_time : t_.wall_seconds();
  auto envs = table->info.envs;
  envs["manual_compact.once.target_level"] = std::to_string(request.target_level);
  if (request.max_running_count > 0) {
    envs["manual_compact.max_concurrent_running_count"] = std::to_string(request.max_running_count);
  }
  envs["manual_compact.once.bottommost_level_compaction"] = request.bottommost ? "force" : "skip";
  envs["manual_compact.once.trigger_time"] = std::to_string(at);
  store_table(
      *table, [envs](TableInfo& i) { i.envs = envs; },
      [this, token, id = table->info.id] {
        for (Partition& p : tables_.at(id).partitions) {
          for (auto& [node, report] : p.serving) report.compaction = CompactionStatus::kIdle;
        }
        answer(token, Errc::kOk);
      });
}

}  // namespace markab::meta
