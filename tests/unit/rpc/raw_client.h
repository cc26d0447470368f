#pragma once
// A blocking socket for tests, with a time limit on everything, and the little that is needed to
// talk frames by hand.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/ids.h"
#include "rpc/frame.h"

namespace markab::rpc {

class RawClient {
 public:
  explicit RawClient(HostPort to) {
    fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(to.port);
    address.sin_addr.s_addr = htonl(to.ipv4);
    if (::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
      ::close(fd_);
      fd_ = -1;
    }
  }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;
  ~RawClient() { close(); }

  bool connected() const { return fd_ >= 0; }
  int fd() const { return fd_; }
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  // False when the peer is gone.
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(n));
    }
    return true;
  }
  void end_input() { ::shutdown(fd_, SHUT_WR); }
  // Exactly `size` bytes; fewer when the connection ends or nothing comes for 10 s.
  std::string receive(size_t size) {
    std::string out;
    while (out.size() < size) {
      auto part = some(size - out.size());
      if (part.empty()) break;
      out += part;
    }
    return out;
  }
  std::string receive_until(std::string_view mark) {
    std::string out;
    while (out.find(mark) == std::string::npos) {
      auto part = some(1);
      if (part.empty()) break;
      out += part;
    }
    return out;
  }
  // One THFT answer, its length word included; what there is when the connection ends before.
  std::string receive_thft() {
    std::string out = receive(4);
    if (out.size() < 4) return out;
    return out + receive(load_be<uint32_t>(out.data()) - 4);
  }
  std::string receive_rdsn() {
    std::string out = receive(kRdsnHeaderBytes);
    if (out.size() < kRdsnHeaderBytes) return out;
    return out + receive(load_le<uint32_t>(out.data() + 16));
  }
  // True when the peer closes within 10 s and sends nothing before.
  bool closed_silently() {
    pollfd p{fd_, POLLIN, 0};
    if (::poll(&p, 1, kPatienceMs) <= 0) return false;
    char c;
    return ::recv(fd_, &c, 1, 0) <= 0;
  }
  // True when the connection stays and says nothing for `ms`.
  bool quiet_for(int ms) {
    pollfd p{fd_, POLLIN, 0};
    return ::poll(&p, 1, ms) == 0;
  }

 private:
  static constexpr int kPatienceMs = 10000;
  std::string some(size_t most) {
    pollfd p{fd_, POLLIN, 0};
    if (::poll(&p, 1, kPatienceMs) <= 0) return {};
    std::string part(most, '\0');
    ssize_t n = ::recv(fd_, part.data(), most, 0);
    part.resize(n > 0 ? static_cast<size_t>(n) : 0);
    return part;
  }
  int fd_ = -1;
};

// A THFT version 0 request.
inline std::string thft0(std::string_view name, std::string_view args, int32_t sequence = 1,
                         Gpid gpid = {}, uint64_t partition_hash = 0) {
  std::string body;
  append_be<uint32_t>(body, 0x80010001);
  append_be<uint32_t>(body, static_cast<uint32_t>(name.size()));
  body += name;
  append_be<int32_t>(body, sequence);
  body += args;
  std::string out = "THFT";
  append_be<uint32_t>(out, 0);
  append_be<uint32_t>(out, 48);
  append_be<uint32_t>(out, 0);
  append_be<uint32_t>(out, static_cast<uint32_t>(body.size()));
  append_be<uint32_t>(out, 0);
  append_be<int32_t>(out, gpid.app_id);
  append_be<int32_t>(out, gpid.partition_index);
  append_be<int32_t>(out, 1000);
  append_be<int32_t>(out, 0);
  append_be<uint64_t>(out, partition_hash);
  return out + body;
}

inline std::string rdsn(TaskCode code, std::string_view args, uint64_t id = 1, Gpid gpid = {}) {
  std::string out;
  RdsnRequest request;
  request.id = id;
  request.code = code;
  request.gpid = gpid;
  append_rdsn_request(out, request, args, HostPort{0x7f000001, 1});
  return out;
}

}  // namespace markab::rpc
