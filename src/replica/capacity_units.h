#pragma once
// How much an operation is charged (spec 02 §15): capacity units, and the bytes that the *_bytes
// metrics add up. Pure.

#include <cstdint>

#include "engine/read_arena.h"
#include "engine/resolver.h"
#include "rpc/task_code.h"

namespace markab::replica {

// Bytes that one unit pays for ([pegasus.server] perf_counter_*_capacity_unit_size): powers of two.
struct UnitSizes {
  int64_t read = 4096;
  int64_t write = 4096;
};

// One unit for each that was started, and one for nothing.
constexpr int64_t capacity_units(int64_t bytes, int64_t unit) {
  return bytes <= 0 ? 1 : (bytes + unit - 1) / unit;
}

struct Charge {
  int64_t read_units = 0;
  int64_t write_units = 0;
  int64_t bytes = 0;  // for <operation>_bytes
};

// Of an answered read; `error` is the storage result that its answer carries.
Charge charge_read(rpc::TaskCode code, int32_t error, const engine::ReadStats& stats,
                   const UnitSizes& sizes);
// Of an answered write.
Charge charge_write(const engine::WriteRequest& request, const engine::WriteResult& result,
                    const UnitSizes& sizes);

}  // namespace markab::replica
