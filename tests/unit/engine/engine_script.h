#pragma once
// Runs readable scripts against an engine: stanzas of commands, a line of dashes, the answers.
// testdata/README.txt describes the language. The test gives the engine, and with it the store
// under it.

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/function.h"
#include "engine/engine.h"
#include "engine/resolver.h"

namespace markab::engine {

class EngineScript {
 public:
  // Opens the engine under test, anew after a restart: then it sees what a new process would.
  using Open = Function<std::unique_ptr<Engine>(EngineOptions)>;
  // Compacts everything; false when the store knows no compaction.
  using Compact = Function<bool(Engine&)>;

  EngineScript(Open open, Compact compact);
  ~EngineScript();

  // Runs the script and returns it with the answers that were given: equal to `text` when all is as
  // expected.
  std::string run(const std::string& text);

 private:
  class Arguments;
  using Lines = std::vector<std::string>;

  std::string run_stanza(const Lines& commands);
  std::string run_command(const std::string& name, Arguments& arguments);
  std::string run_setting(const std::string& name, Arguments& arguments);
  std::string run_writes(const Lines& commands);

  // Asks from memory and then, as a server would, from the disk.
  template <typename Call>
  void read(Call call);
  std::string get(Arguments& arguments);
  std::string ttl(Arguments& arguments);
  std::string multi_get(Arguments& arguments);
  std::string batch_get(Arguments& arguments);
  std::string sortkey_count(Arguments& arguments);
  std::string get_scanner(Arguments& arguments);
  std::string scan(Arguments& arguments);
  std::string describe_scan(const wire::scan_response& response);
  std::string timetag(Arguments& arguments);
  std::string store_raw(Arguments& arguments);
  std::string fill(Arguments& arguments);
  void commit(std::shared_ptr<const std::string> effects);
  void apply_held();
  void restart();

  Open open_;
  Compact compact_;
  TableSettings settings_;
  ReadLimits limits_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Resolver> resolver_;
  ReadArena arena_;
  int64_t wall_s_ = 1000;  // since kExpiryEpoch
  int64_t now_ns_ = 1;
  int64_t tick_ns_ = 0;  // what each look at the clock takes
  int64_t timestamp_us_ = 0;
  bool holding_ = false;  // effects stay in flight
  Decree decree_ = 0;
  std::vector<std::pair<Decree, std::shared_ptr<const std::string>>> held_;
  std::map<std::string, int64_t>
      scanners_;  // "s1", "s2", ... in the order in which they were handed out
  HostPort peer_{0x0A000001, 1};
};

}  // namespace markab::engine
