#include "sim_network.h"

#include <algorithm>

#include "base/assert.h"
#include "base/crc32c.h"

namespace markab::sim {

namespace {

struct TextBlock final : rpc::InputBlock {
  std::string text;
};

const std::string kNobody;
// What was sent on a connection and has not arrived when it breaks may arrive for so long.
constexpr Duration kStragglers = std::chrono::milliseconds(5);
// A cut that heals within this may leave connections alive: the kernels send again what was lost.
constexpr Duration kResendAfterCut = std::chrono::milliseconds(800);

}  // namespace

struct SimNetwork::Pending {
  uint64_t id = 0;
  HostPort from;
  HostPort to;
  rpc::TaskCode code;
  rpc::CallOptions options;
  std::string args;
  Callback<rpc::Reply> done;  // empty once the call has ended
  io::Shard* home = nullptr;
  std::weak_ptr<bool> caller_alive;
  io::TimerHandle timeout;
  ConnectionPtr connection;
  size_t slot = 0;  // in the connection's calls
};

struct SimNetwork::Connection {
  HostPort from;
  HostPort to;
  uint64_t landing = 0;  // which shard of the peer it came to
  uint64_t epoch = 1;    // of the connection; rises when it breaks
  Instant stragglers_until;
  Instant last[2];  // arrival of the last message, by direction
  // Sent into a cut.
  std::deque<Task> held[2];
  std::vector<PendingPtr> calls;  // without an end

  void add(const PendingPtr& call) {
    call->slot = calls.size();
    calls.push_back(call);
  }
  void remove(Pending& call) {
    if (call.slot >= calls.size() || calls[call.slot].get() != &call) return;
    calls[call.slot] = std::move(calls.back());
    calls[call.slot]->slot = call.slot;
    calls.pop_back();
  }
};

// --- the callee's side ---

class SimNetwork::Sink final : public rpc::ReplySink {
 public:
  Sink(SimNetwork& network, PendingPtr call)
      : network_(network), call_(std::move(call)), epoch_(call_->connection->epoch) {}

  void reply(const rpc::RequestHeader&, std::string_view, Errc error,
             std::string_view result) override {
    const auto& c = call_->connection;
    if (c->epoch != epoch_) return;  // the connection that brought the request is gone
    network_.world_.note(crc32c(result));
    network_.transmit(c, kBack,
                      [&n = network_, call = call_, error, text = std::string(result)]() mutable {
                        auto block = std::make_shared<TextBlock>();
                        block->text = std::move(text);
                        rpc::Reply reply;
                        if (error != Errc::kOk)
                          reply.status = Status(error, fmt::format("{} answered so", call->to));
                        reply.result = block->text;
                        reply.block = block;
                        n.finish(call, std::move(reply));
                      });
  }
  HostPort peer() const override { return call_->from; }
  const std::string& user() const override { return kNobody; }
  bool wants_host_port() const override { return true; }

 private:
  SimNetwork& network_;
  PendingPtr call_;
  const uint64_t epoch_;
};

void SimNetwork::deliver(const ConnectionPtr& c, const PendingPtr& call) {
  auto found = endpoints_.find(c->to);
  if (found == endpoints_.end()) {
    if (dead_machines_.contains(c->to)) return;  // nobody there to refuse
    transmit(c, kBack, [this, call] {
      rpc::Reply reply;
      reply.status =
          Status(Errc::kNetworkFailure, fmt::format("{} refused the connection", call->to));
      reply.never_sent = true;
      finish(call, std::move(reply));
    });
    return;
  }
  auto& endpoint = found->second;
  auto block = std::make_shared<TextBlock>();
  block->text = call->args;
  rpc::RequestHeader header;
  header.code = call->code;
  header.gpid = call->options.gpid;
  header.partition_hash = call->options.partition_hash;
  header.timeout_ms = static_cast<int32_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(call->options.timeout).count());
  header.id = call->id;
  rpc::Request request(header, rpc::task_name(call->code), block->text, block,
                       std::make_shared<Sink>(*this, call));
  auto shards = static_cast<uint64_t>(endpoint.runtime->shard_count());
  auto& target = endpoint.runtime->shard(static_cast<int>(c->landing % shards));
  auto held = std::make_shared<rpc::Request>(std::move(request));
  target.post([dispatcher = endpoint.dispatcher, held, &target] {
    held->arrived = target.now();
    dispatcher->dispatch(std::move(*held));
  });
}

