#pragma once
// Why an authentication failed, in one word and with a remedy (spec 05 §10.1). The word goes into
// the status-10 answer, the log, the metrics and the doctor's report, so that all of them say the
// same. Pure; any thread.

#include <cstdint>
#include <string>
#include <string_view>

namespace markab::security {

// X(enumerator, word, remedy)
#define MARKAB_AUTH_REASONS(X)                                                                  \
  X(kNoKeyForService, "no_key_for_service",                                                     \
    "put the key of service_name/service_fqdn into the keytab named by [security] krb5_keytab") \
  X(kKeytabMissing, "keytab_missing",                                                           \
    "name an existing keytab that this user may read in [security] krb5_keytab")                \
  X(kStaleKey, "stale_key", "export the keytab anew: the KDC has a newer key than the keytab")  \
  X(kPrincipalNotInKeytab, "principal_not_in_keytab",                                           \
    "export the key of [security] krb5_principal into krb5_keytab")                             \
  X(kUnknownServicePrincipal, "unknown_service_principal",                                      \
    "create that principal in the KDC, or correct [security] service_name and service_fqdn")    \
  X(kUnknownPrincipal, "unknown_principal",                                                     \
    "create that principal in the KDC, or correct [security] krb5_principal")                   \
  X(kTicketExpired, "ticket_expired", "see why the ticket could not be renewed, or run kinit")  \
  X(kKdcUnreachable, "kdc_unreachable",                                                         \
    "start the KDC, or correct its address in krb5.conf ([security] krb5_config)")              \
  X(kNoCredentials, "no_credentials",                                                           \
    "set [security] krb5_keytab and krb5_principal, or run kinit")                              \
  X(kNoMechanism, "no_mechanism",                                                               \
    "install libsasl2-modules-gssapi-mit, or correct [security] sasl_plugin_path")              \
  X(kIdentityMismatch, "identity_mismatch",                                                     \
    "let the client ask for no identity but that of its ticket")                                \
  X(kEmptyServiceFqdn, "empty_service_fqdn", "set [security] service_fqdn")                     \
  X(kClockSkew, "clock_skew", "set the clocks of this machine, the peer and the KDC by NTP")    \
  X(kRealmNotAccepted, "realm_not_accepted", "add the realm to [security] accepted_realms")     \
  X(kProtocolOrder, "protocol_order", "the peer does not follow the negotiation's order")       \
  X(kTimeout, "timeout",                                                                        \
    "see what held up the peer or the KDC, or raise [security] negotiation_timeout_ms")         \
  X(kTooManyUnauthenticated, "too_many_unauthenticated",                                        \
    "see who connects so often, or raise [security] max_unauthenticated_per_ip")                \
  X(kPeerWithoutAuthentication, "peer_without_authentication",                                  \
    "set [security] enable_auth at the peer, or require_peer_auth = false here")                \
  X(kConnectionLost, "connection_lost", "see the peer's log")                                   \
  X(kMechanismRefused, "mechanism_refused", "see the log of the side that refused")

enum class Reason : uint8_t {
#define X(name, word, remedy) name,
  MARKAB_AUTH_REASONS(X)
#undef X
};
inline constexpr int kReasonCount = static_cast<int>(Reason::kMechanismRefused) + 1;

std::string_view reason_word(Reason reason);
std::string_view reason_remedy(Reason reason);

// A failure as it is told: the reason and what the library or the peer said.
struct Failure {
  Reason reason = Reason::kMechanismRefused;
  std::string detail;
  // "kdc_unreachable: Cannot contact any KDC for realm 'X'; start the KDC, or ...".
  std::string to_string() const;
};

// From what Kerberos, GSSAPI or SASL said.
Reason classify(std::string_view raw);
Failure failure_of(std::string raw);

// What travels with status 10: "word: detail", at most kMaxPeerText bytes, printable.
inline constexpr size_t kMaxPeerText = 512;
std::string to_peer_text(const Failure& failure);
// The same backwards; text of unknown form becomes kMechanismRefused.
Failure from_peer_text(std::string_view text);

}  // namespace markab::security
