#pragma once
// Random operations against an engine and, beside it, a plain map that executes them one by one by
// the rules of spec 02 §7 to §10, written a second time. Batches stay in flight, are flushed, lost
// in crashes; every answer is compared.
//
// A run is a function of the seeds of its steps: a list of steps replays, and can be made shorter.

#include <gtest/gtest.h>

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "engine/engine.h"
#include "engine/resolver.h"

namespace markab::engine {

struct ModelRow {
  std::string value;
  uint32_t expire_ts = 0;
};
using ModelRows = std::map<std::pair<std::string, std::string>, ModelRow>;

struct ModelOptions {
  // Compaction gives default_ttl to old rows at its own time, so only a store without it can have
  // changing ones.
  bool changes_default_ttl = false;
  // One step of so many is a flush; one a crash, that loses what was not flushed.
  uint64_t steps_per_flush = 20;
  uint64_t steps_per_crash = 100;
  // One step of so many compares all rows.
  uint64_t steps_per_comparison = 10;
};

class ModelRun {
 public:
  using Open = Function<std::unique_ptr<Engine>(EngineOptions)>;

  ModelRun(const ModelOptions& options, Open open);
  ~ModelRun();

  // One step, wholly decided by `seed` and what was before. Failures are GoogleTest's.
  void step(uint64_t seed);
  // Applies what is in flight and compares everything.
  void finish();
  // Requests sent so far, and rows compared in the answers.
  uint64_t operations() const { return operations_; }
  uint64_t rows_compared() const { return rows_compared_; }

 private:
  struct InFlight {
    Decree decree;
    std::shared_ptr<const std::string> effects;
    ModelRows after;
  };
  using Key = std::pair<std::string, std::string>;

  void reopen();
  void crash();
  int64_t wall_us() const { return (kExpiryEpoch + now_.load()) * 1000000; }
  ReadContext context(bool memory_only) const;
  // First from memory, then from the disk, as a server does.
  template <typename Call>
  void read(Call call);

  std::string hash_key();
  std::string sort_key();
  std::string value();
  int32_t expire_ts();

  // the model
  bool is_live(const ModelRow& row) const { return row.expire_ts == 0 || row.expire_ts > now_; }
  const ModelRow* live(const ModelRows& rows, const Key& key) const;
  void model_put(const Key& key, const std::string& value, int32_t expire_ts);
  std::pair<int32_t, int64_t> model_incr(const Key& key, int64_t by, int32_t expire_ts);
  int32_t model_check(const ModelRow* row, int type, const std::string& operand) const;

  // writes
  void write_batch();
  void write_one();
  WriteResult add(const WriteRequest& request);
  void put();
  void remove();
  void multi_put();
  void multi_remove();
  void incr();
  void check_and_set();
  void check_and_mutate();
  void apply_some(size_t count);

  // reads
  void read_one();
  void compare_get();
  void compare_ttl();
  void compare_batch_get();
  void compare_count();
  void compare_points();
  void compare_range();
  void compare_all();
  // The live rows of a hash key that pass the filter, in order.
  std::vector<std::pair<std::string, ModelRow>> rows_of(const std::string& hash_key,
                                                        wire::filter_type::type filter,
                                                        const std::string& pattern) const;

  const ModelOptions options_;
  Open open_;
  Random random_{1};
  std::atomic<uint32_t> now_{1000};  // compactions look at it from threads of theirs
  uint32_t default_ttl_ = 0;
  ModelRows rows_;  // with everything in flight
  ModelRows applied_;
  ModelRows flushed_;
  Decree flushed_decree_ = 0;
  std::deque<InFlight> in_flight_;
  Decree decree_ = 0;
  int64_t timestamp_ = 0;
  uint64_t opens_ = 0;
  uint64_t operations_ = 0;
  uint64_t rows_compared_ = 0;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Resolver> resolver_;
  ReadArena arena_;
};

}  // namespace markab::engine
