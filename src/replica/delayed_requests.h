#pragma once
// Requests that a throttle made wait (spec 04 §5), in the order in which they are due. Bounded:
// when full, the caller refuses instead. Belongs to one replica, on its shard.

#include <cstddef>
#include <map>

#include "base/function.h"
#include "base/ids.h"
#include "io/shard.h"
#include "rpc/message.h"

namespace markab::replica {

class DelayedRequests {
 public:
  static constexpr size_t kMaxRequests = 4096;
  static constexpr size_t kMaxBytes = 64u << 20;  // of bodies

  explicit DelayedRequests(io::Shard& shard) : shard_(shard) {}

  // Calls `due` with the request after `wait`. False, and the request stays the caller's, when
  // full.
  bool hold(rpc::Request& request, Duration wait, Callback<rpc::Request> due);
  // Answers all that wait with `error`.
  void refuse_all(Errc error);
  // Lets go of them without a word.
  void drop_all();
  size_t size() const { return waiting_.size(); }

 private:
  struct Waiting {
    rpc::Request request;
    Callback<rpc::Request> due;
  };
  void schedule();
  void run_due();

  io::Shard& shard_;
  std::multimap<Instant, Waiting> waiting_;
  size_t bytes_ = 0;
  Instant timer_at_{};
  io::TimerHandle timer_;
};

}  // namespace markab::replica
