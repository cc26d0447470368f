#include "zk/principal.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <krb5.h>
#include <netdb.h>
#include <profile.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <memory>

#include "io/file.h"

namespace markab::zk {

namespace {

struct FreeContext {
  void operator()(krb5_context context) const { krb5_free_context(context); }
};
using Context = std::unique_ptr<std::remove_pointer_t<krb5_context>, FreeContext>;

Context make_context() {
  krb5_context raw = nullptr;
  return Context(krb5_init_context(&raw) == 0 ? raw : nullptr);
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

std::string reverse_name(const std::string& address) {
  sockaddr_in socket{};
  socket.sin_family = AF_INET;
  if (inet_pton(AF_INET, address.c_str(), &socket.sin_addr) != 1) return {};
  char name[NI_MAXHOST];
  if (getnameinfo(reinterpret_cast<sockaddr*>(&socket), sizeof(socket), name, sizeof(name), nullptr,
                  0, NI_NAMEREQD) != 0) {
    return {};
  }
  return name;
}

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

bool is_ipv4(const std::string& text) {
  in_addr ignored;
  return inet_pton(AF_INET, text.c_str(), &ignored) == 1;
}

std::string sasl_host(const Server& server, const NameRules& rules) {
  if (!server.sasl_host.empty()) return server.sasl_host;
  std::string name = server.name;
  if (is_ipv4(name)) {
    if (!rules.reverse_dns || rules.reverse == nullptr) return name;
    std::string found = rules.reverse(name);
    if (found.empty()) return name;
    name = std::move(found);
  }
  if (name.size() > 1 && name.back() == '.') name.pop_back();
  return lower(std::move(name));
}

NameRules system_name_rules() {
  NameRules rules;
  rules.reverse = reverse_name;
  Context context = make_context();
  profile_t profile = nullptr;
  if (context == nullptr || krb5_get_profile(context.get(), &profile) != 0) return rules;
  int on = 1;
  if (profile_get_boolean(profile, "libdefaults", "rdns", nullptr, 1, &on) == 0)
    rules.reverse_dns = on != 0;
  profile_release(profile);
  return rules;
}

std::string realm_of(const std::string& host) {
  Context context = make_context();
  if (context == nullptr) return "?";
  std::string out = "?";
  char** realms = nullptr;
  if (krb5_get_host_realm(context.get(), host.c_str(), &realms) == 0) {
    if (realms[0] != nullptr && realms[0][0] != '\0') out = realms[0];
    krb5_free_host_realm(context.get(), realms);
  }
  if (out != "?") return out;
  char* realm = nullptr;
  if (krb5_get_default_realm(context.get(), &realm) == 0) {
    out = realm;
    krb5_free_default_realm(context.get(), realm);
  }
  return out;
}

std::string principal_name(const std::string& service, const std::string& host) {
  return fmt::format("{}/{}@{}", service, host, realm_of(host));
}

Result<NameRules> pin_service_names(const std::string& path) {
  NameRules before = system_name_rules();
  Status s = io::real_file_system().write_atomic(
      path,
      "# Written by the daemon at its start: names of services are taken as they are given.\n"
      "[libdefaults]\n"
      "    rdns = false\n"
      "    dns_canonicalize_hostname = false\n"
      "    qualify_shortname = \"\"\n");
  if (!s.ok()) return s;
  const char* configured = std::getenv("KRB5_CONFIG");
  std::string rest = configured != nullptr && *configured != '\0' ? configured : "/etc/krb5.conf";
  setenv("KRB5_CONFIG", (path + ":" + rest).c_str(), 1);
  return before;
}

std::string login_remedy(const std::string& said, const std::string& principal) {
  if (contains(said, "not found in Kerberos database") && contains(said, "Server ")) {
    return fmt::format(
        "create {} in the KDC, or set [zookeeper] sasl_service_fqdn to the name under which the "
        "server was registered",
        principal);
  }
  if (contains(said, "Cannot contact any KDC") || contains(said, "Cannot find KDC"))
    return "start the KDC, or correct its address in krb5.conf";
  if (contains(said, "Clock skew"))
    return "set the clocks of this machine, the servers and the KDC";
  if (contains(said, "expired"))
    return "the ticket is renewed from the keytab; see what the log says of that";
  if (contains(said, "No Kerberos credentials") || contains(said, "No credentials"))
    return "set [security] krb5_keytab and krb5_principal, or run kinit";
  if (contains(said, "Decrypt integrity check failed") || contains(said, "Password incorrect") ||
      contains(said, "Preauthentication failed"))
    return "export the keytab anew: the KDC has a newer key than [security] krb5_keytab";
  if (contains(said, "No worthy mechs"))
    return "install libsasl2-modules-gssapi-mit, or correct [security] sasl_plugin_path";
  if (contains(said, "keytab")) return "see whether [security] krb5_keytab is there and current";
  return fmt::format(
      "see the server's log; its own principal may be another one than {}: then set [zookeeper] "
      "sasl_service_fqdn",
      principal);
}

Refusal login_refusal(const Options& options, const std::string& endpoint,
                      const std::string& principal, std::string said) {
  if (said.empty()) said = "(the server refused without a word)";
  if (options.sasl == Sasl::kDigest) {
    return {fmt::format("the login to {} as {} was refused: {}", endpoint, options.user, said),
            "correct [zookeeper] sasl_user_name and sasl_password_file, or what the server's "
            "DigestLoginModule has for that user"};
  }
  if (options.sasl == Sasl::kNone) {
    return {fmt::format("{} refused us, who did not log in: {}", endpoint, said),
            "set [zookeeper] sasl_mechanisms_type to what that server demands"};
  }
  // "... Minor code may provide more information (Server a/b@R not found ...)": the core of it.
  auto open = said.find(" (");
  if (said.back() == ')' && open != std::string::npos && said.rfind("GSSAPI Error", 0) == 0)
    said = said.substr(open + 2, said.size() - open - 3);
  return {fmt::format("the login to {} was refused; it was asked for {}, and Kerberos said: {}",
                      endpoint, principal, said),
          login_remedy(said, principal)};
}

}  // namespace markab::zk
