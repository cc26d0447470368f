#include "rpc/server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <mutex>

#include "base/log.h"
#include "rpc/process_metrics.h"
#include "rpc/server_shard.h"

namespace markab::rpc {

namespace {

sockaddr_in to_sockaddr(HostPort node) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(node.port);
  address.sin_addr.s_addr = htonl(node.ipv4);
  return address;
}

HostPort from_sockaddr(const sockaddr_in& address) {
  return {ntohl(address.sin_addr.s_addr), ntohs(address.sin_port)};
}

// The listening socket; lives on shard 0.
class Acceptor final : public io::Poller::Watcher {
 public:
  // A burst of clients that come at once, as after a restart.
  static constexpr int kBacklog = 1024;
  static constexpr int kAcceptsPerTurn = 64;
  // When descriptors are short: how long new connections wait in the kernel's queue before another
  // try.
  static constexpr Duration kRest = std::chrono::milliseconds(100);

  Acceptor(int fd, std::shared_ptr<ServerCommon> common,
           std::vector<std::shared_ptr<ServerShard>> shards)
      : fd_(fd), common_(std::move(common)), shards_(std::move(shards)) {}
  ~Acceptor() { close(); }

  bool start() {
    if (!home().poller->add(fd_, EPOLLIN, this)) return false;
    watched_ = true;
    return true;
  }
  void close() {
    if (fd_ < 0) return;
    rest_.cancel();
    if (watched_) home().poller->remove(fd_, this);
    ::close(fd_);
    fd_ = -1;
  }

  void on_ready(uint32_t) override {
    for (int i = 0; i < kAcceptsPerTurn; ++i) {
      sockaddr_in address{};
      socklen_t size = sizeof address;
      int fd = ::accept4(fd_, reinterpret_cast<sockaddr*>(&address), &size,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd >= 0) {
        give_away(fd, from_sockaddr(address));
      } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        pause(errno);
        return;
      } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
        return;
      }  // else: that one connection is gone already
    }
  }

 private:
  ServerShard& home() { return *shards_[0]; }

  void give_away(int fd, HostPort peer) {
    if (!common_->hosts.enter(peer.ipv4, common_->options.max_connections_per_ip)) {
      ::close(fd);
      return;
    }
    auto& shard = shards_[next_++ % shards_.size()];
    if (shard == shards_[0]) {
      shard->adopt(fd, peer);
    } else {
      shard->shard.post([shard, fd, peer] { shard->adopt(fd, peer); });
    }
  }

  void pause(int error) {
    MARKAB_WARN(
        "{}: no new connection can be accepted: {}; raise the limit of open files (ulimit -n)",
        common_->self, std::strerror(error));
    home().poller->modify(fd_, 0, this);
    rest_ = home().shard.after(kRest, [this] {
      rest_.cancel();
      home().poller->modify(fd_, EPOLLIN, this);
    });
  }

  int fd_;
  const std::shared_ptr<ServerCommon> common_;
  const std::vector<std::shared_ptr<ServerShard>> shards_;
  size_t next_ = 0;
  bool watched_ = false;
  io::TimerHandle rest_;
};

class ServerImpl final : public Server {
 public:
  ServerImpl(io::RealRuntime& runtime, std::shared_ptr<ServerCommon> common)
      : runtime_(runtime), common_(std::move(common)) {
    for (int i = 0; i < runtime.shard_count(); ++i) {
      shards_.push_back(std::make_shared<ServerShard>(common_, runtime.shard(i)));
    }
  }
  ~ServerImpl() override { stop(Duration::zero()); }

  Status open(int fd) {
    acceptor_ = std::make_unique<Acceptor>(fd, common_, shards_);
    for (int i = 0; i < runtime_.shard_count(); ++i) {
      runtime_.run_and_wait(
          i, [this, i] { shards_[static_cast<size_t>(i)]->start(runtime_.poller(i)); });
    }
    bool watched = false;
    runtime_.run_and_wait(0, [&] { watched = acceptor_->start(); });
    if (!watched)
      return Status(Errc::kNetworkFailure, "the kernel refused to watch the listening socket");
    return {};
  }

