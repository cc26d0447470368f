#include "security/reason.h"

#include <fmt/format.h>

#include <iterator>

namespace markab::security {

namespace {

struct Entry {
  std::string_view word;
  std::string_view remedy;
};
constexpr Entry kEntries[] = {
#define X(name, word, remedy) {word, remedy},
    MARKAB_AUTH_REASONS(X)
#undef X
};
static_assert(std::size(kEntries) == kReasonCount);

struct Sign {
  std::string_view text;
  Reason reason;
};
// The first that occurs decides; texts of MIT krb5 1.20, Cyrus SASL 2.1.28 and the JDK.
constexpr Sign kSigns[] = {
    {"No key table entry found", Reason::kNoKeyForService},
    {"keytab is likely out of date", Reason::kStaleKey},
    {"Password incorrect", Reason::kStaleKey},
    {"Decrypt integrity check failed", Reason::kStaleKey},
    {"Cannot decrypt ticket", Reason::kStaleKey},
    {"Preauthentication failed", Reason::kStaleKey},
    {"Keytab contains no suitable keys", Reason::kPrincipalNotInKeytab},
    {"not found in keytab", Reason::kNoKeyForService},
    {"Key table file", Reason::kKeytabMissing},
    {"Unsupported key table format", Reason::kKeytabMissing},
    {"Clock skew too great", Reason::kClockSkew},
    {"Ticket expired", Reason::kTicketExpired},
    {"credentials have expired", Reason::kTicketExpired},
    {"Cannot contact any KDC", Reason::kKdcUnreachable},
    {"Cannot find KDC", Reason::kKdcUnreachable},
    {"Cannot resolve network address", Reason::kKdcUnreachable},
    {"No Kerberos credentials available", Reason::kNoCredentials},
    {"No credentials cache found", Reason::kNoCredentials},
    {"Credentials cache", Reason::kNoCredentials},
    {"No worthy mechs found", Reason::kNoMechanism},
    {"no mechanism available", Reason::kNoMechanism},
    {"Requested identity not authenticated identity", Reason::kIdentityMismatch},
    {"no serverFQDN", Reason::kEmptyServiceFqdn},
};

}  // namespace

std::string_view reason_word(Reason reason) { return kEntries[static_cast<size_t>(reason)].word; }
std::string_view reason_remedy(Reason reason) {
  return kEntries[static_cast<size_t>(reason)].remedy;
}

std::string Failure::to_string() const {
  return fmt::format("{}: {}; {}", reason_word(reason), detail, reason_remedy(reason));
}

Reason classify(std::string_view raw) {
  for (const Sign& sign : kSigns) {
    if (raw.find(sign.text) != std::string_view::npos) return sign.reason;
  }
  // "Server NAME not found in Kerberos database", "Client 'NAME' not found in Kerberos database".
  if (raw.find("not found in Kerberos database") != std::string_view::npos) {
    return raw.find("Client '") != std::string_view::npos ? Reason::kUnknownPrincipal
                                                          : Reason::kUnknownServicePrincipal;
  }
  return Reason::kMechanismRefused;
}

Failure failure_of(std::string raw) {
  Reason reason = classify(raw);
  return {reason, std::move(raw)};
}

std::string to_peer_text(const Failure& failure) {
  std::string out = fmt::format("{}: {}", reason_word(failure.reason), failure.detail);
  // Cut between characters: a byte of the form 10xxxxxx continues the one before.
  if (out.size() > kMaxPeerText) {
    size_t end = kMaxPeerText;
    while (end > 0 && (static_cast<unsigned char>(out[end]) & 0xC0) == 0x80) --end;
    out.resize(end);
  }
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  }
  return out;
}

Failure from_peer_text(std::string_view text) {
  text = text.substr(0, kMaxPeerText);
  auto colon = text.find(": ");
  if (colon != std::string_view::npos) {
    for (int i = 0; i < kReasonCount; ++i) {
      if (kEntries[i].word == text.substr(0, colon))
        return {static_cast<Reason>(i), std::string(text.substr(colon + 2))};
    }
  }
  return {Reason::kMechanismRefused,
          text.empty() ? "the peer refused and gave no reason" : std::string(text)};
}

}  // namespace markab::security
