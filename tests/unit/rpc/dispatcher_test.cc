// Which handler a request reaches (spec 01 §10), and what becomes of requests nobody answers.

#include "rpc/dispatcher.h"

#include <gtest/gtest.h>

#include "unit/rpc/caught_reply.h"

namespace markab::rpc {
namespace {

Errc answer_of(const Dispatcher& dispatcher, TaskCode code, Gpid gpid) {
  auto sink = std::make_shared<CaughtReply>();
  dispatcher.dispatch(request_for(code, "", gpid, sink));
  return sink->error.value_or(Errc::kOk);
}

TEST(Dispatcher, OnAReplicaStorageNamesGoToThePartition) {
  Dispatcher dispatcher;
  dispatcher.on_partition([](Request request) { request.reply_error(Errc::kInvalidState); });
  dispatcher.on(TaskCode::kQueryDiskInfo,
                [](Request request) { request.reply_error(Errc::kBusy); });
  EXPECT_EQ(answer_of(dispatcher, TaskCode::kGet, {2, 1}), Errc::kInvalidState);
  EXPECT_EQ(answer_of(dispatcher, TaskCode::kPut, {2, 1}), Errc::kInvalidState);
  EXPECT_EQ(answer_of(dispatcher, TaskCode::kQueryDiskInfo, {0, 0}), Errc::kBusy);
  for (Gpid none : {Gpid{0, 0}, Gpid{-1, -2}}) {
    EXPECT_EQ(answer_of(dispatcher, TaskCode::kGet, none), Errc::kHandlerNotFound);
  }
  EXPECT_EQ(answer_of(dispatcher, TaskCode::kCreateApp, {2, 1}), Errc::kHandlerNotFound);
  EXPECT_EQ(answer_of(dispatcher, TaskCode::kUnknown, {2, 1}), Errc::kHandlerNotFound);
}

TEST(Dispatcher, OnAMetaTheIdsMeanNothing) {
  Dispatcher dispatcher;
  dispatcher.on(TaskCode::kListApps, [](Request request) { request.reply_error(Errc::kBusy); });
  EXPECT_EQ(answer_of(dispatcher, TaskCode::kListApps, {2, 1}), Errc::kBusy);
  EXPECT_EQ(answer_of(dispatcher, TaskCode::kListApps, {-1, -2}), Errc::kBusy);
  EXPECT_EQ(answer_of(dispatcher, TaskCode::kGet, {2, 1}), Errc::kHandlerNotFound);
}

TEST(Request, ADropIsReportedOnce) {
  auto sink = std::make_shared<CaughtReply>();
  {
    Request request = request_for(TaskCode::kGet, "", {}, sink);
    Request moved = std::move(request);
    Request assigned;
    assigned = std::move(moved);
    EXPECT_EQ(sink->drops, 0);
    assigned = request_for(TaskCode::kPut, "", {}, sink);
    EXPECT_EQ(sink->drops, 1);
    assigned.reply_error(Errc::kBusy);
    EXPECT_TRUE(assigned.answered());
  }
  EXPECT_EQ(sink->drops, 1);
  EXPECT_EQ(sink->error, Errc::kBusy);
}

TEST(RequestDeathTest, TwoAnswersAreABug) {
  auto sink = std::make_shared<CaughtReply>();
  Request request = request_for(TaskCode::kGet, "", {}, sink);
  request.reply_error(Errc::kBusy);
  EXPECT_DEATH(request.reply_error(Errc::kBusy), "answered twice");
}

}  // namespace
}  // namespace markab::rpc
