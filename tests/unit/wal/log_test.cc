// The log's contract, one clause per test: appending, telling, reopening, rewrites and reigns,
// reading, trimming, beginning anew, errors. Crashes and damage: log_crash_test.cc,
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

Disk::Options mode(LogSync sync, uint64_t segment_bytes = 32u << 20) {
  Disk::Options options;
  options.sync = sync;
  options.segment_bytes = segment_bytes;
  return options;
}

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

TEST(Log, ARewriteReplacesAndAReignVoids) {
  LogWorld w(1);
  w.boot();
  std::vector<Kept> records = {mutation(1, 1, "a"), mutation(1, 2, "b"),     mutation(1, 3, "c"),
                               mutation(2, 2, "B"), mutation(2, 3, "C"),     mutation(2, 4, "D"),
                               reign(3, 2),         mutation(3, 3, "three"), reign(4, 9)};
  for (const auto& r : records) w.must_append(r);
  EXPECT_EQ(w.log->last_decree(), 3);
  w.settle();
  w.close();
  w.boot();
  EXPECT_EQ(w.delivered, records) << "in log order";
  EXPECT_EQ(w.summary.ballot, 4);
  EXPECT_EQ(w.summary.last_decree, 3);
  auto read = w.log->read(1, 1000).value();
  ASSERT_THAT(read, SizeIs(3));
  EXPECT_EQ(read[0].second, "a");
  EXPECT_EQ(read[1].second, "B");
  EXPECT_EQ(read[1].first.ballot, 2);
  EXPECT_EQ(read[2].second, "three");
  EXPECT_EQ(read[2].first.timestamp_us, 1003);
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

// --- reading ---

TEST(Log, ReadGivesTheNewestContentInBoundedPieces) {
  LogWorld w(1, mode(LogSync::kAlways, 8192));
  w.boot();
  w.fill(1, 300, 100);
  w.settle();
  Decree next = 1;
  while (next <= 300) {
    auto piece = w.log->read(next, 1000).value();
    ASSERT_THAT(piece, SizeIs(next <= 291 ? 10u : static_cast<size_t>(301 - next)));
    for (auto& [record, payload] : piece) {
      ASSERT_EQ(record.decree, next);
      ASSERT_EQ(payload, std::string(100, static_cast<char>('a' + next % 26)));
      ASSERT_EQ(record.committed, next - 1);
      ++next;
    }
  }
  EXPECT_THAT(w.log->read(301, 1000).value(), IsEmpty());
  EXPECT_THAT(w.log->read(1, 1).value(), SizeIs(1)) << "at least one";
  EXPECT_EQ(w.log->read(0, 1).error().code(), Errc::kObjectNotFound);
}

TEST(Log, ReadSeesOnlyWhatIsInTheFile) {
  LogWorld w(1);
  w.boot();
  w.fill(1, 3);
  EXPECT_THAT(w.log->read(1, 1000).value(), IsEmpty());
  w.settle();
  w.fill(1, 5);
  EXPECT_THAT(w.log->read(1, 1000).value(), SizeIs(3));
  EXPECT_THAT(w.log->read(4, 1000).value(), IsEmpty());
  w.settle();
  EXPECT_THAT(w.log->read(1, 1000).value(), SizeIs(5));
}

// Random histories of mutations, rewrites, reigns, rotations and trims: read and replay agree with
// a model.
TEST(Log, ReadAndReplayAgreeWithAModel) {
  for (uint64_t seed = 0; seed < 150; ++seed) {
    Random random(seed);
    LogWorld w(seed, mode(LogSync::kAlways, 2000 + random.below(20000)));
    w.boot();
    std::vector<Kept> history;
    Ballot ballot = 1;
    Decree checkpoint = 0;
    std::map<Decree, Kept> model;
    auto add = [&](const Kept& r) {
      w.must_append(r);
      history.push_back(r);
      model = effective(history);
    };
    for (int step = 0; step < 400; ++step) {
      Decree last = w.log->last_decree();
      Decree low = std::max(checkpoint, w.log->trimmed());
      std::string payload(random.below(300), static_cast<char>('a' + random.below(26)));
      if (random.chance(0.02)) {
        ++ballot;
        add(reign(ballot,
                  low + static_cast<Decree>(random.below(static_cast<uint64_t>(last - low) + 2))));
      } else if (random.chance(0.03) && last > low) {
        ++ballot;  // a new primary proposes the tail again
        for (Decree d =
                 low + 1 + static_cast<Decree>(random.below(static_cast<uint64_t>(last - low)));
             d <= last; ++d) {
          add(mutation(ballot, d, payload));
        }
      } else {
        add(mutation(ballot, last + 1, payload));
      }
      if (random.chance(0.05)) w.settle();
      if (random.chance(0.01)) {
        w.settle();
        checkpoint = low + static_cast<Decree>(
                               random.below(static_cast<uint64_t>(w.log->last_decree() - low) + 1));
        w.log->trim(checkpoint);
        ASSERT_LE(w.log->trimmed(), checkpoint);
      }
      if (random.chance(0.05)) {
        w.settle();
        Decree from = w.log->trimmed() + 1 + static_cast<Decree>(random.below(20));
        auto read = w.log->read(from, random.below(3000)).value();
        ASSERT_EQ(read.empty(), from > w.log->last_decree());
        for (auto& [record, bytes] : read) {
          Kept got = Kept::of(record);
          got.payload = bytes;
          ASSERT_EQ(got, model.at(from)) << "seed " << seed;
          ++from;
        }
      }
      ASSERT_EQ(w.log->last_decree(),
                model.empty() ? std::max<Decree>(0, w.log->trimmed()) : model.rbegin()->first);
    }
    w.settle();
    auto trimmed = w.log->trimmed();
    auto bytes = w.log->bytes();
    w.close();
    w.boot(checkpoint);
    ASSERT_TRUE(w.summary.damage.ok()) << w.summary.damage.to_string();
    EXPECT_EQ(w.log->trimmed(), trimmed);
    EXPECT_EQ(w.log->bytes(), bytes);
    EXPECT_EQ(w.summary.ballot, ballot) << "although its records may be trimmed";
    auto replayed = effective(w.delivered);
    model.erase(model.begin(), model.upper_bound(checkpoint));
    replayed.erase(replayed.begin(), replayed.upper_bound(checkpoint));
    ASSERT_EQ(replayed, model) << "seed " << seed;
  }
}

// --- trimming ---

TEST(Log, TrimRemovesWholeSegmentsOldestFirstAndNeverTheCurrentOne) {
  LogWorld w(1, mode(LogSync::kAlways, 4096));
  w.boot();
  w.fill(1, 100, 100);
  w.settle();
  auto before = w.segments();
  auto bytes = w.log->bytes();
  EXPECT_EQ(w.log->trimmed(), 0);
  w.log->trim(10);
  w.settle();
  EXPECT_EQ(w.segments(), before) << "the first segment holds more than 10";
  w.log->trim(60);
  w.settle();
  EXPECT_LT(w.segments().size(), before.size());
  EXPECT_GT(w.log->trimmed(), 0);
  EXPECT_LE(w.log->trimmed(), 60);
  EXPECT_LT(w.log->bytes(), bytes);
  EXPECT_EQ(w.log->read(w.log->trimmed(), 1).error().code(), Errc::kObjectNotFound);
  EXPECT_EQ(w.log->read(w.log->trimmed() + 1, 1).value()[0].first.decree, w.log->trimmed() + 1);
  w.log->trim(1000);
  w.settle();
  EXPECT_THAT(w.segments(), SizeIs(1));
  EXPECT_EQ(w.log->last_decree(), 100);
  auto trimmed = w.log->trimmed();
  w.close();
  w.boot(100);
  EXPECT_TRUE(w.summary.damage.ok());
  EXPECT_EQ(w.log->trimmed(), trimmed);
  EXPECT_EQ(w.summary.last_decree, 100);
}

TEST(Log, ACrashDuringTrimLeavesNoHole) {
  for (uint64_t seed = 0; seed < 100; ++seed) {
    LogWorld w(seed, mode(LogSync::kAlways, 1000));
    w.boot();
    w.fill(1, 100, 100);
    w.settle();
    w.log->trim(90);
    if (seed % 2 == 0) w.settle();
    w.power_cut();
    w.boot(90);
    ASSERT_TRUE(w.summary.damage.ok()) << w.summary.damage.to_string();
    EXPECT_EQ(w.summary.last_decree, 100);
  }
}

// --- beginning anew ---

TEST(Log, ResetForgetsAndContinuesBehindTheCheckpoint) {
  LogWorld w(1, mode(LogSync::kAlways, 4096));
  w.boot();
  w.fill(4, 50, 300);
  w.settle();
  w.fill(4, 60, 300);  // waits to be written
  auto told = w.told.size();
  ASSERT_TRUE(w.log->reset(1000).ok());
  EXPECT_EQ(w.log->last_decree(), 1000);
  EXPECT_EQ(w.log->trimmed(), 1000);
  EXPECT_THAT(w.segments(), SizeIs(1));
  w.settle();
  EXPECT_EQ(w.told.size(), told) << "nothing is told of what was forgotten";
  w.fill(5, 1010);
  w.settle();
  EXPECT_EQ(w.told.back().second, 1010);
  w.close();
  w.boot(1000);
  EXPECT_THAT(w.delivered, SizeIs(10));
  EXPECT_EQ(w.summary.last_committed, 1009);
  EXPECT_EQ(w.summary.ballot, 5);
  ASSERT_TRUE(w.log->reset(2000).ok());
  w.close();
  w.boot(2000);
  EXPECT_EQ(w.summary.ballot, 5) << "the reign outlives its records";
  EXPECT_EQ(w.summary.last_committed, 2000);
  EXPECT_THAT(w.delivered, IsEmpty());
}

TEST(Log, ResetMayComeAtAnyMoment) {
  for (int steps = 0; steps < 15; ++steps) {
    LogWorld w(static_cast<uint64_t>(steps), mode(LogSync::kAlways, 1024));
    w.boot();
    w.fill(1, 30, 100);
    for (int i = 0; i < steps; ++i) w.world.step();
    w.log->trim(5);
    ASSERT_TRUE(w.log->reset(500).ok());
    w.fill(2, 540, 100);
    w.settle();
    EXPECT_EQ(w.told.back().second, 540);
    w.power_cut();
    w.boot(500);
    ASSERT_TRUE(w.summary.damage.ok()) << w.summary.damage.to_string();
    EXPECT_EQ(w.summary.last_decree, 540);
    EXPECT_THAT(w.delivered, SizeIs(40));
  }
}

TEST(Log, ALogThatEndsBelowTheCheckpointBeginsAnew) {
  LogWorld w(1);
  w.boot();
  w.fill(3, 10);
  w.close();
  EXPECT_FALSE(w.summary.began_anew);
  w.boot(20);
  EXPECT_TRUE(w.summary.began_anew);
  EXPECT_EQ(w.summary.last_decree, 20);
  EXPECT_EQ(w.log->trimmed(), 20);
  EXPECT_EQ(w.summary.ballot, 3);
  w.fill(3, 21);
  w.close();
  w.boot(20);
  EXPECT_THAT(w.delivered, SizeIs(1));
  // A directory without a log, as after the installation of a checkpoint by hand.
  w.close();
  ASSERT_TRUE(w.files.remove_all(LogWorld::kDir).ok());
  w.boot(77);
  EXPECT_TRUE(w.summary.began_anew);
  EXPECT_EQ(w.log->last_decree(), 77);
  w.close();
  w.boot(77);
  EXPECT_FALSE(w.summary.began_anew);
}

// --- errors ---

TEST_P(LogModes, AWriteErrorEndsTheLogOnce) {
  LogWorld w(1, mode(GetParam()));
  w.boot();
  w.fill(1, 5);
  w.settle();
  w.files.fail_next_append("log.", Status(Errc::kDiskInsufficient, "No space left on device"));
  w.fill(1, 9);
  w.settle();
  ASSERT_THAT(w.told, SizeIs(2));
  EXPECT_EQ(w.told[1].first.code(), Errc::kDiskInsufficient);
  EXPECT_EQ(w.told[1].second, 5);
  EXPECT_EQ(w.append(mutation(1, 10, "x")).code(), Errc::kDiskInsufficient);
  EXPECT_EQ(w.log->reset(100).code(), Errc::kDiskInsufficient);
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
  w.settle();
  ASSERT_FALSE(w.told.empty());
  EXPECT_EQ(w.told.back().first.code(), Errc::kDiskInsufficient);
  Decree safe = w.told.back().second;
  w.power_cut();
  w.files.set_capacity(1 << 30);
  w.boot();
  EXPECT_TRUE(w.summary.damage.ok()) << w.summary.damage.to_string();
  EXPECT_GE(w.summary.last_decree, safe);
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
