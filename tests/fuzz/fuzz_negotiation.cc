// Both sides of a connection's negotiation: the bytes are a peer's messages and a mechanism's
// results, in any order that a driver may produce. Whatever comes: one action per event, nothing
// but failures after an end, success only after the mechanism said so, an end after a bounded
// number of rounds.
#include "base/assert.h"
#include "security/negotiation_core.h"

using namespace markab::security;

namespace {

class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), left_(size) {}
  bool empty() const { return left_ == 0; }
  uint8_t byte() {
    if (left_ == 0) return 0;
    --left_;
    return *data_++;
  }
  std::string text() {
    size_t length = std::min<size_t>(byte(), left_);
    std::string out(reinterpret_cast<const char*>(data_), length);
    data_ += length;
    left_ -= length;
    return out;
  }

 private:
  const uint8_t* data_;
  size_t left_;
};

// Any i32 may stand on the wire.
NegotiationStatus status_of(uint8_t byte) {
  if (byte >= 0xf0) return static_cast<NegotiationStatus>(-static_cast<int32_t>(byte) << 20);
  return static_cast<NegotiationStatus>(byte % 16);
}

StepResult result_of(Input& input) {
  StepResult out;
  out.outcome = static_cast<StepResult::Outcome>(input.byte() % 3);
  out.token = input.text();
  if (out.outcome == StepResult::Outcome::kFailed) out.failure = {Reason::kTicketExpired, "test"};
  return out;
}

template <typename T>
bool is(const negotiation::Action& action) {
  return std::holds_alternative<T>(action);
}

void serve(Input& input) {
  using State = ServerNegotiation::State;
  ServerNegotiation server({"GSSAPI"});
  int steps = 0;
  while (!input.empty()) {
    bool ended = server.ended();
    bool stepping = server.state() == State::kStepping;
    bool selecting = server.state() == State::kSelecting;
    bool step_was_last = false;
    auto action = [&]() -> negotiation::Action {
      uint8_t kind = input.byte();
      Failure failure{Reason::kNoMechanism, "test"};
      if (selecting && kind % 3 != 0) return server.on_selected(kind % 3 == 1 ? nullptr : &failure);
      if (stepping && kind % 3 != 0) {
        auto result = result_of(input);
        step_was_last = result.outcome == StepResult::Outcome::kDone;
        ++steps;
        return server.on_step(std::move(result));
      }
      if (!ended && kind == 255) return server.give_up({Reason::kTimeout, "test"});
      NegotiationStatus status = status_of(input.byte());
      return server.on_message(status, input.text());
    }();
    MARKAB_ASSERT(!ended || is<negotiation::Fail>(action), "something but a failure after the end");
    MARKAB_ASSERT(is<negotiation::Succeed>(action) == step_was_last,
                  "success without a proof, or a proof without it");
    MARKAB_ASSERT(is<negotiation::Fail>(action) == (server.state() == State::kFailed),
                  "a failure that is none");
    MARKAB_ASSERT(!is<negotiation::GoWithout>(action), "a server cannot go without");
    MARKAB_ASSERT(steps <= kMaxRounds + 1, "an exchange without an end", steps);
  }
}

void dial(Input& input, bool must_authenticate) {
  using State = ClientNegotiation::State;
  ClientNegotiation client({"GSSAPI"}, must_authenticate);
  client.begin();
  bool proved = false;
  int steps = 0;
  while (!input.empty()) {
    bool ended = client.ended();
    auto action = [&]() -> negotiation::Action {
      uint8_t kind = input.byte();
      if (client.state() == State::kStepping && kind % 3 != 0) {
        auto result = result_of(input);
        proved = result.outcome == StepResult::Outcome::kDone;
        ++steps;
        return client.on_step(std::move(result));
      }
      if (kind == 254) return client.on_no_handler();
      if (!ended && kind == 255) return client.give_up({Reason::kTimeout, "test"});
      NegotiationStatus status = status_of(input.byte());
      return client.on_answer(status, input.text());
    }();
    MARKAB_ASSERT(!ended || is<negotiation::Fail>(action), "something but a failure after the end");
    MARKAB_ASSERT(!is<negotiation::Succeed>(action) || proved || !must_authenticate,
                  "success without a proof");
    MARKAB_ASSERT(!is<negotiation::GoWithout>(action) || !must_authenticate, "it went without");
    MARKAB_ASSERT(is<negotiation::Fail>(action) == (client.state() == State::kFailed),
                  "a failure that is none");
    MARKAB_ASSERT(steps <= kMaxRounds + 1, "an exchange without an end", steps);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input input(data, size);
  switch (input.byte() % 3) {
    case 0:
      serve(input);
      break;
    case 1:
      dial(input, true);
      break;
    default:
      dial(input, false);
  }
  return 0;
}
