#include "io/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

namespace markab::io {
namespace {

class RealFiles : public testing::Test {
 protected:
  RealFiles() : dir_(testing::TempDir() + "markab_io_" + std::to_string(::getpid())) {
    EXPECT_TRUE(fs_.create_directories(dir_ + "/a/b").ok());
  }
  ~RealFiles() override { (void)fs_.remove_all(dir_); }

  FileSystem& fs_ = real_file_system();
  const std::string dir_;
};

TEST_F(RealFiles, AppendReadTruncate) {
  auto path = dir_ + "/log";
  {
    auto file = *fs_.open_append(path);
    ASSERT_TRUE(file->append("hello ").ok());
    ASSERT_TRUE(file->append("world").ok());
    ASSERT_TRUE(file->sync().ok());
    EXPECT_EQ(file->size(), 11u);
  }
  auto again = *fs_.open_append(path);
  EXPECT_EQ(again->size(), 11u);
  ASSERT_TRUE(again->truncate(5).ok());
  ASSERT_TRUE(again->append("!").ok());
  EXPECT_EQ(*fs_.read_all(path), "hello!");
  std::string part;
  auto reader = *fs_.open_read(path);
  ASSERT_TRUE(reader->read(4, 100, part).ok());
  EXPECT_EQ(part, "o!");
}

TEST_F(RealFiles, ReplacingIsAtomicAndLeavesNothingBehind) {
  auto path = dir_ + "/a/state";
  ASSERT_TRUE(fs_.write_atomic(path, "one").ok());
  ASSERT_TRUE(fs_.write_atomic(path, "two").ok());
  EXPECT_EQ(*fs_.read_all(path), "two");
  EXPECT_THAT(*fs_.list(dir_ + "/a"), testing::ElementsAre("b", "state"));
}

TEST_F(RealFiles, FailuresNameThePathAndTheReason) {
  auto missing = fs_.open_read(dir_ + "/none");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code(), Errc::kPathNotFound);
  EXPECT_THAT(missing.error().message(), testing::HasSubstr(dir_ + "/none"));
  ASSERT_TRUE(fs_.write_atomic(dir_ + "/big", std::string(100, 'x')).ok());
  EXPECT_EQ(fs_.read_all(dir_ + "/big", 99).error().code(), Errc::kInvalidData);
  EXPECT_TRUE(fs_.remove_all(dir_ + "/not/there").ok());
  EXPECT_FALSE(fs_.exists(dir_ + "/not"));
  EXPECT_GT(fs_.space(dir_)->capacity_bytes, 0u);
}

}  // namespace
}  // namespace markab::io
