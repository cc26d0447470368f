#include "security/kerberos.h"

#include <fmt/format.h>
#include <krb5.h>

#include <atomic>
#include <cstdlib>
#include <memory>

namespace markab::security {

namespace {

// A library context; closes what was opened in it.
class Krb5 {
 public:
  Krb5() {
    code_ = krb5_init_context(&context_);
    if (code_ != 0) context_ = nullptr;
  }
  ~Krb5() {
    if (context_ != nullptr) krb5_free_context(context_);
  }
  Krb5(const Krb5&) = delete;
  Krb5& operator=(const Krb5&) = delete;

  operator krb5_context() const { return context_; }
  bool ok() const { return context_ != nullptr; }
  krb5_error_code code() const { return code_; }
  std::string text(krb5_error_code code) const {
    if (context_ == nullptr) return "krb5.conf cannot be read";
    const char* said = krb5_get_error_message(context_, code);
    std::string out = said;
    krb5_free_error_message(context_, said);
    return out;
  }
  Failure failure(krb5_error_code code) const { return by_code(code, text(code)); }

 private:
  static Failure by_code(krb5_error_code code, std::string text) {
    switch (code) {
      case KRB5_KDC_UNREACH:
      case KRB5_REALM_CANT_RESOLVE:
      case KRB5_REALM_UNKNOWN:
        return {Reason::kKdcUnreachable, std::move(text)};
      case KRB5KDC_ERR_C_PRINCIPAL_UNKNOWN:
        return {Reason::kUnknownPrincipal, std::move(text)};
      case KRB5KDC_ERR_S_PRINCIPAL_UNKNOWN:
        return {Reason::kUnknownServicePrincipal, std::move(text)};
      case KRB5KRB_AP_ERR_SKEW:
        return {Reason::kClockSkew, std::move(text)};
      case KRB5KDC_ERR_PREAUTH_FAILED:
      case KRB5KRB_AP_ERR_BAD_INTEGRITY:
        return {Reason::kStaleKey, std::move(text)};
      case KRB5_KT_NOTFOUND:
        return {Reason::kPrincipalNotInKeytab, std::move(text)};
      case KRB5KRB_AP_ERR_TKT_EXPIRED:
      case KRB5KDC_ERR_NEVER_VALID:
        return {Reason::kTicketExpired, std::move(text)};
      default:
        return failure_of(std::move(text));
    }
  }
  krb5_context context_ = nullptr;
  krb5_error_code code_ = 0;
};

struct Principal {
  explicit Principal(const Krb5& k) : krb5(k) {}
  ~Principal() {
    if (value != nullptr) krb5_free_principal(krb5, value);
  }
  std::string text() const {
    char* name = nullptr;
    if (value == nullptr || krb5_unparse_name(krb5, value, &name) != 0) return {};
    std::string out = name;
    krb5_free_unparsed_name(krb5, name);
    return out;
  }
  const Krb5& krb5;
  krb5_principal value = nullptr;
};

struct Keytab {
  explicit Keytab(const Krb5& k) : krb5(k) {}
  ~Keytab() {
    if (value != nullptr) krb5_kt_close(krb5, value);
  }
  const Krb5& krb5;
  krb5_keytab value = nullptr;
};

struct Cache {
  explicit Cache(const Krb5& k) : krb5(k) {}
  ~Cache() {
    if (value != nullptr) krb5_cc_close(krb5, value);
  }
  const Krb5& krb5;
  krb5_ccache value = nullptr;
};

struct Credentials {
  explicit Credentials(const Krb5& k) : krb5(k) {}
  ~Credentials() { krb5_free_cred_contents(krb5, &value); }
  const Krb5& krb5;
  krb5_creds value{};
};

std::string next_cache_name() {
  static std::atomic<uint64_t> serial{0};
  return fmt::format("MEMORY:markab-{}", ++serial);
}

krb5_error_code parse_service(const Krb5& krb5, const std::string& name, Principal& out) {
  auto at = name.find('@');
  std::string service = name.substr(0, at);
  std::string host = at == std::string::npos ? std::string() : name.substr(at + 1);
  return krb5_sname_to_principal(krb5, host.c_str(), service.c_str(), KRB5_NT_SRV_HST, &out.value);
}

// Asks the KDC for a ticket to one service and leaves it in the cache.
krb5_error_code fetch_service(const Krb5& krb5, const Cache& cache, krb5_principal client,
                              const std::string& name, std::string& asked) {
  Principal server(krb5);
  if (auto code = parse_service(krb5, name, server); code != 0) return code;
  asked = server.text();
  krb5_creds wanted{};
  wanted.client = client;
  wanted.server = server.value;
  krb5_creds* got = nullptr;
  auto code = krb5_get_credentials(krb5, 0, cache.value, &wanted, &got);
  if (got != nullptr) krb5_free_creds(krb5, got);
  return code;
}

krb5_error_code refresh_default(const Krb5& krb5, const Cache& from, krb5_principal client,
                                const std::string& name) {
  Cache to(krb5);
  auto code = krb5_cc_resolve(krb5, name.c_str(), &to.value);
  if (code == 0) code = krb5_cc_initialize(krb5, to.value, client);
  if (code == 0) code = krb5_cc_copy_creds(krb5, from.value, to.value);
  return code;
}

}  // namespace

Ticket::~Ticket() {
  Krb5 krb5;
  krb5_ccache cache = nullptr;
  if (krb5.ok() && !cache_name.empty() && krb5_cc_resolve(krb5, cache_name.c_str(), &cache) == 0)
    krb5_cc_destroy(krb5, cache);
}

std::shared_ptr<const Ticket> login(const LoginRequest& request, Failure& failure) {
  Krb5 krb5;
  Principal client(krb5);
  Keytab keytab(krb5);
  Credentials granted(krb5);
  Cache cache(krb5);
  auto ticket = std::make_shared<Ticket>();
  krb5_error_code code = krb5.code();
  if (code == 0) code = krb5_parse_name(krb5, request.principal.c_str(), &client.value);
  if (code == 0) code = krb5_kt_resolve(krb5, request.keytab.c_str(), &keytab.value);
  if (code == 0) {
    code = krb5_get_init_creds_keytab(krb5, &granted.value, client.value, keytab.value, 0, nullptr,
                                      nullptr);
  }
  if (code == 0) {
    ticket->cache_name = next_cache_name();
    code = krb5_cc_resolve(krb5, ticket->cache_name.c_str(), &cache.value);
  }
  if (code == 0) code = krb5_cc_initialize(krb5, cache.value, client.value);
  if (code == 0) code = krb5_cc_store_cred(krb5, cache.value, &granted.value);
  if (code != 0) {
    failure = krb5.failure(code);
    failure.detail =
        fmt::format("{}, keytab {}: {}", request.principal, request.keytab, failure.detail);
    return nullptr;
  }
  ticket->principal = client.text();
  ticket->issued_s = static_cast<uint32_t>(granted.value.times.authtime);
  if (granted.value.times.starttime != 0)
    ticket->issued_s = static_cast<uint32_t>(granted.value.times.starttime);
  ticket->expires_s = static_cast<uint32_t>(granted.value.times.endtime);
  for (const std::string& service : request.services) {
    std::string asked = service;
    if (auto failed = fetch_service(krb5, cache, client.value, service, asked); failed != 0)
      ticket->missing.emplace_back(asked, krb5.failure(failed));
  }
  if (!request.default_cache.empty()) {
    code = refresh_default(krb5, cache, client.value, request.default_cache);
    if (code != 0) {
      failure = krb5.failure(code);
      return nullptr;
    }
  }
  return ticket;
}

std::string default_realm() {
  Krb5 krb5;
  char* realm = nullptr;
  if (!krb5.ok() || krb5_get_default_realm(krb5, &realm) != 0) return {};
  std::string out = realm;
  krb5_free_default_realm(krb5, realm);
  return out;
}

std::string service_principal(const std::string& service, const std::string& host,
                              Failure& failure) {
  Krb5 krb5;
  Principal server(krb5);
  krb5_error_code code = krb5.code();
  if (code == 0) code = parse_service(krb5, service + "@" + host, server);
  if (code != 0) {
    failure = krb5.failure(code);
    return {};
  }
  return server.text();
}

std::string local_name(const std::string& principal) {
  constexpr int kMaxLocalName = 256;
  Krb5 krb5;
  Principal parsed(krb5);
  char name[kMaxLocalName];
  if (!krb5.ok() || krb5_parse_name(krb5, principal.c_str(), &parsed.value) != 0 ||
      krb5_aname_to_localname(krb5, parsed.value, kMaxLocalName, name) != 0)
    return {};
  return name;
}

std::string with_realm(const std::string& principal) {
  Krb5 krb5;
  Principal parsed(krb5);
  if (!krb5.ok() || krb5_parse_name(krb5, principal.c_str(), &parsed.value) != 0) return principal;
  return parsed.text();
}

bool read_keytab(const std::string& path, KeytabContent& out, Failure& failure) {
  Krb5 krb5;
  Keytab keytab(krb5);
  krb5_kt_cursor cursor;
  krb5_error_code code = krb5.code();
  if (code == 0) code = krb5_kt_resolve(krb5, path.c_str(), &keytab.value);
  if (code == 0) code = krb5_kt_start_seq_get(krb5, keytab.value, &cursor);
  if (code != 0) {
    failure = {Reason::kKeytabMissing, krb5.text(code)};
    return false;
  }
  krb5_keytab_entry entry;
  while ((code = krb5_kt_next_entry(krb5, keytab.value, &entry, &cursor)) == 0) {
    char* name = nullptr;
    if (krb5_unparse_name(krb5, entry.principal, &name) == 0) {
      uint32_t& newest = out.newest[name];
      newest = std::max(newest, static_cast<uint32_t>(entry.vno));
      krb5_free_unparsed_name(krb5, name);
    }
    krb5_free_keytab_entry_contents(krb5, &entry);
  }
  krb5_kt_end_seq_get(krb5, keytab.value, &cursor);
  if (code != KRB5_KT_END) {
    failure = {Reason::kKeytabMissing, krb5.text(code)};
    return false;
  }
  return true;
}

void set_environment(const KerberosEnvironment& environment) {
  auto set = [](const char* name, const std::string& value) {
    if (!value.empty()) ::setenv(name, value.c_str(), 1);
  };
  set("KRB5_CONFIG", environment.config);
  set("KRB5_KTNAME", environment.keytab);
  set("KRB5CCNAME", environment.default_cache);
  ::setenv("KRB5RCACHETYPE", "none", 1);
  ::setenv("KRB5RCACHENAME", "none:", 1);
}

}  // namespace markab::security
