#include "replica/table_info.h"

#include <boost/json.hpp>

#include "engine/table_environments.h"

namespace markab::replica {
namespace {

constexpr std::string_view kSuffix = ".pegasus";

}  // namespace

std::string table_info_to_json(Gpid gpid, const TableInfo& table) {
  boost::json::object envs;
  for (const auto& [key, value] : table.envs) envs[key] = value;
  return boost::json::serialize(boost::json::object{{"app_id", gpid.app_id},
                                                    {"partition_index", gpid.partition_index},
                                                    {"app_name", table.app_name},
                                                    {"partition_count", table.partition_count},
                                                    {"max_replica_count", table.max_replica_count},
                                                    {"envs", std::move(envs)}});
}

Result<TableInfo> table_info_from_json(std::string_view text, Gpid gpid) {
  auto bad = [](const std::string& why) { return Status(Errc::kInvalidData, why); };
  boost::system::error_code error;
  auto parsed = boost::json::parse(text, error);
  if (error || !parsed.is_object()) return bad("it is not a JSON object");
  const auto& object = parsed.get_object();
  auto number = [&](const char* key) -> int64_t {
    const auto* v = object.if_contains(key);
    return v != nullptr && v->is_int64() ? v->get_int64() : -1;
  };
  if (number("app_id") != gpid.app_id || number("partition_index") != gpid.partition_index) {
    return bad(fmt::format("it describes another partition than {}", gpid));
  }
  TableInfo table;
  const auto* name = object.if_contains("app_name");
  const auto* envs = object.if_contains("envs");
  if (name == nullptr || !name->is_string() || envs == nullptr || !envs->is_object() ||
      number("partition_count") < 1 || number("max_replica_count") < 1) {
    return bad("app_name, partition_count, max_replica_count or envs is missing");
  }
  table.app_name = name->get_string();
  table.partition_count = static_cast<int32_t>(number("partition_count"));
  table.max_replica_count = static_cast<int32_t>(number("max_replica_count"));
  for (const auto& item : envs->get_object()) {
    if (!item.value().is_string()) return bad("an environment is not a string");
    table.envs[std::string(item.key())] = item.value().get_string();
  }
  return table;
}

engine::TableSettings table_settings(const TableInfo& table, const engine::TableSettings& old,
                                     const engine::OperationSettings& defaults) {
  auto settings = engine::settings_from_environments(table.envs, old, defaults);
  settings.partition_version = table.partition_count - 1;
  return settings;
}

std::string_view role_name(pacifica::Role role) {
  switch (role) {
    case pacifica::Role::kInactive:
      return "inactive";
    case pacifica::Role::kLearner:
      return "learner";
    case pacifica::Role::kSecondary:
      return "secondary";
    case pacifica::Role::kPrimary:
      return "primary";
    case pacifica::Role::kError:
      return "error";
  }
  return "unknown";
}

std::string replica_dir_name(Gpid gpid) { return fmt::format("{}{}", gpid, kSuffix); }

Result<Gpid> parse_replica_dir_name(std::string_view name) {
  if (!name.ends_with(kSuffix)) {
    return Status(Errc::kInvalidParameters,
                  fmt::format("'{}' is not the directory of a replica", name));
  }
  return Gpid::parse(name.substr(0, name.size() - kSuffix.size()));
}

}  // namespace markab::replica
