#include "rpc/connection.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/log.h"

namespace markab::rpc {

Connection::Connection(std::shared_ptr<ServerShard> home, int fd, HostPort peer)
    : home_(std::move(home)), fd_(fd), peer_(peer) {}

Connection::~Connection() {
  MARKAB_ASSERT(!opened_ || state_ == State::kClosed,
                "a connection ends without having been closed", peer_);
  if (!opened_) ::close(fd_);
}

bool Connection::open() {
  interest_ = EPOLLIN;
  if (!home_->poller->add(fd_, interest_, this)) return false;
  opened_ = true;
  home_->stats.sessions.add(1);
  if (SessionGuards* guards = home_->common->options.guards; guards != nullptr) {
    guard_ = guards->watch(*this, home_->shard, peer_);
    if (guard_ == nullptr) end();
  }
  return true;
}

void Connection::close() {
  if (state_ == State::kClosed) return;
  state_ = State::kClosed;
  home_->poller->remove(fd_, this);
  ::close(fd_);
  stuck_timer_.cancel();
  linger_timer_.cancel();
  if (guard_ != nullptr) guard_->closed();
  partial_.clear();
  output_.clear();
  home_->stats.sessions.add(-1);
  home_->common->hosts.leave(peer_.ipv4);
  home_->forget(this);
}

bool Connection::is_idle() const {
  if (outstanding_.load() != 0 || !output_.empty()) return false;
  std::lock_guard lock(mail_mutex_);
  return !mail_posted_;
}

void Connection::drain() {
  if (state_ == State::kClosed) return;
  wake_.store(true);
  update_interest();
}

// ---- Input

void Connection::on_ready(uint32_t events) {
  auto self = shared_from_this();
  if (events & EPOLLOUT) {
    output_blocked_ = false;
    flush();
  }
  if (state_ == State::kClosed) return;
  if (interest_ & EPOLLIN) {
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) read_some();
  } else if (events & (EPOLLHUP | EPOLLERR)) {
    close();
  }
}

void Connection::read_some() {
  in_read_ = true;
  now_ = home_->shard.now();
  for (int i = 0; i < kReads && state_ != State::kClosed && !read_paused_; ++i) {
    if (http_ && http_->busy()) break;  // its answer comes first
    bool more = partial_.is_large() || input_held_ ? read_into_partial() : read_into_arena();
    if (!more) break;
  }
  in_read_ = false;
  if (state_ == State::kClosed) return;
  flush();
}

// True when the socket may have more.
bool Connection::read_into_partial() {
  bool filled = true;
  if (!input_held_) {
    PartialFrame::Tail tail = partial_.tail();
    size_t n = receive(tail.data, tail.size);
    if (n == 0) return false;
    filled = n == tail.size;
    partial_.received(n);
    if (partial_.bytes().size() < partial_.needed()) return filled;
  }
  input_held_ = false;
  std::shared_ptr<ByteBlock> block = partial_.block();
  std::string_view in = partial_.bytes();
  size_t used = consume(in, block);
  if (state_ == State::kOpen) partial_.assign(in.substr(used), wanted_);
  return filled;
}

bool Connection::read_into_arena() {
  InputArena::Space loan = home_->arena.lend();
  std::string_view head = partial_.bytes();
  if (!head.empty()) std::memcpy(loan.data, head.data(), head.size());
  size_t room = loan.size - head.size();
  size_t n = receive(loan.data + head.size(), room);
  size_t total = n == 0 ? 0 : head.size() + n;
  if (n != 0 && state_ == State::kOpen) {
    std::string_view in(loan.data, total);
    size_t used = consume(in, loan.block);
    if (state_ == State::kOpen) partial_.assign(in.substr(used), wanted_);
  }
  home_->arena.give_back(std::move(loan), total);
  return n == room;
}

