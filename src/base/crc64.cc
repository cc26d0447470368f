#include "base/crc64.h"

#include <array>

#include "base/bytes.h"

namespace markab {
namespace {

// Slicing by eight: eight table look-ups per eight bytes instead of a chain of eight dependent
// ones.
constexpr auto kTables = [] {
  std::array<std::array<uint64_t, 256>, 8> t{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint64_t c = i;
    for (int bit = 0; bit < 8; ++bit) c = c & 1 ? 0x9A6C9329AC4BC9B5ull ^ (c >> 1) : c >> 1;
    t[0][i] = c;
  }
  for (uint32_t i = 0; i < 256; ++i) {
    for (size_t k = 1; k < 8; ++k) t[k][i] = t[0][t[k - 1][i] & 255] ^ (t[k - 1][i] >> 8);
  }
  return t;
}();

}  // namespace

uint64_t crc64(std::string_view data) {
  uint64_t c = ~0ull;
  const char* p = data.data();
  size_t n = data.size();
  for (; n >= 8; p += 8, n -= 8) {
    uint64_t x = c ^ load_le<uint64_t>(p);
    c = kTables[7][x & 255] ^ kTables[6][x >> 8 & 255] ^ kTables[5][x >> 16 & 255] ^
        kTables[4][x >> 24 & 255] ^ kTables[3][x >> 32 & 255] ^ kTables[2][x >> 40 & 255] ^
        kTables[1][x >> 48 & 255] ^ kTables[0][x >> 56];
  }
  for (; n > 0; ++p, --n) c = kTables[0][(c ^ static_cast<uint8_t>(*p)) & 255] ^ (c >> 8);
  return ~c;
}

}  // namespace markab
