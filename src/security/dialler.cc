#include "security/dialler.h"

#include "io/own_pool.h"
#include "security/client_negotiation.h"
#include "security/sasl.h"

namespace markab::security {

namespace {
constexpr int kDialThreads = 2;
constexpr int kLoginThreads = 1;
// A program of a user asks oftener than a cluster's daemons: it is one of few.
constexpr Duration kLongestPause = std::chrono::seconds(5);
}  // namespace

Result<std::unique_ptr<Dialler>> Dialler::make(DiallerOptions options, io::Shard& shard) {
  if (options.keytab.empty() != options.principal.empty()) {
    return Status(Errc::kInvalidParameters,
                  "krb5_keytab and krb5_principal belong together: set both, or none to use the "
                  "ticket cache");
  }
  std::unique_ptr<Dialler> made(new Dialler);
  SaslOptions sasl;
  sasl.service_name = options.service_name;
  sasl.service_fqdn = options.service_fqdn;
  sasl.plugin_path = options.plugin_path;
  if (!options.keytab.empty()) {
    TicketOptions tickets;
    tickets.login = {
        options.keytab, options.principal, {options.service_name + "@" + options.service_fqdn}, ""};
    tickets.longest_retry = kLongestPause;
    made->keeper_ = std::make_shared<TicketKeeper>(tickets, shard,
                                                   io::make_blocking_pool(kLoginThreads), nullptr);
    sasl.tickets = made->keeper_;
  }
  auto mechanisms = make_sasl_mechanisms(std::move(sasl));
  if (!mechanisms) return mechanisms.error();
  DialOptions dial;
  dial.deadline = options.deadline;
  dial.must_authenticate = options.require_peer_auth;
  dial.identity = options.principal;
  dial.service = options.service_name + "/" + options.service_fqdn;
  made->negotiators_ =
      make_negotiators(dial, std::shared_ptr<Mechanisms>(std::move(*mechanisms)),
                       io::make_blocking_pool(kDialThreads), made->keeper_, nullptr);
  if (made->keeper_ != nullptr) made->keeper_->start();
  return made;
}

Dialler::~Dialler() { stop(); }

void Dialler::stop() {
  if (keeper_ != nullptr) keeper_->stop();
}

}  // namespace markab::security
