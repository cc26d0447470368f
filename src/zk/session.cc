#include "zk/session.h"

#include <algorithm>
#include <unordered_map>

#include "base/assert.h"
#include "base/log.h"
#include "zk/handle.h"

namespace markab::zk {

namespace {

constexpr Duration kLook = std::chrono::milliseconds(20);  // at a handle that is not connected
constexpr Duration kMaxLogin =
    std::chrono::seconds(30);  // a KDC that swallows takes 27 s (05 §2.7)
constexpr Duration kFirstReconnect = std::chrono::milliseconds(50);
constexpr Duration kLongestReconnect = std::chrono::seconds(1);
constexpr Duration kFirstRelogin = std::chrono::seconds(1);  // 05 §6.4: 1, 2, 4 ... 15 s
constexpr Duration kLongestRelogin = std::chrono::seconds(15);
constexpr Duration kLasting = std::chrono::seconds(1);
constexpr Duration kProgress = std::chrono::seconds(5);
constexpr Duration kSecondLook = std::chrono::milliseconds(500);
constexpr size_t kMaxPending = 100000;

// A request that waits for its answer.
struct Waiting {
  virtual ~Waiting() = default;
  virtual void fail(const Status& status) = 0;
};
template <typename T>
struct WaitingFor final : Waiting {
  explicit WaitingFor(Callback<T> f) : done(std::move(f)) {}
  void fail(const Status& status) override {
    if constexpr (std::is_same_v<T, Outcome>) {
      done(Outcome{status, SIZE_MAX});
    } else {
      done(status);
    }
  }
  Callback<T> done;
};

struct Metrics {
  explicit Metrics(const std::shared_ptr<MetricEntity>& given)
      : entity(given != nullptr ? given
                                : std::make_shared<MetricEntity>(
                                      "server", "zookeeper", std::map<std::string, std::string>{})),
        connected(entity->gauge({"zookeeper_connected", "", "1 while ZooKeeper is connected"})),
        sessions(entity->counter({"zookeeper_sessions", "Sessions", "Sessions begun"})),
        expirations(entity->counter(
            {"zookeeper_session_expirations", "Sessions", "Sessions that expired"})),
        losses(entity->counter(
            {"zookeeper_connection_losses", "Connections", "Connections that were lost"})),
        failed_logins(
            entity->counter({"zookeeper_failed_logins", "Logins", "Logins that were refused"})) {}
  std::shared_ptr<MetricEntity> entity;
  Gauge& connected;
  Counter& sessions;
  Counter& expirations;
  Counter& losses;
  Counter& failed_logins;
};

class Session final : public Client {
 public:
  Session(io::Shard& shard, io::BlockingPool& pool, Options options, SessionHooks hooks,
          const std::shared_ptr<MetricEntity>& entity)
      : shard_(shard),
        pool_(pool),
        options_(std::make_shared<const Options>(std::move(options))),
        hooks_(std::make_shared<const SessionHooks>(std::move(hooks))),
        metrics_(entity) {
    MARKAB_ASSERT(!options_->servers.empty(), "a ZooKeeper client without servers");
  }
  ~Session() override { *alive_ = false; }

  void start(Callback<Event> on_event) override {
    on_event_ = std::move(on_event);
    attempt();
  }
  void close(Task done) override;

  void get(const std::string& path, Callback<Result<Node>> done) override {
    if (auto f = accept(std::move(done))) handle_->get(path, std::move(f));
  }
  void children(const std::string& path, Task on_change,
                Callback<Result<std::vector<std::string>>> done) override {
    Task watch;
    if (on_change) {
      watch = [alive = alive_, f = std::move(on_change)] {
        if (*alive) f();
      };
    }
    if (auto f = accept(std::move(done))) handle_->children(path, std::move(watch), std::move(f));
  }
  void create(const std::string& path, const std::string& data, NodeKind kind,
              Callback<Result<std::string>> done) override {
    if (auto f = accept(std::move(done))) handle_->create(path, data, kind, std::move(f));
  }
  void multi(std::vector<Op> ops, Callback<Outcome> done) override {
    if (auto f = accept(std::move(done))) handle_->multi(std::move(ops), std::move(f));
  }
  void protect(const std::string& path, Callback<Result<bool>> done) override;

 private:
  // What an attempt to open a handle came to.
  struct Opening {
    std::unique_ptr<Handle> handle;
    std::string principal;
    std::string why;
    bool no_ticket = false;
  };

