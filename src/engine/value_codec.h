#pragma once
// Stored values (spec 02 §4): a header with the expiry time and, from version 1 on, the timetag,
// then the user's bytes. The version is a property of the store, not of the value. Pure functions
// on bytes; any thread.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace markab::engine {

inline constexpr uint32_t kDataVersionPlain = 0;    // u32 expire
inline constexpr uint32_t kDataVersionTimetag = 1;  // u32 expire, u64 timetag: what new stores use
inline constexpr uint32_t kDataVersionMax = kDataVersionTimetag;

constexpr size_t value_header_bytes(uint32_t version) {
  return version == kDataVersionPlain ? 4 : 12;
}
inline constexpr size_t kMaxValueHeaderBytes = 12;

struct ValueView {
  uint32_t expire_ts = 0;  // seconds since kExpiryEpoch; 0: never
  uint64_t timetag = 0;    // 0 in a version 0 store
  std::string_view data;
};

// False when the bytes are too few for the header: a damaged record.
inline bool decode_value(uint32_t version, std::string_view raw, ValueView& out) {
  if (raw.size() < value_header_bytes(version)) return false;
  out.expire_ts = load_be<uint32_t>(raw.data());
  out.timetag = version == kDataVersionPlain ? 0 : load_be<uint64_t>(raw.data() + 4);
  out.data = raw.substr(value_header_bytes(version));
  return true;
}
// Decodes a value of any version by its first byte: high bit set means version 2 and above, where
// the low bits are the version; else `version` rules. Only offline tools meet version 2.
bool decode_value_any(uint32_t version, std::string_view raw, ValueView& out);

// Writes the header to `out`, which has room for value_header_bytes(version); returns that.
inline size_t encode_value_header(uint32_t version, uint32_t expire_ts, uint64_t timetag,
                                  char* out) {
  store_be<uint32_t>(out, expire_ts);
  if (version != kDataVersionPlain) store_be<uint64_t>(out + 4, timetag);
  return value_header_bytes(version);
}
std::string encode_value(uint32_t version, uint32_t expire_ts, uint64_t timetag,
                         std::string_view data);

// 56 bits of microseconds, 7 bits of cluster, 1 bit that stored records always have 0.
constexpr uint64_t make_timetag(int64_t timestamp_us, uint8_t cluster_id, bool deleted = false) {
  return static_cast<uint64_t>(timestamp_us) << 8 | static_cast<uint64_t>(cluster_id & 0x7F) << 1 |
         (deleted ? 1 : 0);
}

// A record is dead iff it has an expiry time that is not after `now` (both in seconds since
// kExpiryEpoch).
constexpr bool is_dead(uint32_t expire_ts, uint32_t now) {
  return expire_ts > 0 && expire_ts <= now;
}

}  // namespace markab::engine
