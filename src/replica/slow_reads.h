#pragma once
// Reads that took long or touched much (spec 02 §9): which they are, and one line of log for each,
// with the key that was asked for and what it cost. Also the keys of a read, for the detection of
// hot keys. The arguments are decoded once more for it, so nothing of this is on the way of a usual
// read.

#include <cstdint>
#include <string>
#include <string_view>

#include "base/function.h"
#include "base/ids.h"
#include "engine/read_arena.h"
#include "rpc/task_code.h"

namespace markab::replica {

// Above these a read is abnormal whatever its time; 0: no bound.
struct AbnormalReadLimits {
  int64_t get_bytes = 1000000;  // of the value
  int64_t multi_get_bytes = 10000000;
  int64_t multi_get_iterations = 1000;
  int64_t batch_get_bytes = 10000000;
  int64_t batch_get_keys = 2000;
};

bool touched_much(const AbnormalReadLimits& limits, rpc::TaskCode code,
                  const engine::ReadStats& stats);

// Calls `visit` with each hash key that the read names; a scan that goes on names none.
void visit_hash_keys(rpc::TaskCode code, std::string_view args,
                     const Function<void(std::string_view hash_key)>& visit);

// "hash key \"user\", sort key \"a\"", escaped and cut.
std::string describe_read(rpc::TaskCode code, std::string_view args);

}  // namespace markab::replica