  void attempt();
  void opened(std::shared_ptr<Opening> opening);
  void look();
  void on_handle_event();
  void link_up();
  void link_down();
  void expire();
  void failed(std::string why, bool is_login);
  void report(const std::string& why);
  void abandon();
  static void discard(io::Shard& shard, io::BlockingPool& pool, std::shared_ptr<Handle> handle,
                      int looks_left);
  void fail_pending(const Status& status);
  const Server& server() const { return options_->servers[next_ % options_->servers.size()]; }
  std::string login_failure() const;
  // How long a server may take to take the connection before the next one is tried.
  Duration patience() const {
    Duration share = options_->session_timeout / (2 * options_->servers.size());
    return std::clamp<Duration>(share, std::chrono::milliseconds(300), std::chrono::seconds(3));
  }

  // The callback for the handle; empty when the request was refused (and answered).
  template <typename T>
  Callback<T> accept(Callback<T> done) {
    if (closing_) return {};
    if (!linked_ || waiting_.size() >= kMaxPending) {
      Status status(Errc::kTimeout, linked_ ? "too many requests wait for ZooKeeper"
                                            : "ZooKeeper is out of reach: " + last_error_);
      auto held = std::make_shared<WaitingFor<T>>(std::move(done));
      shard_.post([alive = alive_, held, status] {
        if (*alive) held->fail(status);
      });
      return {};
    }
    uint64_t id = ++last_id_;
    waiting_.emplace(id, std::make_unique<WaitingFor<T>>(std::move(done)));
    return [this, alive = alive_, id](T value) {
      if (!*alive) return;
      auto it = waiting_.find(id);
      if (it == waiting_.end()) return;  // given up when the connection broke
      auto held = std::move(it->second);
      waiting_.erase(it);
      note(value);
      static_cast<WaitingFor<T>*>(held.get())->done(std::move(value));
    };
  }

  template <typename T>
  void note(const T& value) {
    Status status;
    if constexpr (std::is_same_v<T, Outcome>) {
      status = value.status;
    } else if (!value) {
      status = value.error();
    }
    if (status.code() == Errc::kUnauthenticated) refusal_ = status.message();
  }

