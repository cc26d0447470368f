#include "security/service.h"

#include <fmt/format.h>

#include "base/log.h"
#include "io/own_pool.h"
#include "security/negotiation.h"
#include "security/sasl.h"

namespace markab::security {

namespace {
// A step of the accepting side takes about a millisecond of processor; a dialling one may wait for
// the KDC, so it has threads of its own.
constexpr int kAcceptThreads = 2;
constexpr int kDialThreads = 2;
constexpr int kLoginThreads = 1;
}  // namespace

void prepare_process(const SecurityOptions& options) {
  if (!options.enable_auth && !options.zookeeper_kerberos) return;
  set_environment({options.config, options.keytab,
                   options.needs_tickets() ? std::string(kDefaultCache) : std::string()});
}

Result<std::unique_ptr<Service>> Service::start(io::RealRuntime& runtime, const Config& config,
                                                SecurityOptions options, MetricRegistry& registry) {
  std::unique_ptr<Service> made(new Service);
  Service& s = *made;
  s.shard_ = &runtime.shard(0);
  auto rules = AccessRules::make(options.access);
  if (!rules) return rules.error();
  s.access_ = std::make_unique<AccessGuard>(std::move(*rules), registry);
  if (options.needs_tickets()) {
    TicketOptions tickets;
    tickets.login = {options.keytab, options.principal, {}, kDefaultCache};
    if (options.enable_auth)
      tickets.login.services.push_back(options.service_name + "@" + options.service_fqdn);
    tickets.more_services = options.more_services;
    tickets.longest_retry = options.longest_login_pause;
    s.login_pool_ = io::make_blocking_pool(kLoginThreads);
    s.keeper_ = std::make_shared<TicketKeeper>(tickets, runtime.shard(0), s.login_pool_,
                                               std::make_shared<TicketMetrics>(registry));
    s.keeper_->start();
  }
  if (!options.enable_auth) return made;
  SaslOptions sasl;
  sasl.service_name = options.service_name;
  sasl.service_fqdn = options.service_fqdn;
  sasl.plugin_path = options.plugin_path;
  sasl.keytab = options.keytab;
  sasl.accepted_realms = options.accepted_realms;
  if (std::string realm = realm_of(options.principal);
      sasl.accepted_realms.empty() && !realm.empty())
    sasl.accepted_realms.push_back(realm);
  sasl.tickets = s.keeper_;
  auto mechanisms = make_sasl_mechanisms(std::move(sasl));
  if (!mechanisms) return mechanisms.error();
  s.mechanisms_ = std::move(*mechanisms);
  s.accept_pool_ = io::make_blocking_pool(kAcceptThreads);
  s.dial_pool_ = io::make_blocking_pool(kDialThreads);
  s.gate_ = std::make_unique<Gate>(options.gate, *s.mechanisms_, *s.accept_pool_, registry);
  s.gate_->read_mandatory_from([&config] { return config.get_bool("security", "mandatory_auth"); });
  DialOptions dial;
  dial.deadline = options.gate.deadline;
  dial.must_authenticate = options.require_peer_auth;
  dial.identity = options.principal;
  dial.service = options.service_name + "/" + options.service_fqdn;
  s.negotiators_ = make_negotiators(dial, s.mechanisms_, s.dial_pool_, s.keeper_,
                                    std::make_shared<DialMetrics>(registry));
  MARKAB_INFO("security: this daemon authenticates itself as {} and its peers for {}/{}; {}",
              options.principal.empty() ? "the ticket cache's user" : options.principal,
              options.service_name, options.service_fqdn,
              options.mandatory_auth ? "who does not is refused" : "who does not passes nameless");
  return made;
}

Service::~Service() { stop(); }

void Service::stop() {
  if (keeper_ != nullptr) keeper_->stop();
}

void Service::guard(rpc::Dispatcher& dispatcher, Daemon daemon) {
  if (gate_ == nullptr) answer_without_authentication(dispatcher);
  if (!access_->enabled()) return;
  dispatcher.set_gate([this, daemon](rpc::Request& request) {
    if (daemon == Daemon::kMeta && request.header.code != rpc::TaskCode::kCliCall) return true;
    if (access_->permits(request, shard_->now())) return true;
    request.reply_error(Errc::kAclDeny);
    return false;
  });
}

}  // namespace markab::security
