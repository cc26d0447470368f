#include "security/negotiation_core.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/assert.h"

namespace markab::security {

using negotiation::Action;
using Status = NegotiationStatus;

namespace {

constexpr std::string_view kStatusNames[] = {"INVALID",
                                             "LIST_MECHANISMS",
                                             "LIST_MECHANISMS_RESP",
                                             "SELECT_MECHANISMS",
                                             "SELECT_MECHANISMS_RESP",
                                             "INITIATE",
                                             "CHALLENGE",
                                             "CHALLENGE_RESP",
                                             "SUCC",
                                             "AUTH_DISABLE",
                                             "AUTH_FAIL"};
static_assert(std::size(kStatusNames) == kNegotiationStatusCount);

std::string join(const std::vector<std::string>& names) {  // 05 §2.2: commas, no blanks
  return fmt::format("{}", fmt::join(names, ","));
}

// The first of ours that the peer's list names.
std::string pick(const std::vector<std::string>& ours, std::string_view list) {
  for (const std::string& name : ours) {
    std::string_view rest = list;
    while (!rest.empty()) {
      auto comma = std::min(rest.find(','), rest.size());
      std::string_view item = rest.substr(0, comma);
      while (!item.empty() && item.front() == ' ') item.remove_prefix(1);
      while (!item.empty() && item.back() == ' ') item.remove_suffix(1);
      if (item == name) return name;
      rest.remove_prefix(std::min(comma + 1, rest.size()));
    }
  }
  return {};
}

}  // namespace

std::string_view status_name(Status status) {
  auto i = static_cast<size_t>(status);
  return i < std::size(kStatusNames) ? kStatusNames[i] : "an unknown status";
}

std::string_view state_name(ServerNegotiation::State state) {
  constexpr std::string_view kNames[] = {"NEW",      "LISTED",      "SELECTING", "SELECTED",
                                         "STEPPING", "CHALLENGING", "DONE",      "FAILED"};
  return kNames[static_cast<size_t>(state)];
}

std::string_view state_name(ClientNegotiation::State state) {
  constexpr std::string_view kNames[] = {"IDLE",    "LISTING", "SELECTING", "STEPPING",
                                         "WAITING", "DONE",    "FAILED"};
  return kNames[static_cast<size_t>(state)];
}

// ---- Server

Action ServerNegotiation::fail(Failure failure) {
  state_ = State::kFailed;
  return negotiation::Fail{std::move(failure)};
}

Action ServerNegotiation::out_of_order(Status status) {
  std::string_view expected;
  switch (state_) {
    case State::kNew:
      expected = "LIST_MECHANISMS is expected first";
      break;
    case State::kListed:
      expected = "SELECT_MECHANISMS is expected now";
      break;
    case State::kSelected:
      expected = "INITIATE is expected now";
      break;
    case State::kChallenging:
      expected = "CHALLENGE_RESP is expected now";
      break;
    case State::kSelecting:
    case State::kStepping:
      expected = "the last message has not been answered yet";
      break;
    case State::kDone:
      expected = "this connection is authenticated already";
      break;
    case State::kFailed:
      expected = "the negotiation has failed already";
      break;
  }
  return fail({Reason::kProtocolOrder, fmt::format("got {}; {}", status_name(status), expected)});
}

Action ServerNegotiation::on_message(Status status, std::string_view msg) {
  if (msg.size() > kMaxToken) {
    return fail({Reason::kProtocolOrder,
                 fmt::format("a token of {} bytes; at most {} are taken", msg.size(), kMaxToken)});
  }
  if (state_ == State::kNew && status == Status::kListMechanisms) {
    state_ = State::kListed;
    return negotiation::Send{Status::kListMechanismsResp, join(mechanisms_)};
  }
  if (state_ == State::kListed && status == Status::kSelectMechanisms) {
    if (std::find(mechanisms_.begin(), mechanisms_.end(), msg) == mechanisms_.end()) {
      return fail({Reason::kProtocolOrder, fmt::format("the mechanism '{}' is not offered; {} is",
                                                       msg.substr(0, 64), join(mechanisms_))});
    }
    state_ = State::kSelecting;
    return negotiation::Select{std::string(msg)};
  }
  if (state_ == State::kSelected && status == Status::kInitiate) {
    state_ = State::kStepping;
    return negotiation::Start{std::string(msg)};
  }
  if (state_ == State::kChallenging && status == Status::kChallengeResp) {
    if (++rounds_ > kMaxRounds)
      return fail({Reason::kProtocolOrder, "the exchange of tokens has no end"});
    state_ = State::kStepping;
    return negotiation::Step{std::string(msg)};
  }
  return out_of_order(status);
}

Action ServerNegotiation::on_selected(const Failure* failure) {
  MARKAB_ASSERT(state_ == State::kSelecting, "no mechanism was to be made", state_name(state_));
  if (failure != nullptr) return fail(*failure);
  state_ = State::kSelected;
  return negotiation::Send{Status::kSelectMechanismsResp, {}};
}

Action ServerNegotiation::on_step(StepResult result) {
  MARKAB_ASSERT(state_ == State::kStepping, "no step was under way", state_name(state_));
  switch (result.outcome) {
    case StepResult::Outcome::kContinue:
      state_ = State::kChallenging;
      return negotiation::Send{Status::kChallenge, std::move(result.token)};
    case StepResult::Outcome::kDone:
      state_ = State::kDone;
      return negotiation::Succeed{};
    case StepResult::Outcome::kFailed:
      break;
  }
  return fail(std::move(result.failure));
}

Action ServerNegotiation::give_up(Failure failure) {
  MARKAB_ASSERT(!ended(), "a negotiation that has ended is given up", state_name(state_));
  return fail(std::move(failure));
}

// ---- Client

Action ClientNegotiation::fail(Failure failure) {
  state_ = State::kFailed;
  return negotiation::Fail{std::move(failure)};
}

Action ClientNegotiation::without(std::string why) {
  if (must_authenticate_) {
    return fail({Reason::kPeerWithoutAuthentication,
                 fmt::format("{}, and this side does not go on without", why)});
  }
  state_ = State::kDone;
  return negotiation::GoWithout{std::move(why)};
}

Action ClientNegotiation::begin() {
  MARKAB_ASSERT(state_ == State::kIdle, "a negotiation begins twice", state_name(state_));
  state_ = State::kListing;
  return negotiation::Send{Status::kListMechanisms, {}};
}

Action ClientNegotiation::on_answer(Status status, std::string_view msg) {
  if (ended()) return fail({Reason::kProtocolOrder, "an answer after the end"});
  if (msg.size() > kMaxToken) {
    return fail({Reason::kProtocolOrder,
                 fmt::format("a token of {} bytes; at most {} are taken", msg.size(), kMaxToken)});
  }
  if (status == Status::kAuthFail) return fail(from_peer_text(msg));
  if (status == Status::kAuthDisable)
    return without("the peer says that authentication is off there");
  if (state_ == State::kListing && status == Status::kListMechanismsResp) {
    std::string name = pick(mechanisms_, msg);
    if (name.empty()) {
      return fail({Reason::kNoMechanism, fmt::format("the peer offers '{}', this side knows {}",
                                                     msg.substr(0, 64), join(mechanisms_))});
    }
    state_ = State::kSelecting;
    return negotiation::Send{Status::kSelectMechanisms, std::move(name)};
  }
  if (state_ == State::kSelecting && status == Status::kSelectMechanismsResp) {
    state_ = State::kStepping;
    return negotiation::Start{};
  }
  if (state_ == State::kWaiting && status == Status::kChallenge) {
    if (++rounds_ > kMaxRounds)
      return fail({Reason::kProtocolOrder, "the exchange of tokens has no end"});
    // Some mechanisms end with a word of the server's that needs no step: still answered (05 §2.4).
    if (mechanism_done_ && msg.empty()) return negotiation::Send{Status::kChallengeResp, {}};
    state_ = State::kStepping;
    return negotiation::Step{std::string(msg)};
  }
  if (state_ == State::kWaiting && status == Status::kSucc) {
    // Its proof is part of the exchange; without it anybody on the way could say so.
    if (must_authenticate_ && !mechanism_done_)
      return fail({Reason::kProtocolOrder, "the peer ends before it has proved who it is"});
    state_ = State::kDone;
    return negotiation::Succeed{};
  }
  return fail({Reason::kProtocolOrder, fmt::format("the peer answered with {} while {}",
                                                   status_name(status), state_name(state_))});
}

Action ClientNegotiation::on_no_handler() {
  if (ended() || state_ == State::kIdle)
    return fail({Reason::kProtocolOrder, "an answer to nothing"});
  return without("the peer knows no negotiation: it is older than authentication");
}

Action ClientNegotiation::on_step(StepResult result) {
  MARKAB_ASSERT(state_ == State::kStepping, "no step was under way", state_name(state_));
  if (result.outcome == StepResult::Outcome::kFailed) return fail(std::move(result.failure));
  bool first = rounds_ == 0 && !mechanism_done_;
  mechanism_done_ = result.outcome == StepResult::Outcome::kDone;
  state_ = State::kWaiting;
  return negotiation::Send{first ? Status::kInitiate : Status::kChallengeResp,
                           std::move(result.token)};
}

Action ClientNegotiation::give_up(Failure failure) {
  MARKAB_ASSERT(!ended(), "a negotiation that has ended is given up", state_name(state_));
  return fail(std::move(failure));
}

}  // namespace markab::security
