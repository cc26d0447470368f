#pragma once
// The documents in the state tree and their paths (03 §6; docs/formats.md, "Meta state"). Pure; any
// thread.

#include <string>
#include <string_view>
#include <vector>

#include "meta/core/actions.h"
#include "meta/state_store.h"

namespace markab::meta {

std::string to_json(const TableInfo& info);
std::string to_json(const PartitionConfig& config);
// kInvalidData with what is wrong. Members may be missing or unknown ones present; host_port
// members that are missing or empty are taken from the addresses.
Result<TableInfo> table_from_json(std::string_view text);
Result<PartitionConfig> partition_from_json(std::string_view text);

std::string table_path(int32_t id);
std::string partition_path(Gpid pid);

// A write of the core as the store's.
StateOp to_state_op(const StoreOp& op);
// The tables in a tree; other parts of it are left alone. kInvalidData names the path.
Result<std::vector<LoadedTable>> tables_from_tree(const StateStore::Tree& tree);

}  // namespace markab::meta
