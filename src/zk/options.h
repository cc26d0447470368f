#pragma once
// The [zookeeper] section (spec 05 §4, §6): where the servers are, how to log in, who may touch the
// nodes. Read at start, by one thread.

#include <string>
#include <vector>

#include "base/config.h"
#include "base/ids.h"
#include "base/status.h"

namespace markab::zk {

enum class Sasl { kNone, kGssapi, kDigest };

// One server as the operator listed it.
struct Server {
  std::string name;  // as listed, without the port: a host name or an IPv4 address
  uint16_t port = 2181;
  std::string sasl_host;  // [zookeeper] sasl_service_fqdn for this server; empty: by the rule
                          // (principal.h)
  std::string endpoint() const;  // "zk1.example:2181"
  friend bool operator==(const Server&, const Server&) = default;
};

struct Acl {
  enum class Mode { kOpen, kCreator, kIds } mode = Mode::kOpen;
  std::vector<std::string> ids;  // with kIds: names of SASL users
};

struct Options {
  std::vector<Server> servers;
  Duration session_timeout = std::chrono::seconds(4);
  Sasl sasl = Sasl::kNone;
  std::string service = "zookeeper";
  std::string user, realm, password;  // DIGEST-MD5
  std::string plugin_path;            // of Cyrus SASL; empty: the library's own
  Acl acl;
};

std::vector<ConfigKey> config_keys();
// kInvalidParameters names the key and what is allowed. `warnings` gets sentences about what is
// understood but should be written otherwise.
Result<Options> read_options(const Config& config, std::vector<std::string>& warnings);

// "zk1.example:2181,zk2.example" and the names for SASL; one for all, or one for each.
Result<std::vector<Server>> parse_servers(const std::string& hosts, const std::string& sasl_names,
                                          std::vector<std::string>& warnings);
// "open", "creator", "sasl:a@R,b@R"; empty: creator when SASL is on, else open.
Result<Acl> parse_acl(const std::string& text, bool has_sasl);

}  // namespace markab::zk
