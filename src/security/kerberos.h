#pragma once
// The Kerberos library, as far as it is used directly: logging in from a keytab into a memory
// cache, looking into keytabs. Every function may block on the KDC or a disk unless it says
// otherwise; any thread.

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "security/reason.h"

namespace markab::security {

// A ticket in a memory cache of its own, which is destroyed with it.
struct Ticket {
  ~Ticket();
  std::string cache_name;  // "MEMORY:..."
  std::string principal;
  int64_t issued_s = 0;  // wall clock, seconds since 1970, as the KDC says
  int64_t expires_s = 0;
  // Services for which a ticket could not be fetched beforehand, and why.
  std::vector<std::pair<std::string, Failure>> missing;
};

struct LoginRequest {
  std::string keytab;
  std::string principal;
  // "service@host" names whose tickets are fetched along (05 §5.2).
  std::vector<std::string> services;
  // The process's default cache, refreshed as well for libraries that look there ("": not).
  std::string default_cache;
};

// One exchange with the KDC. nullptr with the cause.
std::shared_ptr<const Ticket> login(const LoginRequest& request, Failure& failure);

// "EXAMPLE.ORG" of krb5.conf; "" when there is none.
std::string default_realm();
// "pegasus/localhost@REALM" as a KDC is asked for it, after krb5.conf's rules of canonical names;
// "" with the cause. May look up names.
std::string service_principal(const std::string& service, const std::string& host,
                              Failure& failure);
// What the principal is called on this machine (auth_to_local); "" when no rule fits.
std::string local_name(const std::string& principal);

// Principals of a keytab and the newest key version of each.
struct KeytabContent {
  std::map<std::string, uint32_t> newest;
};
bool read_keytab(const std::string& path, KeytabContent& out, Failure& failure);
// "REALM" appended where it is missing.
std::string with_realm(const std::string& principal);

// The environment that Kerberos libraries read, set once before any thread exists (05 §5.2): the
// configuration file, the keytab, a memory cache instead of the user's, no replay cache (several
// daemons share one principal). Empty values leave a variable alone.
struct KerberosEnvironment {
  std::string config;
  std::string keytab;
  std::string default_cache;
};
void set_environment(const KerberosEnvironment& environment);

}  // namespace markab::security
