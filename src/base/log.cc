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
// Set at start, before there are threads.
std::shared_ptr<spdlog::logger>& audit_logger() {
  static auto* instance = new std::shared_ptr<spdlog::logger>;
  return *instance;
}

std::string on_one_line(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (char c : text) {
    auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out;
}

Status open_audit(const Options& options) {
  audit_logger().reset();
  if (options.audit_file.empty()) return {};
  try {
    auto file = std::make_shared<spdlog::sinks::rotating_file_sink_mt>(
        options.audit_file, options.max_audit_bytes, options.max_audit_files);
    auto made = std::make_shared<spdlog::logger>("audit", file);
    made->set_level(spdlog::level::debug);
    made->set_pattern("%Y-%m-%d %H:%M:%S.%e %v");
    made->flush_on(spdlog::level::debug);
    audit_logger() = std::move(made);
  } catch (const spdlog::spdlog_ex& e) {
    return {Errc::kFileOperationFailed,
            fmt::format("the audit file {} cannot be opened: {}", options.audit_file, e.what())};
  }
  return {};
}

}  // namespace

namespace detail {
void write(Level level, std::string_view line) {
  if (the_sink != nullptr) return the_sink(level, line);
  logger()->log(to_spdlog(level), line);
}
}  // namespace detail

Status init(const Options& options) {
  set_level(options.level);
  if (Status s = open_audit(options); !s.ok()) return s;
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

void audit(Level level, std::string_view line) {
  std::string text = on_one_line(line);
  if (enabled(level)) detail::write(level, "audit: " + text);
  if (audit_logger() != nullptr) audit_logger()->log(to_spdlog(level), text);
}

void set_sink(Sink sink) { the_sink = sink; }

}  // namespace markab::log
