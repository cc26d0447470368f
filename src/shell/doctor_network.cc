// The doctor's checks of what lies around the daemon: ZooKeeper, names, ports, directories, limits.

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

#include "security/kerberos.h"
#include "security/service.h"
#include "shell/doctor.h"
#include "zk/probe.h"

namespace markab::shell {

namespace {

constexpr int kDialMs = 2000;
constexpr Duration kLoginLimit = std::chrono::seconds(5);
constexpr rlim_t kWantedFiles = 65536;
constexpr double kLeastFreeShare = 0.1;

struct Descriptor {
  explicit Descriptor(int fd) : value(fd) {}
  ~Descriptor() {
    if (value >= 0) ::close(value);
  }
  int value;
};

bool is_ipv4(const std::string& host) {
  in_addr ignored;
  return ::inet_pton(AF_INET, host.c_str(), &ignored) == 1;
}

std::optional<sockaddr_in> look_up(const std::string& host) {
  addrinfo hints{};
  hints.ai_family = AF_INET;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(host.c_str(), nullptr, &hints, &found) != 0) return std::nullopt;
  sockaddr_in out = *reinterpret_cast<sockaddr_in*>(found->ai_addr);
  ::freeaddrinfo(found);
  return out;
}

std::string address_text(const sockaddr_in& address) {
  char text[INET_ADDRSTRLEN] = "";
  ::inet_ntop(AF_INET, &address.sin_addr, text, sizeof text);
  return text;
}

// "" when there is none.
std::string name_of(const sockaddr_in& address) {
  char name[NI_MAXHOST] = "";
  if (::getnameinfo(reinterpret_cast<const sockaddr*>(&address), sizeof address, name, sizeof name,
                    nullptr, 0, NI_NAMEREQD) != 0)
    return {};
  return name;
}

// "" when a connection came about.
std::string dial(sockaddr_in address, uint16_t port) {
  address.sin_port = htons(port);
  Descriptor fd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (fd.value < 0) return std::strerror(errno);
  if (::connect(fd.value, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return {};
  if (errno != EINPROGRESS) return std::strerror(errno);
  pollfd p{fd.value, POLLOUT, 0};
  if (::poll(&p, 1, kDialMs) <= 0) return fmt::format("no answer within {} ms", kDialMs);
  int error = 0;
  socklen_t size = sizeof error;
  ::getsockopt(fd.value, SOL_SOCKET, SO_ERROR, &error, &size);
  return error == 0 ? std::string() : std::strerror(error);
}

struct Endpoint {
  std::string host;
  uint16_t port = 0;
};
std::optional<Endpoint> parse_endpoint(const std::string& text) {
  auto colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0) return std::nullopt;
  auto port = HostPort::parse("0.0.0.1" + text.substr(colon));
  if (!port) return std::nullopt;
  return Endpoint{text.substr(0, colon), port->port};
}

// A login to one server, as the daemon would do it.
void check_zookeeper_login(Doctor& doctor, const zk::Options& options, const zk::Server& server,
                           const zk::NameRules& names) {
  auto root = doctor.config.get_string("meta_server", "cluster_root");
  auto probe = zk::probe(options, server, names, root.empty() ? "/" : root, kLoginLimit);
  auto ms = probe.took / std::chrono::milliseconds(1);
  if (!probe.connected) {
    doctor.fail("ZooKeeper login", fmt::format("{} (after {} ms)", probe.why, ms), probe.remedy);
    return;
  }
  std::string as = options.sasl == zk::Sasl::kNone ? std::string("without a login")
                   : probe.principal.empty() ? fmt::format("as {}, by DIGEST-MD5", options.user)
                                             : fmt::format("as a client of {}", probe.principal);
  if (!probe.granted.empty()) as += fmt::format(", which takes us for {}", probe.granted);
  doctor.ok("ZooKeeper login",
            fmt::format("{} serves us {}; it took {} ms", server.endpoint(), as, ms));
  if (probe.root_acl.empty()) return;
  auto found =
      fmt::format("{}: the access list of {} is {}", server.endpoint(), root, probe.root_acl);
  if (options.sasl != zk::Sasl::kNone && probe.root_acl.find("world:anyone") != std::string::npos &&
      options.acl.mode != zk::Acl::Mode::kOpen && root != "/") {
    doctor.warn(
        "ZooKeeper access", found,
        "anybody may write there until a meta server with this [zookeeper] acl_mode has led");
  } else {
    doctor.ok("ZooKeeper access", found);
  }
}

void check_writable(Doctor& doctor, const char* key, const std::string& path) {
  if (::access(path.c_str(), F_OK) != 0) {
    // The daemon makes it; then its nearest parent decides.
    std::string parent = path;
    while (parent.size() > 1 && ::access(parent.c_str(), F_OK) != 0) {
      auto slash = parent.rfind('/');
      parent = slash == std::string::npos ? "." : slash == 0 ? "/" : parent.substr(0, slash);
    }
    if (::access(parent.c_str(), W_OK | X_OK) == 0) {
      doctor.ok("directory", fmt::format("{}: {} can be made", key, path));
    } else {
      doctor.fail("directory",
                  fmt::format("{}: {} does not exist and {} is not writable", key, path, parent),
                  fmt::format("make it, writable for this user, or change {}", key));
    }
    return;
  }
  if (::access(path.c_str(), W_OK | X_OK) != 0) {
    doctor.fail("directory",
                fmt::format("{}: {} is not writable: {}", key, path, std::strerror(errno)),
                fmt::format("make it writable for this user, or change {}", key));
    return;
  }
  struct statvfs space {};
  double free_share = 1;
  if (::statvfs(path.c_str(), &space) == 0 && space.f_blocks > 0)
    free_share = static_cast<double>(space.f_bavail) / static_cast<double>(space.f_blocks);
  auto found = fmt::format("{}: {} is writable, {:.0f} % free", key, path, free_share * 100);
  if (free_share < kLeastFreeShare) {
    doctor.warn("directory", found, "make room before writes are refused");
  } else {
    doctor.ok("directory", found);
  }
}

}  // namespace

void check_zookeeper(Doctor& doctor, const security::SecurityOptions& security,
                     const zk::NameRules& names) {
  if (doctor.config.get_list("zookeeper", "hosts_list").empty()) return;
  std::vector<std::string> warnings;
  auto options = zk::read_options(doctor.config, warnings);
  for (const auto& warning : warnings) doctor.warn("ZooKeeper", warning, "correct that key");
  if (!options) {
    doctor.fail("ZooKeeper", options.error().message(), "correct that key");
    return;
  }
  if (security.zookeeper_kerberos && options->sasl != zk::Sasl::kGssapi) {
    doctor.fail("ZooKeeper",
                "[security] enable_zookeeper_kerberos is on and [zookeeper] sasl_mechanisms_type "
                "is another: the meta server will not start",
                "set [zookeeper] sasl_mechanisms_type = GSSAPI");
  }
  options->plugin_path = security.plugin_path;
  for (const auto& server : options->servers) {
    auto address = look_up(server.name);
    std::string error = !address ? "its name has no IPv4 address" : dial(*address, server.port);
    if (!error.empty()) {
      doctor.fail("ZooKeeper", fmt::format("{}: {}", server.endpoint(), error),
                  "start that server, or correct [zookeeper] hosts_list");
      continue;
    }
    doctor.ok("ZooKeeper", server.endpoint() + " takes connections");
    if (options->sasl == zk::Sasl::kGssapi && security.needs_tickets()) {
      // Into the cache where ZooKeeper's client looks, as the daemon's keeper does.
      security::Failure failure;
      std::string service = options->service + "@" + zk::sasl_host(server, names);
      auto ticket = security::login(
          {security.keytab, security.principal, {service}, security::kDefaultCache}, failure);
      if (ticket == nullptr) {
        doctor.fail("ZooKeeper login", failure.detail,
                    std::string(security::reason_remedy(failure.reason)));
        continue;
      }
    }
    check_zookeeper_login(doctor, *options, server, names);
  }
}

void check_names(Doctor& doctor) {
  std::vector<std::string> listed = doctor.config.get_list("meta_server", "server_list");
  for (auto& server : doctor.config.get_list("zookeeper", "hosts_list")) listed.push_back(server);
  for (const auto& text : listed) {
    auto endpoint = parse_endpoint(text);
    if (!endpoint) {
      doctor.fail("name", fmt::format("'{}' is not host:port", text), "correct that list");
      continue;
    }
    auto address = look_up(endpoint->host);
    if (!address) {
      doctor.fail("name", fmt::format("{} has no IPv4 address", endpoint->host),
                  "add it to DNS or /etc/hosts");
      continue;
    }
    std::string back = name_of(*address);
    auto found = fmt::format("{} is {}, which is called {}", endpoint->host, address_text(*address),
                             back.empty() ? "nothing" : back);
    bool agrees = is_ipv4(endpoint->host) || back == endpoint->host;
    if (agrees) {
      doctor.ok("name", found);
    } else {
      doctor.warn("name", found,
                  "harmless with rdns = false and dns_canonicalize_hostname = false in krb5.conf");
    }
  }
}

void check_ports(Doctor& doctor) {
  auto host = doctor.config.get_string("network", "address");
  auto port = doctor.config.get_string("network", "port");
  auto self = HostPort::parse(host + ":" + port);
  if (port.empty()) {
    doctor.warn("port", "[network] port is not set: the daemon's default is taken",
                "name it, so that peers and firewalls can rely on it");
    return;
  }
  if (!self) {
    doctor.fail("port", self.error().message(), "correct [network] address and port");
    return;
  }
  Descriptor fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  int on = 1;
  ::setsockopt(fd.value, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(self->port);
  address.sin_addr.s_addr = htonl(self->ipv4);
  if (::bind(fd.value, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) {
    doctor.ok("port", fmt::format("{} is free", *self));
  } else if (errno == EADDRINUSE) {
    doctor.warn(
        "port", fmt::format("{} is in use", *self),
        "fine if this daemon runs already; else stop what has it, or change [network] port");
  } else {
    doctor.fail("port", fmt::format("{} cannot be had: {}", *self, std::strerror(errno)),
                "correct [network] address and port");
  }
}

void check_directories(Doctor& doctor) {
  check_writable(doctor, "[core] data_dir", doctor.config.get_string("core", "data_dir"));
  if (auto state = doctor.config.get_string("meta_server", "state_dir"); !state.empty())
    check_writable(doctor, "[meta_server] state_dir", state);
  for (const auto& item : doctor.config.get_list("replication", "data_dirs")) {
    auto colon = item.find(':');
    check_writable(doctor, "[replication] data_dirs",
                   colon == std::string::npos ? item : item.substr(colon + 1));
  }
}

void check_limits(Doctor& doctor) {
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  auto found = fmt::format("this user may have {} files and connections open", files.rlim_cur);
  if (files.rlim_cur < kWantedFiles) {
    doctor.warn("open files", found,
                fmt::format("ulimit -n {}, or LimitNOFILE= in the daemon's unit", kWantedFiles));
  } else {
    doctor.ok("open files", found);
  }
}

}  // namespace markab::shell
