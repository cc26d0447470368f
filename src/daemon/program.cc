#include "daemon/program.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <future>

#include "base/log.h"
#include "io/file.h"
#include "rpc/version.h"
#include "security/service.h"

namespace markab::daemon {

Arguments parse_arguments(int argc, char** argv, const char* program, const char* description) {
  Arguments out;
  bool version = false;
  CLI::App app(description, program);
  app.add_option("--config", out.config_file, "Configuration file (INI)")->check(CLI::ExistingFile);
  app.add_option("--set", out.overrides,
                 "Set one key, as in replication.log_sync=none; may be repeated")
      ->type_name("SECTION.KEY=VALUE");
  app.add_flag("--check-config", out.check_only, "Check the configuration and end");
  app.add_flag("--version", version, "Print the version and end");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    std::exit(app.exit(e) == 0 ? 0 : 1);
  }
  if (version) {
    std::printf("%s %s\n", program, rpc::kVersion);
    std::exit(0);
  }
  return out;
}

void refuse_to_start(const char* program, const Status& why) {
  std::fprintf(stderr, "%s: %s\n", program,
               why.message().empty() ? why.to_string().c_str() : why.message().c_str());
  log::flush();
  // Threads may run already; nothing of theirs is worth waiting for.
  std::_Exit(1);
}

StopSignal::StopSignal() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  signal(SIGPIPE, SIG_IGN);
}

const char* StopSignal::wait() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  int got = 0;
  while (sigwait(&set, &got) != 0) {
  }
  return got == SIGTERM ? "SIGTERM" : "SIGINT";
}

Result<HostPort> own_address(const Config& config) {
  auto self = HostPort::parse(fmt::format("{}:{}", config.get_string("network", "address"),
                                          config.get_int("network", "port")));
  if (!self) return self.error().with_context("[network] address, port");
  return self;
}

rpc::ServerOptions listen_options(const Config& config, HostPort self) {
  rpc::ServerOptions out;
  out.listen = self;
  out.max_frame_bytes = static_cast<size_t>(config.get_int("network", "max_frame_bytes"));
  out.max_connections_per_ip =
      static_cast<size_t>(config.get_int("network", "conn_threshold_per_ip"));
  out.http = config.get_bool("http", "enable_http_server");
  out.host_port_always = config.get_list("markab", "host_port_always");
  out.host_port_never = config.get_list("markab", "host_port_never");
  return out;
}

Status start_log(const Config& config) {
  log::Options options;
  options.file = config.get_string("core", "log_file");
  options.audit_file = config.get_string("security", "audit_file");
  options.max_audit_files = static_cast<size_t>(config.get_int("security", "audit_files"));
  options.level = *log::parse_level(config.get_string("core", "logging_start_level"));
  return log::init(options);
}

Status prepare_directory(const std::string& path, const char* key) {
  auto s = io::real_file_system().create_directories(path);
  if (s.ok()) return s;
  return {s.code(),
          fmt::format("{}; make it writable for this user or change {}", s.message(), key)};
}

security::SecurityOptions security_or_refuse(const Config& config, const char* program) {
  auto options = security::read_security_options(config);
  if (!options) refuse_to_start(program, options.error());
  security::prepare_process(*options);  // Kerberos libraries look there when files are checked
  auto problems = security::problems_of(*options);
  if (problems.empty()) return std::move(*options);
  for (const auto& problem : problems) std::fprintf(stderr, "%s: %s\n", program, problem.c_str());
  log::flush();
  std::_Exit(1);
}

void wait_for(io::RealRuntime& runtime, const Function<void(Task)>& begin) {
  std::promise<void> finished;
  runtime.shard(0).post([&] { begin([&] { finished.set_value(); }); });
  finished.get_future().wait();
}

Result<std::shared_ptr<void>> lock_directory(const std::string& path) {
  auto file = path + "/LOCK";
  int fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) {
    return Status(Errc::kFileOperationFailed,
                  fmt::format("{} cannot be opened: {}; make the directory writable for this user",
                              file, std::strerror(errno)));
  }
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    ::close(fd);
    return Status(
        Errc::kServiceAlreadyRunning,
        fmt::format(
            "the directory {} is in use by another daemon; stop it or give this one its own",
            path));
  }
  return std::shared_ptr<void>(nullptr, [fd](void*) { ::close(fd); });
}

std::string boot_id() {
  std::ifstream in("/proc/sys/kernel/random/boot_id");
  std::string id;
  in >> id;
  return id;
}

void notify_ready() { sd_notify(0, "READY=1"); }
void notify_stopping() { sd_notify(0, "STOPPING=1"); }

Result<std::vector<HostPort>> parse_nodes(const Config& config, const char* section,
                                          const char* name) {
  std::vector<HostPort> out;
  for (const auto& text : config.get_list(section, name)) {
    auto node = HostPort::parse(text);
    if (!node) return node.error().with_context(fmt::format("[{}] {}", section, name));
    out.push_back(*node);
  }
  if (out.empty()) {
    return Status(Errc::kInvalidParameters,
                  fmt::format("[{}] {} is empty; list the meta servers, as in 127.0.0.1:34601",
                              section, name));
  }
  return out;
}

}  // namespace markab::daemon
