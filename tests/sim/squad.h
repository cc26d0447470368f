#pragma once
// Many seeds, shared by child processes, so that a failed assertion or an endless loop ends one run
// and names its seed.

#include <cstdint>
#include <string>

#include "simulation.h"

namespace markab::sim {

struct SquadOptions {
  RunOptions run;  // but for the seed
  uint64_t first = 1;
  uint64_t last = 1;
  int jobs = 1;
  // No new seed is begun when so much was simulated; 0: all seeds.
  Duration max_simulated{};
  // The first violation ends it: planted bugs are looked for, not counted.
  bool stop_at_violation = false;
  bool progress = true;
  bool silent = false;  // says nothing of violations, nor do the children
  std::string replay;   // the command that replays a seed, but for " --seed N"
};

struct SquadResult {
  uint64_t runs = 0;
  uint64_t violations = 0;
  uint64_t first_bad = 0;       // the lowest seed with a violation, 0: none
  std::string first_complaint;  // its first line
  Duration simulated{};
};

SquadResult run_seeds(const SquadOptions& options);
// With a summary line; the exit code.
int run_squad(const SquadOptions& options);

}  // namespace markab::sim
