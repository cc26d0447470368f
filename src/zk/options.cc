#include "zk/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>

namespace markab::zk {

namespace {

constexpr const char* kSection = "zookeeper";
constexpr uint16_t kDefaultPort = 2181;
constexpr size_t kMaxServers = 16;

Status refuse(std::string why) { return Status(Errc::kInvalidParameters, std::move(why)); }

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> out;
  size_t begin = 0;
  while (begin <= text.size()) {
    size_t end = std::min(text.find(',', begin), text.size());
    std::string item = text.substr(begin, end - begin);
    item.erase(0, item.find_first_not_of(" \t"));
    item.erase(item.find_last_not_of(" \t") + 1);
    if (!item.empty()) out.push_back(std::move(item));
    begin = end + 1;
  }
  return out;
}

Result<uint16_t> parse_port(const std::string& text, const std::string& whole) {
  bool digits = !text.empty() && text.size() <= 5 &&
                std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
  int port = digits ? std::stoi(text) : 0;
  if (port < 1 || port > 65535)
    return refuse(fmt::format("[zookeeper] hosts_list: {} has no port between 1 and 65535", whole));
  return static_cast<uint16_t>(port);
}

Result<std::string> read_password(const std::string& path, const std::string& scheme) {
  if (!scheme.empty() && scheme != "plaintext") {
    return refuse(fmt::format(
        "[zookeeper] sasl_password_encryption_scheme = {} is not known here; use plaintext",
        scheme));
  }
  std::ifstream in(path);
  std::string line;
  if (!in || !std::getline(in, line)) {
    return refuse(fmt::format(
        "[zookeeper] sasl_password_file = {} cannot be read; DIGEST-MD5 needs a password in its "
        "first line",
        path));
  }
  return line;
}

}  // namespace

std::string Server::endpoint() const { return fmt::format("{}:{}", name, port); }

std::vector<ConfigKey> config_keys() {
  std::vector<ConfigKey> keys;
  auto text = [&](const char* name, const char* value, const char* what) {
    keys.push_back(ConfigKey::text(kSection, name, value, what));
  };
  text("hosts_list", "", "ZooKeeper's servers, as host:port,host:port");
  keys.push_back(ConfigKey::integer(kSection, "timeout_ms", 4000, 500, 600000,
                                    "Session timeout in milliseconds; below [replication] "
                                    "fd_lease_seconds, so that replicas outlive a meta failover"));
  keys.push_back(ConfigKey::word(kSection, "sasl_mechanisms_type", "", {"", "GSSAPI", "DIGEST-MD5"},
                                 "How to log in; empty: not at all"));
  text("sasl_service_name", "zookeeper", "First part of the servers' Kerberos principals");
  text("sasl_service_fqdn", "",
       "Second part of the servers' principals: one for all, or a list as long as hosts_list; "
       "empty: the name by which each is listed");
  text("sasl_user_name", "", "User of DIGEST-MD5");
  text("sasl_realm", "", "Realm of DIGEST-MD5");
  text("sasl_password_file", "", "File whose first line is the password of DIGEST-MD5");
  text("sasl_password_encryption_scheme", "", "How that line is written: empty or plaintext");
  text(
      "acl_mode", "",
      "Who may touch the nodes: open, creator, or sasl:ID,ID; empty: creator with SASL, else open");
  text("logfile", "", "Accepted, without effect: the client logs into the daemon's log");
  text("zoo_log_level", "", "Accepted, without effect");
  return keys;
}