  void add_metrics(MetricRegistry& registry) {
    metrics_ = process_metrics(registry);
    auto sum = [shards = shards_](ShardCount ServerStats::*which) {
      return [shards, which] {
        int64_t total = 0;
        for (const auto& shard : shards) total += (shard->stats.*which).value();
        return total;
      };
    };
    metrics_->gauge({"network_server_sessions", "Sessions", "Connections accepted and open"},
                    sum(&ServerStats::sessions));
    metrics_->counter({"network_server_requests", "Requests", "Requests received in RPC frames"},
                      sum(&ServerStats::frames));
    metrics_->counter({"network_http_requests", "Requests", "Requests received over HTTP"},
                      sum(&ServerStats::http_requests));
    metrics_->counter({"network_received_bytes", "Bytes", "Bytes received on accepted connections"},
                      sum(&ServerStats::bytes_in));
    metrics_->counter({"network_sent_bytes", "Bytes", "Bytes sent on accepted connections"},
                      sum(&ServerStats::bytes_out));
    metrics_->counter({"network_malformed_frames", "Frames", "Frames that closed their connection"},
                      sum(&ServerStats::malformed));
  }

  HostPort address() const override { return common_->self; }

  void stop_accepting() override {
    if (!acceptor_) return;
    if (runtime_.shard(0).in_thread()) {
      acceptor_->close();
    } else {
      runtime_.run_and_wait(0, [this] { acceptor_->close(); });
    }
  }

  void stop(Duration grace) override {
    if (stopped_) return;
    stopped_ = true;
    stop_accepting();
    if (grace > Duration::zero()) drain(grace);
    for (int i = 0; i < runtime_.shard_count(); ++i) {
      runtime_.run_and_wait(i, [this, i] { shards_[static_cast<size_t>(i)]->close_all(); });
    }
  }

 private:
  void drain(Duration grace) {
    struct Progress {
      std::mutex mutex;
      std::condition_variable changed;
      size_t left;
      bool late = false;
    };
    auto progress = std::make_shared<Progress>();
    progress->left = shards_.size();
    io::TimerHandle timer;
    runtime_.run_and_wait(0, [&] {
      timer = runtime_.shard(0).after(grace, [progress] {
        std::lock_guard lock(progress->mutex);
        progress->late = true;
        progress->changed.notify_all();
      });
    });
    for (auto& shard : shards_) {
      shard->shard.post([shard, progress] {
        shard->drain([progress] {
          std::lock_guard lock(progress->mutex);
          --progress->left;
          progress->changed.notify_all();
        });
      });
    }
    {
      std::unique_lock lock(progress->mutex);
      progress->changed.wait(lock, [&] { return progress->late || progress->left == 0; });
    }
    runtime_.run_and_wait(0, [&] { timer.cancel(); });
  }

  io::RealRuntime& runtime_;
  const std::shared_ptr<ServerCommon> common_;
  std::vector<std::shared_ptr<ServerShard>> shards_;
  std::unique_ptr<Acceptor> acceptor_;
  std::shared_ptr<MetricEntity> metrics_;
  bool stopped_ = false;
};

Result<int> listen_on(HostPort where, HostPort& real) {
  int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return Status(Errc::kNetworkFailure, fmt::format("no socket: {}", std::strerror(errno)));
  int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address = to_sockaddr(where);
  socklen_t size = sizeof address;
  bool bound = ::bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
               ::listen(fd, Acceptor::kBacklog) == 0 &&
               ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0;
  if (bound) {
    real = from_sockaddr(address);
    return fd;
  }
  int error = errno;
  ::close(fd);
  std::string place = fmt::format("{}:{}", where.host(), where.port);
  if (error == EADDRINUSE) {
    return Status(
        Errc::kAddressAlreadyUsed,
        fmt::format(
            "port {} of {} is in use by another process; stop that one or choose another port",
            where.port, where.host()));
  }
  if (error == EADDRNOTAVAIL) {
    return Status(Errc::kNetworkFailure,
                  fmt::format("{} is not an address of this machine", where.host()));
  }
  return Status(Errc::kNetworkFailure,
                fmt::format("cannot listen on {}: {}", place, std::strerror(error)));
}

}  // namespace

Result<std::unique_ptr<Server>> Server::start(io::RealRuntime& runtime,
                                              const ServerOptions& options,
                                              const Dispatcher& dispatcher, const HttpRouter& http,
                                              MetricRegistry& registry) {
  auto common = std::make_shared<ServerCommon>();
  common->options = options;
  common->dispatcher = &dispatcher;
  common->http = &http;
  auto rules = PeerRules::parse(options.host_port_always, options.host_port_never);
  if (!rules) return rules.error();
  common->peer_rules = std::move(*rules);
  auto fd = listen_on(options.listen, common->self);
  if (!fd) return fd.error();
  auto server = std::make_unique<ServerImpl>(runtime, common);
  if (Status status = server->open(*fd); !status.ok()) return status;
  server->add_metrics(registry);
  return std::unique_ptr<Server>(std::move(server));
}

}  // namespace markab::rpc
