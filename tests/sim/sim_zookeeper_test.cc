// The simulated ZooKeeper itself, and the meta's election and state store on it under faults.
#include "sim/sim_zookeeper.h"

#include <gtest/gtest.h>

#include <set>

#include "meta/zookeeper_election.h"
#include "meta/zookeeper_store.h"

namespace markab::sim {
namespace {

using namespace std::chrono_literals;
using meta::StateOp;
using meta::StateStore;

// A client whose requests the test waits for.
struct Caller {
  Caller(SimWorld& w, SimZooKeeper& zookeeper, Duration timeout = 4s)
      : world(w), runtime(w, "client", {}), client(zookeeper.connect(runtime, 0, timeout)) {
    runtime.shard(0).post(
        [this] { client->start([this](const zk::Event& event) { events.push_back(event); }); });
    EXPECT_TRUE(world.run_until([&] { return linked(); }, 10s));
  }
  ~Caller() { runtime.kill(); }
  bool linked() const { return !events.empty() && events.back().link == zk::Link::kConnected; }

  template <typename T, typename F>
  T wait(F f) {
    std::optional<T> out;
    runtime.shard(0).post([&] { f([&](T value) { out.emplace(std::move(value)); }); });
    EXPECT_TRUE(world.run_until([&] { return out.has_value(); }, 10s));
    return std::move(*out);
  }
  zk::Outcome multi(std::vector<zk::Op> ops) {
    return wait<zk::Outcome>(
        [&](Callback<zk::Outcome> done) { client->multi(ops, std::move(done)); });
  }
  Result<zk::Node> get(const std::string& path) {
    return wait<Result<zk::Node>>(
        [&](Callback<Result<zk::Node>> done) { client->get(path, std::move(done)); });
  }
  Result<std::string> create(const std::string& path, zk::NodeKind kind) {
    return wait<Result<std::string>>([&](Callback<Result<std::string>> done) {
      client->create(path, "x", kind, std::move(done));
    });
  }

