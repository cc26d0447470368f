#pragma once
// The dialling side (spec 05 §2.4): proves to each peer who this process is before any call goes
// out. One set of negotiators per process, one negotiator per connection; the mechanism's steps run
// on a pool, since they may wait for the KDC.

#include <memory>
#include <string>

#include "base/metrics.h"
#include "io/shard.h"
#include "rpc/negotiator.h"
#include "security/mechanism.h"
#include "security/tickets.h"

namespace markab::security {

struct DialOptions {
  Duration deadline = std::chrono::seconds(10);
  bool must_authenticate = false;  // refuse peers that ask for no authentication
  std::string identity;            // who we are, for messages: "alice@EXAMPLE.ORG"
  std::string service;             // whom we ask for: "pegasus/localhost"
};

struct DialMetrics {
  explicit DialMetrics(MetricRegistry& registry);
  const std::shared_ptr<MetricEntity> entity;
  Counter& succeeded;
  Counter& without;
  Counter& failed;
};

// `tickets` may be null (ambient ticket cache); all that is shared is kept alive by the
// negotiators.
std::shared_ptr<rpc::Negotiators> make_negotiators(DialOptions options,
                                                   std::shared_ptr<Mechanisms> mechanisms,
                                                   std::shared_ptr<io::BlockingPool> pool,
                                                   std::shared_ptr<TicketSource> tickets,
                                                   std::shared_ptr<DialMetrics> metrics);

}  // namespace markab::security
