// Scans, batch_get, del_range, wait_writable.

#include "client/flows.h"

#include "client/scan_flow.h"
#include "core_fixture.h"

namespace markab::client {
namespace {

using rpc::TaskCode;

class FlowTest : public CoreTest {
 protected:
  void SetUp() override {
    the_core();
    // The rows of 40 hash keys, five each.
    for (int h = 0; h < 40; ++h) {
      for (int s = 0; s < 5; ++s)
        cluster.rows[raw_key(fmt::format("h{}", h), fmt::format("s{}", s))] =
            fmt::format("{}.{}", h, s);
    }
  }
  // The batches of a scan until its end or an error; `between` runs after each.
  std::vector<ScanRow> drain(
      const std::shared_ptr<ScanFlow>& flow, const std::function<void()>& between = [] {}) {
    std::vector<ScanRow> rows;
    for (int i = 0; i < 10000; ++i) {
      std::optional<Outcome<ScanBatch>> got;
      shard.post([&] {
        flow->next_batch(shard.now() + seconds(5),
                         [&](Outcome<ScanBatch> batch) { got.emplace(std::move(batch)); });
      });
      EXPECT_TRUE(world.run_until([&] { return got.has_value(); }, seconds(20)));
      if (!got->ok()) {
        ADD_FAILURE() << got->error().message;
        return rows;
      }
      auto& batch = **got;
      counted += batch.count;
      EXPECT_TRUE(batch.finished || !batch.rows.empty() || batch.count > 0)
          << "an empty batch in the middle";
      for (auto& row : batch.rows) rows.push_back(std::move(row));
      if (batch.finished) return rows;
      between();
    }
    ADD_FAILURE() << "the scan does not end";
    return rows;
  }
  void resolve() { ASSERT_EQ(get("nobody").error().code, ErrorCode::kNotFound); }
  std::shared_ptr<ScanFlow> full(ScanOptions options = {}) {
    return std::make_shared<ScanFlow>(the_core(), table(), std::vector<int32_t>{0, 1, 2, 3},
                                      options);
  }
  static std::set<std::string> keys_of(const std::vector<ScanRow>& rows) {
    std::set<std::string> keys;
    for (const auto& row : rows) {
      EXPECT_TRUE(keys.insert(raw_key(row.hash_key, row.sort_key)).second)
          << "twice: " << row.hash_key;
    }
    return keys;
  }

  int64_t counted = 0;
};

TEST_F(FlowTest, AFullScanSeesEveryRowOnce) {
  cluster.rows_per_batch = 7;
  auto rows = drain(full());
  EXPECT_EQ(keys_of(rows).size(), 200u);
}

TEST_F(FlowTest, AScanGoesOnAfterItsContextWasForgotten) {
  cluster.rows_per_batch = 7;
  int round = 0;
  auto rows = drain(full(), [&] {
    if (++round % 3 == 0) cluster.forget_contexts();
  });
  EXPECT_EQ(keys_of(rows).size(), 200u);
}

TEST_F(FlowTest, AScanGoesOnAtTheNewPrimary) {
  cluster.rows_per_batch = 7;
  int round = 0;
  auto rows = drain(full(), [&] {
    ++round;
    cluster.forget_contexts();
    for (int32_t p = 0; p < 4; ++p) cluster.move(p, node(1 + round % 3));
    if (round % 2 == 0) cluster.lose_next_answer(TaskCode::kScan);
  });
  EXPECT_EQ(keys_of(rows).size(), 200u);
}

TEST_F(FlowTest, AHashScanStaysWithinItsRange) {
  ScanOptions options;
  options.stop_inclusive = true;
  auto rows = drain(std::make_shared<ScanFlow>(the_core(), table(), "h7", "s1", "s3", options));
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0].sort_key, "s1");
  EXPECT_EQ(rows[2].sort_key, "s3");
  options.start_inclusive = false;
  options.stop_inclusive = false;
  EXPECT_EQ(
      drain(std::make_shared<ScanFlow>(the_core(), table(), "h7", "s1", "s3", options)).size(), 1u);
  EXPECT_EQ(
      drain(std::make_shared<ScanFlow>(the_core(), table(), "h7", "", "", ScanOptions{})).size(),
      5u);
}

