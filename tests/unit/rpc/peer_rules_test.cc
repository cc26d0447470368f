// Who gets host_port fields (spec 01 §7.3).

#include "rpc/peer_rules.h"

#include <gtest/gtest.h>

#include "base/ids.h"

namespace markab::rpc {
namespace {

uint32_t ip(const char* text) { return HostPort::parse(std::string(text) + ":1")->ipv4; }

TEST(PeerRules, TheLongestPrefixWins) {
  auto rules = PeerRules::parse({"10.0.0.0/8", "10.1.2.3"}, {"10.1.0.0/16", "0.0.0.0/0"});
  ASSERT_TRUE(rules) << rules.error().to_string();
  EXPECT_EQ(rules->find(ip("10.9.9.9")), true);
  EXPECT_EQ(rules->find(ip("10.1.9.9")), false);
  EXPECT_EQ(rules->find(ip("10.1.2.3")), true);
  EXPECT_EQ(rules->find(ip("192.168.0.1")), false);
}

TEST(PeerRules, NoRuleNoAnswer) {
  auto rules = PeerRules::parse({}, {"10.0.0.7/31"});
  ASSERT_TRUE(rules);
  EXPECT_EQ(rules->find(ip("10.0.0.6")), false);
  EXPECT_EQ(rules->find(ip("10.0.0.8")), std::nullopt);
}

TEST(PeerRules, MistakesAreNamed) {
  for (const char* bad :
       {"10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/", "10.0.0.0/8x", "host", "10.0.0", ""}) {
    auto rules = PeerRules::parse({bad}, {});
    ASSERT_FALSE(rules) << bad;
    EXPECT_EQ(rules.error().code(), Errc::kInvalidParameters);
    EXPECT_NE(rules.error().message().find("host_port_always"), std::string::npos);
  }
  EXPECT_FALSE(PeerRules::parse({"10.0.0.0/8"}, {"10.3.0.0/8"}));
}

}  // namespace
}  // namespace markab::rpc
