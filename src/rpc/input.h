#pragma once
// Memory that received bytes lie in. Frames are parsed and handled where they were received;
// whoever needs them longer keeps a share of their block.
//
// One InputArena per shard lends the tail of its current block to whichever connection reads next,
// so that a thousand idle connections own no buffer and busy ones share a block that stays in the
// cache. A connection keeps the beginning of a frame whose rest has not come in a PartialFrame of
// its own.

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <string_view>

#include "rpc/message.h"

namespace markab::rpc {

class ByteBlock final : public InputBlock {
 public:
  explicit ByteBlock(size_t capacity) : capacity_(capacity), data_(new char[capacity]) {}
  char* data() const { return data_.get(); }
  size_t capacity() const { return capacity_; }

 private:
  const size_t capacity_;
  const std::unique_ptr<char[]> data_;
};

class InputArena {
 public:
  static constexpr size_t kBlockBytes = 128 << 10;
  static constexpr size_t kLeastRoom = 32 << 10;

  struct Space {
    std::shared_ptr<ByteBlock> block;
    char* data;
    size_t size;  // at least kLeastRoom
  };
  // One loan at a time.
  Space lend() {
    if (block_ == nullptr || block_->capacity() - used_ < kLeastRoom) {
      if (block_ == nullptr || block_.use_count() > 1)
        block_ = std::make_shared<ByteBlock>(kBlockBytes);
      used_ = 0;
    }
    return {block_, block_->data() + used_, block_->capacity() - used_};
  }
  // `bytes` of the loan were filled; when nobody kept a share of the block, all of it is free
  // again.
  void give_back(Space loan, size_t bytes) {
    loan.block.reset();
    used_ = block_.use_count() > 1 ? used_ + bytes : 0;
  }

 private:
  std::shared_ptr<ByteBlock> block_;
  size_t used_ = 0;
};

// The beginning of a frame. Its memory grows with what has arrived, never with what a header
// claims: at most twice the bytes received, or kFirstBytes.
class PartialFrame {
 public:
  static constexpr size_t kFirstBytes = 4 << 10;
  // Frames up to this length are put together in the arena; longer ones in a block of their own.
  static constexpr size_t kSmall = InputArena::kLeastRoom / 2;

  bool empty() const { return size_ == 0; }
  bool is_large() const { return needed_ > kSmall; }
  std::string_view bytes() const { return {block_ ? block_->data() : nullptr, size_}; }
  const std::shared_ptr<ByteBlock>& block() const { return block_; }
  // The length that the frame must reach before another look at it is worth while.
  size_t needed() const { return needed_; }

  void clear() {
    block_.reset();
    size_ = needed_ = 0;
  }
  // `head` (fewer than `needed` bytes) may lie in this object's own block.
  void assign(std::string_view head, size_t needed) {
    if (head.empty()) {
      clear();
      return;
    }
    needed_ = needed;
    if (block_ && block_->data() == head.data()) {
      size_ = head.size();
      return;
    }
    auto fresh = std::make_shared<ByteBlock>(room_for(head.size(), needed));
    std::memcpy(fresh->data(), head.data(), head.size());
    block_ = std::move(fresh);
    size_ = head.size();
  }
  // Where to receive next, and how much: never more than the frame needs, so that it ends where its
  // block's bytes end.
  struct Tail {
    char* data;
    size_t size;
  };
  Tail tail() {
    if (block_->capacity() == size_) {
      auto fresh = std::make_shared<ByteBlock>(room_for(size_, needed_));
      std::memcpy(fresh->data(), block_->data(), size_);
      block_ = std::move(fresh);
    }
    return {block_->data() + size_, std::min(block_->capacity(), needed_) - size_};
  }
  void received(size_t n) { size_ += n; }

 private:
  static size_t room_for(size_t have, size_t needed) {
    return std::max(std::min(needed, std::max(2 * have, kFirstBytes)), have + 1);
  }
  std::shared_ptr<ByteBlock> block_;
  size_t size_ = 0;
  size_t needed_ = 0;
};

}  // namespace markab::rpc
