#pragma once
// A blocking pool of its own threads, for work that must not hold up the runtime's and may itself be
// held up for long by somebody else (a KDC).

#include <memory>

#include "io/shard.h"

namespace markab::io {

// Destroying it drops what waits, and leaves behind what runs if that does not end within a moment:
// `work` must own what it uses; its `done` is then dropped. Destroyed before the shards that it
// posts to.
std::unique_ptr<BlockingPool> make_blocking_pool(int threads);

}  // namespace markab::io