  SimWorld& world;
  SimRuntime runtime;
  std::unique_ptr<zk::Client> client;
  std::vector<zk::Event> events;
};

zk::Op put(const std::string& path, const std::string& data) {
  return {zk::Op::Kind::kCreate, path, data, -1};
}

TEST(SimZooKeeper, ATransactionIsAllOrNothing) {
  SimWorld world(1);
  SimZooKeeper zookeeper(world, {});
  Caller a(world, zookeeper);
  EXPECT_TRUE(a.multi({put("/a", "1"), put("/a/b", "2")}).status.ok());
  auto failed = a.multi({put("/c", "3"), {zk::Op::Kind::kSet, "/a", "4", 7}});
  EXPECT_EQ(failed.status.code(), Errc::kInvalidVersion);
  EXPECT_EQ(failed.failed_op, 1u);
  EXPECT_EQ(a.get("/c").error().code(), Errc::kPathNotFound);
  EXPECT_TRUE(a.multi({{zk::Op::Kind::kSet, "/a", "5", 0}}).status.ok());
  EXPECT_EQ(a.get("/a")->version, 1);
  EXPECT_EQ(a.multi({{zk::Op::Kind::kErase, "/a", "", -1}}).status.code(), Errc::kDirNotEmpty);
}

TEST(SimZooKeeper, AClientSeesItsOwnWritesAndAnotherPerhapsLater) {
  SimWorld world(2);
  SimZooKeeper::Options options;
  options.max_lag = 500ms;
  SimZooKeeper zookeeper(world, options);
  Caller a(world, zookeeper), b(world, zookeeper);
  int stale = 0;
  for (int i = 0; i < 50; ++i) {
    std::string path = fmt::format("/n{}", i);
    ASSERT_TRUE(a.create(path, zk::NodeKind::kPersistent));
    EXPECT_TRUE(a.get(path));
    stale += !b.get(path).has_value();
  }
  EXPECT_GT(stale, 0);
  EXPECT_LT(stale, 50);
}

TEST(SimZooKeeper, ASessionThatIsNotHeardOfEndsWithItsNodes) {
  SimWorld world(3);
  SimZooKeeper zookeeper(world, {});
  Caller a(world, zookeeper), b(world, zookeeper);
  ASSERT_TRUE(a.create("/e", zk::NodeKind::kEphemeral));
  zookeeper.cut(*a.client);
  world.run_for(3s);
  EXPECT_EQ(zookeeper.data().count("/e"), 1u);
  world.run_for(2s);
  EXPECT_EQ(zookeeper.data().count("/e"), 0u);
  zookeeper.heal(*a.client);
  EXPECT_TRUE(world.run_until([&] { return a.linked(); }, 10s));
  bool expired = std::any_of(a.events.begin(), a.events.end(),
                             [](const zk::Event& e) { return e.link == zk::Link::kExpired; });
  EXPECT_TRUE(expired);
}

TEST(SimZooKeeper, ASessionOutlivesAServerAndAnEnsembleThatIsAway) {
  SimWorld world(4);
  SimZooKeeper zookeeper(world, {});
  Caller a(world, zookeeper);
  ASSERT_TRUE(a.create("/e", zk::NodeKind::kEphemeral));
  int64_t session = a.events.back().session;
  for (int i = 0; i < 3; ++i) {
    zookeeper.stop_server(i);
    world.run_for(2s);
    zookeeper.start_server(i);
    world.run_for(1s);
  }
  zookeeper.down();
  world.run_for(60s);
  zookeeper.up();
  EXPECT_TRUE(world.run_until([&] { return a.linked(); }, 10s));
  EXPECT_EQ(a.events.back().session, session);
  EXPECT_EQ(zookeeper.data().count("/e"), 1u);
}

TEST(SimZooKeeper, AWatchFiresOnce) {
  SimWorld world(5);
  SimZooKeeper zookeeper(world, {});
  Caller a(world, zookeeper), b(world, zookeeper);
  ASSERT_TRUE(a.create("/d", zk::NodeKind::kPersistent));
  world.run_for(1s);
  int fired = 0;
  auto names = b.wait<Result<std::vector<std::string>>>([&](auto done) {
    b.client->children(
        "/d", [&] { ++fired; }, std::move(done));
  });
  ASSERT_TRUE(names);
  ASSERT_TRUE(a.create("/d/LOCKNODE", zk::NodeKind::kEphemeralSequential));
  ASSERT_TRUE(a.create("/d/LOCKNODE", zk::NodeKind::kEphemeralSequential));
  world.run_for(1s);
  EXPECT_EQ(fired, 1);
}

// ---- election and store ------------------------------------------------------------------------

// What must hold over all candidates: one leader at a time, no acknowledged write lost.
struct Witness {
  int64_t acknowledged = 0;   // the greatest number that was written for sure
  std::set<int64_t> numbers;  // all of them; an answer may be late, after a pause
  int terms = 0;
};

// Answers to beats reach the election when the test says so.
class HeldBeats final : public zk::Client {
 public:
  HeldBeats(SimWorld& world, zk::Client& client) : world_(world), client_(client) {}
  void start(Callback<zk::Event> f) override { client_.start(std::move(f)); }
  void close(Task done) override { client_.close(std::move(done)); }
  void get(const std::string& path, Callback<Result<zk::Node>> done) override {
    client_.get(path, std::move(done));
  }
  void children(const std::string& path, Task on_change,
                Callback<Result<std::vector<std::string>>> done) override {
    client_.children(path, std::move(on_change), std::move(done));
  }
  void create(const std::string& path, const std::string& data, zk::NodeKind kind,
              Callback<Result<std::string>> done) override {
    client_.create(path, data, kind, std::move(done));
  }
  void protect(const std::string& path, Callback<Result<bool>> done) override {
    client_.protect(path, std::move(done));
  }
  void multi(std::vector<zk::Op> ops, Callback<zk::Outcome> done) override {
    bool beat = ops.size() == 2 && ops[1].path == "/markab/lock/dsn.meta.server.leader";
    if (!beat) return client_.multi(std::move(ops), std::move(done));
    sent.push_back(world_.now());
    client_.multi(std::move(ops), [this, done = std::move(done)](zk::Outcome outcome) mutable {
      if (!hold) return done(std::move(outcome));
      held = [done = std::move(done), outcome]() mutable { done(std::move(outcome)); };
    });
  }
  bool hold = false;
  Task held;
  std::vector<Instant> sent;

