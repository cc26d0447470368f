#include "meta/memory_store.h"

#include "base/assert.h"

namespace markab::meta {

void MemoryStore::later(Task task) { timer_ = shard_.after(latency_, std::move(task)); }

void MemoryStore::open(Callback<Result<Tree>> done) {
  owner_ = ++disk_.owner;
  later([this, done = std::move(done)] { done(disk_.tree); });
}

void MemoryStore::write(std::vector<StateOp> ops, Callback<Status> done) {
  later([this, ops = std::move(ops), done = std::move(done)] { done(apply(ops)); });
}

Status MemoryStore::apply(const std::vector<StateOp>& ops) {
  if (owner_ != disk_.owner) return Status(Errc::kHoldByOthers, "another leader opened the store");
  if (disk_.stop_after && *disk_.stop_after == 0)
    return Status(Errc::kTimeout, "the store is out of reach");
  bool fails = disk_.fail_writes > 0;
  if (fails) --disk_.fail_writes;
  if (!fails || disk_.applied_though) {
    for (const StateOp& op : ops) {
      if (op.kind == StateOp::Kind::kPut) {
        disk_.tree[op.path] = op.data;
      } else {
        disk_.tree.erase(op.path);
      }
    }
  }
  if (fails) return Status(Errc::kTimeout, "a fault that the test ordered");
  ++disk_.transactions;
  if (disk_.stop_after) --*disk_.stop_after;
  return {};
}

void MemoryStore::close(Task done) {
  timer_.cancel();
  shard_.post(std::move(done));
}

}  // namespace markab::meta
