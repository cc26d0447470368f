// Native requests at a follower are handed to the leader (01 §6.2): the C++ client and the shell
// understand no other answer. The relay carries who asked; the leader judges rights and forms of
// answers by that.

#include <algorithm>

#include "base/log.h"
#include "idl/markab_types.h"
#include "meta/meta_server.h"

namespace markab::meta {

namespace {

constexpr Duration kLookAgain = std::chrono::milliseconds(50);
constexpr Duration kLongestRelay = std::chrono::minutes(10);
constexpr size_t kMaxWaiting = 10000;

// The way back of a relayed request: through the follower's request.
class RelaySink final : public rpc::ReplySink {
 public:
  RelaySink(rpc::Request outer, const wire::relay_request& relayed)
      : outer_(std::move(outer)),
        peer_(relayed.peer),
        user_(relayed.user),
        host_ports_(relayed.header_kind == static_cast<int32_t>(rpc::HeaderKind::kRdsn)) {}

  void reply(const rpc::RequestHeader&, std::string_view, Errc error,
             std::string_view result) override {
    wire::relay_response response;
    response.error = error;
    response.result = result;
    outer_.reply(rpc::encode_result(response));
  }
  HostPort peer() const override { return peer_; }
  const std::string& user() const override { return user_; }
  bool wants_host_port() const override { return host_ports_; }

 private:
  rpc::Request outer_;
  const HostPort peer_;
  const std::string user_;
  const bool host_ports_;
};

}  // namespace

void MetaServer::relay(rpc::Request request) {
  if (stopped_) return request.reply_error(Errc::kServiceNotActive);
  if (standing_.leader)
    return relay_to(standing_.leader, std::move(request), seams_.shard.now() + kWaitForLeader);
  wait_for_leader(std::move(request));
}

void MetaServer::wait_for_leader(rpc::Request request) {
  if (waiting_relays_.size() >= kMaxWaiting) return request.reply_error(Errc::kBusy);
  waiting_relays_.push_back({std::move(request), seams_.shard.now() + kWaitForLeader});
  if (!relay_timer_) relay_timer_ = seams_.shard.after(kLookAgain, [this] { flush_relays(); });
}

// Those who waited for a leader: it is known now, it is us, or they waited long enough.
void MetaServer::flush_relays() {
  relay_timer_.cancel();
  auto waiting = std::exchange(waiting_relays_, {});
  for (WaitingRelay& w : waiting) {
    bool late = seams_.shard.now() >= w.give_up;
    if (leadership_ != nullptr && !leadership_->serving() && !late) {
      waiting_relays_.push_back(std::move(w));
    } else if (leadership_ != nullptr) {
      handlers_.at(w.request.header.code)(std::move(w.request));
    } else if (standing_.leader && !w.request.is_thft()) {
      relay_to(standing_.leader, std::move(w.request), w.give_up);
    } else if (w.request.is_thft()) {  // the leadership that it waited for was lost
      handlers_.at(w.request.header.code)(std::move(w.request));
    } else if (late) {
      w.request.reply_error(Errc::kServiceNotActive);
    } else {
      waiting_relays_.push_back(std::move(w));
    }
  }
  if (!waiting_relays_.empty())
    relay_timer_ = seams_.shard.after(kLookAgain, [this] { flush_relays(); });
}

void MetaServer::relay_to(HostPort leader, rpc::Request request, Instant give_up) {
  wire::relay_request message;
  message.peer = request.peer();
  message.user = request.user();
  // The kind tells the leader which form the answer has; a native peer of host_port_never gets the
  // other one.
  message.header_kind = static_cast<int32_t>(request.wants_host_port() ? rpc::HeaderKind::kRdsn
                                                                       : rpc::HeaderKind::kThft1);
  message.task = wire::task_code(rpc::task_name(request.header.code));
  message.arguments = request.args;
  message.timeout_ms = request.header.timeout_ms;
  rpc::CallOptions options;
  options.timeout = request.header.timeout_ms > 0
                        ? Duration(std::chrono::milliseconds(request.header.timeout_ms))
                        : kLongestRelay;
  std::string bytes = rpc::encode_args(message);
  seams_.network.call(
      leader, rpc::TaskCode::kRelay, options, bytes,
      [this, alive = alive_, leader, give_up,
       held = std::make_shared<rpc::Request>(std::move(request))](rpc::Reply reply) {
        wire::relay_response response;
        Status status = reply.status;
        if (status.ok()) status = rpc::decode_result(reply.result, response);
        bool not_taken =
            reply.never_sent || (status.ok() && response.error.code == Errc::kServiceNotActive);
        if (not_taken && *alive && !stopped_ && seams_.shard.now() < give_up) {
          // The leader is gone, or leads no longer; wait for the next one.
          waiting_relays_.push_back({std::move(*held), give_up});
          if (!relay_timer_)
            relay_timer_ = seams_.shard.after(kLookAgain, [this] { flush_relays(); });
          return;
        }
        if (!status.ok()) {
          MARKAB_DEBUG("relaying {} to {}: {}", held->name, leader, status);
          held->reply_error(not_taken ? Errc::kServiceNotActive : Errc::kTimeout);
        } else if (response.error.code == Errc::kOk) {
          held->reply(response.result);
        } else {
          held->reply_error(response.error.code);
        }
      });
}

void MetaServer::on_relayed(rpc::Request outer) {
  wire::relay_request message;
  if (Status s = rpc::decode_args(outer.args, message); !s.ok())
    return outer.reply_error(Errc::kInvalidData);
  // 05 §7.5: a relay speaks for others, so only our own daemons may.
  if (options_.access != nullptr && !options_.access->permits_relay(outer, seams_.shard.now()))
    return outer.reply_error(Errc::kAclDeny);
  auto code = rpc::task_from_name(message.task.name);
  auto handler = handlers_.find(code);
  Errc refusal = leadership_ == nullptr ? Errc::kServiceNotActive
                 : handler == handlers_.end() || code == rpc::TaskCode::kRelay
                     ? Errc::kHandlerNotFound
                     : Errc::kOk;
  if (refusal != Errc::kOk) {  // not relayed again: two metas that take each other for the leader
                               // must not play ball
    wire::relay_response response;
    response.error = refusal;
    outer.reply(rpc::encode_result(response));
    return;
  }
  rpc::RequestHeader header;
  header.code = code;
  header.kind = rpc::HeaderKind::kRdsn;
  header.timeout_ms = message.timeout_ms;
  std::string_view args =
      message.arguments;  // lives as long as the outer request, which the sink holds
  std::string_view name = rpc::task_name(code);
  auto sink = std::make_shared<RelaySink>(std::move(outer), message);
  rpc::Request inner(header, name, args, nullptr, std::move(sink));
  inner.arrived = seams_.shard.now();
  handler->second(std::move(inner));
}

}  // namespace markab::meta
