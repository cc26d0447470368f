#pragma once
// The door of a server whose peers say who they are (spec 05 §2.3, §2.6, §3.3): negotiates with
// each accepted connection, parks what comes too early, refuses what may not pass, and bounds what
// strangers may hold. One per daemon; its sessions live on the shards of their connections.
//
// Rules, in short:
//  - a request before success is parked (64 messages or 1 MiB a session, 64 MiB a process) and
//    served in order afterwards, under the new name; it is refused when the peer does not begin to
//    negotiate within premature_grace, when negotiation fails, and when its own time-out is over;
//  - a failed negotiation is answered with status 10 and a reason, then the connection ends;
//  - a stranger is cut off at the deadline, counted from its arrival.

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/metrics.h"
#include "io/shard.h"
#include "rpc/session_guard.h"
#include "security/mechanism.h"
#include "security/refusal_log.h"

namespace markab::security {

// "10.0.0.0/8=tools,127.0.0.1=admin": who peers without authentication are taken for.
class TrustedNetworks {
 public:
  // Errors: kInvalidParameters, naming the item.
  static Result<TrustedNetworks> parse(const std::vector<std::string>& items);
  // The longest prefix wins; nullptr: not trusted.
  const std::string* find(uint32_t ipv4) const;
  bool empty() const { return rules_.empty(); }
  bool only_loopback() const;

 private:
  struct Rule {
    uint32_t network;
    int prefix;
    std::string user;
  };
  std::vector<Rule> rules_;  // longest prefix first
};

struct GateOptions {
  bool mandatory = false;
  Duration deadline = std::chrono::seconds(10);
  Duration premature_grace = std::chrono::seconds(1);
  size_t max_unauthenticated_per_ip = 1024;
  size_t max_unauthenticated = 4096;
  TrustedNetworks trusted;
  // Which pages change something, and who may.
  std::vector<std::string> changing_paths = {"updateConfig"};
  std::vector<std::string> super_users;
};

// Bounds of what one stranger and all of them may hold (05 §3.3).
inline constexpr size_t kMaxParkedMessages = 64;
inline constexpr size_t kMaxParkedBytes = 1 << 20;
inline constexpr size_t kMaxParkedBytesOfAll = 64 << 20;
// The longest frame that is gathered for a stranger. Up to kFreeFrame nobody counts.
inline constexpr size_t kMaxStrangersFrame = kMaxParkedBytes + (64 << 10);
inline constexpr size_t kFreeFrame = 16 << 10;

struct GateMetrics {
  explicit GateMetrics(MetricRegistry& registry);
  const std::shared_ptr<MetricEntity> entity;
  Counter& succeeded;
  Counter& failed;
  Counter& refused;
  Counter& turned_away;
  Gauge& strangers;
  Gauge& parked_bytes;
  Histogram& duration_us;
  std::vector<Counter*> by_reason;
};

class Gate final : public rpc::SessionGuards {
 public:
  // `mechanisms` and `pool` must outlive the sessions. The pool runs the mechanism's steps.
  Gate(GateOptions options, Mechanisms& mechanisms, io::BlockingPool& pool,
       MetricRegistry& registry);
  ~Gate() override;

  std::unique_ptr<rpc::SessionGuard> watch(rpc::GuardedSession& session, io::Shard& shard,
                                           HostPort peer) override;
  // [security] mandatory_auth may change at run time. Any thread.
  void set_mandatory(bool mandatory) { mandatory_.store(mandatory, std::memory_order_relaxed); }
  // Asked instead, when set: so that a configuration change needs no telling.
  void read_mandatory_from(Function<bool()> read) { read_mandatory_ = std::move(read); }
  bool mandatory() const {
    return read_mandatory_ ? read_mandatory_() : mandatory_.load(std::memory_order_relaxed);
  }

 private:
  friend class GateSession;
  bool enter(HostPort peer);
  void leave(HostPort peer);
  bool reserve(size_t bytes);
  void release(size_t bytes);
  void log_failure(Instant now, HostPort peer, const std::string& step, const Failure& failure);
  void log_refusal(Instant now, HostPort peer, std::string_view name);

  const GateOptions options_;
  Mechanisms& mechanisms_;
  io::BlockingPool& pool_;
  std::atomic<bool> mandatory_;
  Function<bool()> read_mandatory_;
  GateMetrics metrics_;
  RefusalLog refusals_;
  std::atomic<size_t> held_bytes_{0};
  std::mutex mutex_;
  std::unordered_map<uint32_t, size_t> strangers_;
  size_t stranger_count_ = 0;
};

}  // namespace markab::security
