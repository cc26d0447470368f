// Who may do what: every task code by every kind of user.

#include "security/access.h"

#include <gtest/gtest.h>

#include "security/gate.h"

namespace markab::security {
namespace {

using rpc::TaskCode;

AccessRules rules(std::vector<std::string> open = {}) {
  AccessOptions options;
  options.enable_acl = options.enable_auth = true;
  options.super_users = {"ops"};
  options.service_users = {"pegasus"};
  options.open_codes = std::move(open);
  auto made = AccessRules::make(options);
  EXPECT_TRUE(made);
  return *made;
}

std::vector<TaskCode> all_codes() {
  std::vector<TaskCode> out;
#define X(name, text, kind) out.push_back(TaskCode::name);
  MARKAB_TASK_CODES(X)
#undef X
  return out;
}

TEST(Access, EveryCodeByEveryKindOfUser) {
  auto r = rules();
  int open = 0;
  for (TaskCode code : all_codes()) {
    SCOPED_TRACE(rpc::task_name(code));
    EXPECT_TRUE(r.allows(code, "ops"));
    AccessClass c = access_class(code);
    EXPECT_EQ(r.allows(code, "pegasus"), c == AccessClass::kOpen || c == AccessClass::kInternal);
    EXPECT_EQ(r.allows(code, "alice"), c == AccessClass::kOpen);
    EXPECT_EQ(r.allows(code, ""), c == AccessClass::kOpen);
    open += c == AccessClass::kOpen ? 1 : 0;
    EXPECT_TRUE(AccessRules().allows(code, ""));  // no ACL
  }
  EXPECT_EQ(open, 6);  // 05 §7.2's five, and negotiation
}

TEST(Access, ClassesOfWhatMatters) {
  EXPECT_EQ(access_class(TaskCode::kGet), AccessClass::kData);
  EXPECT_EQ(access_class(TaskCode::kDuplicate), AccessClass::kData);
  EXPECT_EQ(access_class(TaskCode::kPrepare), AccessClass::kInternal);
  EXPECT_EQ(access_class(TaskCode::kNfsCopy), AccessClass::kInternal);
  EXPECT_EQ(access_class(TaskCode::kRelay), AccessClass::kInternal);
  EXPECT_EQ(access_class(TaskCode::kCreateApp), AccessClass::kAdmin);
  EXPECT_EQ(access_class(TaskCode::kStartRecovery), AccessClass::kAdmin);  // 05 §7.5
  EXPECT_EQ(access_class(TaskCode::kCliCall), AccessClass::kAdmin);
  EXPECT_EQ(access_class(TaskCode::kReplicaDiskMigrate), AccessClass::kAdmin);
}

TEST(Access, AnAllowListReplacesTheDefaultOne) {  // 05 §7.2
  auto r = rules({"RPC_CM_LIST_APPS", "RPC_CM_CREATE_APP"});
  EXPECT_TRUE(r.allows(TaskCode::kListApps, "alice"));
  EXPECT_TRUE(r.allows(TaskCode::kCreateApp, "alice"));
  EXPECT_FALSE(r.allows(TaskCode::kListNodes, "alice"));
  EXPECT_TRUE(r.allows(TaskCode::kNegotiation, ""));
  AccessOptions wrong;
  wrong.open_codes = {"RPC_CM_NO_SUCH"};
  auto refused = AccessRules::make(wrong);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message().find("RPC_CM_NO_SUCH"), std::string::npos);
}

TEST(Access, DataOfATable) {  // 05 §7.3
  auto r = rules();
  UserSet alices = parse_users(" alice ,bob,, ");
  EXPECT_EQ(alices, (UserSet{"alice", "bob"}));
  EXPECT_TRUE(r.allows_data(alices, "alice"));
  EXPECT_TRUE(r.allows_data(alices, "ops"));
  EXPECT_FALSE(r.allows_data(alices, "carol"));
  EXPECT_FALSE(r.allows_data(alices, ""));
  EXPECT_FALSE(r.allows_data(alices, "ali"));
  EXPECT_TRUE(r.allows_data({}, "carol"));  // public
  EXPECT_TRUE(AccessRules().allows_data(alices, ""));
}

TEST(Access, OnlyOurOwnSpeakForOthers) {  // 05 §7.5
  auto r = rules();
  EXPECT_TRUE(r.may_relay("pegasus"));
  EXPECT_TRUE(r.may_relay("ops"));
  EXPECT_FALSE(r.may_relay("alice"));
  EXPECT_FALSE(r.may_relay(""));
}

TEST(TrustedNetworks, TheLongestPrefixNamesThePeer) {
  auto made = TrustedNetworks::parse({"10.0.0.0/8=tools", "10.1.0.0/16=ops", "127.0.0.1=local"});
  ASSERT_TRUE(made);
  EXPECT_EQ(*made->find(0x0A020304), "tools");
  EXPECT_EQ(*made->find(0x0A010304), "ops");
  EXPECT_EQ(*made->find(0x7F000001), "local");
  EXPECT_EQ(made->find(0x7F000002), nullptr);
  EXPECT_FALSE(made->only_loopback());
  EXPECT_TRUE(TrustedNetworks::parse({"127.0.0.0/8=x"})->only_loopback());
  for (const char* wrong : {"10.0.0.0/8", "10.0.0.0/8=", "x=y", "10.0.0.0/33=y", "10.0.0.0/=y"})
    EXPECT_FALSE(TrustedNetworks::parse({wrong})) << wrong;
}

}  // namespace
}  // namespace markab::security
