#include "rpc/channel.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/random.h"
#include "io/poller.h"
#include "rpc/call_table.h"
#include "rpc/frame.h"
#include "rpc/input.h"
#include "rpc/process_metrics.h"
#include "rpc/socket_options.h"

namespace markab::rpc {

namespace {

constexpr Duration kFirstBackoff = std::chrono::milliseconds(10);
constexpr Duration kLongestBackoff = std::chrono::milliseconds(500);
// A failed negotiation cost the peer more than a refused dial.
constexpr Duration kBackoffAfterRefusal = std::chrono::milliseconds(50);
// As in connection.cc.
constexpr size_t kTrimBytes = 1 << 20;
constexpr size_t kKeptOutputBytes = 256 << 10;
constexpr int kReads = 4;
// The number of the negotiation's messages: no call of the table has it.
constexpr uint64_t kNegotiationId = UINT64_MAX;

class Channels;

// One connection to a peer, and the calls on it. Dialled by the first call; a break ends all its
// calls and leaves the object ready for the next dial.
class Link final : public io::Poller::Watcher {
 public:
  Link(Channels& owner, HostPort peer) : owner_(owner), peer_(peer) {}
  ~Link() { hang_up(); }

  void call(TaskCode code, const CallOptions& options, std::string_view args, Callback<Reply> done);
  void flush();
  void on_ready(uint32_t events) override;
  // Ends every call with this error and closes.
  void fail(std::string_view reason, Errc code = Errc::kNetworkFailure);
  size_t waiting() const { return calls_.size(); }

 private:
  enum class State : uint8_t { kDown, kDialling, kNegotiating, kUp };

  void dial();
  void dial_ended();
  void came_up();
  void negotiate();
  void send_negotiation(std::string_view args);
  void negotiated(const Status& outcome);
  void dismiss_negotiator();
  bool is_connected() const { return state_ == State::kUp || state_ == State::kNegotiating; }
  void trim_output();
  bool send_from(std::string& output, size_t& sent, bool& blocked);
  void read_some();
  bool read_into_partial();
  bool read_into_arena();
  size_t receive(char* to, size_t size);
  size_t consume(std::string_view in, const std::shared_ptr<ByteBlock>& block);
  void refuse(Errc code, std::string reason, Callback<Reply> done);
  // The connection broke: `error` is errno, or 0 when the peer closed it.
  void lost(int error);
  void hang_up();
  void back_off();
  void arm_timer();
  void expire();
  void set_interest(uint32_t events);

  Channels& owner_;
  const HostPort peer_;
  State state_ = State::kDown;
  int fd_ = -1;
  uint32_t interest_ = 0;
  bool is_dirty_ = false;
  bool proven_ = false;  // an answer came on this connection: the peer lives
  PartialFrame partial_;
  size_t wanted_ = kRdsnHeaderBytes;
  CallTable calls_;
  // What negotiates while the calls wait in output_, and its messages.
  std::unique_ptr<Negotiator> negotiator_;
  std::shared_ptr<bool> negotiating_;  // false once it is over: a step may still be under way
  std::string greeting_;
  size_t greeting_sent_ = 0;
  std::string output_;
  size_t sent_ = 0;             // of output_
  uint64_t stream_sent_ = 0;    // bytes of all output of this connection that the kernel took
  uint64_t stream_queued_ = 0;  // bytes of all output of this connection
  io::TimerHandle call_timer_;
  Instant call_timer_at_ = kNever;
  io::TimerHandle dial_timer_;
  Duration backoff_{};
  Instant refused_until_;
  std::string refusal_;
  Errc refusal_code_ = Errc::kNetworkFailure;
  uint64_t incarnation_ = 0;  // of the connection; callbacks may end it and start another
};

class Channels final : public Network, public io::Poller::TurnEnd {
 public:
  Channels(io::RealRuntime& runtime, int index, const ChannelOptions& options)
      : options_(options),
        shard_(runtime.shard(index)),
        random_(static_cast<uint64_t>(shard_.now().ns) ^ static_cast<uint64_t>(index) << 48),
        alive_(std::make_shared<bool>(true)),
        poller_(runtime.poller(index)) {}
  ~Channels() override {
    *alive_ = false;
    for (auto& [peer, links] : peers_) {
      for (auto& link : links) link->fail("this node shuts its channels down");
    }
    peers_.clear();
    poller_.forget(this);
  }

  void call(HostPort to, TaskCode code, const CallOptions& options, std::string_view args,
            Callback<Reply> done) override {
    if (options_.metrics) options_.metrics->calls.add();
    pick(to).call(code, options, args, std::move(done));
  }
  HostPort self() const override { return options_.self; }

