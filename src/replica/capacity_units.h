#pragma once
// How much an operation is charged (spec 02 §15): capacity units, and the bytes that the *_bytes
// metrics add up. Pure.

#include <cstdint>

#include "engine/read_arena.h"
#include "engine/resolver.h"
#include "rpc/task_code.h"

namespace markab::replica {

// One unit for each started 4 KiB, and one for nothing.
inline constexpr int64_t kCapacityUnitBytes = 4096;
constexpr int64_t capacity_units(int64_t bytes) {
  return bytes <= 0 ? 1 : (bytes + kCapacityUnitBytes - 1) / kCapacityUnitBytes;
}

struct Charge {
  int64_t read_units = 0;
  int64_t write_units = 0;
  int64_t bytes = 0;  // for <operation>_bytes
};

// Of an answered read; `error` is the storage result that its answer carries.
Charge charge_read(rpc::TaskCode code, int32_t error, const engine::ReadStats& stats);
// Of an answered write.
Charge charge_write(const engine::WriteRequest& request, const engine::WriteResult& result);

}  // namespace markab::replica
