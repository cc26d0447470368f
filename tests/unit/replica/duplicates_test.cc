// Messages of duplication as they come from another cluster (06 §5.2, §5.3).

#include "replica/duplicates.h"

#include <gtest/gtest.h>

#include "engine/key_codec.h"

namespace markab::replica {
namespace {

std::string from_hex(std::string_view text) {
  std::string out;
  std::string digits;
  for (char c : text) {
    if (c == ' ') continue;
    digits += c;
    if (digits.size() < 2) continue;
    out += static_cast<char>(std::stoi(digits, nullptr, 16));
    digits.clear();
  }
  return out;
}

// 06 §5.2: put hash "h", sort "s", value "v", no TTL, timestamp 1000, cluster 1.
const char kRawPut[] = "0c0001 0c0001 00000004 00016873 0c0002 00000001 76 080003 00000000 00 00";
const char kHead[] = "0c0000 0f0001 0c 00000001 0a0001 00000000000003e8 0c0002 00000011";
const char kName[] = "RPC_RRDB_RRDB_PUT";
const char kMiddle[] = "0c0003 0000001f";
const char kTail[] = "030004 01 00 00 00";

std::string recorded_request() {
  return from_hex(kHead) + kName + from_hex(kMiddle) + from_hex(kRawPut) + from_hex(kTail);
}

DuplicationPeers peers() {
  return duplication_peers({{"there", "1"}, {"here", "2"}}, "here").value();
}

const OwnsHash kEverything = [](uint64_t) { return true; };

TEST(DuplicatesTest, TheRequestOfTheSpecificationReads) {
  std::string body = recorded_request();
  ASSERT_EQ(body.size(), 91u);
  engine::DuplicateRequest request;
  Status status = decode_duplicate(body, peers(), kEverything, request);
  ASSERT_TRUE(status.ok()) << status.to_string();
  EXPECT_EQ(request.refusal, "");
  ASSERT_EQ(request.writes.size(), 1u);
  const auto& write = request.writes[0];
  EXPECT_EQ(write.timestamp_us, 1000);
  EXPECT_EQ(write.cluster_id, 1);
  EXPECT_TRUE(write.keeps_newer);
  const auto* put = std::get_if<wire::update_request>(&write.body);
  ASSERT_NE(put, nullptr);
  EXPECT_EQ(put->key.view, engine::make_key("h", "s"));
  EXPECT_EQ(put->value.view, "v");
}

TEST(DuplicatesTest, EveryTruncationIsInvalidData) {
  std::string body = recorded_request();
  for (size_t n = 0; n < body.size(); ++n) {
    engine::DuplicateRequest request;
    Status status =
        decode_duplicate(std::string_view(body).substr(0, n), peers(), kEverything, request);
    EXPECT_EQ(status.code(), Errc::kInvalidData) << n << " bytes";
  }
}

// Whatever a byte becomes: an answer that is allowed, never a crash, never a row with a bad key.
TEST(DuplicatesTest, EveryFlippedByteIsAnswered) {
  const std::string body = recorded_request();
  int refused = 0;
  for (size_t at = 0; at < body.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = body;
      damaged[at] = static_cast<char>(damaged[at] ^ (1 << bit));
      engine::DuplicateRequest request;
      Status status = decode_duplicate(damaged, peers(), kEverything, request);
      refused += !status.ok() || !request.refusal.empty();
      if (!status.ok()) {
        EXPECT_EQ(status.code(), Errc::kInvalidData);
        continue;
      }
      if (!request.refusal.empty()) continue;
      for (const auto& write : request.writes) {
        uint64_t hash = 0;
        EXPECT_TRUE(!engine::has_rows(write) || engine::row_hash(write, hash));
        EXPECT_GE(write.timestamp_us, 1);
        EXPECT_GE(write.cluster_id, 1);
      }
    }
  }
  EXPECT_GT(refused, 0);
}

TEST(DuplicatesTest, ARowOfAnotherPartitionRefusesAll) {
  engine::DuplicateRequest request;
  Status status = decode_duplicate(
      recorded_request(), peers(), [](uint64_t) { return false; }, request);
  EXPECT_EQ(status.code(), Errc::kParentPartitionMisused);
}

TEST(DuplicatesTest, StrangersAreTakenWhenTheOperatorSaysSo) {
  auto strict = duplication_peers({{"here", "2"}}, "here").value();
  engine::DuplicateRequest request;
  ASSERT_TRUE(decode_duplicate(recorded_request(), strict, kEverything, request).ok());
  EXPECT_NE(request.refusal.find("cluster id 1 is not in [duplication-group]"), std::string::npos)
      << request.refusal;
  strict.takes_strangers = true;
  ASSERT_TRUE(decode_duplicate(recorded_request(), strict, kEverything, request).ok());
  EXPECT_EQ(request.refusal, "");
}

TEST(DuplicatesTest, WhetherANewerRecordIsKept) {
  auto keeps = [](DuplicationPeers::KeepNewer rule) {
    auto p = peers();
    p.keep_newer = rule;
    engine::DuplicateRequest request;
    EXPECT_TRUE(decode_duplicate(recorded_request(), p, kEverything, request).ok());
    return request.writes.at(0).keeps_newer;
  };
  EXPECT_TRUE(keeps(DuplicationPeers::KeepNewer::kAlways));
  EXPECT_FALSE(keeps(DuplicationPeers::KeepNewer::kAsRequested));
  EXPECT_FALSE(keeps(DuplicationPeers::KeepNewer::kNever));
}

TEST(DuplicatesTest, IdsOfTheConfiguration) {
  auto good = duplication_peers({{"a", "1"}, {"b", "127"}}, "b");
  ASSERT_TRUE(good);
  EXPECT_EQ(good->own_id, 127);
  EXPECT_TRUE(good->known[1]);
  EXPECT_FALSE(good->known[2]);
  EXPECT_EQ(duplication_peers({{"a", "1"}}, "elsewhere")->own_id, 0);
  for (const char* id : {"0", "128", "-1", "x", ""}) {
    auto bad = duplication_peers({{"a", id}}, "a");
    ASSERT_FALSE(bad) << id;
    EXPECT_NE(bad.error().message().find("numbers of 1 to 127"), std::string::npos);
  }
  auto twice = duplication_peers({{"a", "3"}, {"b", "3"}}, "a");
  ASSERT_FALSE(twice);
  EXPECT_NE(twice.error().message().find("gives id 3 to both a and b"), std::string::npos);
}

}  // namespace
}  // namespace markab::replica
