#pragma once
// The section [security] of a configuration: its keys, what they mean together, and what can be
// wrong with them. Read at start by one thread.

#include <functional>
#include <string>
#include <vector>

#include "base/config.h"
#include "security/access.h"
#include "security/gate.h"

namespace markab::security {

std::vector<ConfigKey> security_config_keys();

struct SecurityOptions {
  bool enable_auth = false;
  bool mandatory_auth = false;
  std::string keytab;
  std::string config;  // krb5.conf
  std::string principal;
  std::string service_name;
  std::string service_fqdn;
  std::string plugin_path;
  std::vector<std::string> accepted_realms;
  bool require_peer_auth = false;
  bool zookeeper_kerberos = false;
  // Not a key: what the program fetches tickets for besides (TicketOptions::more_services).
  std::function<std::vector<std::string>()> more_services;
  Duration longest_login_pause{};
  GateOptions gate;
  AccessOptions access;

  // Whether anything of Kerberos runs at all.
  bool needs_tickets() const {
    return (enable_auth || zookeeper_kerberos) && !keytab.empty() && !principal.empty();
  }
};

// The values as they are written; kInvalidParameters for what cannot be read.
Result<SecurityOptions> read_security_options(const Config& config);

// What is wrong with them together, one sentence with a remedy per problem (05 §4); looks at the
// files that they name. Blocks on disks.
std::vector<std::string> problems_of(const SecurityOptions& options);

}  // namespace markab::security
