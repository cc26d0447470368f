#pragma once
// A half-open range of raw keys, made from the inclusive or exclusive ends that requests name.
// Plain value, but iterators point into it: it must not move while one lives.

#include <rocksdb/slice.h>

#include <string>
#include <string_view>

namespace markab::engine {

class KeyRange {
 public:
  // Keys from `key` on, or after it.
  void set_start(std::string_view key, bool inclusive) {
    lower_.assign(key);
    if (!inclusive) lower_.push_back('\0');
  }
  void set_stop(std::string_view key, bool inclusive) {
    upper_.assign(key);
    if (inclusive) upper_.push_back('\0');
    bounded_ = true;
  }
  // Cuts the range at `key`, exclusive; empty: no cut.
  void cut_at(std::string_view key) {
    if (key.empty() || (bounded_ && upper_ <= key)) return;
    upper_.assign(key);
    bounded_ = true;
  }
  // Moves the start to `key`, inclusive, if that is later.
  void begin_at(std::string_view key) {
    if (lower_ < key) lower_.assign(key);
  }

  bool empty() const { return bounded_ && upper_ <= lower_; }
  // For Store::iterate(): valid until the range is changed.
  const rocksdb::Slice* lower() {
    lower_slice_ = rocksdb::Slice(lower_);
    return &lower_slice_;
  }
  const rocksdb::Slice* upper() {
    upper_slice_ = rocksdb::Slice(upper_);
    return bounded_ ? &upper_slice_ : nullptr;
  }

 private:
  std::string lower_;
  std::string upper_;
  bool bounded_ = false;
  rocksdb::Slice lower_slice_;
  rocksdb::Slice upper_slice_;
};

}  // namespace markab::engine
