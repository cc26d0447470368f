#pragma once
// Looks over a store's CURRENT and MANIFEST before RocksDB does.
//
// RocksDB takes a record of the MANIFEST that seems to reach beyond the end of the file for one
// that a crash cut, and goes on with what came before it. When it is a flipped length in the
// middle, that is a much older store, and the files that it does not know are deleted. Here a
// record that does not fit is a crash's only when nothing whole follows it.

#include <string>

#include "base/status.h"
#include "io/file.h"

namespace markab::engine {

// kRdbCorruption with file and offset; the errors of `files`. Blocking.
Status check_manifest(io::FileSystem& files, const std::string& store_dir);

}  // namespace markab::engine