TEST_F(FlowTest, AnEmptyRangeAsksNobody) {
  resolve();
  auto asked = cluster.calls.size();
  EXPECT_TRUE(
      drain(std::make_shared<ScanFlow>(the_core(), table(), "h7", "s3", "s1", ScanOptions{}))
          .empty());
  EXPECT_TRUE(
      drain(std::make_shared<ScanFlow>(the_core(), table(), "h7", "s1", "s1", ScanOptions{}))
          .empty());
  EXPECT_EQ(cluster.calls.size(), asked);
}

TEST_F(FlowTest, ACountIsExactEvenIfContextsAreLost) {
  cluster.rows_per_batch = 7;
  ScanOptions options;
  options.only_count = true;
  EXPECT_TRUE(drain(full(options)).empty());
  EXPECT_EQ(counted, 200);
  counted = 0;
  // Once in the middle of a partition.
  auto flow = full(options);
  auto forget =
      world.schedule_after(std::chrono::microseconds(1500), [&] { cluster.forget_contexts(); });
  drain(flow);
  EXPECT_EQ(counted, 200);
  world.cancel(forget);
}

TEST_F(FlowTest, AServerThatAlwaysForgetsEndsTheScan) {
  cluster.rows_per_batch = 0;  // a context after no row at all
  std::optional<Outcome<ScanBatch>> got;
  auto flow = full();
  shard.post([&] {
    flow->next_batch(shard.now() + seconds(5),
                     [&](Outcome<ScanBatch> batch) { got.emplace(std::move(batch)); });
  });
  for (int i = 0; i < 100 && !got; ++i) {
    world.run_for(milliseconds(1));
    cluster.forget_contexts();
  }
  ASSERT_TRUE(got.has_value());
  EXPECT_EQ(got->error().code, ErrorCode::kUnavailable) << got->error().message;
}

TEST_F(FlowTest, ClosingLetsTheServerForget) {
  cluster.rows_per_batch = 2;
  auto flow = full();
  std::optional<Outcome<ScanBatch>> got;
  shard.post([&] {
    flow->next_batch(shard.now() + seconds(5),
                     [&](Outcome<ScanBatch> batch) { got.emplace(std::move(batch)); });
  });
  ASSERT_TRUE(world.run_until([&] { return got.has_value(); }, seconds(5)));
  shard.post([&] { flow->close(); });
  world.run_for(milliseconds(5));
  EXPECT_EQ(cluster.count_calls(TaskCode::kClearScanner), 1);
}

class BatchGetTest : public FlowTest {
 protected:
  Outcome<Values> fetch(std::vector<Key> keys) {
    std::optional<Outcome<Values>> got;
    shard.post([&] {
      batch_get(the_core(), table(), keys, shard.now() + seconds(3),
                [&](Outcome<Values> values) { got.emplace(std::move(values)); });
    });
    EXPECT_TRUE(world.run_until([&] { return got.has_value(); }, seconds(10)));
    return *got;
  }
};

TEST_F(BatchGetTest, AnswersAreInTheOrderOfTheKeys) {
  std::vector<Key> keys{{"h3", "s1"}, {"none", "s"}, {"h9", "s4"},
                        {"h3", "s1"}, {"h0", "s9"},  {"h1", "s0"}};
  for (size_t limit : {size_t{1000}, size_t{1}}) {
    cluster.rows_per_batch = limit;
    auto values = fetch(keys);
    ASSERT_TRUE(values) << values.error().message;
    EXPECT_EQ(*values, (Values{"3.1", {}, "9.4", "3.1", {}, "1.0"})) << "limit " << limit;
  }
}

TEST_F(BatchGetTest, OneMessagePerPartition) {
  std::vector<Key> keys;
  for (int h = 0; h < 40; ++h) keys.push_back({fmt::format("h{}", h), "s0"});
  auto values = fetch(keys);
  ASSERT_TRUE(values);
  EXPECT_EQ(cluster.count_calls(TaskCode::kBatchGet), 4);
  for (int h = 0; h < 40; ++h) EXPECT_EQ((*values)[static_cast<size_t>(h)], fmt::format("{}.0", h));
}

TEST_F(BatchGetTest, AFailedPartFailsTheWhole) {
  cluster.refuse_next(TaskCode::kBatchGet, Errc::kAclDeny);
  EXPECT_EQ(fetch({{"h1", "s0"}, {"h2", "s0"}, {"h3", "s0"}}).error().code, ErrorCode::kDenied);
  EXPECT_EQ(fetch({}).error().code, ErrorCode::kInvalidArgument);
}

