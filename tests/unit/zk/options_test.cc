#include "zk/options.h"

#include <gtest/gtest.h>

namespace markab::zk {
namespace {

std::vector<Server> servers(const std::string& hosts, const std::string& names,
                            std::vector<std::string>* warnings = nullptr) {
  std::vector<std::string> ignored;
  auto result = parse_servers(hosts, names, warnings != nullptr ? *warnings : ignored);
  EXPECT_TRUE(result) << result.error().to_string();
  return result ? *result : std::vector<Server>();
}

std::string refusal(const std::string& hosts, const std::string& names) {
  std::vector<std::string> warnings;
  auto result = parse_servers(hosts, names, warnings);
  EXPECT_FALSE(result);
  return result ? "" : result.error().message();
}

TEST(ZkOptions, ServersAreListedWithAndWithoutPorts) {
  auto list = servers("zk1.example:2182, zk2.example ,10.0.0.3:2183", "");
  ASSERT_EQ(list.size(), 3u);
  EXPECT_EQ(list[0].endpoint(), "zk1.example:2182");
  EXPECT_EQ(list[1].endpoint(), "zk2.example:2181");
  EXPECT_EQ(list[2].name, "10.0.0.3");
  EXPECT_EQ(list[2].sasl_host, "");
}

TEST(ZkOptions, OneNameForAllOrOneForEach) {
  for (const Server& s : servers("a,b,c", "zk.example")) EXPECT_EQ(s.sasl_host, "zk.example");
  auto each = servers("a,b,c", "x,y,z");
  EXPECT_EQ(each[0].sasl_host + each[1].sasl_host + each[2].sasl_host, "xyz");
  EXPECT_NE(refusal("a,b,c", "x,y").find("2 names for 3 servers"), std::string::npos);
}

TEST(ZkOptions, APortInAPrincipalsNameIsCutOffWithAWarning) {
  std::vector<std::string> warnings;
  EXPECT_EQ(servers("a", "localhost:2181", &warnings)[0].sasl_host, "localhost");
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_NE(warnings[0].find("localhost:2181"), std::string::npos);
}

TEST(ZkOptions, WhatIsNoServerIsRefused) {
  for (const char* hosts : {"", ",", "a:0", "a:65536", "a:b", ":2181", "a b:1", "a:1/root", "a:"})
    EXPECT_NE(refusal(hosts, "").find("[zookeeper] hosts_list"), std::string::npos) << hosts;
}

TEST(ZkOptions, AccessLists) {
  EXPECT_EQ(parse_acl("", true)->mode, Acl::Mode::kCreator);
  EXPECT_EQ(parse_acl("", false)->mode, Acl::Mode::kOpen);
  EXPECT_EQ(parse_acl("open", true)->mode, Acl::Mode::kOpen);
  EXPECT_EQ(parse_acl("creator", true)->mode, Acl::Mode::kCreator);
  auto ids = parse_acl("sasl:pegasus/a@R, pegasus/b@R", true);
  EXPECT_EQ(ids->ids, (std::vector<std::string>{"pegasus/a@R", "pegasus/b@R"}));
  EXPECT_FALSE(parse_acl("sasl:", true));
  EXPECT_FALSE(parse_acl("everybody", true));
  EXPECT_FALSE(parse_acl("creator", false));  // nobody logs in
}

TEST(ZkOptions, TheSectionAsAWhole) {
  auto read = [](std::vector<std::string> overrides) {
    auto config = Config::parse("", "test", config_keys(), overrides);
    EXPECT_TRUE(config);
    std::vector<std::string> warnings;
    return read_options(**config, warnings);
  };
  auto plain = read({"zookeeper.hosts_list=a:1"});
  EXPECT_EQ(plain->sasl, Sasl::kNone);
  EXPECT_EQ(plain->session_timeout, std::chrono::seconds(4));
  auto kerberos = read({"zookeeper.hosts_list=a:1", "zookeeper.sasl_mechanisms_type=GSSAPI"});
  EXPECT_EQ(kerberos->sasl, Sasl::kGssapi);
  EXPECT_EQ(kerberos->acl.mode, Acl::Mode::kCreator);
  auto digest = read({"zookeeper.hosts_list=a:1", "zookeeper.sasl_mechanisms_type=DIGEST-MD5",
                      "zookeeper.sasl_user_name=meta"});
  EXPECT_NE(digest.error().message().find("sasl_password_file"), std::string::npos);
}

}  // namespace
}  // namespace markab::zk
