#pragma once
// Mechanisms by Cyrus SASL with its GSSAPI plugin over MIT Kerberos (spec 05 §2.5). Authentication
// only: no security layer is offered or taken. Credentials are handed to the library explicitly, so
// that neither side depends on the process's environment, and are looked up anew for each
// connection: a keytab that was replaced is used from the next connection on.
//
// Made once per process and role; its mechanisms are used by one thread at a time each.

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "security/mechanism.h"
#include "security/tickets.h"

namespace markab::security {

struct SaslOptions {
  std::string service_name;
  std::string service_fqdn;
  std::string plugin_path;  // "": the library's own
  std::string keytab;       // of the accepting side; "": the environment's
  // Whose users are let in; empty: those of the machine's default realm.
  std::vector<std::string> accepted_realms;
  // Credentials of the dialling side; null: the ambient ticket cache.
  std::shared_ptr<TicketSource> tickets;
};

// Loads the library with its plugins, once per process; zk's client uses the same. Later calls
// return what the first one did. kSaslInternal with a remedy when GSSAPI cannot be had.
Status load_sasl(const std::string& plugin_path);

// Errors: those of load_sasl(); kInvalidParameters for an empty name.
Result<std::unique_ptr<Mechanisms>> make_sasl_mechanisms(SaslOptions options);

// "alice" of "alice@EXAMPLE.ORG", "pegasus" of "pegasus/h1" (05 §2.5: what rules are written with).
std::string short_name(std::string_view user);
// "EXAMPLE.ORG", or "" when the name has no realm.
std::string realm_of(std::string_view principal);
// Whether `requested` may stand for `authenticated`, whose local name is `local` (05 §2.5). Pure.
bool may_act_as(std::string_view requested, std::string_view authenticated, std::string_view realm,
                std::string_view local);

}  // namespace markab::security
