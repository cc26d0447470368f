#pragma once
// CRC-32C (Castagnoli; reflected polynomial 0x82F63B78, all-ones init and final xor): checksums of
// log records and of the native header (spec 01 §6). Uses the SSE4.2 instruction where the
// processor has it.

#include <cstdint>
#include <string_view>

namespace markab {

// Continues from `crc`, the value for the bytes before (0 for none): crc32c(b, crc32c(a)) ==
// crc32c(a + b).
uint32_t crc32c(std::string_view data, uint32_t crc = 0);

}  // namespace markab
