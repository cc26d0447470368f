// Keys, hashes and messages (spec 01 §13, 02 §3, §17).

#include "client/operations.h"

#include <gtest/gtest.h>

#include "client/errors.h"
#include "idl/rrdb_types.h"
#include "rpc/codec.h"

namespace markab::client {
namespace {

using namespace std::string_literals;

std::string hex(std::string_view bytes) {
  std::string out;
  for (char c : bytes) out += fmt::format("{:02x}", static_cast<uint8_t>(c));
  return out;
}

TEST(Keys, AsTheSpecificationWorksThemOut) {
  EXPECT_EQ(hex(raw_key("hash", "sort")), "000468617368736f7274");
  EXPECT_EQ(hex(raw_key("", "sort")), "0000736f7274");
  EXPECT_EQ(hex(next_key(raw_key("hash", ""))), "000468617369");
  EXPECT_EQ(hex(next_key(raw_key("", ""))), "0001");
  EXPECT_EQ(hex(next_key(raw_key("a\xff"s, ""))), "000262");
  EXPECT_EQ(hex(next_key(raw_key("\xff\xff\xff"s, ""))), "0004");
  EXPECT_EQ(hex(next_key(raw_key("hash", "so\xff"))),
            "000468617368"
            "7370");
}

TEST(Keys, SplitIsTheInverse) {
  std::string_view hash_key;
  std::string_view sort_key;
  std::string raw = raw_key("ab", "c");
  ASSERT_TRUE(split_key(raw, hash_key, sort_key));
  EXPECT_EQ(hash_key, "ab");
  EXPECT_EQ(sort_key, "c");
  EXPECT_FALSE(split_key("\x00"s, hash_key, sort_key));
  EXPECT_FALSE(split_key("\x00\x03zz"s, hash_key, sort_key));
  EXPECT_FALSE(split_key("\xff\xff"s + std::string(70000, 'x'), hash_key, sort_key));
}

TEST(Keys, TheHashIsOfTheHashKeyUnlessThatIsEmpty) {
  EXPECT_EQ(key_hash("hello", "world"), 0x3377857006524257u);
  EXPECT_EQ(key_hash("", "world"), 0x34a6f418fb3758bfu);
}

TEST(Keys, TooLongAHashKeyIsRefusedHere) {
  std::string longest(kMaxHashKey, 'h');
  EXPECT_FALSE(prepare_get(longest, "s").error);
  longest += 'h';
  EXPECT_EQ(prepare_get(longest, "s").error.code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(prepare_set(longest, "s", "v", 0).error.code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(prepare_multi_set(longest, {{"a", "b"}}, 0).error.code, ErrorCode::kInvalidArgument);
}

TEST(Expiry, IsAbsoluteOnTheEpochOf2016) {
  EXPECT_EQ(expiry_of(Seconds(0), 1451706400ll * 1000000), 0);
  EXPECT_EQ(expiry_of(Seconds(10), 1451706400ll * 1000000), 100010);
}

TEST(Messages, AGetIsABlob) {
  auto prepared = prepare_get("h", "s");
  EXPECT_EQ(hex(prepared.request.args),
            "0c0000"
            "00000004"
            "00016873"
            "00");
}

TEST(Messages, ASetIsAnUpdate) {
  auto prepared = prepare_set("h", "s", "v", 0);
  EXPECT_EQ(hex(prepared.request.args),
            "0c0000"
            "0c00010000000400016873"
            "0c00020000000176"
            "08000300000000"
            "00"
            "00");
}

TEST(Messages, MalformedAnswersAreCorruption) {
  auto prepared = prepare_get("h", "s");
  Answer answer;
  answer.result = "\x0c\x00\x00\x08";
  EXPECT_EQ(prepared.read(std::move(answer)).error().code, ErrorCode::kCorruption);
  Answer empty;
  EXPECT_EQ(prepared.read(std::move(empty)).error().code, ErrorCode::kCorruption);
}

TEST(Messages, AFailedCheckIsNoError) {
  Condition condition{"c", Check::kIntLess, "5", true};
  auto prepared = prepare_check_and_set("h", condition, {"s", "v"}, 0);
  wire::check_and_set_response response;
  response.error = 13;
  response.check_value_returned = true;
  response.check_value_exist = true;
  response.check_value = std::string_view("9");
  std::string encoded = rpc::encode_result(response);
  Answer answer;
  answer.result = encoded;
  auto checked = prepared.read(std::move(answer));
  ASSERT_TRUE(checked);
  EXPECT_FALSE(checked->passed);
  EXPECT_EQ(checked->check_value, "9");
}

TEST(Errors, OnlyTheAtomicWritesAreNotIdempotent) {
  using rpc::TaskCode;
  for (TaskCode code : {TaskCode::kPut, TaskCode::kMultiPut, TaskCode::kRemove,
                        TaskCode::kMultiRemove, TaskCode::kGet, TaskCode::kScan}) {
    EXPECT_TRUE(is_idempotent(code)) << rpc::task_name(code);
  }
  for (TaskCode code : {TaskCode::kIncr, TaskCode::kCheckAndSet, TaskCode::kCheckAndMutate}) {
    EXPECT_FALSE(is_idempotent(code)) << rpc::task_name(code);
  }
}

}  // namespace
}  // namespace markab::client
