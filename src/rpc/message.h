#pragma once
// What travels: requests as a handler sees them, and how they are answered.
//
// A Request owns a share of the receive buffer in which its bytes arrived, so that `args` stays
// valid as long as the Request lives, on whatever shard it is handled; nothing is copied. It is
// answered at most once, from any thread. A Request destroyed without an answer is silence on the
// wire (some rules of spec 01 §9.3 demand it).

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/function.h"
#include "base/ids.h"
#include "base/status.h"
#include "rpc/task_code.h"

namespace markab::rpc {

enum class HeaderKind : uint8_t { kThft0, kThft1, kRdsn };

struct RequestHeader {
  TaskCode code = TaskCode::kUnknown;
  HeaderKind kind = HeaderKind::kRdsn;
  bool is_backup_request = false;
  Gpid gpid;                    // as the sender wrote it; app_id <= 0: no partition
  int32_t timeout_ms = 0;       // <= 0: unknown; a hint only (spec 01 §3)
  uint64_t partition_hash = 0;  // 0: not told
  uint64_t id = 0;              // sequence id (THFT) or message id (RDSN), echoed
  uint64_t trace_id = 0;
  uint64_t context = 0;     // RDSN: the flag word, echoed but for its direction bits
  int32_t thread_hash = 0;  // RDSN: echoed; nothing else is done with it
};

// Where the bytes of a request live: a block of a connection's input, or a string of the simulator.
class InputBlock {
 public:
  virtual ~InputBlock() = default;
};

// The way back. Implemented by a connection and by the simulated network.
class ReplySink {
 public:
  virtual ~ReplySink() = default;
  // Sends one answer. `result` is the encoded result struct (`<type> <id 0> <value> 00`, see
  // codec.h), used when `error` is kOk or kForwardToOthers. Any thread; cheap on the connection's
  // own shard.
  virtual void reply(const RequestHeader& header, std::string_view name, Errc error,
                     std::string_view result) = 0;
  virtual HostPort peer() const = 0;
  // The authenticated user; "" before or without negotiation.
  virtual const std::string& user() const = 0;
  // Whether answers to this peer carry host_port fields (spec 01 §7.3).
  virtual bool wants_host_port() const = 0;
  // A request that came here was let go unanswered. Any thread.
  virtual void dropped() {}
};

class Request {
 public:
  Request() = default;
  Request(RequestHeader header, std::string_view name, std::string_view args,
          std::shared_ptr<InputBlock> block, std::shared_ptr<ReplySink> sink)
      : header(header), name(name), args(args), block_(std::move(block)), sink_(std::move(sink)) {}
  Request(Request&&) = default;
  Request& operator=(Request&& other) noexcept {
    Request old(std::move(*this));  // its destructor reports the drop
    header = other.header;
    name = other.name;
    args = other.args;
    arrived = other.arrived;
    block_ = std::move(other.block_);
    sink_ = std::move(other.sink_);
    return *this;
  }
  ~Request() {
    if (sink_ != nullptr) sink_->dropped();
  }

  RequestHeader header;
  std::string_view name;  // as received
  std::string_view args;  // the argument struct: `<type> <id> <value> 00`
  Instant arrived;

  // Answers with an encoded result struct (codec.h, encode_result).
  void reply(std::string_view result) { send(Errc::kOk, result); }
  void reply_error(Errc error) { send(error, {}); }
  void reply_forward(std::string_view leader_result) {
    send(Errc::kForwardToOthers, leader_result);
  }

  // Copies what the request views out of the receive buffer, so that holding it holds its own bytes
  // only.
  void own_bytes();
  size_t size() const { return name.size() + args.size(); }
  bool answered() const { return sink_ == nullptr; }
  HostPort peer() const { return sink_->peer(); }
  const std::string& user() const { return sink_->user(); }
  bool wants_host_port() const { return sink_->wants_host_port(); }
  bool is_thft() const { return header.kind != HeaderKind::kRdsn; }
  const std::shared_ptr<ReplySink>& sink() const { return sink_; }

 private:
  void send(Errc error, std::string_view result) {
    MARKAB_ASSERT(sink_ != nullptr, "a request is answered twice", name);
    auto sink = std::move(sink_);
    sink->reply(header, name, error, result);
  }
  std::shared_ptr<InputBlock> block_;
  std::shared_ptr<ReplySink> sink_;
};

inline void Request::own_bytes() {
  struct Copy final : InputBlock {
    std::string bytes;
  };
  auto copy = std::make_shared<Copy>();
  copy->bytes.reserve(size());
  copy->bytes.append(name).append(args);
  name = std::string_view(copy->bytes).substr(0, name.size());
  args = std::string_view(copy->bytes).substr(name.size());
  block_ = std::move(copy);
}

using Handler = Function<void(Request)>;

}  // namespace markab::rpc
