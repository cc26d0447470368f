#pragma once
// Integers in stored values and table environments (spec 02 §7, §13): the text that C's strtoll
// with base 0 accepts as a whole. Pure.

#include <cstdint>
#include <string_view>

namespace markab {

// Leading white space, a sign, decimal, 0x… or leading-0 octal ("010" is 8). False for anything
// behind the number, for no digits, and for what does not fit into 64 bits.
bool parse_integer(std::string_view text, int64_t& value);

}  // namespace markab
