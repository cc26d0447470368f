#include "rpc/process_metrics.h"

#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>

namespace markab::rpc {

namespace {

// The kernel's figures about this process are no files in the sense of io::FileSystem: they are the
// operating system's answer to a question, and the simulator has no use for them.
int64_t statm_mb(bool resident) {
  int64_t pages[2] = {0, 0};
  if (FILE* file = std::fopen("/proc/self/statm", "re")) {
    if (std::fscanf(file, "%ld %ld", &pages[0], &pages[1]) != 2) pages[0] = pages[1] = 0;
    std::fclose(file);
  }
  return pages[resident ? 1 : 0] * sysconf(_SC_PAGESIZE) >> 20;
}

int64_t thread_count() {
  int64_t threads = 0;
  if (FILE* file = std::fopen("/proc/self/status", "re")) {
    char line[256];
    while (std::fgets(line, sizeof line, file) != nullptr) {
      if (std::sscanf(line, "Threads: %ld", &threads) == 1) break;
    }
    std::fclose(file);
  }
  return threads;
}

int64_t cpu_us() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * int64_t{1000000} +
         usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
}

}  // namespace

std::shared_ptr<MetricEntity> process_metrics(MetricRegistry& registry) {
  for (auto& entity : registry.entities()) {
    if (entity->type == "server") return entity;
  }
  auto entity = registry.entity("server", "server");
  entity->gauge({"virtual_mem_usage_mb", "MegaBytes", "The process's virtual memory"},
                [] { return statm_mb(false); });
  entity->gauge({"resident_mem_usage_mb", "MegaBytes", "The process's resident memory"},
                [] { return statm_mb(true); });
  entity->gauge({"threads", "Threads", "The process's threads"}, thread_count);
  entity->counter({"process_cpu_us", "MicroSeconds",
                   "Processor time that the process has used, user and system"},
                  cpu_us);
  return entity;
}

}  // namespace markab::rpc
