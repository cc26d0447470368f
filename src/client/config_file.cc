#include "client/config_file.h"

#include <cstdlib>

#include "security/options.h"

namespace markab::client {

Result<std::shared_ptr<Config>> load_client_config(const std::string& path) {
  auto keys = security::security_config_keys();
  keys.push_back(ConfigKey::text("meta_server", "server_list", "",
                                 "The meta servers, as host:port,host:port"));
  return Config::load(path, std::move(keys), {}, {{"*", ""}});
}

Status apply_config_file(const std::string& path, ClientOptions& options) {
  auto config = load_client_config(path);
  if (!config) return config.error();
  auto security = security::read_security_options(**config);
  if (!security) return security.error();
  if (options.meta_servers.empty())
    options.meta_servers = (*config)->get_list("meta_server", "server_list");
  KerberosOptions& kerberos = options.kerberos;
  kerberos.enabled = security->enable_auth;
  kerberos.service_name = security->service_name;
  kerberos.service_fqdn = security->service_fqdn;
  kerberos.principal = security->principal;
  kerberos.keytab = security->keytab;
  kerberos.krb5_config = security->config;
  kerberos.sasl_plugin_path = security->plugin_path;
  kerberos.require_peer_auth = security->require_peer_auth;
  kerberos.negotiation_timeout = std::chrono::duration_cast<Milliseconds>(security->gate.deadline);
  return {};
}

Result<std::unique_ptr<security::Dialler>> make_dialler(const KerberosOptions& kerberos,
                                                        io::Shard& shard) {
  if (!kerberos.enabled) return std::unique_ptr<security::Dialler>();
  if (!kerberos.krb5_config.empty()) ::setenv("KRB5_CONFIG", kerberos.krb5_config.c_str(), 1);
  security::DiallerOptions dial;
  dial.service_name = kerberos.service_name;
  dial.service_fqdn = kerberos.service_fqdn;
  dial.keytab = kerberos.keytab;
  dial.principal = kerberos.principal;
  dial.plugin_path = kerberos.sasl_plugin_path;
  dial.require_peer_auth = kerberos.require_peer_auth;
  dial.deadline = kerberos.negotiation_timeout;
  return security::Dialler::make(std::move(dial), shard);
}

}  // namespace markab::client