size_t Connection::receive(char* to, size_t size) {
  ssize_t n;
  do {
    n = ::recv(fd_, to, size, 0);
  } while (n < 0 && errno == EINTR);
  if (n > 0) {
    home_->stats.bytes_in.add(n);
    return static_cast<size_t>(n);
  }
  if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return 0;
  if (n == 0 && !is_idle()) {
    // The peer sends no more but may still read: answer what it asked.
    end_of_input_ = true;
    linger(home_->common->options.stuck_output_timeout);
  } else {
    close();
  }
  return 0;
}

size_t Connection::consume(std::string_view in, const std::shared_ptr<ByteBlock>& block) {
  if (family_ == Family::kUnknown) {
    wanted_ = kSignatureBytes;
    if (in.size() < kSignatureBytes) return 0;
    family_ = family_of(in);
    wants_host_port_ =
        home_->common->peer_rules.find(peer_.ipv4).value_or(family_ == Family::kRdsn);
  }
  switch (family_) {
    case Family::kThft:
    case Family::kRdsn:
      return consume_frames(in, block);
    case Family::kHttp:
      if (home_->common->options.http) {
        consume_http(in);
      } else {
        malformed("HTTP, which [http] enable_http_server = false turns off", in);
      }
      return in.size();
    case Family::kUnknown:
      malformed(begins_tls(in) ? "a TLS handshake, but this daemon speaks no TLS: make the client "
                                 "connect without it"
                               : "the first four bytes are of no protocol spoken here",
                in);
  }
  return in.size();
}

size_t Connection::consume_frames(std::string_view in, const std::shared_ptr<ByteBlock>& block) {
  const ServerCommon& common = *home_->common;
  size_t at = 0;
  RequestFrame frame;
  while (at < in.size() && state_ == State::kOpen) {
    if (must_pause()) {
      read_paused_ = input_held_ = true;
      wanted_ = in.size() - at;
      wake_.store(true);
      return at;
    }
    std::string_view rest = in.substr(at);
    Parsed parsed = family_ == Family::kThft
                        ? parse_thft(rest, common.options.max_frame_bytes, frame)
                        : parse_rdsn(rest, common.options.max_frame_bytes, frame);
    if (parsed.outcome == Parsed::Outcome::kNeedMore) {
      wanted_ = parsed.bytes;
      if (guard_ != nullptr && !admitted_ && !guard_->may_gather(wanted_)) {
        malformed("too long for a peer that is not authenticated", rest);
        return in.size();
      }
      return at;
    }
    if (parsed.outcome == Parsed::Outcome::kMalformed) {
      malformed(parsed.reason, rest);
      return in.size();
    }
    at += parsed.bytes;
    served_ = true;
    home_->stats.frames.add(1);
    outstanding_.fetch_add(1);
    Request request(frame.header, frame.name, frame.args, block, shared_from_this());
    request.arrived = now_;
    if (guard_ != nullptr && (!admitted_ || request.header.code == TaskCode::kNegotiation)) {
      guard_->take(std::move(request));
    } else {
      common.dispatcher->dispatch(std::move(request));
    }
  }
  return at;
}

// ---- Who the peer is

const std::string& Connection::nobody() {
  static const std::string kNobody;
  return kNobody;
}

void Connection::admit(std::string user) {
  MARKAB_ASSERT(named_ < 2, "a connection is named a third time", peer_);
  names_[named_] = std::move(user);
  user_.store(&names_[named_++], std::memory_order_release);
  admitted_ = true;
}

void Connection::serve(Request request) { home_->common->dispatcher->dispatch(std::move(request)); }

void Connection::refuse(Request request, Errc error) {
  home_->common->dispatcher->refuse(std::move(request), error);
}

void Connection::end() {
  linger(kLinger);
  // Also when nothing is to be sent.
  home_->shard.post([self = shared_from_this()] { self->settle(); });
}

void Connection::malformed(std::string_view reason, std::string_view in) {
  home_->stats.malformed.add(1);
  home_->common->malformed_log.report(now_, peer_, reason, in);
  if (served_) {
    linger(kLinger);
  } else {
    close();
  }
}

