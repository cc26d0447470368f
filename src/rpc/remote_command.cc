#include "rpc/remote_command.h"

#include <boost/json.hpp>
#include <charconv>
#include <ctime>

#include "base/log.h"
#include "idl/command_types.h"
#include "rpc/codec.h"
#include "rpc/legacy_counters.h"
#include "rpc/metrics_text.h"
#include "rpc/task_code.h"
#include "rpc/version.h"

namespace markab::rpc {

namespace {

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

std::string local_time(int64_t unix_seconds) {
  auto seconds = static_cast<std::time_t>(unix_seconds);
  std::tm parts{};
  localtime_r(&seconds, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &parts);
  return text;
}

}  // namespace

std::string command_json(const std::map<std::string, std::string>& fields) {
  std::string out = "{\n";
  size_t left = fields.size();
  for (const auto& [key, value] : fields) {
    out += fmt::format("  {}: {}{}\n", boost::json::serialize(boost::json::string(key)),
                       boost::json::serialize(boost::json::string(value)), --left > 0 ? "," : "");
  }
  return out + "}";
}

void RemoteCommands::on(const std::string& names, std::string description, std::string usage,
                        Run run) {
  commands_.push_back(std::make_unique<Command>(
      Command{names, std::move(description), std::move(usage), std::move(run)}));
  auto* command = commands_.back().get();
  std::string_view rest = command->names;
  while (!rest.empty()) {
    auto bar = rest.find('|');
    auto [at, fresh] = by_name_.emplace(rest.substr(0, bar), command);
    MARKAB_ASSERT(fresh, "a remote command is registered twice", at->first);
    rest = bar == std::string_view::npos ? std::string_view() : rest.substr(bar + 1);
  }
}

void RemoteCommands::on_bool(const std::string& name, std::string description,
                             std::atomic<bool>& value) {
  on(name, std::move(description), "[true|false]",
     [name, &value](const Arguments& arguments, Answer answer) {
       if (arguments.empty())
         return answer(command_json({{"error", "ok"}, {name, value.load() ? "true" : "false"}}));
       auto word = lower(arguments[0]);
       if (arguments.size() != 1 || (word != "true" && word != "false")) {
         return answer(
             command_json({{"error", "ERR: invalid arguments, expected one of true, false"}}));
       }
       value.store(word == "true");
       answer(command_json({{"error", "ok"}, {"result", "OK"}}));
     });
}

void RemoteCommands::on_int(const std::string& name, std::string description,
                            std::atomic<int64_t>& value, int64_t min, int64_t max) {
  auto standard = value.load();
  on(name, std::move(description), fmt::format("[{}..{}|DEFAULT]", min, max),
     [name, &value, standard, min, max](const Arguments& arguments, Answer answer) {
       if (arguments.empty())
         return answer(command_json({{"error", "ok"}, {name, std::to_string(value.load())}}));
       if (arguments.size() == 1 && lower(arguments[0]) == "default") {
         value.store(standard);
         return answer(fmt::format("{{\n  \"error\": \"ok\",\n  {}: {},\n  \"result\": \"OK\"\n}}",
                                   boost::json::serialize(boost::json::string(name)), standard));
       }
       int64_t wanted = 0;
       const auto& text = arguments[0];
       auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), wanted);
       if (arguments.size() != 1 || error != std::errc() || end != text.data() + text.size() ||
           wanted < min || wanted > max) {
         return answer(command_json(
             {{"error", fmt::format("ERR: invalid argument '{}', the value is not acceptable; "
                                    "allowed are {} to {} and DEFAULT",
                                    text, min, max)}}));
       }
       value.store(wanted);
       answer(command_json({{"error", "ok"}, {"result", "OK"}}));
     });
}

void RemoteCommands::run(const std::string& name, const Arguments& arguments, Answer answer) const {
  auto found = by_name_.find(name);
  if (found == by_name_.end()) return answer(fmt::format("unknown command '{}'", name));
  found->second->run(arguments, std::move(answer));
}

std::string RemoteCommands::help(const Arguments& arguments) const {
  if (arguments.empty()) {
    std::string out;
    for (const auto& command : commands_)
      out += fmt::format("{} - {}\n", command->names, command->description);
    return out;
  }
  auto found = by_name_.find(arguments[0]);
  if (found == by_name_.end()) return fmt::format("cannot find command '{}'", arguments[0]);
  return fmt::format("{}\n{} {}\n", found->second->description, arguments[0], found->second->usage);
}

void RemoteCommands::serve(Dispatcher& dispatcher) {
  dispatcher.on(TaskCode::kCliCall, [this](Request request) {
    wire::command command;
    if (auto s = decode_args(request.args, command); !s.ok()) {
      request.reply_error(Errc::kInvalidData);
      return;
    }
    MARKAB_AUDIT(log::Level::kInfo, "{}@{}: remote command {} {}",
                 request.user().empty() ? "anonymous" : request.user(), request.peer(), command.cmd,
                 fmt::join(command.arguments, " "));
    auto held = std::make_shared<Request>(std::move(request));
    run(command.cmd, command.arguments,
        [held](std::string text) { held->reply(encode_result(text)); });
  });
}

