#pragma once
// Log lines. `MARKAB_INFO("opened {} in {} ms", gpid, ms)` formats only when the level is on. Lines
// go to standard error until log::init() names a file; then to the file (size-bound, rotated) and,
// from warnings on, to standard error too. Any thread.

#include <fmt/format.h>

#include <atomic>
#include <string>
#include <string_view>

#include "base/status.h"

namespace markab::log {

enum class Level { kDebug, kInfo, kWarning, kError, kOff };

struct Options {
  std::string file;                   // empty: standard error only
  size_t max_file_bytes = 64u << 20;  // then the file is rotated
  size_t max_files = 20;
  Level level = Level::kInfo;
  Level stderr_level = Level::kWarning;  // what also goes to standard error when a file is named
  // Where audit lines go besides; empty: nowhere. Bounded and rotated like the log.
  std::string audit_file;
  size_t max_audit_bytes = 64u << 20;
  size_t max_audit_files = 20;
};

// Errors: kFileOperationFailed (path and errno in the message).
Status init(const Options& options);
void set_level(Level level);
Level level();
// "debug", "info", "warning", "error"; also the field's LOG_LEVEL_INFO form. kInvalidParameters
// otherwise.
Result<Level> parse_level(std::string_view text);
// Writes out what is buffered.
void flush();
// Who did what, or was refused: "audit: " and the line in the log, and in the audit file whatever
// the level. Always one line: control characters, which may come from a peer, are written as \xNN.
void audit(Level level, std::string_view line);

namespace detail {
extern std::atomic<Level> current;
void write(Level level, std::string_view line);
}  // namespace detail

inline bool enabled(Level l) { return l >= detail::current.load(std::memory_order_relaxed); }

}  // namespace markab::log

#define MARKAB_LOG_AT(lvl, ...)                                      \
  do {                                                               \
    if (::markab::log::enabled(lvl))                                 \
      ::markab::log::detail::write(lvl, ::fmt::format(__VA_ARGS__)); \
  } while (false)
#define MARKAB_DEBUG(...) MARKAB_LOG_AT(::markab::log::Level::kDebug, __VA_ARGS__)
#define MARKAB_INFO(...) MARKAB_LOG_AT(::markab::log::Level::kInfo, __VA_ARGS__)
#define MARKAB_WARN(...) MARKAB_LOG_AT(::markab::log::Level::kWarning, __VA_ARGS__)
#define MARKAB_ERROR(...) MARKAB_LOG_AT(::markab::log::Level::kError, __VA_ARGS__)
#define MARKAB_AUDIT(lvl, ...) ::markab::log::audit(lvl, ::fmt::format(__VA_ARGS__))
