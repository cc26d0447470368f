#include "security/access_guard.h"

#include "base/log.h"
#include "rpc/process_metrics.h"

namespace markab::security {

AccessGuard::AccessGuard(AccessRules rules, MetricRegistry& registry)
    : rules_(std::move(rules)),
      entity_(rpc::process_metrics(registry)),
      denied_(entity_->counter({"security_requests_denied", "Requests",
                                "Requests refused since their user may not do that"})) {}

bool AccessGuard::permits(const rpc::Request& request, Instant now) {
  if (rules_.allows(request.header.code, request.user())) return true;
  return deny(request, now,
              access_class(request.header.code) == AccessClass::kInternal
                  ? "only service users and super users may"
                  : "only super users may");
}

bool AccessGuard::permits_data(const rpc::Request& request, const UserSet& allowed_users,
                               Instant now) {
  if (access_class(request.header.code) != AccessClass::kData) return permits(request, now);
  if (rules_.allows_data(allowed_users, request.user())) return true;
  return deny(request, now, "the table's allowed_users do not name that user");
}

bool AccessGuard::permits_relay(const rpc::Request& request, Instant now) {
  if (!rules_.enabled() || rules_.may_relay(request.user())) return true;
  return deny(request, now, "only service users may speak for others");
}

bool AccessGuard::deny(const rpc::Request& request, Instant now, const char* why) {
  denied_.add();
  int64_t left_out = 0;
  if (log_.admit(now, request.peer().ipv4, static_cast<int>(request.header.code), left_out)) {
    MARKAB_AUDIT(log::Level::kWarning, "{}@{}: {} of partition {} denied: {}{}",
                 request.user().empty() ? "anonymous" : request.user(), request.peer(),
                 request.name, request.header.gpid, why,
                 left_out == 0 ? "" : fmt::format(" ({} more denials)", left_out));
  }
  return false;
}

}  // namespace markab::security
