#pragma once
// Operations of more than one message: reading many hash keys, deleting a range, waiting until a
// table takes writes. Each runs on its core's shard and ends by calling `done` once; it keeps
// itself alive until then.

#include <functional>
#include <string>
#include <vector>

#include "client/core.h"
#include "markab/admin.h"
#include "markab/client.h"

namespace markab::client {

using Values = std::vector<std::optional<std::string>>;

void batch_get(Core& core, Core::Table& table, std::vector<Key> keys, Instant deadline,
               Callback<Outcome<Values>> done);

void del_range(Core& core, Core::Table& table, std::string hash_key, std::string start,
               std::string stop, const RangeOptions& options, Instant deadline,
               Callback<Outcome<int64_t>> done);

void wait_writable(Core& core, Core::Table& table, Instant deadline,
                   std::function<void(const Readiness&)> progress,
                   Callback<Outcome<Readiness>> done);

}  // namespace markab::client
