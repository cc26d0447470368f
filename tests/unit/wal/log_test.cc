// The log's contract, one clause per test: appending, telling, reopening, errors, the end of a log.
// What it holds is in log_content_test.cc, crashes and damage in log_crash_test.cc and
// log_damage_test.cc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "unit/wal/log_world.h"

namespace markab::wal {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;
using testing::SizeIs;

const Status kFine;

TEST(Log, DeliversWhatWasAppended) {
  LogWorld w(1);
  w.boot();
  EXPECT_EQ(w.summary.last_decree, 0);
  std::vector<Kept> records = {mutation(3, 1, "one"), mutation(3, 2, "", 1),
                               mutation(3, 3, std::string(5000, 'x'), 2)};
  for (const auto& r : records) w.must_append(r);
  EXPECT_EQ(w.log->last_decree(), 3);
  w.settle();
  w.close();
  w.boot();
  EXPECT_EQ(w.delivered, records);
  EXPECT_EQ(w.summary.ballot, 3);
  EXPECT_EQ(w.summary.last_decree, 3);
  EXPECT_EQ(w.summary.last_committed, 2);
  EXPECT_EQ(w.summary.records, 3u);
  EXPECT_EQ(w.summary.bytes, w.log->bytes());
  EXPECT_EQ(w.summary.cut_bytes, 0u);
  EXPECT_TRUE(w.summary.damage.ok());
  EXPECT_EQ(w.log->last_decree(), 3);
  w.must_append(mutation(3, 4, "four"));
  w.close();
  w.boot(2);
  EXPECT_THAT(w.delivered, ElementsAre(records[2], mutation(3, 4, "four")));
}

TEST(Log, TheDestructorWritesWhatWaits) {
  LogWorld w(1);
  w.boot();
  w.must_append(mutation(1, 1, "waits"));
  w.close();
  w.power_cut();  // it was synced too
  w.boot();
  EXPECT_THAT(w.delivered, SizeIs(1));
}

TEST(Log, NothingIsToldFromInsideAppendAndAlwaysMeansSynced) {
  LogWorld w(1);
  w.boot();
  w.on_durable = [&](const Status&, Decree) {
    auto name = w.segments().back();
    EXPECT_EQ(w.files.synced_bytes(w.path(name)), w.content(name).size());
  };
  w.fill(1, 3);
  EXPECT_THAT(w.told, IsEmpty());
  EXPECT_EQ(w.log->durable_records(), 0u);
  w.settle();
  EXPECT_THAT(w.told, ElementsAre(Pair(kFine, 3)));
  EXPECT_EQ(w.log->durable_records(), 3u);
  EXPECT_EQ(w.log->appended_records(), 3u);
}

TEST(Log, OneTurnIsOneWrite) {
  LogWorld w(1);
  w.boot();
  auto before = w.files.counters();
  w.fill(1, 50);
  w.settle();
  EXPECT_EQ(w.files.counters().appends - before.appends, 1u);
  EXPECT_EQ(w.files.counters().syncs - before.syncs, 1u);
}

TEST(Log, WhatComesDuringASyncSharesTheNextOne) {
  LogWorld w(1);
  w.boot();
  auto before = w.files.counters().syncs;
  w.fill(1, 1);
  w.world.run_for(std::chrono::microseconds(1));  // written, the sync is under way
  for (Decree d = 2; d <= 20; ++d) {
    w.fill(1, d);
    w.world.run_for(std::chrono::nanoseconds(1));
  }
  w.settle();
  EXPECT_LE(w.files.counters().syncs - before, 2u);
  EXPECT_EQ(w.told.back().second, 20);
}

TEST(Log, TheLogsOfADiskAreSyncedAFewAtATimeAndEachOnceForAllThatWaits) {
  constexpr size_t kLogs = 10;
  auto options = mode(LogSync::kAlways);
  options.parallel_syncs = 3;
  LogWorld w(1, options);
  w.boot();
  w.node->set_blocking_latency(std::chrono::milliseconds(1), std::chrono::milliseconds(1));
  std::vector<std::unique_ptr<Log>> logs;
  std::vector<Decree> durable(kLogs, 0);
  for (size_t i = 0; i < kLogs; ++i) {
    ReplaySummary summary;
    auto log = Log::open(
        *w.disk, w.node->shard(0), "/r/log" + std::to_string(i), 0, [](const Record&) {}, summary);
    ASSERT_TRUE(log.has_value());
    (*log)->set_on_durable([&durable, i](const Status& s, Decree d) {
      ASSERT_TRUE(s.ok());
      durable[i] = d;
    });
    logs.push_back(std::move(*log));
  }
  auto append_to_all = [&] {
    for (auto& log : logs)
      ASSERT_TRUE(log->append(mutation(1, log->last_decree() + 1, "x").view()).ok());
    w.world.run_for(std::chrono::microseconds(10));
  };
  auto visits = w.node->blocking_calls();
  auto syncs = w.files.counters().syncs;
  Instant start = w.world.now();
  for (int i = 0; i < 50; ++i)
    append_to_all();  // half a millisecond: before the first sync takes effect
  EXPECT_EQ(w.node->blocking_calls() - visits, 3u);
  w.settle();
  EXPECT_THAT(durable, testing::Each(50));
  EXPECT_EQ(w.files.counters().syncs - syncs, kLogs) << "one sync of each log for its 50 appends";
  EXPECT_LE(w.node->blocking_calls() - visits, kLogs + 2) << "a visit may find nothing to do";
  EXPECT_EQ(w.world.now() - start, std::chrono::milliseconds(4)) << "three at a time";
}

// What a log appends while its own sync is under way makes one more; it is never synced twice at a
// time.
TEST(Log, ALogThatAsksDuringItsSyncHasOneMore) {
  LogWorld w(1);
  w.boot();
  auto syncs = w.files.counters().syncs;
  w.fill(1, 1);
  ASSERT_TRUE(
      w.world.run_until([&] { return w.files.counters().syncs > syncs; }, std::chrono::seconds(1)));
  for (Decree d = 2; d <= 20; ++d) {
    w.fill(1, d);
    w.world.run_for(std::chrono::microseconds(1));
  }
  w.settle();
  EXPECT_EQ(w.files.counters().syncs - syncs, 2u);
  EXPECT_EQ(w.told.back().second, 20);
}

TEST(Log, IntervalTellsAfterTheWriteAndSyncsBehind) {
  LogWorld w(1, mode(LogSync::kInterval));
  w.boot();
  auto before = w.files.counters().syncs;
  Instant start = w.world.now();
  w.fill(1, 1);
  w.world.run_until([&] { return !w.told.empty(); }, std::chrono::seconds(1));
  EXPECT_EQ(w.world.now(), start) << "no wait";
  EXPECT_EQ(w.files.counters().syncs, before);
  for (Decree d = 2; d <= 30; ++d) {
    w.fill(1, d);
    w.world.run_for(std::chrono::milliseconds(10));
  }
  w.settle();
  auto syncs = w.files.counters().syncs - before;
  EXPECT_GE(syncs, 2u);
  EXPECT_LE(syncs, 4u) << "300 ms of writes, 100 ms apart";
  auto name = w.segments().back();
  EXPECT_EQ(w.files.synced_bytes(w.path(name)), w.content(name).size());
  EXPECT_FALSE(w.world.step()) << "an idle log has no timer";
}

TEST(Log, NoneNeverSyncs) {
  LogWorld w(1, mode(LogSync::kNone, 4096));
  w.boot();
  auto before = w.files.counters().syncs;
  w.fill(1, 100, 200);
  w.settle();
  EXPECT_EQ(w.told.back().second, 100);
  w.close();
  EXPECT_EQ(w.files.counters().syncs, before);
}

class LogModes : public testing::TestWithParam<LogSync> {};
INSTANTIATE_TEST_SUITE_P(Modes, LogModes,
                         testing::Values(LogSync::kAlways, LogSync::kInterval, LogSync::kNone));

TEST_P(LogModes, SegmentsFollowEachOther) {
  LogWorld w(1, mode(GetParam(), 4096));
  w.boot();
  std::vector<Kept> records;
  for (Decree d = 1; d <= 200; ++d) {
    records.push_back(mutation(1, d, std::string(100, static_cast<char>(d)), d - 1));
    w.must_append(records.back());
    if (d % 7 == 0) w.world.run_for(std::chrono::microseconds(d % 3 * 200));
  }
  w.settle();
  EXPECT_EQ(w.told.back().second, 200);
  EXPECT_THAT(w.segments(), SizeIs(testing::Gt(5u)));
  w.close();
  w.boot();
  EXPECT_TRUE(w.summary.damage.ok()) << w.summary.damage.to_string();
  EXPECT_EQ(w.delivered, records);
  w.fill(1, 201);
  w.close();
  w.boot(200);
  EXPECT_THAT(w.delivered, SizeIs(1));
}

TEST_P(LogModes, ClosedInTheMiddleOfARotation) {
  for (int steps = 0; steps < 12; ++steps) {
    LogWorld w(static_cast<uint64_t>(steps), mode(GetParam(), 1024));
    w.boot();
    w.fill(1, 30, 100);
    for (int i = 0; i < steps; ++i) w.world.step();
    w.fill(1, 40, 100);
    w.close();
    if (GetParam() == LogSync::kNone) {
      w.kill();
    } else {
      w.power_cut();
    }
    w.boot();
    EXPECT_TRUE(w.summary.damage.ok()) << w.summary.damage.to_string();
    EXPECT_EQ(w.summary.last_decree, 40) << steps;
  }
}

TEST(Log, TheDecreeToldNeverCoversARewriteThatIsNotDurable) {
  LogWorld w(1);
  w.boot();
  auto syncs = w.files.counters().syncs;
  w.fill(1, 10);
  // 1..10 are synced; that is not told yet.
  ASSERT_TRUE(
      w.world.run_until([&] { return w.files.counters().syncs > syncs; }, std::chrono::seconds(1)));
  w.must_append(mutation(2, 7, "again"));
  w.must_append(reign(3, 5));
  auto records = w.log->appended_records();
  w.settle();
  ASSERT_THAT(w.told, SizeIs(2));
  EXPECT_EQ(w.told[0].second, 5) << "7 changes with the rewrite, 6 and above with the reign";
  EXPECT_EQ(w.told[1].second, 5);
  EXPECT_EQ(w.log->durable_records(), records);
  w.fill(3, 8);
  w.settle();
  EXPECT_EQ(w.told.back().second, 8);
}

TEST(LogDeathTest, ARecordThatCannotFollowIsABug) {
  LogWorld w(1);
  w.boot();
  w.fill(2, 5);
  EXPECT_DEATH((void)w.append(mutation(2, 7, "gap")), "cannot follow");
  EXPECT_DEATH((void)w.append(mutation(2, 5, "same ballot")), "cannot follow");
  EXPECT_DEATH((void)w.append(mutation(1, 3, "lower ballot")), "cannot follow");
  w.must_append(mutation(3, 3, "fine"));
  EXPECT_DEATH((void)w.append(mutation(3, 3, "same ballot now")), "cannot follow");
  w.must_append(mutation(3, 4, "fine"));
}

TEST(Log, BusyWhenTooMuchWaits) {
  auto options = mode(LogSync::kAlways);
  options.max_unwritten_bytes = 1000;
  LogWorld w(1, options);
  w.boot();
  w.must_append(mutation(1, 1, std::string(2000, 'x')));  // alone it may be larger
  EXPECT_EQ(w.append(mutation(1, 2, "x")).code(), Errc::kBusy);
  EXPECT_EQ(w.log->last_decree(), 1);
  w.settle();
  w.must_append(mutation(1, 2, "x"));
  w.settle();
  EXPECT_EQ(w.told.back().second, 2);
}

// --- errors ---

TEST_P(LogModes, AWriteErrorEndsTheLogOnce) {
  LogWorld w(1, mode(GetParam()));
  w.boot();
  w.fill(1, 5);
  w.settle();
  w.files.fail_next_append("log.", Status(Errc::kDiskIoError, "Input/output error"));
  w.fill(1, 9);
  w.settle();
  ASSERT_THAT(w.told, SizeIs(2));
  EXPECT_EQ(w.told[1].first.code(), Errc::kDiskIoError);
  EXPECT_EQ(w.told[1].second, 5);
  EXPECT_EQ(w.append(mutation(1, 10, "x")).code(), Errc::kDiskIoError);
  EXPECT_EQ(w.log->reset(100).code(), Errc::kDiskIoError);
  w.settle();
  EXPECT_THAT(w.told, SizeIs(2));
  w.close();
  w.boot();
  EXPECT_TRUE(w.summary.damage.ok());
  EXPECT_GE(w.summary.last_decree, 5);
}

TEST(Log, ASyncErrorEndsTheLogOnce) {
  LogWorld w(1);
  w.boot();
  w.fill(1, 5);
  w.settle();
  w.files.fail_next_sync("log.", Status(Errc::kDiskIoError, "Input/output error"));
  w.fill(1, 9);
  w.world.run_for(std::chrono::microseconds(1));
  w.fill(1, 12);
  w.settle();
  ASSERT_THAT(w.told, SizeIs(2));
  EXPECT_EQ(w.told[1].first.code(), Errc::kDiskIoError);
  EXPECT_EQ(w.append(mutation(1, 13, "x")).code(), Errc::kDiskIoError);
}

TEST(Log, ASyncErrorBehindTheInterval) {
  LogWorld w(1, mode(LogSync::kInterval));
  w.boot();
  w.files.fail_next_sync("log.", Status(Errc::kDiskIoError, "Input/output error"));
  w.fill(1, 5);
  w.settle();
  ASSERT_THAT(w.told, SizeIs(2));
  EXPECT_TRUE(w.told[0].first.ok());
  EXPECT_EQ(w.told[1].first.code(), Errc::kDiskIoError);
}

TEST(Log, AFullDiskAtARotation) {
  LogWorld w(1, mode(LogSync::kAlways, 4096));
  w.boot();
  w.files.set_capacity(6000);
  w.fill(1, 100, 100);
  w.world.run_for(std::chrono::seconds(1));
  ASSERT_FALSE(w.told.empty());
  EXPECT_TRUE(w.told.back().first.ok());
  EXPECT_TRUE(w.log->out_of_space());
  Decree safe = w.told.back().second;
  EXPECT_LT(safe, 100);
  w.power_cut();
  w.files.set_capacity(1 << 30);
  w.boot();
  EXPECT_TRUE(w.summary.damage.ok()) << w.summary.damage.to_string();
  EXPECT_GE(w.summary.last_decree, safe);
}

TEST_P(LogModes, AFullDiskIsWaitedFor) {
  LogWorld w(1, mode(GetParam(), 4096));
  w.boot();
  w.files.set_capacity(6000);
  w.fill(1, 100, 100);
  w.world.run_for(std::chrono::seconds(1));
  EXPECT_TRUE(w.log->out_of_space());
  ASSERT_FALSE(w.told.empty());
  EXPECT_LT(w.told.back().second, 100);
  w.files.set_capacity(1 << 30);
  w.world.run_for(std::chrono::seconds(1));
  EXPECT_FALSE(w.log->out_of_space());
  EXPECT_TRUE(w.told.back().first.ok());
  EXPECT_EQ(w.told.back().second, 100);
  w.close();
  w.boot();
  EXPECT_TRUE(w.summary.damage.ok()) << w.summary.damage.to_string();
  EXPECT_EQ(w.summary.last_decree, 100);
}

TEST(Log, AnErrorBeforeTheCallbackIsSetIsToldToIt) {
  LogWorld w(1);
  w.boot();
  w.log->set_on_durable(nullptr);
  w.files.fail_next_append("log.", Status(Errc::kDiskIoError, "Input/output error"));
  w.fill(1, 1);
  w.settle();
  std::vector<Errc> told;
  w.log->set_on_durable([&](const Status& s, Decree) { told.push_back(s.code()); });
  EXPECT_THAT(told, IsEmpty());
  w.settle();
  EXPECT_THAT(told, ElementsAre(Errc::kDiskIoError));
}

// --- the end of a log ---

TEST_P(LogModes, DestroyedAtAnyStepNothingIsToldAndNothingIsLost) {
  for (int steps = 0; steps < 20; ++steps) {
    LogWorld w(static_cast<uint64_t>(steps), mode(GetParam(), 2048));
    w.boot();
    for (int i = 0; i < 5; ++i) {
      w.fill(1, w.log->last_decree() + 10, 100);
      for (int j = 0; j < steps; ++j) w.world.step();
    }
    w.log.reset();
    auto told = w.told.size();
    w.settle();
    EXPECT_EQ(w.told.size(), told);
    w.close();
    w.boot();
    EXPECT_TRUE(w.summary.damage.ok());
    EXPECT_EQ(w.summary.last_decree, 50);
  }
}

TEST_P(LogModes, TheCallbackMayDestroyTheLog) {
  LogWorld w(1, mode(GetParam()));
  w.boot();
  w.on_durable = [&](const Status&, Decree) { w.log.reset(); };
  w.fill(1, 5);
  w.settle();
  EXPECT_EQ(w.log, nullptr);
  EXPECT_THAT(w.told, SizeIs(1));
  w.close();
  w.boot();
  EXPECT_EQ(w.summary.last_decree, 5);
}

// A log that rotates for weeks must not run out of descriptors, whoever syncs it or does not.
TEST_P(LogModes, KeepsOneSegmentOpen) {
  LogWorld w(1, mode(GetParam(), 1000));
  w.boot();
  for (Decree last = 50; last <= 500; last += 50) {
    w.fill(1, last);
    w.settle();
  }
  ASSERT_GT(w.segments().size(), 10u);
  EXPECT_EQ(w.files.open_files(), 1);
}

// Where acknowledging does not wait for a sync, segments are written through a mapping, which
// reserves space. A process that is killed leaves it behind the last record of the last segment,
// and nowhere else; one that ends leaves none.
TEST_P(LogModes, WhatWasReservedIsCutAndNothingElse) {
  LogWorld w(1, mode(GetParam(), 1000));
  w.boot();
  w.fill(1, 100);
  w.settle();
  w.kill();
  w.files.boot();
  auto names = w.segments();
  ASSERT_GT(names.size(), 2u);
  for (const auto& name : names) {
    bool zeros = w.content(name).ends_with(std::string(16, '\0'));
    EXPECT_EQ(zeros, name == names.back() && GetParam() != LogSync::kAlways) << name;
  }
  w.boot();
  EXPECT_TRUE(w.summary.damage.ok()) << w.summary.damage.to_string();
  EXPECT_EQ(w.summary.last_decree, 100);
  EXPECT_THAT(w.delivered, SizeIs(100));
  w.fill(1, 110);
  w.settle();
  w.close();
  EXPECT_FALSE(w.content(w.segments().back()).ends_with(std::string(16, '\0')));
  w.boot();
  EXPECT_EQ(w.summary.last_decree, 110);
  EXPECT_EQ(w.summary.cut_bytes, 0u);
}

TEST(Log, FilesWithOtherNamesAreLeftAlone) {
  LogWorld w(1);
  w.boot();
  w.fill(1, 5);
  w.close();
  for (auto name : {"log.1", "log.01.0", "log.x.0", "log.2.-3", "log.2.5.tmp", "LOG.2.5", "notes"})
    w.put(name, "junk");
  w.boot();
  EXPECT_TRUE(w.summary.damage.ok());
  EXPECT_THAT(w.delivered, SizeIs(5));
  EXPECT_THAT(w.segments(), SizeIs(8));
}

}  // namespace
}  // namespace markab::wal