// ---- HTTP

void Connection::consume_http(std::string_view in) {
  if (!http_) http_ = std::make_unique<HttpSession>();
  auto next = HttpSession::Next::kMore;
  output_.append([&](std::string& out) { next = http_->feed(in, out); });
  http_step(next);
}

void Connection::http_step(HttpSession::Next next) {
  if (next == HttpSession::Next::kClose) {
    served_ = true;
    linger(home_->common->options.stuck_output_timeout);
    return;
  }
  if (next == HttpSession::Next::kMore) return;
  served_ = true;
  home_->stats.http_requests.add(1);
  outstanding_.fetch_add(1);
  auto request = http_->take_request();
  if (!request) {
    HttpResponse refusal;
    refusal.status = 400;
    refusal.body = "failed to parse request: " + request.error().message();
    http_answer(std::move(refusal));
    return;
  }
  // Brings the answer home; a handler that loses its callback is answered for.
  struct Answer {
    std::shared_ptr<Connection> connection;
    explicit Answer(std::shared_ptr<Connection> c) : connection(std::move(c)) {}
    Answer(Answer&&) = default;
    Answer& operator=(Answer&&) = default;
    ~Answer() {
      if (!connection) return;
      HttpResponse lost;
      lost.status = 500;
      lost.body = "the request was dropped";
      deliver(std::move(lost));
    }
    void deliver(HttpResponse response) {
      auto& shard = connection->home_->shard;
      shard.post([c = std::move(connection), response = std::move(response)]() mutable {
        c->http_answer(std::move(response));
        c->flush();
      });
      connection = nullptr;
    }
  };
  if (guard_ != nullptr) {
    if (auto refusal = guard_->check(*request)) {
      http_answer(std::move(*refusal));
      return;
    }
  }
  home_->common->http->route(
      std::move(*request),
      [answer = std::make_shared<Answer>(shared_from_this())](HttpResponse response) {
        if (answer->connection) answer->deliver(std::move(response));
      });
}

void Connection::http_answer(HttpResponse response) {
  outstanding_.fetch_sub(1);
  if (state_ == State::kClosed) return;
  auto next = HttpSession::Next::kMore;
  output_.append([&](std::string& out) {
    next = http_->answered(response, out);
    if (next == HttpSession::Next::kMore && state_ == State::kOpen) next = http_->feed({}, out);
  });
  http_step(next);
}

// ---- Answers

void Connection::reply(const RequestHeader& header, std::string_view name, Errc error,
                       std::string_view result) {
  // 01 §5.2 rule 5: Go and Python break at any answer to this one.
  bool silent = header.code == TaskCode::kClearScanner && header.kind != HeaderKind::kRdsn;
  auto frame = [&](std::string& out) {
    append_reply(out, header, name, error, result, home_->common->self);
  };
  if (!silent && home_->shard.in_thread()) {
    if (state_ != State::kClosed) {
      output_.append(frame);
      if (!in_read_) schedule_flush();
    }
  } else if (!silent) {
    std::string large;  // framed outside of the lock, and never copied
    if (result.size() >= OutputQueue::kBlockBytes) frame(large);
    bool post = false;
    {
      std::lock_guard lock(mail_mutex_);
      large.empty() ? mail_.append(frame) : mail_.adopt(std::move(large));
      post = !std::exchange(mail_posted_, true);
    }
    if (post) home_->shard.post([self = shared_from_this()] { self->take_mail(); });
  }
  request_done();
}

void Connection::dropped() { request_done(); }

void Connection::request_done() {
  uint32_t left = outstanding_.fetch_sub(1) - 1;
  if (wake_.load() && (left == 0 || left == kMaxOutstanding / 2)) {
    home_->shard.post([self = shared_from_this()] { self->settle(); });
  }
}

void Connection::take_mail() {
  {
    std::lock_guard lock(mail_mutex_);
    mail_posted_ = false;
    output_.take(mail_);
  }
  if (state_ == State::kClosed) {
    output_.clear();
    return;
  }
  schedule_flush();
}

