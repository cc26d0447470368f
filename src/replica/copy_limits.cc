#include "replica/copy_limits.h"

#include <algorithm>

namespace markab::replica {

namespace {

// What an idle limit lets pass at once.
constexpr Duration kBurst = std::chrono::milliseconds(50);

}  // namespace

Duration RateLimit::reserve(uint64_t bytes, Instant now) {
  uint64_t rate = rate_;
  if (rate == 0) return Duration(0);
  std::lock_guard lock(mutex_);
  Instant earliest{now.ns - kBurst.count()};
  if (free_at_ < earliest) free_at_ = earliest;
  auto wait = free_at_ - now;
  free_at_ =
      free_at_ +
      Duration(static_cast<int64_t>(static_cast<double>(bytes) * 1e9 / static_cast<double>(rate)));
  return std::max(wait, Duration(0));
}

struct CopyLimits::Waiter final : CopyLimits::Place,
                                  std::enable_shared_from_this<CopyLimits::Waiter> {
  Waiter(std::shared_ptr<Gate> gate, io::Shard& home, Task ready)
      : gate(std::move(gate)), home(home), ready(std::move(ready)) {}
  ~Waiter() override { gate->leave(*this); }

  const std::shared_ptr<Gate> gate;
  io::Shard& home;
  Task ready;
  bool admitted = false;  // guarded by gate->mutex
};

// `ready` belongs to whoever holds the place: it is gone when that is.
void CopyLimits::admit(const std::shared_ptr<Waiter>& waiter) {
  waiter->home.post([weak = std::weak_ptr<Waiter>(waiter)] {
    auto alive = weak.lock();
    if (!alive || !alive->ready) return;
    auto run = std::move(alive->ready);
    run();
  });
}

std::shared_ptr<CopyLimits::Place> CopyLimits::enter(io::Shard& home, Task ready) {
  auto waiter = std::make_shared<Waiter>(gate_, home, std::move(ready));
  {
    std::lock_guard lock(gate_->mutex);
    if (gate_->free == 0) {
      gate_->queue.push_back(waiter);
      return waiter;
    }
    --gate_->free;
    ++gate_->taken;
    waiter->admitted = true;
  }
  admit(waiter);
  return waiter;
}

void CopyLimits::Gate::leave(Waiter& waiter) {
  std::shared_ptr<Waiter> next;
  {
    std::lock_guard lock(mutex);
    if (!waiter.admitted) return;  // its place in the queue is skipped
    while (!next && !queue.empty()) {
      next = queue.front().lock();
      queue.pop_front();
    }
    if (next) {
      next->admitted = true;
    } else {
      ++free;
      --taken;
    }
  }
  if (next) admit(next);
}

size_t CopyLimits::Gate::count(bool waiting) const {
  std::lock_guard lock(mutex);
  if (!waiting) return taken;
  return static_cast<size_t>(
      std::count_if(queue.begin(), queue.end(), [](const auto& weak) { return !weak.expired(); }));
}

}  // namespace markab::replica
