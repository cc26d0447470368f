#pragma once
// Assertions for bugs, always on. A failed assertion prints the condition, the sentence, the values
// and a stack, and aborts. What comes from a network or a disk is never asserted: it is a Status.

#include <fmt/format.h>

#include <string>
#include <string_view>

namespace markab {

[[noreturn]] void assertion_failed(std::string_view condition, const char* file, int line,
                                   const std::string& detail);

namespace assert_detail {
template <typename... Values>
[[noreturn, gnu::cold, gnu::noinline]] void fail(std::string_view condition, const char* file,
                                                 int line, std::string_view sentence,
                                                 const Values&... values) {
  std::string detail(sentence);
  ((detail += fmt::format(" [{}]", values)), ...);
  assertion_failed(condition, file, line, detail);
}
}  // namespace assert_detail
}  // namespace markab

#define MARKAB_ASSERT(condition, ...)                                             \
  do {                                                                            \
    if (!(condition)) [[unlikely]]                                                \
      ::markab::assert_detail::fail(#condition, __FILE__, __LINE__, __VA_ARGS__); \
  } while (false)
