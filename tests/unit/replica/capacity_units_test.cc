// The table of charges (02 §15).

#include "replica/capacity_units.h"

#include <gtest/gtest.h>

#include "engine/engine.h"

namespace markab::replica {
namespace {

using rpc::TaskCode;

TEST(CapacityUnitsTest, RoundUp) {
  EXPECT_EQ(capacity_units(0, 4096), 1);
  EXPECT_EQ(capacity_units(1, 4096), 1);
  EXPECT_EQ(capacity_units(4096, 4096), 1);
  EXPECT_EQ(capacity_units(4097, 4096), 2);
  EXPECT_EQ(capacity_units(1 << 20, 4096), 256);
  EXPECT_EQ(capacity_units(4097, 1024), 5);
  EXPECT_EQ(capacity_units(7, 1), 7);
}

struct ReadCase {
  TaskCode code;
  int32_t error;
  uint64_t bytes;
  int64_t units;
};
TEST(CapacityUnitsTest, Reads) {
  for (const ReadCase& c :
       {ReadCase{TaskCode::kGet, 0, 5000, 2},       ReadCase{TaskCode::kGet, 1, 0, 1},
        ReadCase{TaskCode::kGet, 4, 0, 0},          ReadCase{TaskCode::kGet, 2, 0, 0},
        ReadCase{TaskCode::kTtl, 0, 0, 1},          ReadCase{TaskCode::kTtl, 1, 0, 1},
        ReadCase{TaskCode::kTtl, 4, 0, 0},          ReadCase{TaskCode::kSortkeyCount, 0, 0, 1},
        ReadCase{TaskCode::kSortkeyCount, 4, 0, 0}, ReadCase{TaskCode::kMultiGet, 0, 8193, 3},
        ReadCase{TaskCode::kMultiGet, 0, 0, 1},     ReadCase{TaskCode::kMultiGet, 7, 4096, 1},
        ReadCase{TaskCode::kMultiGet, 4, 0, 1},     ReadCase{TaskCode::kMultiGet, 5, 0, 0},
        ReadCase{TaskCode::kBatchGet, 0, 4097, 2},  ReadCase{TaskCode::kBatchGet, 7, 4097, 2},
        ReadCase{TaskCode::kBatchGet, 4, 0, 1},     ReadCase{TaskCode::kGetScanner, 0, 4097, 2},
        ReadCase{TaskCode::kGetScanner, 7, 1, 1},   ReadCase{TaskCode::kScan, 0, 4097, 2},
        ReadCase{TaskCode::kScan, 1, 0, 1},         ReadCase{TaskCode::kScan, 2, 0, 0},
        ReadCase{TaskCode::kClearScanner, 0, 0, 0}}) {
    engine::ReadStats stats;
    stats.bytes = c.bytes;
    Charge charge = charge_read(c.code, c.error, stats, UnitSizes());
    EXPECT_EQ(charge.read_units, c.units)
        << rpc::task_name(c.code) << " error " << c.error << " bytes " << c.bytes;
    EXPECT_EQ(charge.write_units, 0);
  }
}

struct WriteCase {
  const char* name;
  engine::WriteRequest request;
  int32_t error;
  int64_t read_units;
  int64_t write_units;
  int64_t bytes;
};

std::vector<WriteCase> write_cases() {
  static const std::string big(4096, 'v');
  wire::update_request put;
  put.key = "0123456789";
  put.value = std::string_view(big);
  wire::multi_put_request multi_put;
  multi_put.hash_key = "hash";
  multi_put.kvs.resize(2);
  multi_put.kvs[0].key = "a";
  multi_put.kvs[0].value = std::string_view(big);
  multi_put.kvs[1].key = "b";
  wire::multi_remove_request multi_remove;
  multi_remove.hash_key = "hash";
  multi_remove.sort_keys.resize(3, wire::blob("ab"));
  wire::check_and_set_request set;
  set.hash_key = "hash";
  set.check_sort_key = "check";
  set.set_sort_key = "set";
  set.set_value = std::string_view(big);
  wire::check_and_mutate_request mutate;
  mutate.hash_key = "hash";
  mutate.check_sort_key = "check";
  mutate.mutate_list.resize(2);
  mutate.mutate_list[0].sort_key = "s";
  mutate.mutate_list[0].value = std::string_view(big);
  mutate.mutate_list[1].sort_key = "d";
  return {{"put", put, 0, 0, 2, 4106},
          {"put refused", put, 4, 0, 0, 0},
          {"remove", engine::RemoveRequest{wire::blob("0123456789")}, 0, 0, 1, 10},
          {"multi_put", multi_put, 0, 0, 2, 4 + 1 + 4096 + 4 + 1},
          {"multi_put refused", multi_put, 4, 0, 0, 0},
          {"multi_remove", multi_remove, 0, 0, 1, 18},
          {"incr", wire::incr_request(), 0, 1, 1, 0},
          {"incr of text", wire::incr_request(), 4, 1, 0, 0},
          {"incr of a broken store", wire::incr_request(), 5, 0, 0, 0},
          {"check_and_set", set, 0, 1, 2, 4 + 3 + 4096},
          {"check_and_set not passed", set, 13, 1, 0, 0},
          {"check_and_set of text", set, 4, 1, 0, 0},
          {"check_and_set of a broken store", set, 2, 0, 0, 0},
          {"check_and_mutate", mutate, 0, 1, 2, 4 + 1 + 4096 + 4 + 1},
          {"check_and_mutate not passed", mutate, 13, 1, 0, 0}};
}

TEST(CapacityUnitsTest, Writes) {
  for (const WriteCase& c : write_cases()) {
    engine::WriteResult result;
    result.error = c.error;
    Charge charge = charge_write(c.request, result, UnitSizes());
    EXPECT_EQ(charge.read_units, c.read_units) << c.name;
    EXPECT_EQ(charge.write_units, c.write_units) << c.name;
    EXPECT_EQ(charge.bytes, c.bytes) << c.name;
  }
}

// Each kind of unit has a size of its own; what checks pays for both.
TEST(CapacityUnitsTest, SizesAreConfigured) {
  const UnitSizes sizes{.read = 1024, .write = 8192};
  engine::ReadStats stats;
  stats.bytes = 4097;
  EXPECT_EQ(charge_read(TaskCode::kGet, 0, stats, sizes).read_units, 5);
  const std::string value(8193 - 2, 'v');
  wire::update_request put;
  put.key = "hk";
  put.value = std::string_view(value);
  Charge charge = charge_write(put, engine::WriteResult(), sizes);
  EXPECT_EQ(charge.write_units, 2);
  EXPECT_EQ(charge.bytes, 8193);
  const std::string sort_key(2000, 's');
  wire::check_and_set_request check;
  check.hash_key = "h";
  check.check_sort_key = std::string_view(sort_key);
  check.set_value = "v";
  charge = charge_write(check, engine::WriteResult(), sizes);
  EXPECT_EQ(charge.read_units, 2);
  EXPECT_EQ(charge.write_units, 1);
}

}  // namespace
}  // namespace markab::replica
