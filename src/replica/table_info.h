#pragma once
// What a replica keeps about its table: the JSON of `.app-info` (docs/formats.md) and the settings
// derived from the table's environments.

#include <string>
#include <string_view>

#include "engine/engine.h"
#include "pacifica/replica_core.h"
#include "replica/host.h"

namespace markab::replica {

std::string table_info_to_json(Gpid gpid, const TableInfo& table);
// kInvalidData with the reason.
Result<TableInfo> table_info_from_json(std::string_view text, Gpid gpid);
// What the table does not say is as in `defaults`; what does not parse stays as it is in `old`.
engine::TableSettings table_settings(const TableInfo& table, const engine::TableSettings& old,
                                     const engine::OperationSettings& defaults);

// "primary", as log lines and tools say it.
std::string_view role_name(pacifica::Role role);

// "<app>.<index>.pegasus", a replica's directory name (spec 04 §2.5).
std::string replica_dir_name(Gpid gpid);
// The partition that a directory name stands for; kInvalidParameters for other names.
Result<Gpid> parse_replica_dir_name(std::string_view name);

}  // namespace markab::replica
