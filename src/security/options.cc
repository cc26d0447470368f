#include "security/options.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "security/kerberos.h"
#include "security/sasl.h"

namespace markab::security {

namespace {
constexpr const char* kSection = "security";
}

std::vector<ConfigKey> security_config_keys() {
  std::vector<ConfigKey> keys;
  auto add = [&](ConfigKey key) { keys.push_back(std::move(key)); };
  auto text = [&](const char* name, const char* description) {
    add(ConfigKey::text(kSection, name, "", description));
  };
  add(ConfigKey::boolean(kSection, "enable_auth", false,
                         "Prove identities by Kerberos, as server and as client"));
  add(ConfigKey::boolean(kSection, "mandatory_auth", false,
                         "Serve nothing but negotiation to peers that did not authenticate")
          .mutable_at_run_time());
  text("krb5_keytab", "File with the keys of krb5_principal and of service_name/service_fqdn");
  text("krb5_config", "Kerberos configuration file; empty: the system's");
  text("krb5_principal", "Who this daemon logs in as; empty with krb5_keytab: the ticket cache");
  text("service_name", "First part of the service principal of all servers of the cluster");
  text("service_fqdn", "Second part of it; one name for the whole cluster, not a host's address");
  text("sasl_plugin_path", "Folder of the SASL plugins; empty: the library's own");
  text("accepted_realms", "Realms whose users are let in; empty: that of krb5_principal");
  add(ConfigKey::word(kSection, "require_peer_auth", "auto", {"auto", "true", "false"},
                      "Refuse to talk to servers that ask for no authentication; auto: as "
                      "mandatory_auth"));
  add(ConfigKey::integer(kSection, "negotiation_timeout_ms", 10000, 100, 600000,
                         "Longest time of a negotiation in milliseconds, on both sides"));
  add(ConfigKey::integer(kSection, "premature_grace_ms", 1000, 0, 60000,
                         "How long requests that come before negotiation wait for it"));
  add(ConfigKey::integer(kSection, "max_unauthenticated_per_ip", 1024, 1, 1000000,
                         "Connections of one host that are not authenticated yet"));
  add(ConfigKey::integer(kSection, "max_unauthenticated", 4096, 1, 1000000,
                         "Connections of all hosts that are not authenticated yet"));
  add(ConfigKey::integer(kSection, "login_retry_max_s", 30, 1, 3600,
                         "Longest pause between attempts to log in, in seconds"));
  text("trusted_networks",
       "NETWORK=USER list: peers from there pass without authentication, as that user");
  add(ConfigKey::boolean(kSection, "enable_acl", false, "Check what each user may do"));
  add(ConfigKey::boolean(kSection, "enable_ranger_acl", false,
                         "Take the rules from Apache Ranger (not available)"));
  text("super_users", "Users who may do everything");
  text(
      "audit_file",
      "File for the lines about administrative actions and refusals, which the log has too; empty: "
      "none. It is rotated at 64 MiB");
  add(ConfigKey::integer(kSection, "audit_files", 20, 1, 1000,
                         "Rotated audit files that are kept"));
  text("service_users", "Users as whom daemons run; empty: the user of krb5_principal");
  text("meta_acl_rpc_allow_list", "Meta RPCs for everybody, instead of the default list");
  add(ConfigKey::boolean(kSection, "enable_zookeeper_kerberos", false,
                         "Log in to ZooKeeper by Kerberos"));
  text("zookeeper_kerberos_service_name", "Deprecated: [zookeeper] sasl_service_name");
  text("zookeeper_sasl_service_fqdn", "Deprecated: [zookeeper] sasl_service_fqdn");
  add(ConfigKey::text(kSection, "encryption_cluster_key_name", "pegasus_cluster_key",
                      "Name of the storage encryption key"));
  return keys;
}

Result<SecurityOptions> read_security_options(const Config& config) {
  SecurityOptions out;
  auto text = [&](const char* name) { return config.get_string(kSection, name); };
  auto flag = [&](const char* name) { return config.get_bool(kSection, name); };
  auto number = [&](const char* name) { return config.get_int(kSection, name); };
  auto users = [&](const char* name) {
    auto list = config.get_list(kSection, name);
    return UserSet(list.begin(), list.end());
  };
  out.enable_auth = flag("enable_auth");
  out.mandatory_auth = flag("mandatory_auth");
  out.keytab = text("krb5_keytab");
  out.config = text("krb5_config");
  out.principal = text("krb5_principal");
  out.service_name = text("service_name");
  out.service_fqdn = text("service_fqdn");
  out.plugin_path = text("sasl_plugin_path");
  out.accepted_realms = config.get_list(kSection, "accepted_realms");
  auto require = text("require_peer_auth");
  out.require_peer_auth = require == "auto" ? out.mandatory_auth : require == "true";
  out.zookeeper_kerberos = flag("enable_zookeeper_kerberos");
  out.longest_login_pause = std::chrono::seconds(number("login_retry_max_s"));
  GateOptions& gate = out.gate;
  gate.mandatory = out.mandatory_auth;
  gate.deadline = std::chrono::milliseconds(number("negotiation_timeout_ms"));
  gate.premature_grace = std::chrono::milliseconds(number("premature_grace_ms"));
  gate.max_unauthenticated_per_ip = static_cast<size_t>(number("max_unauthenticated_per_ip"));
  gate.max_unauthenticated = static_cast<size_t>(number("max_unauthenticated"));
  gate.super_users = config.get_list(kSection, "super_users");
  auto trusted = TrustedNetworks::parse(config.get_list(kSection, "trusted_networks"));
  if (!trusted) return trusted.error();
  gate.trusted = std::move(*trusted);
  AccessOptions& access = out.access;
  access.enable_auth = out.enable_auth;
  access.enable_acl = flag("enable_acl");
  access.super_users = users("super_users");
  access.service_users = users("service_users");
  if (access.service_users.empty() && !out.principal.empty())
    access.service_users.insert(short_name(out.principal));
  access.open_codes = config.get_list(kSection, "meta_acl_rpc_allow_list");
  if (flag("enable_ranger_acl")) {
    return Status(Errc::kInvalidParameters,
                  "[security] enable_ranger_acl: rules from Ranger are not available in this "
                  "version; use enable_acl with super_users and the tables' allowed_users");
  }
  if (auto rules = AccessRules::make(access); !rules) return rules.error();
  return out;
}

namespace {

// The principals that the keytab must hold (05 §4).
void check_keytab(const SecurityOptions& options, std::vector<std::string>& out) {
  if (::access(options.keytab.c_str(), R_OK) != 0) {
    out.push_back(fmt::format("[security] krb5_keytab: {} cannot be read: {}; {}", options.keytab,
                              std::strerror(errno), reason_remedy(Reason::kKeytabMissing)));
    return;
  }
  KeytabContent content;
  Failure failure;
  if (!read_keytab(options.keytab, content, failure)) {
    out.push_back(fmt::format("[security] krb5_keytab: {}", failure.to_string()));
    return;
  }
  auto need = [&](const std::string& principal, const char* keys, Reason reason) {
    if (content.newest.contains(principal)) return;
    out.push_back(fmt::format("[security] {}: no key of {} in {}; {}", keys, principal,
                              options.keytab, reason_remedy(reason)));
  };
  if (!options.principal.empty())
    need(with_realm(options.principal), "krb5_principal", Reason::kPrincipalNotInKeytab);
  if (options.enable_auth && !options.service_name.empty() && !options.service_fqdn.empty()) {
    need(with_realm(options.service_name + "/" + options.service_fqdn),
         "service_name, service_fqdn", Reason::kNoKeyForService);
  }
}

}  // namespace

std::vector<std::string> problems_of(const SecurityOptions& options) {
  std::vector<std::string> out;
  if (options.mandatory_auth && !options.enable_auth) {
    out.emplace_back("[security] mandatory_auth needs enable_auth = true");
  }
  bool has_kerberos = options.enable_auth || options.zookeeper_kerberos;
  if (options.enable_auth && (options.service_name.empty() || options.service_fqdn.empty())) {
    out.emplace_back(
        "[security] enable_auth needs service_name and service_fqdn, alike on all servers and "
        "clients of the cluster");
  }
  if (has_kerberos && options.keytab.empty() != options.principal.empty()) {
    out.emplace_back(
        "[security] krb5_keytab and krb5_principal belong together: set both, or none to use the "
        "ticket cache");
  }
  if (has_kerberos && !options.config.empty() && ::access(options.config.c_str(), R_OK) != 0) {
    out.push_back(fmt::format("[security] krb5_config: {} cannot be read: {}", options.config,
                              std::strerror(errno)));
  }
  if (has_kerberos && !options.keytab.empty()) check_keytab(options, out);
  if (options.enable_auth) {
    if (Status loaded = load_sasl(options.plugin_path); !loaded.ok())
      out.push_back("[security] " + loaded.message());
  }
  const AccessOptions& access = options.access;
  if (access.enable_acl && !options.enable_auth && options.gate.trusted.empty()) {
    out.emplace_back(
        "[security] enable_acl needs enable_auth or trusted_networks: without them nobody has a "
        "name");
  }
  if (access.enable_acl && !options.principal.empty()) {
    std::string own = short_name(options.principal);
    if (!access.super_users.contains(own) && !access.service_users.contains(own)) {
      out.push_back(fmt::format(
          "[security] enable_acl: this daemon runs as {}, which is neither in super_users nor in "
          "service_users; the daemons would refuse each other",
          own));
    }
  }
  return out;
}

}  // namespace markab::security
