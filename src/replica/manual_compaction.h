#pragma once
// Manual compaction of one replica (spec 02 §13): decides when one is due, waits for its turn on
// the node, and runs it on the background pool. Belongs to one replica, on its shard.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/function.h"
#include "engine/engine.h"
#include "engine/table_settings.h"
#include "io/shard.h"

namespace markab::replica {

// How many replicas of this node compact at the moment. Any thread.
class CompactionSlots {
 public:
  // Each holds a thread of the background pool for minutes, so this many at once whatever a table
  // says.
  static constexpr int32_t kMost = 2;

  bool try_take(int32_t limit) {
    int32_t running = running_.load();
    do {
      if (running >= std::min(limit, kMost)) return false;
    } while (!running_.compare_exchange_weak(running, running + 1));
    return true;
  }
  void give_back() { running_.fetch_sub(1); }
  int32_t running() const { return running_.load(); }

 private:
  std::atomic<int32_t> running_{0};
};

// Whether a compaction is due at `now_s` (Unix time), and how. The once rule goes first: its time
// has come and the last compaction ended before it. Then the periodic one: a time of today (which
// began at `midnight_s`) has come and the last compaction ended before it. Pure.
std::optional<engine::ManualCompactSettings::How> compaction_due(
    const engine::ManualCompactSettings& settings, int64_t last_finish_s, int64_t now_s,
    int64_t midnight_s);
// When the local day of `now_s` began.
int64_t local_midnight(int64_t now_s);

class ManualCompaction {
 public:
  enum class State : uint8_t { kIdle = 0, kQueuing = 1, kRunning = 2, kFinished = 3 };

  ManualCompaction(io::Runtime& runtime, io::Shard& shard, std::shared_ptr<CompactionSlots> slots)
      : runtime_(runtime), shard_(shard), slots_(std::move(slots)) {}

  // Starts one when it is due and it is this replica's turn; else it is asked again in a second.
  // `alive` keeps this object for as long as the compaction runs.
  void consider(const engine::ManualCompactSettings& settings,
                const std::shared_ptr<engine::Engine>& engine, std::shared_ptr<void> alive);
  // Ends a running one soon. Nothing starts any more.
  void stop();

  State state() const;
  // The JSON of replica.query-compact (spec 07 §2.5).
  std::string describe() const;

 private:
  struct Times {
    int64_t enqueued_ms = 0;  // Unix time; 0: not now
    int64_t started_ms = 0;
    int64_t finished_ms = 0;  // of the last one
    int64_t used_ms = 0;
  };
  int64_t last_finish_ms(const engine::Engine& engine) const;
  void run(engine::ManualCompactSettings::How how, std::shared_ptr<engine::Engine> engine,
           std::shared_ptr<void> alive);
  int64_t wall_ms() const { return shard_.wall_us() / 1000; }

  io::Runtime& runtime_;
  io::Shard& shard_;
  const std::shared_ptr<CompactionSlots> slots_;
  std::shared_ptr<engine::Engine> compacting_;
  Times times_;
  int64_t once_trigger_s_ = 0;
  bool stopped_ = false;
};

}  // namespace markab::replica
