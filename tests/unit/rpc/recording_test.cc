// Recorded conversations of real clients with a real Pegasus cluster (tests/data/wire): every
// request must parse, and every answer, decoded and encoded again, must come out byte for byte.

#include <gtest/gtest.h>
#include <zlib.h>

#include <boost/json.hpp>
#include <filesystem>

#include "base/bytes.h"
#include "rpc/codec.h"
#include "rpc/frame.h"
#include "unit/rpc/bytes_of.h"
#include "unit/rpc/wire_types.h"

namespace markab::rpc {
namespace {

namespace json = boost::json;
constexpr size_t kLimit = 64 << 20;

std::vector<std::string> recordings() {
  std::vector<std::string> out;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(MARKAB_TEST_DATA "/data/wire")) {
    if (entry.path().extension() == ".gz") out.push_back(entry.path());
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::vector<std::string> lines_of(const std::string& path) {
  gzFile file = gzopen(path.c_str(), "rb");
  EXPECT_NE(file, nullptr) << path;
  std::string all;
  char buffer[64 << 10];
  for (int n; (n = gzread(file, buffer, sizeof buffer)) > 0;)
    all.append(buffer, static_cast<size_t>(n));
  gzclose(file);
  std::vector<std::string> lines;
  for (size_t at = 0; at < all.size();) {
    size_t end = std::min(all.find('\n', at), all.size());
    lines.push_back(all.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

struct Answer {
  Errc error = Errc::kOk;
  HostPort from;
  std::string_view result;
};

Answer split_answer(std::string_view bytes, bool is_rdsn) {
  Answer answer;
  if (is_rdsn) {
    ReplyFrame frame;
    Parsed parsed = parse_rdsn_reply(bytes, kLimit, frame);
    EXPECT_EQ(parsed.outcome, Parsed::Outcome::kFrame) << parsed.reason;
    EXPECT_EQ(parsed.bytes, bytes.size());
    answer.error = frame.error;
    answer.result = frame.result;
    EXPECT_TRUE(wire::unpack_address(load_le<uint64_t>(bytes.data() + 112), answer.from));
    return answer;
  }
  EXPECT_EQ(load_be<uint32_t>(bytes.data()), bytes.size());
  auto error_bytes = load_be<uint32_t>(bytes.data() + 4);
  answer.error = errc_from_name(bytes.substr(8, error_bytes));
  auto name_bytes = load_be<uint32_t>(bytes.data() + 8 + error_bytes + 4);
  answer.result = bytes.substr(8 + error_bytes + 8 + name_bytes + 4);
  return answer;
}

// The native header's local codes are the recorded server's own integers; ours are zero (spec 01
// §6).
std::string without_local_codes(std::string frame) {
  for (size_t at : {88, 184}) store_le<uint64_t>(frame.data() + at, 0);
  return frame;
}

void check_exchange(const std::string& what, std::string_view request, std::string_view response,
                    int& answers) {
  bool is_rdsn = request.starts_with("RDSN");
  RequestFrame frame;
  Parsed parsed = is_rdsn ? parse_rdsn(request, kLimit, frame) : parse_thft(request, kLimit, frame);
  ASSERT_EQ(parsed.outcome, Parsed::Outcome::kFrame) << what << ": " << parsed.reason;
  EXPECT_EQ(parsed.bytes, request.size()) << what;
  ASSERT_NE(frame.header.code, TaskCode::kUnknown) << what;
  bool known = visit_wire_types(frame.header.code, [&]<typename A, typename R>(WireTypes<A, R>) {
    A args{};
    Status status = decode_args(frame.args, args);
    EXPECT_TRUE(status.ok()) << what << ": " << status.to_string();
    if (response.empty()) return;
    Answer answer = split_answer(response, is_rdsn);
    std::string result;
    if (answer.error == Errc::kOk) {
      R value{};
      status = decode_result(answer.result, value);
      ASSERT_TRUE(status.ok()) << what << ": " << status.to_string();
      result = encode_result(value);
      EXPECT_EQ(hex_of(result), hex_of(answer.result)) << what;
    }
    std::string again;
    append_reply(again, frame.header, frame.name, answer.error, result, answer.from);
    std::string theirs =
        is_rdsn ? without_local_codes(std::string(response)) : std::string(response);
    EXPECT_EQ(hex_of(again), hex_of(theirs)) << what;
    ++answers;
  });
  EXPECT_TRUE(known) << what;
}

TEST(Recordings, ParseAndComeOutAgain) {
  auto files = recordings();
  ASSERT_GE(files.size(), 7u);
  int answers = 0;
  for (const auto& path : files) {
    auto lines = lines_of(path);
    ASSERT_GT(lines.size(), 1u) << path;
    for (size_t i = 1; i < lines.size(); ++i) {  // the first names the recording
      json::object line = json::parse(lines[i]).as_object();
      std::string request = bytes_of(std::string_view(line.at("request").as_string()));
      const json::value& raw = line.at("response");
      std::string response = raw.is_null() ? "" : bytes_of(std::string_view(raw.as_string()));
      check_exchange(std::filesystem::path(path).filename().string() + ":" + std::to_string(i),
                     request, response, answers);
      if (HasFailure()) return;
    }
  }
  EXPECT_GT(answers, 2000);
}

// Every cut of a real argument struct is refused, and none does harm.
TEST(Recordings, CutShortTheyAreRefused) {
  for (const auto& path : recordings()) {
    auto lines = lines_of(path);
    for (size_t i = 1; i < lines.size(); i += 7) {
      std::string request =
          bytes_of(std::string_view(json::parse(lines[i]).at("request").as_string()));
      RequestFrame frame;
      bool is_rdsn = request.starts_with("RDSN");
      Parsed parsed =
          is_rdsn ? parse_rdsn(request, kLimit, frame) : parse_thft(request, kLimit, frame);
      ASSERT_EQ(parsed.outcome, Parsed::Outcome::kFrame);
      visit_wire_types(frame.header.code, [&]<typename A, typename R>(WireTypes<A, R>) {
        for (size_t n = 0; n < frame.args.size(); ++n) {
          A args{};
          EXPECT_EQ(decode_args(frame.args.substr(0, n), args).code(), Errc::kInvalidData)
              << path << ":" << i << " " << n;
        }
      });
    }
  }
}

}  // namespace
}  // namespace markab::rpc