Result<std::vector<Server>> parse_servers(const std::string& hosts, const std::string& sasl_names,
                                          std::vector<std::string>& warnings) {
  std::vector<Server> out;
  for (const std::string& item : split(hosts)) {
    Server server;
    auto colon = item.rfind(':');
    server.name = item.substr(0, colon);
    server.port = kDefaultPort;
    if (colon != std::string::npos) {
      auto port = parse_port(item.substr(colon + 1), item);
      if (!port) return port.error();
      server.port = *port;
    }
    if (server.name.empty() || server.name.find_first_of(" \t/;:[]") != std::string::npos)
      return refuse(fmt::format("[zookeeper] hosts_list: {} is not host:port", item));
    out.push_back(std::move(server));
  }
  if (out.empty() || out.size() > kMaxServers) {
    return refuse(
        fmt::format("[zookeeper] hosts_list names {} servers; list 1 to {}, as in "
                    "zk1.example:2181,zk2.example:2181",
                    out.size(), kMaxServers));
  }
  auto names = split(sasl_names);
  if (!names.empty() && names.size() != 1 && names.size() != out.size()) {
    return refuse(
        fmt::format("[zookeeper] sasl_service_fqdn lists {} names for {} servers; give one for "
                    "all, or one for each",
                    names.size(), out.size()));
  }
  for (std::string& name : names) {
    auto colon = name.find(':');
    if (colon == std::string::npos) continue;
    warnings.push_back(fmt::format(
        "[zookeeper] sasl_service_fqdn: the port of {} is cut off; a principal has none", name));
    name.resize(colon);
    if (name.empty()) return refuse("[zookeeper] sasl_service_fqdn: a name is empty");
  }
  for (size_t i = 0; i < out.size() && !names.empty(); ++i)
    out[i].sasl_host = names[names.size() == 1 ? 0 : i];
  return out;
}

Result<Acl> parse_acl(const std::string& text, bool has_sasl) {
  Acl acl;
  if (text.empty()) {
    acl.mode = has_sasl ? Acl::Mode::kCreator : Acl::Mode::kOpen;
  } else if (text == "creator") {
    acl.mode = Acl::Mode::kCreator;
  } else if (text.rfind("sasl:", 0) == 0) {
    acl.mode = Acl::Mode::kIds;
    acl.ids = split(text.substr(5));
  } else if (text != "open") {
    return refuse(fmt::format(
        "[zookeeper] acl_mode = {}: allowed are open, creator, sasl:ID,ID and nothing", text));
  }
  if (acl.mode == Acl::Mode::kIds && acl.ids.empty())
    return refuse("[zookeeper] acl_mode = sasl: names nobody; list the metas' principals");
  if (acl.mode != Acl::Mode::kOpen && !has_sasl) {
    return refuse(
        fmt::format("[zookeeper] acl_mode = {} needs a login; set sasl_mechanisms_type", text));
  }
  return acl;
}

Result<Options> read_options(const Config& config, std::vector<std::string>& warnings) {
  Options out;
  auto text = [&](const char* name) { return config.get_string(kSection, name); };
  auto servers = parse_servers(text("hosts_list"), text("sasl_service_fqdn"), warnings);
  if (!servers) return servers.error();
  out.servers = std::move(*servers);
  out.session_timeout = std::chrono::milliseconds(config.get_int(kSection, "timeout_ms"));
  std::string mechanism = text("sasl_mechanisms_type");
  out.sasl = mechanism == "GSSAPI"       ? Sasl::kGssapi
             : mechanism == "DIGEST-MD5" ? Sasl::kDigest
                                         : Sasl::kNone;
  out.service = text("sasl_service_name");
  if (out.sasl == Sasl::kGssapi && out.service.empty())
    return refuse("[zookeeper] sasl_service_name is empty; it is zookeeper nearly everywhere");
  if (out.sasl == Sasl::kDigest) {
    out.user = text("sasl_user_name");
    out.realm = text("sasl_realm");
    if (out.user.empty()) return refuse("[zookeeper] sasl_user_name: DIGEST-MD5 needs one");
    auto password =
        read_password(text("sasl_password_file"), text("sasl_password_encryption_scheme"));
    if (!password) return password.error();
    out.password = std::move(*password);
  }
  auto acl = parse_acl(text("acl_mode"), out.sasl != Sasl::kNone);
  if (!acl) return acl.error();
  out.acl = std::move(*acl);
  return out;
}

}  // namespace markab::zk
