#include "zk/principal.h"

#include <gtest/gtest.h>

namespace markab::zk {
namespace {

std::string reverse_zk(const std::string& address) {
  return address == "10.0.0.1" ? "ZK1.Example." : "";
}

std::string host(const std::string& listed, bool rdns, const std::string& given = "") {
  return sasl_host(Server{listed, 2181, given}, NameRules{rdns, reverse_zk});
}

// 05 §6.4: which name is asked for, whatever DNS says about names.
TEST(ZkPrincipal, TheRule) {
  struct Row {
    const char* listed;
    bool rdns;
    const char* given;
    const char* expected;
  };
  for (const Row& row : std::vector<Row>{
           {"zk1.example", true, "", "zk1.example"},
           {"zk1.example", false, "", "zk1.example"},
           {"ZK1.Example.", true, "", "zk1.example"},
           {"vm", true, "", "vm"},
           {"10.0.0.1", true, "", "zk1.example"},  // the reverse name
           {"10.0.0.1", false, "", "10.0.0.1"},    // krb5.conf wants no reverse look-up
           {"10.0.0.2", true, "", "10.0.0.2"},     // there is no reverse name
           {"10.0.0.1", true, "Other", "Other"},   // the key overrides, as it is written
           {"zk1.example", false, "x", "x"},
       }) {
    EXPECT_EQ(host(row.listed, row.rdns, row.given), row.expected)
        << row.listed << ", rdns " << row.rdns << ", key " << row.given;
  }
}

TEST(ZkPrincipal, Addresses) {
  EXPECT_TRUE(is_ipv4("10.0.0.1"));
  for (const char* text : {"10.0.0", "zk1", "10.0.0.256", "", "10.0.0.1:2181"})
    EXPECT_FALSE(is_ipv4(text)) << text;
}

TEST(ZkPrincipal, RemediesNameWhatCanBeChanged) {
  auto remedy = [](const std::string& said) { return login_remedy(said, "zookeeper/a@R"); };
  auto unknown = remedy("Server zookeeper/a@R not found in Kerberos database");
  EXPECT_NE(unknown.find("create zookeeper/a@R in the KDC"), std::string::npos);
  EXPECT_NE(unknown.find("sasl_service_fqdn"), std::string::npos);
  EXPECT_NE(remedy("Cannot contact any KDC for realm 'R'").find("KDC"), std::string::npos);
  EXPECT_NE(remedy("Clock skew too great").find("clocks"), std::string::npos);
  EXPECT_NE(remedy("Decrypt integrity check failed").find("keytab anew"), std::string::npos);
  EXPECT_NE(remedy("").find("zookeeper/a@R"), std::string::npos);
}

TEST(LoginRefusal, NamesWhatWasAskedForAndWhatHelps) {
  Options options;
  options.sasl = Sasl::kGssapi;
  auto kerberos = login_refusal(
      options, "zk1:2181", "zookeeper/zk1@R",
      "GSSAPI Error: Unspecified GSS failure.  Minor code may provide more information (Server "
      "zookeeper/zk1@R not found in Kerberos database)");
  EXPECT_EQ(kerberos.sentence,
            "the login to zk1:2181 was refused; it was asked for zookeeper/zk1@R, and Kerberos "
            "said: Server zookeeper/zk1@R not found in Kerberos database");
  EXPECT_NE(kerberos.remedy.find("create zookeeper/zk1@R in the KDC"), std::string::npos);

  options.sasl = Sasl::kDigest;
  options.user = "markab";
  auto digest = login_refusal(options, "zk1:2181", "", "");
  EXPECT_EQ(digest.sentence,
            "the login to zk1:2181 as markab was refused: (the server refused without a word)");
  EXPECT_NE(digest.remedy.find("sasl_password_file"), std::string::npos);
}

}  // namespace
}  // namespace markab::zk
