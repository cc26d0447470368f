#pragma once
// CRC-64/NVME (reflected polynomial 0x9A6C9329AC4BC9B5, all-ones init and final xor): the hash of
// hash keys that routes every request (spec 01 §13).

#include <cstdint>
#include <string_view>

namespace markab {

uint64_t crc64(std::string_view data);

}  // namespace markab
