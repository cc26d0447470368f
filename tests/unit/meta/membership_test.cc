// What replicas ask for (03 §10.1), what the guardian decides (03 §10.3), config sync (03 §11),
// proposals by operators.

#include <gmock/gmock.h>

#include "core_world.h"

namespace markab::meta {
namespace {

using testing::ElementsAre;

const HostPort a = node(1), b = node(2), c = node(3), d = node(4), e = node(5);
const Gpid kPid{1, 0};

struct MembershipTest : testing::Test {
  void open(std::vector<HostPort> nodes = {a, b, c}, int32_t partitions = 1, int32_t replicas = 3) {
    for (HostPort n : nodes) w.join(n);
    ASSERT_EQ(w.create("t", partitions, replicas).err, Errc::kOk);
    w.proposals.clear();
    w.changes.clear();
  }
  HostPort primary() { return w.config(kPid).primary; }
  HostPort secondary(size_t i = 0) { return w.config(kPid).secondaries[i]; }
  CoreWorld w;
};

TEST_F(MembershipTest, ChecksComeInTheOrderOfTheSpecification) {
  open();
  PartitionConfig current = w.config(kPid);
  PartitionConfig wanted = changed(current, ChangeType::kRemove, secondary()).value();
  PartitionConfig stale = wanted;
  stale.ballot = 5;
  w.core->options().level = Level::kFreezed;
  EXPECT_EQ(w.update(stale, ChangeType::kRemove, secondary()).err, Errc::kStateFreezed);
  w.core->options().level = Level::kSteady;
  AnswerUpdate retry = w.update(current, ChangeType::kRemove, secondary());
  EXPECT_EQ(retry.err, Errc::kOk) << "equal to the current one: a retry";
  AnswerUpdate old = w.update(stale, ChangeType::kRemove, secondary());
  EXPECT_EQ(old.err, Errc::kInvalidVersion);
  EXPECT_EQ(old.config, current);
  PartitionConfig unknown = wanted;
  unknown.pid = {7, 0};
  EXPECT_EQ(w.update(unknown, ChangeType::kRemove, secondary()).err, Errc::kObjectNotFound);
  unknown.pid = {1, 99};
  EXPECT_EQ(w.update(unknown, ChangeType::kRemove, secondary()).err, Errc::kObjectNotFound);
  AnswerUpdate done = w.update(wanted, ChangeType::kRemove, secondary());
  EXPECT_EQ(done.err, Errc::kOk);
  EXPECT_EQ(done.config.ballot, 2);
  EXPECT_THAT(done.config.last_drops, ElementsAre(current.secondaries[0]));
  EXPECT_EQ(w.disk.at(1).partitions.at(0), done.config);
}

TEST_F(MembershipTest, AChangeThatDoesMoreThanItSaysIsRefused) {
  open();
  PartitionConfig wanted = changed(w.config(kPid), ChangeType::kRemove, secondary()).value();
  wanted.secondaries.clear();
  EXPECT_EQ(w.update(wanted, ChangeType::kRemove, secondary()).err, Errc::kInvalidVersion);
  EXPECT_EQ(w.config(kPid).ballot, 1);
}

TEST_F(MembershipTest, WhoAsksDuringAPendingChangeIsAnsweredWhenThatIsDone) {
  open();
  PartitionConfig first = changed(w.config(kPid), ChangeType::kRemove, secondary(0)).value();
  PartitionConfig second = changed(w.config(kPid), ChangeType::kRemove, secondary(1)).value();
  w.hold_stores = true;
  EXPECT_EQ(w.update(first, ChangeType::kRemove, secondary(0)).err, Errc::kIoPending);
  EXPECT_EQ(w.update(second, ChangeType::kRemove, secondary(1)).err, Errc::kIoPending);
  EXPECT_EQ(w.update(first, ChangeType::kRemove, secondary(0)).err, Errc::kIoPending);
  w.release_stores();
  std::vector<Errc> errors;
  for (auto& [token, answer] : w.update_answers) errors.push_back(answer.err);
  EXPECT_THAT(errors, ElementsAre(Errc::kOk, Errc::kInvalidVersion, Errc::kOk));
  EXPECT_EQ(w.update_answers.rbegin()->second.config.ballot, 2);
}

TEST_F(MembershipTest, APrimaryThatGivesUpIsSucceededInTheSameWrite) {
  open();
  HostPort old = primary();
  AnswerUpdate answer = w.ask_change(kPid, ChangeType::kDowngradeToInactive, old);
  EXPECT_EQ(answer.err, Errc::kOk);
  EXPECT_EQ(answer.config.ballot, 2);
  EXPECT_TRUE(answer.config.primary);
  EXPECT_NE(answer.config.primary, old);
  EXPECT_THAT(answer.config.last_drops, ElementsAre(old));
  EXPECT_EQ(
      w.proposals_to(answer.config.primary, ChangeType::kUpgradeToPrimary, answer.config.primary),
      1);
}

TEST_F(MembershipTest, ASecondaryThatGivesUpIsMadeKnownToItsPrimary) {
  open();
  HostPort out = secondary();
  EXPECT_EQ(w.ask_change(kPid, ChangeType::kDowngradeToInactive, out).err, Errc::kOk);
  EXPECT_EQ(w.proposals_to(primary(), ChangeType::kUpgradeToPrimary, primary()), 1);
}

TEST_F(MembershipTest, AMemberWhoseReplicaIsBeingCreatedIsNotRemovedForLackingIt) {
  w.confirm_proposals = false;
  open();
  HostPort early = secondary();
  EXPECT_EQ(w.ask_change(kPid, ChangeType::kDowngradeToInactive, early).err, Errc::kInvalidVersion);
  EXPECT_EQ(w.proposals_to(early, ChangeType::kAddSecondary, early), 1) << "told again";
}

TEST_F(MembershipTest, ForcingTheBallotChangesNothingElse) {
  open();
  PartitionConfig before = w.config(kPid);
  AnswerUpdate answer = w.ask_change(kPid, ChangeType::kForceUpdateBallot, primary());
  EXPECT_EQ(answer.err, Errc::kOk);
  before.ballot += 1;
  EXPECT_EQ(answer.config, before);
}

// --- the guardian: a missing secondary ---

TEST_F(MembershipTest, AReturningSecondaryLearnsAsSoonAsItReported) {
  open();
  HostPort lost = secondary();
  auto reports = w.reports_of(lost);
  w.report_death(lost);
  w.ask_change(kPid, ChangeType::kRemove, lost);
  w.run_ms(20'000);
  EXPECT_EQ(w.proposals_to(primary(), ChangeType::kAddSecondary, lost), 0) << "it is dead";
  w.beating[lost] = 9000;
  w.beacon(lost, 9000);
  EXPECT_EQ(w.proposals_to(primary(), ChangeType::kAddSecondary, lost), 0)
      << "what it has is not known yet";
  reports[0].status = ReplicaStatus::kInactive;
  w.sync(lost, reports);
  EXPECT_EQ(w.proposals_to(primary(), ChangeType::kAddSecondary, lost), 1);
  EXPECT_EQ(w.ask_change(kPid, ChangeType::kUpgradeToSecondary, lost).err, Errc::kOk);
  EXPECT_EQ(w.config(kPid).member_count(), 3u);
  EXPECT_TRUE(w.config(kPid).last_drops.empty());
  EXPECT_TRUE(w.core->find_partition(kPid)->dropped.empty());
}

TEST_F(MembershipTest, AnotherNodeTakesThePlaceOnlyAfterTheDelay) {
  w.options.assign_delay_ms = 30'000;
  ASSERT_TRUE(w.restart().ok());
  open({a, b, c, d});
  HostPort lost = secondary();
  HostPort spare;
  for (HostPort n : {a, b, c, d}) {
    if (!w.config(kPid).is_member(n)) spare = n;
  }
  w.report_death(lost);
  w.ask_change(kPid, ChangeType::kRemove, lost);
  w.run_ms(25'000);
  EXPECT_EQ(w.proposals_to(primary(), ChangeType::kAddSecondary, spare), 0);
  w.run_ms(20'000);
  EXPECT_GE(w.proposals_to(primary(), ChangeType::kAddSecondary, spare), 1);
}

TEST_F(MembershipTest, BelowTheQuorumAnotherNodeTakesThePlaceAtOnce) {
  open({a, b, c, d, e});
  HostPort first = secondary(0), second = secondary(1);
  w.report_death(first);
  w.report_death(second);
  w.ask_change(kPid, ChangeType::kRemove, first);
  EXPECT_EQ(w.ask_change(kPid, ChangeType::kRemove, second).err, Errc::kOk);
  int added = 0;
  for (const Propose& p : w.proposals) added += p.type == ChangeType::kAddSecondary ? 1 : 0;
  EXPECT_EQ(added, 1) << "one learner at a time";
}

TEST_F(MembershipTest, ABlackListedNodeIsNotAwaited) {
  open({a, b, c, d});
  HostPort lost = secondary();
  w.core->options().black_list = {lost};
  w.report_death(lost);
  w.ask_change(kPid, ChangeType::kRemove, lost);
  int added = 0;
  for (const Propose& p : w.proposals) added += p.type == ChangeType::kAddSecondary ? 1 : 0;
  EXPECT_EQ(added, 1);
}

TEST_F(MembershipTest, NothingIsAddedWhenAddingIsStopped) {
  open({a, b, c, d, e});
  w.core->options().max_adds_per_node = 0;
  for (HostPort n : {secondary(0), secondary(1)}) {
    w.report_death(n);
    w.ask_change(kPid, ChangeType::kRemove, n);
  }
  w.run_ms(30'000);
  for (const Propose& p : w.proposals) EXPECT_NE(p.type, ChangeType::kAddSecondary);
}

TEST_F(MembershipTest, AFailedLearnerIsNotTriedAgainAtOnce) {
  w.options.assign_delay_ms = 0;
  ASSERT_TRUE(w.restart().ok());
  open({a, b, c, d});
  HostPort gone = secondary();
  w.ask_change(kPid, ChangeType::kRemove, gone);
  w.run_ms(10'000);
  ASSERT_GE(w.proposals_to(primary(), ChangeType::kAddSecondary, gone), 1);
  HostPort spare;
  for (HostPort n : {a, b, c, d}) {
    if (n != gone && !w.config(kPid).is_member(n)) spare = n;
  }
  ReplicaReport r = CoreWorld::report(w.config(kPid), gone);
  r.status = ReplicaStatus::kLearner;
  w.sync(gone, {r});
  r.status = ReplicaStatus::kError;
  w.sync(gone, {r});
  EXPECT_FALSE(w.core->find_partition(kPid)->cure.has_value());
}

TEST_F(MembershipTest, SurplusIsRemovedOneAtATime) {
  open({a, b, c, d}, 1, 2);
  HostPort extra;
  for (HostPort n : {a, b, c, d}) {
    if (!w.config(kPid).is_member(n)) extra = n;
  }
  EXPECT_EQ(w.ask_change(kPid, ChangeType::kUpgradeToSecondary, extra).err, Errc::kOk);
  int removals = 0;
  for (const Propose& p : w.proposals) removals += p.type == ChangeType::kRemove ? 1 : 0;
  EXPECT_EQ(removals, 1);
}

// --- nobody left: who has most? (03 §10.3) ---

constexpr Ballot kShut = -2;

struct DddCase {
  const char* name;
  Ballot prev_ballot, last_ballot;  // -1: no replica; kShut: one on a full disk
  Decree prev_committed, last_committed;
  Decree prev_prepared, last_prepared;
  int chosen;        // 0 nobody, 1 prev, 2 last
  int doubtful = 0;  // likewise: whose log may lack what it acknowledged
};
void PrintTo(const DddCase& k, std::ostream* out) { *out << k.name; }

struct DddTest : testing::TestWithParam<DddCase> {};

TEST_P(DddTest, Chooses) {
  const DddCase& k = GetParam();
  CoreWorld w;
  TableInfo info;
  info.status = TableStatus::kAvailable;
  info.name = "t";
  info.id = 1;
  info.partition_count = 1;
  info.max_replica_count = 3;
  PartitionConfig config;
  config.pid = kPid;
  config.ballot = 9;
  config.max_replica_count = 3;
  config.last_drops = {c, a, b};
  config.last_committed = 50;
  w.disk[1] = {info, {{0, config}}};
  ASSERT_TRUE(w.restart().ok());
  auto reports = [&](HostPort n, Ballot ballot, Decree committed, Decree prepared, bool doubtful) {
    std::vector<ReplicaReport> out;
    if (ballot == kShut) {
      ReplicaReport r;
      r.pid = kPid;
      r.status = ReplicaStatus::kError;
      out.push_back(r);
    } else if (ballot >= 0) {
      ReplicaReport r = CoreWorld::report(config, n, committed, prepared);
      r.ballot = ballot;
      r.status = doubtful ? ReplicaStatus::kError : ReplicaStatus::kInactive;
      out.push_back(r);
    }
    return out;
  };
  for (HostPort n : {a, b}) w.beacon(n, 1);
  w.sync(a, reports(a, k.prev_ballot, k.prev_committed, k.prev_prepared, k.doubtful == 1));
  EXPECT_FALSE(w.config(kPid).primary) << "one of the last two has not reported";
  w.sync(b, reports(b, k.last_ballot, k.last_committed, k.last_prepared, k.doubtful == 2));
  HostPort expected = k.chosen == 1 ? a : k.chosen == 2 ? b : HostPort{};
  EXPECT_EQ(w.config(kPid).primary, expected);
  auto diagnosis = w.core->diagnose(-1, -1);
  EXPECT_EQ(diagnosis.size(), k.chosen == 0 ? 1u : 0u);
  if (k.chosen == 0) {
    EXPECT_FALSE(diagnosis[0].reason.empty());
    for (HostPort n : {a, b}) {  // the C++ shell relies on them
      EXPECT_TRUE(std::any_of(diagnosis[0].dropped.begin(), diagnosis[0].dropped.end(),
                              [&](const DddNode& x) { return x.replica.node == n; }));
    }
    EXPECT_GT(w.core->find_partition(kPid)->choose_primary_failures, 0);
  } else {
    EXPECT_EQ(w.config(kPid).ballot, 10);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Table, DddTest,
    testing::Values(DddCase{"equal", 8, 8, 100, 100, 100, 100, 2},
                    DddCase{"prev_prepared_more", 8, 8, 100, 100, 101, 100, 1},
                    DddCase{"prev_committed_more", 8, 8, 101, 100, 101, 101, 1},
                    DddCase{"larger_ballot_wins", 9, 8, 100, 100, 100, 120, 1},
                    DddCase{"last_larger_ballot", 8, 9, 100, 100, 100, 100, 2},
                    DddCase{"commit_point_behind", 9, 8, 90, 100, 100, 100, 1},
                    DddCase{"last_commit_point_behind", 8, 9, 100, 90, 100, 100, 2},
                    DddCase{"contradiction", 9, 8, 90, 100, 99, 100, 0},
                    DddCase{"contradiction_the_other_way", 8, 9, 100, 90, 100, 99, 0},
                    DddCase{"less_than_is_known", 8, 8, 40, 40, 45, 45, 0},
                    DddCase{"prepared_below_committed", 8, 8, 100, 100, 90, 95, 0},
                    DddCase{"prev_without_replica", -1, 8, 0, 100, 0, 100, 2},
                    DddCase{"last_without_replica", 8, -1, 100, 0, 100, 0, 1},
                    DddCase{"last_is_shut", 8, kShut, 100, 0, 100, 0, 0},
                    DddCase{"prev_is_shut", kShut, 8, 0, 100, 0, 100, 0},
                    DddCase{"both_without", -1, -1, 0, 0, 0, 0, 0},
                    DddCase{"doubtful_with_more", 8, 9, 100, 100, 100, 110, 2, 2},
                    DddCase{"doubtful_at_the_same_ballot", 8, 8, 100, 100, 100, 110, 1, 2},
                    DddCase{"doubtful_without_what_is_known", 8, 9, 100, 90, 100, 99, 1, 2},
                    DddCase{"doubtful_and_both_without", 8, 9, 100, 120, 110, 110, 0, 2}),
    [](const auto& info) { return info.param.name; });

TEST_F(MembershipTest, APrimaryOnAFullDiskIsFailedOver) {
  open({a, b, c}, 1, 3);
  w.run_ms(6000);
  HostPort p = primary(), s0 = secondary(0);
  for (HostPort n : {a, b, c}) w.sync(n, w.reports_of(n));
  auto before = w.config(kPid).ballot;
  auto reports = w.reports_of(p);
  reports[0].status = ReplicaStatus::kError;
  reports[0].ballot = reports[0].committed = reports[0].prepared = -1;
  w.sync(p, reports);
  EXPECT_NE(w.config(kPid).primary, p);
  EXPECT_TRUE(w.config(kPid).primary);
  EXPECT_EQ(w.config(kPid).ballot, before + 1);
  // When the others are lost as well, it is waited for.
  HostPort now = primary();
  HostPort other = now == s0 ? secondary(0) : s0;
  w.core->options().live_percentage = 0;
  w.core->options().min_live_nodes = 0;
  auto others = w.reports_of(now);
  w.report_death(other);
  w.ask_change(kPid, ChangeType::kRemove, other);
  w.sync(p, reports);
  w.report_death(now);
  w.run_ms(1000);
  EXPECT_FALSE(w.config(kPid).primary);
}

TEST_F(MembershipTest, AnOperatorMayChooseWhereTheRuleDoesNot) {
  open({a, b, c}, 1, 3);
  w.core->options().live_percentage = 0;
  w.core->options().min_live_nodes = 0;
  std::map<HostPort, std::vector<ReplicaReport>> reports;
  for (HostPort n : {a, b, c}) reports[n] = w.reports_of(n);
  HostPort p = primary(), s0 = secondary(0), s1 = secondary(1);
  w.report_death(s0);
  w.ask_change(kPid, ChangeType::kRemove, s0);
  w.report_death(s1);
  w.ask_change(kPid, ChangeType::kRemove, s1);
  w.report_death(p);
  EXPECT_FALSE(w.config(kPid).primary);
  w.beacon(p, 5000);
  reports[p][0].status = ReplicaStatus::kInactive;
  w.sync(p, reports[p]);
  EXPECT_FALSE(w.config(kPid).primary) << "the other one of the last two is away";
  ASSERT_EQ(w.core->diagnose(1, -1).size(), 1u);
  EXPECT_EQ(w.balance({kPid, {{p, p, ChangeType::kAssignPrimary}}, false}).err, Errc::kOk);
  EXPECT_EQ(w.config(kPid).primary, p);
}

// --- config sync ---

TEST_F(MembershipTest, SyncAnswersWhatTheNodeServes) {
  EXPECT_EQ(w.sync(a).err, Errc::kObjectNotFound) << "first contact";
  open({a, b, c}, 4);
  SyncReply reply = w.sync(a, w.reports_of(a));
  EXPECT_EQ(reply.err, Errc::kOk);
  EXPECT_EQ(reply.partitions.size(), 4u);
  w.report_death(a);
  EXPECT_EQ(w.sync(a, {}).err, Errc::kObjectNotFound) << "it must see its death first";
}

TEST_F(MembershipTest, SyncWaitsForTheMetasOwnChanges) {
  open({a, b, c}, 4);
  auto reports = w.reports_of(b);
  w.hold_stores = true;
  w.report_death(a);
  EXPECT_EQ(w.sync(b, reports).err, Errc::kBusy);
  w.release_stores();
  EXPECT_EQ(w.sync(b, w.reports_of(b)).err, Errc::kOk);
}

TEST_F(MembershipTest, UnknownReplicasAreLeftAlone) {
  open();
  ReplicaReport stranger;
  stranger.pid = {77, 3};
  ReplicaReport beyond;
  beyond.pid = {1, 50};
  SyncReply reply = w.sync(a, {stranger, beyond, CoreWorld::report(w.config(kPid), a)});
  EXPECT_EQ(reply.err, Errc::kOk);
  EXPECT_TRUE(reply.garbage.empty());
}

TEST_F(MembershipTest, ARestartedPrimaryGetsANewBallotBeforeItServes) {
  open();
  HostPort p = primary();
  ReplicaReport r = CoreWorld::report(w.config(kPid), p);
  ASSERT_TRUE(
      w.restart().ok());  // the new leader cannot know that the replica server restarted too
  w.beacon(p, 1);
  r.status = ReplicaStatus::kInactive;
  w.hold_stores = true;
  EXPECT_EQ(w.sync(p, {r}).err, Errc::kBusy);
  w.release_stores();
  EXPECT_EQ(w.config(kPid).primary, p);
  EXPECT_EQ(w.config(kPid).ballot, 2);
  r.ballot = 2;
  EXPECT_EQ(w.sync(p, {r}).err, Errc::kOk) << "not again and again";
  EXPECT_EQ(w.config(kPid).ballot, 2);
}

TEST_F(MembershipTest, APrimaryWithoutItsReplicaIsSucceeded) {
  open();
  HostPort p = primary();
  ASSERT_EQ(w.ask_change(kPid, ChangeType::kForceUpdateBallot, p).err,
            Errc::kOk);  // its history is not empty
  w.run_ms(6000);
  w.sync(p, {});
  EXPECT_NE(primary(), p);
  EXPECT_TRUE(primary());
}

TEST_F(MembershipTest, ReplicasThatNobodyCreatedAreCreatedByTheNextLeader) {
  w.confirm_proposals = false;
  open();
  ASSERT_TRUE(w.restart().ok());
  w.proposals.clear();
  for (HostPort n : {a, b, c}) w.beacon(n, 1000);
  w.sync(a, {});
  w.sync(b, {});
  EXPECT_EQ(w.config(kPid).ballot, 1);
  EXPECT_TRUE(w.proposals.empty()) << "the third may have one";
  w.sync(c, {});
  EXPECT_EQ(w.config(kPid).ballot, 1);
  EXPECT_EQ(w.proposals.size(), 3u);
}

TEST_F(MembershipTest, ExpiredReplicasAreGarbageOnlyWhenLively) {
  open();
  ReplicaReport r = CoreWorld::report(w.config(kPid), a);
  w.ask(DropTable{"t", false, 5});
  EXPECT_TRUE(w.sync(a, {r}).garbage.empty());
  w.run_ms(6000);
  EXPECT_TRUE(w.sync(a, {r}).garbage.empty());
  w.core->options().level = Level::kLively;
  EXPECT_EQ(w.sync(a, {r}).garbage.size(), 1u);
}

TEST_F(MembershipTest, ASurplusCopyIsGarbageOnlyWhileThePartitionIsWhole) {
  w.options.max_reserved_dropped = 0;
  w.options.level = Level::kLively;
  ASSERT_TRUE(w.restart().ok());
  open({a, b, c, d}, 1, 3);
  HostPort spare;
  for (HostPort n : {a, b, c, d}) {
    if (!w.config(kPid).is_member(n)) spare = n;
  }
  ReplicaReport copy = CoreWorld::report(w.config(kPid), spare);
  EXPECT_TRUE(w.sync(spare, {copy}).garbage.empty()) << "the members have not been heard since";
  for (HostPort n : w.config(kPid).members()) w.sync(n, w.reports_of(n));
  EXPECT_EQ(w.sync(spare, {copy}).garbage.size(), 1u);
}

// --- what operators propose (03 §4.5) ---

TEST_F(MembershipTest, MovingAPrimaryIsOneStoredChange) {
  open();
  HostPort from = primary(), to = secondary(1);
  AdminReply reply = w.balance(
      {kPid,
       {{from, from, ChangeType::kDowngradeToSecondary}, {to, to, ChangeType::kUpgradeToPrimary}},
       false});
  EXPECT_EQ(reply.err, Errc::kOk);
  EXPECT_EQ(primary(), to);
  EXPECT_TRUE(w.config(kPid).is_secondary(from));
  EXPECT_EQ(w.config(kPid).ballot, 2);
  EXPECT_TRUE(w.core->find_partition(kPid)->plan.empty());
}

TEST_F(MembershipTest, CopyingASecondaryAddsBeforeItRemoves) {
  open({a, b, c, d}, 1, 3);
  HostPort from = secondary();
  HostPort to;
  for (HostPort n : {a, b, c, d}) {
    if (!w.config(kPid).is_member(n)) to = n;
  }
  EXPECT_EQ(w.balance({kPid,
                       {{{}, to, ChangeType::kAddSecondaryForBalance},
                        {{}, from, ChangeType::kDowngradeToInactive}},
                       false})
                .err,
            Errc::kOk);
  EXPECT_EQ(w.proposals_to(primary(), ChangeType::kAddSecondaryForBalance, to), 1);
  EXPECT_EQ(w.proposals_to(primary(), ChangeType::kDowngradeToInactive, from), 0);
  EXPECT_EQ(w.balance({kPid, {{{}, from, ChangeType::kRemove}}, false}).err,
            Errc::kInvalidParameters)
      << "one plan at a time";
  w.ask_change(kPid, ChangeType::kUpgradeToSecondary, to);
  EXPECT_EQ(w.proposals_to(primary(), ChangeType::kDowngradeToInactive, from), 1);
  w.ask_change(kPid, ChangeType::kDowngradeToInactive, from);
  EXPECT_EQ(w.config(kPid).member_count(), 3u);
  EXPECT_TRUE(w.core->find_partition(kPid)->plan.empty());
}

TEST_F(MembershipTest, AnImpossiblePlanIsDropped) {
  open();
  EXPECT_EQ(w.balance({{9, 0}, {}, false}).err, Errc::kAppNotExist);
  EXPECT_EQ(w.balance({{1, 5}, {}, false}).err, Errc::kInvalidParameters);
  EXPECT_EQ(w.balance({kPid, {{a, a, ChangeType::kUpgradeToPrimary}}, false}).err, Errc::kOk);
  EXPECT_TRUE(w.core->find_partition(kPid)->plan.empty());
  EXPECT_EQ(w.config(kPid).ballot, 1);
}

TEST_F(MembershipTest, LoweringTheLevelClearsAllPlans) {
  open({a, b, c, d}, 1, 3);
  HostPort to;
  for (HostPort n : {a, b, c, d}) {
    if (!w.config(kPid).is_member(n)) to = n;
  }
  w.balance({kPid, {{{}, to, ChangeType::kAddSecondaryForBalance}}, false});
  EXPECT_FALSE(w.core->find_partition(kPid)->plan.empty());
  w.event([&](Actions& out) { w.core->set_level(Level::kSteady, w.now(), out); });
  EXPECT_TRUE(w.core->find_partition(kPid)->plan.empty());
}

// --- restart of the leader ---

TEST_F(MembershipTest, HalfCreatedAndHalfDroppedTablesAreFinished) {
  open({a, b, c}, 4);
  w.disk.at(1).partitions.erase(2);         // the leader died between two transactions
  w.disk.at(1).partitions.at(1).flags = 1;  // recalled by half
  w.disk.at(1).partitions.at(1).primary = {};
  w.disk.at(1).partitions.at(1).secondaries = {};
  w.disk.at(1).partitions.at(1).last_drops = {a, b};
  ASSERT_TRUE(w.restart().ok());
  EXPECT_EQ(w.disk.at(1).partitions.size(), 4u);
  EXPECT_FALSE(w.config({1, 1}).dropped());
  for (HostPort n : {a, b, c}) w.beacon(n, 1000);
  EXPECT_EQ(w.config({1, 2}).ballot, 1);
  EXPECT_EQ(w.config({1, 2}).member_count(), 3u);
  w.disk.at(1).info.status = TableStatus::kDropped;
  ASSERT_TRUE(w.restart().ok());
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(w.disk.at(1).partitions.at(i).dropped()) << i;
}

TEST_F(MembershipTest, WhatCannotBeUnderstoodIsNotServed) {
  open();
  w.disk.at(1).partitions.at(0).last_drops = {primary()};
  EXPECT_EQ(w.restart().code(), Errc::kInvalidData);
  w.disk.at(1).partitions.at(0).last_drops = {};
  w.disk.at(1).info.status = TableStatus::kCreating;
  EXPECT_EQ(w.restart().code(), Errc::kInvalidData);
  w.disk.at(1).info.status = TableStatus::kAvailable;
  w.disk[2] = w.disk.at(1);
  w.disk.at(2).info.id = 2;
  w.disk.at(2).partitions.at(0).pid = {2, 0};
  EXPECT_EQ(w.restart().code(), Errc::kInvalidData) << "one name twice";
}

TEST_F(MembershipTest, ANewLeaderGivesTheMembersTimeToShowUp) {
  open();
  PartitionConfig before = w.config(kPid);
  ASSERT_TRUE(w.restart().ok());
  EXPECT_EQ(w.core->alive_nodes(), 3);
  w.beating.clear();
  w.run_ms(5000);
  EXPECT_EQ(w.config(kPid), before);
  w.run_ms(2000);
  EXPECT_EQ(w.core->alive_nodes(), 0);
}

}  // namespace
}  // namespace markab::meta
