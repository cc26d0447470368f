#pragma once
// The filters of scan-like commands: `-s prefix -y PATTERN` and so on. Pure.

#include <string>
#include <string_view>

#include "markab/client.h"
#include "shell/words.h"

namespace markab::shell {

// Reads the filter's type from option `type` and its pattern from option `pattern`, which is
// un-escaped once more.
Error read_filter(const Arguments& arguments, char type, char pattern, Filter& filter,
                  std::string& text);
bool passes(Filter filter, std::string_view pattern, std::string_view value);

}  // namespace markab::shell
