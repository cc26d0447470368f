// Both sides of the negotiation, state by message: what is legal goes on, everything else is
// refused with a reason.

#include "security/negotiation_core.h"

#include <gtest/gtest.h>

#include <functional>

namespace markab::security {
namespace {

using namespace negotiation;
using S = NegotiationStatus;

StepResult result_of(StepResult::Outcome outcome, std::string token = {}) {
  StepResult out;
  out.outcome = outcome;
  out.token = std::move(token);
  out.failure = {Reason::kClockSkew, "Clock skew too great"};
  return out;
}
const auto kContinue = StepResult::Outcome::kContinue;
const auto kDone = StepResult::Outcome::kDone;
const auto kStepFailed = StepResult::Outcome::kFailed;

// "send CHALLENGE 'abc'", "start 'x'", "fail protocol_order", for tables.
std::string text(const Action& action) {
  if (const auto* send = std::get_if<Send>(&action))
    return "send " + std::string(status_name(send->status)) + " '" + send->msg + "'";
  if (const auto* select = std::get_if<Select>(&action)) return "select " + select->mechanism;
  if (const auto* start = std::get_if<Start>(&action)) return "start '" + start->token + "'";
  if (const auto* step = std::get_if<Step>(&action)) return "step '" + step->token + "'";
  if (std::get_if<Succeed>(&action) != nullptr) return "succeed";
  if (std::get_if<GoWithout>(&action) != nullptr) return "go without";
  return "fail " + std::string(reason_word(std::get<Fail>(action).failure.reason));
}

// ---- The accepting side

ServerNegotiation server_in(ServerNegotiation::State state) {
  using State = ServerNegotiation::State;
  ServerNegotiation core({"GSSAPI"});
  if (state == State::kNew) return core;
  core.on_message(S::kListMechanisms, "");
  if (state == State::kListed) return core;
  core.on_message(S::kSelectMechanisms, "GSSAPI");
  if (state == State::kSelecting) return core;
  core.on_selected(nullptr);
  if (state == State::kSelected) return core;
  core.on_message(S::kInitiate, "token");
  if (state == State::kStepping) return core;
  if (state == State::kChallenging) core.on_step(result_of(kContinue));
  if (state == State::kDone) core.on_step(result_of(kDone));
  if (state == State::kFailed) core.on_step(result_of(kStepFailed));
  EXPECT_EQ(core.state(), state);
  return core;
}

TEST(ServerNegotiation, EveryStateByEveryMessage) {
  using State = ServerNegotiation::State;
  struct Legal {
    State state;
    S status;
    const char* msg;
    const char* answer;
    State then;
  };
  const Legal kLegal[] = {
      {State::kNew, S::kListMechanisms, "", "send LIST_MECHANISMS_RESP 'GSSAPI'", State::kListed},
      {State::kListed, S::kSelectMechanisms, "GSSAPI", "select GSSAPI", State::kSelecting},
      {State::kSelected, S::kInitiate, "GSSAPI", "start 'GSSAPI'", State::kStepping},
      {State::kChallenging, S::kChallengeResp, "GSSAPI", "step 'GSSAPI'", State::kStepping},
  };
  int legal_seen = 0;
  // One status beyond the known ones, too.
  for (int state = 0; state < ServerNegotiation::kStateCount; ++state) {
    for (int status = 0; status <= kNegotiationStatusCount; ++status) {
      auto core = server_in(static_cast<State>(state));
      std::string msg = status == static_cast<int>(S::kListMechanisms) ? "" : "GSSAPI";
      auto action = core.on_message(static_cast<S>(status), msg);
      const Legal* legal = nullptr;
      for (const Legal& row : kLegal) {
        if (static_cast<int>(row.state) == state && static_cast<int>(row.status) == status)
          legal = &row;
      }
      SCOPED_TRACE(std::string(state_name(static_cast<State>(state))) + " x " +
                   std::string(status_name(static_cast<S>(status))));
      if (legal == nullptr) {
        EXPECT_EQ(text(action), "fail protocol_order");
        EXPECT_FALSE(std::get<Fail>(action).failure.detail.empty());
        EXPECT_EQ(core.state(), State::kFailed);
      } else {
        ++legal_seen;
        EXPECT_EQ(text(action), legal->answer);
        EXPECT_EQ(core.state(), legal->then);
      }
    }
  }
  EXPECT_EQ(legal_seen, 4);
}

TEST(ServerNegotiation, ACyrusClientNeedsThreeTokensAndAJdkClientTwo) {  // 05 §2.2
  ServerNegotiation cyrus = server_in(ServerNegotiation::State::kSelected);
  EXPECT_EQ(text(cyrus.on_message(S::kInitiate, "ap-req")), "start 'ap-req'");
  EXPECT_EQ(text(cyrus.on_step(result_of(kContinue, "ap-rep"))), "send CHALLENGE 'ap-rep'");
  EXPECT_EQ(text(cyrus.on_message(S::kChallengeResp, "")), "step ''");  // a token, though empty
  EXPECT_EQ(text(cyrus.on_step(result_of(kContinue, "layers"))), "send CHALLENGE 'layers'");
  EXPECT_EQ(text(cyrus.on_message(S::kChallengeResp, "choice")), "step 'choice'");
  EXPECT_EQ(text(cyrus.on_step(result_of(kDone))), "succeed");

  ServerNegotiation jdk = server_in(ServerNegotiation::State::kSelected);
  jdk.on_message(S::kInitiate, "ap-req");
  EXPECT_EQ(text(jdk.on_step(result_of(kContinue, "layers"))), "send CHALLENGE 'layers'");
  EXPECT_EQ(text(jdk.on_message(S::kChallengeResp, "choice")), "step 'choice'");
  EXPECT_EQ(text(jdk.on_step(result_of(kDone))), "succeed");
}

TEST(ServerNegotiation, AMechanismThatIsNotOfferedOrCannotBeMade) {
  ServerNegotiation plain = server_in(ServerNegotiation::State::kListed);
  EXPECT_EQ(text(plain.on_message(S::kSelectMechanisms, "PLAIN")), "fail protocol_order");
  ServerNegotiation broken = server_in(ServerNegotiation::State::kSelecting);
  Failure failure{Reason::kNoKeyForService, "No key table entry found"};
  EXPECT_EQ(text(broken.on_selected(&failure)), "fail no_key_for_service");
}

TEST(ServerNegotiation, BoundsOnRoundsAndTokens) {
  ServerNegotiation core = server_in(ServerNegotiation::State::kChallenging);
  int rounds = 0;
  while (text(core.on_message(S::kChallengeResp, "x")) == "step 'x'") {
    ASSERT_LE(++rounds, kMaxRounds);
    core.on_step(result_of(kContinue, "y"));
  }
  EXPECT_EQ(rounds, kMaxRounds);
  EXPECT_EQ(core.state(), ServerNegotiation::State::kFailed);
  ServerNegotiation long_token = server_in(ServerNegotiation::State::kSelected);
  EXPECT_EQ(text(long_token.on_message(S::kInitiate, std::string(kMaxToken + 1, 'x'))),
            "fail protocol_order");
}

// ---- The dialling side

ClientNegotiation client_in(ClientNegotiation::State state, bool strict) {
  using State = ClientNegotiation::State;
  ClientNegotiation core({"GSSAPI"}, strict);
  if (state == State::kIdle) return core;
  core.begin();
  if (state == State::kListing) return core;
  core.on_answer(S::kListMechanismsResp, "GSSAPI");
  if (state == State::kSelecting) return core;
  core.on_answer(S::kSelectMechanismsResp, "");
  if (state == State::kStepping) return core;
  core.on_step(result_of(kDone, "token"));
  if (state == State::kDone) core.on_answer(S::kSucc, "");
  if (state == State::kFailed) core.on_answer(S::kInvalid, "");
  EXPECT_EQ(core.state(), state);
  return core;
}

TEST(ClientNegotiation, EveryStateByEveryAnswer) {
  using State = ClientNegotiation::State;
  struct Legal {
    State state;
    S status;
    const char* answer;
    State then;
  };
  const Legal kLegal[] = {
      {State::kListing, S::kListMechanismsResp, "send SELECT_MECHANISMS 'GSSAPI'",
       State::kSelecting},
      {State::kSelecting, S::kSelectMechanismsResp, "start ''", State::kStepping},
      {State::kWaiting, S::kChallenge, "step 'GSSAPI'", State::kStepping},
      {State::kWaiting, S::kSucc, "succeed", State::kDone},
  };
  for (bool strict : {false, true}) {
    for (int state = 0; state < ClientNegotiation::kStateCount; ++state) {
      for (int status = 0; status <= kNegotiationStatusCount; ++status) {
        auto core = client_in(static_cast<State>(state), strict);
        bool over = core.ended();
        auto action = core.on_answer(static_cast<S>(status), "GSSAPI");
        const Legal* legal = nullptr;
        for (const Legal& row : kLegal) {
          if (static_cast<int>(row.state) == state && static_cast<int>(row.status) == status)
            legal = &row;
        }
        SCOPED_TRACE(std::string(state_name(static_cast<State>(state))) + " x " +
                     std::string(status_name(static_cast<S>(status))));
        if (legal != nullptr) {
          EXPECT_EQ(text(action), legal->answer);
          EXPECT_EQ(core.state(), legal->then);
        } else if (over) {
          EXPECT_EQ(text(action), "fail protocol_order");
        } else if (static_cast<S>(status) == S::kAuthDisable) {  // 05 §2.4: in any state
          EXPECT_EQ(text(action), strict ? "fail peer_without_authentication" : "go without");
        } else if (static_cast<S>(status) == S::kAuthFail) {
          EXPECT_EQ(text(action), "fail mechanism_refused");
        } else {
          EXPECT_EQ(text(action), "fail protocol_order");
          EXPECT_EQ(core.state(), State::kFailed);
        }
      }
    }
  }
}

TEST(ClientNegotiation, TellsWhatTheServerTold) {
  ClientNegotiation core = client_in(ClientNegotiation::State::kWaiting, true);
  auto action = core.on_answer(S::kAuthFail, "clock_skew: Clock skew too great");
  EXPECT_EQ(text(action), "fail clock_skew");
  EXPECT_EQ(std::get<Fail>(action).failure.detail, "Clock skew too great");
}

TEST(ClientNegotiation, AServerOlderThanAuthentication) {
  EXPECT_EQ(text(client_in(ClientNegotiation::State::kListing, false).on_no_handler()),
            "go without");
  EXPECT_EQ(text(client_in(ClientNegotiation::State::kListing, true).on_no_handler()),
            "fail peer_without_authentication");
}

TEST(ClientNegotiation, SuccessBeforeTheServersProofIsNoneForThoseWhoWantOne) {
  for (bool strict : {false, true}) {
    ClientNegotiation core = client_in(ClientNegotiation::State::kStepping, strict);
    EXPECT_EQ(text(core.on_step(result_of(kContinue, "ap-req"))), "send INITIATE 'ap-req'");
    EXPECT_EQ(text(core.on_answer(S::kSucc, "")), strict ? "fail protocol_order" : "succeed");
  }
}

TEST(ClientNegotiation, ListsAreReadWithAndWithoutBlanks) {
  for (const char* list : {"GSSAPI", "PLAIN,GSSAPI", "PLAIN, GSSAPI ,OTHER"}) {
    EXPECT_EQ(text(client_in(ClientNegotiation::State::kListing, true)
                       .on_answer(S::kListMechanismsResp, list)),
              "send SELECT_MECHANISMS 'GSSAPI'");
  }
  for (const char* list : {"", "PLAIN", "GSSAPI2", ",,"}) {
    EXPECT_EQ(text(client_in(ClientNegotiation::State::kListing, true)
                       .on_answer(S::kListMechanismsResp, list)),
              "fail no_mechanism");
  }
}

TEST(ClientNegotiation, ACyrusConversationToItsEnd) {
  ClientNegotiation core({"GSSAPI"}, true);
  EXPECT_EQ(text(core.begin()), "send LIST_MECHANISMS ''");
  EXPECT_EQ(text(core.on_answer(S::kListMechanismsResp, "GSSAPI")),
            "send SELECT_MECHANISMS 'GSSAPI'");
  EXPECT_EQ(text(core.on_answer(S::kSelectMechanismsResp, "")), "start ''");
  EXPECT_EQ(text(core.on_step(result_of(kContinue, "ap-req"))), "send INITIATE 'ap-req'");
  EXPECT_EQ(text(core.on_answer(S::kChallenge, "ap-rep")), "step 'ap-rep'");
  EXPECT_EQ(text(core.on_step(result_of(kContinue, ""))), "send CHALLENGE_RESP ''");
  EXPECT_EQ(text(core.on_answer(S::kChallenge, "layers")), "step 'layers'");
  EXPECT_EQ(text(core.on_step(result_of(kDone, "choice"))), "send CHALLENGE_RESP 'choice'");
  EXPECT_EQ(text(core.on_answer(S::kSucc, "")), "succeed");
}

}  // namespace
}  // namespace markab::security
