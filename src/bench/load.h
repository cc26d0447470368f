#pragma once
// A closed loop: so many connections, each with so many requests on their way, and a new one for
// each answer.
//
// A connection is a TCP connection to each node that is needed. A worker is one event loop
// with a share of the connections; few workers carry many connections, since on a small
// machine the load generator must not take the servers' processor time. Started, stopped and
// read by the main thread.

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "base/metrics.h"
#include "client/config_file.h"
#include "client/core.h"

namespace markab::bench {

enum class Workload { kFill, kGet, kSet, kMixed };

struct LoadOptions {
  std::vector<HostPort> metas;
  std::string table;
  Workload workload = Workload::kGet;
  uint64_t keys = 100000;
  int connections = 50;
  int depth = 1;
  size_t value_size = 100;
  double read_share = 0.5;  // of kMixed
  int threads = 1;
  uint64_t seed = 1;
  Duration timeout = std::chrono::seconds(5);
  KerberosOptions kerberos;
};

struct LoadResult {
  int64_t operations = 0;  // that succeeded, missing rows among them
  int64_t errors = 0;
  int64_t missing = 0;  // gets that found no row
  Histogram latency_ns;
  std::string first_error;
};

class Load {
 public:
  // Asks for the table's partitions; the first request of each connection dials.
  static Result<std::unique_ptr<Load>> open(const LoadOptions& options);
  ~Load();

  // Fills the pipes. What is answered counts from count() on.
  void start();
  // Forgets what was counted so far.
  void count();
  // kFill: every key was written (or failed).
  bool filled() const;
  // What was counted; the load goes on.
  void read(LoadResult& result);
  // No new requests; waits for the answers.
  void stop();

 private:
  struct Worker;
  explicit Load(const LoadOptions& options);

  const LoadOptions options_;
  io::RealRuntime runtime_;
  std::unique_ptr<security::Dialler> dialler_;
  std::atomic<uint64_t> next_fill_{0};
  std::atomic<int64_t> fill_done_{0};
  std::vector<std::unique_ptr<Worker>> workers_;
};

// "key:000000000042".
std::string key_of(uint64_t i);

}  // namespace markab::bench
