#pragma once
// Remote commands: RPC_CLI_CLI_CALL, by which operators' tools ask a daemon by words (spec 07 §2).
// A table of commands, those that every daemon has, and the handler. Filled before the server
// listens; commands run on the connection's shard and may answer later from any thread.

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/config.h"
#include "base/function.h"
#include "base/metrics.h"
#include "io/shard.h"
#include "rpc/dispatcher.h"
#include "rpc/http.h"

namespace markab::rpc {

class RemoteCommands {
 public:
  using Arguments = std::vector<std::string>;
  using Answer = Callback<std::string>;
  using Run = Function<void(const Arguments&, Answer)>;

  // `names` separates aliases by '|': "help|h|H|Help".
  void on(const std::string& names, std::string description, std::string usage, Run run);
  // A switch: no argument shows it, true or false sets it (spec 07 §2.2).
  void on_bool(const std::string& name, std::string description, std::atomic<bool>& value);
  // A number: shown without argument; `DEFAULT` brings back the value it has now. Outside [min,
  // max]: refused.
  void on_int(const std::string& name, std::string description, std::atomic<int64_t>& value,
              int64_t min, int64_t max);

  // Unknown commands answer "unknown command '<x>'".
  void run(const std::string& name, const Arguments& arguments, Answer answer) const;
  std::string help(const Arguments& arguments) const;
  // Serves RPC_CLI_CLI_CALL; *this must outlive the dispatcher's use.
  void serve(Dispatcher& dispatcher);

 private:
  struct Command {
    std::string names;
    std::string description;
    std::string usage;
    Run run;
  };
  std::vector<std::unique_ptr<Command>> commands_;
  std::map<std::string, Command*, std::less<>> by_name_;
};

// help, server-info, config-dump, flush-log, reset-log-start-level, task-code, metrics and the
// perf-counters family. The references must outlive `commands`; `shard` gives the clock.
void add_standard_commands(RemoteCommands& commands, const DaemonIdentity& identity,
                           const Config& config, const MetricRegistry& registry, io::Shard& shard);

// Two-space indented JSON with sorted keys, string values: the form of answers to set and show
// (spec 07 §2.2).
std::string command_json(const std::map<std::string, std::string>& fields);

}  // namespace markab::rpc