  io::Shard& shard_;
  io::BlockingPool& pool_;
  const std::shared_ptr<const Options> options_;
  const std::shared_ptr<const SessionHooks> hooks_;
  Metrics metrics_;
  Callback<Event> on_event_;
  std::unique_ptr<Handle> handle_;
  std::string principal_;  // that `handle_` asks for; empty: no Kerberos
  SessionId session_;
  size_t next_ = 0;  // the server that is tried, or connected
  bool opening_ = false;
  bool linked_ = false;
  Instant linked_since_;
  std::string refusal_;  // what a request was answered that needs a login
  int refused_in_a_row_ = 0;
  int failed_logins_ = 0;  // rounds of them
  uint64_t refusals_before_ = 0;
  uint64_t breaks_before_ = 0;
  Instant attempt_began_;
  Instant next_report_;
  std::string last_error_ = "not connected yet";
  std::string reported_;
  std::unordered_map<uint64_t, std::unique_ptr<Waiting>> waiting_;
  uint64_t last_id_ = 0;
  io::TimerHandle timer_;
  Task closing_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

// ---- connecting --------------------------------------------------------------------------------

void Session::attempt() {
  MARKAB_ASSERT(handle_ == nullptr && !opening_, "two handles at once", server().endpoint());
  opening_ = true;
  auto opening = std::make_shared<Opening>();
  auto events = std::make_shared<Callback<>>([this, alive = alive_] {
    if (*alive) on_handle_event();
  });
  pool_.run(
      shard_,
      [opening, events, options = options_, hooks = hooks_, target = server(), session = session_,
       &shard = shard_] {
        Handle::Target to{target, {}};
        if (options->sasl == Sasl::kGssapi) {
          to.sasl_host = sasl_host(target, hooks->names);
          opening->principal = principal_name(options->service, to.sasl_host);
          std::string why = hooks->before_login ? hooks->before_login() : std::string();
          if (!why.empty()) {
            opening->why = fmt::format("no login to {} as a client of {}: {}", target.endpoint(),
                                       opening->principal, why);
            opening->no_ticket = true;
            return;
          }
        }
        opening->handle =
            Handle::open(shard, *options, std::move(to), session, events, opening->why);
      },
      [this, alive = alive_, opening] {
        if (*alive) opened(opening);
      });
}

void Session::opened(std::shared_ptr<Opening> opening) {
  opening_ = false;
  handle_ = std::move(opening->handle);
  principal_ = std::move(opening->principal);
  if (closing_) return close(std::move(closing_));
  if (handle_ == nullptr) return failed(opening->why, opening->no_ticket);
  attempt_began_ = shard_.now();
  refusals_before_ = handle_->refusals();
  look();
}

void Session::on_handle_event() {
  if (handle_ == nullptr || closing_) return;
  if (!linked_) return look();
  if (handle_->state() != HandleState::kConnected || handle_->breaks() != breaks_before_)
    link_down();
}

// While there is no connection: how the attempt goes. Failed logins are told by no event.
void Session::look() {
  if (linked_ || closing_ || handle_ == nullptr) return;
  timer_ = shard_.after(kLook, [this] { look(); });
  Duration took = shard_.now() - attempt_began_;
  switch (handle_->state()) {
    case HandleState::kConnected:
      return link_up();
    case HandleState::kExpired:
      return expire();
    case HandleState::kLoginFailed:
      return failed(login_failure(), true);
    case HandleState::kLoggingIn:
      if (took > kMaxLogin) {
        failed(fmt::format("the login to {} took longer than {} s", server().endpoint(),
                           kMaxLogin / std::chrono::seconds(1)),
               true);
      }
      return;
    case HandleState::kConnecting:
      if (handle_->refusals() > refusals_before_) {
        return failed(
            fmt::format("{} cannot be reached: {}", server().endpoint(), handle_->last_words()),
            false);
      }
      if (took > patience())
        failed(fmt::format("{} takes no connection", server().endpoint()), false);
      return;
  }
}

std::string Session::login_failure() const {
  auto [sentence, remedy] =
      login_refusal(*options_, server().endpoint(), principal_, handle_->last_words());
  return fmt::format("{}; {}", sentence, remedy);
}

void Session::link_up() {
  timer_.cancel();
  linked_ = true;
  linked_since_ = shard_.now();
  breaks_before_ = handle_->breaks();
  refusal_.clear();
  SessionId now = handle_->session();
  bool resumed = session_.id == now.id && now.id != 0;
  session_ = now;
  metrics_.connected.set(1);
  if (!resumed) metrics_.sessions.add();
  MARKAB_INFO("zk: connected to {}{}{}, session {:#x} {}, timeout {} ms", server().endpoint(),
              principal_.empty() ? "" : " as ", principal_, static_cast<uint64_t>(session_.id),
              resumed ? "goes on" : "begins", handle_->timeout() / std::chrono::milliseconds(1));
  on_event_({Link::kConnected, session_.id, handle_->timeout()});
}

void Session::link_down() {
  metrics_.connected.set(0);
  metrics_.losses.add();
  linked_ = false;
  bool expired = handle_->state() == HandleState::kExpired;
  bool lasted = shard_.now() - linked_since_ > kLasting;
  if (lasted) {
    refused_in_a_row_ = failed_logins_ = 0;
    reported_.clear();
  }
  last_error_ = refusal_.empty()
                    ? fmt::format("the connection to {} was lost", server().endpoint())
                    : fmt::format("{} broke the connection: {}", server().endpoint(), refusal_);
  if (lasted) MARKAB_WARN("zk: {}", last_error_);
  auto alive = alive_;
  fail_pending(Status(Errc::kTimeout, last_error_ + "; the outcome is unknown"));
  if (!*alive || closing_) return;
  if (expired) return expire();
  on_event_({Link::kDisconnected, session_.id, {}});
  if (!*alive || closing_ || handle_ == nullptr) return;
  // One that comes and goes is no connection: with pauses, as after a refused login.
  if (!lasted) return failed(last_error_, true);
  attempt_began_ = shard_.now();
  if (options_->servers.size() > 1) {
    abandon();
    ++next_;
    return attempt();
  }
  // The only server: the handle looks for it by itself.
  refusals_before_ = handle_->refusals();
  look();
}

void Session::expire() {
  metrics_.connected.set(0);
  metrics_.expirations.add();
  MARKAB_WARN("zk: session {:#x} has expired", static_cast<uint64_t>(session_.id));
  linked_ = false;
  session_ = {};
  last_error_ = "the session has expired";
  timer_.cancel();
  auto alive = alive_;
  fail_pending(Status(Errc::kExpired, last_error_));
  if (!*alive || closing_) return;
  abandon();
  on_event_({Link::kExpired, 0, {}});
  if (!*alive || closing_) return;
  attempt();
}

void Session::failed(std::string why, bool is_login) {
  if (is_login) metrics_.failed_logins.add();
  last_error_ = why;
  report(why);
  abandon();
  size_t servers = options_->servers.size();
  ++next_;
  Duration delay{};
  // The next server at once; a pause when all had their turn.
  if (++refused_in_a_row_ % static_cast<int>(servers) == 0) {
    int rounds = refused_in_a_row_ / static_cast<int>(servers);
    if (is_login) {
      delay = std::min<Duration>(kFirstRelogin * (1 << std::min(failed_logins_++, 10)),
                                 kLongestRelogin);
    } else {
      delay =
          std::min<Duration>(kFirstReconnect * (1 << std::min(rounds - 1, 10)), kLongestReconnect);
    }
  }
  timer_ = shard_.after(delay, [this] { attempt(); });
}

// A new cause at once; one that lasts every few seconds.
void Session::report(const std::string& why) {
  if (why == reported_ && shard_.now() < next_report_) return;
  if (options_->servers.size() > 1 && shard_.now() < next_report_ &&
      refused_in_a_row_ >= static_cast<int>(options_->servers.size()))
    return;
  reported_ = why;
  next_report_ = shard_.now() + kProgress;
  MARKAB_ERROR("zk: {}; it is tried again", why);
}

// ---- ends --------------------------------------------------------------------------------------

void Session::abandon() {
  timer_.cancel();
  if (handle_ != nullptr) discard(shard_, pool_, std::move(handle_), 10);
}

// A handle that is closed while it is connected ends the session, which another one shall go on
// with. If it got through meanwhile, it is left until the servers have moved the session away.
void Session::discard(io::Shard& shard, io::BlockingPool& pool, std::shared_ptr<Handle> handle,
                      int looks_left) {
  auto slot = std::make_shared<std::shared_ptr<Handle>>(std::move(handle));
  pool.run(
      shard,
      [slot, looks_left] {
        if (looks_left == 0 || (*slot)->state() != HandleState::kConnected) slot->reset();
      },
      [slot, &shard, &pool, looks_left] {
        if (*slot == nullptr) return;
        auto timer = std::make_shared<io::TimerHandle>();
        *timer = shard.after(kSecondLook, [timer, slot, &shard, &pool, looks_left] {
          auto keep = std::move(*timer);
          discard(shard, pool, std::move(*slot), looks_left - 1);
        });
      });
}

void Session::fail_pending(const Status& status) {
  auto waiting = std::exchange(waiting_, {});
  auto alive = alive_;
  for (auto& [id, request] : waiting) {
    request->fail(status);
    if (!*alive) return;
  }
}

void Session::close(Task done) {
  closing_ = std::move(done);
  timer_.cancel();
  if (opening_) return;  // opened() comes back here
  metrics_.connected.set(0);
  waiting_.clear();
  linked_ = false;
  std::shared_ptr<Handle> handle = std::move(handle_);
  auto last = std::make_shared<Task>(std::move(closing_));
  closing_ = [] {};
  auto slot = std::make_shared<std::shared_ptr<Handle>>(std::move(handle));
  pool_.run(
      shard_, [slot] { slot->reset(); }, [last] { (*last)(); });
}

void Session::protect(const std::string& path, Callback<Result<bool>> done) {
  auto answer = accept(std::move(done));
  if (!answer) return;
  auto held = std::make_shared<Callback<Result<bool>>>(std::move(answer));
  handle_->get_acl(path, [this, alive = alive_, path, held](Result<bool> same) {
    if (!*alive) return;
    if (!same) return (*held)(same.error());
    if (*same) return (*held)(false);
    if (handle_ == nullptr) return (*held)(Status(Errc::kTimeout, "the connection was lost"));
    handle_->set_acl(path, [held](Status status) {
      if (!status.ok()) return (*held)(status);
      (*held)(true);
    });
  });
}

}  // namespace

std::unique_ptr<Client> make_client(io::Shard& shard, io::BlockingPool& pool, Options options,
                                    SessionHooks hooks, std::shared_ptr<MetricEntity> entity) {
  return std::make_unique<Session>(shard, pool, std::move(options), std::move(hooks), entity);
}

}  // namespace markab::zk
