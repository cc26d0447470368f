#include "zk/probe.h"

#include <fmt/format.h>

#include <condition_variable>
#include <mutex>
#include <optional>

#include "zk/handle.h"

namespace markab::zk {

namespace {

constexpr Duration kLook = std::chrono::milliseconds(10);

// What a request on the shard came to, for a thread that waits.
template <typename T>
class Answer {
 public:
  void give(T value) {
    std::lock_guard lock(mutex_);
    value_.emplace(std::move(value));
    given_.notify_all();
  }
  std::optional<T> wait(Duration limit) {
    std::unique_lock lock(mutex_);
    given_.wait_for(lock, limit, [this] { return value_.has_value(); });
    return value_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable given_;
  std::optional<T> value_;
};

enum class Verdict { kConnected, kLoginFailed, kRefused, kSlow, kSlowLogin };

// Looks at the handle until it is connected or will not be.
class Looking {
 public:
  Looking(io::Shard& shard, Handle& handle, Duration limit)
      : shard_(shard), handle_(handle), end_(shard.now() + limit), refused_(handle.refusals()) {}
  void look() {
    HandleState state = handle_.state();
    if (state == HandleState::kConnected) return answer_.give(Verdict::kConnected);
    if (state == HandleState::kLoginFailed) return answer_.give(Verdict::kLoginFailed);
    if (state == HandleState::kConnecting && handle_.refusals() > refused_)
      return answer_.give(Verdict::kRefused);
    if (shard_.now() >= end_) {
      return answer_.give(state == HandleState::kLoggingIn ? Verdict::kSlowLogin : Verdict::kSlow);
    }
    timer_ = shard_.after(kLook, [this] { look(); });
  }
  Verdict wait() {
    // The shard gives its answer at the limit; this is for a machine that stands still.
    return answer_.wait(std::chrono::minutes(1)).value_or(Verdict::kSlow);
  }

 private:
  io::Shard& shard_;
  Handle& handle_;
  const Instant end_;
  const uint64_t refused_;
  io::TimerHandle timer_;
  Answer<Verdict> answer_;
};

void explain(Verdict verdict, const Options& options, const Handle& handle, Probe& out) {
  std::string endpoint = handle.target().server.endpoint();
  std::string said = handle.last_words();
  switch (verdict) {
    case Verdict::kConnected:
      break;
    case Verdict::kLoginFailed: {
      auto refusal = login_refusal(options, endpoint, out.principal, said);
      out.why = std::move(refusal.sentence);
      out.remedy = std::move(refusal.remedy);
      break;
    }
    case Verdict::kRefused:
      out.why = fmt::format("{} takes a connection and ends it: {}", endpoint, said);
      out.remedy = "see whether most servers of the ensemble run: without them none serves";
      break;
    case Verdict::kSlow:
      out.why = fmt::format("{} does not answer", endpoint);
      out.remedy = "see whether that server runs, and is a ZooKeeper";
      break;
    case Verdict::kSlowLogin:
      out.why = out.principal.empty() ? fmt::format("{} does not end the login", endpoint)
                                      : fmt::format("{} does not end the login as a client of {}",
                                                    endpoint, out.principal);
      out.remedy = "see whether that server runs, has SASL switched on, and the KDC answers";
      break;
  }
}

// Runs `start(callback)` on the shard and waits for what it calls back with.
template <typename T, typename Start>
T ask(io::Shard& shard, Duration limit, Start start) {
  // Shared: who gives up waiting leaves the request behind.
  auto answer = std::make_shared<Answer<T>>();
  shard.post([answer, start] { start([answer](T value) { answer->give(std::move(value)); }); });
  auto given = answer->wait(limit);
  return given ? std::move(*given) : T(Status(Errc::kTimeout, "the server does not answer"));
}

// Makes a node that ends with the session and belongs to its creator, and looks to whom that is.
std::string who_we_are(io::Shard& shard, Handle& handle, Duration limit) {
  using Name = Result<std::string>;
  auto made = ask<Name>(shard, limit, [&handle](Callback<Name> done) {
    handle.create("/markab-doctor-", "", NodeKind::kEphemeralSequential, std::move(done));
  });
  if (!made) return {};
  auto id = ask<Name>(shard, limit, [&handle, path = *made](Callback<Name> done) {
    handle.acl_text(path, std::move(done));
  });
  return id ? *id : std::string();
}

}  // namespace

Probe probe(const Options& options, const Server& server, const NameRules& names,
            const std::string& root, Duration limit) {
  Probe out;
  io::RealRuntime runtime({.shards = 1, .blocking_threads = 1});
  io::Shard& shard = runtime.shard(0);
  Instant began = shard.now();
  Options own = options;
  own.acl = {};
  if (own.sasl != Sasl::kNone) own.acl.mode = Acl::Mode::kCreator;
  Handle::Target target{server, {}};
  if (own.sasl == Sasl::kGssapi) {
    target.sasl_host = sasl_host(server, names);
    out.principal = principal_name(own.service, target.sasl_host);
  }
  auto events = std::make_shared<Handle::Events>([] {});
  auto handle = Handle::open(shard, own, std::move(target), {}, events, out.why);
  if (handle == nullptr) {
    out.remedy = "start that server, or correct [zookeeper] hosts_list";
    return out;
  }
  Looking looking(shard, *handle, limit);
  shard.post([&] { looking.look(); });
  Verdict verdict = looking.wait();
  explain(verdict, own, *handle, out);
  if (verdict == Verdict::kConnected) {
    // Who must log in and did not is told at the first request.
    using Name = Result<std::string>;
    auto acl = ask<Name>(shard, limit,
                         [&](Callback<Name> done) { handle->acl_text(root, std::move(done)); });
    Errc code = acl ? Errc::kOk : acl.error().code();
    out.connected = acl || code == Errc::kPathNotFound || code == Errc::kAclDeny;
    if (acl) out.root_acl = *acl;
    if (!out.connected) {
      out.why = fmt::format("{}: {}", server.endpoint(), acl.error().message());
      out.remedy = code == Errc::kUnauthenticated
                       ? "set [zookeeper] sasl_mechanisms_type to what that server demands"
                       : "see what that server's log says";
    }
    if (out.connected && own.sasl != Sasl::kNone) out.granted = who_we_are(shard, *handle, limit);
  }
  out.took = shard.now() - began;
  // In this order: what was given up waiting for may still stand in the shard's queue.
  runtime.stop();
  handle.reset();
  return out;
}

}  // namespace markab::zk
