// Negotiation with authentication off: a real Java client's first message, and what it gets.

#include "security/negotiation.h"

#include <gtest/gtest.h>

#include "unit/rpc/bytes_of.h"
#include "unit/rpc/caught_reply.h"

namespace markab::security {
namespace {

TEST(Negotiation, OffIsSaidSo) {  // 05 §2.1: both fields are always written
  rpc::Dispatcher dispatcher;
  answer_without_authentication(dispatcher);
  auto sink = std::make_shared<rpc::CaughtReply>();
  std::string list_mechanisms =
      rpc::bytes_of("0c 00 01 08 00 01 00 00 00 01 0c 00 02 00 00 00 00 00 00");
  dispatcher.dispatch(rpc::request_for(rpc::TaskCode::kNegotiation, list_mechanisms, {}, sink));
  EXPECT_EQ(sink->error, Errc::kOk);
  EXPECT_EQ(rpc::hex_of(sink->result),
            rpc::hex_of(rpc::bytes_of("0c 00 00 08 00 01 00 00 00 09 0c 00 02 00 00 00 00 00 00")));
}

TEST(Negotiation, RubbishIsRefused) {
  rpc::Dispatcher dispatcher;
  answer_without_authentication(dispatcher);
  auto sink = std::make_shared<rpc::CaughtReply>();
  dispatcher.dispatch(rpc::request_for(rpc::TaskCode::kNegotiation, "rubbish", {}, sink));
  EXPECT_EQ(sink->error, Errc::kInvalidData);
}

}  // namespace
}  // namespace markab::security
