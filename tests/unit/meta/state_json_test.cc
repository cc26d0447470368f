// The documents of 03 §6, to the letter, and what is made of odd ones.

#include "meta/state_json.h"

#include <gtest/gtest.h>

namespace markab::meta {
namespace {

// The examples of the specification.
constexpr const char* kTable =
    R"({"status":"app_status::AS_AVAILABLE","app_type":"pegasus","app_name":"t","app_id":1,"partition_count":8,"envs":{},"is_stateful":1,"max_replica_count":3,"expire_second":0,"create_second":1700000000,"drop_second":0,"duplicating":0,"init_partition_count":8,"is_bulk_loading":0,"atomic_idempotent":0})";
constexpr const char* kPartition =
    R"({"pid":"1.0","ballot":0,"max_replica_count":3,"primary":"invalid address","secondaries":[],"last_drops":[],"last_committed_decree":0,"partition_flags":0,"hp_primary":"invalid host_port","hp_secondaries":[],"hp_last_drops":[]})";

TableInfo table() {
  TableInfo i;
  i.status = TableStatus::kAvailable;
  i.name = "t";
  i.id = 1;
  i.partition_count = 8;
  i.max_replica_count = 3;
  i.create_second = 1700000000;
  i.init_partition_count = 8;
  return i;
}

TEST(StateJson, TheSpecificationsExamplesAreWrittenAndRead) {
  EXPECT_EQ(to_json(table()), kTable);
  EXPECT_EQ(table_from_json(kTable).value(), table());
  PartitionConfig config;
  config.pid = {1, 0};
  config.max_replica_count = 3;
  EXPECT_EQ(to_json(config), kPartition);
  EXPECT_EQ(partition_from_json(kPartition).value(), config);
}

TEST(StateJson, EverythingSurvives) {
  TableInfo i = table();
  i.status = TableStatus::kDropped;
  i.envs = {{"a\"b", "c\\d\n"}, {"", "\xc3\xa4"}};
  i.expire_second = 1LL << 40;
  i.drop_second = 7;
  i.duplicating = i.bulk_loading = i.atomic_idempotent = true;
  EXPECT_EQ(table_from_json(to_json(i)).value(), i);
  PartitionConfig c;
  c.pid = {12, 345};
  c.ballot = 1LL << 50;
  c.max_replica_count = 5;
  c.primary = HostPort{0x0a000001, 34801};
  c.secondaries = {HostPort{0x0a000002, 34801}, HostPort{0x0a000003, 65535}};
  c.last_drops = {HostPort{0x0a000004, 1}};
  c.last_committed = 99;
  c.flags = 1;
  EXPECT_EQ(partition_from_json(to_json(c)).value(), c);
  EXPECT_NE(to_json(c).find("\"secondaries\":[\"10.0.0.2:34801\",\"10.0.0.3:65535\"]"),
            std::string::npos);
}

TEST(StateJson, OlderAndNewerWritersAreUnderstood) {
  // Before host names were stored: taken from the addresses (the trap of 03 §6).
  auto old = partition_from_json(
      R"({"pid":"1.0","ballot":3,"max_replica_count":3,"primary":"10.0.0.1:34801","secondaries":["10.0.0.2:34801"],"last_drops":[]})");
  ASSERT_TRUE(old.has_value());
  EXPECT_EQ(old->primary.to_string(), "10.0.0.1:34801");
  EXPECT_EQ(old->secondaries.size(), 1u);
  auto names_only = partition_from_json(
      R"({"pid":"1.0","ballot":3,"primary":"invalid address","hp_primary":"10.0.0.1:34801","hp_secondaries":["10.0.0.2:34801"]})");
  ASSERT_TRUE(names_only.has_value());
  EXPECT_EQ(names_only->member_count(), 2u);
  EXPECT_TRUE(
      table_from_json(
          R"({"status":"app_status::AS_DROPPED","app_id":4,"is_stateful":true,"new_thing":[1]})")
          .has_value());
}

TEST(StateJson, GarbageIsAnErrorThatSaysWhat) {
  for (const char* text :
       {"", "{", "[]", "7", R"({"status":"app_status::AS_CREATING"})", R"({"status":7})",
        R"({"status":"app_status::AS_AVAILABLE","app_id":"x"})",
        R"({"status":"app_status::AS_AVAILABLE","app_id":99999999999})",
        R"({"status":"app_status::AS_AVAILABLE","envs":[]})",
        R"({"status":"app_status::AS_AVAILABLE","envs":{"a":1}})",
        R"({"status":"app_status::AS_AVAILABLE","is_stateful":2})"}) {
    auto read = table_from_json(text);
    ASSERT_FALSE(read.has_value()) << text;
    EXPECT_EQ(read.error().code(), Errc::kInvalidData);
    EXPECT_FALSE(read.error().message().empty());
  }
  for (const char* text : {"{}", R"({"pid":"1"})", R"({"pid":"1.0","primary":"host:1"})",
                           R"({"pid":"1.0","secondaries":"x"})", R"({"pid":"1.0","ballot":1.5})",
                           R"({"pid":"1.0","primary":"10.0.0.1:1","hp_primary":"10.0.0.2:1"})"}) {
    EXPECT_FALSE(partition_from_json(text).has_value()) << text;
  }
}

TEST(StateJson, TreesBecomeTables) {
  StateStore::Tree tree;
  tree["/apps"] = "unlock";
  tree["/apps/1"] = kTable;
  tree["/apps/1/0"] = kPartition;
  tree["/apps/1/duplication/1700000000"] = "{}";
  tree["/lock"] = "";
  auto tables = tables_from_tree(tree);
  ASSERT_TRUE(tables.has_value());
  ASSERT_EQ(tables->size(), 1u);
  EXPECT_EQ((*tables)[0].info, table());
  EXPECT_EQ((*tables)[0].partitions.size(), 1u);
  tree["/apps/2/0"] = kPartition;
  EXPECT_EQ(tables_from_tree(tree).error().code(), Errc::kInvalidData) << "partitions of no table";
  tree["/apps/2"] = kTable;
  EXPECT_EQ(tables_from_tree(tree).error().code(), Errc::kInvalidData) << "the id is another";
}

TEST(StateJson, WritesNameTheirPaths) {
  EXPECT_EQ(to_state_op(PutTable{table()}).path, "/apps/1");
  EXPECT_EQ(to_state_op(PutTable{table()}).data, kTable);
  PartitionConfig config;
  config.pid = {3, 7};
  EXPECT_EQ(to_state_op(PutPartition{config}).path, "/apps/3/7");
}

}  // namespace
}  // namespace markab::meta
