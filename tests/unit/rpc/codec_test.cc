// Values as Thrift bytes: the worked examples of spec 01, tolerance, and what malformed input gets.

#include "rpc/codec.h"

#include <gtest/gtest.h>

#include "idl/duplication_types.h"
#include "idl/partition_types.h"
#include "idl/rrdb_types.h"
#include "unit/rpc/bytes_of.h"

namespace markab::rpc {
namespace {

HostPort node(const char* text) { return *HostPort::parse(text); }

wire::partition_configuration example_configuration() {
  wire::partition_configuration c;
  c.pid = Gpid{2, 7};
  c.ballot = 3;
  c.max_replica_count = 3;
  c.primary = node("10.0.0.1:34801");
  c.secondaries = {node("10.0.0.2:34801")};
  return c;
}

constexpr const char* kExampleConfiguration =
    "0c 00 01 00 00 00 07 00 00 00 02"
    "0a 00 02 00 00 00 00 00 00 00 03"
    "08 00 03 00 00 00 03"
    "0c 00 04 0a 00 00 01 87 f1 00 01"
    "0f 00 05 0c 00 00 00 01 0a 00 00 02 87 f1 00 01"
    "0f 00 06 0c 00 00 00 00"
    "0a 00 07 00 00 00 00 00 00 00 00"
    "08 00 08 00 00 00 00";

TEST(Codec, PartitionConfigurationAsInTheSpecification) {  // 01 §7.2
  auto config = example_configuration();
  EXPECT_EQ(hex_of(encode_result(config)),
            hex_of(bytes_of(std::string("0c 00 00") + kExampleConfiguration + "00 00")));

  config.__set_hp_primary(wire::host_port(node("10.0.0.1:34801")));
  config.__set_hp_secondaries({wire::host_port(node("10.0.0.2:34801"))});
  config.__set_hp_last_drops({});
  EXPECT_EQ(hex_of(encode_result(config)),
            hex_of(bytes_of(std::string("0c 00 00") + kExampleConfiguration +
                            "0c 00 09 00 00 00 08 \"10.0.0.1\" 87 f1 01"
                            "0f 00 0a 0c 00 00 00 01 00 00 00 08 \"10.0.0.2\" 87 f1 01"
                            "0f 00 0b 0c 00 00 00 00 00 00")));
}

TEST(Codec, PartitionConfigurationSurvivesARoundTrip) {
  auto config = example_configuration();
  config.__set_hp_primary(wire::host_port(node("10.0.0.1:34801")));
  wire::partition_configuration back;
  ASSERT_TRUE(decode_result(encode_result(config), back).ok());
  EXPECT_TRUE(back == config);
  EXPECT_EQ(HostPort(back.primary).to_string(), "10.0.0.1:34801");
  EXPECT_EQ(back.hp_primary.node(), node("10.0.0.1:34801"));
}

TEST(Codec, AGetsArgumentIsABlobUnderAnyId) {  // 01 §4, §6
  for (const char* id : {"00 00", "00 01", "00 63"}) {
    std::string args = bytes_of(std::string("0c") + id + "00 00 00 0c 00 05 \"helloworld\" 00");
    wire::blob key;
    ASSERT_TRUE(decode_args(args, key).ok());
    EXPECT_EQ(key.view, std::string_view("\0\5helloworld", 12));
    EXPECT_GE(key.data(), args.data());  // a view, no copy
    EXPECT_LE(key.data() + key.size(), args.data() + args.size());
  }
}

TEST(Codec, ReadResponseAsInTheSpecification) {  // 01 §5.3
  wire::read_response response;
  response.value = "value";
  response.app_id = 2;
  response.partition_index = 7;
  response.server = "127.0.0.1:34801";
  EXPECT_EQ(hex_of(encode_result(response)),
            hex_of(bytes_of("0c 00 00"
                            "08 00 01 00 00 00 00"
                            "0c 00 02 00 00 00 05 76 61 6c 75 65"
                            "08 00 03 00 00 00 02"
                            "08 00 04 00 00 00 07"
                            "0b 00 06 00 00 00 0f 31 32 37 2e 30 2e 30 2e 31 3a 33 34 38 30 31"
                            "00 00")));
}

TEST(Codec, ABareStringIsAResult) {  // RPC_CLI_CLI_CALL, 01 §5.1
  EXPECT_EQ(hex_of(encode_result(std::string("ok"))), "0b0000000000026f6b00");
  std::string back;
  ASSERT_TRUE(decode_result(bytes_of("0b 00 00 00 00 00 02 6f 6b 00"), back).ok());
  EXPECT_EQ(back, "ok");
}

TEST(Codec, AnI64IsAnArgument) {  // CLEAR_SCANNER, 01 §6
  int64_t id = 0;
  ASSERT_TRUE(decode_args(bytes_of("0a 00 01 00 00 00 00 00 00 00 2a 00"), id).ok());
  EXPECT_EQ(id, 42);
}

TEST(Codec, AbsentFieldsReadAsDefaults) {
  wire::get_scanner_request request;
  ASSERT_TRUE(decode_args(bytes_of("0c 00 01 00 00"), request).ok());
  EXPECT_TRUE(request.validate_partition_hash);  // 02 §2: absent means true
  EXPECT_FALSE(request.return_expire_ts);
  EXPECT_EQ(request.batch_size, 0);
}

TEST(Codec, UnknownFieldsAreSkippedWhateverTheirType) {
  wire::scan_request request;
  std::string args = bytes_of(
      "0c 00 01"
      "0b 00 63 00 00 00 03 \"abc\""                              // string
      "0d 00 64 08 0b 00 00 00 01 00 00 00 07 00 00 00 01 \"x\""  // map<i32,string>
      "0f 00 65 0c 00 00 00 02 08 00 01 00 00 00 01 00 00"        // list of two structs
      "0e 00 66 06 00 00 00 02 00 01 00 02"                       // set<i16>
      "04 00 67 00 00 00 00 00 00 00 00"                          // double
      "02 00 68 01"                                               // bool
      "0a 00 01 00 00 00 00 00 00 00 09"                          // context_id
      "00"
      "08 00 02 00 00 00 05"  // a second argument
      "00");
  ASSERT_TRUE(decode_args(args, request).ok());
  EXPECT_EQ(request.context_id, 9);
}

TEST(Codec, UnknownNamesAndNumbersAreTolerated) {
  wire::query_cfg_response response;
  ASSERT_TRUE(
      decode_result(bytes_of("0c 00 00 0c 00 01 00 00 00 07 \"ERR_FOO\" 00 00"), response).ok());
  EXPECT_EQ(response.err.code, Errc::kUnknown);
  wire::app_info app;
  ASSERT_TRUE(decode_result(bytes_of("0c 00 00 08 00 01 7f ff ff ff 00 00"), app).ok());
  EXPECT_EQ(static_cast<int>(app.status), 0x7fffffff);
}

TEST(Codec, AGroupAddressIsMalformed) {  // 01 §7.1
  wire::partition_configuration config;
  auto status = decode_result(bytes_of("0c 00 00 0c 00 04 0a 00 00 01 87 f1 00 02 00 00"), config);
  EXPECT_EQ(status.code(), Errc::kInvalidData);
  EXPECT_NE(status.message().find("rpc_address"), std::string::npos) << status.message();
  status = decode_result(bytes_of("0c 00 00 0c 00 09 00 00 00 01 \"a\" 87 f1 02 00 00"), config);
  EXPECT_EQ(status.code(), Errc::kInvalidData);
}

TEST(Codec, EveryCutOfAMessageIsRefused) {
  auto config = example_configuration();
  config.__set_hp_secondaries({wire::host_port(node("10.0.0.2:34801"))});
  std::string whole = encode_result(config);
  for (size_t n = 0; n < whole.size(); ++n) {
    wire::partition_configuration back;
    EXPECT_EQ(decode_result(std::string_view(whole).substr(0, n), back).code(), Errc::kInvalidData)
        << n;
  }
}

TEST(Codec, LengthsAreCheckedBeforeTheyAreUsed) {
  wire::multi_get_request request;
  // A list that claims 2^31 - 1 elements, of blobs or of bytes; a string of 4 GiB.
  EXPECT_FALSE(decode_args(bytes_of("0c 00 01 0f 00 02 0c 7f ff ff ff 00 00"), request).ok());
  EXPECT_FALSE(decode_args(bytes_of("0c 00 01 0f 00 02 03 ff ff ff ff 00 00"), request).ok());
  EXPECT_FALSE(decode_args(bytes_of("0c 00 01 0c 00 01 ff ff ff ff 00 00"), request).ok());
  wire::app_info app;
  EXPECT_FALSE(decode_result(bytes_of("0c 00 00 0d 00 06 0b 0b 7f ff ff ff 00 00"), app).ok());
  // Many tiny elements: the frame would pay for a thousandth of the memory.
  std::string args =
      bytes_of("0c 00 01 0f 00 02 02 00 01 00 00") + std::string(65536, '\0') + bytes_of("00 00");
  EXPECT_FALSE(decode_args(args, request).ok());
}

TEST(Codec, DepthIsBounded) {
  std::string args;
  for (int i = 0; i < 100000; ++i) args += bytes_of("0c 00 63");
  wire::scan_request request;
  EXPECT_EQ(decode_args(args, request).code(), Errc::kInvalidData);
  args = bytes_of("0c 00 01 0f 00 63");
  for (int i = 0; i < 100000; ++i) args += bytes_of("0f 00 00 00 01");
  EXPECT_EQ(decode_args(args, request).code(), Errc::kInvalidData);
}

TEST(Codec, TheWrongTypeIsRefused) {
  wire::scan_request request;
  EXPECT_EQ(decode_args(bytes_of("08 00 01 00 00 00 01 00"), request).code(), Errc::kInvalidData);
  EXPECT_EQ(decode_args(bytes_of("00"), request).code(), Errc::kInvalidData);
  EXPECT_EQ(decode_args("", request).code(), Errc::kInvalidData);
  // A result under another id than 0 is no result.
  EXPECT_EQ(decode_result(bytes_of("0c 00 01 00 00"), request).code(), Errc::kInvalidData);
}

TEST(Codec, DuplicateEntriesKeepTheirOptionalFields) {
  wire::duplicate_entry entry;
  entry.__set_timestamp(77);
  entry.__set_task_code(wire::task_code("RPC_RRDB_RRDB_PUT"));
  std::string raw = "raw";
  entry.__set_raw_message(wire::blob(raw));
  entry.__set_cluster_id(1);
  wire::duplicate_request request;
  request.entries = {entry};
  std::string encoded = encode_args(request);
  wire::duplicate_request back;
  ASSERT_TRUE(decode_args(encoded, back).ok());
  ASSERT_EQ(back.entries.size(), 1u);
  EXPECT_EQ(back.entries[0].task_code.name, "RPC_RRDB_RRDB_PUT");
  EXPECT_EQ(back.entries[0].raw_message.view, "raw");
  EXPECT_FALSE(back.entries[0].__isset.verify_timetag);
}

}  // namespace
}  // namespace markab::rpc
