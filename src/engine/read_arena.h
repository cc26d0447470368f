#pragma once
// Keeps alive what the blobs of an answer point to, and counts what the read met. One per caller
// that reads: a shard reuses its own for one read after the other. Not shared between threads.

#include <rocksdb/slice.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace markab::engine {

// What one read met, for the metrics of spec 02 §15.
struct ReadStats {
  uint32_t iterations = 0;  // records looked at, dead and filtered ones included
  uint32_t expired = 0;
  uint32_t filtered = 0;
  uint64_t bytes =
      0;  // of keys and values in the answer, as capacity units count them; 0: charge one unit
  uint64_t value_bytes = 0;  // get: of the value alone
};

class ReadArena {
 public:
  ReadArena() = default;
  ReadArena(const ReadArena&) = delete;
  ReadArena& operator=(const ReadArena&) = delete;

  // Forgets everything; what earlier answers viewed is gone. Keeps up to kKeptBytes of capacity.
  void reset() {
    for (size_t i = 0; i < pins_used_; ++i) pins_[i].Reset();
    if (pins_.size() > kKeptPins) pins_.resize(kKeptPins);
    pins_used_ = 0;
    if (blocks_.size() > 1) blocks_.resize(1);
    if (!blocks_.empty() && blocks_[0].size > kKeptBytes) blocks_.clear();
    block_used_ = 0;
    unfinished.reset();
    stats = {};
    failure = Status::Ok();
  }
  // A value of the store that stays where the store has it.
  rocksdb::PinnableSlice& pin() {
    if (pins_used_ == pins_.size()) pins_.emplace_back();
    return pins_[pins_used_++];
  }
  // The last pin is not needed after all.
  void unpin() { pins_[--pins_used_].Reset(); }
  std::string_view copy(std::string_view bytes) {
    char* to = allocate(bytes.size());
    std::memcpy(to, bytes.data(), bytes.size());
    return {to, bytes.size()};
  }

  // Where a read that is done in slices goes on; belongs to the engine that left it.
  struct Unfinished {
    virtual ~Unfinished() = default;
  };

  ReadStats stats;
  Status failure;  // the sentence behind an answer of error 2 or 5
  std::unique_ptr<Unfinished> unfinished;

 private:
  static constexpr size_t kBlockBytes = 16u << 10;
  static constexpr size_t kKeptBytes = 256u << 10;
  static constexpr size_t kKeptPins = 256;

  struct Block {
    std::unique_ptr<char[]> bytes;
    size_t size;
  };

  char* allocate(size_t n) {
    if (blocks_.empty() || blocks_.back().size - block_used_ < n) {
      size_t size = blocks_.empty() ? kBlockBytes : blocks_.back().size * 2;
      size = std::max(n, std::min(size, kKeptBytes));
      blocks_.push_back({std::unique_ptr<char[]>(new char[size]), size});
      block_used_ = 0;
    }
    char* at = blocks_.back().bytes.get() + block_used_;
    block_used_ += n;
    return at;
  }

  std::deque<rocksdb::PinnableSlice> pins_;  // a deque: pinned slices do not move
  size_t pins_used_ = 0;
  std::vector<Block> blocks_;  // only the last one has room
  size_t block_used_ = 0;
};

}  // namespace markab::engine
