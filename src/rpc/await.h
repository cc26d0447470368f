#pragma once
// Network::call as an awaitable.

#include "io/await.h"
#include "rpc/network.h"

namespace markab::rpc {

// Resumes on the calling shard with the answer or the reason why there is none.
inline boost::asio::awaitable<Reply> call(Network& network, HostPort to, TaskCode code,
                                          CallOptions options, std::string args) {
  co_return co_await boost::asio::async_initiate<const boost::asio::use_awaitable_t<>, void(Reply)>(
      [&](auto handler) {
        network.call(to, code, options, args, [handler = std::move(handler)](Reply reply) mutable {
          std::move(handler)(std::move(reply));
        });
      },
      boost::asio::use_awaitable);
}

}  // namespace markab::rpc