  io::Shard& shard() { return shard_; }
  io::Poller& poller() { return poller_; }
  InputArena& arena() { return arena_; }
  Random& random() { return random_; }
  const ChannelOptions& options() const { return options_; }
  bool closing() const { return !*alive_; }

  void need_flush(Link* link) {
    dirty_.push_back(link);
    if (std::exchange(flush_wanted_, true)) return;
    poller_.at_end_of_turn(this);
  }
  // Links live as long as the channels; a task that comes later than that does nothing.
  void post(Task task) {
    shard_.post([alive = alive_, task = std::move(task)] {
      if (*alive) task();
    });
  }

 private:
  Link& pick(HostPort to) {
    auto& links = peers_[to];
    if (links.empty()) {
      int n = std::max(1, options_.connections_per_peer);
      for (int i = 0; i < n; ++i) links.push_back(std::make_unique<Link>(*this, to));
    }
    Link* best = links[0].get();
    for (auto& link : links) {
      if (link->waiting() < best->waiting()) best = link.get();
    }
    return *best;
  }
  void end_of_turn() override {
    flush_wanted_ = false;
    for (size_t i = 0; i < dirty_.size(); ++i) dirty_[i]->flush();
    dirty_.clear();
  }

  const ChannelOptions options_;
  io::Shard& shard_;
  Random random_;
  std::shared_ptr<bool> alive_;
  io::Poller& poller_;
  InputArena arena_;
  std::unordered_map<HostPort, std::vector<std::unique_ptr<Link>>> peers_;
  std::vector<Link*> dirty_;
  bool flush_wanted_ = false;
};

// ---- Calls

void Link::call(TaskCode code, const CallOptions& options, std::string_view args,
                Callback<Reply> done) {
  const ChannelOptions& limits = owner_.options();
  if (owner_.closing()) {
    refuse(Errc::kNetworkFailure, "this node shuts its channels down", std::move(done));
    return;
  }
  if (calls_.size() >= limits.max_in_flight) {
    refuse(Errc::kBusy,
           fmt::format("{} calls to {} wait for an answer already", calls_.size(), peer_),
           std::move(done));
    return;
  }
  if (output_.size() - sent_ + args.size() > limits.max_queued_bytes) {
    refuse(Errc::kBusy,
           fmt::format("{} bytes for {} wait to be sent already", output_.size() - sent_, peer_),
           std::move(done));
    return;
  }
  if (args.size() > limits.max_frame_bytes) {
    refuse(Errc::kInvalidParameters,
           fmt::format("{} bytes of arguments are more than a frame may have ({})", args.size(),
                       limits.max_frame_bytes),
           std::move(done));
    return;
  }
  Instant now = owner_.shard().now();
  if (state_ == State::kDown) {
    if (now < refused_until_) {
      refuse(refusal_code_,
             fmt::format("{}; the next try is due in {} ms", refusal_,
                         (refused_until_ - now).count() / 1000000 + 1),
             std::move(done));
      return;
    }
    dial();
    if (state_ == State::kDown) {
      refuse(refusal_code_, refusal_, std::move(done));
      return;
    }
  }
  RdsnRequest request;
  request.code = code;
  request.gpid = options.gpid;
  request.partition_hash = options.partition_hash;
  request.timeout_ms =
      static_cast<int32_t>(std::clamp<int64_t>(options.timeout.count() / 1000000, 1, INT32_MAX));
  request.id =
      calls_.add({std::move(done), code, options.timeout, stream_queued_}, now + options.timeout);
  stream_queued_ += kRdsnHeaderBytes + args.size();
  append_rdsn_request(output_, request, args, limits.self);
  arm_timer();
  if (state_ == State::kUp && !is_dirty_) {
    is_dirty_ = true;
    owner_.need_flush(this);
  }
}

// From the loop, so that no caller is called back before its call() has returned.
void Link::refuse(Errc code, std::string reason, Callback<Reply> done) {
  if (owner_.options().metrics) owner_.options().metrics->failures.add();
  Reply reply;
  reply.status = Status(code, std::move(reason));
  reply.never_sent = true;
  owner_.shard().post(
      [reply = std::move(reply), done = std::move(done)]() mutable { done(std::move(reply)); });
}

void Link::fail(std::string_view reason, Errc code) {
  hang_up();
  uint64_t sent = stream_sent_;
  output_ = {};
  sent_ = 0;
  stream_sent_ = stream_queued_ = 0;
  auto calls = calls_.take_all();
  std::sort(calls.begin(), calls.end(),
            [](const auto& a, const auto& b) { return a.stream_begin < b.stream_begin; });
  for (auto& call : calls) {
    if (owner_.options().metrics) owner_.options().metrics->failures.add();
    Reply reply;
    reply.never_sent = call.stream_begin >= sent;  // the kernel took no byte of it
    reply.status =
        Status(code, fmt::format("{}; {} {}", reason, task_name(call.code),
                                 reply.never_sent ? "had not been sent"
                                                  : "had been sent, its outcome is unknown"));
    call.done(std::move(reply));
  }
}

void Link::arm_timer() {
  Instant next = calls_.next_deadline();
  if (next >= call_timer_at_) return;
  Instant now = owner_.shard().now();
  call_timer_at_ = next;
  call_timer_ = owner_.shard().after(std::max(next - now, Duration::zero()), [this] { expire(); });
}

void Link::expire() {
  call_timer_.cancel();
  call_timer_at_ = kNever;
  Instant now = owner_.shard().now();
  while (auto call = calls_.take_expired(now)) {
    if (owner_.options().metrics) owner_.options().metrics->timeouts.add();
    Reply reply;
    // Not never_sent, whatever was flushed: what still waits in the output may yet go out.
    const char* where = state_ == State::kUp            ? "did not answer"
                        : state_ == State::kNegotiating ? "did not get as far as"
                                                        : "could not be reached";
    reply.status =
        Status(Errc::kTimeout,
               fmt::format("{} {} to {} within {} ms{}{}", peer_, where, task_name(call->code),
                           call->timeout.count() / 1000000, negotiator_ == nullptr ? "" : "; ",
                           negotiator_ == nullptr ? "" : negotiator_->describe()));
    call->done(std::move(reply));
  }
  if (calls_.size() != 0) arm_timer();
}

// ---- Connection

void Link::dial() {
  if (owner_.options().metrics) owner_.options().metrics->dials.add();
  ++incarnation_;
  proven_ = false;
  refusal_code_ = Errc::kNetworkFailure;
  stream_sent_ = stream_queued_ = 0;
  fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd_ < 0) {
    refusal_ = fmt::format("no socket for {}: {}", peer_, std::strerror(errno));
    back_off();
    return;
  }
  set_stream_options(fd_, kDialledIsLost);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(peer_.port);
  address.sin_addr.s_addr = htonl(peer_.ipv4);
  int rc = ::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address);
  interest_ = EPOLLOUT;
  if ((rc != 0 && errno != EINPROGRESS) || !owner_.poller().add(fd_, interest_, this)) {
    refusal_ = fmt::format("the connection to {} failed: {}", peer_, std::strerror(errno));
    ::close(fd_);
    fd_ = -1;
    back_off();
    return;
  }
  state_ = State::kDialling;
  dial_timer_ = owner_.shard().after(owner_.options().connect_timeout, [this] {
    dial_timer_.cancel();
    refusal_ = fmt::format("the connection to {} was not answered within {} ms", peer_,
                           owner_.options().connect_timeout.count() / 1000000);
    back_off();
    fail(refusal_);
  });
}

