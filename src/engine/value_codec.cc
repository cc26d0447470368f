#include "engine/value_codec.h"

namespace markab::engine {

bool decode_value_any(uint32_t version, std::string_view raw, ValueView& out) {
  if (raw.empty() || (static_cast<uint8_t>(raw[0]) & 0x80) == 0) {
    return decode_value(version, raw, out);
  }
  if ((static_cast<uint8_t>(raw[0]) & 0x7F) != 2) return false;
  return decode_value(kDataVersionTimetag, raw.substr(1), out);
}

std::string encode_value(uint32_t version, uint32_t expire_ts, uint64_t timetag,
                         std::string_view data) {
  char header[kMaxValueHeaderBytes];
  size_t n = encode_value_header(version, expire_ts, timetag, header);
  std::string out;
  out.reserve(n + data.size());
  out.append(header, n);
  out.append(data);
  return out;
}

}  // namespace markab::engine
