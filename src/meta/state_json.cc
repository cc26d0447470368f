#include "meta/state_json.h"

#include <boost/json.hpp>
#include <charconv>

namespace markab::meta {

namespace json = boost::json;

namespace {

constexpr std::string_view kApps = "/apps/";
constexpr const char* kNoAddress = "invalid address";
constexpr const char* kNoHostPort = "invalid host_port";

std::string_view status_text(TableStatus status) {
  return status == TableStatus::kDropped ? "app_status::AS_DROPPED" : "app_status::AS_AVAILABLE";
}

std::string address_text(HostPort node, const char* none) { return node ? node.to_string() : none; }

json::array addresses(const std::vector<HostPort>& nodes, const char* none) {
  json::array out;
  for (HostPort node : nodes) out.emplace_back(address_text(node, none));
  return out;
}

Status bad(std::string_view what) { return Status(Errc::kInvalidData, std::string(what)); }

// Reads members of one object; remembers the first that is not what it should be.
class Members {
 public:
  explicit Members(const json::object& object) : object_(object) {}

  void get(std::string_view name, std::string& out) {
    if (const json::value* v = find(name)) {
      if (v->is_string()) {
        out = std::string(v->get_string());
      } else {
        fail(name, "is no string");
      }
    }
  }
  void get(std::string_view name, int64_t& out) {
    if (const json::value* v = find(name)) {
      if (v->is_int64()) {
        out = v->get_int64();
      } else {
        fail(name, "is no integer");
      }
    }
  }
  void get(std::string_view name, int32_t& out) {
    int64_t wide = out;
    get(name, wide);
    if (wide < INT32_MIN || wide > INT32_MAX) return fail(name, "is out of range");
    out = static_cast<int32_t>(wide);
  }
  void get(std::string_view name, bool& out) {
    const json::value* v = find(name);
    if (v == nullptr) return;
    if (v->is_bool()) {
      out = v->get_bool();
    } else if (v->is_int64() && (v->get_int64() == 0 || v->get_int64() == 1)) {
      out = v->get_int64() == 1;
    } else {
      fail(name, "is neither 0 nor 1");
    }
  }
  void get(std::string_view name, std::map<std::string, std::string>& out) {
    const json::value* v = find(name);
    if (v == nullptr) return;
    if (!v->is_object()) return fail(name, "is no object");
    for (const auto& [key, value] : v->get_object()) {
      if (!value.is_string()) return fail(name, "holds something else than strings");
      out[std::string(key)] = std::string(value.get_string());
    }
  }
  void get(std::string_view name, HostPort& out) {
    if (const json::value* v = find(name)) read_node(name, *v, out);
  }
  void get(std::string_view name, std::vector<HostPort>& out) {
    const json::value* v = find(name);
    if (v == nullptr) return;
    if (!v->is_array()) return fail(name, "is no array");
    for (const json::value& item : v->get_array()) {
      HostPort node;
      read_node(name, item, node);
      if (node) out.push_back(node);
    }
  }
  const Status& status() const { return status_; }

 private:
  const json::value* find(std::string_view name) const { return object_.if_contains(name); }
  void fail(std::string_view name, std::string_view what) {
    if (status_.ok()) status_ = bad(fmt::format("{} {}", name, what));
  }
  void read_node(std::string_view name, const json::value& v, HostPort& out) {
    if (!v.is_string()) return fail(name, "is no address");
    std::string text(v.get_string());
    if (text == kNoAddress || text == kNoHostPort || text.empty()) return;
    auto node = HostPort::parse(text);
    if (!node)
      return fail(name, fmt::format("holds '{}', which is no IPv4 address and port", text));
    out = *node;
  }

