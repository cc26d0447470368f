#include "replica/delayed_requests.h"

namespace markab::replica {

bool DelayedRequests::hold(rpc::Request& request, Duration wait, Callback<rpc::Request> due) {
  if (waiting_.size() >= kMaxRequests || bytes_ + request.args.size() > kMaxBytes) return false;
  bytes_ += request.args.size();
  waiting_.emplace(shard_.now() + wait, Waiting{std::move(request), std::move(due)});
  schedule();
  return true;
}

void DelayedRequests::schedule() {
  if (waiting_.empty()) {
    timer_.cancel();
    return;
  }
  Instant first = waiting_.begin()->first;
  if (timer_ && timer_at_ <= first) return;
  timer_at_ = first;
  Duration wait = std::max(Duration(0), Duration(first - shard_.now()));
  timer_ = shard_.after(wait, [this] { run_due(); });
}

void DelayedRequests::run_due() {
  timer_.cancel();
  // Taken out first: what runs may hold others.
  std::multimap<Instant, Waiting> due;
  for (Instant now = shard_.now(); !waiting_.empty() && waiting_.begin()->first <= now;) {
    bytes_ -= waiting_.begin()->second.request.args.size();
    due.insert(waiting_.extract(waiting_.begin()));
  }
  schedule();
  for (auto& [when, waiting] : due) waiting.due(std::move(waiting.request));
}

void DelayedRequests::refuse_all(Errc error) {
  for (auto& [when, entry] : waiting_) entry.request.reply_error(error);
  drop_all();
}

void DelayedRequests::drop_all() {
  timer_.cancel();
  bytes_ = 0;
  auto waiting = std::move(waiting_);  // what their ends set off finds nothing here
  waiting_.clear();
}

}  // namespace markab::replica
