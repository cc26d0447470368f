#include "rpc/socket_options.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace markab::rpc {

void set_stream_options(int fd, Duration lost_after) {
  auto set = [fd](int level, int option, int64_t value) {
    int number = static_cast<int>(value);
    ::setsockopt(fd, level, option, &number, sizeof number);
  };
  auto seconds = std::chrono::duration_cast<std::chrono::seconds>(kProbeInterval).count();
  auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(lost_after).count();
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, seconds);
  set(IPPROTO_TCP, TCP_KEEPINTVL, seconds);
  set(IPPROTO_TCP, TCP_USER_TIMEOUT, milliseconds);
}

}  // namespace markab::rpc
