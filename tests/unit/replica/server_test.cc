// What one or a few replica servers do with learners, disks and restarts, on simulated machines.

#include <gtest/gtest.h>

#include "server_world.h"

namespace markab::replica {
namespace {

using pacifica::Role;
using rpc::TaskCode;
using std::chrono::milliseconds;
using std::chrono::seconds;

std::string value_of(int n) { return fmt::format("{:06}", n) + std::string(20000, 'v'); }

void put_many(ServerWorld& w, int to, Gpid gpid, int first, int count) {
  for (int n = first; n < first + count; ++n)
    ASSERT_EQ(w.put(to, gpid, fmt::format("key{}", n), value_of(n)), Errc::kOk) << n;
}

// Logs are trimmed soon, so that a newcomer needs the checkpoint.
void trim_soon(ServerOptions& o) {
  o.log.segment_bytes = 256u << 10;
  o.tuning.flush_after_log_bytes = 256u << 10;
  o.tuning.keep_log_bytes = 256u << 10;
  o.tuning.core.cache_mutations = 8;
}

// ---- group check

class GroupCheckTest : public testing::TestWithParam<bool> {};

// A secondary that restarted under the same ballot knows the commits of its log's headers only, and
// nobody writes: the next check tells it (04 §1.8, §1.10). Without checks it stays where it is.
TEST_P(GroupCheckTest, BringsARestartedIdleSecondaryUpToDate) {
  bool checks = GetParam();
  ServerWorld w({3, {"a"}, [&](ServerOptions& o) {
                   o.tuning.group_check_interval =
                       checks ? seconds(10) : Duration(std::chrono::hours(1));
                 }});
  auto gpid = w.create(1, {0, 1, 2});
  w.world().run_for(seconds(15));  // past the check of the beginning
  put_many(w, 0, gpid, 0, 3);
  w.world().run_for(seconds(1));
  ASSERT_EQ(w.replica(1, gpid)->last_applied(), 3);
  w.kill(1);
  w.boot(1);
  ASSERT_TRUE(w.until([&] { return w.role(1, gpid) == Role::kSecondary; }, seconds(5)));
  ASSERT_LT(w.replica(1, gpid)->last_applied(), 3);
  w.world().run_for(seconds(12));
  EXPECT_EQ(w.replica(1, gpid)->last_applied() == 3, checks);
}
INSTANTIATE_TEST_SUITE_P(OnAndOff, GroupCheckTest, testing::Bool());

// ---- applying

// What a secondary knows to be committed goes into its store in one step, a moment later; at once
// when there is much of it.
TEST(GatheringTest, ASecondaryAppliesLaterAndTogether) {
  ServerWorld w({});
  auto gpid = w.create(1, {0, 1, 2});
  w.world().run_for(seconds(1));
  auto small = [&](int first, int count) {
    for (int n = first; n < first + count; ++n)
      ASSERT_EQ(w.put(0, gpid, fmt::format("key{}", n), "v"), Errc::kOk);
  };
  small(0, 3);
  EXPECT_EQ(w.replica(0, gpid)->last_applied(), 3);
  EXPECT_GT(w.replica(1, gpid)->last_committed(), 0);
  EXPECT_EQ(w.replica(1, gpid)->last_applied(), 0);
  w.world().run_for(milliseconds(400));
  for (int i = 1; i < 3; ++i) {
    EXPECT_EQ(w.replica(i, gpid)->last_applied(), 3);
    EXPECT_EQ(w.rows(i, gpid), w.rows(0, gpid));
  }
  put_many(w, 0, gpid, 3, 40);  // 20 kB each
  EXPECT_GT(w.replica(1, gpid)->last_applied(), 30);
  w.world().run_for(milliseconds(400));
  EXPECT_EQ(w.rows(1, gpid), w.rows(0, gpid));
  EXPECT_EQ(w.rows(2, gpid), w.rows(0, gpid));
}

// ---- learning

class LearningTest : public testing::Test {
 protected:
  void make(std::function<void(ServerOptions&)> more = [](ServerOptions&) {}) {
    ServerWorld::Options options;
    options.nodes = 4;
    options.tune = [more](ServerOptions& o) {
      trim_soon(o);
      more(o);
    };
    w = std::make_unique<ServerWorld>(std::move(options));
    gpid = w->create(1, {0, 1, 2});
  }
  // The third member goes; the fourth node is invited in its place.
  void replace_third_by_fourth() {
    w->propose(0, gpid, wire::config_type::CT_REMOVE, 2);
    ASSERT_TRUE(w->until([&] { return !w->is_member(gpid, 2); }));
    w->propose(0, gpid, wire::config_type::CT_ADD_SECONDARY, 3);
  }
  bool joined(Duration limit) {
    return w->until([&] { return w->role(3, gpid) == Role::kSecondary; }, limit);
  }
  std::unique_ptr<ServerWorld> w;
  Gpid gpid;
};

TEST_F(LearningTest, ByCheckpointGoesOnWhereABrokenConnectionLeftIt) {
  make([](ServerOptions& o) { o.copy_bytes_per_second = 1u << 20; });
  put_many(*w, 0, gpid, 0, 300);  // 6 MB: some seconds at 1 MB/s
  w->world().run_for(seconds(5));
  ASSERT_GT(w->replica(0, gpid)->trimmed(), 100);
  replace_third_by_fourth();
  auto copied = [&] {
    auto r = w->replica(3, gpid);
    return r ? r->metrics().learn_copy_file_bytes.value() : 0;
  };
  ASSERT_TRUE(w->until([&] { return copied() > (2 << 20); }));
  auto before = copied();
  w->network().cut(ServerWorld::address(0), ServerWorld::address(3));
  w->network().cut(ServerWorld::address(3), ServerWorld::address(0));
  w->world().run_for(seconds(25));
  w->network().heal();
  ASSERT_TRUE(joined(seconds(60)));
  auto& metrics = w->replica(3, gpid)->metrics();
  EXPECT_GE(metrics.learn_resumed_file_bytes.value(), before - (1 << 20));
  EXPECT_LT(copied(), int64_t{7} << 20);  // nothing was copied twice, but for a chunk under way
  put_many(*w, 0, gpid, 300, 5);
  w->world().run_for(seconds(2));
  EXPECT_EQ(w->rows(3, gpid), w->rows(0, gpid));
  EXPECT_EQ(w->rows(3, gpid).size(), 305u);
}

TEST_F(LearningTest, ACopyGoesOnAfterTheLearnersRestart) {
  make([](ServerOptions& o) { o.copy_bytes_per_second = 1u << 20; });
  put_many(*w, 0, gpid, 0, 300);
  w->world().run_for(seconds(5));
  replace_third_by_fourth();
  ASSERT_TRUE(w->until([&] {
    auto r = w->replica(3, gpid);
    return r && r->metrics().learn_copy_file_bytes.value() > (2 << 20);
  }));
  w->kill(3);
  w->world().run_for(seconds(5));
  w->boot(3);
  w->world().run_for(seconds(3));
  w->propose(0, gpid, wire::config_type::CT_ADD_SECONDARY, 3);
  ASSERT_TRUE(joined(seconds(120)));
  EXPECT_GT(w->replica(3, gpid)->metrics().learn_resumed_file_bytes.value(), 1 << 20);
  EXPECT_EQ(w->rows(3, gpid).size(), 300u);
}

// The directories of a store that was put in the place of another must be durable before the log
// goes on behind it.
TEST_F(LearningTest, AMachineThatCrashesAfterACopyHasWhatItAcknowledged) {
  make();
  put_many(*w, 0, gpid, 0, 100);
  w->world().run_for(seconds(5));
  ASSERT_GT(w->replica(0, gpid)->trimmed(), 50);
  replace_third_by_fourth();
  ASSERT_TRUE(joined(seconds(60)));
  ASSERT_GT(w->replica(3, gpid)->metrics().learn_copy_file_bytes.value(), 0);
  auto acknowledged = w->replica(3, gpid)->last_prepared();
  w->crash(3);
  w->boot(3);
  ASSERT_TRUE(w->until([&] { return w->replica(3, gpid) != nullptr; }));
  EXPECT_EQ(w->replica(3, gpid)->last_prepared(), acknowledged);
  EXPECT_FALSE(w->replica(3, gpid)->doubtful());
}

// The meta server repeats its wish every ten seconds for as long as the newcomer is no member.
TEST_F(LearningTest, RepeatedInvitationsDoNotBeginACopyAnew) {
  make([](ServerOptions& o) { o.copy_bytes_per_second = 150u << 10; });
  put_many(*w, 0, gpid, 0, 200);  // 4 MB: half a minute
  w->world().run_for(seconds(5));
  replace_third_by_fourth();
  int repeats = 0;
  while (w->role(3, gpid) != Role::kSecondary && repeats < 20) {
    w->propose(0, gpid, wire::config_type::CT_ADD_SECONDARY, 3);
    w->world().run_for(seconds(10));
    ++repeats;
  }
  EXPECT_EQ(w->role(3, gpid), Role::kSecondary);
  EXPECT_GT(repeats, 3);
  auto& metrics = w->replica(3, gpid)->metrics();
  EXPECT_EQ(metrics.learn_count.value(), 1);
  EXPECT_EQ(metrics.learn_resumed_file_bytes.value(), 0);
  EXPECT_EQ(w->rows(3, gpid), w->rows(0, gpid));
}

TEST_F(LearningTest, WhatRottedOnTheWayIsCopiedAnew) {
  make([](ServerOptions& o) { o.copy_bytes_per_second = 1u << 20; });
  put_many(*w, 0, gpid, 0, 200);
  w->world().run_for(seconds(5));
  replace_third_by_fourth();
  const std::string copy = "/a/replica/reps/1.0.pegasus/learn";
  ASSERT_TRUE(w->until([&] {
    auto names = w->files(3).list(copy);
    if (!names || names->empty()) return false;
    auto size = w->files(3).file_size(copy + "/" + names->front());
    return size && *size > (1u << 20);
  }));
  w->kill(3);
  auto& files = w->files(3);
  auto name = copy + "/" + std::string(files.list(copy)->front());
  auto content = *files.read_all(name, 64u << 20);
  content[1000] ^= 0x40;
  ASSERT_TRUE(files.write_atomic(name, content).ok());
  w->boot(3);
  w->world().run_for(seconds(3));
  w->propose(0, gpid, wire::config_type::CT_ADD_SECONDARY, 3);
  ASSERT_TRUE(joined(seconds(120)));
  auto& metrics = w->replica(3, gpid)->metrics();
  EXPECT_GT(metrics.learn_resumed_file_bytes.value(), 0);
  EXPECT_GT(metrics.learn_copy_file_bytes.value(), 9 << 19);  // what was left, then all of it
  EXPECT_EQ(w->rows(3, gpid), w->rows(0, gpid));
}

TEST_F(LearningTest, TheLogWaitsForALearnerThatReadsIt) {
  make();
  auto primary = w->replica(0, gpid);
  auto hold = primary->log_holds().hold("duplication 7", 10, kNever);
  put_many(*w, 0, gpid, 0, 200);
  w->world().run_for(seconds(5));
  EXPECT_LE(primary->trimmed(), 10);
  EXPECT_GT(primary->last_durable(), 100);
  // A newcomer that stands at 0 finds the log whole and needs no checkpoint.
  replace_third_by_fourth();
  ASSERT_TRUE(joined(seconds(60)));
  EXPECT_EQ(w->replica(3, gpid)->metrics().learn_copy_file_bytes.value(), 0);
  primary->log_holds().release(hold);
  w->world().run_for(seconds(3));
  EXPECT_GT(primary->trimmed(), 100);
}

TEST_F(LearningTest, WhoHoldsTheLogForTooLongLosesItsHold) {
  make([](ServerOptions& o) { o.tuning.max_held_log_bytes = 2u << 20; });
  auto primary = w->replica(0, gpid);
  primary->log_holds().hold("duplication 7", 0, kNever);
  put_many(*w, 0, gpid, 0, 60);
  w->world().run_for(seconds(5));
  EXPECT_EQ(primary->trimmed(), 0);
  put_many(*w, 0, gpid, 60, 100);
  w->world().run_for(seconds(5));
  EXPECT_EQ(primary->log_holds().size(), 0u);
  EXPECT_GT(primary->trimmed(), 60);
}

// The old store is closed, the learned one is opened on the pool: then the disk fails, sooner or
// later. The last moment is just before the pool's answer.
TEST_F(LearningTest, ADiskThatFailsDuringAnInstallationTakesItsReplicaOnly) {
  std::shared_ptr<Replica> newcomer;
  auto begin_installation = [&] {
    newcomer.reset();
    make();
    put_many(*w, 0, gpid, 0, 60);
    w->world().run_for(seconds(5));
    replace_third_by_fourth();
    ASSERT_TRUE(w->until([&] {
      newcomer = w->replica(3, gpid);
      return newcomer != nullptr && newcomer->engine() == nullptr;
    }));
  };
  begin_installation();
  Instant began = w->world().now();
  ASSERT_TRUE(w->until([&] { return newcomer->engine() != nullptr; }));
  const Duration takes = w->world().now() - began;
  ASSERT_GT(takes.count(), 0);
  constexpr int kMoments = 20;
  for (int moment = 0; moment < kMoments; ++moment) {
    SCOPED_TRACE(moment);
    begin_installation();
    w->world().run_for(moment == kMoments - 1 ? takes - Duration(1) : takes * moment / kMoments);
    ASSERT_EQ(newcomer->engine(), nullptr);
    newcomer->fail(Status(Errc::kDiskIoError, "EIO, says the test"));
    EXPECT_EQ(w->put(0, gpid, "k", "v"), Errc::kOk);
    w->world().run_for(seconds(3));
    EXPECT_EQ(w->replica(3, gpid), nullptr);
    EXPECT_FALSE(w->is_member(gpid, 3));
  }
}

TEST_F(LearningTest, OneCopyAtATimeAndTheOthersFollowAtOnce) {
  make([](ServerOptions& o) {
    o.copy_bytes_per_second = 2u << 20;
    o.max_copies = 1;
  });
  auto other = w->create(2, {1, 0, 2});
  put_many(*w, 0, gpid, 0, 200);
  put_many(*w, 1, other, 0, 200);
  w->world().run_for(seconds(5));
  replace_third_by_fourth();
  w->propose(1, other, wire::config_type::CT_REMOVE, 2);
  ASSERT_TRUE(w->until([&] { return !w->is_member(other, 2); }));
  w->propose(1, other, wire::config_type::CT_ADD_SECONDARY, 3);
  size_t most_waiting = 0;
  ASSERT_TRUE(w->until(
      [&] {
        EXPECT_LE(w->server(3).copies().copying(), 1u);
        most_waiting = std::max(most_waiting, w->server(3).copies().waiting());
        return w->role(3, gpid) == Role::kSecondary && w->role(3, other) == Role::kSecondary;
      },
      seconds(60)));
  EXPECT_EQ(most_waiting, 1u);
}

// ---- damage

TEST_F(LearningTest, DamageInTheMiddleOfTheLogMakesItLearnAnew) {
  make([](ServerOptions& o) { o.tuning.flush_after_log_bytes = 64u << 20; });
  put_many(*w, 0, gpid, 0, 20);
  w->world().run_for(seconds(1));
  w->kill(1);
  const std::string log = "/a/replica/reps/1.0.pegasus/plog";
  auto segments = w->files(1).list(log);
  ASSERT_TRUE(segments && !segments->empty());
  w->files(1).rot(log + "/" + segments->front(), 100000, 0x01);
  w->boot(1);
  // It does not return to its role, and asks to be taken out.
  ASSERT_TRUE(w->until([&] { return !w->is_member(gpid, 1); }, seconds(60)));
  EXPECT_EQ(w->role(1, gpid), Role::kInactive);
  EXPECT_TRUE(w->files(1).exists("/a/replica/reps/1.0.pegasus"));  // in place, for an operator
  put_many(*w, 0, gpid, 20, 1);
  w->propose(0, gpid, wire::config_type::CT_ADD_SECONDARY, 1);
  ASSERT_TRUE(w->until([&] { return w->role(1, gpid) == Role::kSecondary; }, seconds(60)));
  w->world().run_for(seconds(1));
  EXPECT_EQ(w->rows(1, gpid), w->rows(0, gpid));
}

// The first ballot may last for years. A primary that comes back with an empty disk must not begin
// anew because it is told of somebody else.
TEST_F(LearningTest, AnEmptyDiskBeginsNothingAtAWordAboutAnother) {
  make();
  put_many(*w, 0, gpid, 0, 10);
  w->kill(0);
  w->files(0).wipe();
  w->boot(0);
  w->world().run_for(seconds(1));
  auto told = w->entry(gpid);
  told.type = wire::config_type::CT_DOWNGRADE_TO_INACTIVE;
  told.node = ServerWorld::address(2);
  auto reply =
      w->call(ServerWorld::address(0), rpc::TaskCode::kConfigProposal, {}, rpc::encode_args(told));
  EXPECT_EQ(reply.status.code(), Errc::kObjectNotFound) << reply.status.message();
  EXPECT_EQ(w->replica(0, gpid), nullptr);
}

// Its process runs on with what it has in memory and in its store.
TEST_F(LearningTest, DamageInThePrimarysLogMakesNewcomersCopyTheStore) {
  make([](ServerOptions& o) {
    o.tuning.flush_after_log_bytes = 64u << 20;
    o.tuning.core.cache_mutations = 8;
  });
  put_many(*w, 0, gpid, 0, 60);
  w->world().run_for(seconds(1));
  const std::string log = "/a/replica/reps/1.0.pegasus/plog";
  auto segments = w->files(0).list(log);
  ASSERT_TRUE(segments && !segments->empty());
  w->files(0).rot(log + "/" + segments->front(), 100000, 0x01);
  replace_third_by_fourth();
  ASSERT_TRUE(joined(seconds(60)));
  EXPECT_GT(w->replica(3, gpid)->metrics().learn_copy_file_bytes.value(), 0);
  put_many(*w, 0, gpid, 60, 5);
  w->world().run_for(seconds(2));
  EXPECT_EQ(w->rows(3, gpid), w->rows(0, gpid));
  EXPECT_EQ(w->rows(3, gpid).size(), 65u);
}

// ---- disks

TEST(ServerDisksTest, NewReplicasAreSpreadAndAFailingDiskTakesOnlyItsOwn) {
  ServerWorld w({3, {"a", "b"}});
  std::map<std::string, std::vector<Gpid>> on;
  for (int app = 1; app <= 4; ++app) {
    auto gpid = w.create(app, {1, 0, 2});
    on[w.replica(0, gpid)->disk_tag()].push_back(gpid);
  }
  ASSERT_EQ(on["a"].size(), 2u);
  ASSERT_EQ(on["b"].size(), 2u);
  w.files(0).fail_next_sync("/b/", Status(Errc::kDiskIoError, "EIO, says the test"));
  EXPECT_EQ(w.put(1, on["b"][0], "k", "v"), Errc::kOk);  // goes on without it
  ASSERT_TRUE(w.until([&] { return !w.is_member(on["b"][0], 0) && !w.is_member(on["b"][1], 0); }));
  w.world().run_for(seconds(3));
  for (auto gpid : on["b"]) EXPECT_EQ(w.replica(0, gpid), nullptr);
  for (auto gpid : on["a"]) {
    EXPECT_EQ(w.role(0, gpid), Role::kSecondary);
    EXPECT_EQ(w.put(1, gpid, "k", "v"), Errc::kOk);
  }
  auto disks = w.ask<wire::query_disk_info_response>(0, TaskCode::kQueryDiskInfo,
                                                     wire::query_disk_info_request());
  ASSERT_EQ(disks.disk_infos.size(), 2u);
  EXPECT_EQ(disks.disk_infos[0].holding_secondary_replicas.size(), 2u);
  EXPECT_TRUE(disks.disk_infos[1].holding_secondary_replicas.empty());
  EXPECT_GE(disks.disk_infos[1].disk_capacity_mb, 1);
  // Nothing new goes there.
  for (int app = 5; app <= 6; ++app) {
    auto gpid = w.create(app, {1, 0, 2});
    EXPECT_EQ(w.replica(0, gpid)->disk_tag(), "a");
  }
}

TEST(ServerDisksTest, AFullDiskRefusesWrites) {
  ServerWorld w({3, {"a"}});
  auto gpid = w.create(1, {0, 1, 2});
  EXPECT_EQ(w.put(0, gpid, "k", "v"), Errc::kOk);
  w.files(0).set_capacity(w.files(0).used_bytes() + 10);
  w.world().run_for(seconds(11));
  EXPECT_EQ(w.put(0, gpid, "k", "w"), Errc::kDiskInsufficient);
  w.files(0).set_capacity(uint64_t{1} << 40);
  w.world().run_for(seconds(11));
  EXPECT_EQ(w.put(0, gpid, "k", "w"), Errc::kOk);
}

wire::replica_disk_migrate_request move_of(Gpid gpid, const std::string& from,
                                           const std::string& to) {
  wire::replica_disk_migrate_request request;
  request.pid = gpid;
  request.origin_disk = from;
  request.target_disk = to;
  return request;
}

TEST(ServerDisksTest, ADiskIsAddedAndAReplicaMovesThere) {
  DiskRules rules;
  ServerWorld w({3, {"a"}, [&](ServerOptions& o) {
                   o.disk_rules = [&rules] { return rules; };
                   o.sweep_interval = seconds(5);
                 }});
  auto gpid = w.create(1, {0, 1, 2});
  put_many(w, 0, gpid, 0, 50);
  auto add = [&](const std::string& text) {
    wire::add_new_disk_request request;
    request.disk_str = text;
    return w.ask<wire::add_new_disk_response>(1, TaskCode::kAddNewDisk, request).err.code;
  };
  EXPECT_EQ(add("b"), Errc::kInvalidParameters);
  EXPECT_EQ(add("a:/c"), Errc::kNodeAlreadyExist);
  EXPECT_EQ(add("c:/a"), Errc::kNodeAlreadyExist);
  ASSERT_TRUE(w.files(1).create_directories("/c/replica/reps/x").ok());
  EXPECT_EQ(add("b:/b,c:/c"), Errc::kDirNotEmpty);  // all or none
  EXPECT_EQ(w.server(1).disks().size(), 1u);
  EXPECT_EQ(add("b:/b"), Errc::kOk);
  EXPECT_EQ(add("b:/b"), Errc::kNodeAlreadyExist);

  auto move = [&](int node, const std::string& from, const std::string& to) {
    return w
        .ask<wire::replica_disk_migrate_response>(node, TaskCode::kReplicaDiskMigrate,
                                                  move_of(gpid, from, to))
        .err.code;
  };
  EXPECT_EQ(move(0, "a", "b"), Errc::kInvalidState);  // it leads
  EXPECT_EQ(move(1, "a", "a"), Errc::kInvalidParameters);
  EXPECT_EQ(move(1, "b", "a"), Errc::kPathAlreadyExist);
  EXPECT_EQ(move(1, "a", "x"), Errc::kObjectNotFound);
  EXPECT_EQ(move(1, "a", "b"), Errc::kOk);
  EXPECT_EQ(move(1, "a", "b"), Errc::kBusy);  // how the balancer looks whether it goes on
  put_many(w, 0, gpid, 50, 20);               // its group goes on meanwhile
  ASSERT_TRUE(w.until([&] {
    auto r = w.replica(1, gpid);
    return r && r->disk_tag() == "b" && !w.is_member(gpid, 1);
  }));
  auto after = move(1, "a", "b");
  EXPECT_TRUE(after != Errc::kOk && after != Errc::kBusy) << errc_name(after);
  w.propose(0, gpid, wire::config_type::CT_ADD_SECONDARY, 1);
  ASSERT_TRUE(w.until([&] { return w.role(1, gpid) == Role::kSecondary; }));
  w.world().run_for(seconds(2));
  EXPECT_EQ(w.rows(1, gpid), w.rows(0, gpid));
  EXPECT_EQ(w.rows(1, gpid).size(), 70u);
  EXPECT_EQ(w.replica(1, gpid)->metrics().learn_copy_file_bytes.value(),
            0);  // only what came meanwhile
  // The origin is kept for its time, and goes when an operator shortens that.
  auto left = [&] { return w.files(1).list("/a/replica/reps")->size(); };
  EXPECT_EQ(left(), 1u);
  rules.ages.migration_origin = 0;
  w.world().run_for(seconds(6));
  EXPECT_EQ(left(), 0u);
  EXPECT_EQ(w.files(1).list("/b/replica/reps")->size(), 1u);
}

TEST(ServerDisksTest, OfTwoCopiesTheOneThatReachesFurtherIsServed) {
  ServerWorld w({3, {"a", "b"}, [](ServerOptions& o) { o.log.segment_bytes = 64u << 10; }});
  auto gpid = w.create(1, {0, 1, 2});
  put_many(w, 0, gpid, 0, 20);
  w.world().run_for(seconds(1));
  w.kill(1);
  // An older copy lies on the other disk, as a move that was cut short leaves it.
  auto& files = w.files(1);
  const std::string name = "/replica/reps/1.0.pegasus";
  std::string here = files.exists("/a" + name) ? "/a" : "/b";
  std::string there = here == "/a" ? "/b" : "/a";
  ASSERT_TRUE(files.create_directories(there + name + "/plog").ok());
  ASSERT_TRUE(files
                  .write_atomic(there + name + "/.app-info",
                                *files.read_all(here + name + "/.app-info", 1u << 20))
                  .ok());
  w.boot(1);
  ASSERT_TRUE(w.until([&] { return w.role(1, gpid) == Role::kSecondary; }));
  EXPECT_EQ("/" + w.replica(1, gpid)->disk_tag(), here);
  EXPECT_FALSE(files.exists(there + name));
  auto set_aside = files.list(there + "/replica/reps");
  ASSERT_EQ(set_aside->size(), 1u);
  EXPECT_TRUE(set_aside->front().ends_with(".err"));
}

// ---- shut replicas

class ShutTest : public testing::Test {
 protected:
  // Node 1 begins on a disk that has room for the mark of its start, but not for its replica's
  // description (ServerWorld makes that longer than 1000 bytes).
  void boot_without_space(
      uint64_t room = 500, const Function<void()>& before = [] {}) {
    gpid = w.create(1, {0, 1, 2});
    put_many(w, 0, gpid, 0, 20);
    w.world().run_for(seconds(1));
    w.kill(1);
    before();
    w.files(1).set_capacity(w.files(1).used_bytes() + room);
    w.boot(1);
    ASSERT_TRUE(w.until([&] { return reported_as_shut() && !w.is_member(gpid, 1); }));
    EXPECT_EQ(w.replica(1, gpid), nullptr);
  }
  bool reported_as_shut() {
    const auto* info = w.reported(1, gpid);
    return info != nullptr && info->status == wire::partition_status::PS_ERROR &&
           info->ballot == -1;
  }

