#pragma once
// The calls that wait for an answer on one connection: by number, and by deadline. Numbers name a
// slot and its use count, so that a look-up is an array index and an answer that comes after its
// call has ended is recognised. Owned by a peer's connection, on its shard.

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "rpc/network.h"

namespace markab::rpc {

class CallTable {
 public:
  struct Call {
    Callback<Reply> done;
    TaskCode code = TaskCode::kUnknown;
    Duration timeout{};
    uint64_t stream_begin = 0;  // position of this request in all that the connection sends
  };

  uint64_t add(Call call, Instant deadline) {
    uint32_t index;
    if (free_.empty()) {
      index = static_cast<uint32_t>(slots_.size());
      slots_.emplace_back();
    } else {
      index = free_.back();
      free_.pop_back();
    }
    Slot& slot = slots_[index];
    slot.call = std::move(call);
    ++live_;
    uint64_t id = static_cast<uint64_t>(++slot.use) << 32 | index;
    deadlines_.push_back({deadline, id});
    std::push_heap(deadlines_.begin(), deadlines_.end());
    if (deadlines_.size() > 2 * live_ + kSlack) compact();
    return id;
  }
  // The call of that number, which has now ended; nothing when there is none.
  std::optional<Call> take(uint64_t id) {
    Slot* slot = find(id);
    if (slot == nullptr) return std::nullopt;
    Call call = std::move(*slot->call);
    slot->call.reset();
    free_.push_back(static_cast<uint32_t>(id));
    --live_;
    return call;
  }
  // The earliest deadline of a waiting call.
  Instant next_deadline() {
    while (!deadlines_.empty() && find(deadlines_.front().id) == nullptr) {
      std::pop_heap(deadlines_.begin(), deadlines_.end());
      deadlines_.pop_back();
    }
    return deadlines_.empty() ? kNever : deadlines_.front().at;
  }
  std::optional<Call> take_expired(Instant now) {
    if (next_deadline() > now) return std::nullopt;
    return take(deadlines_.front().id);
  }
  std::vector<Call> take_all() {
    std::vector<Call> all;
    all.reserve(live_);
    for (size_t i = 0; i < slots_.size(); ++i) {
      if (auto call = take(static_cast<uint64_t>(slots_[i].use) << 32 | i))
        all.push_back(std::move(*call));
    }
    return all;
  }
  size_t size() const { return live_; }

 private:
  static constexpr size_t kSlack = 1024;
  struct Slot {
    std::optional<Call> call;
    uint32_t use = 0;
  };
  struct Deadline {
    Instant at;
    uint64_t id;
    friend bool operator<(const Deadline& a, const Deadline& b) {
      return a.at > b.at;
    }  // the earliest on top
  };

  Slot* find(uint64_t id) {
    size_t index = static_cast<uint32_t>(id);
    if (index >= slots_.size()) return nullptr;
    Slot& slot = slots_[index];
    return slot.call && slot.use == id >> 32 ? &slot : nullptr;
  }
  // Most calls end long before their deadline; drops the deadlines of those that did.
  void compact() {
    std::vector<Deadline> living;
    living.reserve(live_);
    for (const Deadline& deadline : deadlines_) {
      if (find(deadline.id) != nullptr) living.push_back(deadline);
    }
    deadlines_ = std::move(living);
    std::make_heap(deadlines_.begin(), deadlines_.end());
  }

  std::vector<Slot> slots_;
  std::vector<uint32_t> free_;
  std::vector<Deadline>
      deadlines_;  // a heap, the earliest in front; ended calls are removed lazily
  size_t live_ = 0;
};

}  // namespace markab::rpc
