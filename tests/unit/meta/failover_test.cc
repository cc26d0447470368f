// Who becomes primary when a node dies, restarts, is reported dead or leaves; and how the members
// get to know.

#include <gmock/gmock.h>

#include "core_world.h"

namespace markab::meta {
namespace {

using testing::ElementsAre;
using testing::Not;

const HostPort a = node(1), b = node(2), c = node(3), d = node(4);

struct FailoverTest : testing::Test {
  FailoverTest() {
    for (HostPort n : {a, b, c}) w.join(n);
    EXPECT_EQ(w.create("t").err, Errc::kOk);
    w.proposals.clear();
    w.changes.clear();
  }
  CoreWorld w;
};

TEST_F(FailoverTest, NewTableIsSpreadAndItsMembersAreToldToCreateIt) {
  CoreWorld fresh;
  for (HostPort n : {a, b, c}) fresh.join(n);
  AdminReply reply = fresh.create("t");
  ASSERT_EQ(reply.err, Errc::kOk);
  EXPECT_EQ(reply.value, 1);
  EXPECT_EQ(fresh.stores, 1);  // the table and all its partitions in one transaction
  std::vector<int> primaries = {fresh.primaries_on(a), fresh.primaries_on(b),
                                fresh.primaries_on(c)};
  std::sort(primaries.begin(), primaries.end());
  EXPECT_THAT(primaries, ElementsAre(2, 3, 3));
  EXPECT_EQ(fresh.proposals.size(), 24u);
  for (const Propose& p : fresh.proposals) {
    const PartitionConfig& config = fresh.config(p.pid);
    EXPECT_EQ(config.ballot, 1);
    EXPECT_EQ(config.member_count(), 3u);
    EXPECT_EQ(p.target, p.node);
    EXPECT_EQ(p.type,
              p.target == config.primary ? ChangeType::kAssignPrimary : ChangeType::kAddSecondary);
  }
}

TEST_F(FailoverTest, ReportedDeathMovesAllItsPrimariesInOneTransaction) {
  int before = w.stores;
  int lost = w.primaries_on(a);
  ASSERT_GT(lost, 0);
  w.report_death(a, 1000);
  EXPECT_EQ(w.primaries_on(a), 0);
  EXPECT_EQ(w.stores, before + 1);
  EXPECT_EQ(w.primaries_on(b), 4);
  EXPECT_EQ(w.primaries_on(c), 4);
  for (const MembershipChanged& change : w.changes) {
    EXPECT_THAT(change.after.last_drops, ElementsAre(a));
    EXPECT_EQ(change.after.ballot, 2);
    EXPECT_EQ(w.proposals_to(change.after.primary, ChangeType::kUpgradeToPrimary,
                             change.after.primary) > 0,
              true);
  }
}

TEST_F(FailoverTest, SecondariesOnADeadNodeAreThePrimarysToRemove) {
  w.report_death(a);
  for (const auto& p : w.core->find_table("t")->partitions) {
    if (!p.config.is_secondary(a)) continue;
    EXPECT_GE(w.proposals_to(p.config.primary, ChangeType::kDowngradeToInactive, a), 1)
        << p.config.pid.to_string();
    EXPECT_EQ(w.ask_change(p.config.pid, ChangeType::kRemove, a).err, Errc::kOk);
    EXPECT_FALSE(w.config(p.config.pid).is_member(a));
    EXPECT_THAT(w.config(p.config.pid).last_drops, ElementsAre(a));
  }
}

TEST_F(FailoverTest, SilenceForTheGracePeriodIsDeath) {
  w.beating.erase(a);
  w.run_ms(5900);
  EXPECT_GT(w.primaries_on(a), 0);
  w.run_ms(300);
  EXPECT_EQ(w.primaries_on(a), 0);
}

TEST_F(FailoverTest, AStalledMetaServerDoesNotTakeItsOwnSilenceForTheNodes) {
  w.t_ms += 60'000;  // SIGSTOP, then SIGCONT
  w.event([&](Actions& out) { w.core->on_tick(w.now(), out); });
  EXPECT_EQ(w.core->alive_nodes(), 3);
  w.beating.clear();
  w.run_ms(6300);
  EXPECT_EQ(w.core->alive_nodes(), 0);
}

TEST_F(FailoverTest, ANewerIncarnationMeansThatTheEarlierOneIsDead) {
  int lost = w.primaries_on(a);
  EXPECT_EQ(w.beacon(a, 2000), MetaCore::BeaconVerdict::kRenewed);
  EXPECT_EQ(w.primaries_on(a), 0);
  EXPECT_EQ(static_cast<int>(w.changes.size()), lost);
  EXPECT_EQ(w.core->alive_nodes(), 3);
  EXPECT_EQ(w.beacon(a, 1000), MetaCore::BeaconVerdict::kSilence);  // late, of the former life
  EXPECT_EQ(w.core->nodes().at(a).start_time_ms, 2000);
}

TEST_F(FailoverTest, AReportedIncarnationDoesNotReviveAtOnceButANewerOneDoes) {
  w.report_death(a, 1000);
  EXPECT_EQ(w.beacon(a, 1000), MetaCore::BeaconVerdict::kSilence);
  EXPECT_EQ(w.core->alive_nodes(), 2);
  EXPECT_EQ(w.beacon(a, 3000), MetaCore::BeaconVerdict::kRenewed);
  EXPECT_EQ(w.core->alive_nodes(), 3);
}

TEST_F(FailoverTest, AWronglyReportedNodeComesBackAfterItsLeaseIsSurelyOver) {
  w.report_death(a, 1000);
  w.run_ms(6100);  // grace > lease: nobody acknowledged its beacons in between
  EXPECT_EQ(w.beacon(a, 1000), MetaCore::BeaconVerdict::kRenewed);
}

TEST_F(FailoverTest, AReportAboutAnEarlierIncarnationIsNoNews) {
  w.beacon(a, 2000);
  w.changes.clear();
  w.report_death(a, 1000);
  EXPECT_EQ(w.core->alive_nodes(), 3);
  EXPECT_TRUE(w.changes.empty());
  w.report_death(a, 3000);  // its wall clock stepped back between the two
  EXPECT_EQ(w.core->alive_nodes(), 3);
  EXPECT_TRUE(w.changes.empty());
}

// A new leader presumes that nodes live, and does not know since when: one that was restarted has a
// lease from the leader before.
TEST_F(FailoverTest, ANewLeaderLetsABeaconTellWhomAReportIsAbout) {
  w.sync_with_new_leader = true;
  ASSERT_TRUE(w.restart().ok());
  w.changes.clear();
  w.report_death(a, 1000);
  EXPECT_EQ(w.core->alive_nodes(), 3);
  EXPECT_EQ(w.beacon(a, 2000), MetaCore::BeaconVerdict::kRenewed);
  EXPECT_EQ(w.core->alive_nodes(), 3);
  EXPECT_TRUE(w.changes.empty());

  w.report_death(b, 1000);
  EXPECT_EQ(w.beacon(b, 1000), MetaCore::BeaconVerdict::kSilence) << "sent before it died";
  EXPECT_EQ(w.core->alive_nodes(), 2);
  EXPECT_EQ(w.primaries_on(b), 0);
  EXPECT_EQ(w.beacon(b, 3000), MetaCore::BeaconVerdict::kRenewed);

  w.beating.erase(c);
  w.report_death(c, 1000);
  w.run_ms(7000);
  EXPECT_EQ(w.primaries_on(c), 0) << "no beacon at all: dead as any other";
}

TEST_F(FailoverTest, AReportWithoutStartTimeMeansTheCurrentIncarnation) {
  w.report_death(a, 0);
  EXPECT_EQ(w.core->alive_nodes(), 2);
}

TEST_F(FailoverTest, AProposalIsRepeatedUntilItIsConfirmed) {
  w.confirm_proposals = false;
  w.report_death(a);
  ASSERT_FALSE(w.changes.empty());
  PartitionConfig config = w.changes[0].after;
  auto sent = [&] {
    return std::count_if(w.proposals.begin(), w.proposals.end(), [&](const Propose& p) {
      return p.pid == config.pid && p.target == config.primary &&
             p.type == ChangeType::kUpgradeToPrimary;
    });
  };
  EXPECT_EQ(sent(), 1);
  w.run_ms(300);
  EXPECT_EQ(sent(), 2);
  Propose last{config.pid, config.primary, ChangeType::kUpgradeToPrimary, config.primary,
               config.ballot};
  w.event([&](Actions& out) { w.core->on_proposal_result(last, Errc::kOk, w.now(), out); });
  w.run_ms(3000);
  EXPECT_EQ(sent(), 2);
}

TEST_F(FailoverTest, AProposalToADeadNodeIsForgotten) {
  w.confirm_proposals = false;
  w.report_death(a);
  w.report_death(b);
  w.proposals.clear();
  w.run_ms(5000);
  for (const Propose& p : w.proposals) EXPECT_NE(p.target, b);
}

TEST_F(FailoverTest, NobodyIsToldBeforeTheChangeIsDurable) {
  w.hold_stores = true;
  int before = w.primaries_on(a);
  w.report_death(a);
  auto promoted = [&] {
    return std::count_if(w.proposals.begin(), w.proposals.end(),
                         [](const Propose& p) { return p.type == ChangeType::kUpgradeToPrimary; });
  };
  EXPECT_EQ(promoted(), 0);
  EXPECT_EQ(w.primaries_on(a), before);
  w.release_stores();
  EXPECT_EQ(promoted(), 2 * before);  // both members of each partition
  EXPECT_EQ(w.primaries_on(a), 0);
}

TEST_F(FailoverTest, ADeathDuringAPendingChangeIsHandledBehindIt) {
  PartitionConfig before = w.config({1, 0});
  HostPort primary = before.primary;
  HostPort secondary = before.secondaries[0];
  w.hold_stores = true;
  EXPECT_EQ(w.ask_change({1, 0}, ChangeType::kRemove, secondary).err, Errc::kIoPending);
  w.report_death(primary);
  w.release_stores();
  EXPECT_EQ(w.config({1, 0}).ballot, before.ballot + 2);
  EXPECT_EQ(w.config({1, 0}).primary, before.secondaries[1]);
  EXPECT_THAT(w.config({1, 0}).last_drops, ElementsAre(secondary, primary));
}

TEST_F(FailoverTest, WithoutALivingSecondaryThereIsNoPrimaryUntilOneReturns) {
  w.options.live_percentage = 0;
  w.core->options().live_percentage = 0;
  w.core->options().min_live_nodes = 0;
  for (HostPort n : {a, b, c}) w.report_death(n, 1000);
  PartitionConfig config = w.config({1, 0});
  EXPECT_FALSE(config.primary);
  ASSERT_FALSE(config.secondaries.empty());
  HostPort first = config.secondaries[0];
  w.beacon(first, 5000);
  EXPECT_EQ(w.config({1, 0}).primary, first);
  EXPECT_EQ(w.config({1, 0}).ballot, config.ballot + 1);
}

TEST_F(FailoverTest, LeavingMovesEachPrimaryAfterItSteppedDown) {
  int mine = w.primaries_on(a);
  uint64_t token = w.next_token++;
  w.answer_step_downs = false;
  w.event([&](Actions& out) { w.core->on_leave(token, a, 1000, w.now(), out); });
  EXPECT_EQ(static_cast<int>(w.step_downs.size()), mine);
  EXPECT_TRUE(w.changes.empty()) << "nothing changes before the old primary stopped";
  EXPECT_EQ(w.answers.count(token), 0u);
  for (AskStepDown ask : w.step_downs) {
    w.event([&](Actions& out) {
      w.core->on_step_down_result(ask.pid, ask.ballot, Errc::kOk, 42, w.now(), out);
    });
    const PartitionConfig& config = w.config(ask.pid);
    EXPECT_NE(config.primary, a);
    EXPECT_TRUE(config.is_secondary(a)) << "it stays a secondary as long as it lives";
    EXPECT_EQ(config.last_committed, 42);
    EXPECT_EQ(config.ballot, 2);
  }
  ASSERT_EQ(w.answers.count(token), 1u);
  EXPECT_EQ(w.answers[token].err, Errc::kOk);
  EXPECT_EQ(w.answers[token].value, 0);
}

TEST_F(FailoverTest, LeavingIsAnsweredAfterAtMostThreeSeconds) {
  uint64_t token = w.next_token++;
  w.answer_step_downs = false;
  w.event([&](Actions& out) { w.core->on_leave(token, a, 1000, w.now(), out); });
  w.run_ms(2900);
  EXPECT_EQ(w.answers.count(token), 0u);
  w.run_ms(200);
  ASSERT_EQ(w.answers.count(token), 1u);
  EXPECT_GT(w.answers[token].value, 0);
}

TEST_F(FailoverTest, AStepDownThatFailsIsAskedAgain) {
  uint64_t token = w.next_token++;
  w.answer_step_downs = false;
  w.event([&](Actions& out) { w.core->on_leave(token, a, 1000, w.now(), out); });
  AskStepDown first = w.step_downs[0];
  size_t asked = w.step_downs.size();
  w.event([&](Actions& out) {
    w.core->on_step_down_result(first.pid, first.ballot, Errc::kInvalidState, 0, w.now(), out);
  });
  EXPECT_EQ(w.step_downs.size(), asked);
  w.run_ms(300);
  EXPECT_EQ(w.step_downs.size(), asked + 1);
  EXPECT_EQ(w.step_downs.back().pid, first.pid);
}

TEST_F(FailoverTest, ANodeThatDiesWhileLeavingIsAnswered) {
  uint64_t token = w.next_token++;
  w.answer_step_downs = false;
  w.event([&](Actions& out) { w.core->on_leave(token, a, 1000, w.now(), out); });
  w.report_death(a, 1000);
  EXPECT_EQ(w.answers.count(token), 1u);
  EXPECT_EQ(w.primaries_on(a), 0);
}

TEST_F(FailoverTest, WhoLeavesGetsNothingNew) {
  w.join(d);
  uint64_t token = w.next_token++;
  w.event([&](Actions& out) { w.core->on_leave(token, a, 1000, w.now(), out); });
  ASSERT_EQ(w.create("u").err, Errc::kOk);
  for (const auto& p : w.core->find_table("u")->partitions) EXPECT_FALSE(p.config.is_member(a));
}

TEST_F(FailoverTest, ASoleMemberCannotBeMovedAndIsNotWaitedFor) {
  CoreWorld single;
  single.join(a);
  ASSERT_EQ(single.create("t", 4, 1).err, Errc::kOk);
  uint64_t token = single.next_token++;
  single.event([&](Actions& out) { single.core->on_leave(token, a, 1000, single.now(), out); });
  EXPECT_EQ(single.answers.count(token), 1u);
}

TEST_F(FailoverTest, ARestartedSoleMemberGetsItsPartitionsBackWithNewBallots) {
  CoreWorld single;
  single.join(a);
  ASSERT_EQ(single.create("t", 4, 1).err, Errc::kOk);
  auto reports = single.reports_of(a);
  single.report_death(a, 1000);
  EXPECT_FALSE(single.config({1, 0}).primary);
  single.beacon(a, 2000);
  for (auto& r : reports) r.status = ReplicaStatus::kInactive;
  single.sync(a, reports);
  EXPECT_EQ(single.config({1, 0}).primary, a);
  EXPECT_EQ(single.config({1, 0}).ballot, 3);
}

TEST_F(FailoverTest, FailoverWorksWhileTheClusterIsFreezed) {
  w.report_death(b);
  w.report_death(c);  // 1 of 3: freezed
  EXPECT_EQ(w.core->effective_level(), Level::kFreezed);
  EXPECT_EQ(w.primaries_on(a), 8);
}

TEST_F(FailoverTest, OneOfThreeLostDoesNotFreeze) {
  w.report_death(a);
  EXPECT_EQ(w.core->effective_level(), Level::kSteady);
}

TEST_F(FailoverTest, FlappingNodesAreLeftOutWhenFlapControlIsOn) {
  CoreOptions options;
  options.stable_seconds = 600;
  options.max_unstable_restarts = 2;
  CoreWorld flap(options);
  flap.beacon(a, 1'000);
  EXPECT_EQ(flap.beacon(a, 2'000), MetaCore::BeaconVerdict::kRenewed);
  EXPECT_EQ(flap.beacon(a, 3'000), MetaCore::BeaconVerdict::kRenewed);
  EXPECT_EQ(flap.beacon(a, 4'000), MetaCore::BeaconVerdict::kSilence);
  EXPECT_EQ(flap.beacon(a, 900'000), MetaCore::BeaconVerdict::kRenewed);
}

TEST_F(FailoverTest, TheAllowListKeepsStrangersOut) {
  CoreOptions options;
  options.allow_list_enabled = true;
  options.allow_list = {a};
  CoreWorld strict(options);
  EXPECT_EQ(strict.beacon(a, 1), MetaCore::BeaconVerdict::kRenewed);
  EXPECT_EQ(strict.beacon(b, 1), MetaCore::BeaconVerdict::kNotAllowed);
  EXPECT_EQ(strict.core->nodes().count(b), 0u);
}

TEST_F(FailoverTest, ADeadNodeThatHoldsNothingCanBeForgotten) {
  w.join(d);
  EXPECT_EQ(w.core->forget_node(d).code(), Errc::kBusy);
  w.report_death(d);
  EXPECT_EQ(w.core->forget_node(d).code(), Errc::kOk);
  w.report_death(a);
  EXPECT_EQ(w.core->forget_node(a).code(), Errc::kBusy) << "it is a secondary still";
}

// Found by the simulator: two members had reported last before the table was there, the third came
// back with an empty disk, and all were told to begin anew.
TEST_F(FailoverTest, AnEmptyDiskDoesNotMakeAFreshTableBeginAnew) {
  ASSERT_EQ(w.create("young", 1).err, Errc::kOk);
  const Gpid pid{w.core->find_table("young")->info.id, 0};
  const PartitionConfig config = w.config(pid);
  w.run_ms(10'000);
  w.sync(config.secondaries[0]);
  EXPECT_EQ(w.proposals_to(config.primary, ChangeType::kAssignPrimary, config.primary), 1);
  EXPECT_TRUE(w.core->find_partition(pid)->creating.empty());
  EXPECT_EQ(w.config(pid), config) << "decided when the others have reported";
  w.sync(config.primary, w.reports_of(config.primary));
  w.sync(config.secondaries[1], w.reports_of(config.secondaries[1]));
  w.sync(config.secondaries[0]);
  EXPECT_EQ(w.proposals_to(config.primary, ChangeType::kAssignPrimary, config.primary), 1);
}

// Found by the simulator: power was lost, a table was created before anybody noticed, and each node
// that came back was replaced by another that had nothing either.
TEST_F(FailoverTest, MembersThatAllRestartBeforeTheyHeardOfTheTableCreateItThen) {
  w.confirm_proposals = false;
  ASSERT_EQ(w.create("young", 1).err, Errc::kOk);
  const Gpid pid{w.core->find_table("young")->info.id, 0};
  const PartitionConfig config = w.config(pid);
  for (HostPort n : config.members()) {
    w.beacon(n, 2000);  // a new incarnation: the earlier one is dead
    EXPECT_EQ(w.config(pid), config);
  }
  w.run_ms(10'000);
  w.proposals.clear();
  std::vector<ReplicaReport> of_t;
  for (HostPort n : config.members()) {
    EXPECT_EQ(w.proposals_to(config.primary, ChangeType::kAssignPrimary, config.primary), 0);
    of_t = w.reports_of(n);
    std::erase_if(of_t, [&](const ReplicaReport& r) { return r.pid == pid; });
    w.sync(n, of_t);
  }
  EXPECT_EQ(w.config(pid), config);
  EXPECT_EQ(w.proposals_to(config.primary, ChangeType::kAssignPrimary, config.primary), 1);
}

TEST_F(FailoverTest, AMemberThatTellsOfItsReplicaTakesOverAFreshTable) {
  w.confirm_proposals = false;
  ASSERT_EQ(w.create("young", 1).err, Errc::kOk);
  const Gpid pid{w.core->find_table("young")->info.id, 0};
  const PartitionConfig config = w.config(pid);
  w.report_death(config.primary, 1000);
  EXPECT_EQ(w.config(pid), config) << "who is there may have nothing yet";
  HostPort second = config.secondaries[1];
  EXPECT_EQ(w.ask_change(pid, ChangeType::kDowngradeToInactive, second).err, Errc::kInvalidVersion)
      << "it is just being told";
  w.sync(second, w.reports_of(second));
  EXPECT_EQ(w.config(pid).primary, second);
  EXPECT_EQ(w.config(pid).ballot, 2);
}

// Found by the simulator: two that were about to leave asked to be removed whenever they were told
// to create, and each request had all three told again.
TEST_F(FailoverTest, WhoAsksToBeRemovedWhileItIsToCreateIsNotToldMoreOftenForThat) {
  w.confirm_proposals = false;
  ASSERT_EQ(w.create("young", 1).err, Errc::kOk);
  const Gpid pid{w.core->find_table("young")->info.id, 0};
  HostPort leaver = w.config(pid).secondaries[0];
  EXPECT_EQ(w.proposals_to(leaver, ChangeType::kAddSecondary, leaver), 1);
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(w.ask_change(pid, ChangeType::kDowngradeToInactive, leaver).err,
              Errc::kInvalidVersion);
  }
  EXPECT_EQ(w.proposals_to(leaver, ChangeType::kAddSecondary, leaver), 2);
  w.run_ms(3000);
  EXPECT_GT(w.proposals_to(leaver, ChangeType::kAddSecondary, leaver), 2);
  EXPECT_LT(w.proposals_to(leaver, ChangeType::kAddSecondary, leaver), 30);
}

// Found by the simulator: who learns puts aside what it had prepared. The report from before said
// that it still had that, and it led when the only whole replica was lost.
TEST_F(FailoverTest, WhoWasInvitedToLearnIsAskedAnewWhatItHasBeforeItLeads) {
  ASSERT_EQ(w.create("two", 1, 2).err, Errc::kOk);
  const Gpid pid{w.core->find_table("two")->info.id, 0};
  HostPort primary = w.config(pid).primary;
  HostPort learner = w.config(pid).secondaries[0];
  w.report_death(learner, 1000);
  ASSERT_EQ(w.ask_change(pid, ChangeType::kRemove, learner).err, Errc::kOk);
  // It comes back, tells what it has, and is invited to learn.
  ReplicaReport had = CoreWorld::report(w.config(pid), learner);
  w.beating[learner] = 2000;
  w.beacon(learner, 2000);
  auto reports = w.reports_of(learner);
  reports.push_back(had);
  w.sync(learner, reports);
  w.run_ms(11'000);
  ASSERT_GE(w.proposals_to(primary, ChangeType::kAddSecondary, learner), 1);
  // The primary's disk is lost with all that was committed since.
  w.report_death(primary, 1000);
  w.beating[primary] = 3000;
  w.beacon(primary, 3000);
  w.sync(primary);
  EXPECT_FALSE(w.config(pid).primary) << "chosen for what it had before it was told to learn";
  EXPECT_NE(w.core->find_partition(pid)->trouble.find("has not reported"), std::string::npos);
  // What it has now is less than what is known to be committed, or enough.
  reports.back().committed = reports.back().prepared = -1;
  reports.back().ballot = -1;
  w.sync(learner, reports);
  EXPECT_FALSE(w.config(pid).primary);
  reports.back() = had;
  w.sync(learner, reports);
  EXPECT_EQ(w.config(pid).primary, learner);
}

// The third way to the same: the role was moved before anybody had heard of the table.
TEST_F(FailoverTest, AFreshTableKeepsItsBallotWhenItsPrimaryLeavesWithoutHavingMadeIt) {
  w.confirm_proposals = false;
  w.answer_step_downs = false;
  ASSERT_EQ(w.create("young", 1).err, Errc::kOk);
  const Gpid pid{w.core->find_table("young")->info.id, 0};
  const PartitionConfig config = w.config(pid);
  uint64_t token = w.next_token++;
  w.event([&](Actions& out) { w.core->on_leave(token, config.primary, 1000, w.now(), out); });
  for (int i = 0; i < 3; ++i) {
    w.event([&](Actions& out) {
      w.core->on_step_down_result(pid, 1, Errc::kObjectNotFound, 0, w.now(), out);
    });
    EXPECT_EQ(w.config(pid), config);
    w.run_ms(500);
  }
}

}  // namespace
}  // namespace markab::meta
