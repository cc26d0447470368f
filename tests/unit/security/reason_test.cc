// From what the libraries say to one word, and over the wire and back.

#include "security/reason.h"

#include <gtest/gtest.h>

#include "security/sasl.h"

namespace markab::security {
namespace {

TEST(Reason, OfWhatTheLibrariesSay) {  // 05 §10.1
  const std::pair<const char*, Reason> kTable[] = {
      {"No key table entry found matching pegasus/localhost@", Reason::kNoKeyForService},
      {"Key table file '/x/k' not found", Reason::kKeytabMissing},
      {"Request ticket server a/b@R kvno 3 not found in keytab; keytab is likely out of date",
       Reason::kStaleKey},
      {"Password incorrect", Reason::kStaleKey},
      {"Keytab contains no suitable keys for alice@R", Reason::kPrincipalNotInKeytab},
      {"Server pegasus/nosuch@R not found in Kerberos database", Reason::kUnknownServicePrincipal},
      {"Client 'alice@R' not found in Kerberos database", Reason::kUnknownPrincipal},
      {"Ticket expired", Reason::kTicketExpired},
      {"Cannot contact any KDC for realm 'R'", Reason::kKdcUnreachable},
      {"No Kerberos credentials available (default cache: MEMORY:x)", Reason::kNoCredentials},
      {"No worthy mechs found", Reason::kNoMechanism},
      {"Requested identity not authenticated identity", Reason::kIdentityMismatch},
      {"GSSAPI Failure: no serverFQDN", Reason::kEmptyServiceFqdn},
      {"Clock skew too great", Reason::kClockSkew},
      {"something new", Reason::kMechanismRefused},
  };
  for (const auto& [raw, reason] : kTable) EXPECT_EQ(classify(raw), reason) << raw;
}

TEST(Reason, EachHasAWordAndARemedy) {
  for (int i = 0; i < kReasonCount; ++i) {
    EXPECT_FALSE(reason_word(static_cast<Reason>(i)).empty());
    EXPECT_FALSE(reason_remedy(static_cast<Reason>(i)).empty());
  }
}

TEST(Reason, OverTheWireAndBack) {
  for (int i = 0; i < kReasonCount; ++i) {
    Failure sent{static_cast<Reason>(i), "what the library said: with a colon"};
    Failure got = from_peer_text(to_peer_text(sent));
    EXPECT_EQ(got.reason, sent.reason);
    EXPECT_EQ(got.detail, sent.detail);
  }
  EXPECT_EQ(from_peer_text("no such word: x").reason, Reason::kMechanismRefused);
  EXPECT_FALSE(from_peer_text("").detail.empty());
}

TEST(Reason, WhatTravelsIsShortAndPrintable) {
  std::string umlauts;
  for (int i = 0; i < 400; ++i) umlauts += "\xc3\xa4";
  std::string sent = to_peer_text({Reason::kStaleKey, umlauts + "\n"});
  EXPECT_LE(sent.size(), kMaxPeerText);
  EXPECT_EQ(static_cast<unsigned char>(sent.back()), 0xA4);  // no half character
  EXPECT_EQ(to_peer_text({Reason::kStaleKey, "a\nb"}), "stale_key: a b");
}

TEST(Names, ShortNamesAndRealms) {  // 05 §2.5
  EXPECT_EQ(short_name("pegasus/h1"), "pegasus");
  EXPECT_EQ(short_name("alice"), "alice");
  EXPECT_EQ(short_name("alice@OTHER"), "alice");
  EXPECT_EQ(short_name("pegasus/h1@R"), "pegasus");
  EXPECT_EQ(realm_of("alice@OTHER"), "OTHER");
  EXPECT_EQ(realm_of("a@b@OTHER"), "OTHER");
  EXPECT_EQ(realm_of("alice"), "");
}

TEST(Names, WhoMayActAsWhom) {  // 05 §2.5
  EXPECT_TRUE(may_act_as("", "pegasus/h1", "R", ""));
  EXPECT_TRUE(may_act_as("pegasus/h1", "pegasus/h1", "R", ""));
  EXPECT_TRUE(may_act_as("pegasus/h1@R", "pegasus/h1", "R", ""));
  EXPECT_TRUE(may_act_as("pegasus/h1", "pegasus/h1@R", "R", ""));
  EXPECT_TRUE(may_act_as("pegasus", "pegasus/h1", "R", "pegasus"));  // auth_to_local
  EXPECT_FALSE(may_act_as("pegasus", "pegasus/h1", "R", ""));
  EXPECT_FALSE(may_act_as("root", "alice", "R", "alice"));
  EXPECT_FALSE(may_act_as("alice@OTHER", "alice", "R", "alice"));
}

}  // namespace
}  // namespace markab::security
