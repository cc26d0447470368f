#include "security/tickets.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <atomic>

#include "base/log.h"
#include "rpc/process_metrics.h"

namespace markab::security {

namespace {

constexpr double kRenewAtShare = 0.8;
constexpr double kJitterShare = 0.1;
constexpr Duration kReserve = std::chrono::seconds(30);
constexpr Duration kLeastDelay = std::chrono::seconds(1);
constexpr Duration kFirstRetry = std::chrono::seconds(1);
constexpr double kRetryJitter = 0.2;

std::string clock_text(int64_t seconds) {
  return fmt::format("{:%Y-%m-%d %H:%M:%S} UTC", fmt::gmtime(static_cast<std::time_t>(seconds)));
}

Duration scaled(Duration d, double share) {
  return Duration(static_cast<int64_t>(static_cast<double>(d.count()) * share));
}

}  // namespace

Duration until_renewal(int64_t now_us, int64_t issued_s, int64_t expires_s, double random) {
  Duration life = std::chrono::seconds(std::max<int64_t>(expires_s - issued_s, 0));
  Duration offset = scaled(life, kRenewAtShare - kJitterShare * random);
  // Where the reserve is a small part of the life; short ones renew by their share.
  if (life > 4 * kReserve) offset = std::min(offset, life - kReserve);
  Duration since_issue =
      std::chrono::seconds(issued_s) - std::chrono::microseconds(now_us) + offset;
  return std::max(since_issue, kLeastDelay);
}

Duration until_retry(int failures, Duration longest, double random) {
  Duration pause = kFirstRetry;
  for (int i = 1; i < failures && pause < longest; ++i) pause *= 2;
  return scaled(std::min(pause, longest), 1.0 - kRetryJitter * random);
}

TicketMetrics::TicketMetrics(MetricRegistry& registry)
    : entity(rpc::process_metrics(registry)),
      logins(entity->counter(
          {"security_logins", "Logins", "Tickets obtained from the KDC with the keytab"})),
      failures(entity->counter(
          {"security_login_failures", "Logins", "Attempts at a ticket that failed"})),
      expires_at_s(
          entity->gauge({"security_ticket_expires_at", "Seconds",
                         "When the ticket ends, in seconds since 1970; 0: there is none"})),
      next_attempt_at_s(entity->gauge({"security_next_login_at", "Seconds",
                                       "When the next login is due, in seconds since 1970"})) {}

struct TicketKeeper::State {
  std::mutex mutex;
  std::condition_variable changed;
  std::shared_ptr<const Ticket> ticket;
  Failure failure{Reason::kNoCredentials, "the first login has not ended"};
  bool first_ended = false;
  bool suspected = false;
  std::atomic<bool> alive{true};
};

TicketKeeper::TicketKeeper(TicketOptions options, io::Shard& shard,
                           std::shared_ptr<io::BlockingPool> pool,
                           std::shared_ptr<TicketMetrics> metrics, Login login)
    : options_(std::move(options)),
      shard_(shard),
      pool_(std::move(pool)),
      metrics_(std::move(metrics)),
      login_(std::move(login)),
      random_(static_cast<uint64_t>(shard.now().ns)),
      state_(std::make_shared<State>()) {}

TicketKeeper::~TicketKeeper() { stop(); }

void TicketKeeper::stop() {
  std::lock_guard lock(state_->mutex);
  state_->alive = false;
  state_->first_ended = true;
  state_->changed.notify_all();
}

void TicketKeeper::start() {
  shard_.post([this, state = state_] {
    if (state->alive) attempt();
  });
}

std::shared_ptr<const Ticket> TicketKeeper::current(Failure& why_not) {
  std::unique_lock lock(state_->mutex);
  state_->changed.wait_for(lock, kFirstLoginWait, [&] { return state_->first_ended; });
  int64_t now_s = shard_.wall_us() / 1000000;
  if (state_->ticket != nullptr && state_->ticket->expires_s > now_s) return state_->ticket;
  why_not = state_->failure;
  if (state_->ticket != nullptr) {
    why_not.detail = fmt::format("the ticket ended at {} and could not be renewed: {}",
                                 clock_text(state_->ticket->expires_s), why_not.detail);
  }
  return nullptr;
}

void TicketKeeper::suspect() {
  {
    std::lock_guard lock(state_->mutex);
    if (state_->suspected) return;
    state_->suspected = true;
  }
  shard_.post([this, state = state_] {
    if (!state->alive) return;
    {
      std::lock_guard lock(state->mutex);
      state->suspected = false;
    }
    if (under_way_ || failures_ != 0 || shard_.now() - last_login_ < options_.suspect_interval)
      return;
    attempt();
  });
}

void TicketKeeper::attempt() {
  timer_.cancel();
  if (under_way_) return;
  under_way_ = true;
  auto ticket = std::make_shared<std::shared_ptr<const Ticket>>();
  auto failure = std::make_shared<Failure>();
  pool_->run(
      shard_,
      [login = login_, request = options_.login, more = options_.more_services, ticket,
       failure]() mutable {
        if (more) {
          for (auto& service : more()) request.services.push_back(std::move(service));
        }
        *ticket = login(request, *failure);
      },
      [this, state = state_, ticket, failure] {
        if (state->alive) on_outcome(std::move(*ticket), *failure);
      });
}

void TicketKeeper::on_outcome(std::shared_ptr<const Ticket> ticket, const Failure& failure) {
  under_way_ = false;
  double random = static_cast<double>(random_.below(1 << 20)) / (1 << 20);
  bool good = ticket != nullptr;
  Duration delay;
  if (good) {
    failures_ = 0;
    last_login_ = shard_.now();
    delay = until_renewal(shard_.wall_us(), ticket->issued_s, ticket->expires_s, random);
    MARKAB_INFO("kerberos: logged in as {} until {}; the next login is due in {} s",
                ticket->principal, clock_text(ticket->expires_s),
                std::chrono::duration_cast<std::chrono::seconds>(delay).count());
    for (const auto& [service, why] : ticket->missing)
      MARKAB_WARN("kerberos: no ticket for {}: {}", service, why.to_string());
  } else {
    ++failures_;
    delay = until_retry(failures_, options_.longest_retry, random);
    MARKAB_WARN("kerberos: the login failed {} times in a row, the next try is due in {} ms: {}",
                failures_, delay.count() / 1000000, failure.to_string());
  }
  if (metrics_ != nullptr) {
    (good ? metrics_->logins : metrics_->failures).add();
    if (good) metrics_->expires_at_s.set(ticket->expires_s);
    metrics_->next_attempt_at_s.set(
        shard_.wall_us() / 1000000 +
        std::chrono::duration_cast<std::chrono::seconds>(delay).count());
  }
  {
    std::lock_guard lock(state_->mutex);
    // The old ticket's cache goes with the last connection that uses it.
    if (good) state_->ticket = std::move(ticket);
    if (!good) state_->failure = failure;
    state_->first_ended = true;
    state_->changed.notify_all();
  }
  schedule(delay);
}

void TicketKeeper::schedule(Duration delay) {
  timer_ = shard_.after(delay, [this] { attempt(); });
}

}  // namespace markab::security
