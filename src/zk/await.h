#pragma once
// The requests of zk::Client as awaitables, which resume on the client's shard. As everywhere, name
// the temporaries of a co_await expression (io/await.h).

#include <optional>

#include "io/await.h"
#include "zk/client.h"

namespace markab::zk {

// `start(callback)` begins something that calls back once with a T.
template <typename T, typename Start>
boost::asio::awaitable<T> result_of(Start start) {
  auto slot = std::make_shared<std::optional<T>>();
  co_await boost::asio::async_initiate<const boost::asio::use_awaitable_t<>, void()>(
      [&](auto handler) {
        start(Callback<T>([slot, handler = std::move(handler)](T value) mutable {
          slot->emplace(std::move(value));
          std::move(handler)();
        }));
      },
      boost::asio::use_awaitable);
  co_return std::move(**slot);
}

inline boost::asio::awaitable<Result<Node>> get(Client& client, std::string path) {
  auto start = [&](Callback<Result<Node>> done) { client.get(path, std::move(done)); };
  co_return co_await result_of<Result<Node>>(start);
}

inline boost::asio::awaitable<Result<std::vector<std::string>>> children(Client& client,
                                                                         std::string path,
                                                                         Task on_change = {}) {
  auto start = [&](Callback<Result<std::vector<std::string>>> done) {
    client.children(path, std::move(on_change), std::move(done));
  };
  co_return co_await result_of<Result<std::vector<std::string>>>(start);
}

inline boost::asio::awaitable<Result<std::string>> create(Client& client, std::string path,
                                                          std::string data, NodeKind kind) {
  auto start = [&](Callback<Result<std::string>> done) {
    client.create(path, data, kind, std::move(done));
  };
  co_return co_await result_of<Result<std::string>>(start);
}

inline boost::asio::awaitable<Outcome> multi(Client& client, std::vector<Op> ops) {
  auto start = [&](Callback<Outcome> done) { client.multi(std::move(ops), std::move(done)); };
  co_return co_await result_of<Outcome>(start);
}

inline boost::asio::awaitable<Result<bool>> protect(Client& client, std::string path) {
  auto start = [&](Callback<Result<bool>> done) { client.protect(path, std::move(done)); };
  co_return co_await result_of<Result<bool>>(start);
}

// The node and those above it, empty where they are missing. Ok when all are there.
boost::asio::awaitable<Status> make_path(Client& client, std::string path);

}  // namespace markab::zk
