#pragma once
// The configuration keys of the daemons (docs/configuration.md is made from them by --help-config).

#include <vector>

#include "base/config.h"

namespace markab::daemon {

// What both daemons know.
std::vector<ConfigKey> common_keys(uint16_t default_port);
std::vector<ConfigKey> replica_keys();

// Keys that a published Pegasus configuration carries and that mean nothing here (spec 07 §9).
Config::Ignored ignored_keys();

}  // namespace markab::daemon