  ServerWorld w{{3, {"a"}}};
  Gpid gpid;
};

// "The node has it no more" would make those lead who know less (03 §10.3).
TEST_F(ShutTest, WhatAFullDiskHoldsIsReportedAndOpenedWhenThereIsSpace) {
  boot_without_space();
  put_many(w, 0, gpid, 20, 5);  // the group goes on
  w.world().run_for(seconds(30));
  EXPECT_TRUE(reported_as_shut());
  w.files(1).set_capacity(uint64_t{1} << 40);
  ASSERT_TRUE(w.until([&] { return w.replica(1, gpid) != nullptr; }, seconds(10)));
  ASSERT_TRUE(w.until([&] { return w.reported(1, gpid)->ballot == 1; }, seconds(2)));
  w.propose(0, gpid, wire::config_type::CT_ADD_SECONDARY, 1);
  ASSERT_TRUE(w.until([&] { return w.role(1, gpid) == Role::kSecondary; }));
  w.world().run_for(seconds(2));
  EXPECT_EQ(w.rows(1, gpid), w.rows(0, gpid));
  EXPECT_EQ(w.replica(1, gpid)->metrics().learn_copy_file_bytes.value(), 0);
}

// Nor is there room for the mark that says that the directory is in use: it must not seem closed.
TEST_F(ShutTest, ADaemonBeginsOnADiskWithoutAnySpace) {
  const std::string mark = "/a/replica/.markab-node";
  boot_without_space(0, [&] {
    auto text = *w.files(1).read_all(mark, 1u << 16);
    text.replace(text.find("\"open\""), 6, "\"closed\"");
    ASSERT_TRUE(w.files(1).write_atomic(mark, text).ok());
  });
  EXPECT_FALSE(w.files(1).exists(mark));
  EXPECT_TRUE(w.files(1).exists(mark + ".open"));
  w.files(1).set_capacity(uint64_t{1} << 40);
  ASSERT_TRUE(w.until([&] { return w.replica(1, gpid) != nullptr; }, seconds(10)));
  w.kill(1);
  w.boot(1);
  EXPECT_TRUE(w.files(1).exists(mark));
  EXPECT_FALSE(w.files(1).exists(mark + ".open"));
}

TEST_F(ShutTest, WhoIsInvitedOpensWhatItHas) {
  boot_without_space();
  w.propose(0, gpid, wire::config_type::CT_ADD_SECONDARY, 1);
  EXPECT_FALSE(w.until([&] { return w.replica(1, gpid) != nullptr; }, seconds(2)));
  EXPECT_TRUE(reported_as_shut());
  w.files(1).set_capacity(uint64_t{1} << 40);
  w.propose(0, gpid, wire::config_type::CT_ADD_SECONDARY, 1);
  ASSERT_TRUE(w.until([&] { return w.role(1, gpid) == Role::kSecondary; }));
  EXPECT_EQ(w.replica(1, gpid)->metrics().learn_copy_file_bytes.value(), 0);
}

// The disk changed what it had, or a write was cut short: nobody can tell whether what is gone was
// acknowledged (04 §2.3). Such a one does not serve before it has learned.
TEST(ServerLogTest, WhoseLogWasCutLearnsBeforeItServes) {
  ServerWorld w({3, {"a"}});
  auto gpid = w.create(1, {0, 1, 2});
  put_many(w, 0, gpid, 0, 5);
  w.world().run_for(seconds(1));
  w.kill(1);
  auto& files = w.files(1);
  std::string segment;
  for (const auto& path : files.durable_files()) {
    if (path.find("/plog/log.") != std::string::npos) segment = path;
  }
  ASSERT_FALSE(segment.empty());
  auto text = *files.read_all(segment, 64u << 20);
  auto end = text.find_last_not_of('\0');  // what is reserved lies behind it
  ASSERT_NE(end, std::string::npos);
  files.rot(segment, end, 0x10);
  w.boot(1);
  ASSERT_TRUE(w.until([&] { return w.replica(1, gpid) != nullptr; }, seconds(5)));
  EXPECT_TRUE(w.until([&] { return !w.is_member(gpid, 1); }, seconds(10)));
  w.propose(0, gpid, wire::config_type::CT_ADD_SECONDARY, 1);
  ASSERT_TRUE(w.until([&] { return w.role(1, gpid) == Role::kSecondary; }));
  w.world().run_for(seconds(2));
  EXPECT_EQ(w.rows(1, gpid), w.rows(0, gpid));
}

// ---- dispatch

// A node that slept finds old words at its door; others may lead by now what they tell it to lead
// (04 §1.9). It would commit what it holds, and void what others do.
TEST(ServerProposalsTest, NoneMakesANodeLeadBeforeItKnowsWhatIsCurrent) {
  ServerWorld w({3, {"a"}});
  auto gpid = w.create(1, {0, 1, 2});
  auto change = [&](Ballot ballot, HostPort primary, std::vector<HostPort> secondaries) {
    auto told = w.entry(gpid);
    told.type = wire::config_type::CT_ASSIGN_PRIMARY;
    told.node = ServerWorld::address(1);
    told.config.ballot = ballot;
    told.config.primary = primary;
    told.config.secondaries.assign(secondaries.begin(), secondaries.end());
    return rpc::encode_args(told);
  };
  auto alone = change(2, ServerWorld::address(1), {});
  w.network().cut(ServerWorld::address(1), ServerWorld::meta_address());
  w.network().cut(ServerWorld::meta_address(), ServerWorld::address(1));
  w.world().run_for(seconds(7));  // its lease is over
  w.call(ServerWorld::address(1), TaskCode::kConfigProposal, {}, alone);
  EXPECT_EQ(w.role(1, gpid), Role::kSecondary);
  // Meanwhile the group went on.
  auto goes_on = [&](Ballot ballot) {
    auto told =
        change(ballot, ServerWorld::address(0), {ServerWorld::address(1), ServerWorld::address(2)});
    w.call(ServerWorld::meta_address(), TaskCode::kUpdatePartitionConfiguration, {}, told);
  };
  goes_on(2);
  goes_on(3);
  w.network().heal();
  EXPECT_FALSE(w.world().run_until([&] { return w.role(1, gpid) == Role::kPrimary; }, seconds(8)));
  EXPECT_EQ(w.replica(1, gpid)->ballot(), 3);
  // What is current is obeyed as soon as that is known.
  w.network().cut(ServerWorld::address(1), ServerWorld::meta_address());
  w.network().cut(ServerWorld::meta_address(), ServerWorld::address(1));
  w.world().run_for(seconds(7));
  auto current = change(4, ServerWorld::address(1), {});
  w.call(ServerWorld::address(1), TaskCode::kConfigProposal, {}, current);
  EXPECT_EQ(w.role(1, gpid), Role::kSecondary);
  w.call(ServerWorld::meta_address(), TaskCode::kUpdatePartitionConfiguration, {}, current);
  w.network().heal();
  EXPECT_TRUE(w.until([&] { return w.role(1, gpid) == Role::kPrimary; }, seconds(8)));
}

// It was to begin a partition and restarted before it heard of that; others began it. What is empty
// cannot tell old words by its ballot.
TEST(ServerProposalsTest, NoneMakesANodeBeginWhatOthersHaveBegun) {
  ServerWorld w({3, {"a"}});
  auto gpid = w.create(1, {0, 1});
  auto told = w.entry(gpid);
  told.type = wire::config_type::CT_ASSIGN_PRIMARY;
  told.node = ServerWorld::address(2);
  told.config.primary = ServerWorld::address(2);
  told.config.secondaries = {ServerWorld::address(0), ServerWorld::address(1)};
  auto answer =
      w.call(ServerWorld::address(2), TaskCode::kConfigProposal, {}, rpc::encode_args(told));
  EXPECT_EQ(answer.status.code(), Errc::kInvalidVersion);
  EXPECT_EQ(w.replica(2, gpid), nullptr);
}

// A new leader knows of a new table's replicas what its nodes tell it, and who dies before that has
// told nothing: they do not wait for the time of the next config sync.
TEST(ServerSyncTest, ANewLeaderIsToldAtOnceWhatANodeHas) {
  ServerWorld w({1, {"a"}, [](ServerOptions& o) { o.config_sync_interval = seconds(3600); }});
  w.create(1, {0});
  w.world().run_for(seconds(10));
  int before = w.syncs();
  w.world().run_for(seconds(60));
  EXPECT_EQ(w.syncs(), before) << "the same leader has been told";
  w.lead_anew();
  w.world().run_for(milliseconds(1200));  // one beat
  EXPECT_EQ(w.syncs(), before + 1);
  w.lead_elsewhere();
  w.world().run_for(seconds(3));
  EXPECT_EQ(w.syncs(), before + 2) << "within the lease: it did not run out";
  w.world().run_for(seconds(60));
  EXPECT_EQ(w.syncs(), before + 2);
}

TEST(ServerSyncTest, WhatAnEarlierLeaderAnsweredIsNotTakenForTheNewOnesAnswer) {
  ServerWorld w({1, {"a"}, [](ServerOptions& o) { o.config_sync_interval = seconds(3600); }});
  w.create(1, {0});
  w.world().run_for(seconds(10));
  w.hold_syncs();
  w.lead_anew();
  w.world().run_for(milliseconds(1200));
  int before = w.syncs();
  w.lead_anew();
  w.world().run_for(milliseconds(1200));
  ASSERT_EQ(w.syncs(), before) << "one at a time";
  w.release_syncs();
  w.world().run_for(milliseconds(200));
  EXPECT_EQ(w.syncs(), before + 1);
}

// Metas of Pegasus do not number their leaderships; their addresses tell.
TEST(ServerSyncTest, AnotherAddressIsAnotherLeader) {
  ServerWorld w({1, {"a"}, [](ServerOptions& o) { o.config_sync_interval = seconds(3600); }});
  w.number_leaderships(false);
  w.create(1, {0});
  w.world().run_for(seconds(10));
  int before = w.syncs();
  w.lead_elsewhere();
  w.world().run_for(seconds(3));
  EXPECT_EQ(w.syncs(), before + 1);
}

TEST(ServerDispatchTest, CodesThatNobodyKnowsAreAnsweredSo) {
  ServerWorld w({3, {"a"}});
  auto gpid = w.create(1, {0, 1, 2});
  auto code = [&](TaskCode task) {
    return w.call(ServerWorld::address(0), task, gpid, "").status.code();
  };
  EXPECT_EQ(code(TaskCode::kUnknown), Errc::kHandlerNotFound);
  EXPECT_EQ(code(TaskCode::kQueryLastCheckpointInfo), Errc::kHandlerNotFound);
  EXPECT_EQ(code(TaskCode::kCreateApp), Errc::kHandlerNotFound);
}

}  // namespace
}  // namespace markab::replica
