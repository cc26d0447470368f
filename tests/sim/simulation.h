#pragma once
// One run: a cluster, its clients and what befalls it, all drawn from one seed; then the verdict.
// The same seed (and options) is the same run, event by event.

#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"

namespace markab::sim {

// What the meta servers are coordinated by: production code over a simulated ZooKeeper, or a
// stand-in for the embedded one.
enum class Coordinator { kDrawn, kEmbedded, kZooKeeper };

struct RunOptions {
  uint64_t seed = 1;
  // How long faults strike; by default the seed says.
  std::optional<Duration> duration;
  // Drawn: the seed says.
  Coordinator coordinator = Coordinator::kEmbedded;
  // The timeline goes there; nullptr: there is none.
  std::FILE* trace = nullptr;
  bool trace_operations = true;
  bool trace_debug = false;  // also the debug lines of the log
};

struct RunResult {
  uint64_t seed = 0;
  std::vector<std::string> violations;
  uint64_t fingerprint = 0;
  Duration simulated{};
  uint64_t operations = 0;  // that clients were told of
  uint64_t unknown = 0;     // writes without an answer
  uint64_t faults = 0;
  uint64_t messages = 0;
  uint64_t events = 0;
  size_t keys = 0;
  bool zookeeper = false;
  uint64_t expirations = 0;  // of ZooKeeper's sessions
};

RunResult run(const RunOptions& options);

}  // namespace markab::sim
