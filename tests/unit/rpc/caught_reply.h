#pragma once
// A request without a network: what its handler answers is caught.

#include <memory>
#include <optional>
#include <string>

#include "rpc/message.h"

namespace markab::rpc {

struct CaughtReply final : ReplySink {
  std::optional<Errc> error;
  std::string result;
  int drops = 0;

  void reply(const RequestHeader&, std::string_view, Errc e, std::string_view r) override {
    error = e;
    result = r;
  }
  HostPort peer() const override { return {0x7f000001, 1}; }
  const std::string& user() const override {
    static const std::string nobody;
    return nobody;
  }
  bool wants_host_port() const override { return false; }
  void dropped() override { ++drops; }
};

// `args` must live as long as the request.
inline Request request_for(TaskCode code, std::string_view args, Gpid gpid,
                           const std::shared_ptr<CaughtReply>& sink) {
  RequestHeader header;
  header.code = code;
  header.gpid = gpid;
  return Request(header, task_name(code), args, nullptr, sink);
}

}  // namespace markab::rpc
