#pragma once
// The rules of access.h at work in a daemon: asks them about requests, counts refusals and writes
// them to the audit lines of the log. One per daemon; any thread. Where none is given, everybody
// may do everything.

#include <memory>

#include "base/metrics.h"
#include "rpc/message.h"
#include "security/access.h"
#include "security/refusal_log.h"

namespace markab::security {

class AccessGuard {
 public:
  AccessGuard(AccessRules rules, MetricRegistry& registry);

  const AccessRules& rules() const { return rules_; }
  bool enabled() const { return rules_.enabled(); }
  // Whether the user may make this call; for data, see below.
  bool permits(const rpc::Request& request, Instant now);
  // A read or write of a table with this list.
  bool permits_data(const rpc::Request& request, const UserSet& allowed_users, Instant now);
  // A relay, which speaks for others (05 §7.5).
  bool permits_relay(const rpc::Request& request, Instant now);

 private:
  bool deny(const rpc::Request& request, Instant now, const char* why);

  const AccessRules rules_;
  const std::shared_ptr<MetricEntity> entity_;
  Counter& denied_;
  RefusalLog log_;
};

}  // namespace markab::security
