#pragma once
// What a shell remembers between commands, and where it prints. One thread.

#include <boost/json/object.hpp>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "markab/admin.h"
#include "markab/client.h"
#include "shell/report.h"
#include "shell/words.h"

namespace markab::shell {

class Session;

// Where a command keeps its sentence: the error is empty when all went well.
struct Command {
  std::string_view name;
  std::string_view usage;  // operands and options
  std::string_view help;   // one line
  std::vector<Option> options;
  size_t least_words = 0;
  size_t most_words = 0;  // kAnyNumber: no bound
  Error (*run)(Session&, const Arguments&) = nullptr;
  bool command_follows = false;  // the operands are a command for somebody else
};
inline constexpr size_t kAnyNumber = SIZE_MAX;

// All commands, in the order of `help`.
const std::vector<Command>& all_commands();
// The families.
std::vector<Command> general_commands();
std::vector<Command> cluster_commands();
std::vector<Command> table_commands();
std::vector<Command> data_commands();
std::vector<Command> range_commands();
std::vector<Command> scan_commands();
std::vector<Command> statistics_commands();

class Session {
 public:
  Session(std::shared_ptr<Client> client, std::vector<std::string> metas, bool json,
          Timeout timeout, std::ostream& out)
      : json(json),
        timeout(timeout),
        metas(std::move(metas)),
        client_(std::move(client)),
        out_(out) {}

  // Runs one line. The error was printed already.
  Error run(std::string_view line);

  Client& client() { return *client_; }
  Admin& admin() { return client_->admin(); }
  // The table in use, or the advice to choose one.
  Outcome<std::shared_ptr<Table>> table();
  void use(std::string name);
  const std::string& table_name() const { return table_name_; }

  // The line that follows the command, for what is told over several lines. False at the end
  // of the input.
  bool next_line(std::string& text) { return more_lines && more_lines(text); }
  std::function<bool(std::string&)> more_lines;
  // Lets time pass, between two looks at the daemons.
  std::function<void(Timeout)> pause = [](Timeout) {};
  // A clock, from any beginning.
  std::function<Timeout()> clock = [] { return Timeout(); };

  // Keys and values as people see them: "...".
  std::string quoted(std::string_view bytes) const;

  void line(std::string_view text);
  // A line that tells how far something is; not in JSON.
  void progress(std::string_view text);
  void emit(const boost::json::object& object);
  // `-j` of a command: JSON with string values; `-o FILE`: there.
  Error show(const Report& report, const Arguments& arguments);
  // How a write went, when nothing else is to be said of it.
  Error show_written(const Outcome<Nothing>& done);
  // Who answered, after a data command.
  void show_origin(const Origin& origin);
  void add_origin(boost::json::object& object, const Origin& origin);

  const bool json;
  bool escape_all = false;
  bool exiting = false;
  Timeout timeout;
  const std::vector<std::string> metas;

 private:
  Error dispatch(std::string_view line);

  std::shared_ptr<Client> client_;
  std::string table_name_;
  std::shared_ptr<Table> table_;
  std::ostream& out_;
};

// A Status of the base room as an Error for the user.
Error to_error(const Status& status);

}  // namespace markab::shell
