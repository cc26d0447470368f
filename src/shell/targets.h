#pragma once
// The daemons that a command is for: `-t all|meta-server|replica-server`, or `-l` and a list.

#include <string>
#include <vector>

#include "shell/session.h"

namespace markab::shell {

struct Target {
  std::string node;
  std::string role;  // "meta-server", "replica-server"
};

// Of a cluster's replica servers those that are alive.
Outcome<std::vector<Target>> choose_targets(Session& session, const Arguments& arguments);

}  // namespace markab::shell
