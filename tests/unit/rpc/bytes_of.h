#pragma once
// Hex as the specification prints it, to bytes and back.

#include <fmt/format.h>

#include <string>
#include <string_view>

namespace markab::rpc {

// Spaces and line ends are ignored; "text" between quotes stands for itself.
inline std::string bytes_of(std::string_view hex) {
  std::string out;
  int high = -1;
  bool quoted = false;
  for (char c : hex) {
    if (c == '"') {
      quoted = !quoted;
      continue;
    }
    if (quoted) {
      out.push_back(c);
      continue;
    }
    int digit = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;
    if (digit < 0) continue;
    if (high < 0) {
      high = digit;
    } else {
      out.push_back(static_cast<char>(high << 4 | digit));
      high = -1;
    }
  }
  return out;
}

inline std::string hex_of(std::string_view bytes) {
  std::string out;
  for (unsigned char c : bytes) out += fmt::format("{:02x}", c);
  return out;
}

}  // namespace markab::rpc
