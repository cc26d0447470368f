#include "base/log.h"

#include <spdlog/sinks/rotating_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "base/log_sink.h"

namespace markab::log {
namespace detail {
std::atomic<Level> current{Level::kInfo};
}  // namespace detail

namespace {

constexpr const char* kPattern = "%L %Y-%m-%d %H:%M:%S.%e %t %v";

spdlog::level::level_enum to_spdlog(Level level) {
  switch (level) {
    case Level::kDebug:
      return spdlog::level::debug;
    case Level::kInfo:
      return spdlog::level::info;
    case Level::kWarning:
      return spdlog::level::warn;
    case Level::kError:
      return spdlog::level::err;
    case Level::kOff:
      return spdlog::level::off;
  }
  return spdlog::level::info;
}

std::shared_ptr<spdlog::logger> make_stderr_logger() {
  auto logger =
      std::make_shared<spdlog::logger>("markab", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_level(spdlog::level::debug);
  logger->set_pattern(kPattern);
  return logger;
}

std::shared_ptr<spdlog::logger>& logger() {
  static auto* instance = new std::shared_ptr<spdlog::logger>(make_stderr_logger());
  return *instance;
}

Sink the_sink = nullptr;

}  // namespace

namespace detail {
void write(Level level, std::string_view line) {
  if (the_sink != nullptr) return the_sink(level, line);
  logger()->log(to_spdlog(level), line);
}
}  // namespace detail

Status init(const Options& options) {
  set_level(options.level);
  if (options.file.empty()) return {};
  try {
    auto file = std::make_shared<spdlog::sinks::rotating_file_sink_mt>(
        options.file, options.max_file_bytes, options.max_files);
    auto console = std::make_shared<spdlog::sinks::stderr_sink_mt>();
    console->set_level(to_spdlog(options.stderr_level));
    auto both = std::make_shared<spdlog::logger>("markab", spdlog::sinks_init_list{file, console});
    both->set_level(spdlog::level::debug);
    both->set_pattern(kPattern);
    both->flush_on(spdlog::level::info);
    logger() = std::move(both);
  } catch (const spdlog::spdlog_ex& e) {
    return {Errc::kFileOperationFailed,
            fmt::format("the log file {} cannot be opened: {}", options.file, e.what())};
  }
  return {};
}

void set_level(Level level) { detail::current.store(level, std::memory_order_relaxed); }
Level level() { return detail::current.load(std::memory_order_relaxed); }

Result<Level> parse_level(std::string_view text) {
  if (text == "debug" || text == "LOG_LEVEL_DEBUG") return Level::kDebug;
  if (text == "info" || text == "LOG_LEVEL_INFO") return Level::kInfo;
  if (text == "warning" || text == "LOG_LEVEL_WARNING") return Level::kWarning;
  if (text == "error" || text == "LOG_LEVEL_ERROR" || text == "LOG_LEVEL_FATAL")
    return Level::kError;
  return Status(
      Errc::kInvalidParameters,
      fmt::format("'{}' is not a log level; allowed are debug, info, warning, error", text));
}

void flush() { logger()->flush(); }

void set_sink(Sink sink) { the_sink = sink; }

}  // namespace markab::log