void SimNetwork::finish(const PendingPtr& call, rpc::Reply reply) {
  if (!call->done || call->caller_alive.expired()) return;
  auto held = std::make_shared<rpc::Reply>(std::move(reply));
  call->home->post([this, call, held] {
    if (!call->done) return;
    call->timeout.cancel();
    call->connection->remove(*call);
    auto done = std::exchange(call->done, nullptr);
    auto from = call->from;
    done(std::move(*held));
    if (on_answer_) on_answer_(from);
  });
}

// --- the caller's side ---

class SimNetwork::Caller final : public rpc::Network {
 public:
  Caller(SimNetwork& network, HostPort self, SimRuntime& runtime, int shard)
      : network_(network),
        number_(network.next_caller_++),
        self_(self),
        shard_(runtime.shard(shard)) {}

  // The process is gone, and with it its ends of the connections.
  ~Caller() override {
    auto& all = network_.connections_;
    auto first = all.lower_bound({number_, HostPort()});
    auto last = first;
    for (; last != all.end() && last->first.first == number_; ++last) {
      Connection& c = *last->second;
      ++c.epoch;
      c.stragglers_until = network_.world_.now() + kStragglers;
      auto calls = std::move(c.calls);
      for (auto& call : calls) {
        call->timeout.cancel();
        call->done = nullptr;
      }
      c.calls.clear();
      for (auto& held : c.held) held.clear();
    }
    all.erase(first, last);
  }

  void call(HostPort to, rpc::TaskCode code, const rpc::CallOptions& options, std::string_view args,
            Callback<rpc::Reply> done) override {
    MARKAB_ASSERT(shard_.in_thread(), "a call from another shard");
    auto call = std::make_shared<Pending>();
    call->id = network_.next_id_++;
    call->from = self_;
    call->to = to;
    call->code = code;
    call->options = options;
    call->args = args;
    call->done = std::move(done);
    call->home = &shard_;
    call->caller_alive = alive_;
    call->connection = network_.connect(*this, to);
    call->connection->add(call);
    call->timeout = shard_.after(options.timeout, [call] {
      auto fired = std::move(call->timeout);
      if (!call->done) return;
      call->connection->remove(*call);
      rpc::Reply reply;
      reply.status = Status(Errc::kTimeout, fmt::format("no answer from {}", call->to));
      std::exchange(call->done, nullptr)(std::move(reply));
    });
    network_.world_.note(static_cast<uint64_t>(code) << 32 | crc32c(args));
    network_.transmit(call->connection, kForth,
                      [&n = network_, call] { n.deliver(call->connection, call); });
  }
  HostPort self() const override { return self_; }
  uint64_t number() const { return number_; }

