#pragma once
// From the environments of a table (spec 02 §13) to the settings of its shards. What the meta
// server accepted always parses; what arrives otherwise (a follower's table keeps whatever its
// master had) changes nothing. Pure.

#include <map>
#include <string>

#include "engine/table_settings.h"

namespace markab::engine {

// An absent environment is what `defaults` say; one that does not parse keeps what `old` has.
// Leaves partition_version at -1: that is no environment.
TableSettings settings_from_environments(const std::map<std::string, std::string>& envs,
                                         const TableSettings& old,
                                         const OperationSettings& defaults = {});

}  // namespace markab::engine
