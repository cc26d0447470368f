#include "squad.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <vector>

#include "base/assert.h"

namespace markab::sim {

namespace {

using Clock = std::chrono::steady_clock;

// A run that takes longer does not come to rest. Generous: machines may be busy.
constexpr auto kWallBound = std::chrono::seconds(300);
constexpr auto kProgressEvery = std::chrono::seconds(10);

// What a child says after each run; the complaint follows.
struct Report {
  uint64_t seed;
  int64_t simulated_ns;
  uint64_t operations;
  uint64_t faults;
  uint32_t violations;
  uint32_t complaint_bytes;
};

struct Worker {
  pid_t pid = -1;
  int to = -1;        // seeds
  int from = -1;      // reports
  uint64_t seed = 0;  // 0: none under way
  Clock::time_point began;
};

bool read_all(int fd, void* to, size_t size) {
  auto* at = static_cast<char*>(to);
  while (size > 0) {
    ssize_t n = ::read(fd, at, size);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    at += n;
    size -= static_cast<size_t>(n);
  }
  return true;
}

bool write_all(int fd, const void* from, size_t size) {
  const auto* at = static_cast<const char*>(from);
  while (size > 0) {
    ssize_t n = ::write(fd, at, size);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    at += n;
    size -= static_cast<size_t>(n);
  }
  return true;
}

[[noreturn]] void serve_as_worker(RunOptions options, int seeds, int reports) {
  uint64_t seed = 0;
  while (read_all(seeds, &seed, sizeof(seed))) {
    options.seed = seed;
    auto result = run(options);
    std::string complaint;
    for (const auto& violation : result.violations) complaint += violation + "\n";
    Report report{seed,
                  result.simulated.count(),
                  result.operations,
                  result.faults,
                  static_cast<uint32_t>(result.violations.size()),
                  static_cast<uint32_t>(complaint.size())};
    if (!write_all(reports, &report, sizeof(report)) ||
        !write_all(reports, complaint.data(), complaint.size())) {
      break;
    }
  }
  ::_exit(0);
}

class Squad {
 public:
  explicit Squad(const SquadOptions& options) : options_(options), next_(options.first) {
    ::signal(SIGPIPE, SIG_IGN);
    workers_.resize(static_cast<size_t>(options.jobs));
    began_ = last_progress_ = Clock::now();
  }

  SquadResult go() {
    for (auto& worker : workers_) give_work(worker);
    while (any_busy()) {
      wait();
      show_progress();
    }
    for (auto& worker : workers_) dismiss(worker);
    return result_;
  }

 private:
  bool any_busy() const {
    for (const auto& worker : workers_) {
      if (worker.seed != 0) return true;
    }
    return false;
  }
  bool done() const {
    return next_ > options_.last || (options_.stop_at_violation && result_.violations > 0) ||
           (options_.max_simulated > Duration(0) && result_.simulated >= options_.max_simulated);
  }

  void start(Worker& worker) {
    int down[2];
    int up[2];
    MARKAB_ASSERT(::pipe(down) == 0 && ::pipe(up) == 0, "no pipe", std::strerror(errno));
    std::fflush(nullptr);
    worker.pid = ::fork();
    MARKAB_ASSERT(worker.pid >= 0, "no process", std::strerror(errno));
    if (worker.pid == 0) {
      ::close(down[1]);
      ::close(up[0]);
      for (const auto& other : workers_) {
        if (other.to >= 0) ::close(other.to);
        if (other.from >= 0) ::close(other.from);
      }
      if (options_.silent && std::freopen("/dev/null", "w", stderr) == nullptr) ::_exit(1);
      serve_as_worker(options_.run, down[0], up[1]);
    }
    ::close(down[0]);
    ::close(up[1]);
    worker.to = down[1];
    worker.from = up[0];
  }

  void give_work(Worker& worker) {
    worker.seed = 0;
    if (done()) return;
    if (worker.pid < 0) start(worker);
    worker.seed = next_++;
    worker.began = Clock::now();
    write_all(worker.to, &worker.seed, sizeof(worker.seed));
  }

