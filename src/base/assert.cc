#include "base/assert.h"

#include <cstdio>
#include <cstdlib>

#include "base/log.h"

namespace markab {

void assertion_failed(std::string_view condition, const char* file, int line,
                      const std::string& detail) {
  auto text = fmt::format("{}:{}: assertion failed: {}: {}\n", file, line, condition, detail);
  std::fputs(text.c_str(), stderr);
  std::fflush(stderr);
  log::flush();
  std::abort();
}

}  // namespace markab
