#include "simulation.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log_sink.h"
#include "faults.h"
#include "sim_cluster.h"
#include "workload.h"

namespace markab::sim {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Within this after the faults every partition is whole again, and every key was written again.
constexpr Duration kHealBound = seconds(120);
constexpr Duration kProgressBound = seconds(30);
constexpr Duration kReadBound = seconds(60);
// How often leases are looked at besides each answer to a client.
constexpr Duration kLeaseCheck = milliseconds(100);
constexpr Duration kNextLeader = seconds(30);

// The seed's cluster.
ClusterOptions draw_cluster(Random& random) {
  ClusterOptions options;
  options.metas = random.chance(0.2) ? 1 : 3;
  options.replicas = 3 + static_cast<int>(random.below(3));
  options.clients = 2 + static_cast<int>(random.below(3));
  options.shards = 1 + static_cast<int>(random.below(3));
  auto sync = random.below(10);
  options.log_sync = sync < 6   ? wal::LogSync::kAlways
                     : sync < 8 ? wal::LogSync::kInterval
                                : wal::LogSync::kNone;
  options.flush_after_log_bytes = uint64_t{4096} << random.below(6);
  options.cache_mutations = size_t{8} << random.below(8);
  return options;
}

// Not from the same dice as the cluster: a seed's cluster and faults are the same on either.
bool on_zookeeper(const RunOptions& options) {
  if (options.coordinator != Coordinator::kDrawn)
    return options.coordinator == Coordinator::kZooKeeper;
  return Random(options.seed ^ 0x7a6f6f6b65657065).chance(0.5);
}

ClusterOptions with_coordinator(const RunOptions& options, ClusterOptions cluster) {
  cluster.zookeeper = on_zookeeper(options);
  constexpr Duration kTimeouts[] = {seconds(2), seconds(4), seconds(10)};
  cluster.zookeeper_timeout = kTimeouts[options.seed % 3];
  return cluster;
}

// Writes the timeline: who, when, what.
class Timeline {
 public:
  Timeline(std::FILE* file, const SimWorld& world, bool debug) : file_(file), world_(world) {
    previous_level_ = log::level();
    log::set_level(file == nullptr ? log::Level::kOff
                   : debug         ? log::Level::kDebug
                                   : log::Level::kInfo);
    current = this;
    log::set_sink([](log::Level level, std::string_view line) {
      const char* mark = level >= log::Level::kError     ? "E "
                         : level == log::Level::kWarning ? "W "
                                                         : "";
      auto* running = current->world_.running();
      current->line(running == nullptr ? "-" : running->name(), fmt::format("{}{}", mark, line));
    });
  }
  ~Timeline() {
    log::set_sink(nullptr);
    log::set_level(previous_level_);
    current = nullptr;
  }
  bool on() const { return file_ != nullptr; }
  void line(std::string_view who, std::string_view what) {
    if (file_ == nullptr) return;
    fmt::print(file_, "{:12.6f} {:<6} {}\n",
               static_cast<double>(world_.now().ns - 1'000'000'000) / 1e9, who, what);
  }

 private:
  static inline Timeline* current = nullptr;
  std::FILE* file_;
  const SimWorld& world_;
  log::Level previous_level_;
};

class Run {
 public:
  explicit Run(const RunOptions& options)
      : options_(options),
        dice_(options.seed ^ 0x6d61726b61622d73),
        cluster_(options.seed, with_coordinator(options, draw_cluster(dice_))) {
    timeline_ = std::make_unique<Timeline>(options.trace, cluster_.world(), options.trace_debug);
    auto plan = draw_plan(dice_);
    if (cluster_.zookeeper() != nullptr) add_zookeeper_faults(plan, options.seed);
    faults_ = std::make_unique<Faults>(cluster_, plan);
    workload_ = std::make_unique<Workload>(cluster_, draw_workload());
  }

  RunResult go() {
    prepare();
    if (strike() && heal()) judge();
    return result();
  }

 private:
  WorkloadOptions draw_workload() {
    WorkloadOptions workload;
    workload.slots = 6 + static_cast<int>(dice_.below(12));
    workload.lanes = 1 + static_cast<int>(dice_.below(3));
    return workload;
  }
  Random& random() { return cluster_.world().random(); }
  SimWorld& world() { return cluster_.world(); }
  void complain(std::string what) {
    timeline_->line("!", what);
    cluster_.watch().violation(std::move(what));
  }
  bool clean() { return cluster_.watch().violations().empty(); }

  void prepare() {
    const auto& o = cluster_.options();
    timeline_->line(
        "-", fmt::format("{} metas, {} replica servers of {} shards, {} clients, log_sync "
                         "{}, flushes after {} bytes of log",
                         o.metas, o.replicas, o.shards, o.clients, static_cast<int>(o.log_sync),
                         o.flush_after_log_bytes));
    if (timeline_->on()) {
      faults_->on_event([this](const std::string& what) { timeline_->line("*", what); });
      if (options_.trace_operations) {
        workload_->on_end([this](const std::string& key, const Operation& op) {
          timeline_->line(fmt::format("c{}", op.client),
                          fmt::format("{} {} (since {:.6f})", key, to_string(op),
                                      static_cast<double>(op.begin.ns - 1'000'000'000) / 1e9));
        });
      }
    }
    cluster_.create_table("sim", 1 << dice_.below(4));
    cluster_.network().on_answer([this](HostPort to) {
      if (to.ipv4 < SimCluster::client_address(0).ipv4) return;
      cluster_.check_leases();
      cluster_.check_leaders();
    });
    watch_leases();
    change_pace(true);
    workload_->start();
    world().run_for(seconds(2));
  }

  void watch_leases() {
    cluster_.check_leases();
    cluster_.check_leaders();
    cluster_.check_ballots();
    world().schedule_after(kLeaseCheck, [this] { watch_leases(); });
  }

  // Bursts, when operations meet in flight, and calm, when it is the rare events that matter.
  void change_pace(bool busy) {
    if (healing_) busy = true;
    auto think = busy ? milliseconds(3 + static_cast<int64_t>(random().below(15)))
                      : milliseconds(200 + static_cast<int64_t>(random().below(2000)));
    auto lasting = busy ? milliseconds(200 + static_cast<int64_t>(random().below(800)))
                        : milliseconds(2000 + static_cast<int64_t>(random().below(15000)));
    workload_->set_pace(think);
    world().schedule_after(lasting, [this, busy] { change_pace(!busy); });
  }

  // False: a violation ended it.
  bool strike() {
    auto lasting =
        options_.duration.value_or(seconds(120 + static_cast<int64_t>(dice_.below(480))));
    faults_->start();
    world().run_until([this] { return !clean(); }, lasting);
    faults_->end();
    return clean();
  }

  bool heal() {
    auto healed = [this] { return !clean() || cluster_.unhealthy().empty(); };
    Instant began = world().now();
    bool well = false;
    // Looking at everything costs more than a simulated instant: not before each event.
    while (!well && world().now() - began < kHealBound) {
      world().run_for(milliseconds(200));
      for (int i = 0; i < cluster_.options().replicas; ++i) {
        if (!cluster_.up(i)) faults_->bring_up(i);
      }
      well = healed();
    }
    if (!clean()) return false;
    if (!well) {
      complain(fmt::format("{} s after the last fault the cluster is not whole: {}",
                           kHealBound.count() / 1'000'000'000, cluster_.unhealthy()));
      return false;
    }
    timeline_->line("-", "the cluster is whole");
    healing_ = true;
    workload_->set_pace(milliseconds(20));
    workload_->mark();
    if (!world().run_until([this] { return workload_->all_moved(); }, kProgressBound)) {
      complain(fmt::format("{} could not be written for {} s in a healthy cluster",
                           workload_->unmoved(), kProgressBound.count() / 1'000'000'000));
      return false;
    }
    workload_->stop();
    world().run_until([this] { return workload_->idle(); }, seconds(10));
    workload_->read_all();
    if (!world().run_until([this] { return workload_->idle() && !workload_->reading(); },
                           kReadBound)) {
      complain("a key could not be read in a healthy cluster");
      return false;
    }
    return clean();
  }

  void judge() {
    workload_->judge(cluster_.watch());
    world().run_for(seconds(3));  // members hear of the last commit
    compare_members();
    compare_state();
    if (!clean()) return;
    if (auto left = cluster_.shut_down(); !left.empty()) complain("at shutdown " + left);
  }

  void compare_state() {
    if (cluster_.state_watch() == nullptr) return;
    // A leader whose session was ended before its time may just have found out: who comes next
    // waits for its lease.
    world().run_until([this] { return cluster_.leading_core() != nullptr; }, kNextLeader);
    std::string difference;
    auto same = [&] {
      auto* core = cluster_.leading_core();
      difference = core == nullptr ? std::string("no meta server leads any more")
                                   : cluster_.state_watch()->difference(*core);
      return difference.empty();
    };
    for (int attempt = 0; attempt < 20 && !same(); ++attempt) world().run_for(milliseconds(100));
    if (!difference.empty()) complain(difference);
  }

  // At rest all members have the same rows. Who left the group without having heard of it stands
  // where it stood then.
  void compare_members() {
    struct Held {
      int node;
      SimCluster::Content content;
    };
    std::map<Gpid, std::vector<Held>> all;
    for (int i = 0; i < cluster_.options().replicas; ++i) {
      for (auto& [gpid, content] : cluster_.content(i))
        all[gpid].push_back({i, std::move(content)});
    }
    for (auto& [gpid, held] : all) {
      const auto& newest = *std::max_element(held.begin(), held.end(), [](auto& a, auto& b) {
        return std::pair(a.content.ballot, a.content.applied) <
               std::pair(b.content.ballot, b.content.applied);
      });
      for (const auto& [i, content] : held) {
        bool member = content.ballot == newest.content.ballot;
        // A member may not have heard of the last commit point.
        bool behind = member && content.applied < newest.content.applied;
        if (behind || (!member && content.applied != newest.content.applied)) continue;
        if (newest.content.applied == content.applied && newest.content.rows == content.rows)
          continue;
        complain(fmt::format("{}: r{} has {} rows at decree {}, r{} has {} at {}; they differ",
                             gpid, i, content.rows.size(), content.applied, newest.node,
                             newest.content.rows.size(), newest.content.applied));
      }
    }
  }

  RunResult result() {
    RunResult out;
    out.seed = options_.seed;
    out.violations = cluster_.watch().violations();
    for (const auto& violation : out.violations) timeline_->line("!", violation);
    out.fingerprint = world().fingerprint();
    out.simulated = world().now() - Instant{1'000'000'000};
    out.operations = workload_->done();
    out.unknown = workload_->unknown();
    out.faults = faults_->struck();
    out.messages = cluster_.network().messages();
    out.events = world().events_run();
    out.keys = workload_->keys();
    if (auto* zookeeper = cluster_.zookeeper()) {
      out.zookeeper = true;
      out.expirations = zookeeper->expirations();
    }
    return out;
  }

  const RunOptions options_;
  Random dice_;  // of the run's shape; what happens in it is the world's chance
  // They outlive the cluster, whose end calls back.
  std::unique_ptr<Timeline> timeline_;
  std::unique_ptr<Faults> faults_;
  std::unique_ptr<Workload> workload_;
  bool healing_ = false;
  SimCluster cluster_;
};

}  // namespace

RunResult run(const RunOptions& options) { return Run(options).go(); }

}  // namespace markab::sim
