// What befalls ZooKeeper and the meta servers' sessions with it, and what administrators do to
// tables meanwhile.

#include "faults.h"
#include "idl/meta_admin_types.h"
#include "rpc/codec.h"

namespace markab::sim {

using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

// Each costs as much as a part of the workload's table.
constexpr int kMaxTables = 5;

}  // namespace

void add_zookeeper_faults(FaultPlan& plan, uint64_t seed) {
  Random random(seed ^ 0x656e73656d626c65);
  plan.weights.ensemble = 2 + static_cast<int>(random.below(8));
  if (random.chance(0.2)) plan.weights.ensemble *= 5;
  plan.weights.tables = static_cast<int>(random.below(4));
}

void Faults::ensemble() {
  switch (random().below(8)) {
    case 0:
    case 1:
      return expire();
    case 2:
    case 3:
      return away();
    case 4:
      return server_stops();
    case 5:
      return slow_ensemble();
    case 6:
      return stop_meta();
    default:
      return kill_and_report_meta();
  }
}

// Mostly the one that matters.
int Faults::some_meta() {
  int n = static_cast<int>(random().below(meta_busy_.size()));
  if (!random().chance(0.8)) return n;
  for (int m = 0; m < cluster_.options().metas; ++m) {
    if (SimCluster::meta_address(m) == cluster_.elected()) return m;
  }
  return n;
}

// By an operator's hand, before its time; perhaps its owner cannot hear of it.
void Faults::expire() {
  int node = some_meta();
  if (!cluster_.meta_up(node)) return;
  bool cut = !meta_busy_[static_cast<size_t>(node)] && random().chance(0.4);
  auto lasting = between(milliseconds(500), seconds(20));
  say(fmt::format("m{}: its session is ended{}", node,
                  cut ? fmt::format(", while it is cut off for {:.1f} s",
                                    static_cast<double>(lasting.count()) / 1e9)
                      : std::string()));
  auto self = SimCluster::meta_address(node);
  if (cut) {
    meta_busy_[static_cast<size_t>(node)] = true;
    for (auto server : cluster_.coordinators()) {
      cluster_.network().cut(self, server);
      cluster_.network().cut(server, self);
    }
    later(lasting, [this, node, self] {
      for (auto server : cluster_.coordinators()) {
        cluster_.network().heal(self, server);
        cluster_.network().heal(server, self);
      }
      meta_busy_[static_cast<size_t>(node)] = false;
      say(fmt::format("m{} reaches ZooKeeper again", node));
    });
  }
  cluster_.expire_meta(node);
}

void Faults::away() {
  if (away_) return;
  away_ = true;
  auto lasting = random().chance(0.5) ? between(milliseconds(100), seconds(5))
                                      : between(seconds(5), seconds(60));
  say(fmt::format("ZooKeeper goes away for {:.1f} s", static_cast<double>(lasting.count()) / 1e9));
  cluster_.zookeeper()->down();
  later(lasting, [this] {
    away_ = false;
    cluster_.zookeeper()->up();
    say("ZooKeeper is back");
  });
}

void Faults::server_stops() {
  if (one_stopped_) return;
  one_stopped_ = true;
  int server = static_cast<int>(random().below(3));
  say(fmt::format("ZooKeeper's server {} stops", server));
  cluster_.zookeeper()->stop_server(server);
  later(between(milliseconds(200), seconds(15)), [this, server] {
    one_stopped_ = false;
    cluster_.zookeeper()->start_server(server);
    say(fmt::format("ZooKeeper's server {} starts", server));
  });
}

void Faults::slow_ensemble() {
  if (slow_) return;
  slow_ = true;
  auto latency = between(milliseconds(5), milliseconds(700));
  auto lag = between(milliseconds(20), seconds(3));
  say(fmt::format("ZooKeeper takes up to {} ms, its servers lag by up to {} ms",
                  latency / milliseconds(1), lag / milliseconds(1)));
  cluster_.zookeeper()->set_latency(milliseconds(1), latency);
  cluster_.zookeeper()->set_lag(lag);
  later(between(seconds(1), seconds(20)), [this] {
    slow_ = false;
    cluster_.zookeeper()->set_latency(std::chrono::microseconds(100), milliseconds(2));
    cluster_.zookeeper()->set_lag(milliseconds(20));
    say("ZooKeeper is fast again");
  });
}

