// Two answers of a daemon become values and rates.

#include "shell/metrics_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace markab::shell {
namespace {

using testing::HasSubstr;

std::string answer(int64_t ns, int gets, const char* more = "") {
  return fmt::format(
      R"({{"cluster":"c","role":"replica","host":"127.0.0.1","port":34801,"timestamp_ns":{},)"
      R"("entities":[{{"type":"replica","id":"replica@2.1",)"
      R"("attributes":{{"table_id":"2","partition_id":"1"}},"metrics":[)"
      R"({{"name":"get_requests","value":{}}},{{"name":"get_latency_ns","p99":3000}}]}}{}]}})",
      ns, gets, more);
}

TEST(MetricsReaderTest, RatesArePerSecond) {
  auto node = read_metrics("a:1", answer(1000000000, 10), answer(3000000000, 50));
  ASSERT_TRUE(node) << node.error().message;
  EXPECT_EQ(node->node, "a:1");
  EXPECT_EQ(node->role, "replica");
  ASSERT_EQ(node->entities.size(), 1u);
  const EntityMetrics& replica = node->entities[0];
  EXPECT_EQ(replica.table_id, 2);
  EXPECT_EQ(replica.partition, 1);
  EXPECT_EQ(replica.value("get_requests"), 50);
  EXPECT_EQ(replica.rate("get_requests"), 20);
  EXPECT_EQ(replica.value("get_latency_ns"), 3000);
  EXPECT_EQ(replica.rate("put_requests"), 0);
}

TEST(MetricsReaderTest, WhatIsNewOrBeganAnewHasNoRate) {
  const char* second = R"(,{"type":"replica","id":"replica@2.2","attributes":{"table_id":"2",)"
                       R"("partition_id":"2"},"metrics":[{"name":"get_requests","value":7}]})";
  auto node = read_metrics("a:1", answer(1000000000, 10), answer(2000000000, 3, second));
  ASSERT_TRUE(node) << node.error().message;
  EXPECT_EQ(node->sum("replica", "get_requests"), 10);
  EXPECT_EQ(node->sum_of_rates("replica", "get_requests"), 0);
  EXPECT_EQ(node->sum("server", "get_requests"), 0);
  // A clock that stood still.
  auto same = read_metrics("a:1", answer(5, 10), answer(5, 30));
  ASSERT_TRUE(same);
  EXPECT_EQ(same->sum_of_rates("replica", "get_requests"), 0);
}

TEST(MetricsReaderTest, WhatIsNoAnswerIsAnError) {
  for (const char* text :
       {"", "unknown command 'metrics'", "[]", "{}", R"({"entities":1,"timestamp_ns":1})",
        R"({"entities":[],"timestamp_ns":"x"})", R"({"error_message":"unknown field a=b"})"}) {
    auto node = read_metrics("10.0.0.1:34801", answer(1, 1), text);
    ASSERT_FALSE(node) << text;
    EXPECT_EQ(node.error().code, ErrorCode::kCorruption);
    EXPECT_THAT(node.error().message, HasSubstr("10.0.0.1:34801"));
  }
  // Odd, but an answer.
  auto odd = read_metrics(
      "a:1", answer(1, 1),
      R"({"timestamp_ns":9,"entities":[3,{"id":7},{"type":"x","metrics":[1,{"value":"t"},{"name":"n","value":2}],)"
      R"("attributes":{"table_id":"many"}}]})");
  ASSERT_TRUE(odd);
  EXPECT_EQ(odd->sum("x", "n"), 2);
  EXPECT_EQ(odd->entities.back().table_id, 0);
}

}  // namespace
}  // namespace markab::shell
