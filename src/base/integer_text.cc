#include "base/integer_text.h"

#include <charconv>
#include <limits>

namespace markab {

namespace {

constexpr std::string_view kWhiteSpace(" \t\n\v\f\r");

bool is_hex_digit(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

// Takes the base's prefix off.
int base_of(std::string_view& digits) {
  if (digits.size() < 2 || digits[0] != '0') return 10;
  if (digits.size() > 2 && (digits[1] == 'x' || digits[1] == 'X') && is_hex_digit(digits[2])) {
    digits.remove_prefix(2);
    return 16;
  }
  digits.remove_prefix(1);
  return 8;
}

}  // namespace

bool parse_integer(std::string_view text, int64_t& value) {
  size_t first = text.find_first_not_of(kWhiteSpace);
  if (first == std::string_view::npos) return false;
  text.remove_prefix(first);
  bool negative = text[0] == '-';
  if (negative || text[0] == '+') text.remove_prefix(1);
  int base = base_of(text);
  uint64_t magnitude = 0;  // unsigned, so that no second sign is accepted
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), magnitude, base);
  if (error != std::errc() || end != text.data() + text.size()) return false;
  uint64_t most = static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) + (negative ? 1 : 0);
  if (magnitude > most) return false;
  value = static_cast<int64_t>(negative ? 0 - magnitude : magnitude);
  return true;
}

}  // namespace markab
