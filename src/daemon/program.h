#pragma once
// What both daemons do alike: arguments, configuration, logging, signals, readiness. Used by main()
// only, on its thread.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/config.h"
#include "base/function.h"
#include "base/ids.h"
#include "base/status.h"
#include "io/shard.h"
#include "rpc/server.h"
#include "security/options.h"

namespace markab::daemon {

struct Arguments {
  std::string config_file;
  std::vector<std::string> overrides;
  bool check_only = false;
};

// Parses the command line. Ends the process for --help, --version (status 0) and for wrong
// arguments (status 1).
Arguments parse_arguments(int argc, char** argv, const char* program, const char* description);

// Prints "<program>: <sentence>" to standard error and ends the process with status 1.
[[noreturn]] void refuse_to_start(const char* program, const Status& why);

// SIGTERM and SIGINT, taken by wait() instead of ending the process. Made before any thread is
// started, so that all threads inherit the mask.
class StopSignal {
 public:
  StopSignal();
  // Blocks until one arrives; its name.
  const char* wait();
};

// [network] address and port as this node's identity.
Result<HostPort> own_address(const Config& config);
// What the RPC server takes from the configuration.
rpc::ServerOptions listen_options(const Config& config, HostPort self);
// Logging as [core] says.
Status start_log(const Config& config);
// Makes the directory that `key` names; the sentence names the remedy.
Status prepare_directory(const std::string& path, const char* key);

// [security]; ends the process with status 1 when something is wrong with it, after a line for each
// problem.
security::SecurityOptions security_or_refuse(const Config& config, const char* program);

// Runs `begin(done)` on shard 0 and waits until it called done. Not from a shard's thread.
void wait_for(io::RealRuntime& runtime, const Function<void(Task)>& begin);

// Exclusive use of a directory by this process, for as long as it lives; the kernel frees it
// whatever happens. kServiceAlreadyRunning when another process has it.
Result<std::shared_ptr<void>> lock_directory(const std::string& path);

// The kernel's id of this boot of the machine.
std::string boot_id();

// Tells systemd (Type=notify) that the daemon is ready, or stops; nothing without systemd.
void notify_ready();
void notify_stopping();

// "127.0.0.1:34601,…" as nodes; the sentence names the key.
Result<std::vector<HostPort>> parse_nodes(const Config& config, const char* section,
                                          const char* name);

}  // namespace markab::daemon
