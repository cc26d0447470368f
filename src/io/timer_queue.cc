#include "io/timer_queue.h"

#include <algorithm>
#include <utility>

namespace markab::io {

struct TimerQueue::Handle final : TimerHandle::Impl {
  explicit Handle(SharedTask task) : task(std::move(task)) {}
  ~Handle() override {
    // Freed at once. Its end may be the end of others, so not while it is still in its place.
    Task cancelled = std::move(*task);
  }
  SharedTask task;
};

TimerHandle TimerQueue::add(Instant at, Task task) {
  if (heap_.size() >= sweep_at_) drop_cancelled();
  auto shared = std::make_shared<Task>(std::move(task));
  heap_.push_back({at, next_sequence_++, shared});
  std::push_heap(heap_.begin(), heap_.end(), later);
  return TimerHandle(std::make_unique<Handle>(std::move(shared)));
}

void TimerQueue::drop_cancelled() {
  std::erase_if(heap_, [](const Entry& entry) { return !*entry.task; });
  std::make_heap(heap_.begin(), heap_.end(), later);
  sweep_at_ = std::max(kSweep, 2 * heap_.size());
}

void TimerQueue::run_due(Instant now) {
  while (next() <= now) {
    std::pop_heap(heap_.begin(), heap_.end(), later);
    due_.push_back(std::move(heap_.back().task));
    heap_.pop_back();
  }
  for (const SharedTask& task : due_) {
    Task run = std::move(*task);
    if (run) run();
  }
  due_.clear();
}

void TimerQueue::clear() {
  auto entries = std::move(heap_);
  auto due = std::move(due_);
  heap_.clear();
  due_.clear();
  for (const Entry& entry : entries) Task dropped = std::move(*entry.task);
  for (const SharedTask& task : due) Task dropped = std::move(*task);
}

}  // namespace markab::io
