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
#include "shell/doctor.h"

namespace markab::shell {

namespace {

constexpr int kDialMs = 2000;
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

// The rule of spec 05 §6.4, without the reverse look-up that krb5.conf may ask for.
std::string zookeeper_host(const std::vector<std::string>& overrides, size_t index,
                           const std::string& listed) {
  std::string out = overrides.size() == 1      ? overrides[0]
                    : index < overrides.size() ? overrides[index]
                                               : listed;
  if (auto colon = out.find(':'); colon != std::string::npos) out.resize(colon);
  if (!out.empty() && out.back() == '.') out.pop_back();
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  return out;
}

void check_zookeeper_ticket(Doctor& doctor, const security::SecurityOptions& options,
                            const std::string& listed, const std::string& host) {
  std::string service = doctor.config.get_string("zookeeper", "sasl_service_name") + "@" + host;
  security::Failure failure;
  auto ticket = security::login({options.keytab, options.principal, {service}, ""}, failure);
  if (ticket == nullptr) {
    doctor.fail("ZooKeeper ticket", failure.detail,
                std::string(security::reason_remedy(failure.reason)));
  } else if (!ticket->missing.empty()) {
    doctor.fail("ZooKeeper ticket",
                fmt::format("{}: no ticket for {}: {}", listed, ticket->missing[0].first,
                            ticket->missing[0].second.detail),
                "create that principal, or set [zookeeper] sasl_service_fqdn to the name under "
                "which the server was registered");
  } else {
    doctor.ok("ZooKeeper ticket",
              fmt::format("{} is asked for as {}, and the KDC knows it", listed, service));
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

void check_zookeeper(Doctor& doctor, const security::SecurityOptions& options) {
  auto servers = doctor.config.get_list("zookeeper", "hosts_list");
  auto overrides = doctor.config.get_list("zookeeper", "sasl_service_fqdn");
  if (!servers.empty() && overrides.size() > 1 && overrides.size() != servers.size()) {
    doctor.fail("ZooKeeper names", "sasl_service_fqdn and hosts_list differ in length",
                "give one name for all servers, or one for each");
  }
  bool with_kerberos = doctor.config.get_string("zookeeper", "sasl_mechanisms_type") == "GSSAPI";
  for (size_t i = 0; i < servers.size(); ++i) {
    auto endpoint = parse_endpoint(servers[i]);
    if (!endpoint) {
      doctor.fail("ZooKeeper", fmt::format("'{}' is not host:port", servers[i]),
                  "correct [zookeeper] hosts_list");
      continue;
    }
    auto address = look_up(endpoint->host);
    std::string error = !address ? "its name has no IPv4 address" : dial(*address, endpoint->port);
    if (error.empty()) {
      doctor.ok("ZooKeeper", servers[i] + " takes connections");
    } else {
      doctor.fail("ZooKeeper", fmt::format("{}: {}", servers[i], error),
                  "start that server, or correct [zookeeper] hosts_list");
    }
    if (with_kerberos && !options.keytab.empty())
      check_zookeeper_ticket(doctor, options, servers[i],
                             zookeeper_host(overrides, i, endpoint->host));
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
