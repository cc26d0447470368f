#include "shell/session.h"

#include <boost/json.hpp>
#include <fstream>

#include "base/escape.h"

namespace markab::shell {

Error to_error(const Status& status) {
  if (status.ok()) return {};
  return {ErrorCode::kInvalidArgument,
          status.message().empty() ? status.to_string() : status.message()};
}

const std::vector<Command>& all_commands() {
  static const std::vector<Command> kAll = [] {
    std::vector<Command> all;
    for (auto family : {general_commands, cluster_commands, statistics_commands, table_commands,
                        data_commands, range_commands, scan_commands}) {
      for (auto& command : family()) all.push_back(std::move(command));
    }
    return all;
  }();
  return kAll;
}

Error Session::run(std::string_view line) {
  Error error = dispatch(line);
  if (error && json) {
    emit({{"error",
           boost::json::object{{"code", to_string(error.code)}, {"message", error.message}}}});
  } else if (error && error.code == ErrorCode::kNotFound) {
    this->line("Not found");
  } else if (error) {
    this->line("ERROR: " + error.to_string());
  }
  return error;
}

Error Session::dispatch(std::string_view line) {
  auto words = split_words(line);
  if (!words)
    return {ErrorCode::kInvalidArgument, "Invalid argument(s): " + words.error().message()};
  if (words->empty() || words->front().starts_with("#")) return {};
  std::string name = words->front();
  words->erase(words->begin());
  for (const auto& command : all_commands()) {
    if (command.name != name) continue;
    auto arguments = Arguments::parse(*words, command.options, command.command_follows);
    std::string usage = fmt::format("; usage: {} {}", command.name, command.usage);
    if (!arguments) return {ErrorCode::kInvalidArgument, arguments.error().message() + usage};
    if (arguments->count() < command.least_words || arguments->count() > command.most_words) {
      return {ErrorCode::kInvalidArgument,
              fmt::format("{} words after {}{}", arguments->count(), name, usage)};
    }
    return command.run(*this, *arguments);
  }
  return {ErrorCode::kInvalidArgument,
          fmt::format("there is no command '{}'; `help` lists them", name)};
}

Outcome<std::shared_ptr<Table>> Session::table() {
  if (table_ == nullptr) {
    return Error{ErrorCode::kInvalidArgument,
                 "no table is in use; say `use TABLE` first (`ls` lists them)"};
  }
  return table_;
}

void Session::use(std::string name) {
  table_name_ = std::move(name);
  table_ = client_->open_later(table_name_);
}

std::string Session::quoted(std::string_view bytes) const {
  return '"' + escape(bytes, escape_all) + '"';
}

void Session::line(std::string_view text) { out_ << text << '\n' << std::flush; }

void Session::progress(std::string_view text) {
  if (!json) line(text);
}

void Session::emit(const boost::json::object& object) { line(boost::json::serialize(object)); }

Error Session::show(const Report& report, const Arguments& arguments) {
  bool as_json = json || arguments.has('j');
  std::string text =
      as_json ? boost::json::serialize(to_json(report, !json)) + "\n" : to_text(report);
  std::string path = arguments.text('o');
  if (path.empty()) {
    out_ << text << std::flush;
    return {};
  }
  std::ofstream file(path);
  file << text << std::flush;
  if (!file)
    return {ErrorCode::kInvalidArgument,
            fmt::format("{} cannot be written; name a file that can", path)};
  return {};
}

Error Session::show_written(const Outcome<Nothing>& done) {
  if (!done) return done.error();
  if (json) {
    boost::json::object object{{"ok", true}};
    add_origin(object, done.origin);
    emit(object);
  } else {
    line("OK");
    show_origin(done.origin);
  }
  return {};
}

void Session::show_origin(const Origin& origin) {
  if (json) return;
  line("");
  line(fmt::format("app_id          : {}", origin.app_id));
  line(fmt::format("partition_index : {}", origin.partition_index));
  if (origin.decree >= 0) line(fmt::format("decree          : {}", origin.decree));
  line(fmt::format("server          : {}", origin.server()));
}

void Session::add_origin(boost::json::object& object, const Origin& origin) {
  object["app_id"] = origin.app_id;
  object["partition_index"] = origin.partition_index;
  if (origin.decree >= 0) object["decree"] = origin.decree;
  object["server"] = origin.server();
}

}  // namespace markab::shell
