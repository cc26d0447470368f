// Frames as bytes: every rule of spec 01 §2 to §6, without sockets.

#include "rpc/frame.h"

#include <gtest/gtest.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "unit/rpc/bytes_of.h"
#include "unit/rpc/raw_client.h"

namespace markab::rpc {
namespace {

using Outcome = Parsed::Outcome;
constexpr size_t kLimit = 1 << 20;

const std::string kBody = bytes_of(
    "80 01 00 01 00 00 00 11 52 50 43 5f 52 52 44 42 5f 52 52 44 42 5f 47 45 54 00 00 00 01"
    "0c 00 01 00 00 00 0c 00 05 68 65 6c 6c 6f 77 6f 72 6c 64 00");
const std::string kThft0 = bytes_of(
                               "54 48 46 54  00 00 00 00  00 00 00 30  00 00 00 00  00 00 00 31  "
                               "00 00 00 00  00 00 00 02  00 00 00 07"
                               "00 00 03 e8  00 00 3d e5  33 77 85 70 06 52 42 57") +
                           kBody;
const std::string kThft1 = bytes_of(
                               "54 48 46 54 00 00 00 01 00 00 00 25 00 00 00 31"
                               "08 00 01 00 00 00 02  08 00 02 00 00 00 07  08 00 03 00 00 03 e8  "
                               "0a 00 04 33 77 85 70 06 52 42 57"
                               "02 00 05 00  00") +
                           kBody;

void expect_example(const RequestFrame& frame) {
  EXPECT_EQ(frame.name, "RPC_RRDB_RRDB_GET");
  EXPECT_EQ(frame.header.code, TaskCode::kGet);
  EXPECT_EQ(frame.header.gpid, (Gpid{2, 7}));
  EXPECT_EQ(frame.header.timeout_ms, 1000);
  EXPECT_EQ(frame.header.partition_hash, 0x3377857006524257u);
  EXPECT_EQ(frame.header.id, 1u);
  EXPECT_FALSE(frame.header.is_backup_request);
  EXPECT_EQ(frame.args, std::string_view(kBody).substr(29));
}

TEST(ThftFrame, Version0) {
  RequestFrame frame;
  Parsed parsed = parse_thft(kThft0 + "next", kLimit, frame);
  ASSERT_EQ(parsed.outcome, Outcome::kFrame) << parsed.reason;
  EXPECT_EQ(parsed.bytes, kThft0.size());
  parse_thft(kThft0, kLimit, frame);
  expect_example(frame);
  EXPECT_EQ(frame.header.kind, HeaderKind::kThft0);
}

TEST(ThftFrame, Version1) {
  RequestFrame frame;
  Parsed parsed = parse_thft(kThft1, kLimit, frame);
  ASSERT_EQ(parsed.outcome, Outcome::kFrame) << parsed.reason;
  EXPECT_EQ(parsed.bytes, kThft1.size());
  expect_example(frame);
  EXPECT_EQ(frame.header.kind, HeaderKind::kThft1);
}

TEST(ThftFrame, EveryCutAsksForMore) {
  for (const std::string& whole : {kThft0, kThft1}) {
    for (size_t n = 0; n < whole.size(); ++n) {
      RequestFrame frame;
      Parsed parsed = parse_thft(std::string_view(whole).substr(0, n), kLimit, frame);
      ASSERT_EQ(parsed.outcome, Outcome::kNeedMore) << n;
      EXPECT_GT(parsed.bytes, n);
      EXPECT_LE(parsed.bytes, whole.size());
    }
  }
}

TEST(ThftFrame, MetaFieldsMayBeMissingUnknownOrTrue) {  // 01 §3
  auto with_meta = [](std::string_view hex) {
    std::string meta = bytes_of(hex);
    std::string out = "THFT";
    append_be<uint32_t>(out, 1);
    append_be<uint32_t>(out, static_cast<uint32_t>(meta.size()));
    append_be<uint32_t>(out, static_cast<uint32_t>(kBody.size()));
    return out + meta + kBody;
  };
  RequestFrame frame;
  std::string bytes = with_meta("0b 00 63 00 00 00 01 \"x\" 02 00 05 01 00");
  ASSERT_EQ(parse_thft(bytes, kLimit, frame).outcome, Outcome::kFrame);
  EXPECT_EQ(frame.header.gpid, Gpid{});
  EXPECT_TRUE(frame.header.is_backup_request);
  bytes = with_meta("08 00 01 ff ff ff ff 00");
  ASSERT_EQ(parse_thft(bytes, kLimit, frame).outcome, Outcome::kFrame);
  EXPECT_EQ(frame.header.gpid.app_id, -1);
  bytes = with_meta("08 00 01 00 00 00 01");  // no STOP within the meta's bytes
  EXPECT_EQ(parse_thft(bytes, kLimit, frame).outcome, Outcome::kMalformed);
  bytes = with_meta("");
  EXPECT_EQ(parse_thft(bytes, kLimit, frame).outcome, Outcome::kMalformed);
}

TEST(ThftFrame, OnewayAndTheOldMessageFormAreTaken) {  // 01 §4
  auto with_body = [](std::string body) {
    std::string out = kThft0.substr(0, 48);
    store_be<uint32_t>(out.data() + 16, static_cast<uint32_t>(body.size()));
    return out + body;
  };
  RequestFrame frame;
  std::string oneway = kBody;
  oneway[3] = 4;
  std::string bytes = with_body(oneway);
  ASSERT_EQ(parse_thft(bytes, kLimit, frame).outcome, Outcome::kFrame);
  expect_example(frame);
  std::string old = bytes_of("00 00 00 11 \"RPC_RRDB_RRDB_GET\" 01 00 00 00 01") + kBody.substr(29);
  bytes = with_body(old);
  ASSERT_EQ(parse_thft(bytes, kLimit, frame).outcome, Outcome::kFrame);
  EXPECT_EQ(frame.header.code, TaskCode::kGet);
  EXPECT_EQ(frame.args, std::string_view(kBody).substr(29));
  for (char type : {0, 2, 3, 5}) {
    std::string wrong = kBody;
    wrong[3] = type;
    bytes = with_body(wrong);
    EXPECT_EQ(parse_thft(bytes, kLimit, frame).outcome, Outcome::kMalformed) << int{type};
  }
}

TEST(ThftFrame, SequenceIdsComeBackAsTheyWere) {
  for (int32_t id : {0, 1, -1, INT32_MIN, INT32_MAX}) {
    RequestFrame frame;
    std::string bytes = thft0("RPC_RRDB_RRDB_GET", "", id);
    ASSERT_EQ(parse_thft(bytes, kLimit, frame).outcome, Outcome::kFrame);
    std::string answer;
    append_reply(answer, frame.header, frame.name, Errc::kBusy, {}, {});
    EXPECT_EQ(load_be<int32_t>(answer.data() + answer.size() - 4), id);
  }
}

TEST(ThftFrame, TheLimitIsOnTheDeclaredLength) {
  std::string bytes = thft0("RPC_RRDB_RRDB_GET", std::string(1000, 'x'));
  RequestFrame frame;
  size_t body = bytes.size() - 48;
  EXPECT_EQ(parse_thft(bytes, body, frame).outcome, Outcome::kFrame);
  Parsed parsed = parse_thft(std::string_view(bytes).substr(0, 48), body - 1, frame);
  EXPECT_EQ(parsed.outcome, Outcome::kMalformed);  // from the header alone
}

TEST(ThftAnswer, TheSpecificationsExamples) {  // 01 §5.3
  RequestHeader header;
  header.kind = HeaderKind::kThft0;
  header.id = 1;
  std::string result = bytes_of(
      "0c 00 00 08 00 01 00 00 00 00 0c 00 02 00 00 00 05 76 61 6c 75 65 08 00 03 00 00 00 02 08 "
      "00 04 00 00 00 07"
      "0b 00 06 00 00 00 0f 31 32 37 2e 30 2e 30 2e 31 3a 33 34 38 30 31 00 00");
  std::string out = "before";
  append_reply(out, header, "RPC_RRDB_RRDB_GET", Errc::kOk, result, {});
  EXPECT_EQ(
      hex_of(out.substr(6)),
      hex_of(
          bytes_of("00 00 00 6b 00 00 00 06 45 52 52 5f 4f 4b 80 01 00 02 00 00 00 15"
                   "52 50 43 5f 52 52 44 42 5f 52 52 44 42 5f 47 45 54 5f 41 43 4b 00 00 00 01") +
          result));
  out.clear();
  append_reply(out, header, "RPC_RRDB_RRDB_GET", Errc::kInvalidState, result, {});
  EXPECT_EQ(
      hex_of(out),
      hex_of(bytes_of(
          "00 00 00 3a  00 00 00 11 45 52 52 5f 49 4e 56 41 4c 49 44 5f 53 54 41 54 45"
          "80 01 00 02  00 00 00 15 52 50 43 5f 52 52 44 42 5f 52 52 44 42 5f 47 45 54 5f 41 43 4b"
          "00 00 00 01")));
}

TEST(ThftAnswer, OnlyNamesThatEveryClientKnows) {  // 01 §9.1
  RequestHeader header;
  header.kind = HeaderKind::kThft1;
  for (int32_t i = 1; i < kErrcCount; ++i) {
    std::string out;
    append_reply(out, header, "X", static_cast<Errc>(i), {}, {});
    std::string name = out.substr(8, load_be<uint32_t>(out.data() + 4));
    Errc sent = errc_from_name(name);
    EXPECT_LE(sent, Errc::kDiskInsufficient) << name;
    for (Errc unknown : {Errc::kLearnerNotFound, Errc::kDirNotEmpty, Errc::kFsInternal,
                         Errc::kIgnoreBadData, Errc::kMockInternal}) {
      EXPECT_NE(sent, unknown);
    }
  }
}

TEST(ThftAnswerDeathTest, SuccessWithoutAResultIsABug) {  // 01 §5.2 rule 2
  RequestHeader header;
  header.kind = HeaderKind::kThft0;
  std::string out;
  EXPECT_DEATH(append_reply(out, header, "RPC_X", Errc::kOk, {}, {}), "wedges Go clients");
}

TEST(RdsnFrame, TheSpecificationsExample) {  // 01 §6
  RdsnRequest request;
  request.id = 5;
  request.code = TaskCode::kGet;
  request.gpid = {2, 7};
  request.partition_hash = 0x3377857006524257;
  request.timeout_ms = 1000;
  std::string args = bytes_of("0c 00 00  00 00 00 0c 00 05 68 65 6c 6c 6f 77 6f 72 6c 64  00");
  std::string bytes;
  append_rdsn_request(bytes, request, args, *HostPort::parse("127.0.0.1:1"));
  ASSERT_EQ(bytes.size(), 192u + 20u);
  EXPECT_EQ(hex_of(bytes.substr(104, 16)),
            "4100000000000000"
            "010001000100007f");
  EXPECT_EQ(load_le<int32_t>(bytes.data() + 124), 2 * 7919 + 7);
  RequestFrame frame;
  Parsed parsed = parse_rdsn(bytes, kLimit, frame);
  ASSERT_EQ(parsed.outcome, Outcome::kFrame) << parsed.reason;
  EXPECT_EQ(parsed.bytes, bytes.size());
  EXPECT_EQ(frame.header.code, TaskCode::kGet);
  EXPECT_EQ(frame.header.gpid, (Gpid{2, 7}));
  EXPECT_EQ(frame.header.partition_hash, 0x3377857006524257u);
  EXPECT_EQ(frame.args, args);
}

TEST(RdsnFrame, EveryCutAsksForMore) {
  std::string whole = rdsn(TaskCode::kGet, "arguments");
  for (size_t n = 0; n < whole.size(); ++n) {
    RequestFrame frame;
    Parsed parsed = parse_rdsn(std::string_view(whole).substr(0, n), kLimit, frame);
    ASSERT_EQ(parsed.outcome, Outcome::kNeedMore) << n;
    EXPECT_GT(parsed.bytes, n);
    EXPECT_LE(parsed.bytes, whole.size());
  }
}

TEST(RdsnFrame, ChecksumsAreVerifiedWhenPresent) {
  std::string bytes = rdsn(TaskCode::kGet, "arguments");
  store_le<uint32_t>(bytes.data() + 20, crc32c("arguments"));
  store_le<uint32_t>(bytes.data() + 12, crc32c(std::string_view(bytes).substr(0, 192)));
  RequestFrame frame;
  ASSERT_EQ(parse_rdsn(bytes, kLimit, frame).outcome, Outcome::kFrame);
  for (size_t i : {size_t{24}, size_t{130}, size_t{191}, size_t{192}, bytes.size() - 1}) {
    std::string damaged = bytes;
    damaged[i] = static_cast<char>(damaged[i] ^ 1);
    EXPECT_EQ(parse_rdsn(damaged, kLimit, frame).outcome, Outcome::kMalformed) << i;
  }
}

TEST(RdsnFrame, ANameOf48BytesWithoutAnEnd) {
  std::string bytes = rdsn(TaskCode::kGet, "x");
  std::fill_n(bytes.begin() + 40, 48, 'N');
  RequestFrame frame;
  ASSERT_EQ(parse_rdsn(bytes, kLimit, frame).outcome, Outcome::kFrame);
  EXPECT_EQ(frame.name, std::string(48, 'N'));
  EXPECT_EQ(frame.header.code, TaskCode::kUnknown);
  std::string answer;
  append_reply(answer, frame.header, frame.name, Errc::kHandlerNotFound, {}, {});
  EXPECT_EQ(answer[87], '\0');
}

TEST(RdsnAnswer, EchoesTheHeaderAndClearsTheDirectionBits) {
  std::string bytes = rdsn(TaskCode::kGet, "x", 77, {2, 7});
  store_le<uint64_t>(bytes.data() + 104,
                     0x443 | 1 << 11);  // forwarded, forwarding supported, backup
  store_le<uint64_t>(bytes.data() + 32, 0xabcdef);
  store_le<int32_t>(bytes.data() + 120, 1234);
  store_le<int32_t>(bytes.data() + 124, -5);
  RequestFrame frame;
  ASSERT_EQ(parse_rdsn(bytes, kLimit, frame).outcome, Outcome::kFrame);
  EXPECT_TRUE(frame.header.is_backup_request);
  std::string answer;
  append_reply(answer, frame.header, frame.name, Errc::kOk, "result",
               *HostPort::parse("10.0.0.1:34801"));
  ASSERT_EQ(answer.size(), 192u + 6u);
  EXPECT_EQ(load_le<uint64_t>(answer.data() + 104), 0x440u | 1 << 11);
  EXPECT_EQ(load_le<uint64_t>(answer.data() + 24), 77u);
  EXPECT_EQ(load_le<uint64_t>(answer.data() + 32), 0xabcdefu);
  EXPECT_STREQ(answer.data() + 40, "RPC_RRDB_RRDB_GET_ACK");
  EXPECT_EQ(load_le<uint64_t>(answer.data() + 88), 0u);          // local code and hash
  EXPECT_EQ(hex_of(answer.substr(112, 8)), "0100f1870100000a");  // 01 §7.1
  EXPECT_EQ(load_le<int32_t>(answer.data() + 120), 1234);
  EXPECT_EQ(load_le<int32_t>(answer.data() + 124), -5);
  EXPECT_STREQ(answer.data() + 136, "ERR_OK");
  EXPECT_EQ(load_le<uint64_t>(answer.data() + 184), 0u);
  EXPECT_EQ(answer.substr(192), "result");
}

TEST(RdsnAnswer, BodiesGoWithSuccessAndForwardingOnly) {
  RequestHeader header;
  for (auto [error, body] :
       {std::pair{Errc::kOk, 6u}, {Errc::kForwardToOthers, 6u}, {Errc::kBusy, 0u}}) {
    std::string answer;
    append_reply(answer, header, "RPC_X", error, "result", {});
    EXPECT_EQ(answer.size(), 192u + body);
    EXPECT_EQ(load_le<uint32_t>(answer.data() + 16), body);
  }
}

TEST(TaskCodes, NamesAndCodes) {
  EXPECT_EQ(task_name(TaskCode::kGet), "RPC_RRDB_RRDB_GET");
  EXPECT_EQ(task_ack_name(TaskCode::kFdPing), "RPC_FD_FAILURE_DETECTOR_PING_ACK");
  for (int i = 1; i < 256; ++i) {
    auto code = static_cast<TaskCode>(i);
    if (i > static_cast<int>(TaskCode::kStepDown)) break;
    EXPECT_EQ(task_from_name(task_name(code)), code);
    EXPECT_LT(task_ack_name(code).size(), 48u)
        << task_name(code);  // it must fit into the native header
    EXPECT_EQ(task_from_name(task_ack_name(code)), TaskCode::kUnknown);
  }
  for (std::string_view name :
       {"", "RPC", "RPC_RRDB_RRDB_GE", "RPC_RRDB_RRDB_GETT", "XXXXXXXXXXXXXXXXXXXXXXX"}) {
    EXPECT_EQ(task_from_name(name), TaskCode::kUnknown) << name;
  }
}

TEST(Families, ByTheFirstFourBytes) {
  EXPECT_EQ(family_of("THFT...."), Family::kThft);
  EXPECT_EQ(family_of("RDSN"), Family::kRdsn);
  EXPECT_EQ(family_of("GET /"), Family::kHttp);
  EXPECT_EQ(family_of("POST /"), Family::kHttp);
  for (const char* other : {"GETX", "POS ", "HEAD", "_RAW", "thft"})
    EXPECT_EQ(family_of(other), Family::kUnknown);
}

}  // namespace
}  // namespace markab::rpc
