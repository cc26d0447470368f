#include "replica/disks.h"

#include <gtest/gtest.h>

#include "sim/sim_files.h"
#include "sim/sim_runtime.h"

namespace markab::replica {
namespace {

constexpr int64_t kDay = 86400;

TEST(DataDirsTest, AreParsed) {
  auto dirs = parse_data_dirs(" ssd1:/data1/ , ssd2:/data2");
  ASSERT_TRUE(dirs.has_value());
  ASSERT_EQ(dirs->size(), 2u);
  EXPECT_EQ((*dirs)[0].tag, "ssd1");
  EXPECT_EQ((*dirs)[0].path, "/data1");
  EXPECT_EQ((*dirs)[1].replicas(), "/data2/replica/reps");
  for (const char* bad : {"", ",", "/data1", ":/data1", "a:", "a:/x,a:/y", "a:/x,b:/x/"}) {
    auto refused = parse_data_dirs(bad);
    ASSERT_FALSE(refused.has_value()) << bad;
    EXPECT_EQ(refused.error().code(), Errc::kInvalidParameters);
  }
}

TEST(AsideTest, KnowsWhatIsKeptForHowLong) {
  GarbageAges ages;
  auto of = [&](const char* name) { return parse_aside(name, ages); };
  EXPECT_EQ(of("1.0.pegasus.1700000000000000.err")->keep_s, 7 * kDay);
  EXPECT_EQ(of("1.0.pegasus.1700000000000000.gar")->keep_s, kDay);
  EXPECT_EQ(of("1.0.pegasus.1700000000000000.disk.migrate.tmp")->keep_s, kDay);
  EXPECT_EQ(of("1.0.pegasus.1700000000000000.disk.migrate.ori")->since_us, 1700000000000000);
  // A replica, an operator's backup, and what bears no time of ours: never removed.
  for (const char* name :
       {"1.0.pegasus", "1.0.pegasus.1700000000000000.bak", "1.0.pegasus.err", "1.0.pegasus.12.gar",
        "x.gar", ".gar", "1.0.pegasus.17000000000000x0.err"}) {
    EXPECT_FALSE(of(name).has_value()) << name;
  }
}

class DisksTest : public testing::Test {
 protected:
  void SetUp() override {
    disks.add(dir("a", "/a"));
    disks.add(dir("b", "/b"));
    disks.add(dir("c", "/c"));
  }
  static DataDir dir(std::string tag, std::string path) {
    DataDir out;
    out.tag = std::move(tag);
    out.path = std::move(path);
    return out;
  }
  sim::SimWorld world{1};
  sim::SimRuntime node{world, "node", {}};
  sim::SimFileSystem files{1, {1u << 20, {"/a", "/b", "/c"}}};
  MetricRegistry registry;
  Disks disks{files, node, {}, registry};
};

TEST_F(DisksTest, ChoosesByTableThenByRoom) {
  for (size_t i = 0; i < 3; ++i) disks.at(i).space = {1000, 100 * (i + 1)};
  EXPECT_EQ(disks.choose({{0, 0}, {0, 0}, {0, 0}}), 2u);
  EXPECT_EQ(disks.choose({{0, 0}, {0, 0}, {1, 1}}), 1u);  // one of the table is there already
  EXPECT_EQ(disks.choose({{1, 1}, {1, 1}, {1, 9}}), 1u);  // its 300 bytes are for nine others, too
  disks.set_status(1, DiskStatus::kSpaceInsufficient, "test");
  EXPECT_EQ(disks.choose({{0, 0}, {0, 0}, {1, 1}}), 0u);
  disks.set_status(0, DiskStatus::kIoError, "test");
  disks.set_status(2, DiskStatus::kIoError, "test");
  EXPECT_EQ(disks.choose({{0, 0}, {0, 0}, {0, 0}}), disks.size());
}

TEST_F(DisksTest, SamplesSpace) {
  DiskRules rules;
  auto sample = [&] {
    bool done = false;
    disks.sample(rules, [&] { done = true; });
    world.run_until_idle();
    EXPECT_TRUE(done);
  };
  sample();
  EXPECT_EQ(disks.at(0).status(), DiskStatus::kNormal);
  auto file = std::move(*files.open_append("/a/large"));
  ASSERT_TRUE(file->append(std::string(950u << 10, 'x')).ok());
  sample();
  EXPECT_EQ(disks.at(0).status(), DiskStatus::kSpaceInsufficient);
  EXPECT_TRUE(disks.at(0).health->refuses_writes);
  rules.refuse_writes_when_short = false;
  sample();
  EXPECT_FALSE(disks.at(0).health->refuses_writes);
  ASSERT_TRUE(file->truncate(0).ok());
  disks.set_status(1, DiskStatus::kIoError, "test");
  sample();
  EXPECT_EQ(disks.at(0).status(), DiskStatus::kNormal);
  EXPECT_EQ(disks.at(1).status(), DiskStatus::kIoError);  // an operator restarts the daemon
}

TEST_F(DisksTest, SweepsWhatIsOldEnoughAndNothingElse) {
  auto now = node.shard(0).wall_us();
  auto at = [&](int64_t days_ago) { return std::to_string(now - days_ago * kDay * 1000000); };
  std::vector<std::string> stay = {"1.0.pegasus", "1.1.pegasus." + at(100) + ".bak",
                                   "1.2.pegasus." + at(6) + ".err", "1.3.pegasus." + at(0) + ".gar",
                                   "1.4.pegasus." + at(6) + ".disk.migrate.ori"};
  std::vector<std::string> go = {"1.5.pegasus." + at(8) + ".err", "1.6.pegasus." + at(2) + ".gar",
                                 "1.7.pegasus." + at(2) + ".disk.migrate.tmp",
                                 "1.8.pegasus." + at(8) + ".disk.migrate.ori"};
  const std::string base = "/b/replica/reps/";
  for (const auto* names : {&stay, &go}) {
    for (const auto& name : *names)
      ASSERT_TRUE(files.create_directories(base + name + "/data").ok());
  }
  int removed = -1;
  disks.sweep({}, [&](int n) { removed = n; });
  world.run_until_idle();
  EXPECT_EQ(removed, 4);
  for (const auto& name : stay) EXPECT_TRUE(files.exists(base + name)) << name;
  for (const auto& name : go) EXPECT_FALSE(files.exists(base + name)) << name;
  // Operators shorten the ages for a moment to make room (07 §5, disk-balance).
  DiskRules now_all;
  now_all.ages = {0, 0, 0, 0};
  disks.sweep(now_all, [&](int n) { removed = n; });
  world.run_until_idle();
  EXPECT_EQ(removed, 3);
  EXPECT_TRUE(files.exists(base + stay[0]));
  EXPECT_TRUE(files.exists(base + stay[1]));
}

}  // namespace
}  // namespace markab::replica
