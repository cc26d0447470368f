// Tables: what there is, making and dropping them, their environments.

#include <boost/json.hpp>
#include <map>

#include "shell/session.h"

namespace markab::shell {

namespace json = boost::json;

namespace {

const Option kJson{'j', "json", "", "print JSON with string values"};
const Option kOutput{'o', "output", "file", "write there"};
const Option kDetailed{'d', "detailed", "", "also how healthy"};
const Option kWait{'t', "wait_seconds", "seconds", "how long to wait; default 100"};

constexpr int64_t kDefaultWaitSeconds = 100;
constexpr int64_t kMostWaitSeconds = 86400;
constexpr int32_t kMostPartitions = 1 << 16;

std::string_view status_name(TableStatus status) {
  switch (status) {
    case TableStatus::kAvailable:
      return "available";
    case TableStatus::kCreating:
      return "creating";
    case TableStatus::kDropping:
      return "dropping";
    case TableStatus::kDropped:
      return "dropped";
    case TableStatus::kRecalling:
      return "recalling";
    case TableStatus::kInvalid:
      break;
  }
  return "unknown";
}

bool is_table_name(std::string_view name) {
  if (name.empty()) return false;
  for (char c : name) {
    bool good = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                c == '_' || c == '.' || c == ':';
    if (!good) return false;
  }
  return true;
}

Error check_table_name(std::string_view name) {
  if (is_table_name(name)) return {};
  return {
      ErrorCode::kInvalidArgument,
      fmt::format("'{}' cannot be a table's name; allowed are letters, digits, '_', '.' and ':'",
                  name)};
}

struct Health {
  int32_t fully = 0;
  int32_t unhealthy = 0;
  int32_t write_unhealthy = 0;
  int32_t read_unhealthy = 0;
};

// 07 §3.3: what is missing for full health, for writes (two replicas of three), for
// reads (a primary).
Health health_of(const TablePartitions& table) {
  Health health;
  for (const auto& partition : table.partitions) {
    bool primary = !partition.primary.empty();
    auto alive = static_cast<int32_t>(partition.secondaries.size()) + (primary ? 1 : 0);
    int32_t quorum = partition.replica_count >= 2 ? 2 : 1;
    if (primary && alive >= partition.replica_count) {
      ++health.fully;
      continue;
    }
    ++health.unhealthy;
    if (!primary || alive < quorum) ++health.write_unhealthy;
    if (!primary) ++health.read_unhealthy;
  }
  return health;
}

bool matches(const std::string& name, const std::string& pattern, const std::string& how) {
  if (how == "exact") return name == pattern;
  if (how == "anywhere") return name.find(pattern) != std::string::npos;
  if (how == "prefix") return name.starts_with(pattern);
  if (how == "postfix") return name.ends_with(pattern);
  return true;
}

Outcome<TableStatus> wanted_status(const Arguments& arguments) {
  if (arguments.has('a')) return TableStatus::kInvalid;
  std::string text = arguments.text('s', "available");
  if (text == "all") return TableStatus::kInvalid;
  for (auto status : {TableStatus::kAvailable, TableStatus::kCreating, TableStatus::kDropping,
                      TableStatus::kDropped}) {
    if (text == status_name(status)) return status;
  }
  return Error{
      ErrorCode::kInvalidArgument,
      fmt::format("-s '{}'; allowed are all, available, creating, dropping and dropped", text)};
}

Error ls(Session& session, const Arguments& arguments) {
  auto status = wanted_status(arguments);
  if (!status) return status.error();
  auto tables = session.admin().list_tables(*status, session.timeout);
  if (!tables) return tables.error();
  Section general =
      Section::rows("general_info", {"app_id", "status", "app_name", "app_type", "partition_count",
                                     "replica_count", "is_stateful", "create_time", "drop_time",
                                     "drop_expire", "envs_count", "atomic_idempotent"});
  Section healthy =
      Section::rows("healthy_info", {"app_id", "app_name", "partition_count", "fully_healthy",
                                     "unhealthy", "write_unhealthy", "read_unhealthy"});
  int total = 0;
  Health tables_in;  // how many tables have such partitions
  for (const auto& table : *tables) {
    if (!matches(table.name, arguments.text('p'), arguments.text('m', "all"))) continue;
    ++total;
    bool gone = table.status == TableStatus::kDropped;
    general.add_row({table.app_id, json::string(status_name(table.status)),
                     json::string(table.name), json::string(table.type), table.partition_count,
                     table.replica_count, table.is_stateful,
                     json::string(format_time(table.create_second)),
                     json::string(format_time(table.drop_second)),
                     json::string(gone ? format_time(table.expire_second) : "-"), table.envs.size(),
                     table.atomic_idempotent});
    if (!arguments.has('d') || table.status != TableStatus::kAvailable) continue;
    auto partitions = session.admin().partitions(table.name, session.timeout);
    if (!partitions) return partitions.error();
    Health health = health_of(*partitions);
    healthy.add_row({table.app_id, json::string(table.name), table.partition_count, health.fully,
                     health.unhealthy, health.write_unhealthy, health.read_unhealthy});
    tables_in.fully += health.unhealthy == 0 ? 1 : 0;
    tables_in.unhealthy += health.unhealthy > 0 ? 1 : 0;
    tables_in.write_unhealthy += health.write_unhealthy > 0 ? 1 : 0;
    tables_in.read_unhealthy += health.read_unhealthy > 0 ? 1 : 0;
  }
  Section summary = Section::fields("summary");
  summary.add_field("total_app_count", total);
  Report report{std::move(general)};
  if (arguments.has('d')) {
    report.push_back(std::move(healthy));
    summary.add_field("fully_healthy_app_count", tables_in.fully);
    summary.add_field("unhealthy_app_count", tables_in.unhealthy);
    summary.add_field("write_unhealthy_app_count", tables_in.write_unhealthy);
    summary.add_field("read_unhealthy_app_count", tables_in.read_unhealthy);
  }
  report.push_back(std::move(summary));
  return session.show(report, arguments);
}

Error app(Session& session, const Arguments& arguments) {
  const auto& name = arguments.word(0);
  auto table = session.admin().partitions(name, session.timeout);
  if (!table) return table.error();
  Section parameters = Section::fields("parameters");
  parameters.add_field("app_name", json::string(name));
  parameters.add_field("detailed", arguments.has('d'));
  Section general = Section::fields("general");
  general.add_field("app_name", json::string(name));
  general.add_field("app_id", table->app_id);
  general.add_field("partition_count", table->partitions.size());
  general.add_field("max_replica_count",
                    table->partitions.empty() ? 0 : table->partitions[0].replica_count);
  Report report{std::move(parameters), std::move(general)};
  if (!arguments.has('d')) return session.show(report, arguments);

  Section replicas =
      Section::rows("replicas", {"pidx", "ballot", "replica_count", "primary", "secondaries"});
  std::map<std::string, std::pair<int, int>> held;
  for (const auto& partition : table->partitions) {
    bool primary = !partition.primary.empty();
    if (primary) ++held[partition.primary].first;
    for (const auto& node : partition.secondaries) ++held[node].second;
    replicas.add_row(
        {partition.index, partition.ballot,
         json::string(fmt::format("{}/{}", partition.secondaries.size() + (primary ? 1 : 0),
                                  partition.replica_count)),
         json::string(primary ? partition.primary : "-"),
         json::string(fmt::format("[{}]", fmt::join(partition.secondaries, ",")))});
  }
  Section nodes = Section::rows("nodes", {"node", "primary", "secondary", "total"});
  int primaries = 0;
  int secondaries = 0;
  for (const auto& [node, count] : held) {
    nodes.add_row({json::string(node), count.first, count.second, count.first + count.second});
    primaries += count.first;
    secondaries += count.second;
  }
  nodes.add_row({"total", primaries, secondaries, primaries + secondaries});
  Health health = health_of(*table);
  Section healthy = Section::fields("healthy");
  healthy.add_field("fully_healthy_partition_count", health.fully);
  healthy.add_field("unhealthy_partition_count", health.unhealthy);
  healthy.add_field("write_unhealthy_partition_count", health.write_unhealthy);
  healthy.add_field("read_unhealthy_partition_count", health.read_unhealthy);
  report.push_back(std::move(replicas));
  report.push_back(std::move(nodes));
  report.push_back(std::move(healthy));
  return session.show(report, arguments);
}

// Until every partition has all its replicas and took a write.
Error wait_until_writable(Session& session, const std::string& name, const Arguments& arguments) {
  auto seconds = arguments.number('t', kDefaultWaitSeconds, 1, kMostWaitSeconds);
  if (!seconds) return to_error(seconds.error());
  // Called on a thread of the client, while this one does nothing but wait.
  auto tell = [&, told = -1](const Readiness& now) mutable {
    int32_t done = std::min(now.with_all_replicas, now.writable);
    if (done == now.partitions || done == std::exchange(told, done)) return;
    session.progress(
        fmt::format("{} not ready yet, still waiting... ({}/{})", name, done, now.partitions));
  };
  auto ready = session.admin().wait_writable(name, Seconds(*seconds), tell);
  if (!ready) return ready.error();
  session.progress(fmt::format("{} is ready now: {}/{} partitions take writes", name,
                               ready->writable, ready->partitions));
  return {};
}

Error parse_envs(std::string_view text, std::map<std::string, std::string>& envs) {
  while (!text.empty()) {
    auto comma = std::min(text.find(','), text.size());
    auto pair = text.substr(0, comma);
    auto equals = pair.find('=');
    if (equals == 0 || equals == std::string_view::npos) {
      return {ErrorCode::kInvalidArgument, fmt::format("'{}' is not name=value", pair)};
    }
    envs[std::string(pair.substr(0, equals))] = pair.substr(equals + 1);
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return {};
}

Error create(Session& session, const Arguments& arguments) {
  const auto& name = arguments.word(0);
  if (Error error = check_table_name(name)) return error;
  auto partitions = arguments.number('p', 4, 1, kMostPartitions);
  auto replicas = arguments.number('r', 3, 1, 16);
  if (!partitions) return to_error(partitions.error());
  if (!replicas) return to_error(replicas.error());
  CreateOptions options;
  options.partition_count = static_cast<int32_t>(*partitions);
  options.replica_count = static_cast<int32_t>(*replicas);
  options.ok_if_exists = !arguments.has('f');
  options.atomic_idempotent = arguments.has('i');
  if (Error error = parse_envs(arguments.text('e'), options.envs)) return error;
  auto id = session.admin().create_table(name, options, session.timeout);
  if (!id) return id.error();
  if (Error error = wait_until_writable(session, name, arguments)) return error;
  session.json ? session.emit({{"app_name", name}, {"app_id", *id}})
               : session.line(fmt::format("create app \"{}\" succeed", name));
  return {};
}

Error wait_healthy(Session& session, const Arguments& arguments) {
  if (Error error = wait_until_writable(session, arguments.word(0), arguments)) return error;
  if (session.json) session.emit({{"app_name", arguments.word(0)}, {"healthy", true}});
  return {};
}

Error drop(Session& session, const Arguments& arguments) {
  auto reserve = arguments.number('r', 0, 0, INT32_MAX);
  if (!reserve) return to_error(reserve.error());
  const auto& name = arguments.word(0);
  auto done = session.admin().drop_table(name, Seconds(*reserve), session.timeout);
  if (!done) return done.error();
  if (session.json) {
    session.emit({{"app_name", name}, {"reserve_seconds", *reserve}});
    return {};
  }
  session.line(fmt::format("reserve_seconds = {}", *reserve));
  session.line(fmt::format("drop app {} succeed", name));
  return {};
}

Error recall(Session& session, const Arguments& arguments) {
  auto id = parse_number("APP_ID", arguments.word(0), 1, INT32_MAX);
  if (!id) return to_error(id.error());
  std::string new_name = arguments.count() > 1 ? arguments.word(1) : "";
  if (!new_name.empty()) {
    if (Error error = check_table_name(new_name)) return error;
  }
  auto table = session.admin().recall_table(static_cast<int32_t>(*id), new_name, session.timeout);
  if (!table) return table.error();
  if (Error error = wait_until_writable(session, table->name, arguments)) return error;
  session.json
      ? session.emit({{"app_name", table->name}, {"app_id", table->app_id}})
      : session.line(fmt::format("recall app {} succeed: its name is {}", *id, table->name));
  return {};
}

Error rename(Session& session, const Arguments& arguments) {
  if (Error error = check_table_name(arguments.word(1))) return error;
  auto done = session.admin().rename_table(arguments.word(0), arguments.word(1), session.timeout);
  if (!done) return done.error();
  session.json ? session.emit({{"app_name", arguments.word(1)}})
               : session.line(fmt::format("rename app {} to {} succeed", arguments.word(0),
                                          arguments.word(1)));
  return {};
}

// --- environments ---

Error need_table(Session& session) {
  if (!session.table_name().empty()) return {};
  return {ErrorCode::kInvalidArgument,
          "no table is in use; say `use TABLE` first (`ls` lists them)"};
}

Error get_app_envs(Session& session, const Arguments& arguments) {
  if (Error error = need_table(session)) return error;
  auto tables = session.admin().list_tables(TableStatus::kAvailable, session.timeout);
  if (!tables) return tables.error();
  for (const auto& table : *tables) {
    if (table.name != session.table_name()) continue;
    Section fields = Section::fields("app_envs");
    for (const auto& [name, value] : table.envs) fields.add_field(name, json::string(value));
    return session.show({fields}, arguments);
  }
  return {ErrorCode::kTableNotFound, fmt::format("there is no table {}", session.table_name())};
}

Error told(Session& session, const Outcome<Nothing>& done, std::string_view sentence) {
  if (!done) return done.error();
  session.json ? session.emit({{"app_name", session.table_name()}}) : session.line(sentence);
  return {};
}

Error set_app_envs(Session& session, const Arguments& arguments) {
  if (Error error = need_table(session)) return error;
  if (arguments.count() % 2 != 0) {
    return {ErrorCode::kInvalidArgument,
            fmt::format("'{}' has no value; give pairs: NAME VALUE ...", arguments.words().back())};
  }
  std::map<std::string, std::string> envs;
  for (size_t i = 0; i < arguments.count(); i += 2) envs[arguments.word(i)] = arguments.word(i + 1);
  return told(session, session.admin().set_envs(session.table_name(), envs, session.timeout),
              "set app envs succeed");
}

Error del_app_envs(Session& session, const Arguments& arguments) {
  if (Error error = need_table(session)) return error;
  return told(session,
              session.admin().del_envs(session.table_name(), arguments.words(), session.timeout),
              "del app envs succeed");
}

Error clear_app_envs(Session& session, const Arguments& arguments) {
  if (Error error = need_table(session)) return error;
  if (arguments.has('a') == arguments.has('p')) {
    return {ErrorCode::kInvalidArgument, "say either -a (all) or -p PREFIX"};
  }
  return told(
      session,
      session.admin().clear_envs(session.table_name(), arguments.text('p'), session.timeout),
      "clear app envs succeed");
}

Error get_replica_count(Session& session, const Arguments& arguments) {
  auto count = session.admin().replica_count(arguments.word(0), session.timeout);
  if (!count) return count.error();
  Section fields = Section::fields("max_replica_count");
  fields.add_field("table", json::string(arguments.word(0)));
  fields.add_field("max_replica_count", *count);
  return session.show({fields}, arguments);
}

Error set_replica_count(Session& session, const Arguments& arguments) {
  auto count = parse_number("COUNT", arguments.word(1), 1, 16);
  if (!count) return to_error(count.error());
  auto old = session.admin().set_replica_count(arguments.word(0), static_cast<int32_t>(*count),
                                               session.timeout);
  if (!old) return old.error();
  session.json ? session.emit({{"old_max_replica_count", *old}, {"max_replica_count", *count}})
               : session.line(fmt::format("replica count of table {} is changed from {} to {}",
                                          arguments.word(0), *old, *count));
  return {};
}

}  // namespace

std::vector<Command> table_commands() {
  return {
      {"ls",
       "[-a] [-d] [-s STATUS] [-p PATTERN] [-m all|exact|anywhere|prefix|postfix] [-j] [-o FILE]",
       "the tables",
       {{'a', "all", "", "dropped ones too"},
        kDetailed,
        {'s', "status", "all|available|creating|dropping|dropped", "only these"},
        {'p', "app_name_pattern", "pattern", "only tables with such a name"},
        {'m', "match_type", "all|exact|anywhere|prefix|postfix", "how the pattern matches"},
        kJson,
        kOutput},
       0,
       0,
       ls},
      {"app",
       "NAME [-d] [-j] [-o FILE]",
       "a table and where its partitions live",
       {kDetailed, kJson, kOutput},
       1,
       1,
       app},
      {"create",
       "NAME [-p PARTITIONS] [-r REPLICAS] [-e NAME=VALUE,...] [-f] [-i] [-t SECONDS]",
       "make a table, and wait until it takes writes",
       {{'p', "partition_count", "n", "a power of two; default 4"},
        {'r', "replica_count", "n", "default 3"},
        {'e', "envs", "name=value,...", "its environments"},
        {'f', "fail_if_exist", "", "fail if there is one of that name"},
        {'i', "atomic_idempotent", "",
         "recorded for tools; atomic writes always travel as their effects"},
        kWait},
       1,
       1,
       create},
      {"drop",
       "NAME [-r SECONDS]",
       "drop a table; its data is kept for a while",
       {{'r', "reserve_seconds", "seconds", "how long; 0: as the server is configured"}},
       1,
       1,
       drop},
      {"recall",
       "APP_ID [NEW_NAME] [-t SECONDS]",
       "bring a dropped table back",
       {kWait},
       1,
       2,
       recall},
      {"rename", "OLD NEW", "give a table another name", {}, 2, 2, rename},
      {"wait_healthy",
       "NAME [-t SECONDS]",
       "wait until every partition has all its replicas and takes writes",
       {kWait},
       1,
       1,
       wait_healthy},
      {"get_app_envs",
       "[-j]",
       "the environments of the table in use",
       {kJson, kOutput},
       0,
       0,
       get_app_envs},
      {"set_app_envs", "NAME VALUE ...", "set some", {}, 2, kAnyNumber, set_app_envs},
      {"del_app_envs", "NAME ...", "delete some", {}, 1, kAnyNumber, del_app_envs},
      {"clear_app_envs",
       "-a | -p PREFIX",
       "delete all, or all that begin with PREFIX.",
       {{'a', "all", "", "all"}, {'p', "prefix", "prefix", "these"}},
       0,
       0,
       clear_app_envs},
      {"get_replica_count",
       "TABLE [-j]",
       "how many replicas its partitions shall have",
       {kJson, kOutput},
       1,
       1,
       get_replica_count},
      {"set_replica_count", "TABLE COUNT", "change that", {}, 2, 2, set_replica_count},
  };
}

}  // namespace markab::shell
