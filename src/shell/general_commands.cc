// help, version, exit and the session's own settings.

#include <boost/json.hpp>

#include "base/crc64.h"
#include "shell/session.h"

#ifndef MARKAB_VERSION
#define MARKAB_VERSION "unknown"
#endif

namespace markab::shell {

namespace {

Error help(Session& session, const Arguments& arguments) {
  if (arguments.count() == 0) {
    for (const auto& command : all_commands()) {
      session.line(fmt::format("  {:<22} {}", command.name, command.help));
    }
    session.line("`help COMMAND` shows its operands and options.");
    return {};
  }
  for (const auto& command : all_commands()) {
    if (command.name != arguments.word(0)) continue;
    session.line(fmt::format("{} {}", command.name, command.usage));
    session.line(fmt::format("  {}", command.help));
    for (const auto& option : command.options) {
      std::string form =
          fmt::format("-{}|--{}{}", option.letter, option.name,
                      option.operand.empty() ? "" : fmt::format(" <{}>", option.operand));
      session.line(fmt::format("  {:<34} {}", form, option.help));
    }
    return {};
  }
  return {ErrorCode::kInvalidArgument, fmt::format("there is no command '{}'", arguments.word(0))};
}

Error version(Session& session, const Arguments&) {
  if (session.json) {
    session.emit({{"version", MARKAB_VERSION}});
  } else {
    session.line("Markab shell " MARKAB_VERSION);
  }
  return {};
}

Error quit(Session& session, const Arguments&) {
  session.exiting = true;
  return {};
}

void show_setting(Session& session, std::string_view name, boost::json::value value,
                  std::string_view text) {
  if (session.json) {
    session.emit({{name, std::move(value)}});
  } else {
    session.line("OK");
    session.line(text);
  }
}

Error use(Session& session, const Arguments& arguments) {
  if (arguments.count() > 0) session.use(arguments.word(0));
  show_setting(session, "table", boost::json::string(session.table_name()),
               session.table_name().empty() ? "no table is in use"
                                            : "table in use: " + session.table_name());
  return {};
}

Error timeout(Session& session, const Arguments& arguments) {
  if (arguments.count() > 0) {
    auto ms = parse_number("timeout", arguments.word(0), 1, 3600 * 1000);
    if (!ms) return to_error(ms.error());
    session.timeout = Timeout(*ms);
  }
  show_setting(session, "timeout_ms", session.timeout.count(),
               fmt::format("timeout: {} ms", session.timeout.count()));
  return {};
}

Error escape_all(Session& session, const Arguments& arguments) {
  if (arguments.count() > 0) {
    const auto& word = arguments.word(0);
    if (word != "true" && word != "false") {
      return {ErrorCode::kInvalidArgument,
              fmt::format("escape_all '{}'; allowed are true and false", word)};
    }
    session.escape_all = word == "true";
  }
  show_setting(session, "escape_all", session.escape_all,
               fmt::format("escape_all: {}", session.escape_all));
  return {};
}

Error hash(Session& session, const Arguments& arguments) {
  const auto& hash_key = arguments.word(0);
  const auto& sort_key = arguments.word(1);
  uint64_t value = crc64(hash_key.empty() ? sort_key : hash_key);
  Section fields = Section::fields("hash");
  fields.add_field("key_hash", value);
  if (!session.table_name().empty()) {
    auto table = session.admin().partitions(session.table_name(), session.timeout);
    if (!table) return table.error();
    auto count = table->partitions.size();
    const auto& partition = table->partitions[value % count];
    fields.add_field("app_name", boost::json::string(session.table_name()));
    fields.add_field("app_id", table->app_id);
    fields.add_field("partition_count", count);
    fields.add_field("partition_index", partition.index);
    fields.add_field("primary",
                     boost::json::string(partition.primary.empty() ? "-" : partition.primary));
    fields.add_field("secondaries",
                     boost::json::string(fmt::format("{}", fmt::join(partition.secondaries, ","))));
  }
  return session.show({fields}, arguments);
}

}  // namespace

std::vector<Command> general_commands() {
  return {
      {"help", "[COMMAND]", "what there is, or how one command is used", {}, 0, 1, help},
      {"version", "", "this shell's version", {}, 0, 0, version},
      {"exit", "", "leave", {}, 0, 0, quit},
      {"use", "[TABLE]", "choose the table that data commands work on, or show it", {}, 0, 1, use},
      {"timeout", "[MS]", "how long a command may take, or show it", {}, 0, 1, timeout},
      {"escape_all",
       "[true|false]",
       "show every byte of keys and values as \\xHH",
       {},
       0,
       1,
       escape_all},
      {"hash",
       "HASH_KEY SORT_KEY",
       "the hash of a key, and the partition that it falls into",
       {},
       2,
       2,
       hash},
  };
}

}  // namespace markab::shell
