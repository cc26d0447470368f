#include "faults.h"

#include <cmath>

#include "idl/meta_admin_types.h"
#include "rpc/codec.h"

namespace markab::sim {

using std::chrono::milliseconds;
using std::chrono::seconds;

FaultPlan draw_plan(Random& random) {
  FaultPlan plan;
  auto& w = plan.weights;
  for (int* weight :
       {&w.noise, &w.cut, &w.flap, &w.kill, &w.crash, &w.power, &w.restart, &w.rolling, &w.pause,
        &w.meta, &w.slow_disk, &w.full_disk, &w.bad_disk, &w.rot, &w.new_disk, &w.clock, &w.move}) {
    if (random.chance(0.4)) *weight = 0;
    if (random.chance(0.1)) *weight *= 5;
  }
  w.move = std::max(w.move, 1);  // something always happens
  plan.mean_gap = seconds(1 + static_cast<int64_t>(random.below(12)));
  return plan;
}

Faults::Faults(SimCluster& cluster, FaultPlan plan)
    : cluster_(cluster),
      plan_(plan),
      nodes_(static_cast<size_t>(cluster.options().replicas)),
      meta_busy_(static_cast<size_t>(cluster.options().metas)) {}

Duration Faults::between(Duration least, Duration most) {
  return least + Duration(static_cast<int64_t>(
                     random().below(static_cast<uint64_t>((most - least).count()) + 1)));
}

void Faults::say(const std::string& what) {
  if (on_event_) on_event_(what);
}

void Faults::later(Duration delay, Task task) {
  cluster_.world().schedule_after(delay, [this, task = std::move(task)] {
    if (!over_) task();
  });
}

void Faults::start() { next(); }

void Faults::next() {
  double u = static_cast<double>(random().below(1'000'000) + 1) / 1e6;
  auto gap =
      Duration(static_cast<int64_t>(-std::log(u) * static_cast<double>(plan_.mean_gap.count())));
  later(gap, [this] {
    strike();
    next();
  });
}

void Faults::strike() {
  if (lost_ && !nodes_[static_cast<size_t>(*lost_)].busy && cluster_.boots(*lost_) > lost_boots_ &&
      cluster_.unhealthy().empty()) {
    lost_.reset();
  }
  if (quiet_) return;
  ++struck_;
  const auto& w = plan_.weights;
  auto on_node = [this](void (Faults::*fault)(int)) {
    return Task([this, fault] {
      if (auto node = idle_node()) (this->*fault)(*node);
    });
  };
  std::vector<std::pair<int, Task>> choices;
  choices.emplace_back(w.noise, [this] { noise(); });
  choices.emplace_back(w.cut, [this] { cut(); });
  choices.emplace_back(w.flap, [this] { flap(); });
  choices.emplace_back(w.kill, [this] {
    if (auto node = idle_node()) kill(*node, false);
  });
  choices.emplace_back(w.crash, [this] {
    if (auto node = idle_node()) kill(*node, true);
  });
  choices.emplace_back(w.power, [this] { power(); });
  choices.emplace_back(w.restart, [this] {
    if (auto node = idle_node()) restart(*node, [] {});
  });
  choices.emplace_back(w.rolling, [this] {
    if (!rolling_) rolling(0);
  });
  choices.emplace_back(w.pause, on_node(&Faults::pause));
  choices.emplace_back(w.meta, [this] { meta(); });
  choices.emplace_back(w.slow_disk, on_node(&Faults::slow_disk));
  choices.emplace_back(w.full_disk, on_node(&Faults::full_disk));
  choices.emplace_back(w.bad_disk, on_node(&Faults::bad_disk));
  choices.emplace_back(w.rot, on_node(&Faults::rot));
  choices.emplace_back(w.new_disk, on_node(&Faults::new_disk));
  choices.emplace_back(w.clock, [this] { clock(); });
  choices.emplace_back(w.move, [this] { move(); });
  choices.emplace_back(w.ensemble, [this] { ensemble(); });
  choices.emplace_back(w.tables, [this] { tables(); });
  uint64_t total = 0;
  for (const auto& [weight, task] : choices) total += static_cast<uint64_t>(weight);
  auto dice = random().below(total);
  for (auto& [weight, task] : choices) {
    if (dice < static_cast<uint64_t>(weight)) return task();
    dice -= static_cast<uint64_t>(weight);
  }
}

void Faults::end() {
  over_ = true;
  auto& network = cluster_.network();
  network.set_faults({});
  network.heal();
  for (int i = 0; i < cluster_.options().clients; ++i) cluster_.client_runtime(i).resume();
  end_ensemble_faults();
  for (int i = 0; i < cluster_.options().metas; ++i) {
    if (!cluster_.meta_up(i)) cluster_.boot_meta(i);
    cluster_.meta_runtime(i).resume();
    cluster_.meta_runtime(i).set_clock_drift_ppm(0);
  }
  for (int i = 0; i < cluster_.options().replicas; ++i) {
    cluster_.files(i).set_capacity(uint64_t{1} << 40);
    cluster_.files(i).set_fault_rates({});
    disk_is_fast(i);
    cluster_.set_clock(i, {0, cluster_.clock(i).wall_offset_us});
    if (cluster_.up(i)) cluster_.runtime(i).resume();
    disk_is_well(i);
    if (!cluster_.up(i)) boot(i);
    if (cluster_.stopping(i)) boot_when_stopped(i);
  }
  say("all faults end");
}

// Who was asked to stop shortly before the faults ended stops after that.
void Faults::boot_when_stopped(int node) {
  cluster_.world().schedule_after(milliseconds(100), [this, node] {
    if (!cluster_.up(node)) return boot(node);
    if (cluster_.stopping(node)) boot_when_stopped(node);
  });
}

// --- network ---

void Faults::noise() {
  if (noisy_) return;
  noisy_ = true;
  NetworkFaults faults;
  faults.max_delay = between(milliseconds(1), milliseconds(20));
  if (random().chance(0.5)) faults.lose = 0.002 * static_cast<double>(random().below(20));
  if (random().chance(0.5)) faults.spike = 0.002 * static_cast<double>(random().below(20));
  if (random().chance(0.5)) faults.reset = 0.001 * static_cast<double>(random().below(20));
  faults.max_spike = between(milliseconds(50), seconds(4));
  auto lasting = between(seconds(1), seconds(20));
  say(fmt::format("noise for {:.1f} s: lose {:.3f}, spike {:.3f}, reset {:.3f}",
                  static_cast<double>(lasting.count()) / 1e9, faults.lose, faults.spike,
                  faults.reset));
  cluster_.network().set_faults(faults);
  later(lasting, [this] {
    noisy_ = false;
    cluster_.network().set_faults({});
    say("the noise ends");
  });
}

void Faults::cut() {
  auto all = cluster_.addresses();
  auto victim = all[random().below(all.size())];
  bool to = !random().chance(0.3);
  bool from = !to || !random().chance(0.3);
  double each = random().chance(0.5) ? 1.0 : 0.5;
  // A replica server that only clients reach: what it prepares stays with it, others lead without
  // it, and it comes back when they have hardly begun.
  bool orphaned = random().chance(0.4);
  if (orphaned) {
    victim = SimCluster::replica_address(static_cast<int>(random().below(nodes_.size())));
    to = from = true;
    each = random().chance(0.7) ? 1.0 : 0.3;
  }
  std::vector<std::pair<HostPort, HostPort>> cuts;
  for (auto other : all) {
    bool client = other.ipv4 >= SimCluster::client_address(0).ipv4;
    bool meta = other.ipv4 < SimCluster::replica_address(0).ipv4;
    if (other == victim || (orphaned && client)) continue;
    if (!(orphaned && meta) && !random().chance(each)) continue;
    if (to) cuts.emplace_back(other, victim);
    if (from) cuts.emplace_back(victim, other);
  }
  auto lasting = random().chance(0.3) ? between(milliseconds(50), seconds(2))
                                      : between(seconds(2), seconds(25));
  if (orphaned && random().chance(0.7)) lasting = between(seconds(6), seconds(9));
  say(fmt::format("{} is cut off ({} ways{}{}) for {:.1f} s", victim, cuts.size(), to ? ", in" : "",
                  from ? ", out" : "", static_cast<double>(lasting.count()) / 1e9));
  for (auto [a, b] : cuts) cluster_.network().cut(a, b);
  later(lasting, [this, cuts, victim] {
    for (auto [a, b] : cuts) cluster_.network().heal(a, b);
    say(fmt::format("{} is reachable again", victim));
  });
}

void Faults::flap() {
  auto all = cluster_.addresses();
  auto a = all[random().below(all.size())];
  auto b = all[random().below(all.size())];
  if (a == b) return;
  say(fmt::format("the way from {} to {} comes and goes", a, b));
  flap_once(a, b, true, 5 + static_cast<int>(random().below(15)));
}

void Faults::flap_once(HostPort a, HostPort b, bool open, int left) {
  if (open && left > 0 && !quiet_) cluster_.network().cut(a, b);
  if (!open) cluster_.network().heal(a, b);
  if (left == 0) return;
  later(between(milliseconds(20), milliseconds(1500)),
        [this, a, b, open, left] { flap_once(a, b, !open, open ? left : left - 1); });
}

// --- processes and machines ---

std::optional<int> Faults::idle_node() {
  auto first = random().below(nodes_.size());
  for (size_t i = 0; i < nodes_.size(); ++i) {
    auto node = (first + i) % nodes_.size();
    if (!nodes_[node].busy && cluster_.up(static_cast<int>(node)) &&
        !cluster_.stopping(static_cast<int>(node))) {
      return static_cast<int>(node);
    }
  }
  return std::nullopt;
}

// What was acknowledged may be lost on one node, while all others have it.
bool Faults::may_lose(int node) {
  if (lost_) return false;
  if (!cluster_.unhealthy().empty()) return false;
  for (const auto& other : nodes_) {
    if (other.busy) return false;
  }
  lost_ = node;
  lost_boots_ = cluster_.boots(node) - 1;
  return true;
}

void Faults::kill(int node, bool machine) {
  if (machine && cluster_.options().log_sync != wal::LogSync::kAlways && !may_lose(node))
    machine = false;
  nodes_[static_cast<size_t>(node)].busy = true;
  say(fmt::format("r{}: {}", node, machine ? "the machine crashes" : "the process is killed"));
  if (machine) {
    cluster_.crash(node);
  } else {
    cluster_.kill(node);
  }
  if (!machine && random().chance(0.5)) cluster_.report_death(node);
  auto down = random().chance(0.4) ? between(milliseconds(20), seconds(2))
                                   : between(seconds(2), seconds(30));
  boot_later(node, down);
}

// All at once: what was synced must be enough.
void Faults::power() {
  if (cluster_.options().log_sync != wal::LogSync::kAlways || lost_) return;
  for (const auto& node : nodes_) {
    if (node.busy) return;
  }
  say("all machines lose power");
  for (size_t i = 0; i < nodes_.size(); ++i) {
    int node = static_cast<int>(i);
    nodes_[i].busy = true;
    cluster_.crash(node);
    boot_later(node, between(milliseconds(100), seconds(10)));
  }
}

void Faults::boot_later(int node, Duration delay) {
  later(delay, [this, node] { boot(node); });
}

void Faults::boot(int node) {
  if (!cluster_.up(node)) {
    cluster_.boot(node);
    say(fmt::format("r{} boots", node));
    if (!cluster_.up(node) && lost_ == node) {
      // The daemon cannot use the disk and says so. Its operator makes room, since this may by now
      // be the last node that has something ...
      cluster_.files(node).set_capacity(uint64_t{1} << 40);
      cluster_.files(node).set_fault_rates({});
      cluster_.boot(node);
    }
    if (!cluster_.up(node) && lost_ == node) {
      // ... and puts in another one when it was not that.
      cluster_.files(node).wipe();
      cluster_.boot(node);
      say(fmt::format("r{} gets a new disk and boots", node));
    }
  }
  if (cluster_.up(node)) {
    nodes_[static_cast<size_t>(node)].busy = false;
  } else if (!over_) {
    boot_later(node, seconds(1));
  }
}

void Faults::restart(int node, Task then) {
  nodes_[static_cast<size_t>(node)].busy = true;
  say(fmt::format("r{} is asked to stop", node));
  cluster_.stop(node);
  await_stop(node, std::make_shared<Task>(std::move(then)), 100);
}

// What does not stop within 10 s is killed, as service managers do.
void Faults::await_stop(int node, std::shared_ptr<Task> then, int left) {
  if (cluster_.up(node) && left > 0) {
    later(milliseconds(100), [this, node, then, left] { await_stop(node, then, left - 1); });
    return;
  }
  if (cluster_.up(node)) {
    say(fmt::format("r{} did not stop in time and is killed", node));
    cluster_.kill(node);
  }
  later(between(milliseconds(10), seconds(3)), [this, node, then] {
    boot(node);
    (*then)();
  });
}

void Faults::rolling(int node) {
  rolling_ = node < cluster_.options().replicas;
  if (!rolling_) return;
  auto on = [this, node] {
    later(between(milliseconds(100), seconds(5)), [this, node] { rolling(node + 1); });
  };
  if (nodes_[static_cast<size_t>(node)].busy || !cluster_.up(node) || cluster_.stopping(node))
    return on();
  restart(node, on);
}

void Faults::pause(int node) {
  auto dice = random().below(3);
  auto lasting = dice == 0   ? between(milliseconds(50), seconds(2))
                 : dice == 1 ? between(seconds(3), seconds(8))
                             : between(seconds(8), seconds(40));
  nodes_[static_cast<size_t>(node)].busy = true;
  say(fmt::format("r{} sleeps for {:.1f} s", node, static_cast<double>(lasting.count()) / 1e9));
  cluster_.runtime(node).pause();
  later(lasting, [this, node] {
    cluster_.runtime(node).resume();
    nodes_[static_cast<size_t>(node)].busy = false;
    say(fmt::format("r{} wakes", node));
  });
}

void Faults::meta() {
  auto i = random().below(meta_busy_.size());
  int node = static_cast<int>(i);
  // Mostly the one that matters.
  for (size_t m = 0; m < meta_busy_.size() && random().chance(0.8); ++m) {
    if (cluster_.meta_address(static_cast<int>(m)) == cluster_.elected()) {
      i = m;
      node = static_cast<int>(m);
    }
  }
  if (meta_busy_[i]) return;
  meta_busy_[i] = true;
  auto lasting = between(milliseconds(100), seconds(15));
  auto text = fmt::format("for {:.1f} s", static_cast<double>(lasting.count()) / 1e9);
  switch (random().below(3)) {
    case 0:
      say(fmt::format("m{} is killed {}", node, text));
      cluster_.kill_meta(node);
      later(lasting, [this, node] {
        cluster_.boot_meta(node);
        meta_busy_[static_cast<size_t>(node)] = false;
        say(fmt::format("m{} boots", node));
      });
      break;
    case 1:
      say(fmt::format("m{} sleeps {}", node, text));
      cluster_.meta_runtime(node).pause();
      later(lasting, [this, node] {
        cluster_.meta_runtime(node).resume();
        meta_busy_[static_cast<size_t>(node)] = false;
        say(fmt::format("m{} wakes", node));
      });
      break;
    default: {
      say(fmt::format("m{} loses the coordinator {}", node, text));
      auto self = SimCluster::meta_address(node);
      for (auto coordinator : cluster_.coordinators()) {
        cluster_.network().cut(self, coordinator);
        cluster_.network().cut(coordinator, self);
      }
      later(lasting, [this, node, self] {
        for (auto coordinator : cluster_.coordinators()) {
          cluster_.network().heal(self, coordinator);
          cluster_.network().heal(coordinator, self);
        }
        meta_busy_[static_cast<size_t>(node)] = false;
      });
    }
  }
}

// --- disks and clocks ---

void Faults::slow_disk(int node) {
  auto most = random().chance(0.5) ? between(milliseconds(5), milliseconds(200))
                                   : between(milliseconds(200), seconds(4));
  auto lasting = between(seconds(1), seconds(20));
  say(fmt::format("r{}: its disk takes up to {} ms", node, most.count() / 1'000'000));
  cluster_.set_disk_latency(node, milliseconds(1), most);
  later(lasting, [this, node] {
    disk_is_fast(node);
    say(fmt::format("r{}: its disk is fast again", node));
  });
}

void Faults::disk_is_fast(int node) {
  cluster_.set_disk_latency(node, std::chrono::microseconds(50), std::chrono::microseconds(500));
}

void Faults::full_disk(int node) {
  auto& files = cluster_.files(node);
  files.set_capacity(files.used_bytes() + random().below(20000));
  say(fmt::format("r{}: its disk fills up", node));
  later(between(seconds(2), seconds(20)), [this, node] {
    cluster_.files(node).set_capacity(uint64_t{1} << 40);
    say(fmt::format("r{}: its disk has room again", node));
  });
}

void Faults::bad_disk(int node) {
  if (!may_lose(node)) return;
  SimFileSystem::FaultRates rates;
  double rate = random().chance(0.3) ? 1.0 : 0.02 * static_cast<double>(1 + random().below(10));
  if (random().chance(0.5)) rates.append = rate;
  if (random().chance(0.5)) rates.sync = rate;
  if (random().chance(0.5)) rates.read = rate;
  if (random().chance(0.5)) rates.metadata = rate;
  say(fmt::format("r{}: its disk fails ({:.2f})", node, rate));
  cluster_.files(node).set_fault_rates(rates);
  nodes_[static_cast<size_t>(node)].bad_disk = true;
  later(between(milliseconds(100), seconds(10)), [this, node] {
    cluster_.files(node).set_fault_rates({});
    say(fmt::format("r{}: its disk works again", node));
    disk_is_well(node);
  });
}

// Its operator restarts the daemon, which does not trust the disk again by itself.
void Faults::disk_is_well(int node) {
  auto& state = nodes_[static_cast<size_t>(node)];
  if (!state.bad_disk) return;
  if (state.busy && !over_) return later(seconds(1), [this, node] { disk_is_well(node); });
  state.bad_disk = false;
  if (!cluster_.up(node)) return;
  state.busy = true;
  say(fmt::format("r{} is restarted with its mended disk", node));
  cluster_.kill(node);
  if (over_) return boot(node);
  boot_later(node, seconds(1));
}

// Some durable bytes change. Mostly the process has just ended, and reads them when it starts.
// Under one that runs, nothing else happens until it was restarted: with a disk that rots
// unnoticed, it must not become the last one that has something.
void Faults::rot(int node) {
  if (!may_lose(node)) return;
  auto& state = nodes_[static_cast<size_t>(node)];
  state.busy = true;
  bool at_rest = random().chance(0.7);
  if (at_rest) cluster_.kill(node);
  auto& files = cluster_.files(node);
  auto names = files.durable_files();
  for (auto flips = 1 + random().below(3); flips > 0 && !names.empty(); --flips) {
    const auto& name = names[random().below(names.size())];
    auto offset = random().below(files.synced_bytes(name));
    files.rot(name, offset, static_cast<uint8_t>(1u << random().below(8)));
    say(fmt::format("r{}: {} rots at {}", node, name, offset));
  }
  lost_boots_ = cluster_.boots(node);
  if (at_rest) return boot_later(node, between(milliseconds(20), seconds(3)));
  quiet_ = true;
  cluster_.network().set_faults({});
  cluster_.network().heal();
  for (int i = 0; i < cluster_.options().replicas; ++i) disk_is_fast(i);
  later(between(milliseconds(100), seconds(10)), [this, node] {
    quiet_ = false;
    say(fmt::format("r{}: the process is killed, its disk having rotten", node));
    cluster_.kill(node);
    boot_later(node, between(milliseconds(20), seconds(3)));
  });
}

void Faults::new_disk(int node) {
  if (!may_lose(node)) return;
  nodes_[static_cast<size_t>(node)].busy = true;
  say(fmt::format("r{}: its disk is replaced by an empty one", node));
  cluster_.crash(node);
  cluster_.files(node).wipe();
  boot_later(node, between(milliseconds(100), seconds(10)));
}

void Faults::clock() {
  if (random().chance(0.3)) {
    auto i = static_cast<int>(random().below(meta_busy_.size()));
    auto ppm = static_cast<int64_t>(random().below(40001)) - 20000;
    if (!cluster_.meta_up(i)) return;
    say(fmt::format("m{}: its clock runs {} ppm fast", i, ppm));
    cluster_.meta_runtime(i).set_clock_drift_ppm(ppm);
    return;
  }
  auto i = static_cast<int>(random().below(nodes_.size()));
  auto clock = cluster_.clock(i);
  if (random().chance(0.5)) {
    clock.drift_ppm = static_cast<int64_t>(random().below(40001)) - 20000;
  } else {
    // Up to an hour, either way.
    clock.wall_offset_us = static_cast<int64_t>(random().below(7'200'000'000ull)) - 3'600'000'000ll;
  }
  say(fmt::format("r{}: its clock runs {} ppm fast, its wall clock is {} s ahead", i,
                  clock.drift_ppm, clock.wall_offset_us / 1'000'000));
  cluster_.set_clock(i, clock);
}

// --- operators ---

void Faults::move() {
  auto* core = cluster_.leading_core();
  if (core == nullptr || core->tables().empty()) return;
  const auto& table = core->tables().begin()->second;
  if (table.partitions.empty()) return;
  const auto& config = table.partitions[random().below(table.partitions.size())].config;
  if (!config.primary || config.secondaries.empty()) return;
  std::vector<HostPort> outside;
  for (int i = 0; i < cluster_.options().replicas; ++i) {
    if (!config.is_member(SimCluster::replica_address(i)))
      outside.push_back(SimCluster::replica_address(i));
  }
  using Type = wire::config_type;
  wire::configuration_balancer_request request;
  request.gpid = config.pid;
  auto add = [&](HostPort target, HostPort node, Type::type type) {
    wire::configuration_proposal_action action;
    action.target = target;
    action.node = node;
    action.type = type;
    request.action_list.push_back(action);
  };
  auto secondary = config.secondaries[random().below(config.secondaries.size())];
  auto dice = random().below(4);
  if (outside.empty() || dice == 0) {
    add(config.primary, config.primary, Type::CT_DOWNGRADE_TO_SECONDARY);
    add(secondary, secondary, Type::CT_UPGRADE_TO_PRIMARY);
    say(fmt::format("move the primary of {} from {} to {}", config.pid, config.primary, secondary));
  } else if (dice == 1) {
    auto to = outside[random().below(outside.size())];
    add(config.primary, to, Type::CT_ADD_SECONDARY_FOR_LB);
    add(config.primary, config.primary, Type::CT_DOWNGRADE_TO_SECONDARY);
    add(to, to, Type::CT_UPGRADE_TO_PRIMARY);
    add(to, config.primary, Type::CT_REMOVE);
    say(fmt::format("copy the primary of {} from {} to {}", config.pid, config.primary, to));
  } else if (dice == 2) {
    auto to = outside[random().below(outside.size())];
    add(config.primary, to, Type::CT_ADD_SECONDARY_FOR_LB);
    add(config.primary, secondary, Type::CT_DOWNGRADE_TO_INACTIVE);
    say(fmt::format("copy the secondary of {} from {} to {}", config.pid, secondary, to));
  } else {
    add(config.primary, secondary, Type::CT_DOWNGRADE_TO_INACTIVE);
    say(fmt::format("drop the secondary of {} at {}", config.pid, secondary));
  }
  cluster_.ask_meta(rpc::TaskCode::kProposeBalancer, rpc::encode_args(request), nullptr);
}

}  // namespace markab::sim
