#pragma once
// The real side of rpc::Network: for one shard, a connection to each peer it talks to, made when
// needed. Native header.
//
// Connect timeout, request timeouts, a bound of calls in flight per peer, reconnection with backoff
// and jitter; a broken connection fails its calls at once with the reason. Calls to a peer whose
// last dial was refused fail at once until the backoff has passed (10 ms doubling to 500 ms).

#include <memory>

#include "base/metrics.h"
#include "io/shard.h"
#include "rpc/negotiator.h"
#include "rpc/network.h"

namespace markab::rpc {

// Counts of all channels of a daemon, in its "server" entity. Made once.
struct ChannelMetrics {
  explicit ChannelMetrics(MetricRegistry& registry);
  const std::shared_ptr<MetricEntity> entity;
  Counter& calls;
  Counter& failures;
  Counter& timeouts;
  Counter& errors;
  Counter& dials;
};

struct ChannelOptions {
  HostPort self;  // announced in the header's from_address
  Duration connect_timeout = std::chrono::seconds(1);
  size_t max_in_flight = 100000;         // per peer; more end with kBusy
  size_t max_queued_bytes = 256u << 20;  // per peer; more end with kBusy
  size_t max_frame_bytes = 64u << 20;
  int connections_per_peer = 1;
  std::shared_ptr<ChannelMetrics> metrics;   // may be absent
  std::shared_ptr<Negotiators> negotiators;  // absent: calls go out as soon as the peer is reached
};

// Made and destroyed on, or before and after the run of, shard `index` of `runtime`. Destroying it
// ends all pending calls with kNetworkFailure before it returns.
std::unique_ptr<Network> make_channels(io::RealRuntime& runtime, int index,
                                       const ChannelOptions& options);

}  // namespace markab::rpc
