// testdata/environments.txt: which values of which environments a table takes.

#include "meta/core/env_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <string>

namespace markab::meta {
namespace {

struct Case {
  std::string key;
  std::string value;
  bool taken = false;
  int line = 0;
};

std::vector<Case> cases() {
  std::ifstream in(std::string(MARKAB_TEST_DATA) + "/unit/meta/testdata/environments.txt");
  std::vector<Case> out;
  std::string line;
  std::string key;
  for (int number = 1; std::getline(in, line); ++number) {
    if (line.empty() || line[0] == '#') continue;
    if (line[0] != ' ') {
      key = line;
      continue;
    }
    Case c{key, "", line.starts_with("  takes "), number};
    EXPECT_TRUE(c.taken || line.starts_with("  refuses ")) << "line " << number;
    c.value = line.substr(c.taken ? 8 : 10);
    if (c.value == "\"\"") c.value.clear();
    out.push_back(c);
  }
  return out;
}

TEST(EnvRulesTest, TakesAndRefusesWhatTheTableSays) {
  auto all = cases();
  EXPECT_GE(all.size(), 150u);
  for (const Case& c : all) {
    Status s = check_env(c.key, c.value);
    EXPECT_EQ(s.ok(), c.taken) << "line " << c.line << ": " << c.key << " = " << c.value << ": "
                               << s.message();
    if (c.taken) continue;
    EXPECT_EQ(s.code(), Errc::kInvalidParameters) << "line " << c.line;
    EXPECT_THAT(s.message(), testing::HasSubstr(c.key)) << "line " << c.line;
    EXPECT_THAT(s.message(), testing::AnyOf(testing::HasSubstr("accepted: "),
                                            testing::HasSubstr("not supported")))
        << "line " << c.line;
  }
}

TEST(EnvRulesTest, EveryEnvironmentIsInTheTableAndTakesItsOwnSample) {
  std::set<std::string> covered;
  for (const Case& c : cases()) {
    if (c.taken) covered.insert(c.key);
  }
  for (const EnvRule& rule : env_rules()) {
    EXPECT_EQ(covered.count(std::string(rule.key)), 1u) << rule.key;
    Status s = check_env(rule.key, rule.sample);
    EXPECT_TRUE(s.ok()) << s.message();
  }
}

TEST(EnvRulesTest, AtCreationUnknownOnesAreKept) {
  EXPECT_TRUE(check_env_at_creation("restore.cluster_name", "x").ok());
  EXPECT_TRUE(check_env_at_creation("mine", "").ok());
  EXPECT_FALSE(check_env_at_creation("default_ttl", "soon").ok());
}

}  // namespace
}  // namespace markab::meta
