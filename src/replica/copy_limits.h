#pragma once
// What copying checkpoints may take from a daemon, so that those who are served do not feel it: so
// many learners copy at a time (the others wait for their turn, 04 §1.13), and so many bytes per
// second pass in each direction.
//
// One per daemon, shared by its replicas; any thread.

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>

#include "base/function.h"
#include "base/ids.h"
#include "io/shard.h"

namespace markab::replica {

// Spreads bytes over time: who reserves is told how long to wait before its bytes pass. Nobody
// sleeps in here.
class RateLimit {
 public:
  explicit RateLimit(uint64_t bytes_per_second) : rate_(bytes_per_second) {}

  // 0: no limit. From here on.
  void set_rate(uint64_t bytes_per_second) { rate_ = bytes_per_second; }
  uint64_t rate() const { return rate_; }
  // Takes a place in the queue for `bytes`.
  Duration reserve(uint64_t bytes, Instant now);

 private:
  std::atomic<uint64_t> rate_;
  std::mutex mutex_;
  Instant free_at_;  // the bytes reserved so far have passed
};

class CopyLimits {
 public:
  CopyLimits(size_t max_copies, uint64_t receive_rate, uint64_t send_rate)
      : receive(receive_rate), send(send_rate), gate_(std::make_shared<Gate>(max_copies)) {}

  // A place among those who copy; letting go gives it to the next.
  class Place {
   public:
    virtual ~Place() = default;
  };
  // Runs `ready` on `home` when a place is free. Letting go of the place before then leaves the
  // queue, and `ready` does not run.
  std::shared_ptr<Place> enter(io::Shard& home, Task ready);
  size_t copying() const { return gate_->count(false); }
  size_t waiting() const { return gate_->count(true); }

  RateLimit receive;
  RateLimit send;

 private:
  struct Waiter;
  struct Gate : std::enable_shared_from_this<Gate> {
    explicit Gate(size_t most) : free(most) {}
    void leave(Waiter& waiter);
    size_t count(bool waiting) const;
    mutable std::mutex mutex;
    size_t free;
    size_t taken = 0;
    std::deque<std::weak_ptr<Waiter>> queue;
  };
  static void admit(const std::shared_ptr<Waiter>& waiter);

  std::shared_ptr<Gate> gate_;
};

}  // namespace markab::replica
