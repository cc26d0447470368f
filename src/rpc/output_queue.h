#pragma once
// Answers on their way into a socket: small ones are gathered in blocks, a large one is a block of
// its own that is never copied nor moved about. Not shared between threads.

#include <cstddef>
#include <deque>
#include <string>
#include <string_view>
#include <utility>

#include "base/assert.h"

namespace markab::rpc {

class OutputQueue {
 public:
  // A block takes in no more once it has so much; an answer of this size is worth a block.
  static constexpr size_t kBlockBytes = 256u << 10;

  // Lets `write(std::string&)` append an answer.
  template <typename Write>
  void append(Write write) {
    if (blocks_.empty() || blocks_.back().size() >= kBlockBytes) blocks_.emplace_back();
    std::string& block = blocks_.back();
    size_t before = block.size();
    write(block);
    size_ += block.size() - before;
    if (block.empty() && blocks_.size() > 1) blocks_.pop_back();
  }
  // A block of its own.
  void adopt(std::string block) {
    if (block.empty()) return;
    if (size_ == 0) clear();
    size_ += block.size();
    blocks_.push_back(std::move(block));
  }
  // Takes over all that `other` has; it keeps a buffer of this one's, if that was not in use.
  void take(OutputQueue& other) {
    if (size_ == 0) {
      std::swap(blocks_, other.blocks_);
      std::swap(size_, other.size_);
      std::swap(sent_, other.sent_);
      return;
    }
    for (auto& block : other.blocks_) {
      if (blocks_.back().size() + block.size() <= kBlockBytes) {
        blocks_.back() += block;
      } else {
        blocks_.push_back(std::move(block));
      }
    }
    size_ += std::exchange(other.size_, 0);
    other.blocks_.clear();
  }

  // Bytes that are not sent.
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  // What is to be sent next; precondition: not empty().
  std::string_view front() const { return std::string_view(blocks_.front()).substr(sent_); }
  // The first `n` bytes of front() are gone.
  void sent(size_t n) {
    MARKAB_ASSERT(n <= front().size(), "more was sent than there was", n, front().size());
    sent_ += n;
    size_ -= n;
    if (sent_ < blocks_.front().size()) return;
    sent_ = 0;
    if (blocks_.size() > 1 || blocks_.front().capacity() > kKeptBytes) {
      blocks_.pop_front();
    } else {
      blocks_.front().clear();  // to be filled again
    }
  }
  void clear() {
    blocks_.clear();
    size_ = sent_ = 0;
  }

 private:
  static constexpr size_t kKeptBytes = 256u << 10;

  // None is empty, but one that is alone and waits to be filled again.
  std::deque<std::string> blocks_;
  size_t size_ = 0;
  size_t sent_ = 0;  // of the first block
};

}  // namespace markab::rpc
