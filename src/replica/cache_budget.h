#pragma once
// One bound for the committed mutations that all replicas of a daemon keep in memory for members
// and learners that lag (pacifica::ReplicaCore). Each replica says once a second what it holds and
// is told what it may hold until the next time. What was told counts when it is used: when many
// grow within one second, the sum passes the bound for that second, by less than the bound itself.
//
// Any thread.

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace markab::replica {

class CacheBudget {
 public:
  explicit CacheBudget(size_t bytes) : bytes_(static_cast<int64_t>(bytes)) {}

  // One replica's part in it.
  class Share {
   public:
    explicit Share(CacheBudget& budget) : budget_(budget) { budget_.members_.fetch_add(1); }
    ~Share() {
      budget_.members_.fetch_sub(1);
      budget_.held_.fetch_sub(held_);
    }
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;

    // The replica holds `held`; returns its bound: what it has and an equal part of what is free,
    // at least an equal part of all and at most `most`.
    size_t renew(size_t held, size_t most) {
      auto now = static_cast<int64_t>(held);
      int64_t all = budget_.held_.fetch_add(now - held_) + now - held_;
      held_ = now;
      int64_t members = std::max<int64_t>(1, budget_.members_.load());
      int64_t fair = budget_.bytes_ / members;
      int64_t bound = std::max(fair, now + (budget_.bytes_ - all) / members);
      return std::min(most, static_cast<size_t>(bound));
    }

   private:
    CacheBudget& budget_;
    int64_t held_ = 0;
  };

  int64_t held() const { return held_.load(); }

 private:
  const int64_t bytes_;
  std::atomic<int64_t> members_{0};
  std::atomic<int64_t> held_{0};
};

}  // namespace markab::replica
