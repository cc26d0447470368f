#include "sim/sim_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace markab::sim {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::unique_ptr<io::AppendFile> must_open(io::FileSystem& files, const std::string& path) {
  auto file = files.open_append(path);
  EXPECT_TRUE(file.has_value()) << file.error().to_string();
  return std::move(*file);
}

SimFileSystem::Options with_directory(const std::string& path) {
  SimFileSystem::Options options;
  options.directories = {path};
  return options;
}

TEST(SimFiles, WhatWasSyncedSurvivesAndOfTheRestAPrefix) {
  bool lost_some = false, kept_some = false, grew_other_bytes = false;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    SimFileSystem files(seed, with_directory("/d"));
    auto file = must_open(files, "/d/f");
    ASSERT_TRUE(files.sync_directory("/d").ok());
    std::string synced(700, 's'), unsynced(3000, 'u');
    ASSERT_TRUE(file->append(synced).ok());
    ASSERT_TRUE(file->sync().ok());
    ASSERT_TRUE(file->append(unsynced).ok());
    EXPECT_EQ(files.read_all("/d/f", 1 << 20).value(), synced + unsynced) << "visible at once";
    files.crash();
    EXPECT_EQ(file->append("x").code(), Errc::kDiskIoError) << "a file of the life before";
    files.boot();
    EXPECT_EQ(file->append("x").code(), Errc::kDiskIoError) << "dead for ever";
    auto after = files.read_all("/d/f", 1 << 20).value();
    ASSERT_GE(after.size(), synced.size());
    ASSERT_LE(after.size(), synced.size() + unsynced.size());
    ASSERT_EQ(after.substr(0, synced.size()), synced);
    auto other = after.find_first_not_of('u', synced.size());
    lost_some |= after.size() < synced.size() + unsynced.size();
    kept_some |= after.size() > synced.size();
    grew_other_bytes |= other != std::string::npos;
    bool zeros = other != std::string::npos && after[other] == '\0';
    EXPECT_TRUE(!zeros || other % 512 == 0 || other == synced.size())
        << "sectors are written whole: " << other;
  }
  EXPECT_TRUE(lost_some && kept_some && grew_other_bytes);
}

TEST(SimFiles, ANameThatWasNotSyncedMayVanishOneThatWasDoesNot) {
  int vanished = 0;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    SimFileSystem files(seed, with_directory("/d"));
    must_open(files, "/d/safe");
    ASSERT_TRUE(files.sync_directory("/d").ok());
    auto risky = must_open(files, "/d/risky");
    ASSERT_TRUE(risky->append("data").ok());
    ASSERT_TRUE(risky->sync().ok());
    files.crash();
    files.boot();
    EXPECT_TRUE(files.exists("/d/safe"));
    vanished += files.exists("/d/risky") ? 0 : 1;
  }
  EXPECT_GT(vanished, 10);
  EXPECT_LT(vanished, 90);
}

TEST(SimFiles, ARenameIsAtomicAcrossACrash) {
  for (uint64_t seed = 0; seed < 100; ++seed) {
    SimFileSystem files(seed, with_directory("/d"));
    ASSERT_TRUE(files.write_atomic("/d/f", "old").ok());
    {
      auto next = must_open(files, "/d/g");
      ASSERT_TRUE(next->append("new").ok());
      ASSERT_TRUE(next->sync().ok());
    }
    ASSERT_TRUE(files.rename("/d/g", "/d/f").ok());
    files.crash();
    files.boot();
    auto found = files.read_all("/d/f", 100);
    ASSERT_TRUE(found.has_value());
    EXPECT_TRUE(*found == "old" || *found == "new");
    ASSERT_TRUE(files.write_atomic("/d/f", "sure").ok());
    files.crash();
    files.boot();
    EXPECT_EQ(files.read_all("/d/f", 100).value(), "sure");
  }
}

