#pragma once
// Keeps this process logged in (spec 05 §5): from the keytab, renewed well before the end with
// jitter, tried again with growing pauses while the KDC is away, from the newest content of the
// keytab each time. A ticket lives in a memory cache of its own that is replaced as a whole, so
// that a connection that began with the old one ends with it.
//
// The keeper's timers run on one shard; the exchange with the KDC, which may block for half a
// minute, on a thread of its own. current() is for any thread.

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "base/metrics.h"
#include "base/random.h"
#include "io/shard.h"
#include "security/kerberos.h"

namespace markab::security {

// Where dialling connections get their ticket.
class TicketSource {
 public:
  virtual ~TicketSource() = default;
  // A ticket that has not expired; nullptr with the cause. Waits for the first login to end, at
  // most kFirstLoginWait, so not for a shard's thread.
  virtual std::shared_ptr<const Ticket> current(Failure& why_not) = 0;
  // A peer did not take the ticket: it may have a new key. Asks for a new one, now and then.
  virtual void suspect() = 0;
};
inline constexpr Duration kFirstLoginWait = std::chrono::seconds(30);

// When to log in again. Pure; `random` is in [0, 1).
// At 80 % of the life, up to a tenth of it earlier, and half a minute before the end where the
// life allows for that (05 §5.1); not within a second from now.
Duration until_renewal(int64_t now_us, int64_t issued_s, int64_t expires_s, double random);
// Before attempt number `failures` + 1: 1 s, doubling up to `longest`, up to a fifth shorter.
Duration until_retry(int failures, Duration longest, double random);

struct TicketOptions {
  LoginRequest login;
  // More services whose tickets are fetched along; asked at each login, on the login's thread,
  // since finding their names may take a look-up. May be empty.
  std::function<std::vector<std::string>()> more_services;
  Duration longest_retry = std::chrono::seconds(30);
  // A suspected ticket is replaced no sooner after the last login.
  Duration suspect_interval = std::chrono::seconds(5);
};

struct TicketMetrics {
  explicit TicketMetrics(MetricRegistry& registry);
  const std::shared_ptr<MetricEntity> entity;
  Counter& logins;
  Counter& failures;
  Gauge& expires_at_s;       // seconds since 1970; 0: no ticket
  Gauge& next_attempt_at_s;  // seconds since 1970
};

class TicketKeeper final : public TicketSource {
 public:
  using Login = std::function<std::shared_ptr<const Ticket>(const LoginRequest&, Failure&)>;

  // `shard` must outlive the keeper; `pool` has a thread for it. `metrics` may be null.
  TicketKeeper(TicketOptions options, io::Shard& shard, std::shared_ptr<io::BlockingPool> pool,
               std::shared_ptr<TicketMetrics> metrics, Login login = &security::login);
  // Ends nothing that is under way, but lets go of its outcome. On the shard, or after its end.
  ~TicketKeeper() override;

  // Begins; any thread.
  void start();
  std::shared_ptr<const Ticket> current(Failure& why_not) override;
  void suspect() override;
  // Tells those who wait in current() that no login will come: at shutdown. Any thread.
  void stop();

 private:
  struct State;  // shared with what runs on the pool
  void attempt();
  void on_outcome(std::shared_ptr<const Ticket> ticket, const Failure& failure);
  void schedule(Duration delay);

  const TicketOptions options_;
  io::Shard& shard_;
  const std::shared_ptr<io::BlockingPool> pool_;
  const std::shared_ptr<TicketMetrics> metrics_;
  const Login login_;
  Random random_;
  io::TimerHandle timer_;
  bool under_way_ = false;
  int failures_ = 0;
  Instant last_login_;
  std::shared_ptr<State> state_;
};

}  // namespace markab::security
