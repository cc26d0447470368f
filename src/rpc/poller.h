#pragma once
// Readiness of many sockets for one shard, at the price of two system calls per burst instead of
// one per request.
//
// Asio re-arms its epoll registration (epoll_ctl) each time it is asked to wait for a socket. Here
// all sockets of a shard sit, level-triggered, in an epoll set of their own; asio waits for that
// set, and one wake-up serves all sockets that are ready. With 50 busy connections that halves the
// system calls per request (tests/bench/rpc_echo_bench).
//
// Owned by a server's or a channel set's shard; every member is called on that shard.

#include <sys/epoll.h>

#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <memory>

#include "base/function.h"

namespace markab::rpc {

class Poller {
 public:
  class Watcher {
   public:
    // `events` are epoll's. May remove itself or others.
    virtual void on_ready(uint32_t events) = 0;

   protected:
    ~Watcher() = default;
  };

  // `end_of_turn` runs after the watchers of one wake-up were served.
  Poller(boost::asio::io_context& context, Task end_of_turn);
  // All watchers must have been removed.
  ~Poller();

  // `watcher` must stay until remove(). False with errno when the kernel refuses (no memory).
  bool add(int fd, uint32_t events, Watcher* watcher);
  void modify(int fd, uint32_t events, Watcher* watcher);
  // Whether watchers are being served, so that the end of the turn is still to come.
  bool in_turn() const;
  // From here on `watcher` is not called.
  void remove(int fd, Watcher* watcher);

 private:
  struct Set;
  std::shared_ptr<Set> set_;  // shared with the pending wait, which may outlive this
};

}  // namespace markab::rpc