TEST(SimFiles, ATruncationThatWasNotSyncedMayComeBack) {
  bool came_back = false, stayed = false;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    SimFileSystem files(seed, with_directory("/d"));
    auto file = must_open(files, "/d/f");
    ASSERT_TRUE(files.sync_directory("/d").ok());
    ASSERT_TRUE(file->append("0123456789").ok());
    ASSERT_TRUE(file->sync().ok());
    ASSERT_TRUE(file->truncate(6).ok());
    ASSERT_TRUE(file->truncate(4).ok());
    EXPECT_EQ(file->size(), 4u);
    files.crash();
    files.boot();
    auto found = files.read_all("/d/f", 100).value();
    came_back |= found == "0123456789";
    stayed |= found == "0123";
  }
  EXPECT_TRUE(came_back && stayed);
}

TEST(SimFiles, StopKeepsWhatTheKernelHasButEndsOpenFiles) {
  SimFileSystem files(1, with_directory("/d"));
  auto file = must_open(files, "/d/f");
  ASSERT_TRUE(file->append("written").ok());
  files.stop();
  EXPECT_EQ(file->append("more").code(), Errc::kDiskIoError);
  EXPECT_EQ(files.open_append("/d/g").error().code(), Errc::kDiskIoError);
  files.boot();
  EXPECT_EQ(files.read_all("/d/f", 100).value(), "written");
  EXPECT_FALSE(files.exists("/d/g"));
}

TEST(SimFiles, AFullDiskTakesWhatFits) {
  SimFileSystem files(1, with_directory("/d"));
  files.set_capacity(10);
  auto file = must_open(files, "/d/f");
  ASSERT_TRUE(file->append("1234567").ok());
  EXPECT_EQ(files.space("/d").value().available_bytes, 3u);
  EXPECT_EQ(file->append("89abc").code(), Errc::kDiskInsufficient);
  EXPECT_EQ(file->size(), 10u);
  ASSERT_TRUE(files.remove("/d/f").ok());
  EXPECT_EQ(files.space("/d").value().available_bytes, 10u);
}

TEST(SimFiles, FaultsComeWhenOrdered) {
  SimFileSystem files(1, with_directory("/d"));
  auto file = must_open(files, "/d/f");
  files.fail_next_append("/f", Status(Errc::kDiskIoError, "ordered"));
  files.fail_next_sync("/f", Status(Errc::kDiskIoError, "ordered"));
  EXPECT_EQ(file->append("abc").code(), Errc::kDiskIoError);
  EXPECT_TRUE(file->append("abc").ok());
  EXPECT_EQ(file->sync().code(), Errc::kDiskIoError);
  EXPECT_EQ(files.synced_bytes("/d/f"), 0u);
  EXPECT_TRUE(file->sync().ok());
  auto before = files.read_all("/d/f", 100).value();
  files.rot("/d/f", 1, 0x40);
  auto after = files.read_all("/d/f", 100).value();
  EXPECT_EQ(before[1] ^ after[1], 0x40);
  SimFileSystem::FaultRates rates;
  rates.read = 1;
  files.set_fault_rates(rates);
  EXPECT_EQ(files.read_all("/d/f", 100).error().code(), Errc::kDiskIoError);
}

TEST(SimFiles, NamesBehaveAsPosix) {
  SimFileSystem files(1);
  EXPECT_EQ(files.open_append("/no/f").error().code(), Errc::kPathNotFound);
  ASSERT_TRUE(files.create_directories("/a/b/c").ok());
  ASSERT_TRUE(files.create_directories("/a/b/c").ok());
  must_open(files, "/a/b/y");
  must_open(files, "/a/b/x");
  EXPECT_THAT(files.list("/a/b").value(), ElementsAre("c", "x", "y"));
  EXPECT_EQ(files.list("/a/q").error().code(), Errc::kPathNotFound);
  EXPECT_EQ(files.open_read("/a/b/z").error().code(), Errc::kPathNotFound);
  EXPECT_EQ(files.remove("/a/b/z").code(), Errc::kPathNotFound);
  ASSERT_TRUE(files.rename("/a/b", "/a/moved").ok());
  EXPECT_THAT(files.list("/a/moved/").value(), ElementsAre("c", "x", "y"));
  EXPECT_FALSE(files.exists("/a/b/x"));
  ASSERT_TRUE(files.remove_all("/a/moved").ok());
  EXPECT_THAT(files.list("/a").value(), IsEmpty());
  EXPECT_TRUE(files.remove_all("/a/moved").ok());
}

}  // namespace
}  // namespace markab::sim