 private:
  SimWorld& world_;
  zk::Client& client_;
};

// A meta server reduced to its election and its store: who leads counts up, in one node.
struct Counter {
  Counter(SimWorld& world, SimZooKeeper& zookeeper, Witness& w, int n)
      : witness(w),
        runtime(world, fmt::format("m{}", n), {}),
        client(zookeeper.connect(runtime, 0, 4s)),
        beats(world, *client),
        election(runtime.shard(0), beats, "/markab/lock",
                 HostPort{0x0a000000u + static_cast<uint32_t>(n), 34601}),
        store(meta::make_zookeeper_store(
            runtime.shard(0), *client,
            {"/markab", [this] { return election.fence(); },
             [this](const std::string& why) { election.resign(why); }})) {
    runtime.shard(0).post([this] {
      election.start([this](meta::Standing standing) {
        leading = standing.leading;
        known = standing.leader;
        ++term;
        if (leading) begin();
      });
    });
  }
  ~Counter() { runtime.kill(); }

  // A request comes: who leads no longer notices.
  void ask() {
    if (!leading || election.holds()) return;
    leading = false;
    ++term;
  }
  // As a meta server does: at once, whatever the earlier term has under way.
  void begin() {
    ++witness.terms;
    store->open([this, t = term](Result<StateStore::Tree> tree) {
      if (t != term) return;
      if (!tree) {
        timer = runtime.shard(0).after(100ms, [this, t] {
          if (t == term) begin();
        });
        return;
      }
      auto it = tree->find("/apps/1");
      value = it == tree->end() ? 0 : std::stoll(it->second);
      ASSERT_GE(value, witness.acknowledged) << "an acknowledged write is lost";
      write(t);
    });
  }
  void write(int t) {
    if (t != term) return;
    int64_t next = value + 1;
    store->write({{StateOp::Kind::kPut, "/apps/1", std::to_string(next)}},
                 [this, t, next](const Status& status) {
                   if (t != term) return;
                   if (status.ok()) {
                     value = next;
                     ASSERT_TRUE(witness.numbers.insert(next).second) << "written twice";
                     witness.acknowledged = std::max(witness.acknowledged, next);
                   }
                   timer = runtime.shard(0).after(50ms, [this, t] { write(t); });
                 });
  }

