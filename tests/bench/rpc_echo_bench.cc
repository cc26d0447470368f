// What one small request costs the server in processor time: GETs of a 100-byte value over
// loopback, 50 connections with one request each under way, one shard, a handler that does nothing
// but decode and encode.
//
//   rpc_echo_bench                          our server, THFT framing as Go and Python speak it
//   rpc_echo_bench --redis 6379 --pid 1234  the same load, the key loaded before, against a running
//   redis-server
//
// Prints requests per second and microseconds of server processor time per request. The same
// generator drives both, so that the two figures can be compared.

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "idl/rrdb_types.h"
#include "rpc/codec.h"
#include "rpc/server.h"

namespace markab {
namespace {

constexpr size_t kValueBytes = 100;
constexpr HostPort kLoopback{0x7f000001, 0};

struct Load {
  int connections = 50;
  int seconds = 3;
};

int dial(HostPort to) {
  int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(to.port);
  address.sin_addr.s_addr = htonl(to.ipv4);
  if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    std::perror("connect");
    std::exit(1);
  }
  int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

struct Run {
  int64_t requests = 0;
  double seconds = 0;
};

// Closed loop: each connection sends, waits for `answer_bytes` bytes, sends again.
Run drive(HostPort to, const std::string& request, size_t answer_bytes, Load load) {
  int set = epoll_create1(0);
  std::vector<size_t> missing(static_cast<size_t>(load.connections));
  std::vector<int> fds;
  for (int i = 0; i < load.connections; ++i) {
    int fd = dial(to);
    ::fcntl(fd, F_SETFL, O_NONBLOCK);
    epoll_event event{EPOLLIN, {}};
    event.data.u32 = static_cast<uint32_t>(i);
    epoll_ctl(set, EPOLL_CTL_ADD, fd, &event);
    fds.push_back(fd);
  }
  auto send = [&](size_t i) {
    missing[i] = answer_bytes;
    if (::send(fds[i], request.data(), request.size(), MSG_NOSIGNAL) !=
        static_cast<ssize_t>(request.size())) {
      std::exit(1);
    }
  };
  auto start = std::chrono::steady_clock::now();
  auto end = start + std::chrono::seconds(load.seconds);
  for (size_t i = 0; i < fds.size(); ++i) send(i);
  Run run;
  std::vector<epoll_event> events(256);
  char buffer[64 << 10];
  while (std::chrono::steady_clock::now() < end) {
    int n = epoll_wait(set, events.data(), 256, 100);
    for (int e = 0; e < n; ++e) {
      size_t i = events[static_cast<size_t>(e)].data.u32;
      ssize_t got = ::recv(fds[i], buffer, sizeof buffer, 0);
      if (got <= 0 || static_cast<size_t>(got) > missing[i]) {
        std::fprintf(stderr, "an answer of %zd bytes where %zu were expected\n", got, missing[i]);
        std::exit(1);
      }
      missing[i] -= static_cast<size_t>(got);
      if (missing[i] != 0) continue;
      ++run.requests;
      send(i);
    }
  }
  run.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  for (int fd : fds) ::close(fd);
  ::close(set);
  return run;
}

void report(const char* who, const Run& run, double cpu_us) {
  std::printf("%-8s %9.0f requests/s   %6.2f us of server CPU per request\n", who,
              static_cast<double>(run.requests) / run.seconds,
              cpu_us / static_cast<double>(run.requests));
}

double thread_cpu_us() {
  rusage usage{};
  getrusage(RUSAGE_THREAD, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
         static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

std::string get_frame() {
  std::string body;
  constexpr std::string_view kName = "RPC_RRDB_RRDB_GET";
  append_be<uint32_t>(body, 0x80010001);
  append_be<uint32_t>(body, kName.size());
  body += kName;
  append_be<int32_t>(body, 1);
  body += rpc::encode_args(wire::blob(std::string_view("\0\x10user0000000000010field0", 24)));
  std::string out = "THFT";
  for (uint32_t word :
       {0u, 48u, 0u, static_cast<uint32_t>(body.size()), 0u, 2u, 7u, 1000u, 0u, 0u, 1u}) {
    append_be<uint32_t>(out, word);
  }
  return out + body;
}

void bench_markab(Load load) {
  io::RealRuntime runtime({.shards = 1, .blocking_threads = 1});
  rpc::Dispatcher dispatcher;
  std::string value(kValueBytes, 'v');
  std::string result;
  dispatcher.on_partition([&](rpc::Request request) {
    wire::blob key;
    if (!rpc::decode_args(request.args, key).ok()) return request.reply_error(Errc::kInvalidData);
    wire::read_response response;
    response.value = std::string_view(value);
    response.app_id = request.header.gpid.app_id;
    response.partition_index = request.header.gpid.partition_index;
    response.server = "127.0.0.1:34801";
    result.clear();
    rpc::encode_result(response, result);
    request.reply(result);
  });
  rpc::HttpRouter http;
  MetricRegistry registry;
  rpc::ServerOptions options;
  options.listen = kLoopback;
  auto server = rpc::Server::start(runtime, options, dispatcher, http, registry);
  if (!server) {
    std::fprintf(stderr, "%s\n", server.error().to_string().c_str());
    std::exit(1);
  }
  std::string request = get_frame();
  int fd = dial((*server)->address());
  if (::send(fd, request.data(), request.size(), 0) < 0) std::exit(1);
  char length[4];
  if (::recv(fd, length, 4, MSG_WAITALL) != 4) std::exit(1);
  ::close(fd);
  size_t answer_bytes = load_be<uint32_t>(length);
  double before = 0, after = 0;
  runtime.run_and_wait(0, [&] { before = thread_cpu_us(); });
  Run run = drive((*server)->address(), request, answer_bytes, load);
  runtime.run_and_wait(0, [&] { after = thread_cpu_us(); });
  report("markab", run, after - before);
  (*server)->stop(Duration::zero());
  runtime.stop();
}

// User and system time of another process, in us (proc(5), stat).
double process_cpu_us(int pid) {
  std::string path = "/proc/" + std::to_string(pid) + "/stat";
  FILE* file = std::fopen(path.c_str(), "re");
  if (file == nullptr) return 0;
  unsigned long user = 0, system = 0;
  if (std::fscanf(file, "%*d %*s %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
                  &system) != 2)
    user = 0;
  std::fclose(file);
  return static_cast<double>(user + system) * 1e6 / static_cast<double>(sysconf(_SC_CLK_TCK));
}

void bench_redis(uint16_t port, int pid, Load load) {
  HostPort at{kLoopback.ipv4, port};
  std::string value(kValueBytes, 'v');
  std::string key = "user0000000000010field0";
  std::string set = "*3\r\n$3\r\nSET\r\n$23\r\n" + key + "\r\n$100\r\n" + value + "\r\n";
  int fd = dial(at);
  if (::send(fd, set.data(), set.size(), 0) < 0) std::exit(1);
  char ok[5];
  if (::recv(fd, ok, 5, MSG_WAITALL) != 5) std::exit(1);
  ::close(fd);
  double before = process_cpu_us(pid);
  Run run = drive(at, "*2\r\n$3\r\nGET\r\n$23\r\n" + key + "\r\n", 6 + kValueBytes + 2, load);
  report("redis", run, process_cpu_us(pid) - before);
}

}  // namespace
}  // namespace markab

int main(int argc, char** argv) {
  markab::Load load;
  uint16_t redis = 0;
  int pid = 0;
  for (int i = 1; i + 1 < argc; i += 2) {
    int number = std::atoi(argv[i + 1]);
    if (std::strcmp(argv[i], "--redis") == 0) redis = static_cast<uint16_t>(number);
    if (std::strcmp(argv[i], "--pid") == 0) pid = number;
    if (std::strcmp(argv[i], "--connections") == 0) load.connections = number;
    if (std::strcmp(argv[i], "--seconds") == 0) load.seconds = number;
  }
  if (redis != 0) {
    markab::bench_redis(redis, pid, load);
  } else {
    markab::bench_markab(load);
  }
  return 0;
}
