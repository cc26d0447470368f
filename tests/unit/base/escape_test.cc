#include "base/escape.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace markab {
namespace {

TEST(Escape, PrintsWhatShellsPrint) {  // 07 §8.1
  EXPECT_EQ(escape("plain text"), "plain text");
  EXPECT_EQ(escape("\n\r\t\"'\\"), "\\n\\r\\t\\\"\\'\\\\");
  EXPECT_EQ(escape(std::string("\x00\x1f\x7f\xff", 4)), "\\x00\\x1F\\x7F\\xFF");
  EXPECT_EQ(escape("aB", true), "\\x61\\x42");
}

TEST(Escape, RoundTrips) {
  Random random(3);
  for (int i = 0; i < 2000; ++i) {
    std::string raw;
    for (auto n = random.below(40); n > 0; --n) raw += static_cast<char>(random.below(256));
    EXPECT_EQ(*unescape(escape(raw)), raw);
    EXPECT_EQ(*unescape(escape(raw, true)), raw);
  }
}

TEST(Escape, UnescapesTheRest) {
  EXPECT_EQ(*unescape("\\a\\b\\q"), "\a\bq");
  EXPECT_EQ(*unescape("\\x4a\\x4A"), "JJ");
}

TEST(Escape, RefusesWhatIsCutShort) {
  for (const auto* bad : {"a\\", "\\x", "\\x1", "\\xg0", "\\x0g"})
    EXPECT_FALSE(unescape(bad)) << bad;
}

TEST(Escape, CutsLongKeysForLogs) {
  EXPECT_EQ(escape_cut("abc", 3), "abc");
  EXPECT_EQ(escape_cut("abcd", 3), "abc...(4 bytes)");
}

}  // namespace
}  // namespace markab