  const json::object& object_;
  Status status_;
};

Result<json::object> parse_object(std::string_view text) {
  boost::system::error_code error;
  json::value value = json::parse(json::string_view(text.data(), text.size()), error);
  if (error) return bad(fmt::format("this is no JSON: {}", error.message()));
  if (!value.is_object()) return bad("this is no JSON object");
  return std::move(value.get_object());
}

// Where a document holds both forms they must agree; where it holds one, that is it (03 §6, the
// trap).
Status agree(std::string_view what, std::vector<HostPort>& addresses,
             const std::vector<HostPort>& names) {
  if (addresses.empty()) addresses = names;
  if (names.empty() || names == addresses) return {};
  return bad(fmt::format("{} and hp_{} name different nodes", what, what));
}

}  // namespace

std::string to_json(const TableInfo& i) {
  json::object o;
  o["status"] = status_text(i.status);
  o["app_type"] = i.type;
  o["app_name"] = i.name;
  o["app_id"] = i.id;
  o["partition_count"] = i.partition_count;
  json::object envs;
  for (const auto& [key, value] : i.envs) envs[key] = value;
  o["envs"] = std::move(envs);
  o["is_stateful"] = i.stateful ? 1 : 0;
  o["max_replica_count"] = i.max_replica_count;
  o["expire_second"] = i.expire_second;
  o["create_second"] = i.create_second;
  o["drop_second"] = i.drop_second;
  o["duplicating"] = i.duplicating ? 1 : 0;
  o["init_partition_count"] = i.init_partition_count;
  o["is_bulk_loading"] = i.bulk_loading ? 1 : 0;
  o["atomic_idempotent"] = i.atomic_idempotent ? 1 : 0;
  return json::serialize(o);
}

std::string to_json(const PartitionConfig& c) {
  json::object o;
  o["pid"] = c.pid.to_string();
  o["ballot"] = c.ballot;
  o["max_replica_count"] = c.max_replica_count;
  o["primary"] = address_text(c.primary, kNoAddress);
  o["secondaries"] = addresses(c.secondaries, kNoAddress);
  o["last_drops"] = addresses(c.last_drops, kNoAddress);
  o["last_committed_decree"] = c.last_committed;
  o["partition_flags"] = c.flags;
  o["hp_primary"] = address_text(c.primary, kNoHostPort);
  o["hp_secondaries"] = addresses(c.secondaries, kNoHostPort);
  o["hp_last_drops"] = addresses(c.last_drops, kNoHostPort);
  return json::serialize(o);
}

Result<TableInfo> table_from_json(std::string_view text) {
  auto object = parse_object(text);
  if (!object) return object.error();
  TableInfo i;
  std::string status;
  Members m(*object);
  m.get("status", status);
  m.get("app_type", i.type);
  m.get("app_name", i.name);
  m.get("app_id", i.id);
  m.get("partition_count", i.partition_count);
  m.get("envs", i.envs);
  m.get("is_stateful", i.stateful);
  m.get("max_replica_count", i.max_replica_count);
  m.get("expire_second", i.expire_second);
  m.get("create_second", i.create_second);
  m.get("drop_second", i.drop_second);
  m.get("duplicating", i.duplicating);
  m.get("init_partition_count", i.init_partition_count);
  m.get("is_bulk_loading", i.bulk_loading);
  m.get("atomic_idempotent", i.atomic_idempotent);
  if (!m.status().ok()) return m.status();
  if (status == "app_status::AS_AVAILABLE") {
    i.status = TableStatus::kAvailable;
  } else if (status == "app_status::AS_DROPPED") {
    i.status = TableStatus::kDropped;
  } else {
    return bad(fmt::format("the status '{}' is never stored", status));
  }
  return i;
}

Result<PartitionConfig> partition_from_json(std::string_view text) {
  auto object = parse_object(text);
  if (!object) return object.error();
  PartitionConfig c;
  std::string pid;
  std::vector<HostPort> primary, hp_primary, hp_secondaries, hp_last_drops;
  HostPort address, name;
  Members m(*object);
  m.get("pid", pid);
  m.get("ballot", c.ballot);
  m.get("max_replica_count", c.max_replica_count);
  m.get("primary", address);
  m.get("secondaries", c.secondaries);
  m.get("last_drops", c.last_drops);
  m.get("last_committed_decree", c.last_committed);
  m.get("partition_flags", c.flags);
  m.get("hp_primary", name);
  m.get("hp_secondaries", hp_secondaries);
  m.get("hp_last_drops", hp_last_drops);
  if (!m.status().ok()) return m.status();
  if (address) primary.push_back(address);
  if (name) hp_primary.push_back(name);
  if (Status s = agree("primary", primary, hp_primary); !s.ok()) return s;
  if (Status s = agree("secondaries", c.secondaries, hp_secondaries); !s.ok()) return s;
  if (Status s = agree("last_drops", c.last_drops, hp_last_drops); !s.ok()) return s;
  if (!primary.empty()) c.primary = primary.front();
  auto parsed = Gpid::parse(pid);
  if (!parsed) return bad(fmt::format("pid '{}' is no partition", pid));
  c.pid = *parsed;
  return c;
}

std::string table_path(int32_t id) { return fmt::format("{}{}", kApps, id); }
std::string partition_path(Gpid pid) {
  return fmt::format("{}{}/{}", kApps, pid.app_id, pid.partition_index);
}

StateOp to_state_op(const StoreOp& op) {
  if (const auto* table = std::get_if<PutTable>(&op)) {
    return {StateOp::Kind::kPut, table_path(table->info.id), to_json(table->info)};
  }
  const auto& config = std::get<PutPartition>(op).config;
  return {StateOp::Kind::kPut, partition_path(config.pid), to_json(config)};
}

namespace {

bool parse_number(std::string_view text, int32_t& out) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size() && out >= 0;
}

}  // namespace

Result<std::vector<LoadedTable>> tables_from_tree(const StateStore::Tree& tree) {
  std::map<int32_t, LoadedTable> tables;
  for (const auto& [path, data] : tree) {
    if (path.compare(0, kApps.size(), kApps) != 0) continue;
    std::string_view rest = std::string_view(path).substr(kApps.size());
    auto slash = rest.find('/');
    int32_t id = 0;
    if (!parse_number(rest.substr(0, slash), id)) continue;
    if (slash == std::string_view::npos) {
      auto info = table_from_json(data);
      if (!info) return info.error().with_context(path);
      if (info->id != id)
        return Status(Errc::kInvalidData, fmt::format("{}: its app_id is {}", path, info->id));
      tables[id].info = std::move(*info);
      continue;
    }
    int32_t index = 0;
    if (!parse_number(rest.substr(slash + 1), index))
      continue;  // "duplication" and what else hangs below
    auto config = partition_from_json(data);
    if (!config) return config.error().with_context(path);
    tables[id].partitions[index] = std::move(*config);
  }
  std::vector<LoadedTable> out;
  for (auto& [id, table] : tables) {
    if (table.info.id == 0) {
      return Status(Errc::kInvalidData,
                    fmt::format("{} has partitions but no document", table_path(id)));
    }
    out.push_back(std::move(table));
  }
  return out;
}

}  // namespace markab::meta
