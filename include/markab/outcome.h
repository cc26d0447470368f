#pragma once
// What an operation of the client comes back with: a value, or an Error that names the cause. Plain
// values, any thread.
//
//   markab::Outcome<std::string> value = table->get("user_1", "name");
//   if (value) use(*value);
//   else if (value.error().code == markab::ErrorCode::kNotFound) ...
//   else std::cerr << value.error().message;      // which node, which attempt, what was expected

#include <coroutine>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace markab {

enum class ErrorCode {
  kOk = 0,
  kNotFound,         // the row does not exist, or its time to live is over
  kTableNotFound,    // no meta server knows a table of that name
  kTimeout,          // the deadline passed; the message tells what was tried
  kInvalidArgument,  // refused, here or by the server; repeating it is of no use
  kBusy,             // throttled or overloaded; try later
  kUnavailable,      // no meta server or no primary could be reached
  kDenied,           // not authenticated, or not allowed
  kCorruption,       // the server reports damaged data, or answered what cannot be read
  kUnknownOutcome,   // a write that must not be repeated blindly may or may not have happened
  kAlreadyExists,    // a table of that name is there
  kInternal,         // anything else; the message has the server's name for it
  kClosed,           // the client was closed while the operation was under way
};

// "kNotFound" without the k: "NotFound".
const char* to_string(ErrorCode code);

struct Error {
  ErrorCode code = ErrorCode::kOk;
  std::string message;

  explicit operator bool() const { return code != ErrorCode::kOk; }
  // "NotFound: ...".
  std::string to_string() const;
};

// Who answered. `decree` is the position of a write in its partition's sequence, -1 for reads.
struct Origin {
  int32_t app_id = 0;
  int32_t partition_index = -1;
  int64_t decree = -1;
  uint32_t ipv4 = 0;  // the node that answered; 0 = none did
  uint16_t port = 0;

  std::string server() const;  // "10.0.0.1:34801"
};

// A value that says only that it went well.
struct Nothing {};

template <typename T>
class [[nodiscard]] Outcome {
 public:
  // NOLINTNEXTLINE(google-explicit-constructor): `return value;` reads well
  Outcome(T value) : state_(std::move(value)) {}
  // NOLINTNEXTLINE(google-explicit-constructor)
  Outcome(Error error) : state_(std::move(error)) {}

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }
  // Only when ok(); ends the program otherwise.
  T& operator*() { return value(); }
  const T& operator*() const { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  T& value() {
    if (!ok()) std::abort();
    return *std::get_if<0>(&state_);
  }
  const T& value() const { return const_cast<Outcome*>(this)->value(); }
  // An empty Error when ok().
  const Error& error() const {
    static const Error kNone;
    return ok() ? kNone : *std::get_if<1>(&state_);
  }

  Origin origin;

 private:
  std::variant<T, Error> state_;
};

// Called once with the outcome, on a thread of the client; it must not block, nor call a
// synchronous operation.
template <typename T>
using Done = std::function<void(Outcome<T>)>;

// What the co_* operations return: `co_await` it once. The operation starts then, and the coroutine
// goes on on a thread of the client.
template <typename T>
class [[nodiscard]] Pending {
 public:
  explicit Pending(std::function<void(Done<T>)> start) : start_(std::move(start)) {}
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> waiting) {
    // Once started, this object may be gone before `start` returns.
    auto start = std::move(start_);
    start([this, waiting](Outcome<T> outcome) {
      outcome_.emplace(std::move(outcome));
      waiting.resume();
    });
  }
  Outcome<T> await_resume() { return std::move(*outcome_); }

 private:
  std::function<void(Done<T>)> start_;
  std::optional<Outcome<T>> outcome_;
};

}  // namespace markab
