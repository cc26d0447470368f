#pragma once
// The StateStore of metas that share one machine: a small RocksDB in <state_dir>/state, its log
// synced at each transaction. Keys are paths, values the data; docs/formats.md, "Meta state". All
// work runs on the blocking pool.

#include <memory>
#include <string>

#include "base/ids.h"
#include "io/file.h"
#include "io/shard.h"
#include "meta/state_store.h"

namespace markab::meta {

// `cluster` is written at first use; a directory of another cluster is refused.
std::unique_ptr<StateStore> make_embedded_store(io::Shard& shard, io::BlockingPool& pool,
                                                std::string state_dir, std::string cluster);

// For a program's start, before anything else uses the directory: makes it this cluster's, or says
// in one sentence to whom it belongs (kInvalidParameters). Blocks.
Status claim_state_dir(io::FileSystem& files, const std::string& state_dir,
                       const std::string& cluster, HostPort self);

}  // namespace markab::meta
