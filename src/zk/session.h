#pragma once
// The real side of zk::Client. It connects to one server at a time, each under the name by which
// the operator listed it, goes on to the next one when a connection or a login fails, and hands the
// session over, so that ephemeral nodes outlive a server. All on the shard; opening and closing of
// handles runs on the blocking pool.

#include <functional>
#include <memory>

#include "base/metrics.h"
#include "io/shard.h"
#include "zk/client.h"
#include "zk/options.h"
#include "zk/principal.h"

namespace markab::zk {

struct SessionHooks {
  // Names and look-ups as they were before pin_service_names(); default: the system's.
  NameRules names = system_name_rules();
  // Called on the blocking pool before a login with Kerberos: sees to a ticket, and says why there
  // is none (empty: all is well). Unset: whatever the library finds.
  std::function<std::string()> before_login;
};

// Metrics go into `entity`, when there is one.
std::unique_ptr<Client> make_client(io::Shard& shard, io::BlockingPool& pool, Options options,
                                    SessionHooks hooks, std::shared_ptr<MetricEntity> entity);

}  // namespace markab::zk
