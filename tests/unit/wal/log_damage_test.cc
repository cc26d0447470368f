// Files that are not as they were written: cut at any byte, any bit flipped, zeros at the end,
// segments missing. A record that was not appended as it is is never delivered; what was lost in
// the middle is told.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/log.h"
#include "unit/wal/log_world.h"
#include "wal/format.h"

namespace markab::wal {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class LogDamage : public testing::Test {
 protected:
  LogDamage() { log::set_level(log::Level::kOff); }
  ~LogDamage() override { log::set_level(log::Level::kInfo); }

  // A log of a few segments with rewrites and a reign; returns its records.
  static std::vector<Kept> write(LogWorld& w) {
    std::vector<Kept> out;
    auto add = [&](const Kept& r) {
      w.must_append(r);
      out.push_back(r);
      w.settle();
    };
    for (Decree d = 1; d <= 8; ++d)
      add(mutation(1, d, std::string(static_cast<size_t>(d * 7), 'p'), d - 1));
    add(reign(2, 7));
    add(mutation(2, 7, "again"));
    for (Decree d = 8; d <= 14; ++d)
      add(mutation(2, d, std::string(30, static_cast<char>(d)), d - 2));
    w.close();
    return out;
  }
  static Disk::Options small() {
    Disk::Options options;
    options.segment_bytes = 500;
    return options;
  }
  static bool is_prefix(const std::vector<Kept>& a, const std::vector<Kept>& of) {
    return a.size() <= of.size() && std::equal(a.begin(), a.end(), of.begin());
  }
};

TEST_F(LogDamage, AnyCutOfTheLastSegmentReplaysToAPrefixAndGoesOn) {
  LogWorld w(1, small());
  w.boot();
  auto records = write(w);
  auto last = w.segments().back();
  const std::string whole = w.content(last);
  size_t before = records.size() + 1;
  for (size_t size = whole.size() + 1; size-- > 0;) {
    w.put(last, whole.substr(0, size));
    w.boot();
    ASSERT_TRUE(w.summary.damage.ok()) << size << ": " << w.summary.damage.to_string();
    ASSERT_TRUE(is_prefix(w.delivered, records)) << size;
    ASSERT_LE(w.delivered.size(), before);
    before = w.delivered.size();
    auto kept = w.delivered;
    kept.push_back(mutation(5, w.log->last_decree() + 1, "goes on"));
    w.must_append(kept.back());
    w.close();
    w.boot();
    ASSERT_EQ(w.delivered, kept) << size;
    ASSERT_EQ(w.summary.cut_bytes, 0u) << size;
    w.close();
    // Whatever segments the life above made, begin the next one from the same files.
    for (const auto& name : w.segments()) {
      if (SegmentName::parse(name)->index > SegmentName::parse(last)->index) {
        ASSERT_TRUE(w.files.remove(w.path(name)).ok());
      }
    }
  }
}

TEST_F(LogDamage, AnyCutOfAnEarlierSegmentIsDamage) {
  LogWorld w(1, small());
  w.boot();
  auto records = write(w);
  auto names = w.segments();
  ASSERT_GE(names.size(), 3u);
  for (size_t i = 0; i + 1 < names.size(); ++i) {
    const std::string whole = w.content(names[i]);
    for (size_t size = 0; size < whole.size(); ++size) {
      w.put(names[i], whole.substr(0, size));
      auto before = w.segments();
      w.boot();
      ASSERT_EQ(w.summary.damage.code(), Errc::kInvalidData) << names[i] << " cut to " << size;
      ASSERT_TRUE(is_prefix(w.delivered, records));
      ASSERT_LT(w.delivered.size(), records.size());
      ASSERT_EQ(w.append(mutation(9, w.log->last_decree() + 1, "x")).code(), Errc::kInvalidData);
      w.close();
      ASSERT_EQ(w.segments(), before) << "nothing is deleted";
      ASSERT_EQ(w.content(names[i]), whole.substr(0, size)) << "nothing is changed";
    }
    w.put(names[i], whole);
  }
}

TEST_F(LogDamage, AnyBitFlipIsCutOrToldAndNeverDelivered) {
  LogWorld w(1, small());
  w.boot();
  auto records = write(w);
  auto names = w.segments();
  int cut = 0, told = 0;
  for (const auto& name : names) {
    const std::string whole = w.content(name);
    const bool last = name == names.back();
    for (size_t bit = 0; bit < whole.size() * 8; ++bit) {
      std::string bad = whole;
      bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
      w.put(name, bad);
      w.boot();
      ASSERT_TRUE(is_prefix(w.delivered, records)) << name << " bit " << bit;
      ASSERT_LT(w.delivered.size(), records.size());
      if (w.summary.damage.ok()) {
        ++cut;
        ASSERT_TRUE(last) << "cut in the middle: " << name << " bit " << bit;
        ASSERT_EQ(w.delivered.size(), records.size() - 1)
            << "more than the last record is cut: bit " << bit;
      } else {
        ++told;
        EXPECT_THAT(w.summary.damage.message(), HasSubstr(name));
      }
      w.close();
      w.put(name, whole);
    }
  }
  EXPECT_GT(cut, 0);
  EXPECT_GT(told, 0);
}

TEST_F(LogDamage, ZerosOrGarbageAtTheEndAreCut) {
  for (bool zeros : {true, false}) {
    for (size_t size : {1u, 47u, 48u, 4096u, 5u << 20}) {
      LogWorld w(1);
      w.boot();
      auto records = write(w);
      auto last = w.segments().back();
      std::string whole = w.content(last), tail(size, '\0');
      Random random(size);
      for (char& c : tail) c = zeros ? '\0' : static_cast<char>(random.next());
      w.put(last, whole + tail);
      w.boot();
      ASSERT_TRUE(w.summary.damage.ok()) << w.summary.damage.to_string();
      EXPECT_EQ(w.delivered, records);
      EXPECT_EQ(w.summary.cut_bytes, size);
      w.power_cut();
      EXPECT_EQ((w.files.boot(), w.content(last)), whole) << "the cut is durable";
    }
  }
}

// A client's value that holds a copy of the log's own bytes does not pass for records when it is
// torn.
TEST_F(LogDamage, AValueThatLooksLikeRecordsIsNotOne) {
  LogWorld w(1);
  w.boot();
  w.fill(1, 5, 40);
  w.settle();
  std::string copy = w.content(w.segments().back());
  w.close();
  ASSERT_TRUE(w.files.remove_all(LogWorld::kDir).ok());
  w.boot(3);  // another segment: log.1.3
  w.must_append(mutation(1, 4, "good"));
  w.must_append(mutation(1, 5, copy + copy));
  w.close();
  auto last = w.segments().back();
  std::string whole = w.content(last);
  w.put(last, whole.substr(0, whole.size() - 10));
  w.boot(3);
  EXPECT_TRUE(w.summary.damage.ok()) << w.summary.damage.to_string();
  EXPECT_THAT(w.delivered, SizeIs(1));
}

TEST_F(LogDamage, ALargeRecordBehindABadOneIsFound) {
  LogWorld w(1);
  w.boot();
  w.must_append(mutation(1, 1, "bad soon"));
  w.must_append(mutation(1, 2, std::string(5u << 20, 'x')));  // longer than what is read at once
  w.close();
  auto name = w.segments().back();
  w.files.rot(w.path(name), kSegmentHeader + 50, 1);
  w.boot();
  EXPECT_THAT(w.summary.damage.message(), HasSubstr("damaged at 64: "));
  EXPECT_THAT(w.delivered, IsEmpty());
}

TEST_F(LogDamage, AMissingSegmentIsDamageAndResetMendsIt) {
  LogWorld w(1, small());
  w.boot();
  auto records = write(w);
  auto names = w.segments();
  ASSERT_GE(names.size(), 3u);
  ASSERT_TRUE(w.files.remove(w.path(names[1])).ok());
  w.boot();
  EXPECT_THAT(w.summary.damage.message(), HasSubstr("missing"));
  EXPECT_THAT(w.summary.damage.message(), HasSubstr(names[0]));
  EXPECT_TRUE(is_prefix(w.delivered, records));
  EXPECT_FALSE(w.delivered.empty());
  EXPECT_EQ(w.summary.last_decree, w.delivered.back().decree);
  ASSERT_TRUE(w.log->reset(100).ok());
  w.fill(7, 110);
  w.settle();
  EXPECT_EQ(w.told.back().second, 110);
  w.power_cut();
  w.boot(100);
  EXPECT_TRUE(w.summary.damage.ok());
  EXPECT_THAT(w.delivered, SizeIs(10));
  EXPECT_EQ(w.segments().front(), "log." + std::to_string(names.size() + 1) + ".100");
}

TEST_F(LogDamage, AnOldestSegmentThatIsMissingIsDamageUnlessACheckpointCoversIt) {
  LogWorld w(1, small());
  w.boot();
  write(w);
  auto names = w.segments();
  ASSERT_TRUE(w.files.remove(w.path(names[0])).ok());
  Decree begins = SegmentName::parse(names[1])->previous;
  w.boot(begins - 1);
  EXPECT_THAT(w.summary.damage.message(), HasSubstr("the checkpoint ends at"));
  EXPECT_THAT(w.delivered, IsEmpty());
  w.close();
  w.boot(begins);
  EXPECT_TRUE(w.summary.damage.ok());
  EXPECT_EQ(w.summary.last_decree, 14);
}

// The decrees alone do not show that a reign is missing: the chain does.
TEST_F(LogDamage, AMissingReignIsDamage) {
  LogWorld w(1);
  w.boot();
  w.fill(1, 5);
  w.must_append(reign(2, 5));
  w.fill(2, 6);
  w.close();
  auto name = w.segments()[0];
  std::string whole = w.content(name);
  size_t at = kSegmentHeader + 5 * (kRecordHeader + 10);
  w.put(name, whole.substr(0, at) + whole.substr(at + kRecordHeader));
  w.boot();
  EXPECT_THAT(w.summary.damage.message(), HasSubstr("the record before this one is missing"));
  EXPECT_THAT(w.delivered, SizeIs(5));
}

TEST_F(LogDamage, AMissingReignAtTheEndOfAnEarlierSegmentIsDamage) {
  LogWorld w(1, small());
  w.boot();
  w.fill(1, 7);
  w.must_append(reign(2, 7));
  w.fill(2, 8);  // the reign made the first segment full
  w.close();
  auto names = w.segments();
  ASSERT_THAT(names, SizeIs(2));
  std::string whole = w.content(names[0]);
  w.put(names[0], whole.substr(0, whole.size() - kRecordHeader));
  w.boot();
  EXPECT_THAT(w.summary.damage.message(), HasSubstr("records at the end of the segment before it"));
  EXPECT_THAT(w.delivered, SizeIs(7));
}

TEST_F(LogDamage, RotWhileTheLogIsOpenIsToldToReaders) {
  LogWorld w(1);
  w.boot();
  w.fill(1, 10, 100);
  w.settle();
  w.files.rot(w.path(w.segments()[0]), kSegmentHeader + 5 * 148 + 60, 4);
  EXPECT_EQ(w.log->read(1, 1 << 20).error().code(), Errc::kInvalidData);
  EXPECT_THAT(w.log->read(1, 400).value(), SizeIs(4));
}

TEST_F(LogDamage, AHeaderBelongsToItsName) {
  LogWorld w(1, small());
  w.boot();
  write(w);
  auto names = w.segments();
  SegmentName first = *SegmentName::parse(names[0]);
  std::string bytes = w.content(names[0]).substr(0, kSegmentHeader);
  EXPECT_TRUE(SegmentHeader::decode(bytes, first).has_value());
  EXPECT_EQ(SegmentHeader::decode(bytes, {first.index + 1, first.previous}).error().code(),
            Errc::kInvalidData);
  // The first segment under the name of the second one.
  w.put(names[1], w.content(names[0]));
  w.boot();
  EXPECT_THAT(w.summary.damage.message(), HasSubstr("it is that of " + names[0]));
}

// The bytes on the disk are a promise: a log of today is read by every later version
// (docs/formats.md).
TEST_F(LogDamage, TheFormatIsAsDocumented) {
  LogWorld w(1);
  w.boot();
  w.must_append({Record::Type::kMutation, 0x0102030405060708, 1, 0x1112131415161718, 0, "payload"});
  w.must_append(reign(0x0102030405060709, 1, 0x0102030405060707));
  w.close();
  ASSERT_EQ(w.segments()[0], "log.1.0");
  std::string hex;
  for (unsigned char c : w.content("log.1.0")) hex += fmt::format("{:02x}", c);
  EXPECT_EQ(hex,
            // header: magic; version, flags; index; previous; ballot; committed; chain,
            // member + 1; checksum
            "4d41524b4142574c"
            "01000000"
            "01000000"
            "0100000000000000"
            "0000000000000000"
            "0000000000000000"
            "0000000000000000"
            "00000000"
            "0100000000000000"
            "ef8a1ad1"
            // checksum, length; type, chain; ballot; decree; timestamp, or of a reign
            // member + 1; committed; payload
            "7da892b8"
            "07000000"
            "01000000"
            "00000000"
            "0807060504030201"
            "0100000000000000"
            "1817161514131211"
            "0000000000000000"
            "7061796c6f6164"
            "7d44e12c"
            "00000000"
            "02000000"
            "7da892b8"
            "0907060504030201"
            "0100000000000000"
            "0807060504030201"
            "0000000000000000");
}

// What was written before the ballot of the last membership was told.
TEST_F(LogDamage, AnOlderLogIsRead) {
  LogWorld w(1);
  std::string_view hex =
      // header: magic; version, flags; index; previous; ballot; committed; chain,
      // zeros; checksum
      "4d41524b4142574c"
      "01000000"
      "01000000"
      "0100000000000000"
      "0000000000000000"
      "0000000000000000"
      "0000000000000000"
      "00000000"
      "0000000000000000"
      "c8f72698"
      // checksum, length; type, chain; ballot; decree; timestamp; committed; payload
      "7da892b8"
      "07000000"
      "01000000"
      "00000000"
      "0807060504030201"
      "0100000000000000"
      "1817161514131211"
      "0000000000000000"
      "7061796c6f6164"
      "b9d7e286"
      "00000000"
      "02000000"
      "7da892b8"
      "0907060504030201"
      "0100000000000000"
      "0000000000000000"
      "0000000000000000";
  std::string bytes;
  for (size_t i = 0; i < hex.size(); i += 2)
    bytes += static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16));
  w.boot();
  w.close();
  w.put("log.1.0", bytes);
  w.boot();
  EXPECT_TRUE(w.summary.damage.ok()) << w.summary.damage.message();
  EXPECT_EQ(w.summary.records, 2u);
  EXPECT_EQ(w.summary.ballot, 0x0102030405060709);
  EXPECT_EQ(w.summary.member, 0x0102030405060709);
}

}  // namespace
}  // namespace markab::wal
