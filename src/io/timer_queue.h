#pragma once
// The timers of one shard, earliest first. Owned by the shard; used on its thread, or on any other
// once the shard has stopped.

#include <cstdint>
#include <memory>
#include <vector>

#include "io/shard.h"

namespace markab::io {

class TimerQueue {
 public:
  TimerHandle add(Instant at, Task task);
  // The earliest, cancelled or not; kNever when there is none.
  Instant next() const { return heap_.empty() ? kNever : heap_.front().at; }
  // Runs those due at `now`. What they add comes later, even when it is due at once.
  void run_due(Instant now);
  // Frees what waits.
  void clear();

 private:
  // With the handle, which may stay for longer. None: cancelled, or it runs.
  using SharedTask = std::shared_ptr<Task>;
  struct Entry {
    Instant at;
    uint64_t sequence = 0;  // of equal instants the earlier one runs first
    SharedTask task;
  };
  struct Handle;
  static bool later(const Entry& a, const Entry& b) {
    return a.at != b.at ? a.at > b.at : a.sequence > b.sequence;
  }
  void drop_cancelled();

  static constexpr size_t kSweep = 1024;

  std::vector<Entry> heap_;
  std::vector<SharedTask> due_;
  size_t sweep_at_ = kSweep;  // with so many entries, the cancelled ones go
  uint64_t next_sequence_ = 0;
};

}  // namespace markab::io
