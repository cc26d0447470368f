#include "base/ids.h"

#include <gtest/gtest.h>

namespace markab {
namespace {

TEST(Gpid, PacksAsTheWireDoes) {  // 01 §7: (partition_index << 32) + app_id
  Gpid gpid{2, 7};
  EXPECT_EQ(gpid.packed(), 0x0000000700000002u);
  EXPECT_EQ(Gpid::unpack(gpid.packed()), gpid);
  EXPECT_EQ(gpid.to_string(), "2.7");
}

TEST(Gpid, ParsesOnlyItself) {
  EXPECT_EQ(*Gpid::parse("12.3"), (Gpid{12, 3}));
  for (const auto* bad :
       {"", ".", "1", "1.", ".1", "1.2.3", "a.b", "1.2 ", "-1.2", "1.-2", "99999999999.1"}) {
    EXPECT_FALSE(Gpid::parse(bad)) << bad;
  }
}

TEST(HostPort, ParsesDottedAddresses) {
  auto node = *HostPort::parse("10.0.0.1:34801");
  EXPECT_EQ(node.ipv4, 0x0A000001u);
  EXPECT_EQ(node.port, 34801);
  EXPECT_EQ(node.to_string(), "10.0.0.1:34801");
  EXPECT_EQ(HostPort().to_string(), "-");
  for (const auto* bad : {"", "10.0.0.1", "10.0.0:1", "10.0.0.1.2:1", "256.0.0.1:1",
                          "10.0.0.1:65536", "10.0.0.1:", "host:1", "10.0.0.1:1x", " 10.0.0.1:1"}) {
    EXPECT_FALSE(HostPort::parse(bad)) << bad;
  }
}

TEST(Expiry, CountsFrom2016) { EXPECT_EQ(expiry_now(1451706400ll * 1000000 + 5), 100000u); }

}  // namespace
}  // namespace markab