 private:
  SimNetwork& network_;
  const uint64_t number_;
  const HostPort self_;
  io::Shard& shard_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

std::unique_ptr<rpc::Network> SimNetwork::make(HostPort self, SimRuntime& runtime, int shard) {
  return std::make_unique<Caller>(*this, self, runtime, shard);
}

SimNetwork::ConnectionPtr SimNetwork::connect(Caller& caller, HostPort to) {
  auto& c = connections_[{caller.number(), to}];
  if (c == nullptr) {
    c = std::make_shared<Connection>();
    c->from = caller.self();
    c->to = to;
    c->landing = world_.random().next() >> 8;
  }
  return c;
}

SimNetwork::~SimNetwork() {
  MARKAB_ASSERT(connections_.empty(), "a way out outlives the network", connections_.size());
}

// --- what happens on the way ---

Duration SimNetwork::delay() {
  auto span = static_cast<uint64_t>((faults_.max_delay - faults_.min_delay).count());
  return faults_.min_delay +
         Duration(static_cast<int64_t>(span == 0 ? 0 : world_.random().below(span)));
}

void SimNetwork::transmit(const ConnectionPtr& c, Direction direction, Task deliver) {
  ++messages_;
  if (faults_.lose > 0 && world_.random().chance(faults_.lose)) return;
  if (faults_.reset > 0 && world_.random().chance(faults_.reset)) {
    auto broken = c;
    // Not from inside of the caller's call.
    world_.schedule(world_.now(),
                    [this, broken] { break_connection(broken, "the connection was reset"); });
  }
  bool open = direction == kForth ? passes(c->from, c->to) : passes(c->to, c->from);
  if (!open || !c->held[direction].empty()) {
    c->held[direction].push_back(std::move(deliver));
    return;
  }
  put_under_way(c, direction, std::move(deliver));
}

void SimNetwork::put_under_way(const ConnectionPtr& c, Direction direction, Task deliver) {
  Instant at = world_.now() + delay();
  if (faults_.spike > 0 && world_.random().chance(faults_.spike)) {
    at = at + Duration(static_cast<int64_t>(
                  world_.random().below(static_cast<uint64_t>(faults_.max_spike.count()) + 1)));
  }
  c->last[direction] = std::max(c->last[direction], at);
  world_.schedule(c->last[direction],
                  [this, c, direction, epoch = c->epoch, deliver = std::move(deliver)] {
                    bool straggler = direction == kForth && world_.now() < c->stragglers_until;
                    if (c->epoch == epoch || straggler) deliver();
                  });
}

void SimNetwork::heal(HostPort from, HostPort to) {
  if (cuts_.erase({from, to}) > 0) heal_connections();
}

void SimNetwork::heal() {
  cuts_.clear();
  heal_connections();
}

// What waited in a cut that is no more: sent again, or the connection was given up meanwhile.
void SimNetwork::heal_connections() {
  for (auto& [key, c] : connections_) {
    for (Direction direction : {kForth, kBack}) {
      bool open = direction == kForth ? passes(c->from, c->to) : passes(c->to, c->from);
      if (!open || c->held[direction].empty()) continue;
      auto wait = Duration(static_cast<int64_t>(
          world_.random().below(static_cast<uint64_t>(kResendAfterCut.count()))));
      bool survives = world_.random().chance(0.5);
      world_.schedule_after(wait, [this, c = c, direction, survives, epoch = c->epoch] {
        if (c->epoch != epoch) return;
        if (!survives) return break_connection(c, "the connection timed out");
        release(c, direction);
      });
    }
  }
}

void SimNetwork::release(const ConnectionPtr& c, Direction direction) {
  bool open = direction == kForth ? passes(c->from, c->to) : passes(c->to, c->from);
  if (!open) return;  // cut again
  auto held = std::exchange(c->held[direction], {});
  for (auto& deliver : held) put_under_way(c, direction, std::move(deliver));
}

void SimNetwork::break_connection(const ConnectionPtr& c, const char* why) {
  ++c->epoch;
  c->landing = world_.random().next() >> 8;
  c->stragglers_until = world_.random().chance(0.5)
                            ? world_.now() + Duration(static_cast<int64_t>(world_.random().below(
                                                 static_cast<uint64_t>(kStragglers.count()))))
                            : Instant();
  for (auto& held : c->held) held.clear();
  c->last[kForth] = c->last[kBack] = world_.now();
  // They leave the list when their callers hear of it: until then a caller's end must find them.
  auto calls = c->calls;
  for (const auto& call : calls) {
    rpc::Reply reply;
    reply.status = Status(Errc::kNetworkFailure, fmt::format("{}: {}", call->to, why));
    finish(call, std::move(reply));
  }
}

// --- processes ---

void SimNetwork::break_all_to(HostPort node, const char* why) {
  std::vector<ConnectionPtr> broken;
  for (const auto& [key, c] : connections_) {
    if (key.second == node) broken.push_back(c);
  }
  for (const auto& c : broken) {
    if (!passes(node, c->from)) {
      // The caller is not told; what it sent is lost all the same.
      ++c->epoch;
      for (auto& held : c->held) held.clear();
      continue;
    }
    break_connection(c, why);
    c->stragglers_until = {};
  }
}

void SimNetwork::up(HostPort node, SimRuntime& runtime, const rpc::Dispatcher& dispatcher) {
  // What was sent to the machine while it was dead, or before, is met with a reset.
  if (dead_machines_.erase(node) > 0) break_all_to(node, "the machine was restarted");
  endpoints_[node] = {&runtime, &dispatcher};
}

void SimNetwork::down(HostPort node, bool with_machine) {
  endpoints_.erase(node);
  if (with_machine) {
    dead_machines_.insert(node);
  } else {
    break_all_to(node, "the connection was lost");
  }
}

size_t SimNetwork::pending() const {
  size_t n = 0;
  for (const auto& [key, c] : connections_) n += c->calls.size();
  return n;
}

}  // namespace markab::sim
