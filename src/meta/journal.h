#pragma once
// Turns the core's Store actions into the store's transactions: in order, one at a time, what waits
// gathered into the next one, repeated until it is durable. Used by one leadership, on the meta's
// shard.

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "io/shard.h"
#include "meta/core/actions.h"
#include "meta/state_store.h"

namespace markab::meta {

class Journal {
 public:
  // `on_stored` is called with each store's id when all of it is durable.
  Journal(io::Shard& shard, StateStore& store, Callback<uint64_t> on_stored)
      : shard_(shard), store_(store), on_stored_(std::move(on_stored)) {}
  ~Journal() { *alive_ = false; }

  void append(const Store& action);
  // Documents outside of the core's: part of the same order.
  void append_raw(std::vector<StateOp> ops);
  bool idle() const { return !writing_ && queue_.empty(); }
  // Since when nothing could be written; unset while all is well.
  std::optional<Instant> failing_since() const { return failing_since_; }

 private:
  struct Item {
    StateOp op;
    uint64_t finishes = 0;  // the id of the store that is whole with it; 0: none
  };
  void write_next();
  void write();
  void on_written(const Status& status);

  io::Shard& shard_;
  StateStore& store_;
  Callback<uint64_t> on_stored_;
  std::deque<Item> queue_;
  std::vector<StateOp> current_;
  std::vector<uint64_t> current_ids_;
  bool writing_ = false;
  int failures_ = 0;
  std::optional<Instant> failing_since_;
  io::TimerHandle retry_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace markab::meta
