#include "security/gate_session.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "idl/security_types.h"
#include "rpc/codec.h"

namespace markab::security {

namespace {

constexpr uint32_t kLoopbackNet = 127;

template <typename... F>
struct Cases : F... {
  using F::operator()...;
};
template <typename... F>
Cases(F...) -> Cases<F...>;

rpc::HttpResponse page_refusal(int status, const char* reason) {
  rpc::HttpResponse out;
  out.status = status;
  out.content_type = "application/json";
  out.body = fmt::format(R"({{"error":"ERR_UNAUTHENTICATED","reason":"{}"}})", reason);
  return out;
}

}  // namespace

GateSession::GateSession(Gate& gate, rpc::GuardedSession& session, io::Shard& shard, HostPort peer,
                         bool is_trusted)
    : gate_(gate),
      session_(session),
      shard_(shard),
      peer_(peer),
      core_(gate.mechanisms_.names()),
      is_stranger_(!is_trusted),
      began_(shard.now()) {
  if (is_stranger_ && gate_.mandatory()) watch_deadline();
}

GateSession::~GateSession() { closed(); }

void GateSession::closed() {
  *alive_ = false;
  ended_ = true;
  deadline_.cancel();
  grace_.cancel();
  parked_.clear();
  has_pending_ = false;
  pending_ = {};
  let_go(parked_bytes_);
  parked_bytes_ = 0;
  let_go(std::exchange(gathering_, 0));
  no_longer_stranger();
}

void GateSession::no_longer_stranger() {
  if (std::exchange(is_stranger_, false)) gate_.leave(peer_);
}

void GateSession::let_go(size_t bytes) {
  if (bytes != 0) gate_.release(bytes);
}

bool GateSession::may_gather(size_t frame_bytes) {
  if (!gate_.mandatory()) return true;
  let_go(std::exchange(gathering_, 0));
  if (frame_bytes <= kFreeFrame) return true;
  if (frame_bytes > kMaxStrangersFrame || !gate_.reserve(frame_bytes)) return false;
  gathering_ = frame_bytes;
  return true;
}

// 05 §8.6: with mandatory authentication pages are for this machine only, and what changes
// something is for those who are trusted to.
std::optional<rpc::HttpResponse> GateSession::check(const rpc::HttpRequest& request) {
  if (!gate_.mandatory()) return std::nullopt;
  const std::string* trusted = gate_.options_.trusted.find(peer_.ipv4);
  if (trusted == nullptr && peer_.ipv4 >> 24 != kLoopbackNet) {
    return page_refusal(401,
                        "pages are shown to this machine and to trusted_networks only, since "
                        "mandatory_auth is on");
  }
  is_page_reader_ = true;
  no_longer_stranger();  // nothing waits for a name here
  const auto& changing = gate_.options_.changing_paths;
  if (std::find(changing.begin(), changing.end(), request.path) == changing.end())
    return std::nullopt;
  const auto& super = gate_.options_.super_users;
  if (trusted != nullptr && std::find(super.begin(), super.end(), *trusted) != super.end())
    return std::nullopt;
  return page_refusal(403, "this page changes something: only super users of trusted_networks may");
}

// ---- Requests before success

void GateSession::take(rpc::Request request) {
  let_go(std::exchange(gathering_, 0));
  if (request.header.code == rpc::TaskCode::kNegotiation) {
    negotiate(std::move(request));
  } else if (ended_) {
    refuse(std::move(request));
  } else if (!gate_.mandatory()) {
    session_.serve(std::move(request));
  } else {
    park(std::move(request));
  }
}

void GateSession::park(rpc::Request request) {
  bool is_full =
      parked_.size() >= kMaxParkedMessages || parked_bytes_ + request.size() > kMaxParkedBytes;
  if (grace_over_ || is_full || !gate_.reserve(request.size())) {
    refuse(std::move(request));
    return;
  }
  parked_bytes_ += request.size();
  request.own_bytes();
  parked_.push_back(std::move(request));
  if (core_.begun() || grace_) return;
  grace_ = shard_.after(gate_.options_.premature_grace, [this] {
    grace_.cancel();
    if (core_.begun()) return;
    grace_over_ = true;
    refuse_parked();
  });
}

void GateSession::refuse(rpc::Request request) {
  gate_.metrics_.refused.add();
  gate_.log_refusal(shard_.now(), peer_, request.name);
  session_.refuse(std::move(request), Errc::kUnauthenticated);
}

void GateSession::refuse_parked() {
  auto parked = std::exchange(parked_, {});
  let_go(std::exchange(parked_bytes_, 0));
  for (auto& request : parked) refuse(std::move(request));
}

// In the order of arrival; those that are too late are refused, never executed late.
void GateSession::serve_parked() {
  auto parked = std::exchange(parked_, {});
  let_go(std::exchange(parked_bytes_, 0));
  Instant now = shard_.now();
  for (auto& request : parked) {
    Duration limit = std::chrono::milliseconds(request.header.timeout_ms);
    if (limit > Duration::zero() && now - request.arrived > limit) {
      session_.refuse(std::move(request), Errc::kTimeout);
    } else {
      session_.serve(std::move(request));
    }
  }
}

// ---- Negotiation

void GateSession::negotiate(rpc::Request request) {
  if (core_.state() == ServerNegotiation::State::kFailed) return;  // ending already
  if (!core_.begun()) {
    began_ = request.arrived;
    grace_.cancel();
    if (!deadline_ && is_stranger_) watch_deadline();
  }
  bool is_early = has_pending_;
  if (is_early) {  // the answer to the one before is still due: both get the refusal
    rpc::Request before = std::move(pending_);
    has_pending_ = false;
    wire::negotiation_response refusal;
    refusal.status = wire::negotiation_status::SASL_AUTH_FAIL;
    before.reply(rpc::encode_result(refusal));
  }
  wire::negotiation_request message;
  auto decoded = rpc::decode_args(request.args, message);
  pending_ = std::move(request);
  has_pending_ = true;
  if (core_.state() == ServerNegotiation::State::kDone) {
    // 05 §2.3: also a second negotiation fails.
    act(core_.on_message(static_cast<NegotiationStatus>(message.status), message.msg.view));
  } else if (!decoded.ok()) {
    act(core_.give_up({Reason::kProtocolOrder, "the message does not decode"}));
  } else {
    act(core_.on_message(static_cast<NegotiationStatus>(message.status), message.msg.view));
  }
}

void GateSession::act(negotiation::Action action) {
  std::visit(Cases{[&](negotiation::Send& send) { answer(send.status, send.msg); },
                   [&](negotiation::Select& select) {
                     Failure failure;
                     mechanism_ = gate_.mechanisms_.new_server(select.mechanism, peer_, failure);
                     act(core_.on_selected(mechanism_ == nullptr ? &failure : nullptr));
                   },
                   [&](negotiation::Start& start) { run_step(true, std::move(start.token)); },
                   [&](negotiation::Step& step) { run_step(false, std::move(step.token)); },
                   [&](negotiation::Succeed&) { succeed(); },
                   [&](negotiation::GoWithout&) {
                     MARKAB_ASSERT(false, "a server goes without authentication", peer_);
                   },
                   [&](negotiation::Fail& failed) { fail(failed.failure); }},
             action);
}

void GateSession::run_step(bool first, std::string token) {
  auto result = std::make_shared<StepResult>();
  gate_.pool_.run(
      shard_,
      [mechanism = mechanism_, result, first, token = std::move(token)] {
        *result = first ? mechanism->start(token) : mechanism->step(token);
      },
      [this, alive = alive_, result] {
        if (!*alive || core_.state() != ServerNegotiation::State::kStepping) return;
        if (result->outcome == StepResult::Outcome::kDone) identity_ = result->identity;
        act(core_.on_step(std::move(*result)));
      });
}

void GateSession::answer(NegotiationStatus status, std::string_view msg) {
  MARKAB_ASSERT(has_pending_, "an answer to no message", status_name(status));
  wire::negotiation_response response;
  response.status = static_cast<wire::negotiation_status::type>(status);
  response.msg = msg;
  has_pending_ = false;
  rpc::Request request = std::move(pending_);
  request.reply(rpc::encode_result(response));
}

void GateSession::succeed() {
  deadline_.cancel();
  grace_.cancel();
  mechanism_ = nullptr;  // nothing of it is needed any more (SSF 0)
  gate_.metrics_.succeeded.add();
  gate_.metrics_.duration_us.record((shard_.now() - began_).count() / 1000);
  MARKAB_DEBUG("{}: authenticated as {} ({})", peer_, identity_.user, identity_.principal);
  no_longer_stranger();
  session_.admit(identity_.user);
  answer(NegotiationStatus::kSucc, {});
  serve_parked();
}

void GateSession::fail(const Failure& failure) {
  ended_ = true;
  deadline_.cancel();
  grace_.cancel();
  mechanism_ = nullptr;
  gate_.metrics_.failed.add();
  gate_.metrics_.by_reason[static_cast<size_t>(failure.reason)]->add();
  gate_.log_failure(shard_.now(), peer_, "GSSAPI", failure);
  refuse_parked();
  if (has_pending_) answer(NegotiationStatus::kAuthFail, to_peer_text(failure));
  session_.end();
}

void GateSession::watch_deadline() {
  Duration left = gate_.options_.deadline - (shard_.now() - began_);
  deadline_ = shard_.after(std::max(left, Duration(0)), [this] { on_deadline(); });
}

void GateSession::on_deadline() {
  deadline_.cancel();
  if (core_.ended() || is_page_reader_) return;
  auto text = fmt::format("not authenticated within {} ms; it got as far as {}",
                          gate_.options_.deadline.count() / 1000000, state_name(core_.state()));
  act(core_.give_up({Reason::kTimeout, std::move(text)}));
}

}  // namespace markab::security
