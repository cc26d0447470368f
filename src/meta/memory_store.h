#pragma once
// A StateStore in memory, for tests and the simulator: what is written survives its user's crash,
// and faults can be ordered. One shard and one thread use it at a time; it may be shared by several
// metas in turn.

#include <cstdint>
#include <memory>
#include <optional>

#include "io/shard.h"
#include "meta/state_store.h"

namespace markab::meta {

// The durable part; outlives the metas that use it.
struct MemoryDisk {
  StateStore::Tree tree;
  uint64_t transactions = 0;
  // The next so many writes fail; when `applied_though`, they take effect all the same.
  int fail_writes = 0;
  bool applied_though = false;
  // After this many more transactions nothing is taken any more, as when the leader dies there.
  std::optional<uint64_t> stop_after;
  // Whoever opened it last; earlier users' writes are refused (fencing).
  uint64_t owner = 0;
};

class MemoryStore final : public StateStore {
 public:
  MemoryStore(io::Shard& shard, MemoryDisk& disk, Duration latency = std::chrono::milliseconds(1),
              size_t max_transaction_bytes = 512u << 10)
      : shard_(shard), disk_(disk), latency_(latency), max_bytes_(max_transaction_bytes) {}

  void open(Callback<Result<Tree>> done) override;
  void write(std::vector<StateOp> ops, Callback<Status> done) override;
  void close(Task done) override;
  size_t max_transaction_bytes() const override { return max_bytes_; }

 private:
  void later(Task task);
  Status apply(const std::vector<StateOp>& ops);

  io::Shard& shard_;
  MemoryDisk& disk_;
  const Duration latency_;
  const size_t max_bytes_;
  uint64_t owner_ = 0;
  io::TimerHandle timer_;
};

}  // namespace markab::meta
