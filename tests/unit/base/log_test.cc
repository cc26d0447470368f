// Audit lines: in a file of their own, one line each whatever a peer puts into them, bounded.
#include "base/log.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace markab {
namespace {

class AuditFile : public testing::Test {
 protected:
  AuditFile()
      : folder_(testing::TempDir() + "/audit_" +
                testing::UnitTest::GetInstance()->current_test_info()->name()) {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    before_ = log::level();
  }
  ~AuditFile() override {
    log::Options none;
    none.level = before_;
    EXPECT_TRUE(log::init(none).ok());
    std::filesystem::remove_all(folder_);
  }
  log::Options options() const {
    log::Options out;
    out.audit_file = folder_ + "/audit";
    out.level = log::Level::kOff;  // the audit file does not depend on it
    return out;
  }
  static std::vector<std::string> lines_of(const std::string& path) {
    std::ifstream in(path);
    std::vector<std::string> out;
    for (std::string line; std::getline(in, line);) out.push_back(line);
    return out;
  }
  const std::string folder_;
  log::Level before_ = log::Level::kInfo;
};

TEST_F(AuditFile, ALineIsOneLineWhateverAPeerPutsIntoIt) {
  ASSERT_TRUE(log::init(options()).ok());
  MARKAB_AUDIT(log::Level::kInfo, "{}@10.0.0.1:1: remote command {}", "ops",
               "flush\naudit: root@10.0.0.1:1: nothing\x1b[0m");
  auto lines = lines_of(folder_ + "/audit");
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_NE(lines[0].find(" ops@10.0.0.1:1: remote command flush\\x0aaudit: root@10.0.0.1:1: "
                          "nothing\\x1b[0m"),
            std::string::npos)
      << lines[0];
}

TEST_F(AuditFile, TheFilesAreBounded) {
  auto bounded = options();
  bounded.max_audit_bytes = 1000;
  bounded.max_audit_files = 3;
  ASSERT_TRUE(log::init(bounded).ok());
  for (int i = 0; i < 500; ++i)
    MARKAB_AUDIT(log::Level::kWarning, "line {} of some length, for the rotation", i);
  size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
    ++files;
    EXPECT_LE(entry.file_size(), 1000u);
  }
  EXPECT_EQ(files, 4u);  // the present one and three older ones
  EXPECT_NE(lines_of(folder_ + "/audit").back().find("line 499"), std::string::npos);
}

TEST_F(AuditFile, AFileThatCannotBeOpenedIsNamed) {
  auto wrong = options();
  wrong.audit_file = folder_;  // a directory
  Status s = log::init(wrong);
  EXPECT_EQ(s.code(), Errc::kFileOperationFailed);
  EXPECT_NE(s.message().find(folder_), std::string::npos);
}

}  // namespace
}  // namespace markab
