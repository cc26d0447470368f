#pragma once
// Awaitable forms of the seams, for flows with steps. A flow that is waiting when its callback is
// destroyed (the shard stopped, the network closed) is destroyed with it: what it holds is
// released, nothing after the co_await runs.

#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <memory>
#include <optional>

#include "io/shard.h"

namespace markab::io {

// Resumes on `shard` after `delay`. Call on the shard.
inline boost::asio::awaitable<void> sleep_for(Shard& shard, Duration delay) {
  co_await boost::asio::async_initiate<const boost::asio::use_awaitable_t<>, void()>(
      [&shard, delay](auto handler) {
        // The timer owns the handler and this closure owns nothing of the timer: it lives until it
        // fires.
        auto holder = std::make_shared<TimerHandle>();
        *holder = shard.after(delay, [handler = std::move(handler), keep = holder]() mutable {
          auto release = std::move(keep);
          std::move(handler)();
        });
      },
      boost::asio::use_awaitable);
}

// Runs `work` on the blocking pool and resumes on `shard` with what it returned. Give a closure
// that owns something a name and move it in: g++ 12 destroys such a temporary of a co_await
// expression twice.
template <typename Work>
auto on_pool(BlockingPool& pool, Shard& shard, Work work)
    -> boost::asio::awaitable<decltype(work())> {
  using Value = decltype(work());
  auto slot = std::make_shared<std::optional<Value>>();
  co_await boost::asio::async_initiate<const boost::asio::use_awaitable_t<>, void()>(
      [&](auto handler) {
        pool.run(
            shard, [slot, work = std::move(work)]() mutable { slot->emplace(work()); },
            [handler = std::move(handler)]() mutable { std::move(handler)(); });
      },
      boost::asio::use_awaitable);
  co_return std::move(**slot);
}

}  // namespace markab::io
