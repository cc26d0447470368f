#pragma once
// Which service principal is asked for at each server (spec 05 §6.4), independent of reverse DNS
// unless krb5.conf asks for it and the server is listed by address.

#include <string>

#include "base/status.h"
#include "zk/options.h"

namespace markab::zk {

// What krb5.conf says about names, and how addresses are turned into names.
struct NameRules {
  bool reverse_dns = true;  // [libdefaults] rdns
  // The name of an IPv4 address by reverse look-up; empty: none. May block.
  std::string (*reverse)(const std::string& address) = nullptr;
};

// The host part: the operator's sasl_host; else the name as listed, in lower case and without a
// final dot; else, listed by address, its reverse name where rdns is on and there is one, or the
// address itself. Never empty. May block in `rules.reverse`.
std::string sasl_host(const Server& server, const NameRules& rules);

bool is_ipv4(const std::string& text);

// Reads krb5.conf as it is now, with the system's reverse look-up.
NameRules system_name_rules();
// The realm that the library gives to services on `host`; "?" when none can be told.
std::string realm_of(const std::string& host);
// "zookeeper/zk1.example@EXAMPLE".
std::string principal_name(const std::string& service, const std::string& host);

// Makes Kerberos take names of services as they are given: writes `path`, a krb5.conf that turns
// canonicalisation off, and puts it before the files of KRB5_CONFIG. Without it MIT's library would
// replace the listed name by what DNS says. Before any thread exists and any Kerberos call; the
// rules as they were before are returned.
Result<NameRules> pin_service_names(const std::string& path);

// What an operator can do about it, from what Kerberos or SASL said; `principal` was asked for.
std::string login_remedy(const std::string& said, const std::string& principal);
// A login to `endpoint` that was refused, from what was said about it last ("": nothing).
struct Refusal {
  std::string sentence;
  std::string remedy;
};
Refusal login_refusal(const Options& options, const std::string& endpoint,
                      const std::string& principal, std::string said);

}  // namespace markab::zk
