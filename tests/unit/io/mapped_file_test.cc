// Files that are written through a mapping: what is appended is there, whatever ends the process;
// what goes wrong is an error.

#include "io/mapped_file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/random.h"

namespace markab::io {
namespace {

class MappedFiles : public testing::Test {
 protected:
  MappedFiles() : dir_(testing::TempDir() + "markab_mapped_" + std::to_string(::getpid())) {
    EXPECT_TRUE(fs_.create_directories(dir_).ok());
  }
  ~MappedFiles() override { (void)fs_.remove_all(dir_); }

  // The content, and that only zeros follow it.
  void expect_content(const std::string& expected) {
    std::string found = *fs_.read_all(path_);
    ASSERT_GE(found.size(), expected.size());
    EXPECT_EQ(found.find_first_not_of('\0', expected.size()), std::string::npos);
    found.resize(expected.size());
    EXPECT_TRUE(found == expected);
  }
  static std::string piece(Random& random, size_t most) {
    std::string out(1 + random.below(most), '\0');
    for (char& c : out) c = static_cast<char>('a' + random.below(26));
    return out;
  }

  FileSystem& fs_ = real_file_system();
  const std::string dir_;
  const std::string path_ = dir_ + "/log";
};

TEST_F(MappedFiles, AnyPiecesInAnyLivesAreTheFile) {
  Random random(7);
  std::string expected;
  for (int life = 0; life < 8; ++life) {
    auto file = *fs_.open_append_mapped(path_);
    ASSERT_EQ(file->size(), expected.size());
    // Small ones, across windows, and such as are written directly.
    for (int i = 0; i < 600; ++i) {
      auto bytes = piece(random, random.below(100) == 0 ? 200'000 : 700);
      ASSERT_TRUE(file->append(bytes).ok());
      expected += bytes;
      ASSERT_EQ(file->size(), expected.size());
    }
    expect_content(expected);
    if (life % 3 == 0) {
      expected.resize(expected.size() - random.below(100'000));
      ASSERT_TRUE(file->truncate(expected.size()).ok());
      ASSERT_EQ(*fs_.file_size(path_), expected.size());
      ASSERT_TRUE(file->append("again").ok());
      expected += "again";
    }
    ASSERT_TRUE(file->sync().ok());
    ASSERT_TRUE(file->truncate(file->size()).ok());
    EXPECT_EQ(*fs_.file_size(path_), expected.size());
  }
  EXPECT_TRUE(*fs_.read_all(path_) == expected);
}

TEST_F(MappedFiles, WhatAKilledProcessAppendedIsThere) {
  pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    auto file = *fs_.open_append_mapped(path_);
    for (int i = 0; i < 1000; ++i) {
      if (!file->append(std::string(211, static_cast<char>('a' + i % 26))).ok()) ::_exit(1);
    }
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  std::string expected;
  for (int i = 0; i < 1000; ++i) expected.append(211, static_cast<char>('a' + i % 26));
  expect_content(expected);
}

// In a process of its own, which may have no larger files: the kernel refuses to reserve.
TEST_F(MappedFiles, AFileThatMayNotGrowIsAnErrorAndKeepsWhatItHas) {
  pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    rlimit limit{200'000, 200'000};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) ::_exit(1);
    auto file = *fs_.open_append_mapped(path_);
    uint64_t appended = 0;
    Status status;
    while (status.ok() && appended < 1'000'000) {
      status = file->append(std::string(1000, 'x'));
      if (status.ok()) appended += 1000;
    }
    bool told = status.code() == Errc::kFileOperationFailed &&
                status.message().find("/log") != std::string::npos;
    // What a caller does who tries again later.
    bool cut = file->truncate(appended).ok() && file->size() == appended;
    ::_exit(told && cut && appended > 100'000 && appended <= 200'000 ? 0 : 2);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  expect_content(std::string(*fs_.file_size(path_) / 1000 * 1000, 'x'));
}

// A page that the kernel cannot give, here since the file ends before it; on a failing disk since
// the file system has shut down.
TEST_F(MappedFiles, APageThatIsRefusedIsADiskError) {
  auto file = *fs_.open_append_mapped(path_);
  ASSERT_TRUE(file->append("before").ok());
  ASSERT_EQ(::truncate(path_.c_str(), 0), 0);
  for (int i = 0; i < 2; ++i) {
    auto status = file->append("behind the end");
    EXPECT_EQ(status.code(), Errc::kDiskIoError);
    EXPECT_THAT(status.message(), testing::HasSubstr(path_));
  }
  auto other = *fs_.open_append_mapped(dir_ + "/other");
  EXPECT_TRUE(other->append("another file goes on").ok());
}

// Where nothing can be mapped (some network file systems; here since the descriptor is only for
// writing), it is a file like others.
TEST_F(MappedFiles, AFileThatCannotBeMappedIsWritten) {
  int fd = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  ASSERT_GE(fd, 0);
  auto file = make_mapped_append_file(fd, path_, 0);
  Random random(3);
  std::string expected;
  for (int i = 0; i < 500; ++i) {
    auto bytes = piece(random, 1000);
    ASSERT_TRUE(file->append(bytes).ok());
    expected += bytes;
  }
  expect_content(expected);
  ASSERT_TRUE(file->truncate(file->size()).ok());
  EXPECT_TRUE(*fs_.read_all(path_) == expected);
}

TEST(GuardedCopy, OnlyItsOwnPagesAreGuarded) {
  // The address sanitizer, where it was there before us, ends the process with 1.
  constexpr int kHeld = 101, kWentOn = 102;
  EXPECT_EXIT(
      {
        std::string name = testing::TempDir() + "markab_guard_XXXXXX";
        int fd = ::mkstemp(name.data());
        ::unlink(name.c_str());
        std::string from(10, 'x');
        auto* pages =
            static_cast<char*>(::mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
        make_mapped_append_file(::dup(fd), "installs the guard", 0).reset();
        if (guarded_copy(pages, from.data(), from.size())) ::_exit(kHeld);
        *static_cast<volatile char*>(pages) = 'x';  // nobody's
        ::_exit(kWentOn);
      },
      [=](int status) { return WIFSIGNALED(status) || WEXITSTATUS(status) < kHeld; }, "");
}

}  // namespace
}  // namespace markab::io
