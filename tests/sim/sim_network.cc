#include "sim_network.h"

#include <algorithm>

namespace markab::sim {

namespace {

struct TextBlock final : rpc::InputBlock {
  std::string text;
};

const std::string kNobody;

}  // namespace

struct SimNetwork::Pending {
  uint64_t id = 0;
  HostPort from;
  HostPort to;
  rpc::TaskCode code;
  rpc::CallOptions options;
  std::string args;
  Callback<rpc::Reply> done;
  io::Shard* home = nullptr;
  std::weak_ptr<bool> caller_alive;
  io::TimerHandle timeout;
  uint64_t incarnation = 0;  // of the node that it was delivered to
};

class SimNetwork::Sink final : public rpc::ReplySink {
 public:
  Sink(SimNetwork& network, std::shared_ptr<Pending> call)
      : network_(network), call_(std::move(call)) {}

  void reply(const rpc::RequestHeader&, std::string_view, Errc error,
             std::string_view result) override {
    auto& n = network_;
    ++n.messages_;
    if (!n.passes(call_->to, call_->from) || n.world_.random().chance(n.faults_.lose_reply)) return;
    n.world_.schedule(n.arrival(call_->to, call_->from), [call = call_, error,
                                                          text = std::string(result)] {
      auto block = std::make_shared<TextBlock>();
      block->text = text;
      rpc::Reply reply;
      reply.status =
          error == Errc::kOk ? Status() : Status(error, fmt::format("{} answered so", call->to));
      reply.result = block->text;
      reply.block = block;
      finish(call, std::move(reply));
    });
  }
  HostPort peer() const override { return call_->from; }
  const std::string& user() const override { return kNobody; }
  bool wants_host_port() const override { return true; }

 private:
  SimNetwork& network_;
  std::shared_ptr<Pending> call_;
};

class SimNetwork::Caller final : public rpc::Network {
 public:
  Caller(SimNetwork& network, HostPort self, SimRuntime& runtime, int shard)
      : network_(network), self_(self), runtime_(runtime), shard_(runtime.shard(shard)) {}

  void call(HostPort to, rpc::TaskCode code, const rpc::CallOptions& options, std::string_view args,
            Callback<rpc::Reply> done) override {
    MARKAB_ASSERT(shard_.in_thread(), "a call from another shard");
    auto pending = std::make_shared<Pending>();
    pending->id = network_.next_id_++;
    pending->from = self_;
    pending->to = to;
    pending->code = code;
    pending->options = options;
    pending->args = args;
    pending->done = std::move(done);
    pending->home = &shard_;
    pending->caller_alive = alive_;
    pending->timeout = shard_.after(options.timeout, [pending, to] {
      auto fired = std::move(pending->timeout);
      if (!pending->done) return;
      rpc::Reply reply;
      reply.status = Status(Errc::kTimeout, fmt::format("no answer from {}", to));
      std::exchange(pending->done, nullptr)(std::move(reply));
    });
    ++network_.messages_;
    if (!network_.passes(self_, to) ||
        network_.world_.random().chance(network_.faults_.lose_request))
      return;
    network_.world_.schedule(network_.arrival(self_, to),
                             [&n = network_, pending] { n.deliver(pending); });
  }
  HostPort self() const override { return self_; }

 private:
  SimNetwork& network_;
  const HostPort self_;
  SimRuntime& runtime_;
  io::Shard& shard_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

Instant SimNetwork::arrival(HostPort from, HostPort to) {
  auto& last = last_arrival_[{from, to}];
  last = std::max(last, world_.now() + delay());
  return last;
}

void SimNetwork::up(HostPort node, SimRuntime& runtime, const rpc::Dispatcher& dispatcher) {
  endpoints_[node] = {&runtime, &dispatcher, next_incarnation_++};
}

void SimNetwork::down(HostPort node) {
  endpoints_.erase(node);
  auto owed = std::exchange(delivered_, {});
  for (auto& weak : owed) {
    auto call = weak.lock();
    if (!call || !call->done) continue;
    if (call->to != node) {
      delivered_.push_back(weak);
      continue;
    }
    if (!passes(node, call->from)) continue;
    world_.schedule(arrival(node, call->from), [call] {
      rpc::Reply reply;
      reply.status =
          Status(Errc::kNetworkFailure, fmt::format("the connection to {} was lost", call->to));
      finish(call, std::move(reply));
    });
  }
}

void SimNetwork::deliver(const std::shared_ptr<Pending>& call) {
  if (!call->done) return;
  auto found = endpoints_.find(call->to);
  if (found == endpoints_.end()) {
    if (!passes(call->to, call->from)) return;
    world_.schedule(arrival(call->to, call->from), [call] {
      rpc::Reply reply;
      reply.status =
          Status(Errc::kNetworkFailure, fmt::format("{} refused the connection", call->to));
      reply.never_sent = true;
      finish(call, std::move(reply));
    });
    return;
  }
  auto& endpoint = found->second;
  call->incarnation = endpoint.incarnation;
  std::erase_if(delivered_, [](const auto& weak) { return weak.expired(); });
  delivered_.push_back(call);
  // The messages of one pair of nodes share a connection, hence a shard.
  auto shard = static_cast<int>(std::hash<HostPort>()(call->from) %
                                static_cast<size_t>(endpoint.runtime->shard_count()));
  auto block = std::make_shared<TextBlock>();
  block->text = call->args;
  rpc::RequestHeader header;
  header.code = call->code;
  header.gpid = call->options.gpid;
  header.partition_hash = call->options.partition_hash;
  header.timeout_ms = static_cast<int32_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(call->options.timeout).count());
  header.id = call->id;
  auto request = std::make_shared<rpc::Request>(header, rpc::task_name(call->code), block->text,
                                                block, std::make_shared<Sink>(*this, call));
  auto& target = endpoint.runtime->shard(shard);
  target.post([dispatcher = endpoint.dispatcher, request, &target] {
    request->arrived = target.now();
    dispatcher->dispatch(std::move(*request));
  });
}

void SimNetwork::finish(const std::shared_ptr<Pending>& call, rpc::Reply reply) {
  if (!call->done || call->caller_alive.expired()) return;
  auto held = std::make_shared<rpc::Reply>(std::move(reply));
  call->home->post([call, held] {
    if (!call->done) return;
    call->timeout.cancel();
    std::exchange(call->done, nullptr)(std::move(*held));
  });
}

std::unique_ptr<rpc::Network> SimNetwork::make(HostPort self, SimRuntime& runtime, int shard) {
  return std::make_unique<Caller>(*this, self, runtime, shard);
}

}  // namespace markab::sim