void Faults::boot_meta_later(int node) {
  later(between(milliseconds(20), seconds(10)), [this, node] {
    cluster_.boot_meta(node);
    meta_busy_[static_cast<size_t>(node)] = false;
    say(fmt::format("m{} boots", node));
  });
}

void Faults::stop_meta() {
  int node = some_meta();
  if (meta_busy_[static_cast<size_t>(node)] || !cluster_.meta_up(node)) return;
  meta_busy_[static_cast<size_t>(node)] = true;
  say(fmt::format("m{} is asked to stop", node));
  cluster_.stop_meta(node, [this, node] {
    say(fmt::format("m{} has stopped", node));
    if (!over_) return boot_meta_later(node);
    cluster_.boot_meta(node);
  });
}

void Faults::kill_and_report_meta() {
  int node = some_meta();
  if (meta_busy_[static_cast<size_t>(node)] || !cluster_.meta_up(node)) return;
  meta_busy_[static_cast<size_t>(node)] = true;
  say(fmt::format("m{} is killed, its supervisor reports it", node));
  cluster_.kill_meta(node);
  cluster_.report_meta_death(node);
  boot_meta_later(node);
}

void Faults::end_ensemble_faults() {
  auto* zookeeper = cluster_.zookeeper();
  if (zookeeper == nullptr) return;
  zookeeper->set_latency(std::chrono::microseconds(100), milliseconds(2));
  zookeeper->set_lag(milliseconds(20));
  for (int i = 0; i < zookeeper->servers(); ++i) zookeeper->start_server(i);
  zookeeper->up();
}

// --- operators ---

void Faults::tables() {
  if (table_asked_) return;
  std::vector<std::string> there;
  for (const auto& [name, wish] : cluster_.state_watch()->wishes()) {
    if (wish == StateWatch::Wish::kThere) there.push_back(name);
  }
  if (!there.empty() && random().chance(0.4))
    return drop_table(there[random().below(there.size())]);
  if (tables_made_ < kMaxTables) create_table(fmt::format("t{}", ++tables_made_));
}

void Faults::create_table(const std::string& name) {
  wire::configuration_create_app_request request;
  request.app_name = name;
  request.options.partition_count = 1 << random().below(2);
  request.options.replica_count = 3;
  request.options.success_if_exist = true;
  request.options.app_type = "pegasus";
  request.options.is_stateful = true;
  say(fmt::format("table {} is created", name));
  table_asked_ = true;
  cluster_.state_watch()->told(name, StateWatch::Wish::kUnknown);
  cluster_.ask_meta(rpc::TaskCode::kCreateApp, rpc::encode_args(request),
                    [this, name](client::Answer answer) {
                      table_asked_ = false;
                      wire::configuration_create_app_response response;
                      bool made = answer.error.code == ErrorCode::kOk &&
                                  rpc::decode_result(answer.result, response).ok() &&
                                  response.err.code == Errc::kOk;
                      if (made) cluster_.state_watch()->told(name, StateWatch::Wish::kThere);
                      say(fmt::format("table {}: {}", name, made ? "created" : "no answer"));
                    });
}

void Faults::drop_table(const std::string& name) {
  wire::configuration_drop_app_request request;
  request.app_name = name;
  request.options.success_if_not_exist = true;
  say(fmt::format("table {} is dropped", name));
  table_asked_ = true;
  cluster_.state_watch()->told(name, StateWatch::Wish::kUnknown);
  cluster_.ask_meta(rpc::TaskCode::kDropApp, rpc::encode_args(request),
                    [this, name](client::Answer answer) {
                      table_asked_ = false;
                      wire::configuration_drop_app_response response;
                      bool gone = answer.error.code == ErrorCode::kOk &&
                                  rpc::decode_result(answer.result, response).ok() &&
                                  response.err.code == Errc::kOk;
                      if (gone) cluster_.state_watch()->told(name, StateWatch::Wish::kGone);
                      say(fmt::format("table {}: {}", name, gone ? "dropped" : "no answer"));
                    });
}

}  // namespace markab::sim
