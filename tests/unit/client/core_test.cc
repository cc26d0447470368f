// Routing, repetition and deadlines of one core, event by event.

#include "client/core.h"

#include "core_fixture.h"
#include "idl/meta_admin_types.h"
#include "rpc/codec.h"

namespace markab::client {
namespace {

using rpc::TaskCode;

TEST_F(CoreTest, SendsToThePrimaryOfTheHash) {
  ASSERT_TRUE(set("hello", "world"));
  auto value = get("hello");
  ASSERT_TRUE(value) << value.error().message;
  EXPECT_EQ(*value, "world");
  EXPECT_EQ(value.origin.app_id, FakeCluster::kAppId);
  EXPECT_EQ(value.origin.partition_index, 3);  // 01 §13: crc64("hello") mod 4
  EXPECT_EQ(value.origin.server(), primary_of("hello").to_string());
  const Recorded& last = cluster.calls.back();
  EXPECT_EQ(last.gpid, (Gpid{FakeCluster::kAppId, 3}));
  EXPECT_EQ(last.hash, 0x3377857006524257u);
}

TEST_F(CoreTest, AMissingRowIsNotFoundWithoutRepetition) {
  auto value = get("nobody");
  EXPECT_EQ(value.error().code, ErrorCode::kNotFound);
  EXPECT_EQ(cluster.count_calls(TaskCode::kGet), 1);
}

TEST_F(CoreTest, ManyCallsShareOneQuestionToTheMetas) {
  std::vector<std::shared_ptr<Flying<Nothing>>> all;
  for (int i = 0; i < 100; ++i) all.push_back(launch(prepare_set(std::to_string(i), "s", "v", 0)));
  for (auto& one : all) EXPECT_TRUE(finish(one));
  EXPECT_EQ(cluster.count_calls(TaskCode::kQueryPartitionConfigByIndex), 1);
}

TEST_F(CoreTest, AnUnknownTableEndsAtOnce) {
  cluster.meta_err = Errc::kObjectNotFound;
  auto value = get("a");
  EXPECT_EQ(value.error().code, ErrorCode::kTableNotFound);
  EXPECT_NE(value.error().message.find("temp"), std::string::npos) << value.error().message;
  EXPECT_LT(took, milliseconds(5));
}

TEST_F(CoreTest, ATableThatIsBeingCreatedIsWaitedFor) {
  cluster.meta_err = Errc::kBusyCreating;
  auto flying = launch(prepare_set("a", "s", "v", 0));
  world.run_for(milliseconds(300));
  EXPECT_FALSE(flying->done());
  cluster.meta_err = Errc::kOk;
  Instant ready = world.now();
  EXPECT_TRUE(finish(flying));
  EXPECT_LT(flying->ended - ready, milliseconds(60));
}

TEST_F(CoreTest, AMovedPrimaryCostsOneQuestion) {
  ASSERT_TRUE(set("a", "1"));
  HostPort old = primary_of("a");
  cluster.move(partition_of("a"), other_than(old));
  auto value = get("a");
  ASSERT_TRUE(value) << value.error().message;
  EXPECT_EQ(value.origin.server(), primary_of("a").to_string());
  EXPECT_EQ(cluster.count_calls(TaskCode::kGet), 2);
  EXPECT_LT(took, milliseconds(5));
}

TEST_F(CoreTest, EveryRefusalOfARoutingKindIsRepeated) {
  for (Errc code : {Errc::kObjectNotFound, Errc::kInvalidState, Errc::kInactiveState,
                    Errc::kParentPartitionMisused, Errc::kSplitting}) {
    cluster.refuse_next(TaskCode::kIncr, code);
    auto sum = incr("a");
    EXPECT_TRUE(sum) << errc_name(code) << ": " << sum.error().message;
  }
  EXPECT_EQ(cluster.executed_incrs, 5);
}

TEST_F(CoreTest, FinalRefusalsAreTold) {
  const std::pair<Errc, ErrorCode> kFinal[] = {
      {Errc::kAclDeny, ErrorCode::kDenied},
      {Errc::kUnauthenticated, ErrorCode::kDenied},
      {Errc::kInvalidData, ErrorCode::kInvalidArgument},
      {Errc::kDiskInsufficient, ErrorCode::kBusy},
      {Errc::kHandlerNotFound, ErrorCode::kInvalidArgument},
      {Errc::kUnknown, ErrorCode::kInternal}};
  int sent = 0;
  for (auto [code, expected] : kFinal) {
    cluster.refuse_next(TaskCode::kPut, code);
    auto done = set("a", "1");
    EXPECT_EQ(done.error().code, expected) << errc_name(code);
    EXPECT_NE(done.error().message.find(errc_name(code)), std::string::npos)
        << done.error().message;
    EXPECT_EQ(cluster.count_calls(TaskCode::kPut), ++sent);
  }
}

TEST_F(CoreTest, ADeadPrimaryIsLeftAsSoonAsTheMetasNameAnother) {
  ASSERT_TRUE(set("a", "1"));
  HostPort old = primary_of("a");
  cluster.kill(old);
  auto flying = launch(prepare_get("a", "s"));
  world.run_for(milliseconds(300));
  EXPECT_FALSE(flying->done());
  cluster.move(partition_of("a"), other_than(old));
  Instant moved = world.now();
  auto value = finish(flying);
  ASSERT_TRUE(value) << value.error().message;
  EXPECT_LT(flying->ended - moved, milliseconds(60))
      << "polls of the metas are at most 50 ms apart";
}

TEST_F(CoreTest, CallsInFlightSurviveADeath) {
  ASSERT_TRUE(set("a", "1"));
  HostPort old = primary_of("a");
  auto read = launch(prepare_get("a", "s"));
  auto write = launch(prepare_set("a", "s", "2", 0));
  auto sum = launch(prepare_incr("a", "n", 1, 0));
  world.run_for(std::chrono::microseconds(100));  // on their way
  cluster.kill(old);
  cluster.move(partition_of("a"), other_than(old));
  EXPECT_TRUE(finish(read));
  EXPECT_TRUE(finish(write));
  EXPECT_EQ(finish(sum).error().code, ErrorCode::kUnknownOutcome) << "it had been sent";
  EXPECT_EQ(cluster.executed_incrs, 0);
}

TEST_F(CoreTest, ADeadPrimaryWithoutSuccessorEndsAtTheDeadline) {
  ASSERT_TRUE(set("a", "1"));
  cluster.kill(primary_of("a"));
  for (auto timeout : {milliseconds(1), milliseconds(100), milliseconds(2000)}) {
    auto value = get("a", timeout);
    EXPECT_EQ(value.error().code, ErrorCode::kUnavailable) << value.error().message;
    EXPECT_GE(took, timeout);
    EXPECT_LT(took, timeout + milliseconds(1));
    EXPECT_NE(value.error().message.find(primary_of("a").to_string()), std::string::npos)
        << value.error().message;
  }
  // 2 s at pauses of 5 ms doubling to 200 ms: about 16 attempts, and a question each 50 ms at most.
  EXPECT_LT(cluster.count_calls(TaskCode::kGet), 60);
  EXPECT_LT(cluster.count_calls(TaskCode::kQueryPartitionConfigByIndex), 120);
}

TEST_F(CoreTest, APartitionWithoutPrimaryIsWaitedFor) {
  auto index = static_cast<size_t>(partition_of("a"));
  cluster.told[index].primary = {};
  auto flying = launch(prepare_set("a", "s", "1", 0));
  world.run_for(milliseconds(500));
  EXPECT_FALSE(flying->done());
  EXPECT_EQ(cluster.count_calls(TaskCode::kPut), 0);
  cluster.move(partition_of("a"), node(2));
  Instant moved = world.now();
  EXPECT_TRUE(finish(flying));
  EXPECT_LT(flying->ended - moved, milliseconds(60));
}

// --- nodes that say nothing ---

TEST_F(CoreTest, ASilentNodeIsLeftWhenThePartitionMovedAway) {
  ASSERT_TRUE(set("a", "1"));
  HostPort old = primary_of("a");
  cluster.silence(old);
  auto read = launch(prepare_get("a", "s"), seconds(10));
  auto sum = launch(prepare_incr("a", "n", 1, 0), seconds(10));
  Instant begin = world.now();
  world.run_for(milliseconds(500));
  cluster.move(partition_of("a"), other_than(old));
  EXPECT_TRUE(finish(read));
  EXPECT_LT(read->ended - begin, milliseconds(1800))
      << "1 s of silence, then at most two rounds of watching";
  auto outcome = finish(sum);
  EXPECT_EQ(outcome.error().code, ErrorCode::kUnknownOutcome) << outcome.error().message;
  EXPECT_LT(sum->ended - begin, milliseconds(1800));
}

TEST_F(CoreTest, ASilentNodeThatStaysPrimaryEndsAtTheDeadline) {
  ASSERT_TRUE(set("a", "1"));
  cluster.silence(primary_of("a"));
  auto value = get("a", seconds(3));
  EXPECT_EQ(value.error().code, ErrorCode::kTimeout) << value.error().message;
  EXPECT_GE(took, seconds(3));
  EXPECT_LT(took, milliseconds(3001));
  EXPECT_EQ(cluster.count_calls(TaskCode::kGet), 1);
  EXPECT_EQ(incr("a", seconds(2)).error().code, ErrorCode::kUnknownOutcome);
}

// --- what may be repeated ---

TEST_F(CoreTest, ALostAnswerIsRepeatedOnlyIfThatIsSafe) {
  cluster.lose_next_answer(TaskCode::kPut);
  EXPECT_TRUE(set("a", "1"));
  EXPECT_EQ(cluster.count_calls(TaskCode::kPut), 2);
  cluster.lose_next_answer(TaskCode::kIncr);
  EXPECT_EQ(incr("n").error().code, ErrorCode::kUnknownOutcome);
  EXPECT_EQ(cluster.executed_incrs, 1);
  EXPECT_EQ(cluster.count_calls(TaskCode::kIncr), 1);
}

TEST_F(CoreTest, WhatWasNeverSentIsRepeatedWhateverItIs) {
  ASSERT_TRUE(set("n", "1"));
  HostPort old = primary_of("n");
  cluster.kill(old);
  cluster.move(partition_of("n"), other_than(old));
  auto sum = incr("n");
  EXPECT_TRUE(sum) << sum.error().message;
  EXPECT_EQ(cluster.executed_incrs, 1);
}

TEST_F(CoreTest, WhatOurOwnSideRefusesForGoodIsTold) {
  cluster.refuse_unsent_next(TaskCode::kPut, Errc::kInvalidParameters);  // longer than a frame, say
  EXPECT_EQ(set("a", "1").error().code, ErrorCode::kInvalidArgument);
  cluster.refuse_unsent_next(TaskCode::kIncr, Errc::kBusy);
  EXPECT_TRUE(incr("a"));
}

TEST_F(CoreTest, TooFewMembersMayMeanThatItWasDone) {
  cluster.refuse_next(TaskCode::kIncr, Errc::kNotEnoughMember);
  EXPECT_EQ(incr("n").error().code, ErrorCode::kUnknownOutcome);
  cluster.refuse_next(TaskCode::kPut, Errc::kNotEnoughMember);
  EXPECT_TRUE(set("n", "1"));
}

TEST_F(CoreTest, ABusyServerIsTriedLater) {
  for (int i = 0; i < 4; ++i) cluster.refuse_next(TaskCode::kIncr, Errc::kBusy);
  EXPECT_TRUE(incr("n"));
  EXPECT_GE(took, milliseconds(15)) << "pauses of at least 2.5, 5, 10 and 20 ms";
  for (int i = 0; i < 1000; ++i) cluster.refuse_next(TaskCode::kIncr, Errc::kBusy);
  auto sum = incr("n", seconds(1));
  EXPECT_EQ(sum.error().code, ErrorCode::kBusy);
  EXPECT_LT(took, milliseconds(1001));
  EXPECT_LT(cluster.count_calls(TaskCode::kIncr), 30);
}

// --- the metas ---

TEST_F(CoreTest, AnotherMetaIsAskedAtOnceWhenOneIsDead) {
  cluster.kill(meta(1));
  EXPECT_TRUE(set("a", "1"));
  EXPECT_LT(took, milliseconds(5));
  EXPECT_EQ(cluster.count_calls(meta(1), TaskCode::kQueryPartitionConfigByIndex), 1);
  // The next question goes to the one that answered.
  cluster.move(partition_of("a"), other_than(primary_of("a")));
  EXPECT_TRUE(get("a"));
  EXPECT_EQ(cluster.count_calls(meta(1), TaskCode::kQueryPartitionConfigByIndex), 1);
}

TEST_F(CoreTest, ASilentMetaIsOvertaken) {
  cluster.silence(meta(1));
  EXPECT_TRUE(set("a", "1"));
  EXPECT_GE(took, milliseconds(200));
  EXPECT_LT(took, milliseconds(210));
}

TEST_F(CoreTest, AFollowerSendsUsToTheOthers) {
  cluster.meta_errs[meta(1)] = Errc::kForwardToOthers;
  cluster.meta_errs[meta(2)] = Errc::kServiceNotActive;
  EXPECT_TRUE(set("a", "1"));
  EXPECT_LT(took, milliseconds(5));
}

TEST_F(CoreTest, WithoutAnyMetaAnOperationEndsAtItsDeadline) {
  for (int i = 1; i <= 3; ++i) cluster.kill(meta(i));
  auto value = get("a", seconds(2));
  EXPECT_EQ(value.error().code, ErrorCode::kUnavailable);
  EXPECT_GE(took, seconds(2));
  EXPECT_LT(took, milliseconds(2001));
  for (int i = 1; i <= 3; ++i) cluster.revive(meta(i));
  EXPECT_TRUE(set("a", "1"));
  EXPECT_LT(took, milliseconds(300));
}

class MetaWriteTest : public CoreTest {
 protected:
  Answer create() {
    std::optional<Answer> got;
    wire::configuration_create_app_request request;
    request.app_name = "t";
    shard.post([&] {
      MetaRequest question{TaskCode::kCreateApp, rpc::encode_args(request),
                           shard.now() + seconds(3), false};
      the_core().call_meta(std::move(question), [&](Answer answer) { got = std::move(answer); });
    });
    EXPECT_TRUE(world.run_until([&] { return got.has_value(); }, seconds(10)));
    return std::move(*got);
  }
};

TEST_F(MetaWriteTest, GoesToTheNextMetaOnlyIfTheFormerDidNothing) {
  cluster.kill(meta(1));
  cluster.meta_errs[meta(2)] = Errc::kForwardToOthers;
  EXPECT_FALSE(create().error);
  EXPECT_EQ(cluster.count_calls(TaskCode::kCreateApp), 3);
}

TEST_F(MetaWriteTest, ALostAnswerIsNotRepeated) {
  bool asked = false;
  wire::configuration_create_app_request request;
  Error error;
  shard.post([&] {
    MetaRequest question{TaskCode::kCreateApp, rpc::encode_args(request), shard.now() + seconds(3),
                         false};
    the_core().call_meta(std::move(question), [&](Answer answer) {
      error = std::move(answer.error);
      asked = true;
    });
  });
  world.run_for(std::chrono::microseconds(100));
  cluster.kill(meta(1));
  ASSERT_TRUE(world.run_until([&] { return asked; }, seconds(10)));
  EXPECT_EQ(error.code, ErrorCode::kUnknownOutcome) << error.message;
  EXPECT_EQ(cluster.count_calls(TaskCode::kCreateApp), 1);
}

TEST_F(MetaWriteTest, ARefusalKeepsItsCode) {
  cluster.meta_err = Errc::kAppExist;
  Answer answer = create();
  EXPECT_EQ(answer.code, Errc::kAppExist);
  EXPECT_EQ(answer.error.code, ErrorCode::kAlreadyExists);
}

// --- bounds and the end ---

TEST_F(CoreTest, TooManyCallsAreRefused) {
  options.max_in_flight = 10;
  for (int i = 1; i <= 3; ++i) cluster.silence(node(i));
  std::vector<std::shared_ptr<Flying<std::string>>> all;
  for (int i = 0; i < 11; ++i) all.push_back(launch(prepare_get("a", "s"), seconds(1)));
  EXPECT_EQ(finish(all.back()).error().code, ErrorCode::kBusy);
  for (int i = 0; i < 10; ++i)
    EXPECT_EQ(finish(all[static_cast<size_t>(i)]).error().code, ErrorCode::kTimeout);
}

TEST_F(CoreTest, StoppingEndsEveryCallOnce) {
  ASSERT_TRUE(set("a", "1"));
  cluster.silence(primary_of("a"));
  HostPort dead = other_than(primary_of("a"));
  std::string on_dead = "b";
  while (primary_of(on_dead) != dead) on_dead += "b";
  cluster.kill(dead);
  auto silent = launch(prepare_get("a", "s"));
  auto waiting = launch(prepare_get(on_dead, "s"));
  world.run_for(milliseconds(50));
  shard.post([&] { core->stop(); });
  EXPECT_EQ(finish(silent).error().code, ErrorCode::kClosed);
  EXPECT_EQ(finish(waiting).error().code, ErrorCode::kClosed);
  EXPECT_EQ(get("a").error().code, ErrorCode::kClosed);
  int asked = cluster.count_calls(rpc::TaskCode::kQueryPartitionConfigByIndex);
  world.run_for(seconds(20));
  EXPECT_EQ(cluster.count_calls(rpc::TaskCode::kQueryPartitionConfigByIndex), asked)
      << "whoever stopped the core may let the network go";
  EXPECT_EQ(silent->times, 1);
  EXPECT_EQ(waiting->times, 1);
}

TEST_F(CoreTest, AParentServesForAChildThatIsNotReady) {
  auto index = partition_of("hello");  // 3 of 4
  ASSERT_EQ(index, 3);
  cluster.told[3].ballot = -1;
  cluster.told[3].primary = {};
  auto done = set("hello", "1");
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(done.origin.partition_index, 1);
}

// Whatever happens, a call ends once and in time, and counts are right.
class ChaosTest : public CoreTest, public testing::WithParamInterface<int> {};

TEST_P(ChaosTest, DeadlinesAreKeptAndNothingIsDoneTwice) {
  Random random(static_cast<uint64_t>(GetParam()));
  struct Op {
    std::shared_ptr<Flying<int64_t>> sum;
    Instant begin;
    Duration timeout;
  };
  std::vector<Op> ops;
  for (int step = 0; step < 400; ++step) {
    Duration timeout = milliseconds(1 + static_cast<int64_t>(random.below(3000)));
    std::string key = std::to_string(random.below(20));
    ops.push_back({launch(prepare_incr(key, "s", 1, 0), timeout), world.now(), timeout});
    HostPort some = node(1 + static_cast<int>(random.below(3)));
    switch (random.below(12)) {
      case 0:
        cluster.kill(some);
        break;
      case 1:
        cluster.silence(some);
        break;
      case 2:
      case 3:
        cluster.revive(some);
        break;
      case 4:
      case 5:
        cluster.move(static_cast<int32_t>(random.below(4)), some);
        break;
      case 6:
        cluster.real[random.below(4)] = some;  // the metas do not know yet
        break;
      case 7:
        cluster.lose_next_answer(TaskCode::kIncr);
        break;
      case 8:
        random.chance(0.5) ? cluster.kill(meta(1)) : cluster.revive(meta(1));
        break;
      default:
        break;
    }
    world.run_for(milliseconds(static_cast<int64_t>(random.below(40))));
  }
  int64_t good = 0;
  int64_t unknown = 0;
  for (auto& op : ops) {
    auto outcome = finish(op.sum);
    good += outcome ? 1 : 0;
    unknown += outcome.error().code == ErrorCode::kUnknownOutcome ? 1 : 0;
    EXPECT_LE((op.sum->ended - op.begin).count(), (op.timeout + milliseconds(1)).count())
        << outcome.error().message;
  }
  world.run_for(seconds(20));
  for (auto& op : ops) EXPECT_EQ(op.sum->times, 1);
  EXPECT_EQ(core->in_flight(), 0u);
  EXPECT_LE(good, cluster.executed_incrs);
  EXPECT_LE(cluster.executed_incrs, good + unknown);
  EXPECT_GT(good, 50);
}

INSTANTIATE_TEST_SUITE_P(Seeds, ChaosTest, testing::Range(1, 21));

}  // namespace
}  // namespace markab::client