TEST_F(FlowTest, DelRangeDeletesTheRange) {
  std::optional<Outcome<int64_t>> got;
  RangeOptions options;
  options.stop_inclusive = true;
  cluster.rows_per_batch = 2;
  shard.post([&] {
    del_range(the_core(), table(), "h5", "s1", "s3", options, shard.now() + seconds(3),
              [&](Outcome<int64_t> count) { got.emplace(std::move(count)); });
  });
  ASSERT_TRUE(world.run_until([&] { return got.has_value(); }, seconds(10)));
  ASSERT_TRUE(got->ok()) << got->error().message;
  EXPECT_EQ(**got, 3);
  EXPECT_EQ(cluster.rows.size(), 197u);
  EXPECT_TRUE(cluster.rows.contains(raw_key("h5", "s0")));
  EXPECT_TRUE(cluster.rows.contains(raw_key("h5", "s4")));
}

TEST_F(FlowTest, WaitWritableEndsWhenTheLastPartitionTakesAWrite) {
  for (auto& partition : cluster.told) partition.primary = {};
  std::optional<Outcome<Readiness>> got;
  int told = 0;
  shard.post([&] {
    wait_writable(
        the_core(), table(), shard.now() + seconds(30), [&](const Readiness&) { ++told; },
        [&](Outcome<Readiness> ready) { got.emplace(std::move(ready)); });
  });
  for (int32_t p = 0; p < 4; ++p) {
    world.run_for(milliseconds(100));
    EXPECT_FALSE(got.has_value());
    cluster.move(p, node(p % 3 + 1));
  }
  Instant last = world.now();
  ASSERT_TRUE(world.run_until([&] { return got.has_value(); }, seconds(5)));
  ASSERT_TRUE(got->ok()) << got->error().message;
  EXPECT_LT(world.now() - last, milliseconds(60));
  EXPECT_EQ((*got)->writable, 4);
  EXPECT_EQ((*got)->with_all_replicas, 4);
  EXPECT_GE(told, 4);
  EXPECT_EQ(cluster.rows.size(), 200u) << "the proof leaves nothing";
}

TEST_F(FlowTest, WaitWritableKeepsItsDeadline) {
  cluster.told[2].primary = {};
  std::optional<Outcome<Readiness>> got;
  Instant begin = world.now();
  shard.post([&] {
    wait_writable(the_core(), table(), shard.now() + seconds(2), {},
                  [&](Outcome<Readiness> ready) { got.emplace(std::move(ready)); });
  });
  ASSERT_TRUE(world.run_until([&] { return got.has_value(); }, seconds(5)));
  EXPECT_FALSE(got->ok());
  EXPECT_LT(world.now() - begin, milliseconds(2050));
}

TEST_F(FlowTest, WaitWritableWaitsForWhatPasses) {
  for (int i = 0; i < 3; ++i) cluster.refuse_next(TaskCode::kRemove, Errc::kDiskInsufficient);
  std::optional<Outcome<Readiness>> got;
  shard.post([&] {
    wait_writable(the_core(), table(), shard.now() + seconds(5), {},
                  [&](Outcome<Readiness> ready) { got.emplace(std::move(ready)); });
  });
  ASSERT_TRUE(world.run_until([&] { return got.has_value(); }, seconds(10)));
  ASSERT_TRUE(got->ok()) << got->error().message;
  EXPECT_EQ((*got)->writable, 4);
}

TEST_F(FlowTest, WaitWritableSaysAtItsDeadlineWhatTheLastRefusalWas) {
  for (int i = 0; i < 1000; ++i) cluster.refuse_next(TaskCode::kRemove, Errc::kDiskInsufficient);
  std::optional<Outcome<Readiness>> got;
  shard.post([&] {
    wait_writable(the_core(), table(), shard.now() + seconds(2), {},
                  [&](Outcome<Readiness> ready) { got.emplace(std::move(ready)); });
  });
  ASSERT_TRUE(world.run_until([&] { return got.has_value(); }, seconds(10)));
  ASSERT_FALSE(got->ok());
  EXPECT_NE(got->error().message.find("ERR_DISK_INSUFFICIENT"), std::string::npos)
      << got->error().message;
}

}  // namespace
}  // namespace markab::client
