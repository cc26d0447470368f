// Remote commands of the meta server (03 §16, 07 §2.4). They act on the leader's core and last as
// long as its leadership.

#include <boost/json.hpp>
#include <charconv>

#include "meta/meta_server.h"

namespace markab::meta {

namespace {

using Arguments = rpc::RemoteCommands::Arguments;
using Done = rpc::RemoteCommands::Answer;

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

std::string ok() { return rpc::command_json({{"error", "ok"}}); }
std::string shown(const std::string& name, const std::string& value) {
  return rpc::command_json({{"error", "ok"}, {name, value}});
}
std::string failed(const std::string& why) { return rpc::command_json({{"error", "ERR: " + why}}); }

std::string run_bool(const std::string& name, const Arguments& arguments, bool& value) {
  if (arguments.empty()) return shown(name, value ? "true" : "false");
  std::string word = lower(arguments[0]);
  if (arguments.size() > 1 || (word != "true" && word != "false"))
    return failed("invalid arguments, true or false is expected");
  value = word == "true";
  return ok();
}

template <typename T>
std::string run_int(const std::string& name, const Arguments& arguments, T& value,
                    int64_t default_value, int64_t min, int64_t max) {
  if (arguments.empty()) return shown(name, std::to_string(value));
  if (arguments.size() == 1 && lower(arguments[0]) == "default") {
    value = static_cast<T>(default_value);
    return fmt::format("{{\n  \"error\": \"ok\",\n  \"{}\": {}\n}}", name, default_value);
  }
  int64_t number = 0;
  const std::string& text = arguments[0];
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  bool good = arguments.size() == 1 && error == std::errc() && end == text.data() + text.size() &&
              number >= min && number <= max;
  if (!good) return failed(fmt::format("invalid argument '{}', the value is not acceptable", text));
  value = static_cast<T>(number);
  return ok();
}

std::string run_black_list(const Arguments& arguments, std::set<HostPort>& list) {
  if (arguments.empty()) {
    std::string text;
    for (HostPort node : list) text += (text.empty() ? "" : ",") + node.to_string();
    return shown("assign_secondary_black_list", text);
  }
  if (arguments[0] == "clear") {
    list.clear();
    return ok();
  }
  std::set<HostPort> nodes;
  std::string rest = arguments[0];
  while (!rest.empty()) {
    auto comma = rest.find(',');
    auto node = HostPort::parse(rest.substr(0, comma));
    if (!node)
      return failed(fmt::format("invalid argument '{}', host:port,host:port or clear is expected",
                                arguments[0]));
    nodes.insert(*node);
    rest = comma == std::string::npos ? "" : rest.substr(comma + 1);
  }
  list = std::move(nodes);
  return ok();
}

std::string run_allow_list(const CoreOptions& options) {
  std::string list;
  for (HostPort node : options.allow_list) list += (list.empty() ? "" : ",") + node.to_string();
  return boost::json::serialize(
      boost::json::object{{"allow_list", list}, {"enabled", options.allow_list_enabled}});
}

std::string run_ignored_tables(const Arguments& arguments, std::set<int32_t>& ignored) {
  if (arguments.empty() || arguments[0] == "get") {
    std::string text;
    for (int32_t id : ignored) text += (text.empty() ? "" : ",") + std::to_string(id);
    return boost::json::serialize(boost::json::object{{"ignored_app_id_list", text}});
  }
  if (arguments[0] == "clear") {
    ignored.clear();
    return ok();
  }
  if (arguments[0] != "set" || arguments.size() != 2)
    return failed("invalid arguments, get, set id,id or clear is expected");
  std::set<int32_t> ids;
  const char* at = arguments[1].data();
  const char* end = at + arguments[1].size();
  while (at != end) {
    int32_t id = 0;
    auto [next, error] = std::from_chars(at, end, id);
    if (error != std::errc() || (next != end && *next != ',')) {
      return failed(
          fmt::format("invalid argument '{}', ids separated by commas are expected", arguments[1]));
    }
    ids.insert(id);
    at = next == end ? end : next + 1;
  }
  ignored = std::move(ids);
  return ok();
}

std::string run_operation_count(const MetaCore& core, const Arguments& arguments) {
  std::string what = arguments.empty() ? "total" : arguments[0];
  // The balancer proposes nothing yet; -1: not all replicas have been reported, so nobody could
  // say.
  int total = core.all_collected() ? 0 : -1;
  if (what == "detail") {
    return fmt::format(
        "{{\n  \"copy_pri\": 0,\n  \"copy_sec\": 0,\n  \"move_pri\": 0,\n  \"total\": {}\n}}",
        total);
  }
  if (what != "total" && what != "move_pri" && what != "copy_pri" && what != "copy_sec") {
    return failed("invalid arguments, total, move_pri, copy_pri, copy_sec or detail is expected");
  }
  return fmt::format("{{\n  \"{}\": {}\n}}", what, what == "total" ? total : 0);
}

}  // namespace

void MetaServer::register_commands(rpc::RemoteCommands& commands) {
  using Run = std::function<std::string(MetaCore&, const Arguments&)>;
  auto add = [this, &commands](const std::string& name, const char* description, const char* usage,
                               Run run) {
    commands.on(name, description, usage, [this, run](const Arguments& arguments, Done answer) {
      seams_.shard.post([this, alive = alive_, run, arguments, answer = std::move(answer)] {
        if (!*alive || leadership_ == nullptr || !leadership_->serving()) {
          return answer(
              failed(*alive && standing_.leader
                         ? fmt::format("this meta server does not lead; ask {}", standing_.leader)
                         : "no meta server leads at the moment"));
        }
        answer(run(leadership_->core(), arguments));
      });
    });
  };
  auto add_bool = [&](const std::string& name, const char* description,
                      bool& (*value)(CoreOptions&)) {
    add(name, description, "[true|false]",
        [name, value](MetaCore& core, const Arguments& arguments) {
          return run_bool(name, arguments, value(core.options()));
        });
  };
  const CoreOptions& defaults = options_.core;
  add("meta.live_percentage", "Percentage of nodes that must live, else the cluster is freezed",
      "[0..100|DEFAULT]", [&defaults](MetaCore& core, const Arguments& arguments) {
        return run_int("meta.live_percentage", arguments, core.options().live_percentage,
                       defaults.live_percentage, 0, 100);
      });
  add("meta.lb.assign_delay_ms",
      "How long a lost secondary is awaited before another node gets its place", "[ms|DEFAULT]",
      [&defaults](MetaCore& core, const Arguments& arguments) {
        return run_int("meta.lb.assign_delay_ms", arguments, core.options().assign_delay_ms,
                       defaults.assign_delay_ms, 0, INT64_MAX / 4);
      });
  add("meta.lb.add_secondary_max_count_for_one_node",
      "Learners that a node gets in one guardian pass; 0: none", "[n|DEFAULT]",
      [&defaults](MetaCore& core, const Arguments& arguments) {
        return run_int("meta.lb.add_secondary_max_count_for_one_node", arguments,
                       core.options().max_adds_per_node, defaults.max_adds_per_node, 0, 100000);
      });
  add_bool("meta.lb.add_secondary_enable_flow_control", "Whether that bound holds",
           [](CoreOptions& o) -> bool& { return o.flow_control; });
  add_bool("meta.lb.balancer_in_turn", "Balance one table at a time",
           [](CoreOptions& o) -> bool& { return o.balancer_in_turn; });
  add_bool("meta.lb.only_primary_balancer", "Balance primaries only",
           [](CoreOptions& o) -> bool& { return o.only_primary_balancer; });
  add_bool("meta.lb.only_move_primary", "Balance without copying data",
           [](CoreOptions& o) -> bool& { return o.only_move_primary; });
  add("meta.lb.get_balance_operation_count", "Operations that balancing would take",
      "[total|move_pri|copy_pri|copy_sec|detail]", [](MetaCore& core, const Arguments& arguments) {
        return run_operation_count(core, arguments);
      });
  add("meta.lb.ignored_app_list", "Tables that the balancer leaves alone",
      "get | set id,id | clear", [](MetaCore& core, const Arguments& arguments) {
        return run_ignored_tables(arguments, core.options().ignored_tables);
      });
  add("meta.lb.assign_secondary_black_list", "Nodes that never get new secondaries",
      "[host:port,...|clear]", [](MetaCore& core, const Arguments& arguments) {
        return run_black_list(arguments, core.options().black_list);
      });
  add("fd.allow_list", "The nodes that may join", "",
      [](MetaCore& core, const Arguments&) { return run_allow_list(core.options()); });
  add("meta.forget_node", "Forgets a dead node that holds nothing, so that it no longer counts",
      "<host:port>", [](MetaCore& core, const Arguments& arguments) {
        auto node =
            arguments.empty()
                ? Result<HostPort>(Status(Errc::kInvalidParameters, "host:port is expected"))
                : HostPort::parse(arguments[0]);
        if (!node) return failed(node.error().message());
        Status s = core.forget_node(*node);
        return s.ok() ? ok() : failed(s.message());
      });
}

}  // namespace markab::meta
