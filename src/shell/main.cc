// markab-shell: options, where the lines come from, and the exit status.

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <fstream>
#include <iostream>
#include <thread>

#include "base/log.h"
#include "client/config_file.h"
#include "shell/doctor.h"
#include "shell/editor.h"
#include "shell/session.h"

namespace markab::shell {

namespace {

constexpr const char* kDefaultMeta = "127.0.0.1:34601";

struct ShellOptions {
  std::string metas;
  std::string config;
  bool json = false;
  std::string commands;
  std::string file;
  int64_t timeout_ms = 5000;
  std::string table;
};

std::vector<std::string> split_list(const std::string& text) {
  std::vector<std::string> parts;
  std::string part;
  std::istringstream in(text);
  while (std::getline(in, part, ',')) {
    if (!part.empty()) parts.push_back(part);
  }
  return parts;
}

// Runs what `next` gives until its end or `exit`; the status of the last command.
bool run_all(Session& session, const std::function<bool(std::string&)>& next) {
  session.more_lines = next;
  bool good = true;
  std::string line;
  while (!session.exiting && next(line)) {
    if (line.find_first_not_of(" \t\r\n") == std::string::npos) continue;
    good = !session.run(line);
  }
  return good;
}

bool run_commands(Session& session, const std::string& text) {
  auto commands = split_commands(text);
  size_t at = 0;
  return run_all(session, [&](std::string& line) {
    if (at == commands.size()) return false;
    line = commands[at++];
    return true;
  });
}

bool run_stream(Session& session, std::istream& in) {
  return run_all(session,
                 [&](std::string& line) { return static_cast<bool>(std::getline(in, line)); });
}

bool run_terminal(Session& session) {
  Editor editor(all_commands());
  session.line(
      fmt::format("Markab shell, meta servers {}. `help` lists the commands, `exit` leaves.",
                  fmt::join(session.metas, ",")));
  return run_all(session, [&](std::string& line) { return editor.read(">>> ", line); });
}

}  // namespace

int run(const ShellOptions& options) {
  ClientOptions client;
  client.meta_servers = split_list(options.metas);
  if (!options.config.empty()) {
    if (Status status = client::apply_config_file(options.config, client); !status.ok()) {
      std::cerr << "markab-shell: " << status.message() << '\n';
      return 1;
    }
  }
  if (client.meta_servers.empty()) client.meta_servers = {kDefaultMeta};
  client.operation_timeout = Timeout(options.timeout_ms);
  auto made = Client::create(client);
  if (!made) {
    std::cerr << "markab-shell: " << made.error().message << '\n';
    return 1;
  }
  Session session(*made, client.meta_servers, options.json, Timeout(options.timeout_ms), std::cout);
  session.clock = [] {
    return std::chrono::duration_cast<Timeout>(std::chrono::steady_clock::now().time_since_epoch());
  };
  session.pause = [](Timeout interval) { std::this_thread::sleep_for(interval); };
  if (!options.table.empty()) session.use(options.table);
  if (!options.commands.empty()) return run_commands(session, options.commands) ? 0 : 1;
  if (!options.file.empty()) {
    std::ifstream in(options.file);
    if (!in) {
      std::cerr << "markab-shell: " << options.file
                << " cannot be read; name a file of commands, one per line\n";
      return 1;
    }
    return run_stream(session, in) ? 0 : 1;
  }
  if (isatty(STDIN_FILENO) != 0) return run_terminal(session) ? 0 : 1;
  return run_stream(session, std::cin) ? 0 : 1;
}

}  // namespace markab::shell

int main(int argc, char** argv) {
  markab::shell::ShellOptions options;
  CLI::App app("The shell of Markab: administration and data, interactive or with -c.",
               "markab-shell");
  app.add_option("-m,--meta", options.metas,
                 "meta servers: host:port[,host:port...]; else those of --config, else " +
                     std::string(markab::shell::kDefaultMeta));
  app.add_option("--config", options.config,
                 "INI file with [security] (how to authenticate) and [meta_server] server_list")
      ->envname("MARKAB_SHELL_CONFIG")
      ->check(CLI::ExistingFile);
  std::string doctor_config;
  bool doctor_json = false;
  auto* doctor = app.add_subcommand(
      "doctor", "check a daemon's configuration and what it needs; a line and a remedy per check");
  doctor->add_option("--config", doctor_config, "the daemon's INI file")
      ->required()
      ->check(CLI::ExistingFile);
  doctor->add_flag("--json", doctor_json, "one line of JSON per check");
  app.add_flag("--json", options.json, "print one line of JSON per answer");
  app.add_option("-c,-e", options.commands,
                 "run these commands, separated by semicolons, and leave");
  app.add_option("-f,--file", options.file, "run the commands of this file and leave");
  app.add_option("--timeout", options.timeout_ms, "of one operation, in ms")
      ->check(CLI::Range(1, 3600 * 1000))
      ->capture_default_str();
  app.add_option("--table", options.table, "table to work on, as with `use`");
  CLI11_PARSE(app, argc, argv);
  markab::log::set_level(markab::log::Level::kError);
  if (doctor->parsed()) return markab::shell::run_doctor(doctor_config, doctor_json, std::cout);
  return markab::shell::run(options);
}