void Link::dial_ended() {
  int error = 0;
  socklen_t size = sizeof error;
  if (::getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
  if (error == 0) {
    came_up();
    return;
  }
  refusal_ = error == ECONNREFUSED
                 ? fmt::format("the connection to {} was refused: nothing listens there", peer_)
                 : fmt::format("the connection to {} failed: {}", peer_, std::strerror(error));
  back_off();
  fail(refusal_);
}

void Link::came_up() {
  dial_timer_.cancel();
  if (owner_.options().negotiators != nullptr) {
    negotiate();
    return;
  }
  state_ = State::kUp;
  set_interest(EPOLLIN);
  flush();
}

// The calls stay in output_ until it is over (spec 05 §2.4).
void Link::negotiate() {
  state_ = State::kNegotiating;
  set_interest(EPOLLIN);
  Negotiators& negotiators = *owner_.options().negotiators;
  dial_timer_ = owner_.shard().after(negotiators.deadline(), [this] {
    dial_timer_.cancel();
    negotiated(Status(Errc::kUnauthenticated,
                      fmt::format("timeout: the negotiation with {} did not end within {} ms; {}",
                                  peer_, owner_.options().negotiators->deadline().count() / 1000000,
                                  negotiator_->describe())));
  });
  NegotiatorCalls calls;
  negotiating_ = std::make_shared<bool>(true);
  calls.send = [this, current = negotiating_](std::string_view args) {
    if (*current) send_negotiation(args);
  };
  calls.done = [this, current = negotiating_](Status outcome) {
    if (*current) negotiated(outcome);
  };
  negotiator_ = negotiators.make(owner_.shard(), peer_, std::move(calls));
  negotiator_->begin();
}

void Link::dismiss_negotiator() {
  if (negotiator_ == nullptr) return;
  *negotiating_ = false;
  // It may be running still, further up the stack.
  owner_.post([over = std::shared_ptr<Negotiator>(std::move(negotiator_))] {});
}

void Link::send_negotiation(std::string_view args) {
  RdsnRequest request;
  request.code = TaskCode::kNegotiation;
  request.id = kNegotiationId;
  request.timeout_ms =
      static_cast<int32_t>(owner_.options().negotiators->deadline().count() / 1000000);
  append_rdsn_request(greeting_, request, args, owner_.options().self);
  if (!is_dirty_) {
    is_dirty_ = true;
    owner_.need_flush(this);
  }
}

void Link::negotiated(const Status& outcome) {
  dial_timer_.cancel();
  if (outcome.ok()) {
    state_ = State::kUp;
    dismiss_negotiator();
    if (!is_dirty_) {
      is_dirty_ = true;
      owner_.need_flush(this);
    }
    return;
  }
  refusal_ = outcome.message();
  refusal_code_ = outcome.code();
  backoff_ = std::max(backoff_, kBackoffAfterRefusal);
  back_off();
  fail(refusal_, refusal_code_);
}

void Link::back_off() {
  backoff_ = std::min(std::max(backoff_ * 2, kFirstBackoff), kLongestBackoff);
  // A quarter more or less, so that a thousand peers of a node that comes back do not dial at one
  // instant.
  int64_t half = backoff_.count() / 2;
  Duration pause(backoff_.count() - half / 2 +
                 static_cast<int64_t>(owner_.random().below(static_cast<uint64_t>(half))));
  refused_until_ = owner_.shard().now() + pause;
}

void Link::hang_up() {
  if (fd_ >= 0) {
    owner_.poller().remove(fd_, this);
    ::close(fd_);
    fd_ = -1;
  }
  state_ = State::kDown;
  dial_timer_.cancel();
  dismiss_negotiator();
  greeting_ = {};
  greeting_sent_ = 0;
  partial_.clear();
  wanted_ = kRdsnHeaderBytes;
}

void Link::set_interest(uint32_t events) {
  if (events == interest_) return;
  interest_ = events;
  owner_.poller().modify(fd_, events, this);
}

void Link::on_ready(uint32_t events) {
  if (state_ == State::kDialling) {
    dial_ended();
    return;
  }
  if (events & EPOLLOUT) flush();
  if (is_connected() && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) read_some();
}

void Link::flush() {
  is_dirty_ = false;
  if (!is_connected()) return;
  bool blocked = false;
  if (!greeting_.empty()) {
    if (!send_from(greeting_, greeting_sent_, blocked)) return;
    if (greeting_sent_ == greeting_.size()) {
      greeting_.clear();
      greeting_sent_ = 0;
    }
  }
  if (state_ == State::kUp && !blocked) {
    if (!send_from(output_, sent_, blocked)) return;
    trim_output();
  }
  set_interest(blocked ? uint32_t{EPOLLIN | EPOLLOUT} : uint32_t{EPOLLIN});
}

// False: the connection broke, and all is over.
bool Link::send_from(std::string& output, size_t& sent, bool& blocked) {
  while (sent < output.size() && !blocked) {
    ssize_t n = ::send(fd_, output.data() + sent, output.size() - sent, MSG_NOSIGNAL);
    if (n >= 0) {
      sent += static_cast<size_t>(n);
      if (&output == &output_) stream_sent_ += static_cast<uint64_t>(n);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      blocked = true;
    } else if (errno != EINTR) {
      lost(errno);
      return false;
    }
  }
  return true;
}

void Link::trim_output() {
  if (sent_ == output_.size()) {
    output_.clear();
    if (output_.capacity() > kKeptOutputBytes) output_ = {};
    sent_ = 0;
  } else if (sent_ > kTrimBytes && sent_ > output_.size() / 2) {
    output_.erase(0, sent_);
    sent_ = 0;
  }
}

// ---- Answers

void Link::read_some() {
  uint64_t incarnation = incarnation_;
  for (int i = 0; i < kReads && is_connected() && incarnation == incarnation_; ++i) {
    bool more = partial_.is_large() ? read_into_partial() : read_into_arena();
    if (!more) return;
  }
}

bool Link::read_into_partial() {
  PartialFrame::Tail tail = partial_.tail();
  size_t n = receive(tail.data, tail.size);
  if (n == 0) return false;
  partial_.received(n);
  bool filled = n == tail.size;
  if (partial_.bytes().size() < partial_.needed()) return filled;
  uint64_t incarnation = incarnation_;
  std::shared_ptr<ByteBlock> block = partial_.block();
  std::string_view in = partial_.bytes();
  size_t used = consume(in, block);
  if (is_connected() && incarnation == incarnation_) partial_.assign(in.substr(used), wanted_);
  return filled;
}

bool Link::read_into_arena() {
  uint64_t incarnation = incarnation_;
  InputArena::Space loan = owner_.arena().lend();
  std::string_view head = partial_.bytes();
  if (!head.empty()) std::memcpy(loan.data, head.data(), head.size());
  size_t room = loan.size - head.size();
  size_t n = receive(loan.data + head.size(), room);
  size_t total = n == 0 ? 0 : head.size() + n;
  if (n != 0) {
    std::string_view in(loan.data, total);
    size_t used = consume(in, loan.block);
    if (is_connected() && incarnation == incarnation_) partial_.assign(in.substr(used), wanted_);
  }
  owner_.arena().give_back(std::move(loan), total);
  return n == room;
}

size_t Link::receive(char* to, size_t size) {
  ssize_t n;
  do {
    n = ::recv(fd_, to, size, 0);
  } while (n < 0 && errno == EINTR);
  if (n > 0) return static_cast<size_t>(n);
  if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return 0;
  lost(n == 0 ? 0 : errno);
  return 0;
}

void Link::lost(int error) {
  std::string reason =
      error == 0 ? fmt::format("{} closed the connection", peer_)
                 : fmt::format("the connection to {} was lost: {}", peer_, std::strerror(error));
  if (state_ == State::kNegotiating) {
    // Not a verdict on who we are: the calls may be tried elsewhere.
    negotiated(Status(Errc::kNetworkFailure, fmt::format("{} during the negotiation; {}", reason,
                                                         negotiator_->describe())));
    return;
  }
  // A peer that accepts and hangs up is no better than one that refuses.
  if (!proven_) {
    refusal_ = reason;
    back_off();
  }
  fail(reason);
}

size_t Link::consume(std::string_view in, const std::shared_ptr<ByteBlock>& block) {
  uint64_t incarnation = incarnation_;
  size_t at = 0;
  ReplyFrame frame;
  while (at < in.size()) {
    Parsed parsed = parse_rdsn_reply(in.substr(at), owner_.options().max_frame_bytes, frame);
    if (parsed.outcome == Parsed::Outcome::kNeedMore) {
      wanted_ = parsed.bytes;
      break;
    }
    if (parsed.outcome == Parsed::Outcome::kMalformed) {
      MARKAB_WARN("{} sent a malformed answer ({}); the connection is closed", peer_,
                  parsed.reason);
      refusal_ = fmt::format("{} sent a malformed answer: {}", peer_, parsed.reason);
      back_off();
      fail(refusal_);
      break;
    }
    at += parsed.bytes;
    if (state_ == State::kNegotiating) {
      if (frame.id == kNegotiationId) negotiator_->on_answer(frame.error, frame.result);
      if (!is_connected() || incarnation != incarnation_) break;
      continue;
    }
    proven_ = true;
    backoff_ = {};
    auto call = calls_.take(frame.id);
    if (!call) continue;  // it timed out
    if (frame.error != Errc::kOk && owner_.options().metrics)
      owner_.options().metrics->errors.add();
    Reply reply;
    if (frame.error != Errc::kOk) {
      reply.status =
          Status(frame.error, fmt::format("answered by {} to {}", peer_, task_name(call->code)));
    }
    reply.result = frame.result;
    reply.block = block;
    call->done(std::move(reply));
    if (!is_connected() || incarnation != incarnation_) break;
  }
  return at;
}

}  // namespace

ChannelMetrics::ChannelMetrics(MetricRegistry& registry)
    : entity(process_metrics(registry)),
      calls(entity->counter({"network_calls", "Requests", "Calls made to other nodes"})),
      failures(entity->counter(
          {"network_call_failures", "Requests",
           "Calls that ended without an answer since the connection was refused, lost or full"})),
      timeouts(entity->counter(
          {"network_call_timeouts", "Requests", "Calls that ended without an answer in time"})),
      errors(entity->counter(
          {"network_call_errors", "Requests", "Calls that were answered with an error"})),
      dials(entity->counter({"network_dials", "Dials", "Connections to other nodes begun"})) {}

std::unique_ptr<Network> make_channels(io::RealRuntime& runtime, int index,
                                       const ChannelOptions& options) {
  return std::make_unique<Channels>(runtime, index, options);
}

}  // namespace markab::rpc
