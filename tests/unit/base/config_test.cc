#include "base/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace markab {
namespace {

using testing::HasSubstr;

std::vector<ConfigKey> keys() {
  return {
      ConfigKey::integer("network", "port", 34801, 1, 65535, "the port"),
      ConfigKey::boolean("replication", "fast", false, "whether to hurry").mutable_at_run_time(),
      ConfigKey::word("replication", "log_sync", "always", {"always", "interval", "none"},
                      "when to sync"),
      ConfigKey::text("meta_server", "server_list", "127.0.0.1:34601", "the metas"),
      ConfigKey::text("pegasus.clusters", "", "", "clusters by name")};
}

std::string error_of(const std::string& text, const std::vector<std::string>& overrides = {},
                     const Config::Ignored& ignored = {}) {
  auto config = Config::parse(text, "f.ini", keys(), overrides, ignored);
  return config ? "" : config.error().message();
}

TEST(Config, ReadsWhatTheGrammarAllows) {
  auto config = Config::parse(
      "# a comment\n"
      "[network]   ; another\n"
      "  port = 0x10  # hexadecimal\n"
      "\n"
      "[replication]\r\n"
      "fast = TRUE\n"
      "log_sync=none\n"
      "[meta_server]\n"
      "server_list = a^#b , c^;d,,e\n"
      "[pegasus.clusters]\n"
      "one = 1.1.1.1:1\n",
      "f.ini", keys());
  ASSERT_TRUE(config) << config.error().to_string();
  EXPECT_EQ((*config)->get_int("network", "port"), 16);
  EXPECT_TRUE((*config)->get_bool("replication", "fast"));
  EXPECT_EQ((*config)->get_string("replication", "log_sync"), "none");
  EXPECT_EQ((*config)->get_list("meta_server", "server_list"),
            (std::vector<std::string>{"a#b", "c;d", "e"}));
  EXPECT_EQ((*config)->get_open_section("pegasus.clusters").at("one"), "1.1.1.1:1");
}

TEST(Config, TheFirstOfTwoValuesHolds) {
  auto config = Config::parse("[network]\nport=1\nport=2\n", "f.ini", keys());
  ASSERT_TRUE(config);
  EXPECT_EQ((*config)->get_int("network", "port"), 1);
}

TEST(Config, OverridesBeatTheFile) {
  auto config = Config::parse("[network]\nport=1\n", "f.ini", keys(),
                              {"network.port=7", "pegasus.clusters.x=y"});
  ASSERT_TRUE(config);
  EXPECT_EQ((*config)->get_int("network", "port"), 7);
  EXPECT_EQ((*config)->get_open_section("pegasus.clusters").at("x"), "y");
}

struct BadCase {
  const char* name;
  const char* text;
  std::vector<const char*> says;
};

class ConfigErrors : public testing::TestWithParam<BadCase> {};

TEST_P(ConfigErrors, NameFileLineKeyAndWhatIsAllowed) {
  auto message = error_of(GetParam().text);
  ASSERT_FALSE(message.empty());
  for (const auto* part : GetParam().says) EXPECT_THAT(message, HasSubstr(part));
}

INSTANTIATE_TEST_SUITE_P(
    All, ConfigErrors,
    testing::Values(
        BadCase{"unknown_key",
                "[network]\nprot = 1\n",
                {"f.ini:2", "prot", "did you mean [network] port?"}},
        BadCase{"unknown_section", "[netwrk]\nsize = 1\n", {"f.ini:2", "[netwrk]"}},
        BadCase{"too_large",
                "\n\n[network]\nport = 65536\n",
                {"f.ini:4", "port", "65536", "1 to 65535"}},
        BadCase{"too_small", "[network]\nport = 0\n", {"f.ini:2", "1 to 65535"}},
        BadCase{"no_number", "[network]\nport = many\n", {"f.ini:2", "many", "1 to 65535"}},
        BadCase{"trailing_text", "[network]\nport = 12x\n", {"12x"}},
        BadCase{"beyond_64_bits", "[network]\nport = 99999999999999999999\n", {"1 to 65535"}},
        BadCase{"no_boolean", "[replication]\nfast = yes\n", {"fast", "true, false"}},
        BadCase{"no_such_word",
                "[replication]\nlog_sync = never\n",
                {"never", "always, interval, none"}},
        BadCase{
            "section_twice", "[network]\n[replication]\n[network]\n", {"f.ini:3", "defined twice"}},
        BadCase{"key_before_section", "port = 1\n", {"f.ini:1", "before any"}},
        BadCase{"empty_key", "[network]\n= 1\n", {"f.ini:2", "key is missing"}},
        BadCase{"equals_in_section", "[a=b]\n", {"f.ini:1"}}),
    [](const auto& info) { return info.param.name; });

TEST(Config, ABadOverrideSaysWhatIsExpected) {
  EXPECT_THAT(error_of("", {"port=1"}), HasSubstr("section.key=value"));
  EXPECT_THAT(error_of("", {"network.port"}), HasSubstr("section.key=value"));
  EXPECT_THAT(error_of("", {"network.port=x"}), HasSubstr("1 to 65535"));
}

TEST(Config, IgnoredKeysAreNoErrors) {
  EXPECT_EQ(
      error_of("[apps.meta]\nports = 1\n[core]\ntool = x\n", {}, {{"apps*", ""}, {"core", "tool"}}),
      "");
  EXPECT_NE(error_of("[core]\nother = x\n", {}, {{"core", "tool"}}), "");
}

TEST(Config, OnlyMutableKeysChangeAtRunTime) {
  auto config = *Config::parse("", "f.ini", keys());
  EXPECT_TRUE(config->set("fast", "true").ok());
  EXPECT_TRUE(config->get_bool("replication", "fast"));
  EXPECT_EQ(config->set("fast", "maybe").code(), Errc::kInvalidParameters);
  EXPECT_TRUE(config->get_bool("replication", "fast"));
  EXPECT_EQ(config->set("port", "5").code(), Errc::kOperationDisabled);
  EXPECT_EQ(config->set("nothing", "5").code(), Errc::kObjectNotFound);
}

TEST(Config, AMissingFileIsNamed) {
  auto config = Config::load("no/such/file.ini", keys());
  ASSERT_FALSE(config);
  EXPECT_THAT(config.error().message(), HasSubstr("no/such/file.ini"));
}

}  // namespace
}  // namespace markab
