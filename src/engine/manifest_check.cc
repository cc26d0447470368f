#include "engine/manifest_check.h"

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/escape.h"

namespace markab::engine {

namespace {

// RocksDB's log format: blocks of 32 KiB; a record is u32 checksum (CRC-32C of type and payload,
// masked), u16 length, u8 type, payload, and lies within one block; what is too short for a header
// at a block's end is skipped.
constexpr size_t kBlock = 32768;
constexpr size_t kHeader = 7;
constexpr uint8_t kFirstType = 1;
constexpr uint8_t kLastType = 4;
constexpr size_t kLongestCurrent = 64;
// A MANIFEST is begun anew at 4 MiB (rocks_options.cc); one edit may carry it beyond that.
constexpr size_t kLongestManifest = 256u << 20;

uint32_t masked(uint32_t crc) { return ((crc >> 15) | (crc << 17)) + 0xa282ead8u; }

// The bytes of the whole record at `at`, 0 when there is none.
size_t record_at(std::string_view bytes, size_t at) {
  size_t room = std::min(kBlock - at % kBlock, bytes.size() - at);
  if (room < kHeader) return 0;
  size_t length = load_le<uint16_t>(bytes.data() + at + 4);
  auto type = static_cast<uint8_t>(bytes[at + 6]);
  if (type < kFirstType || type > kLastType || kHeader + length > room) return 0;
  uint32_t crc = crc32c(bytes.substr(at + 6, 1 + length));
  return masked(crc) == load_le<uint32_t>(bytes.data() + at) ? kHeader + length : 0;
}

}  // namespace

Status check_manifest(io::FileSystem& files, const std::string& store_dir) {
  auto damaged = [](const std::string& file, size_t at, std::string_view what) {
    return Status(Errc::kRdbCorruption, fmt::format("{}: {} at offset {}", file, what, at));
  };
  const std::string current_path = store_dir + "/CURRENT";
  auto current = files.read_all(current_path, kLongestCurrent);
  if (!current) {
    return current.error().code() == Errc::kInvalidData
               ? damaged(current_path, 0, "this is not the name of a MANIFEST")
               : current.error();
  }
  constexpr std::string_view kPrefix = "MANIFEST-";
  std::string_view name = *current;
  bool well_formed = name.starts_with(kPrefix) && name.size() > kPrefix.size() + 1 &&
                     name.ends_with('\n') &&
                     name.find_first_not_of("0123456789", kPrefix.size()) == name.size() - 1;
  if (!well_formed) {
    return damaged(current_path, 0,
                   fmt::format("\"{}\" is not the name of a MANIFEST", escape_cut(name)));
  }
  const std::string path = store_dir + "/" + std::string(name.substr(0, name.size() - 1));
  if (!files.exists(path)) {
    return Status(Errc::kRdbCorruption,
                  fmt::format("{} is missing, {} names it", path, current_path));
  }
  auto manifest = files.read_all(path, kLongestManifest);
  if (!manifest) return manifest.error();
  std::string_view bytes = *manifest;
  size_t at = 0;
  while (at < bytes.size()) {
    if (kBlock - at % kBlock < kHeader) {
      at += kBlock - at % kBlock;
      continue;
    }
    size_t size = record_at(bytes, at);
    if (size == 0) break;
    at += size;
  }
  for (size_t behind = at + 1; behind < bytes.size(); ++behind) {
    if (record_at(bytes, behind) != 0) return damaged(path, at, "a record is damaged");
  }
  if (at == 0) return damaged(path, 0, "there is no whole record");
  return Status::Ok();
}

}  // namespace markab::engine
