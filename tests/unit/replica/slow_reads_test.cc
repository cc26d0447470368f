// Which reads are abnormal, and how their log line names them (02 §9).

#include "replica/slow_reads.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "idl/rrdb_types.h"
#include "rpc/codec.h"

namespace markab::replica {
namespace {

using rpc::TaskCode;

struct Case {
  const char* name;
  TaskCode code;
  uint64_t value_bytes;
  uint64_t bytes;
  uint32_t iterations;
  bool abnormal;
};
TEST(AbnormalReadTest, Limits) {
  AbnormalReadLimits limits;
  for (const Case& c : {Case{"get below", TaskCode::kGet, 999999, 1100000, 1, false},
                        Case{"get at", TaskCode::kGet, 1000000, 1000002, 1, true},
                        Case{"multi_get below", TaskCode::kMultiGet, 0, 9999999, 999, false},
                        Case{"multi_get bytes", TaskCode::kMultiGet, 0, 10000000, 1, true},
                        Case{"multi_get iterations", TaskCode::kMultiGet, 0, 1, 1000, true},
                        Case{"batch_get below", TaskCode::kBatchGet, 0, 9999999, 1999, false},
                        Case{"batch_get bytes", TaskCode::kBatchGet, 0, 10000000, 1, true},
                        Case{"batch_get keys", TaskCode::kBatchGet, 0, 1, 2000, true},
                        Case{"scan", TaskCode::kScan, 0, 1 << 30, 1 << 20, false}}) {
    engine::ReadStats stats;
    stats.value_bytes = c.value_bytes;
    stats.bytes = c.bytes;
    stats.iterations = c.iterations;
    EXPECT_EQ(touched_much(limits, c.code, stats), c.abnormal) << c.name;
    EXPECT_FALSE(touched_much({0, 0, 0, 0, 0}, c.code, stats)) << "0 is no limit: " << c.name;
  }
}

std::vector<std::string> hash_keys(TaskCode code, const std::string& args) {
  std::vector<std::string> out;
  visit_hash_keys(code, args, [&](std::string_view key) { out.emplace_back(key); });
  return out;
}

TEST(DescribeReadTest, NamesItsKeysEscapedAndCut) {
  using testing::ElementsAre;
  using testing::HasSubstr;
  std::string raw("\0\4hash\nsort", 11);
  auto get = rpc::encode_args(wire::blob(raw));
  EXPECT_EQ(describe_read(TaskCode::kGet, get), "hash key \"hash\", sort key \"\\nsort\"");
  EXPECT_THAT(hash_keys(TaskCode::kGet, get), ElementsAre("hash"));

  std::string long_key(1000, 'k');
  auto count = rpc::encode_args(wire::blob(long_key));
  EXPECT_LT(describe_read(TaskCode::kSortkeyCount, count).size(), 150u);
  EXPECT_THAT(hash_keys(TaskCode::kSortkeyCount, count), ElementsAre(long_key));

  wire::multi_get_request multi;
  multi.hash_key = "h";
  multi.start_sortkey = "a";
  multi.reverse = true;
  auto range = rpc::encode_args(multi);
  EXPECT_EQ(describe_read(TaskCode::kMultiGet, range),
            "hash key \"h\", sort keys after \"a\" to the end, backwards");
  multi.sort_keys.resize(2, wire::blob("s"));
  EXPECT_EQ(describe_read(TaskCode::kMultiGet, rpc::encode_args(multi)),
            "hash key \"h\", 2 sort keys from \"s\"");

  wire::batch_get_request batch;
  batch.keys.resize(2);
  batch.keys[0].hash_key = "a";
  batch.keys[1].hash_key = "b";
  auto batched = rpc::encode_args(batch);
  EXPECT_THAT(describe_read(TaskCode::kBatchGet, batched), HasSubstr("2 keys from hash key \"a\""));
  EXPECT_THAT(hash_keys(TaskCode::kBatchGet, batched), ElementsAre("a", "b"));

  wire::scan_request scan;
  scan.context_id = 77;
  EXPECT_EQ(describe_read(TaskCode::kScan, rpc::encode_args(scan)), "scan context 77");
  EXPECT_THAT(hash_keys(TaskCode::kScan, rpc::encode_args(scan)), ElementsAre());
  EXPECT_EQ(describe_read(TaskCode::kGet, "rubbish"), "");
}

}  // namespace
}  // namespace markab::replica