  Witness& witness;
  SimRuntime runtime;
  std::unique_ptr<zk::Client> client;
  HeldBeats beats;
  meta::ZooKeeperElection election;
  std::unique_ptr<StateStore> store;
  io::TimerHandle timer;
  bool leading = false;
  HostPort known;
  int term = 0;
  int64_t value = 0;
};

struct Metas {
  explicit Metas(uint64_t seed, int count = 3) : world(seed), zookeeper(world, {}) {
    for (int i = 1; i <= count; ++i)
      all.push_back(std::make_unique<Counter>(world, zookeeper, witness, i));
  }
  int holders() const {
    int out = 0;
    for (const auto& m : all) out += m != nullptr && m->election.holds();
    return out;
  }
  // Runs event by event, looking at the invariant before each.
  void run(Duration duration) {
    Instant end = world.now() + duration;
    while (world.now() < end && world.step()) {
      ASSERT_LE(holders(), 1) << "two leaders at once";
    }
  }
  Counter* leader() {
    for (auto& m : all) {
      if (m != nullptr && m->election.holds()) return m.get();
    }
    return nullptr;
  }
  SimWorld world;
  SimZooKeeper zookeeper;
  Witness witness;
  std::vector<std::unique_ptr<Counter>> all;
};

TEST(ZooKeeperElection, OneLeadsAndTheOthersKnowIt) {
  Metas metas(7);
  metas.run(5s);
  ASSERT_NE(metas.leader(), nullptr);
  for (auto& m : metas.all) {
    EXPECT_EQ(m->known, metas.leader()->known);
    EXPECT_EQ(m->leading, m.get() == metas.leader());
  }
  EXPECT_GT(metas.witness.acknowledged, 10);
}

TEST(ZooKeeperElection, AKilledLeaderIsFollowedWithinTheSessionTimeoutAndASecond) {
  Metas metas(8);
  metas.run(5s);
  for (auto& m : metas.all) {
    if (m.get() == metas.leader()) {
      m.reset();
      break;
    }
  }
  Instant dead = metas.world.now();
  EXPECT_TRUE(metas.world.run_until([&] { return metas.leader() != nullptr; }, 10s));
  EXPECT_LE((metas.world.now() - dead) / 1ms, 5000);
}

TEST(ZooKeeperElection, AReportedDeathNeedsNoTimeout) {
  Metas metas(9);
  metas.run(5s);
  HostPort dead = metas.leader()->known;
  Counter* other = nullptr;
  for (auto& m : metas.all) {
    if (m.get() == metas.leader()) {
      m.reset();
    } else {
      other = m.get();
    }
  }
  Instant reported = metas.world.now();
  other->runtime.shard(0).post([&] { other->election.report_dead(dead, [](const Status&) {}); });
  EXPECT_TRUE(metas.world.run_until([&] { return metas.leader() != nullptr; }, 10s));
  EXPECT_LE((metas.world.now() - reported) / 1ms, 1000);
}

TEST(ZooKeeperElection, ALeaderThatIsCutOffStopsBeforeAnotherBegins) {
  Metas metas(10);
  metas.run(5s);
  Counter* first = metas.leader();
  metas.zookeeper.cut(*first->client);
  metas.run(10s);  // looks for two at once
  ASSERT_NE(metas.leader(), nullptr);
  EXPECT_NE(metas.leader(), first);
  metas.zookeeper.heal(*first->client);
  metas.run(10s);
  EXPECT_FALSE(first->leading);
}

// Nobody told it: its lease must be over before another one begins, although the servers have
// forgotten its session at once.
TEST(ZooKeeperElection, ALeaderWhoseSessionIsEndedBeforeItsTimeStopsBeforeAnotherBegins) {
  for (bool told : {false, true}) {
    SCOPED_TRACE(told ? "the leader hears of it" : "the leader is cut off");
    Metas metas(14);
    metas.run(5s);
    Counter* first = metas.leader();
    ASSERT_NE(first, nullptr);
    if (!told) metas.zookeeper.cut(*first->client);
    metas.zookeeper.expire(*first->client);
    Instant expired = metas.world.now();
    metas.run(told ? Duration(500ms) : Duration(2400ms));
    if (HasFatalFailure()) return;
    if (told) {
      // It lets go of its seat itself: nobody waits.
      ASSERT_NE(metas.leader(), nullptr);
      EXPECT_NE(metas.leader(), first);
    } else {
      EXPECT_EQ(metas.leader(), first) << "its lease cannot be over yet";
      metas.run(2s);
      ASSERT_NE(metas.leader(), nullptr) << (metas.world.now() - expired) / 1ms << " ms";
      EXPECT_NE(metas.leader(), first);
    }
  }
}

TEST(ZooKeeperElection, ALeaderThatStopsIsFollowedAtOnce) {
  Metas metas(15);
  metas.run(5s);
  Counter* first = metas.leader();
  ASSERT_NE(first, nullptr);
  bool stopped = false;
  first->runtime.shard(0).post([&] { first->election.stop([&] { stopped = true; }); });
  metas.run(300ms);
  EXPECT_TRUE(stopped);
  ASSERT_NE(metas.leader(), nullptr);
  EXPECT_NE(metas.leader(), first);
}

TEST(ZooKeeperElection, ALeaderThatStopsWhileZooKeeperIsAwayDoesNotWaitForIt) {
  Metas metas(16);
  metas.run(5s);
  Counter* first = metas.leader();
  ASSERT_NE(first, nullptr);
  metas.zookeeper.cut(*first->client);
  bool stopped = false;
  first->runtime.shard(0).post([&] { first->election.stop([&] { stopped = true; }); });
  metas.run(1200ms);
  EXPECT_TRUE(stopped);
}

TEST(ZooKeeperElection, ASeatReadsAsItWasWritten) {
  meta::Seat seat{"LOCKNODE0000000017", HostPort{0x0a000001, 34601}, 3200ms};
  EXPECT_EQ(seat.to_text(), "LOCKNODE0000000017 10.0.0.1:34601 3200");
  auto read = meta::Seat::parse(seat.to_text());
  EXPECT_EQ(read.node, seat.node);
  EXPECT_EQ(read.holder, seat.holder);
  EXPECT_EQ(read.lease, seat.lease);
  EXPECT_EQ(meta::Seat{}.to_text(), "");
  for (std::string text :
       {"", "LOCKNODE0000000017", "LOCKNODE0000000017 10.0.0.1:34601", "LOCKNODE17 10.0.0.1:1 1",
        "LOCKNODE0000000017 nobody 1", "LOCKNODE0000000017 10.0.0.1:1 -1",
        "LOCKNODE0000000017 10.0.0.1:1 1s", "LOCKNODE0000000017 10.0.0.1:1 99999999999999999999"}) {
    EXPECT_EQ(meta::Seat::parse(text).node, "") << text;
  }
  // A strange configuration does not keep the others waiting for a year.
  EXPECT_EQ(meta::Seat::parse("LOCKNODE0000000017 10.0.0.1:1 9000000000000000000").lease, 10min);
}

TEST(ZooKeeperElection, APausedLeaderFindsItsTimeOver) {
  Metas metas(11);
  metas.run(5s);
  Counter* first = metas.leader();
  first->runtime.pause();
  metas.run(10s);
  first->runtime.resume();
  EXPECT_FALSE(first->election.holds());
  metas.run(5s);
  EXPECT_FALSE(first->leading);
}

// Requests that queued up during a pause are looked at before the beat's answer that makes it the
// leader again: it must be told so, or it would lead without serving for ever.
TEST(ZooKeeperElection, ALeaderThatWasPausedInABeatServesAgain) {
  Metas metas(17, 1);
  metas.run(5s);
  metas.zookeeper.set_latency(100ms, 250ms);
  Counter& m = *metas.all[0];
  Random random(17);
  int given_up = 0;
  for (int round = 0; round < 100; ++round) {
    metas.run(Duration(static_cast<int64_t>(random.below(1'000'000'000))));
    int term = m.term;
    m.runtime.pause();
    m.runtime.shard(0).post([&] { m.ask(); });
    metas.run(2s + Duration(static_cast<int64_t>(random.below(1'200'000'000))));
    m.runtime.resume();
    metas.run(10s);
    ASSERT_TRUE(metas.world.run_until([&] { return m.election.holds(); }, 10s));
    ASSERT_TRUE(m.leading) << "it leads and does not know it";
    given_up += m.term != term;
  }
  EXPECT_GT(given_up, 0);
}

// The same to the moment: the lease of the beat before is over, that of the held one is not, and
// the election's own timer has not yet had its turn.
TEST(ZooKeeperElection, ABeatThatComesBetweenARequestAndTheTimerBeginsAnew) {
  constexpr Duration kSession = 4s;
  constexpr Duration kLease = kSession - kSession / meta::ZooKeeperElection::kMarginPart;
  Metas metas(19, 1);
  metas.run(5s);
  Counter& m = *metas.all[0];
  ASSERT_TRUE(m.leading);
  m.beats.hold = true;
  ASSERT_TRUE(metas.world.run_until([&] { return static_cast<bool>(m.beats.held); }, 2s));
  m.runtime.pause();
  bool over = false;
  m.runtime.shard(0).post([&] {
    m.ask();
    over = !m.leading;
    m.beats.hold = false;
    std::exchange(m.beats.held, {})();
  });
  Instant before = m.beats.sent.rbegin()[1];
  metas.world.run_for(before + kLease + 50ms - metas.world.now());
  ASSERT_LT(metas.world.now(), m.beats.sent.back() + kLease);
  m.runtime.resume();
  metas.run(100ms);
  EXPECT_TRUE(over) << "a request found its time over";
  EXPECT_TRUE(m.election.holds());
  EXPECT_TRUE(m.leading) << "it leads and does not know it";
  int64_t written = metas.witness.acknowledged;
  metas.run(2s);
  EXPECT_GT(metas.witness.acknowledged, written);
}

TEST(ZooKeeperElection, AnEnsembleThatWasAwayForAMinuteCostsNoLeaderItsPlaceAtTheEnd) {
  Metas metas(12);
  metas.run(5s);
  metas.zookeeper.down();
  metas.run(60s);
  EXPECT_EQ(metas.holders(), 0);
  metas.zookeeper.up();
  metas.run(15s);
  EXPECT_EQ(metas.holders(), 1);
}

// Sessions expire, links are cut, leaders are paused and killed, the ensemble is slow or away.
TEST(ZooKeeperElection, RandomFaults) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    Metas metas(seed);
    Random random(seed * 77);
    for (int step = 0; step < 25; ++step) {
      auto n = static_cast<size_t>(random.below(metas.all.size()));
      auto& m = metas.all[n];
      switch (random.below(9)) {
        case 0:
          metas.zookeeper.cut(*m->client);
          break;
        case 1:
          metas.zookeeper.expire(*m->client);  // before its time, as an operator can
          break;
        case 2:
          if (!m->runtime.paused()) m->runtime.pause();
          break;
        case 3:
          m.reset();
          m = std::make_unique<Counter>(metas.world, metas.zookeeper, metas.witness,
                                        static_cast<int>(n) + 1);
          break;
        case 4:
          metas.zookeeper.down();
          break;
        case 5:
          metas.zookeeper.stop_server(static_cast<int>(random.below(3)));
          break;
        case 6:
          metas.zookeeper.set_latency(1ms, 700ms);
          break;
        default:
          break;
      }
      metas.run(Duration(static_cast<int64_t>(random.below(6'000'000'000))));
      if (HasFatalFailure()) return;
      for (auto& other : metas.all) {
        if (random.below(2) == 0) metas.zookeeper.heal(*other->client);
        if (random.below(2) == 0 && other->runtime.paused()) other->runtime.resume();
      }
      if (random.below(2) == 0) metas.zookeeper.up();
      if (random.below(2) == 0) {
        metas.zookeeper.set_latency(100us, 2ms);
        for (int i = 0; i < 3; ++i) metas.zookeeper.start_server(i);
      }
    }
    metas.zookeeper.up();
    metas.zookeeper.set_latency(100us, 2ms);
    for (int i = 0; i < 3; ++i) metas.zookeeper.start_server(i);
    for (auto& m : metas.all) {
      metas.zookeeper.heal(*m->client);
      if (m->runtime.paused()) m->runtime.resume();
    }
    metas.run(20s);
    if (HasFatalFailure()) return;
    ASSERT_EQ(metas.holders(), 1);
    int64_t before = metas.witness.acknowledged;
    metas.run(5s);
    EXPECT_GT(metas.witness.acknowledged, before) << "nothing is written any more";
  }
}

TEST(ZooKeeperStore, WhatAnotherWroteEndsTheLeadership) {
  Metas metas(13, 1);
  metas.run(5s);
  Counter* first = metas.leader();
  ASSERT_NE(first, nullptr);
  int terms = metas.witness.terms;
  Caller intruder(metas.world, metas.zookeeper);
  EXPECT_TRUE(intruder.multi({{zk::Op::Kind::kSet, "/markab/apps/1", "1000000", -1}}).status.ok());
  metas.run(3s);
  // It stepped down, read again, and counts on from there.
  EXPECT_GT(metas.witness.terms, terms);
  EXPECT_GT(metas.witness.acknowledged, 1000000);
}

}  // namespace
}  // namespace markab::sim
