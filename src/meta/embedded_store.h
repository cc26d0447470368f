#pragma once
// The StateStore of metas that share one machine: a small RocksDB in <state_dir>/state, its log
// synced at each transaction. Keys are paths, values the data; docs/formats.md, "Meta state". All
// work runs on the blocking pool.

#include <memory>
#include <string>

#include "io/shard.h"
#include "meta/state_store.h"

namespace markab::meta {

// `cluster` is written at first use; a directory of another cluster is refused.
std::unique_ptr<StateStore> make_embedded_store(io::Shard& shard, io::BlockingPool& pool,
                                                std::string state_dir, std::string cluster);

}  // namespace markab::meta
