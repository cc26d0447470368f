// markab-sim: whole clusters in one process, from seeds.

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <random>

#include "base/plant.h"
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
  std::string coordinator = "embedded";
  std::string plant;
  bool list_plants = false;
  bool prove_plants = false;
};

// A planted bug must be found within so many seeds.
constexpr uint64_t kSeedsPerPlant = 200;

double in_seconds(Duration d) { return static_cast<double>(d.count()) / 1e9; }

void print_result(const RunResult& r) {
  fmt::print(
      "seed {}{}: {:.1f} s simulated, {} operations on {} keys ({} writes unanswered), {} faults, "
      "{} "
      "messages, {} events, trace {:016x}: {}\n",
      r.seed,
      r.zookeeper ? fmt::format(" on ZooKeeper ({} sessions expired)", r.expirations)
                  : std::string(),
      in_seconds(r.simulated), r.operations, r.keys, r.unknown, r.faults, r.messages, r.events,
      r.fingerprint, r.violations.empty() ? "ok" : "VIOLATION");
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

#ifdef MARKAB_PLANTS

int list_plants() {
  for (const auto& plant : kPlants) fmt::print("{:<20} {}\n", plant.name, plant.what);
  return 0;
}

// The proof that the checks can fail: each planted bug is looked for, and must be found.
int prove_plants(const Arguments& arguments, const RunOptions& options) {
  int missed = 0;
  fmt::print("{:<20} {:>6} {:>8}  {}\n", "PLANTED BUG", "SEEDS", "SECONDS", "FOUND AS");
  for (const auto& plant : kPlants) {
    planted = plant.plant;
    SquadOptions squad;
    squad.run = options;
    squad.last = kSeedsPerPlant;
    squad.jobs = arguments.jobs;
    squad.stop_at_violation = true;
    squad.progress = false;
    squad.silent = true;
    auto began = std::chrono::steady_clock::now();
    auto result = run_seeds(squad);
    double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    bool found = result.violations > 0;
    missed += found ? 0 : 1;
    fmt::print("{:<20} {:>6} {:>8.1f}  {}\n", plant.name,
               found ? std::to_string(result.first_bad) : "-", seconds,
               found ? result.first_complaint.substr(0, 100) : "NOT FOUND");
    std::fflush(stdout);
  }
  fmt::print("{} of {} planted bugs were found within {} seeds\n", kPlants.size() - missed,
             kPlants.size(), kSeedsPerPlant);
  return missed == 0 ? 0 : 1;
}

// False: there is no such plant.
bool plant_bug(const std::string& name) {
  for (const auto& plant : kPlants) {
    if (plant.name != name) continue;
    planted = plant.plant;
    return true;
  }
  return false;
}

#endif

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
                 "stop when so many hours were simulated; without --seeds from a random seed");
  app.add_option("--coordinator", arguments.coordinator,
                 "what the meta servers are coordinated by; drawn: the seed says")
      ->check(CLI::IsMember({"drawn", "embedded", "zookeeper"}));
  app.add_option("--trace", arguments.trace, "with --seed: write a timeline to this file, or -");
  app.add_flag("--debug", arguments.debug, "the timeline has debug lines, too");
  app.add_flag("--no-operations", arguments.no_operations, "the timeline leaves out operations");
  app.add_flag("--quiet", arguments.quiet, "no progress");
  app.add_option("--plant", arguments.plant, "run with this bug planted");
  app.add_flag("--list-plants", arguments.list_plants, "the bugs that can be planted");
  app.add_flag("--prove-plants", arguments.prove_plants,
               "look for each planted bug; exit 1 if one is not found within 200 seeds");
  CLI11_PARSE(app, argc, argv);

#ifndef MARKAB_PLANTS
  // Bugs are compiled into another program, so that this one runs what is shipped.
  if (!arguments.plant.empty() || arguments.list_plants || arguments.prove_plants) {
    auto planted = std::string(argv[0]) + "-planted";
    ::execv(planted.c_str(), argv);
    std::perror(planted.c_str());
    return 2;
  }
#endif

  RunOptions options;
  options.trace_debug = arguments.debug;
  options.trace_operations = !arguments.no_operations;
  options.coordinator = arguments.coordinator == "drawn"       ? Coordinator::kDrawn
                        : arguments.coordinator == "zookeeper" ? Coordinator::kZooKeeper
                                                               : Coordinator::kEmbedded;
  if (arguments.seconds > 0) {
    options.duration = Duration(static_cast<int64_t>(arguments.seconds * 1e9));
  }
#ifdef MARKAB_PLANTS
  if (arguments.list_plants) return list_plants();
  if (arguments.prove_plants) return prove_plants(arguments, options);
  if (!arguments.plant.empty() && !plant_bug(arguments.plant)) {
    fmt::print(stderr, "markab-sim: no planted bug is called {}; see --list-plants\n",
               arguments.plant);
    return 2;
  }
#endif
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
      "{}{}{}", argv[0],
      arguments.coordinator == "embedded" ? std::string()
                                          : fmt::format(" --coordinator {}", arguments.coordinator),
      arguments.seconds > 0 ? fmt::format(" --duration {}", arguments.seconds) : std::string());
  if (arguments.seeds.empty() && arguments.hours > 0) {
    squad.first = std::random_device()() % 1'000'000'000;
    squad.last = UINT64_MAX;
  } else if (!parse_range(arguments.seeds, squad.first, squad.last)) {
    fmt::print(stderr, "markab-sim: --seed N, --seeds A..B or --hours H is needed; see --help\n");
    return 2;
  }
  return run_squad(squad);
}

}  // namespace
}  // namespace markab::sim

int main(int argc, char** argv) { return markab::sim::main(argc, argv); }