  void dismiss(Worker& worker) {
    if (worker.pid < 0) return;
    ::close(worker.to);
    ::close(worker.from);
    ::waitpid(worker.pid, nullptr, 0);
    worker = {};
  }

  void wait() {
    std::vector<pollfd> polled;
    for (const auto& worker : workers_)
      polled.push_back({worker.seed ? worker.from : -1, POLLIN, 0});
    ::poll(polled.data(), polled.size(), 1000);
    for (size_t i = 0; i < workers_.size(); ++i) {
      auto& worker = workers_[i];
      if (worker.seed == 0) continue;
      if ((polled[i].revents & (POLLIN | POLLHUP)) != 0) {
        take_report(worker);
      } else if (Clock::now() - worker.began > kWallBound) {
        ::kill(worker.pid, SIGKILL);
        lost(worker, fmt::format("did not end within {} s", kWallBound.count()));
      }
    }
  }

  void take_report(Worker& worker) {
    Report report{};
    std::string complaint;
    bool whole = read_all(worker.from, &report, sizeof(report));
    if (whole) {
      complaint.resize(report.complaint_bytes);
      whole = read_all(worker.from, complaint.data(), complaint.size());
    }
    if (!whole) return lost(worker, "");
    ++result_.runs;
    result_.simulated += Duration(report.simulated_ns);
    operations_ += report.operations;
    faults_ += report.faults;
    if (report.violations > 0) complain(report.seed, complaint);
    give_work(worker);
  }

  // The child is gone: an assertion failed, or worse.
  void lost(Worker& worker, std::string why) {
    int status = 0;
    ::waitpid(worker.pid, &status, 0);
    if (why.empty()) {
      why = WIFSIGNALED(status) ? fmt::format("ended by signal {} ({})", WTERMSIG(status),
                                              strsignal(WTERMSIG(status)))
                                : fmt::format("ended with status {}", WEXITSTATUS(status));
    }
    ::close(worker.to);
    ::close(worker.from);
    auto seed = worker.seed;
    worker = {};
    ++result_.runs;
    complain(seed, why + "\n");
    give_work(worker);
  }

  void complain(uint64_t seed, const std::string& complaint) {
    ++result_.violations;
    if (result_.first_bad == 0 || seed < result_.first_bad) {
      result_.first_bad = seed;
      result_.first_complaint = complaint.substr(0, complaint.find('\n'));
    }
    if (options_.silent) return;
    fmt::print("VIOLATION at seed {}:\n{}  replay: {} --seed {}\n", seed, complaint,
               options_.replay, seed);
    std::fflush(stdout);
  }

  void show_progress() {
    auto now = Clock::now();
    if (!options_.progress || now - last_progress_ < kProgressEvery) return;
    last_progress_ = now;
    fmt::print("{} seeds, {:.1f} h simulated, {} violations, {:.0f} s\n", result_.runs,
               static_cast<double>(result_.simulated.count()) / 3600e9, result_.violations,
               std::chrono::duration<double>(now - began_).count());
    std::fflush(stdout);
  }

 public:
  void print_summary() const {
    double wall = std::chrono::duration<double>(Clock::now() - began_).count();
    double hours = static_cast<double>(result_.simulated.count()) / 3600e9;
    fmt::print(
        "{} seeds from {}, {:.1f} cluster-hours simulated in {:.1f} s by {} processes, {} "
        "operations, {} faults: {}\n",
        result_.runs, options_.first, hours, wall, options_.jobs, operations_, faults_,
        result_.violations == 0 ? std::string("no violation")
                                : fmt::format("{} VIOLATIONS", result_.violations));
  }

 private:
  const SquadOptions& options_;
  std::vector<Worker> workers_;
  uint64_t next_;
  SquadResult result_;
  uint64_t operations_ = 0;
  uint64_t faults_ = 0;
  Clock::time_point began_;
  Clock::time_point last_progress_;
};

}  // namespace

SquadResult run_seeds(const SquadOptions& options) { return Squad(options).go(); }

int run_squad(const SquadOptions& options) {
  Squad squad(options);
  auto result = squad.go();
  squad.print_summary();
  return result.violations == 0 ? 0 : 1;
}

}  // namespace markab::sim
