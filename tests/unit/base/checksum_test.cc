#include <gtest/gtest.h>

#include "base/crc32c.h"
#include "base/crc64.h"
#include "base/random.h"

namespace markab {
namespace {

TEST(Crc64, TheVectorsOfTheSpecification) {  // 01 §13
  std::string all;
  for (int i = 0; i < 256; ++i) all += static_cast<char>(i);
  EXPECT_EQ(crc64(""), 0u);
  EXPECT_EQ(crc64("a"), 0x8c2f8445b4cbfc3cu);
  EXPECT_EQ(crc64("123456789"), 0xae8b14860a799888u);
  EXPECT_EQ(crc64("hello"), 0x3377857006524257u);
  EXPECT_EQ(crc64("test_hash_key"), 0xf223c1e516502981u);
  EXPECT_EQ(crc64("hash_key_1"), 0xe720aacf8ddc4658u);
  EXPECT_EQ(crc64("user_0001"), 0xf8f4662a0063ca1au);
  EXPECT_EQ(crc64(std::string(1, '\0')), 0xd5da5047efec8728u);
  EXPECT_EQ(crc64(std::string(16, '\xff')), 0x0cefcfc4d49091bdu);
  EXPECT_EQ(crc64(all), 0xff71e21279d9966eu);
  EXPECT_EQ(crc64("world"), 0x34a6f418fb3758bfu);
}

TEST(Crc32c, KnownValueAndContinuation) {
  EXPECT_EQ(crc32c("123456789"), 0xe3069283u);  // 01 §6
  EXPECT_EQ(crc32c(""), 0u);
  Random random(7);
  std::string data;
  for (int i = 0; i < 1000; ++i) data += static_cast<char>(random.below(256));
  for (size_t cut : {size_t{0}, size_t{1}, size_t{7}, size_t{8}, size_t{500}, data.size()}) {
    EXPECT_EQ(
        crc32c(std::string_view(data).substr(cut), crc32c(std::string_view(data).substr(0, cut))),
        crc32c(data));
  }
}

}  // namespace
}  // namespace markab
