#pragma once
// The printable form of keys and values that shells and logs use (spec 07 §8.1): \n \r \t \" \'
// \\ and \xHH for what is not printable, upper-case hex.

#include <string>
#include <string_view>

#include "base/status.h"

namespace markab {

// With `all`, every byte becomes \xHH.
std::string escape(std::string_view raw, bool all = false);
// escape(), cut after `limit` raw bytes with a note of the length: for log lines, which must stay
// short.
std::string escape_cut(std::string_view raw, size_t limit = 64);
// Understands \xHH \n \r \t \b \a; any other \c is c. kInvalidParameters for a backslash at the end
// or bad hex.
Result<std::string> unescape(std::string_view text);

}  // namespace markab
