// Tables as text and as JSON, and what a session says without a cluster.

#include "shell/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <set>
#include <sstream>

#include "shell/filters.h"
#include "shell/session.h"

namespace markab::shell {
namespace {

namespace json = boost::json;
using testing::HasSubstr;

Report sample() {
  Section rows = Section::rows("details", {"address", "status", "count"});
  rows.add_row({"10.0.0.1:34801", "ALIVE", 12});
  rows.add_row({"10.0.0.2:34801", "UNALIVE", 3});
  Section fields = Section::fields("summary");
  fields.add_field("total", 2);
  fields.add_field("healthy", true);
  fields.add_field("text", "a\n  b");
  return {rows, fields};
}

TEST(ReportTest, BrokenNumbersHaveTwoDecimals) {
  Section fields = Section::fields("rates");
  fields.add_field("none", 0.0);
  fields.add_field("some", 1234.567);
  EXPECT_EQ(to_text({fields}), "[rates]\nnone : 0.00\nsome : 1234.57\n");
  EXPECT_EQ(json::serialize(to_json({fields}, true)),
            R"({"rates":{"none":"0.00","some":"1234.57"}})");
}

TEST(ReportTest, ColumnsAreAsWideAsTheirLongestCellAndTwo) {
  EXPECT_EQ(to_text(sample()),
            "[details]\n"
            "address         status   count\n"
            "10.0.0.1:34801  ALIVE    12\n"
            "10.0.0.2:34801  UNALIVE  3\n"
            "\n"
            "[summary]\n"
            "total   : 2\n"
            "healthy : true\n"
            "text    : a b\n");
}

TEST(ReportTest, JsonIsTypedOrText) {
  EXPECT_EQ(
      json::serialize(to_json(sample(), false)),
      R"({"details":{"10.0.0.1:34801":{"address":"10.0.0.1:34801","status":"ALIVE","count":12},)"
      R"("10.0.0.2:34801":{"address":"10.0.0.2:34801","status":"UNALIVE","count":3}},)"
      R"("summary":{"total":2,"healthy":true,"text":"a\n  b"}})");
  EXPECT_THAT(json::serialize(to_json(sample(), true)), HasSubstr(R"("count":"12")"));
}

TEST(ReportTest, BytesThatAreNoTextAreHex) {
  EXPECT_EQ(json::serialize(json_bytes("plain \"text\" \xC3\xA9")),
            "\"plain \\\"text\\\" \xC3\xA9\"");
  for (std::string_view bad :
       {"\xFF", "\xC3", "\xC0\x80", "\xED\xA0\x80", "\xF5\x80\x80\x80", "a\xE2\x82"}) {
    EXPECT_THAT(json::serialize(json_bytes(bad)), HasSubstr("hex")) << bad.size();
  }
  EXPECT_EQ(json::serialize(json_bytes(std::string_view("\x00\xFF", 2))), R"({"hex":"00ff"})");
}

TEST(ReportTest, NoTimeIsADash) {
  EXPECT_EQ(format_time(0), "-");
  EXPECT_EQ(format_time(1700000000).size(), 19u);
}

TEST(FiltersTest, PassOrNot) {
  EXPECT_TRUE(passes(Filter::kNone, "x", "abc"));
  EXPECT_TRUE(passes(Filter::kAnywhere, "b", "abc"));
  EXPECT_TRUE(passes(Filter::kPrefix, "ab", "abc"));
  EXPECT_FALSE(passes(Filter::kPrefix, "bc", "abc"));
  EXPECT_TRUE(passes(Filter::kPostfix, "bc", "abc"));
  EXPECT_FALSE(passes(Filter::kPostfix, "abcd", "abc"));
}

class SessionTest : public testing::Test {
 protected:
  Session make(bool json) {
    ClientOptions options;
    options.meta_servers = {"127.0.0.1:1"};  // nobody
    return Session(*Client::create(options), options.meta_servers, json, Timeout(100), out);
  }
  std::string said() const { return out.str(); }
  std::ostringstream out;
};

TEST_F(SessionTest, EveryCommandHasHelp) {
  Session session = make(false);
  for (const auto& command : all_commands()) {
    out.str("");
    EXPECT_FALSE(session.run("help " + std::string(command.name)));
    EXPECT_THAT(said(), HasSubstr(std::string(command.usage)));
    EXPECT_FALSE(command.help.empty()) << command.name;
    std::set<char> letters;
    for (const auto& option : command.options) {
      EXPECT_TRUE(letters.insert(option.letter).second)
          << command.name << " has -" << option.letter << " twice";
    }
  }
}

TEST_F(SessionTest, WrongCommandsAreAnswered) {
  Session session = make(false);
  EXPECT_EQ(session.run("frobnicate").code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(session.run("set a").code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(said(), HasSubstr("HASH_KEY SORT_KEY VALUE"));
  EXPECT_EQ(session.run("get a b").code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(said(), HasSubstr("use TABLE"));
  EXPECT_EQ(session.run("create no/such").code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(session.run("set \"a").code, ErrorCode::kInvalidArgument);
  EXPECT_FALSE(session.run("# a comment"));
  EXPECT_FALSE(session.run("   "));
}

TEST_F(SessionTest, AnUnreachableClusterIsNamed) {
  Session session = make(false);
  Error error = session.run("ls");
  EXPECT_EQ(error.code, ErrorCode::kUnavailable);
  EXPECT_THAT(said(), HasSubstr("127.0.0.1:1"));
}

TEST_F(SessionTest, JsonIsOneLinePerAnswer) {
  Session session = make(true);
  EXPECT_FALSE(session.run("use temp"));
  EXPECT_EQ(said(), "{\"table\":\"temp\"}\n");
  out.str("");
  EXPECT_TRUE(session.run("get a"));
  auto parsed = json::parse(said());
  EXPECT_EQ(parsed.at("error").at("code").as_string(), "InvalidArgument");
}

TEST_F(SessionTest, SettingsAreKept) {
  Session session = make(false);
  EXPECT_FALSE(session.run("timeout 1234"));
  EXPECT_EQ(session.timeout, Timeout(1234));
  EXPECT_TRUE(session.run("timeout 0"));
  EXPECT_FALSE(session.run("escape_all true"));
  EXPECT_EQ(session.quoted("a\n"), R"("\x61\x0A")");
  EXPECT_FALSE(session.run("escape_all false"));
  EXPECT_EQ(session.quoted("a\n\xFF"), R"("a\n\xFF")");
  EXPECT_FALSE(session.run("exit"));
  EXPECT_TRUE(session.exiting);
}

}  // namespace
}  // namespace markab::shell
