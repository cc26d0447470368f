#include "meta/journal.h"

#include "base/assert.h"
#include "base/log.h"
#include "meta/state_json.h"

namespace markab::meta {

constexpr Duration kFirstRetry = std::chrono::milliseconds(100);
constexpr Duration kRetry = std::chrono::seconds(1);

void Journal::append(const Store& action) {
  MARKAB_ASSERT(!action.ops.empty(), "a store of nothing", action.id);
  for (const StoreOp& op : action.ops) queue_.push_back({to_state_op(op), 0});
  queue_.back().finishes = action.id;
  write_next();
}

void Journal::append_raw(std::vector<StateOp> ops) {
  for (StateOp& op : ops) queue_.push_back({std::move(op), 0});
  write_next();
}

void Journal::write_next() {
  if (writing_ || queue_.empty()) return;
  size_t bytes = 0;
  while (!queue_.empty()) {
    Item& item = queue_.front();
    size_t size = item.op.path.size() + item.op.data.size();
    if (!current_.empty() && bytes + size > store_.max_transaction_bytes()) break;
    bytes += size;
    if (item.finishes != 0) current_ids_.push_back(item.finishes);
    current_.push_back(std::move(item.op));
    queue_.pop_front();
  }
  writing_ = true;
  write();
}

void Journal::write() {
  store_.write(current_, [this, alive = alive_](Status status) {
    if (*alive) on_written(status);
  });
}

void Journal::on_written(const Status& status) {
  if (!status.ok()) {
    if (!failing_since_) failing_since_ = shard_.now();
    if (failures_ == 0 || failures_ % 10 == 0) {
      MARKAB_ERROR("the meta state could not be written (attempt {}): {}; it is tried again",
                   failures_ + 1, status);
    }
    ++failures_;
    retry_ = shard_.after(failures_ == 1 ? kFirstRetry : kRetry, [this] { write(); });
    return;
  }
  if (failures_ > 0) MARKAB_INFO("the meta state can be written again");
  failures_ = 0;
  failing_since_.reset();
  writing_ = false;
  current_.clear();
  auto ids = std::exchange(current_ids_, {});
  auto alive = alive_;
  for (uint64_t id : ids) {
    on_stored_(id);
    if (!*alive) return;
  }
  write_next();
}

}  // namespace markab::meta
