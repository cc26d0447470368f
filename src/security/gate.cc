#include "security/gate.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/log.h"
#include "rpc/process_metrics.h"
#include "security/gate_session.h"

namespace markab::security {

namespace {

constexpr int kAddressBits = 32;
constexpr uint32_t kLoopback = 0x7F000000;
constexpr int kLoopbackBits = 8;

uint32_t mask_of(int prefix) { return prefix == 0 ? 0 : ~uint32_t{0} << (kAddressBits - prefix); }

// The kind under which requests of strangers are counted in the log; reasons come before.
constexpr int kRefusedRequest = kReasonCount;

}  // namespace

// ---- Trusted networks

Result<TrustedNetworks> TrustedNetworks::parse(const std::vector<std::string>& items) {
  TrustedNetworks made;
  for (const std::string& item : items) {
    auto wrong = [&] {
      return Status(Errc::kInvalidParameters,
                    fmt::format("[security] trusted_networks: '{}' is not NETWORK=USER, as in "
                                "10.1.0.0/16=tools",
                                item));
    };
    auto equals = item.find('=');
    if (equals == std::string::npos || equals + 1 == item.size()) return wrong();
    std::string network = item.substr(0, equals);
    auto slash = network.find('/');
    int prefix = kAddressBits;
    if (slash != std::string::npos) {
      const char* end = network.data() + network.size();
      auto [at, error] = std::from_chars(network.data() + slash + 1, end, prefix);
      if (error != std::errc() || at != end || prefix < 0 || prefix > kAddressBits) return wrong();
    }
    auto address = HostPort::parse(network.substr(0, slash) + ":1");
    if (!address) return wrong();
    made.rules_.push_back({address->ipv4 & mask_of(prefix), prefix, item.substr(equals + 1)});
  }
  std::stable_sort(made.rules_.begin(), made.rules_.end(),
                   [](const Rule& a, const Rule& b) { return a.prefix > b.prefix; });
  return made;
}

const std::string* TrustedNetworks::find(uint32_t ipv4) const {
  for (const Rule& rule : rules_) {
    if ((ipv4 & mask_of(rule.prefix)) == rule.network) return &rule.user;
  }
  return nullptr;
}

bool TrustedNetworks::only_loopback() const {
  return std::all_of(rules_.begin(), rules_.end(), [](const Rule& rule) {
    return rule.prefix >= kLoopbackBits && (rule.network & mask_of(kLoopbackBits)) == kLoopback;
  });
}

// ---- Metrics and log

GateMetrics::GateMetrics(MetricRegistry& registry)
    : entity(rpc::process_metrics(registry)),
      succeeded(entity->counter({"security_negotiations_succeeded", "Sessions",
                                 "Accepted connections that were authenticated"})),
      failed(entity->counter({"security_negotiations_failed", "Sessions",
                              "Accepted connections whose negotiation failed"})),
      refused(entity->counter({"security_requests_refused", "Requests",
                               "Requests refused since their peer was not authenticated"})),
      turned_away(entity->counter(
          {"security_strangers_turned_away", "Sessions",
           "Connections closed at once since too many peers were not authenticated"})),
      strangers(entity->gauge({"security_strangers", "Sessions",
                               "Connections of peers that are not authenticated yet"})),
      parked_bytes(entity->gauge({"security_parked_bytes", "Bytes",
                                  "Memory that peers hold which are not authenticated yet"})),
      duration_us(entity->histogram({"security_negotiation_us", "MicroSeconds",
                                     "Time from a negotiation's first message to its success"})) {
  for (int i = 0; i < kReasonCount; ++i) {
    auto word = std::string(reason_word(static_cast<Reason>(i)));
    by_reason.push_back(&entity->counter({"security_failures_" + word, "Sessions",
                                          "Negotiations that failed by reason of " + word}));
  }
}

// ---- The gate

Gate::Gate(GateOptions options, Mechanisms& mechanisms, io::BlockingPool& pool,
           MetricRegistry& registry)
    : options_(std::move(options)),
      mechanisms_(mechanisms),
      pool_(pool),
      mandatory_(options_.mandatory),
      metrics_(registry) {}

Gate::~Gate() {
  MARKAB_ASSERT(stranger_count_ == 0, "a gate ends before its sessions", stranger_count_);
}

std::unique_ptr<rpc::SessionGuard> Gate::watch(rpc::GuardedSession& session, io::Shard& shard,
                                               HostPort peer) {
  const std::string* trusted = options_.trusted.find(peer.ipv4);
  if (trusted != nullptr) {
    session.admit(*trusted);
  } else if (!enter(peer)) {
    metrics_.turned_away.add();
    metrics_.by_reason[static_cast<size_t>(Reason::kTooManyUnauthenticated)]->add();
    log_failure(shard.now(), peer, "accept",
                {Reason::kTooManyUnauthenticated,
                 "too many connections of peers that are not authenticated; this one is closed"});
    return nullptr;
  }
  return std::make_unique<GateSession>(*this, session, shard, peer, trusted != nullptr);
}

bool Gate::enter(HostPort peer) {
  std::lock_guard lock(mutex_);
  size_t& own = strangers_[peer.ipv4];
  if (own >= options_.max_unauthenticated_per_ip ||
      stranger_count_ >= options_.max_unauthenticated) {
    if (own == 0) strangers_.erase(peer.ipv4);
    return false;
  }
  ++own;
  ++stranger_count_;
  metrics_.strangers.set(static_cast<int64_t>(stranger_count_));
  return true;
}

void Gate::leave(HostPort peer) {
  std::lock_guard lock(mutex_);
  auto found = strangers_.find(peer.ipv4);
  MARKAB_ASSERT(found != strangers_.end() && found->second > 0,
                "a stranger leaves that did not enter", peer);
  if (--found->second == 0) strangers_.erase(found);
  --stranger_count_;
  metrics_.strangers.set(static_cast<int64_t>(stranger_count_));
}

bool Gate::reserve(size_t bytes) {
  size_t before = held_bytes_.fetch_add(bytes);
  if (before + bytes > kMaxParkedBytesOfAll) {
    held_bytes_.fetch_sub(bytes);
    return false;
  }
  metrics_.parked_bytes.add(static_cast<int64_t>(bytes));
  return true;
}

void Gate::release(size_t bytes) {
  size_t before = held_bytes_.fetch_sub(bytes);
  MARKAB_ASSERT(before >= bytes, "more is released than was held", before, bytes);
  metrics_.parked_bytes.add(-static_cast<int64_t>(bytes));
}

void Gate::log_failure(Instant now, HostPort peer, const std::string& step,
                       const Failure& failure) {
  int64_t left_out = 0;
  if (!refusals_.admit(now, peer.ipv4, static_cast<int>(failure.reason), left_out)) return;
  MARKAB_AUDIT(log::Level::kWarning, "{} (accepted, {}): {}{}", peer, step, failure.to_string(),
               left_out == 0 ? "" : fmt::format(" ({} more like this)", left_out));
}

void Gate::log_refusal(Instant now, HostPort peer, std::string_view name) {
  int64_t left_out = 0;
  if (!refusals_.admit(now, peer.ipv4, kRefusedRequest, left_out)) return;
  MARKAB_AUDIT(log::Level::kWarning,
               "{}: {} refused: the peer is not authenticated, and [security] mandatory_auth is "
               "on{}",
               peer, name, left_out == 0 ? "" : fmt::format(" ({} more like this)", left_out));
}

}  // namespace markab::security