namespace {

// What /metrics answers, for those who are let in here and not there (05 §8.6).
std::string show_metrics(const MetricRegistry& registry, const DaemonIdentity& identity,
                         int64_t wall_us, const RemoteCommands::Arguments& arguments) {
  std::map<std::string, std::string> query;
  for (const std::string& argument : arguments) {
    auto equals = std::min(argument.find('='), argument.size());
    query[argument.substr(0, equals)] = argument.substr(std::min(equals + 1, argument.size()));
  }
  auto text = metrics_json(registry, identity, wall_us, query);
  if (text) return std::move(*text);
  return boost::json::serialize(boost::json::object{{"error_message", text.error().message()}});
}

}  // namespace

void add_standard_commands(RemoteCommands& commands, const DaemonIdentity& identity,
                           const Config& config, const MetricRegistry& registry, io::Shard& shard) {
  const std::string& role = identity.role;
  using Arguments = RemoteCommands::Arguments;
  using Answer = RemoteCommands::Answer;
  auto started = local_time(shard.wall_us() / 1000000);
  commands.on("help|h|H|Help", "Shows the commands, or one of them", "[command]",
              [&commands](const Arguments& a, Answer answer) { answer(commands.help(a)); });
  commands.on("server-info", "Version and start time of this daemon", "",
              [started, role](const Arguments&, Answer answer) {
                answer(boost::json::serialize(boost::json::object{{"version", kVersion},
                                                                  {"build_type", kBuildType},
                                                                  {"git_SHA", kGitCommit},
                                                                  {"role", role},
                                                                  {"start_time", started}}));
              });
  commands.on("config-dump", "The configuration that is in force, as INI", "",
              [&config](const Arguments&, Answer answer) {
                std::string out;
                std::string section;
                for (const auto& entry : config.entries()) {
                  if (entry.key.section != section)
                    out += fmt::format("\n[{}]\n", section = entry.key.section);
                  out += fmt::format("; {}\n{} = {}\n", entry.key.description, entry.key.name,
                                     entry.value);
                }
                answer(out);
              });
  commands.on("flush-log", "Writes out buffered log lines", "",
              [](const Arguments&, Answer answer) {
                log::flush();
                answer("Flush done.");
              });
  commands.on("reset-log-start-level", "Sets the least level that is logged",
              "[DEBUG|INFO|WARNING|ERROR]", [&config](const Arguments& a, Answer answer) {
                auto wanted =
                    a.empty() ? config.get_string("core", "logging_start_level") : lower(a[0]);
                auto level = log::parse_level(wanted);
                if (!level) return answer(fmt::format("ERROR: {}", level.error().message()));
                log::set_level(*level);
                std::string upper = wanted.starts_with("LOG_LEVEL_") ? wanted.substr(10) : wanted;
                for (char& c : upper)
                  c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
                answer(fmt::format("OK, current level is LOG_LEVEL_{}", upper));
              });
  commands.on("task-code", "The remote procedures whose name contains a keyword", "[keyword...]",
              [](const Arguments& a, Answer answer) {
                std::string out;
                for (int i = 1; i < 256; ++i) {
                  auto name = task_name(static_cast<TaskCode>(i));
                  if (name.empty()) break;
                  bool matches = a.empty();
                  for (const auto& word : a)
                    matches = matches || name.find(word) != std::string_view::npos;
                  if (matches) out += fmt::format("    {}\n", name);
                }
                answer(out);
              });
  commands.on("metrics", "The metrics as JSON", "[types=T,..] [ids=I,..] [metrics=M,..] [...]",
              [&registry, identity, &shard](const Arguments& a, Answer answer) {
                answer(show_metrics(registry, identity, shard.wall_us(), a));
              });
  auto counters = std::make_shared<LegacyCounters>(registry, role);
  auto perf = [&](const char* name, const char* description, LegacyCounters::Match match) {
    commands.on(name, description, "[text...]",
                [counters, match, &shard](const Arguments& a, Answer answer) {
                  answer(counters->to_json(match, a, shard.now(), shard.wall_us()));
                });
  };
  perf("perf-counters", "Counters whose whole name matches a regular expression",
       LegacyCounters::Match::kRegex);
  perf("perf-counters-by-substr", "Counters whose name contains a text",
       LegacyCounters::Match::kSubstring);
  perf("perf-counters-by-prefix", "Counters whose name begins with a text",
       LegacyCounters::Match::kPrefix);
  perf("perf-counters-by-postfix", "Counters whose name ends with a text",
       LegacyCounters::Match::kPostfix);
}

}  // namespace markab::rpc
