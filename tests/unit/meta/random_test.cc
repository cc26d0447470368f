// Random histories: nodes come, go, crash and lie, tables are made and dropped, leaders die between
// any two stores. CoreWorld checks on each step that ballots rise by one, that loads add up and
// that memberships are sound; here we check that no ballot ever has two primaries and that the
// cluster heals.

#include "base/random.h"

#include <gtest/gtest.h>

#include "core_world.h"

namespace markab::meta {
namespace {

class History {
 public:
  explicit History(uint64_t seed) : random_(seed) {
    for (int i = 1; i <= 5; ++i) {
      nodes_.push_back(node(i));
      w_.join(nodes_.back(), 1000);
    }
  }

  void run(int steps) {
    for (int i = 0; i < steps; ++i) {
      step();
      note_primaries();
      if (testing::Test::HasFailure()) return;
    }
  }

  // All nodes back, all stores durable, everything that is asked for done.
  void heal() {
    w_.release_stores();
    w_.confirm_proposals = true;
    w_.answer_step_downs = true;
    for (HostPort n : nodes_) {
      w_.beating[n] = ++incarnation_;
      w_.beacon(n, incarnation_);
    }
    for (int round = 0; round < 60; ++round) {
      for (HostPort n : nodes_) sync(n);
      serve_primaries();
      w_.run_ms(1000);
      note_primaries();
    }
    for (auto& [id, table] : w_.core->tables()) {
      if (table.info.status != TableStatus::kAvailable) continue;
      for (auto& p : table.partitions) {
        EXPECT_TRUE(p.config.primary) << p.config.pid.to_string() << " " << p.trouble;
        EXPECT_GE(static_cast<int>(p.config.member_count()),
                  std::min(2, p.config.max_replica_count))
            << p.config.pid.to_string();
      }
    }
  }

 private:
  HostPort any() { return nodes_[random_.below(nodes_.size())]; }

  void step() {
    switch (random_.below(14)) {
      case 0:
        w_.report_death(any());
        break;
      case 1:
        w_.beating.erase(any());
        break;
      case 2:
      case 3: {
        HostPort n = any();
        w_.beating[n] = ++incarnation_;
        w_.beacon(n, incarnation_);
        break;
      }
      case 4: {
        CreateTable r;
        r.name = "t" + std::to_string(random_.below(3));
        r.partition_count = 2;
        r.replica_count = 1 + static_cast<int32_t>(random_.below(3));
        r.type = "pegasus";
        w_.ask(r);
        break;
      }
      case 5:
        if (random_.chance(0.3))
          w_.ask(DropTable{"t" + std::to_string(random_.below(3)), false, 100000});
        break;
      case 6:
        sync(any());
        break;
      case 7:
        serve_primaries();
        break;
      case 8:
        w_.run_ms(static_cast<int64_t>(1 + random_.below(30)) * 100);
        break;
      case 9:
        if (w_.hold_stores) {
          w_.release_stores();
        } else {
          w_.hold_stores = random_.chance(0.5);
        }
        break;
      case 10: {
        uint64_t token = w_.next_token++;
        HostPort n = any();
        w_.event([&](Actions& out) { w_.core->on_leave(token, n, 0, w_.now(), out); });
        break;
      }
      case 11:
        if (random_.chance(0.2)) {
          w_.hold_stores = false;
          EXPECT_TRUE(w_.restart().ok());
        }
        break;
      case 12:
        w_.confirm_proposals = random_.chance(0.7);
        break;
      case 13:
        if (!w_.held.empty()) w_.release_one();
        break;
    }
  }

  void sync(HostPort n) {
    const Node* known = nullptr;
    if (auto it = w_.core->nodes().find(n); it != w_.core->nodes().end()) known = &it->second;
    if (known == nullptr || !known->alive) return;
    std::vector<ReplicaReport> reports;
    for (auto& [id, table] : w_.core->tables()) {
      for (auto& p : table.partitions) {
        if (holders_[p.config.pid].count(n) == 0) continue;
        ReplicaReport r = CoreWorld::report(p.config, n);
        if (random_.chance(0.1)) r.status = ReplicaStatus::kInactive;
        reports.push_back(r);
      }
    }
    w_.sync(n, reports);
  }

  // The primaries do what their proposals say: remove the dead, add who learned.
  void serve_primaries() {
    auto proposals = std::exchange(w_.proposals, {});
    for (const Propose& p : proposals) {
      const Partition* partition = w_.core->find_partition(p.pid);
      if (partition == nullptr || partition->config.primary != p.target ||
          partition->config.ballot != p.ballot)
        continue;
      ChangeType type =
          p.type == ChangeType::kAddSecondary ? ChangeType::kUpgradeToSecondary : p.type;
      bool add = type == ChangeType::kUpgradeToSecondary;
      bool remove = type == ChangeType::kRemove || type == ChangeType::kDowngradeToInactive;
      if ((!add && !remove) || p.node == p.target) continue;
      if (changed(partition->config, type, p.node)) w_.ask_change(p.pid, type, p.node);
    }
  }

  void note_primaries() {
    for (const MembershipChanged& change : std::exchange(w_.changes, {})) {
      // A node keeps what it once had.
      for (HostPort n : change.after.members()) holders_[change.after.pid].insert(n);
    }
    for (auto& [id, table] : w_.disk) {
      for (auto& [index, config] : table.partitions) {
        if (!config.primary) continue;
        auto [it, fresh] =
            reigns_.emplace(std::make_pair(config.pid, config.ballot), config.primary);
        EXPECT_EQ(it->second, config.primary)
            << "two primaries at one ballot of " << config.pid.to_string();
      }
    }
  }

  Random random_;
  CoreWorld w_;
  std::vector<HostPort> nodes_;
  int64_t incarnation_ = 1000;
  std::map<Gpid, std::set<HostPort>> holders_;
  std::map<std::pair<Gpid, Ballot>, HostPort> reigns_;
};

struct RandomTest : testing::TestWithParam<uint64_t> {};

TEST_P(RandomTest, HistoriesKeepTheInvariantsAndHeal) {
  for (uint64_t i = 0; i < 40; ++i) {
    SCOPED_TRACE(fmt::format("seed {}", GetParam() * 1000 + i));
    History history(GetParam() * 1000 + i);
    history.run(250);
    history.heal();
    if (HasFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomTest, testing::Range<uint64_t>(1, 6));

}  // namespace
}  // namespace markab::meta
