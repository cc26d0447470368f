// Create, drop, recall, rename and the settings of tables: what is answered in which state (03 §4),
// and what is stored.

#include <gmock/gmock.h>

#include "core_world.h"

namespace markab::meta {
namespace {

const HostPort a = node(1), b = node(2), c = node(3);

struct TablesTest : testing::Test {
  TablesTest() {
    for (HostPort n : {a, b, c}) w.join(n);
  }
  CreateTable request(const std::string& name) {
    CreateTable r;
    r.name = name;
    r.partition_count = 4;
    r.replica_count = 3;
    r.type = "pegasus";
    return r;
  }
  CoreWorld w;
};

struct CreateCase {
  const char* name;
  std::function<void(CoreWorld&, CreateTable&)> arrange;
  Errc err;
};
void PrintTo(const CreateCase& c, std::ostream* out) { *out << c.name; }

struct CreateTest : TablesTest, testing::WithParamInterface<CreateCase> {};

TEST_P(CreateTest, Answers) {
  CreateTable r = request("t");
  GetParam().arrange(w, r);
  EXPECT_EQ(errc_name(w.ask(r).err), errc_name(GetParam().err));
}

void existing(CoreWorld& w, CreateTable& r) { EXPECT_EQ(w.ask(r).err, Errc::kOk); }

INSTANTIATE_TEST_SUITE_P(
    Table, CreateTest,
    testing::Values(
        CreateCase{"good", [](CoreWorld&, CreateTable&) {}, Errc::kOk},
        CreateCase{"freezed",
                   [](CoreWorld& w, CreateTable&) { w.core->options().level = Level::kFreezed; },
                   Errc::kStateFreezed},
        // The level is looked at before the parameters.
        CreateCase{"freezed and wrong",
                   [](CoreWorld& w, CreateTable& r) {
                     w.core->options().level = Level::kBlind;
                     r.partition_count = -1;
                   },
                   Errc::kStateFreezed},
        CreateCase{"no partitions", [](CoreWorld&, CreateTable& r) { r.partition_count = 0; },
                   Errc::kInvalidParameters},
        CreateCase{"negative", [](CoreWorld&, CreateTable& r) { r.partition_count = -8; },
                   Errc::kInvalidParameters},
        CreateCase{"too many", [](CoreWorld&, CreateTable& r) { r.partition_count = 1 << 30; },
                   Errc::kInvalidParameters},
        CreateCase{"no power of two", [](CoreWorld&, CreateTable& r) { r.partition_count = 6; },
                   Errc::kInvalidParameters},
        CreateCase{"no power of two, allowed",
                   [](CoreWorld& w, CreateTable& r) {
                     w.core->options().any_partition_count = true;
                     r.partition_count = 6;
                   },
                   Errc::kOk},
        CreateCase{"no power of two, of a follower",
                   [](CoreWorld&, CreateTable& r) {
                     r.partition_count = 6;
                     r.envs["duplication.master_cluster"] = "m";
                   },
                   Errc::kOk},
        CreateCase{"replicas 0", [](CoreWorld&, CreateTable& r) { r.replica_count = 0; },
                   Errc::kInvalidParameters},
        CreateCase{"replicas 6", [](CoreWorld&, CreateTable& r) { r.replica_count = 6; },
                   Errc::kInvalidParameters},
        CreateCase{"more replicas than nodes",
                   [](CoreWorld&, CreateTable& r) { r.replica_count = 4; },
                   Errc::kInvalidParameters},
        CreateCase{"bad env",
                   [](CoreWorld&, CreateTable& r) { r.envs["rocksdb.num_levels"] = "11"; },
                   Errc::kInvalidParameters},
        CreateCase{"unknown env is kept", [](CoreWorld&, CreateTable& r) { r.envs["mine"] = "x"; },
                   Errc::kOk},
        CreateCase{"bad env of a follower",
                   [](CoreWorld&, CreateTable& r) {
                     r.envs["rocksdb.num_levels"] = "11";
                     r.envs["duplication.master_cluster"] = "m";
                   },
                   Errc::kOk},
        CreateCase{"bad name", [](CoreWorld&, CreateTable& r) { r.name = "a b"; },
                   Errc::kInvalidParameters},
        CreateCase{"empty name", [](CoreWorld&, CreateTable& r) { r.name = ""; },
                   Errc::kInvalidParameters},
        CreateCase{"exists", [](CoreWorld& w, CreateTable& r) { existing(w, r); }, Errc::kAppExist},
        CreateCase{"exists, and that is fine",
                   [](CoreWorld& w, CreateTable& r) {
                     existing(w, r);
                     r.success_if_exist = true;
                   },
                   Errc::kOk},
        CreateCase{"exists with another count",
                   [](CoreWorld& w, CreateTable& r) {
                     existing(w, r);
                     r.success_if_exist = true;
                     r.partition_count = 8;
                   },
                   Errc::kInvalidParameters},
        CreateCase{"is being created",
                   [](CoreWorld& w, CreateTable& r) {
                     w.hold_stores = true;
                     w.ask(r);
                   },
                   Errc::kBusyCreating},
        CreateCase{"is being dropped",
                   [](CoreWorld& w, CreateTable& r) {
                     existing(w, r);
                     w.hold_stores = true;
                     w.ask(DropTable{"t"});
                   },
                   Errc::kBusyDropping},
        CreateCase{"its name is free as soon as the drop is marked",
                   [](CoreWorld& w, CreateTable& r) {
                     existing(w, r);
                     w.ask(DropTable{"t"});
                   },
                   Errc::kOk}),
    [](const auto& info) {
      std::string name = info.param.name;
      for (char& ch : name) ch = std::isalnum(static_cast<unsigned char>(ch)) ? ch : '_';
      return name;
    });

TEST_F(TablesTest, CreateIsAnsweredWhenAllOfItIsDurable) {
  w.hold_stores = true;
  EXPECT_EQ(w.ask(request("t")).err, Errc::kIoPending);
  EXPECT_TRUE(w.proposals.empty());
  w.release_stores();
  EXPECT_EQ(w.answers.rbegin()->second.err, Errc::kOk);
  const TableInfo& stored = w.disk.at(1).info;
  EXPECT_EQ(stored.status, TableStatus::kAvailable);
  EXPECT_EQ(stored.init_partition_count, 4);
  EXPECT_EQ(stored.create_second, w.now().wall_seconds());
  EXPECT_EQ(w.disk.at(1).partitions.size(), 4u);
}

TEST_F(TablesTest, IdsAreNeverReused) {
  EXPECT_EQ(w.create("t").value, 1);
  EXPECT_EQ(w.ask(DropTable{"t"}).err, Errc::kOk);
  EXPECT_EQ(w.create("t").value, 2);
  ASSERT_TRUE(w.restart().ok());
  for (HostPort n : {a, b, c}) w.join(n);
  EXPECT_EQ(w.create("u").value, 3);
}

TEST_F(TablesTest, ANewLeaderWaitsForNodesThatItPresumesAlive) {
  EXPECT_EQ(w.create("t").err, Errc::kOk);
  ASSERT_TRUE(w.restart().ok());
  EXPECT_EQ(w.create("u", 8, 4).err, Errc::kInvalidParameters) << "there never were so many";
  EXPECT_EQ(w.create("u").err, Errc::kIoPending);
  uint64_t token = w.next_token - 1;
  w.join(a);
  w.join(b);
  EXPECT_EQ(w.answers.count(token), 0u);
  w.join(c);
  ASSERT_EQ(w.answers.count(token), 1u);
  EXPECT_EQ(w.answers.at(token).err, Errc::kOk);
}

TEST_F(TablesTest, APresumptionThatWasWrongEndsTheWait) {
  EXPECT_EQ(w.create("t").err, Errc::kOk);
  ASSERT_TRUE(w.restart().ok());
  w.beating.erase(c);
  EXPECT_EQ(w.create("u").err, Errc::kIoPending);
  uint64_t token = w.next_token - 1;
  w.run_ms(30'000);
  ASSERT_EQ(w.answers.count(token), 1u);
  EXPECT_EQ(w.answers.at(token).err, Errc::kInvalidParameters);
}

TEST_F(TablesTest, FollowersRepeat) {
  // 03 §4.2, the follower rule: table's status, request's status, answer.
  struct Case {
    const char* mine;
    const char* asked;
    Errc err;
  };
  int n = 0;
  for (Case k :
       {Case{"creating", "creating", Errc::kOk}, Case{"creating", "created", Errc::kOk},
        Case{"created", "created", Errc::kOk}, Case{"created", "creating", Errc::kAppExist},
        Case{"creating", "odd", Errc::kInvalidParameters},
        Case{"", "creating", Errc::kInvalidState}}) {
    CreateTable r = request("f" + std::to_string(++n));
    r.envs["duplication.master_cluster"] = "m";
    if (*k.mine != '\0') r.envs["duplication.follower_app_status"] = k.mine;
    ASSERT_EQ(w.ask(r).err, Errc::kOk);
    r.envs["duplication.follower_app_status"] = k.asked;
    EXPECT_EQ(w.ask(r).err, k.err) << k.mine << " " << k.asked;
    const Table* table = w.core->find_table(r.name);
    if (k.err == Errc::kOk) {
      EXPECT_EQ(table->info.envs.at("duplication.follower_app_status"), k.asked);
    }
  }
  CreateTable other = request("f1");
  other.envs["duplication.master_cluster"] = "another";
  EXPECT_EQ(w.ask(other).err, Errc::kAppExist);
  CreateTable old = request("g");
  old.envs["duplication.master_cluster"] = "m";
  ASSERT_EQ(w.ask(old).err, Errc::kOk);
  EXPECT_EQ(w.ask(old).err, Errc::kOk) << "sources up to 2.5 repeat without a status";
  w.run_ms(61'000);
  EXPECT_EQ(w.ask(old).err, Errc::kAppExist);
}

TEST_F(TablesTest, Drop) {
  EXPECT_EQ(w.ask(DropTable{"t"}).err, Errc::kAppNotExist);
  EXPECT_EQ(w.ask(DropTable{"t", true}).err, Errc::kOk);
  w.create("t", 4);
  PartitionConfig before = w.config({1, 2});
  w.proposals.clear();
  EXPECT_EQ(w.ask(DropTable{"t", false, 100}).err, Errc::kOk);
  const TableInfo& info = w.disk.at(1).info;
  EXPECT_EQ(info.status, TableStatus::kDropped);
  EXPECT_EQ(info.drop_second, w.now().wall_seconds());
  EXPECT_EQ(info.expire_second, w.now().wall_seconds() + 100);
  const PartitionConfig& after = w.config({1, 2});
  EXPECT_TRUE(after.dropped());
  EXPECT_EQ(after.member_count(), 0u);
  EXPECT_EQ(after.last_drops.back(), before.primary) << "the primary last";
  EXPECT_EQ(after.last_drops.size(), 3u);
  EXPECT_EQ(w.core->find_table("t"), nullptr);
  EXPECT_NE(w.core->find_table(1), nullptr);
  for (HostPort n : {a, b, c})
    EXPECT_EQ(w.proposals_to(n, ChangeType::kDropPartition, n), 4) << "members hear of it";
}

TEST_F(TablesTest, DropWaitsForTheChangesUnderWay) {
  w.create("t", 4);
  w.hold_stores = true;
  w.ask_change({1, 0}, ChangeType::kRemove, w.config({1, 0}).secondaries[0]);
  EXPECT_EQ(w.ask(DropTable{"t"}).err, Errc::kIoPending);
  w.release_stores();
  EXPECT_EQ(w.answers.rbegin()->second.err, Errc::kOk);
  EXPECT_EQ(w.config({1, 0}).ballot, 3);
  EXPECT_TRUE(w.config({1, 0}).dropped());
}

TEST_F(TablesTest, DropAtBlindLevelWaitsForTheLevel) {
  w.create("t", 4);
  w.core->options().level = Level::kBlind;
  EXPECT_EQ(w.ask(DropTable{"t"}).err, Errc::kIoPending);
  EXPECT_EQ(w.disk.at(1).info.status, TableStatus::kDropped) << "the mark is made";
  EXPECT_FALSE(w.config({1, 0}).dropped());
  w.core->options().level = Level::kSteady;
  w.run_ms(200);
  EXPECT_TRUE(w.config({1, 0}).dropped());
  EXPECT_EQ(w.answers.rbegin()->second.err, Errc::kOk);
}

TEST_F(TablesTest, Recall) {
  EXPECT_EQ(w.ask(RecallTable{9, ""}).err, Errc::kAppNotExist);
  w.create("t", 4);
  EXPECT_EQ(w.ask(RecallTable{1, ""}).err, Errc::kAppExist);
  w.ask(DropTable{"t", false, 1000});
  w.create("t", 4);
  EXPECT_EQ(w.ask(RecallTable{1, ""}).err, Errc::kInvalidParameters) << "the name is taken";
  AdminReply reply = w.ask(RecallTable{1, "u"});
  EXPECT_EQ(reply.err, Errc::kOk);
  ASSERT_TRUE(reply.info.has_value());
  EXPECT_EQ(reply.info->name, "u");
  EXPECT_EQ(reply.info->status, TableStatus::kAvailable);
  EXPECT_EQ(reply.info->expire_second, 0);
  EXPECT_EQ(w.disk.at(1).info.name, "u");
  EXPECT_FALSE(w.config({1, 0}).dropped());
  EXPECT_FALSE(w.config({1, 0}).primary) << "who has the data is to be seen first";
  w.ask(DropTable{"u", false, 5});
  w.run_ms(6000);
  EXPECT_EQ(w.ask(RecallTable{1, ""}).err, Errc::kAppNotExist) << "its time has passed";
}

TEST_F(TablesTest, ARecalledTableServesAgainWhenItsLastTwoReported) {
  w.create("t", 4);
  PartitionConfig was = w.config({1, 0});
  w.ask(DropTable{"t"});
  w.ask(RecallTable{1, ""});
  for (HostPort n : {a, b, c}) {
    std::vector<ReplicaReport> reports;
    for (int i = 0; i < 4; ++i) {
      ReplicaReport r = CoreWorld::report(w.config({1, i}), n);
      r.ballot = 1;
      reports.push_back(r);
    }
    w.sync(n, reports);
  }
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(w.config({1, i}).primary) << i;
  EXPECT_EQ(w.config({1, 0}).primary, was.primary) << "equal ones: the last to serve";
}

TEST_F(TablesTest, Rename) {
  EXPECT_EQ(w.ask(RenameTable{"t", "u"}).err, Errc::kAppNotExist);
  w.create("t", 4);
  w.create("v", 4);
  EXPECT_EQ(w.ask(RenameTable{"t", "v"}).err, Errc::kInvalidParameters);
  EXPECT_EQ(w.ask(RenameTable{"t", "no name"}).err, Errc::kInvalidParameters);
  w.hold_stores = true;
  EXPECT_EQ(w.ask(RenameTable{"t", "u"}).err, Errc::kIoPending);
  EXPECT_NE(w.core->find_table("t"), nullptr);
  EXPECT_EQ(w.core->find_table("u"), nullptr) << "never both, never none";
  EXPECT_EQ(w.create("u", 4).err, Errc::kBusyCreating) << "the name is spoken for";
  w.release_stores();
  EXPECT_EQ(w.core->find_table("t"), nullptr);
  EXPECT_EQ(w.core->find_table("u")->info.id, 1);
  EXPECT_EQ(w.disk.at(1).info.name, "u");
}

TEST_F(TablesTest, WritesOfOneTableAreMadeOneAfterTheOther) {
  w.create("t", 4);
  w.hold_stores = true;
  EXPECT_EQ(w.ask(SetEnvs{"t", {{"default_ttl", "10"}}}).err, Errc::kIoPending);
  EXPECT_EQ(w.ask(SetEnvs{"t", {{"business.info", "x"}}}).err, Errc::kIoPending);
  EXPECT_EQ(w.ask(DropTable{"t"}).err, Errc::kIoPending);
  EXPECT_EQ(w.held.size(), 1u);
  w.release_stores();
  EXPECT_EQ(w.disk.at(1).info.envs.size(), 2u) << "neither update was lost";
  EXPECT_EQ(w.disk.at(1).info.status, TableStatus::kDropped) << "and none brought the table back";
}

TEST_F(TablesTest, Environments) {
  w.create("t", 4);
  EXPECT_EQ(w.ask(SetEnvs{"none", {{"default_ttl", "1"}}}).err, Errc::kAppNotExist);
  AdminReply bad = w.ask(SetEnvs{"t", {{"default_ttl", "1"}, {"default_ttl2", "1"}}});
  EXPECT_EQ(bad.err, Errc::kInvalidParameters);
  EXPECT_NE(bad.hint.find("default_ttl2"), std::string::npos);
  EXPECT_TRUE(w.core->find_table("t")->info.envs.empty()) << "all or none";
  EXPECT_EQ(
      w.ask(SetEnvs{"t",
                    {{"default_ttl", "1"}, {"rocksdb.num_levels", "5"}, {"business.info", "z"}}})
          .err,
      Errc::kOk);
  AdminReply deleted = w.ask(DeleteEnvs{"t", {"default_ttl", "nothing"}});
  EXPECT_EQ(deleted.err, Errc::kOk);
  EXPECT_NE(deleted.hint.find("default_ttl"), std::string::npos);
  EXPECT_EQ(w.ask(DeleteEnvs{"t", {"nothing"}}).err, Errc::kOk);
  EXPECT_EQ(w.ask(ClearEnvs{"t", "rocksdb"}).err, Errc::kOk);
  EXPECT_THAT(w.core->find_table("t")->info.envs,
              testing::ElementsAre(testing::Pair("business.info", "z")));
  EXPECT_EQ(w.ask(ClearEnvs{"t", ""}).err, Errc::kOk);
  EXPECT_TRUE(w.core->find_table("t")->info.envs.empty());
  w.hold_stores = true;
  w.ask(DropTable{"t"});
  w.core->find_table("t");
  EXPECT_EQ(w.ask(SetEnvs{"t", {{"default_ttl", "1"}}}).err, Errc::kIoPending) << "behind the drop";
  w.release_one();
  EXPECT_EQ(w.answers.rbegin()->second.err, Errc::kAppNotExist);
}

TEST_F(TablesTest, ReplicaCount) {
  w.create("t", 4);
  EXPECT_EQ(w.ask(SetReplicaCount{"none", 2}).err, Errc::kAppNotExist);
  EXPECT_EQ(w.ask(SetReplicaCount{"t", 9}).err, Errc::kInvalidParameters);
  EXPECT_EQ(w.ask(SetReplicaCount{"t", 3}).err, Errc::kOk);
  AdminReply reply = w.ask(SetReplicaCount{"t", 2});
  EXPECT_EQ(reply.err, Errc::kOk);
  EXPECT_EQ(reply.value, 3);
  EXPECT_EQ(w.disk.at(1).info.max_replica_count, 2);
  EXPECT_TRUE(w.disk.at(1).info.envs.empty());
  for (int i = 0; i < 4; ++i) {
    const PartitionConfig& config = w.config({1, i});
    EXPECT_EQ(config.max_replica_count, 2);
    EXPECT_EQ(config.ballot, 2);
    // The guardian has one of the three removed.
    int asked = 0;
    for (HostPort s : config.secondaries)
      asked += w.proposals_to(config.primary, ChangeType::kRemove, s);
    EXPECT_GE(asked, 1);
  }
  w.hold_stores = true;
  w.ask(SetReplicaCount{"t", 1});
  w.release_one();
  EXPECT_EQ(w.ask(SetReplicaCount{"t", 3}).err, Errc::kOperationDisabled);
}

// The change raises the ballot, and at a later one than the first nobody is told to create
// anything: the table would never come to life.
TEST_F(TablesTest, AReplicaCountIsChangedWhenThereAreReplicas) {
  w.confirm_proposals = false;
  w.create("t", 2);
  ASSERT_EQ(w.ask(SetReplicaCount{"t", 2}).err, Errc::kIoPending) << "nobody has a replica yet";
  w.run_ms(3000);
  for (int i = 0; i < 2; ++i) EXPECT_EQ(w.config({1, i}).ballot, 1);
  EXPECT_TRUE(w.disk.at(1).info.envs.empty()) << "nothing that the next leader would finish";
  for (HostPort n : {w.config({1, 0}).secondaries[0], w.config({1, 0}).primary})
    w.sync(n, w.reports_of(n));
  w.sync(w.config({1, 1}).primary, w.reports_of(w.config({1, 1}).primary));
  w.run_ms(200);
  EXPECT_EQ(w.answers.rbegin()->second.err, Errc::kOk);
  EXPECT_EQ(w.answers.rbegin()->second.value, 3);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(w.config({1, i}).ballot, 2);
    EXPECT_EQ(w.config({1, i}).max_replica_count, 2);
  }
}

TEST_F(TablesTest, AReplicaCountIsNotChangedLongAfterItWasAsked) {
  w.confirm_proposals = false;
  w.create("t", 2);
  ASSERT_EQ(w.ask(SetReplicaCount{"t", 2}).err, Errc::kIoPending);
  w.run_ms(4200);
  AdminReply reply = w.answers.rbegin()->second;
  EXPECT_EQ(reply.err, Errc::kInvalidState);
  EXPECT_NE(reply.hint.find("1.0"), std::string::npos) << reply.hint;
  EXPECT_EQ(reply.value, 3);
  for (HostPort n : {a, b, c}) w.sync(n, w.reports_of(n));
  w.run_ms(1000);
  EXPECT_EQ(w.config({1, 0}).ballot, 1);
  EXPECT_EQ(w.ask(SetReplicaCount{"t", 2}).err, Errc::kOk);
}

TEST_F(TablesTest, AReplicaCountChangeIsFinishedByTheNextLeader) {
  w.create("t", 4);
  w.hold_stores = true;
  w.ask(SetReplicaCount{"t", 2});
  w.release_one();  // the mark is durable; the partitions are not
  w.hold_stores = false;
  ASSERT_TRUE(w.restart().ok());
  EXPECT_EQ(w.disk.at(1).info.max_replica_count, 2);
  EXPECT_TRUE(w.disk.at(1).info.envs.empty());
  for (int i = 0; i < 4; ++i) EXPECT_EQ(w.config({1, i}).max_replica_count, 2);
}

TEST_F(TablesTest, AtomicIdempotent) {
  w.create("t", 4);
  EXPECT_EQ(w.ask(SetAtomicIdempotent{"none", true}).err, Errc::kAppNotExist);
  EXPECT_EQ(w.ask(SetAtomicIdempotent{"t", true}).value, 0);
  EXPECT_TRUE(w.disk.at(1).info.atomic_idempotent);
  EXPECT_EQ(w.ask(SetAtomicIdempotent{"t", false}).value, 1);
}

TEST_F(TablesTest, ManualCompaction) {
  w.create("t", 4);
  EXPECT_EQ(w.ask(StartManualCompact{"none"}).err, Errc::kAppNotExist);
  EXPECT_EQ(w.ask(StartManualCompact{"t", 0, -2}).err, Errc::kInvalidParameters);
  EXPECT_EQ(w.core->compaction_progress(*w.core->find_table("t")), -1);
  EXPECT_EQ(w.ask(StartManualCompact{"t", 0, -1, true, 2}).err, Errc::kOk);
  const auto& envs = w.disk.at(1).info.envs;
  EXPECT_EQ(envs.at("manual_compact.once.target_level"), "-1");
  EXPECT_EQ(envs.at("manual_compact.once.bottommost_level_compaction"), "force");
  EXPECT_EQ(envs.at("manual_compact.max_concurrent_running_count"), "2");
  EXPECT_EQ(envs.at("manual_compact.once.trigger_time"), std::to_string(w.now().wall_seconds()));
  auto reports = w.reports_of(a);
  for (auto& r : reports) r.compaction = CompactionStatus::kFinished;
  w.sync(a, reports);
  EXPECT_EQ(w.core->compaction_progress(*w.core->find_table("t")), 33)
      << "who has not reported is idle";
  w.ask(SetEnvs{"t", {{"manual_compact.disabled", "true"}}});
  EXPECT_EQ(w.ask(StartManualCompact{"t"}).err, Errc::kOperationDisabled);
}

}  // namespace
}  // namespace markab::meta
