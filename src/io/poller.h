#pragma once
// Readiness of the descriptors of one shard, and the end of its turn.
//
// A turn of a shard: one epoll_wait, the watchers of what is ready, timers that are due, the tasks
// that were posted, and at last whoever asked for the end of the turn. Those that gather output
// while a turn lasts send it there: one call per peer, whatever the turn produced for it. All
// descriptors of a shard are in one epoll set, level-triggered, so that a turn costs one system
// call besides those of its watchers.
//
// Owned by the shard. Members are called on its thread, or on any other once the shard has stopped;
// wake() on any.

#include <sys/epoll.h>

#include <array>
#include <cstdint>
#include <vector>

namespace markab::io {

class Poller {
 public:
  class Watcher {
   public:
    // `events` are epoll's. May remove itself or others.
    virtual void on_ready(uint32_t events) = 0;

   protected:
    ~Watcher() = default;
  };
  class TurnEnd {
   public:
    virtual void end_of_turn() = 0;

   protected:
    ~TurnEnd() = default;
  };

  Poller();
  // All watchers must have been removed.
  ~Poller();
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;

  // `watcher` must stay until remove(). False with errno when the kernel refuses (no memory).
  bool add(int fd, uint32_t events, Watcher* watcher);
  void modify(int fd, uint32_t events, Watcher* watcher);
  // From here on `watcher` is not called.
  void remove(int fd, Watcher* watcher);

  // `who` is called once, at the end of the turn under way. It must stay until then or forget().
  void at_end_of_turn(TurnEnd* who) { ending_.push_back(who); }
  void forget(TurnEnd* who);

  // --- the shard's loop

  // Waits up to so long (-1: for ever), and serves what is ready.
  void wait(int timeout_ms);
  void end_turn();
  // Somebody waits for the end of a turn.
  bool ends_wanted() const { return !ending_.empty(); }
  // Ends a wait() that is under way or comes next.
  void wake();

 private:
  static constexpr int kBatch = 128;
  // Who is called may ask for the end again, and so may others; beyond this, of the next turn.
  static constexpr size_t kMostEnds = 64;

  const int fd_;
  const int wake_fd_;
  std::array<epoll_event, kBatch> batch_;
  int count_ = 0;  // of batch_ while its watchers are served
  int watchers_ = 0;
  std::vector<TurnEnd*> ending_;
};

}  // namespace markab::io
