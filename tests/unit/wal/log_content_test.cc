// What a log holds: rewrites and reigns, reading, trimming, beginning anew.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "unit/wal/log_world.h"

namespace markab::wal {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

TEST(LogContent, ARewriteReplacesAndAReignVoids) {
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

// --- reading ---

TEST(LogContent, ReadGivesTheNewestContentInBoundedPieces) {
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

TEST(LogContent, ReadSeesOnlyWhatIsInTheFile) {
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
TEST(LogContent, ReadAndReplayAgreeWithAModel) {
  for (uint64_t seed = 0; seed < 100; ++seed) {
    Random random(seed);
    LogWorld w(seed, mode(LogSync::kAlways, 2000 + random.below(20000)));
    w.boot();
    Ballot ballot = 1;
    Decree checkpoint = 0;
    Model model;
    auto add = [&](const Kept& r) {
      w.must_append(r);
      apply(r, model);
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

TEST(LogContent, TrimRemovesWholeSegmentsOldestFirstAndNeverTheCurrentOne) {
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

TEST(LogContent, ACrashDuringTrimLeavesNoHole) {
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

TEST(LogContent, ResetForgetsAndContinuesBehindTheCheckpoint) {
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

TEST(LogContent, TheBallotOfTheLastMembershipOutlivesRestartsTrimsAndResets) {
  LogWorld w(1, mode(LogSync::kAlways, 1024));
  w.boot();
  w.must_append(reign(3, 0, 3));
  w.fill(3, 20);
  w.must_append(reign(7, 20, 3));  // heard of, as a learner
  w.settle();
  w.close();
  w.boot();
  EXPECT_EQ(w.summary.ballot, 7);
  EXPECT_EQ(w.summary.member, 3);
  w.fill(7, 80);  // begins new segments
  w.settle();
  w.log->trim(80);
  EXPECT_GT(w.log->trimmed(), 20) << "the records of both reigns are gone";
  w.close();
  w.boot(80);
  EXPECT_EQ(w.summary.ballot, 7);
  EXPECT_EQ(w.summary.member, 3);
  ASSERT_TRUE(w.log->reset(1000).ok());
  w.settle();
  w.close();
  w.boot(1000);
  EXPECT_EQ(w.summary.member, 3);
  w.must_append(reign(9, 1000, 9));
  w.settle();
  w.close();
  w.boot(1000);
  EXPECT_EQ(w.summary.member, 9);
}

TEST(LogContent, ResetMayComeAtAnyMoment) {
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

TEST(LogContent, ALogThatEndsBelowTheCheckpointBeginsAnew) {
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

}  // namespace
}  // namespace markab::wal
