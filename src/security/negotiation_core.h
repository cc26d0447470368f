#pragma once
// The two sides of a connection's negotiation (spec 05 §2.2 to §2.4), as pure state machines: a
// message or the result of a mechanism's step goes in, what to do comes out. No I/O, no clock, no
// SASL. One object per connection; it dies with it, so that nothing of an authentication outlives
// its connection.

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "security/mechanism.h"
#include "security/reason.h"

namespace markab::security {

// The wire's values (05 §2.1).
enum class NegotiationStatus : int32_t {
  kInvalid = 0,
  kListMechanisms = 1,
  kListMechanismsResp = 2,
  kSelectMechanisms = 3,
  kSelectMechanismsResp = 4,
  kInitiate = 5,
  kChallenge = 6,
  kChallengeResp = 7,
  kSucc = 8,
  kAuthDisable = 9,
  kAuthFail = 10,
};
inline constexpr int kNegotiationStatusCount = 11;
std::string_view status_name(NegotiationStatus status);

// What to do next; exactly one of them at each event.
namespace negotiation {
struct Send {  // to the peer
  NegotiationStatus status;
  std::string msg;
};
struct Select {  // create the mechanism, then tell on_selected()
  std::string mechanism;
};
struct Start {  // the mechanism's first step, then tell on_step()
  std::string token;
};
struct Step {  // a further one
  std::string token;
};
struct Succeed {};  // the server sends SUCC now; the client is done
struct GoWithout {  // client: the peer does not authenticate, and that is accepted
  std::string why;
};
struct Fail {  // the server sends AUTH_FAIL and closes; the client closes
  Failure failure;
};
using Action = std::variant<Send, Select, Start, Step, Succeed, GoWithout, Fail>;
}  // namespace negotiation

class ServerNegotiation {
 public:
  enum class State : uint8_t {
    kNew,          // LIST is expected
    kListed,       // SELECT
    kSelecting,    // the mechanism is being made
    kSelected,     // INITIATE
    kStepping,     // a step is under way; the peer must wait
    kChallenging,  // CHALLENGE_RESP
    kDone,
    kFailed,
  };
  static constexpr int kStateCount = 8;

  // `mechanisms`: names in the order of preference.
  explicit ServerNegotiation(std::vector<std::string> mechanisms)
      : mechanisms_(std::move(mechanisms)) {}

  negotiation::Action on_message(NegotiationStatus status, std::string_view msg);
  negotiation::Action on_selected(const Failure* failure);  // null: it was made
  negotiation::Action on_step(StepResult result);
  // Anything else that ends it: the deadline, bytes that do not decode. Not after an end.
  negotiation::Action give_up(Failure failure);

  State state() const { return state_; }
  bool begun() const { return state_ != State::kNew; }
  bool ended() const { return state_ == State::kDone || state_ == State::kFailed; }

 private:
  negotiation::Action fail(Failure failure);
  negotiation::Action out_of_order(NegotiationStatus status);

  std::vector<std::string> mechanisms_;
  State state_ = State::kNew;
  int rounds_ = 0;
};
std::string_view state_name(ServerNegotiation::State state);

class ClientNegotiation {
 public:
  enum class State : uint8_t {
    kIdle,       // begin() is expected
    kListing,    // LIST_RESP
    kSelecting,  // SELECT_RESP
    kStepping,   // a step of ours is under way
    kWaiting,    // CHALLENGE or SUCC
    kDone,
    kFailed,
  };
  static constexpr int kStateCount = 7;

  // `must_authenticate`: a peer that asks for no authentication is refused (05 §2.4, §4).
  ClientNegotiation(std::vector<std::string> mechanisms, bool must_authenticate)
      : mechanisms_(std::move(mechanisms)), must_authenticate_(must_authenticate) {}

  negotiation::Action begin();
  negotiation::Action on_answer(NegotiationStatus status, std::string_view msg);
  // The peer knows no such procedure: it is older than authentication.
  negotiation::Action on_no_handler();
  negotiation::Action on_step(StepResult result);
  negotiation::Action give_up(Failure failure);

  State state() const { return state_; }
  bool ended() const { return state_ == State::kDone || state_ == State::kFailed; }

 private:
  negotiation::Action fail(Failure failure);
  negotiation::Action without(std::string why);

  std::vector<std::string> mechanisms_;
  const bool must_authenticate_;
  State state_ = State::kIdle;
  bool mechanism_done_ = false;
  int rounds_ = 0;
};
std::string_view state_name(ClientNegotiation::State state);

// Real mechanisms need three; a peer that goes on beyond this is refused.
inline constexpr int kMaxRounds = 16;
// A token with the group list of a large directory has at most 64 KiB (MS-KILE).
inline constexpr size_t kMaxToken = 128 << 10;

}  // namespace markab::security
