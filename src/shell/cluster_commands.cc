// The cluster, the meta level, proposals, remote commands.

#include <boost/json.hpp>

#include "base/ids.h"
#include "shell/session.h"
#include "shell/targets.h"

namespace markab::shell {

namespace json = boost::json;

namespace {

const Option kJson{'j', "json", "", "print JSON with string values"};
const Option kOutput{'o', "output", "file", "write there"};

Error cluster_info(Session& session, const Arguments& arguments) {
  auto info = session.admin().cluster_info(session.timeout);
  if (!info) return info.error();
  Section fields = Section::fields("cluster_info");
  for (const auto& [key, value] : *info) fields.add_field(key, json::string(value));
  return session.show({fields}, arguments);
}

constexpr std::pair<std::string_view, MetaLevel> kLevels[] = {{"stopped", MetaLevel::kStopped},
                                                              {"blind", MetaLevel::kBlind},
                                                              {"freezed", MetaLevel::kFreezed},
                                                              {"steady", MetaLevel::kSteady},
                                                              {"lively", MetaLevel::kLively}};

std::string level_name(MetaLevel level) {
  for (const auto& [name, value] : kLevels) {
    if (value == level) return fmt::format("fl_{}", name);
  }
  return fmt::format("fl_{}", static_cast<int>(level));
}

Error get_meta_level(Session& session, const Arguments&) {
  auto level = session.admin().meta_level(MetaLevel::kUnchanged, session.timeout);
  if (!level) return level.error();
  if (session.json) {
    session.emit({{"level", level_name(*level)}});
  } else {
    session.line(fmt::format("current meta level is {}", level_name(*level)));
  }
  return {};
}

Error set_meta_level(Session& session, const Arguments& arguments) {
  for (const auto& [name, value] : kLevels) {
    if (name != arguments.word(0)) continue;
    auto old = session.admin().meta_level(value, session.timeout);
    if (!old) return old.error();
    if (session.json) {
      session.emit({{"old_level", level_name(*old)}, {"level", level_name(value)}});
    } else {
      session.line(fmt::format("control meta level ok, the old level is {}", level_name(*old)));
    }
    return {};
  }
  return {
      ErrorCode::kInvalidArgument,
      fmt::format("'{}' is no meta level; allowed are stopped, blind, freezed, steady and lively",
                  arguments.word(0))};
}

Error parse_gpid(const std::string& text, int32_t& app, int32_t& partition) {
  auto gpid = Gpid::parse(text);
  if (!gpid) return to_error(gpid.error());
  app = gpid->app_id;
  partition = gpid->partition_index;
  return {};
}

Error balance(Session& session, const Arguments& arguments) {
  int32_t app = 0;
  int32_t partition = 0;
  if (Error error = parse_gpid(arguments.text('g'), app, partition)) return error;
  auto done = session.admin().balance(app, partition, arguments.text('p'), arguments.text('f'),
                                      arguments.text('t'), session.timeout);
  if (!done) return done.error();
  session.json ? session.emit({{"result", "ERR_OK"}})
               : session.line("send balance proposal result: ERR_OK");
  return {};
}

constexpr std::pair<std::string_view, int> kProposals[] = {{"ASSIGN_PRIMARY", 1},
                                                           {"UPGRADE_TO_PRIMARY", 2},
                                                           {"ADD_SECONDARY", 3},
                                                           {"UPGRADE_TO_SECONDARY", 4},
                                                           {"DOWNGRADE_TO_SECONDARY", 5},
                                                           {"DOWNGRADE_TO_INACTIVE", 6},
                                                           {"REMOVE", 7},
                                                           {"ADD_SECONDARY_FOR_LB", 8},
                                                           {"PRIMARY_FORCE_UPDATE_BALLOT", 9}};

Error propose(Session& session, const Arguments& arguments) {
  int32_t app = 0;
  int32_t partition = 0;
  if (Error error = parse_gpid(arguments.text('g'), app, partition)) return error;
  std::string wanted = arguments.text('p');
  for (const auto& [name, type] : kProposals) {
    if (name != wanted) continue;
    auto done =
        session.admin().propose(app, partition, {{arguments.text('t'), arguments.text('n'), type}},
                                arguments.has('f'), session.timeout);
    if (!done) return done.error();
    session.json ? session.emit({{"result", "ERR_OK"}})
                 : session.line("send proposal response: ERR_OK");
    return {};
  }
  std::string names;
  for (const auto& [name, type] : kProposals)
    names += fmt::format("{}{}", names.empty() ? "" : ", ", name);
  return {ErrorCode::kInvalidArgument,
          fmt::format("'{}' is no proposal; allowed are {}", wanted, names)};
}

Error call_targets(Session& session, const Arguments& arguments, const std::string& command,
                   const std::vector<std::string>& operands) {
  auto targets = choose_targets(session, arguments);
  if (!targets) return targets.error();
  json::object details;
  int failed = 0;
  Error last;
  for (const auto& target : *targets) {
    auto answer = session.admin().remote_command(target.node, command, operands, session.timeout);
    json::value message;
    if (answer) {
      json::error_code bad;
      message = json::parse(*answer, bad);
      if (bad) message = json_bytes(*answer);
    } else {
      ++failed;
      last = answer.error();
      message = json::string(answer.error().to_string());
    }
    details[target.node] =
        json::object{{"role", target.role}, {"acked", answer.ok()}, {"message", message}};
  }
  std::string whole = command;
  for (const auto& operand : operands) whole += " " + operand;
  session.emit({{"command", whole},
                {"details", details},
                {"succeed_count", static_cast<int>(targets->size()) - failed},
                {"failed_count", failed}});
  if (failed > 0)
    return {last.code,
            fmt::format("{} of {} nodes failed; {}", failed, targets->size(), last.message)};
  return {};
}

Error remote_command(Session& session, const Arguments& arguments) {
  auto words = arguments.words();
  std::string command = words.front();
  words.erase(words.begin());
  return call_targets(session, arguments, command, words);
}

Error server_info(Session& session, const Arguments& arguments) {
  return call_targets(session, arguments, "server-info", {});
}

Error flush_log(Session& session, const Arguments& arguments) {
  return call_targets(session, arguments, "flush-log", {});
}

// The number that `text` names, 0 when it is none of them.
int choice(std::string_view text, std::initializer_list<std::string_view> names) {
  int number = 0;
  for (auto name : names) {
    ++number;
    if (text == name) return number;
  }
  return 0;
}

Error detect_hotkey(Session& session, const Arguments& arguments) {
  auto app = arguments.number('a', 0, 1, INT32_MAX);
  if (!app) return to_error(app.error());
  auto partition = arguments.number('p', -1, 0, INT32_MAX);
  if (!partition) return to_error(partition.error());
  int kind = choice(arguments.text('t'), {"read", "write"});
  // Its long name is hotkey_action in one place of Pegasus and detect_action in another.
  std::string wanted = arguments.has('C') ? arguments.text('C') : arguments.text('c');
  int action = choice(wanted, {"start", "stop", "query"});
  if (*app == 0 || *partition < 0 || kind == 0 || action == 0 || !arguments.has('d')) {
    return {ErrorCode::kInvalidArgument,
            "say -a APP_ID -p PARTITION -t read|write -c start|stop|query -d HOST:PORT, the daemon "
            "with the partition's primary (`app TABLE -d` shows it)"};
  }
  auto done = session.admin().detect_hotkey(
      arguments.text('d'), static_cast<int32_t>(*app), static_cast<int32_t>(*partition),
      static_cast<HotkeyKind>(kind - 1), static_cast<HotkeyAction>(action - 1), session.timeout);
  if (!done) return done.error();
  bool found = action == 3;
  if (session.json) {
    session.emit({{"result", "ERR_OK"}, {"hotkey", found ? *done : std::string()}});
  } else {
    session.line(found ? fmt::format("the {} hotkey of {}.{} is \"{}\"", arguments.text('t'), *app,
                                     *partition, *done)
                       : fmt::format("{} detection of hotkeys: {}", arguments.text('t'),
                                     action == 1 ? "started" : "stopped"));
  }
  return {};
}

Error report_death(Session& session, const Arguments& arguments) {
  int64_t start_ms = 0;
  if (arguments.count() > 1) {
    auto number = parse_number("START_MS", arguments.word(1), 0, INT64_MAX);
    if (!number) return to_error(number.error());
    start_ms = *number;
  }
  auto done = session.admin().report_death(
      arguments.word(0), start_ms, arguments.text('r', "reported by an operator"), session.timeout);
  if (!done) return done.error();
  session.json ? session.emit({{"reported", arguments.word(0)}})
               : session.line(fmt::format("the death of {} was reported to {}", arguments.word(0),
                                          done.origin.server()));
  return {};
}

}  // namespace

std::vector<Command> cluster_commands() {
  const std::vector<Option> targets{
      {'t', "node_type", "all|meta-server|replica-server", "which daemons"},
      {'l', "node_list", "host:port,...", "these daemons"}};
  return {
      {"cluster_info",
       "[-j] [-o FILE]",
       "the cluster at a glance",
       {kJson, kOutput},
       0,
       0,
       cluster_info},
      {"remote_command", "[-t all|meta-server|replica-server] [-l HOST:PORT,...] COMMAND [ARG...]",
       "run a command inside of daemons (`remote_command help` lists them)", targets, 1, kAnyNumber,
       remote_command, true},
      {"detect_hotkey",
       "-a APP_ID -p PARTITION -t read|write -c start|stop|query -d HOST:PORT",
       "find the hash key that gets far more requests than the others of a partition",
       {{'a', "app_id", "number", "the table's id"},
        {'p', "partition_index", "number", "which partition"},
        {'t', "hotkey_type", "read|write", "which requests"},
        {'c', "hotkey_action", "start|stop|query", "start, stop, or ask for the result"},
        {'C', "detect_action", "start|stop|query", "the same"},
        {'d', "address", "host:port", "the daemon with the primary"}},
       0,
       0,
       detect_hotkey},
      {"server_info", "[-t TYPE] [-l HOST:PORT,...]", "version and start time of the daemons",
       targets, 0, 0, server_info},
      {"flush_log", "[-t TYPE] [-l HOST:PORT,...]", "make the daemons write out their logs",
       targets, 0, 0, flush_log},
      {"get_meta_level",
       "",
       "how much the meta server may change by itself",
       {},
       0,
       0,
       get_meta_level},
      {"set_meta_level",
       "stopped|blind|freezed|steady|lively",
       "change that",
       {},
       1,
       1,
       set_meta_level},
      {"balance",
       "-g APP.PARTITION -p move_pri|copy_pri|copy_sec -f FROM -t TO",
       "move a primary or a replica",
       {{'g', "gpid", "app.partition", "which partition"},
        {'p', "type", "move_pri|copy_pri|copy_sec", "what to do"},
        {'f', "from", "host:port", "from which node"},
        {'t', "to", "host:port", "to which node"}},
       0,
       0,
       balance},
      {"propose",
       "[-f] -g APP.PARTITION -p TYPE -t TARGET -n NODE",
       "tell a node to change a partition's membership",
       {{'f', "force", "", "unchecked"},
        {'g', "gpid", "app.partition", "which partition"},
        {'p', "type", "ASSIGN_PRIMARY|...", "what to do"},
        {'t', "target", "host:port", "who is told"},
        {'n', "node", "host:port", "whom it is about"}},
       0,
       0,
       propose},
      {"report_death",
       "HOST:PORT [START_MS] [-r REASON]",
       "tell the metas that a replica server's process has surely ended, so that failover starts "
       "at once",
       {{'r', "reason", "text", "what was seen"}},
       1,
       2,
       report_death},
  };
}

}  // namespace markab::shell
