#include "engine/scan_contexts.h"

#include <algorithm>

#include "engine/engine.h"

namespace markab::engine {

namespace {

// 31 bits that are not zero, in the upper half of a signed 64-bit number.
uint64_t high_word(uint64_t seed) {
  uint64_t word = (seed ^ seed >> 32) & 0x7FFFFFFF;
  return (word == 0 ? 1 : word) << 32;
}

}  // namespace

ScanContexts::ScanContexts(uint64_t seed) : high_word_(high_word(seed)) {}

int64_t ScanContexts::put(std::unique_ptr<ScanContext> context, Instant now) {
  std::unique_ptr<ScanContext> evicted;  // destroyed after the lock is gone
  std::lock_guard lock(mutex_);
  auto peer = by_peer_.find(context->peer);
  if (peer != by_peer_.end() && peer->second.size() >= kMaxScanContextsPerPeer) {
    evicted = remove(contexts_.find(peer->second.front()));
  } else if (contexts_.size() >= kMaxScanContexts) {
    evicted = remove(contexts_.begin());
  }
  uint32_t number = ++counter_;
  by_peer_[context->peer].push_back(number);
  contexts_[number] = Entry{std::move(context), now};
  return static_cast<int64_t>(high_word_ | number);
}

ScanContexts::Order::iterator ScanContexts::find(int64_t id) {
  uint64_t bits = static_cast<uint64_t>(id);
  if ((bits & ~uint64_t{0xFFFFFFFF}) != high_word_) return contexts_.end();
  return contexts_.find(static_cast<uint32_t>(bits));
}

std::unique_ptr<ScanContext> ScanContexts::remove(Order::iterator at) {
  auto peer = by_peer_.find(at->second.context->peer);
  std::vector<uint32_t>& numbers = peer->second;
  numbers.erase(std::find(numbers.begin(), numbers.end(), at->first));
  if (numbers.empty()) by_peer_.erase(peer);
  std::unique_ptr<ScanContext> context = std::move(at->second.context);
  contexts_.erase(at);
  return context;
}

std::unique_ptr<ScanContext> ScanContexts::take(int64_t id) {
  std::lock_guard lock(mutex_);
  auto at = find(id);
  return at == contexts_.end() ? nullptr : remove(at);
}

bool ScanContexts::contains(int64_t id) const {
  std::lock_guard lock(mutex_);
  return const_cast<ScanContexts*>(this)->find(id) != contexts_.end();
}

void ScanContexts::expire(Instant until) {
  std::vector<std::unique_ptr<ScanContext>> expired;  // destroyed after the lock is gone
  std::lock_guard lock(mutex_);
  for (auto at = contexts_.begin(); at != contexts_.end() && at->second.since < until;
       at = contexts_.begin()) {
    expired.push_back(remove(at));
  }
}

size_t ScanContexts::size() const {
  std::lock_guard lock(mutex_);
  return contexts_.size();
}

}  // namespace markab::engine
