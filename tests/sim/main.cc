// markab-sim: whole clusters in one process, from seeds.

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>

#include "simulation.h"
#include "squad.h"

namespace markab::sim {
namespace {

struct Arguments {
  std::string seed;
  std::string seeds;
  int jobs = 1;
  double seconds = 0;
  double hours = 0;
  std::string trace;
  bool debug = false;
  bool no_operations = false;
  bool quiet = false;
};

double in_seconds(Duration d) { return static_cast<double>(d.count()) / 1e9; }

void print_result(const RunResult& r) {
  fmt::print(
      "seed {}: {:.1f} s simulated, {} operations on {} keys ({} writes unanswered), {} faults, {} "
      "messages, {} events, trace {:016x}: {}\n",
      r.seed, in_seconds(r.simulated), r.operations, r.keys, r.unknown, r.faults, r.messages,
      r.events, r.fingerprint, r.violations.empty() ? "ok" : "VIOLATION");
  for (const auto& violation : r.violations) fmt::print("  {}\n", violation);
}

int run_one(const Arguments& arguments, RunOptions options) {
  if (!arguments.trace.empty()) {
    options.trace = arguments.trace == "-" ? stdout : std::fopen(arguments.trace.c_str(), "w");
    if (options.trace == nullptr) {
      std::perror(arguments.trace.c_str());
      return 2;
    }
  }
  auto result = run(options);
  if (options.trace != nullptr && options.trace != stdout) std::fclose(options.trace);
  print_result(result);
  return result.violations.empty() ? 0 : 1;
}

bool parse_range(const std::string& text, uint64_t& first, uint64_t& last) {
  unsigned long long a = 0;
  unsigned long long b = 0;
  if (std::sscanf(text.c_str(), "%llu..%llu", &a, &b) != 2 || a > b) return false;
  first = a;
  last = b;
  return true;
}

int main(int argc, char** argv) {
  CLI::App app("Runs whole Markab clusters in one process, from seeds, under faults.");
  Arguments arguments;
  auto* one = app.add_option("--seed", arguments.seed, "run this seed");
  app.add_option("--seeds", arguments.seeds, "run seeds A..B; exit 1 at a violation")
      ->excludes(one);
  app.add_option("--jobs", arguments.jobs, "processes that share the seeds")
      ->check(CLI::Range(1, 64));
  app.add_option("--duration", arguments.seconds, "seconds of faults per seed (default: by seed)");
  app.add_option("--hours", arguments.hours,
                 "with --seeds: stop when so many hours were simulated");
  app.add_option("--trace", arguments.trace, "with --seed: write a timeline to this file, or -");
  app.add_flag("--debug", arguments.debug, "the timeline has debug lines, too");
  app.add_flag("--no-operations", arguments.no_operations, "the timeline leaves out operations");
  app.add_flag("--quiet", arguments.quiet, "no progress");
  CLI11_PARSE(app, argc, argv);

  RunOptions options;
  options.trace_debug = arguments.debug;
  options.trace_operations = !arguments.no_operations;
  if (arguments.seconds > 0) {
    options.duration = Duration(static_cast<int64_t>(arguments.seconds * 1e9));
  }
  if (!arguments.seed.empty()) {
    options.seed = std::stoull(arguments.seed);
    return run_one(arguments, options);
  }
  SquadOptions squad;
  squad.run = options;
  squad.jobs = arguments.jobs;
  squad.max_simulated = Duration(static_cast<int64_t>(arguments.hours * 3600e9));
  squad.progress = !arguments.quiet;
  squad.replay = fmt::format(
      "{}{}", argv[0],
      arguments.seconds > 0 ? fmt::format(" --duration {}", arguments.seconds) : std::string());
  if (!parse_range(arguments.seeds, squad.first, squad.last)) {
    fmt::print(stderr, "markab-sim: --seed N or --seeds A..B is needed; see --help\n");
    return 2;
  }
  return run_squad(squad);
}

}  // namespace
}  // namespace markab::sim

int main(int argc, char** argv) { return markab::sim::main(argc, argv); }
