#include "shell/targets.h"

#include <algorithm>

namespace markab::shell {

Outcome<std::vector<Target>> choose_targets(Session& session, const Arguments& arguments) {
  std::string type = arguments.text('t', "all");
  if (type != "all" && type != "meta-server" && type != "replica-server") {
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("-t '{}'; allowed are all, meta-server and replica-server", type)};
  }
  std::vector<Target> targets;
  auto add_list = [&](std::string_view list, std::string_view role) {
    while (!list.empty()) {
      auto comma = std::min(list.find(','), list.size());
      if (comma > 0) targets.push_back({std::string(list.substr(0, comma)), std::string(role)});
      list.remove_prefix(std::min(comma + 1, list.size()));
    }
  };
  auto info = session.admin().cluster_info(session.timeout);
  std::string metas;
  if (info) {
    for (const auto& [key, value] : *info) {
      if (key == "meta_servers") metas = value;
    }
  }
  if (metas.empty()) metas = fmt::format("{}", fmt::join(session.metas, ","));
  if (arguments.has('l')) {
    add_list(arguments.text('l'), "");
    for (auto& target : targets) {
      target.role = ("," + metas + ",").find("," + target.node + ",") != std::string::npos
                        ? "meta-server"
                        : "replica-server";
    }
    return targets;
  }
  if (type != "replica-server") add_list(metas, "meta-server");
  if (type != "meta-server") {
    auto all = session.admin().list_nodes(session.timeout);
    if (!all) return all.error();
    for (const auto& node : *all) {
      if (node.alive) targets.push_back({node.address, "replica-server"});
    }
  }
  return targets;
}

}  // namespace markab::shell
