// Encodings of keys, values and effects: the worked examples of spec 02 §17, and round trips.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <cstdlib>
#include <string>

#include "base/crc64.h"
#include "base/random.h"
#include "engine/effects.h"
#include "engine/hashkey_transform.h"
#include "base/integer_text.h"
#include "engine/key_codec.h"
#include "engine/value_codec.h"

namespace markab::engine {
namespace {

std::string hex(std::string_view bytes) {
  std::string out;
  for (char c : bytes) out += fmt::format("{:02x}", static_cast<uint8_t>(c));
  return out;
}

TEST(KeyCodec, WorkedEncodings) {
  EXPECT_EQ(hex(make_key("hash", "sort")), "000468617368736f7274");
  EXPECT_EQ(hex(make_key("", "sort")), "0000736f7274");
  EXPECT_EQ(hex(key_after("hash")), "000468617369");
  EXPECT_EQ(hex(key_after("")), "0001");
  EXPECT_EQ(hex(key_after("a\xff")), "000262");
  EXPECT_EQ(hex(key_after("\xff\xff\xff")), "0004");
  EXPECT_EQ(hex(key_after("hash", "so\xff")),
            "000468617368"
            "7370");
}

TEST(KeyCodec, WorkedHashes) {
  EXPECT_EQ(crc64("hash"), 0x5fec6e448a0b067cull);
  EXPECT_EQ(crc64("hello"), 0x3377857006524257ull);
  EXPECT_EQ(crc64("a"), 0x8c2f8445b4cbfc3cull);
  EXPECT_EQ(row_hash(KeyParts{"hello", "world"}), crc64("hello"));
  EXPECT_EQ(row_hash(KeyParts{"", "world"}), 0x34a6f418fb3758bfull);
}

TEST(KeyCodec, MalformedKeysAreRefused) {
  KeyParts parts;
  EXPECT_FALSE(split_key("", parts));
  EXPECT_FALSE(split_key(std::string_view("\0", 1), parts));
  EXPECT_FALSE(split_key(std::string_view("\0\2h", 3), parts));
  EXPECT_FALSE(split_key("\xff\xff" + std::string(65535, 'h'), parts));
  ASSERT_TRUE(split_key(std::string_view("\0\0", 2), parts));
  EXPECT_TRUE(parts.hash_key.empty() && parts.sort_key.empty());
  std::string longest(kMaxHashKeyBytes, 'h');
  std::string raw = make_key(longest, "s");
  ASSERT_TRUE(split_key(raw, parts));
  EXPECT_EQ(parts.hash_key, longest);
  EXPECT_EQ(parts.sort_key, "s");
}

TEST(KeyCodec, NothingIsAboveAllFF) {
  std::string key = "\xff\xff";
  advance_past_prefix(key);
  EXPECT_TRUE(key.empty());
}

TEST(HashkeyTransform, TakesLengthAndHashKey) {
  HashkeyTransform transform;
  std::string key = make_key("hash", "sort");
  EXPECT_EQ(transform.Transform(key).ToString(), make_key("hash", ""));
  EXPECT_FALSE(transform.InDomain(rocksdb::Slice("\0", 1)));
  // Shorter than declared: only imported data or a seek can hold such.
  rocksdb::Slice cut("\0\4ha", 4);
  ASSERT_TRUE(transform.InDomain(cut));
  EXPECT_EQ(transform.Transform(cut), cut);
}

TEST(ValueCodec, WorkedEncodings) {
  constexpr uint64_t timetag = make_timetag(1700000000123456, 1);
  EXPECT_EQ(timetag, 0x060a241820224002ull);
  EXPECT_EQ(make_timetag(1700000000123456, 1, true), 0x060a241820224003ull);
  EXPECT_EQ(hex(encode_value(0, 100000, timetag, "value")), "000186a076616c7565");
  EXPECT_EQ(hex(encode_value(1, 100000, timetag, "value")), "000186a0060a24182022400276616c7565");
  EXPECT_EQ(hex(encode_value(1, 0, make_timetag(1700000000123456, 0), "42")),
            "00000000060a2418202240003432");
}

TEST(ValueCodec, DecodesEveryVersion) {
  ValueView value;
  std::string v1 = encode_value(1, 100000, 77, "value");
  ASSERT_TRUE(decode_value(1, v1, value));
  EXPECT_EQ(value.expire_ts, 100000u);
  EXPECT_EQ(value.timetag, 77u);
  EXPECT_EQ(value.data, "value");
  std::string v0 = encode_value(0, 100000, 77, "value");
  ASSERT_TRUE(decode_value(0, v0, value));
  EXPECT_EQ(value.timetag, 0u);
  EXPECT_EQ(value.data, "value");
  std::string v2 = "\x82" + v1;
  ASSERT_TRUE(decode_value_any(1, v2, value));
  EXPECT_EQ(value.timetag, 77u);
  EXPECT_EQ(value.data, "value");
  ASSERT_TRUE(decode_value_any(0, v0, value));
  EXPECT_EQ(value.data, "value");
  EXPECT_FALSE(decode_value_any(1, "\x83" + v1, value));
  EXPECT_FALSE(decode_value(1, v1.substr(0, 11), value));
  EXPECT_FALSE(decode_value(0, "abc", value));
}

TEST(ValueCodec, DeadFromTheSecondOfItsExpiry) {
  EXPECT_FALSE(is_dead(0, 1000));
  EXPECT_FALSE(is_dead(1001, 1000));
  EXPECT_TRUE(is_dead(1000, 1000));
  EXPECT_TRUE(is_dead(1, 1000));
}

// C's own strtoll is the definition (spec 02 §7).
bool by_strtoll(const std::string& text, int64_t& value) {
  if (text.empty()) return false;
  char* end = nullptr;
  errno = 0;
  value = strtoll(text.c_str(), &end, 0);
  return errno == 0 && end == text.c_str() + text.size();
}

void expect_like_strtoll(const std::string& text) {
  int64_t expected = 0;
  int64_t got = 0;
  bool valid = by_strtoll(text, expected);
  ASSERT_EQ(parse_integer(text, got), valid) << '"' << text << '"';
  if (!valid) return;
  ASSERT_EQ(got, expected) << '"' << text << '"';
}

TEST(IntegerText, AgreesWithStrtoll) {
  const char* texts[] = {"",
                         "0",
                         "42",
                         "-42",
                         "+42",
                         "010",
                         "08",
                         "0x",
                         "0x1F",
                         "0XaB",
                         "-0x10",
                         " \t7",
                         "7 ",
                         "1.5",
                         "--1",
                         "+-1",
                         "- 1",
                         "0x-1",
                         "00",
                         "-0",
                         "+",
                         "-",
                         "0x0",
                         "9223372036854775807",
                         "9223372036854775808",
                         "-9223372036854775808",
                         "-9223372036854775809",
                         "0x7fffffffffffffff",
                         "0x8000000000000000",
                         "0777777777777777777777",
                         "01777777777777777777777"};
  for (const char* text : texts) expect_like_strtoll(text);
  Random random(7);
  const std::string letters = "0123456789xXaAfF+- \t\n.";
  for (int i = 0; i < 200000; ++i) {
    std::string text;
    for (uint64_t n = random.below(7); n > 0; --n) text += letters[random.below(letters.size())];
    expect_like_strtoll(text);
  }
}

TEST(IntegerText, RefusesNul) {
  int64_t value = 0;
  EXPECT_FALSE(parse_integer(std::string_view("1\0", 2), value));
}

TEST(Effects, ReaderSeesWhatWriterWrote) {
  std::string bytes;
  EffectsWriter::start(bytes);
  std::string long_value(300, 'v');
  EffectsWriter::put(bytes, "key", "head", long_value);
  EffectsWriter::remove(bytes, "gone");
  EffectsWriter::put(bytes, "h", "s", "", "");
  EffectsReader reader(bytes);
  EXPECT_EQ(reader.count(), 3u);
  Effect effect;
  ASSERT_TRUE(reader.next(effect));
  EXPECT_EQ(effect.key, "key");
  EXPECT_EQ(effect.value, "head" + long_value);
  ASSERT_TRUE(reader.next(effect));
  EXPECT_TRUE(effect.is_delete);
  EXPECT_EQ(effect.key, "gone");
  ASSERT_TRUE(reader.next(effect));
  EXPECT_EQ(effect.key, make_key("h", "s"));
  EXPECT_TRUE(effect.value.empty());
  EXPECT_FALSE(reader.next(effect));
  EXPECT_TRUE(reader.ok());
}

TEST(Effects, NoCutAndNoForeignRecordPasses) {
  std::string bytes;
  EffectsWriter::start(bytes);
  EffectsWriter::put(bytes, "key", "head", "value");
  EffectsWriter::remove(bytes, "gone");
  EXPECT_TRUE(valid_effects(bytes));
  EXPECT_TRUE(valid_effects(""));
  for (size_t n = 1; n < bytes.size(); ++n) {
    EXPECT_FALSE(valid_effects(std::string_view(bytes).substr(0, n))) << n;
  }
  std::string other_family = bytes;
  EffectsWriter::put_in_family(other_family, 1, "k", "v");
  EXPECT_FALSE(valid_effects(other_family));
  // Whatever the bytes are, the reader stays within them (the sanitizers watch).
  Random random(3);
  for (int i = 0; i < 100000; ++i) {
    std::string broken = bytes;
    broken[random.below(broken.size())] = static_cast<char>(random.next());
    broken[random.below(broken.size())] = static_cast<char>(random.next());
    EffectsReader reader(broken);
    Effect effect;
    while (reader.next(effect)) {
      ASSERT_GE(effect.key.data(), broken.data());
      ASSERT_LE(effect.key.data() + effect.key.size(), broken.data() + broken.size());
    }
  }
}

}  // namespace
}  // namespace markab::engine
