#pragma once
// The threads of one Client: an event loop per thread, each with its own connections and core
// ("lane"). Shared by the Client, its Tables and Scanners; closes when the last of them lets go.
// Any thread.

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "client/core.h"
#include "client/operations.h"
#include "markab/client.h"
#include "rpc/channel.h"
#include "security/dialler.h"

namespace markab::client {

class Front {
 public:
  struct Lane {
    io::Shard* shard = nullptr;
    std::unique_ptr<rpc::Network> network;
    std::unique_ptr<Core> core;
  };

  // Errors: those of security::Dialler, when Kerberos is asked for.
  static Outcome<std::shared_ptr<Front>> create(const ClientOptions& options,
                                                std::vector<HostPort> metas);
  ~Front();

  // The lane for operations of the calling thread: its own one if it belongs to this client,
  // so that what a callback or a coroutine starts needs no hop; else always the same one for
  // the same thread.
  Lane& lane();
  // The next one in turn, for what should be spread.
  Lane& next_lane();
  bool on_own_thread() const;
  Timeout timeout_or(Timeout timeout, Timeout otherwise) const {
    return timeout.count() > 0 ? timeout : otherwise.count() > 0 ? otherwise : default_timeout_;
  }
  int lane_index(const Lane& lane) const { return static_cast<int>(&lane - lanes_.data()); }
  int lane_count() const { return static_cast<int>(lanes_.size()); }

 private:
  explicit Front(const ClientOptions& options);
  Error begin(const ClientOptions& options, std::vector<HostPort> metas);

  const Timeout default_timeout_;
  io::RealRuntime runtime_;
  std::unique_ptr<security::Dialler> dialler_;  // null: without authentication
  std::vector<Lane> lanes_;
};

// Blocks the calling thread until `start`'s callback ran. `start` takes a Done<T>.
template <typename T, typename Start>
Outcome<T> wait_for(const Front& front, Start start) {
  if (front.on_own_thread()) {
    return Error{ErrorCode::kInvalidArgument,
                 "a synchronous operation on a thread of the client would wait for itself; use the "
                 "async_ or co_ form"};
  }
  struct Gate {
    std::mutex mutex;
    std::condition_variable ready;
    std::optional<Outcome<T>> outcome;
  };
  auto gate = std::make_shared<Gate>();
  start([gate](Outcome<T> outcome) {
    std::lock_guard lock(gate->mutex);
    gate->outcome.emplace(std::move(outcome));
    gate->ready.notify_one();
  });
  std::unique_lock lock(gate->mutex);
  gate->ready.wait(lock, [&] { return gate->outcome.has_value(); });
  return std::move(*gate->outcome);
}

}  // namespace markab::client
