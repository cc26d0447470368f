#include "security/client_negotiation.h"

#include <fmt/format.h>

#include "base/log.h"
#include "idl/security_types.h"
#include "rpc/codec.h"
#include "rpc/process_metrics.h"
#include "security/negotiation_core.h"
#include "security/refusal_log.h"

namespace markab::security {

namespace {

template <typename... F>
struct Cases : F... {
  using F::operator()...;
};
template <typename... F>
Cases(F...) -> Cases<F...>;

// What all connections of the process share.
struct Dialling {
  DialOptions options;
  std::shared_ptr<Mechanisms> mechanisms;
  std::shared_ptr<io::BlockingPool> pool;
  std::shared_ptr<TicketSource> tickets;
  std::shared_ptr<DialMetrics> metrics;
  RefusalLog log;
};

class ClientSession final : public rpc::Negotiator {
 public:
  ClientSession(std::shared_ptr<Dialling> all, io::Shard& shard, HostPort peer,
                rpc::NegotiatorCalls calls)
      : all_(std::move(all)),
        shard_(shard),
        peer_(peer),
        calls_(std::move(calls)),
        core_(all_->mechanisms->names(), all_->options.must_authenticate) {}
  ~ClientSession() override { *alive_ = false; }

  void begin() override { act(core_.begin()); }
  void on_answer(Errc error, std::string_view result) override;
  std::string describe() const override;

 private:
  void act(negotiation::Action action);
  void send(const negotiation::Send& message);
  void select(const std::string& name);
  void run_step(bool first, std::string token);
  void fail(const Failure& failure);

  const std::shared_ptr<Dialling> all_;
  io::Shard& shard_;
  const HostPort peer_;
  rpc::NegotiatorCalls calls_;
  ClientNegotiation core_;
  std::shared_ptr<Mechanism> mechanism_;
  bool peer_answers_next_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

void ClientSession::on_answer(Errc error, std::string_view result) {
  if (core_.ended() || !peer_answers_next_) return;
  peer_answers_next_ = false;
  if (error == Errc::kHandlerNotFound) return act(core_.on_no_handler());
  if (error != Errc::kOk) {
    return act(core_.give_up(
        {Reason::kMechanismRefused, fmt::format("the peer answered with {}", errc_name(error))}));
  }
  wire::negotiation_response response;
  if (!rpc::decode_result(result, response).ok())
    return act(core_.give_up({Reason::kProtocolOrder, "the peer's answer does not decode"}));
  act(core_.on_answer(static_cast<NegotiationStatus>(response.status), response.msg.view));
}

void ClientSession::act(negotiation::Action action) {
  std::visit(Cases{[&](negotiation::Send& message) { send(message); },
                   [&](negotiation::Select&) {
                     MARKAB_ASSERT(false, "a client is asked to select", peer_);
                   },
                   [&](negotiation::Start& start) { run_step(true, std::move(start.token)); },
                   [&](negotiation::Step& step) { run_step(false, std::move(step.token)); },
                   [&](negotiation::Succeed&) {
                     if (all_->metrics != nullptr) all_->metrics->succeeded.add();
                     calls_.done(Status::Ok());
                   },
                   [&](negotiation::GoWithout& without) {
                     if (all_->metrics != nullptr) all_->metrics->without.add();
                     MARKAB_DEBUG("{}: {}", peer_, without.why);
                     calls_.done(Status::Ok());
                   },
                   [&](negotiation::Fail& failed) { fail(failed.failure); }},
             action);
}

void ClientSession::send(const negotiation::Send& message) {
  if (message.status == NegotiationStatus::kSelectMechanisms) {
    Failure failure;
    mechanism_ = all_->mechanisms->new_client(message.msg, peer_, failure);
    if (mechanism_ == nullptr) return act(core_.give_up(std::move(failure)));
  }
  wire::negotiation_request request;
  request.status = static_cast<wire::negotiation_status::type>(message.status);
  request.msg = std::string_view(message.msg);
  peer_answers_next_ = true;
  std::string args = rpc::encode_args(request);
  calls_.send(args);
}

void ClientSession::run_step(bool first, std::string token) {
  auto result = std::make_shared<StepResult>();
  all_->pool->run(
      shard_,
      [mechanism = mechanism_, result, first, token = std::move(token)] {
        *result = first ? mechanism->start(token) : mechanism->step(token);
      },
      [this, alive = alive_, result] {
        if (*alive && !core_.ended()) act(core_.on_step(std::move(*result)));
      });
}

void ClientSession::fail(const Failure& failure) {
  if (all_->metrics != nullptr) all_->metrics->failed.add();
  // The service may have a new key, and our ticket for it may be older than that.
  if (all_->tickets != nullptr &&
      (failure.reason == Reason::kStaleKey || failure.reason == Reason::kTicketExpired))
    all_->tickets->suspect();
  const DialOptions& options = all_->options;
  auto text =
      fmt::format("authenticating to {} ({}) as {} failed: {}", peer_, options.service,
                  options.identity.empty() ? "the user of the ticket cache" : options.identity,
                  failure.to_string());
  int64_t left_out = 0;
  if (all_->log.admit(shard_.now(), peer_.ipv4, static_cast<int>(failure.reason), left_out)) {
    MARKAB_WARN("{}{}", text, left_out == 0 ? "" : fmt::format(" ({} more like this)", left_out));
  }
  calls_.done(Status(Errc::kUnauthenticated, std::move(text)));
}

std::string ClientSession::describe() const {
  if (core_.state() == ClientNegotiation::State::kStepping) {
    Failure why;
    return fmt::format(
        "this side waits for its own Kerberos library: the KDC is slow or out of reach");
  }
  return fmt::format("{} has not answered the negotiation ({})", peer_, state_name(core_.state()));
}

class SaslNegotiators final : public rpc::Negotiators {
 public:
  explicit SaslNegotiators(std::shared_ptr<Dialling> all) : all_(std::move(all)) {}
  std::unique_ptr<rpc::Negotiator> make(io::Shard& shard, HostPort peer,
                                        rpc::NegotiatorCalls calls) override {
    return std::make_unique<ClientSession>(all_, shard, peer, std::move(calls));
  }
  Duration deadline() const override { return all_->options.deadline; }

 private:
  const std::shared_ptr<Dialling> all_;
};

}  // namespace

DialMetrics::DialMetrics(MetricRegistry& registry)
    : entity(rpc::process_metrics(registry)),
      succeeded(entity->counter({"security_dials_authenticated", "Sessions",
                                 "Connections to others on which this node proved who it is"})),
      without(entity->counter({"security_dials_without", "Sessions",
                               "Connections to others that asked for no authentication"})),
      failed(entity->counter({"security_dials_failed", "Sessions",
                              "Connections to others whose negotiation failed"})) {}

std::shared_ptr<rpc::Negotiators> make_negotiators(DialOptions options,
                                                   std::shared_ptr<Mechanisms> mechanisms,
                                                   std::shared_ptr<io::BlockingPool> pool,
                                                   std::shared_ptr<TicketSource> tickets,
                                                   std::shared_ptr<DialMetrics> metrics) {
  auto all = std::make_shared<Dialling>();
  all->options = std::move(options);
  all->mechanisms = std::move(mechanisms);
  all->pool = std::move(pool);
  all->tickets = std::move(tickets);
  all->metrics = std::move(metrics);
  return std::make_shared<SaslNegotiators>(std::move(all));
}

}  // namespace markab::security
