#pragma once
// Integers in values (spec 02 §7): the text that C's strtoll with base 0 accepts as a whole. Pure.

#include <cstdint>
#include <string_view>

namespace markab::engine {

// Leading white space, a sign, decimal, 0x… or leading-0 octal ("010" is 8). False for anything
// behind the number, for no digits, and for what does not fit into 64 bits.
bool parse_integer(std::string_view text, int64_t& value);

}  // namespace markab::engine
