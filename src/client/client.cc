#include "markab/client.h"

#include <netdb.h>

#include "client/table_impl.h"
#include "markab/admin.h"

namespace markab {

namespace {

constexpr int kMaxThreads = 64;

// Dotted IPv4 or a name, which is looked up now.
Outcome<HostPort> resolve(const std::string& text) {
  if (auto parsed = HostPort::parse(text)) return *parsed;
  auto colon = text.rfind(':');
  Error wrong{ErrorCode::kInvalidArgument, fmt::format("meta server '{}' is not host:port", text)};
  if (colon == std::string::npos || colon == 0) return wrong;
  auto port = HostPort::parse("0.0.0.1" + text.substr(colon));
  if (!port) return wrong;
  addrinfo hints{};
  hints.ai_family = AF_INET;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  std::string host = text.substr(0, colon);
  if (int error = getaddrinfo(host.c_str(), nullptr, &hints, &found); error != 0) {
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("meta server '{}': the name {} has no IPv4 address: {}", text, host,
                             gai_strerror(error))};
  }
  HostPort node{ntohl(reinterpret_cast<sockaddr_in*>(found->ai_addr)->sin_addr.s_addr), port->port};
  freeaddrinfo(found);
  return node;
}

Error check(const ClientOptions& options) {
  auto wrong = [](std::string text) { return Error{ErrorCode::kInvalidArgument, std::move(text)}; };
  if (options.meta_servers.empty())
    return wrong("meta_servers is empty; name at least one as host:port");
  if (options.threads < 1 || options.threads > kMaxThreads) {
    return wrong(fmt::format("threads = {} is out of range; allowed are 1 to {}", options.threads,
                             kMaxThreads));
  }
  if (options.connections_per_node < 1 || options.connections_per_node > kMaxThreads) {
    return wrong(fmt::format("connections_per_node = {} is out of range; allowed are 1 to {}",
                             options.connections_per_node, kMaxThreads));
  }
  if (options.max_in_flight == 0) return wrong("max_in_flight = 0 leaves no room for an operation");
  if (options.operation_timeout.count() <= 0) return wrong("operation_timeout must be above 0 ms");
  if (options.connect_timeout.count() <= 0) return wrong("connect_timeout must be above 0 ms");
  return {};
}

}  // namespace

Outcome<std::shared_ptr<Client>> Client::create(const ClientOptions& options) {
  if (Error error = check(options)) return error;
  std::vector<HostPort> metas;
  for (const auto& text : options.meta_servers) {
    auto node = resolve(text);
    if (!node) return node.error();
    metas.push_back(*node);
  }
  auto impl = std::make_shared<Impl>();
  auto front = client::Front::create(options, std::move(metas));
  if (!front) return front.error();
  impl->front = std::move(*front);
  return std::shared_ptr<Client>(new Client(std::move(impl)));
}

Client::Client(std::shared_ptr<Impl> impl)
    : impl_(std::move(impl)), admin_(std::make_unique<Admin>(*this)) {}
Client::~Client() = default;

Outcome<std::shared_ptr<Table>> Client::open(std::string_view name, Timeout timeout) {
  auto table = open_later(name, timeout);
  auto known = client::wait_for<Nothing>(*impl_->front, [&](Done<Nothing> done) {
    client::on_lane<Nothing>(
        table->impl_, impl_->front->lane(), timeout, std::move(done),
        [](client::Core& core, client::Core::Table& known, Instant deadline, Done<Nothing> done) {
          core.resolve(known, deadline, [done = std::move(done)](client::Answer answer) {
            if (answer.error) return done(std::move(answer.error));
            done(Nothing{});
          });
        });
  });
  if (!known) return known.error();
  return table;
}

std::shared_ptr<Table> Client::open_later(std::string_view name, Timeout timeout) {
  return std::shared_ptr<Table>(
      new Table(std::make_shared<Table::Impl>(impl_->front, std::string(name), timeout)));
}

Admin& Client::admin() { return *admin_; }

}  // namespace markab