void Connection::schedule_flush() {
  if (is_dirty_) return;
  is_dirty_ = true;
  home_->need_flush(shared_from_this());
}

void Connection::flush() {
  is_dirty_ = false;
  if (state_ == State::kClosed) return;
  bool progress = false;
  size_t allowed = kBytesPerTurn;
  while (!output_.empty() && !output_blocked_ && allowed > 0) {
    std::string_view bytes = output_.front().substr(0, allowed);
    ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n >= 0) {
      output_.sent(static_cast<size_t>(n));
      allowed -= static_cast<size_t>(n);
      home_->stats.bytes_out.add(n);
      progress = true;
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      output_blocked_ = true;
    } else if (errno != EINTR) {
      close();
      return;
    }
  }
  if (output_.empty()) {
    stuck_timer_.cancel();
  } else {
    if (progress || !stuck_timer_) progress_ = home_->shard.now();
    watch_for_stuck_output();
    if (!output_blocked_ && !std::exchange(flush_posted_, true)) {
      home_->shard.post([self = shared_from_this()] {
        self->flush_posted_ = false;
        self->flush();
      });
    }
  }
  if (wake_.load(std::memory_order_relaxed)) settle();
  if (state_ != State::kClosed) update_interest();
}

void Connection::watch_for_stuck_output() {
  if (stuck_timer_) return;
  Duration limit = home_->common->options.stuck_output_timeout;
  Duration left = limit - (home_->shard.now() - progress_);
  if (left > Duration::zero()) {
    stuck_timer_ = home_->shard.after(left, [this] {
      stuck_timer_.cancel();
      watch_for_stuck_output();
    });
    return;
  }
  MARKAB_WARN(
      "{}: answers could not be sent for {} s; the client does not read, so its connection is "
      "closed",
      peer_, std::chrono::duration_cast<std::chrono::seconds>(limit).count());
  auto self = shared_from_this();
  close();
}

bool Connection::must_pause() const {
  return outstanding_.load(std::memory_order_relaxed) >= kMaxOutstanding ||
         output_.size() > home_->common->options.max_output_bytes;
}

void Connection::linger(Duration at_most) {
  if (state_ != State::kOpen) return;
  state_ = State::kLingering;
  partial_.clear();
  read_paused_ = input_held_ = false;
  wake_.store(true);
  linger_timer_ = home_->shard.after(at_most, [self = shared_from_this()] { self->close(); });
}

void Connection::settle() {
  if (state_ == State::kClosed) return;
  auto self = shared_from_this();
  if (state_ == State::kLingering && is_idle()) {
    if (end_of_input_) {
      close();
    } else if (!shut_) {
      shut_ = true;
      ::shutdown(fd_, SHUT_WR);
    }
  }
  if (state_ == State::kOpen && read_paused_ && !in_read_) {
    bool relieved = outstanding_.load() <= kMaxOutstanding / 2 &&
                    output_.size() <= home_->common->options.max_output_bytes / 2;
    if (relieved) {
      read_paused_ = false;
      if (!home_->draining()) wake_.store(false);
      // From the loop, not from inside a flush: what was held may fill the output again.
      home_->shard.post([self] {
        if (self->state_ == State::kOpen) self->read_some();
      });
    }
  }
  if (is_idle()) home_->became_idle();
}

void Connection::update_interest() {
  bool reads = state_ == State::kOpen
                   ? !read_paused_ && !home_->draining() && !(http_ && http_->busy())
                   : state_ == State::kLingering && !end_of_input_;
  uint32_t wanted = (reads ? uint32_t{EPOLLIN} : 0) | (output_blocked_ ? uint32_t{EPOLLOUT} : 0);
  if (wanted == interest_) return;
  interest_ = wanted;
  home_->poller->modify(fd_, wanted, this);
}

}  // namespace markab::rpc
