#include "engine/write_budget.h"

#include <algorithm>

#include "base/log.h"

namespace markab::engine {

namespace {

// Out of reach, so that RocksDB never acts on it.
constexpr size_t kAccountingSlack = 16;
// Smaller memtables are not worth a file: their filter alone has 512 KiB (rocks_options.cc).
constexpr uint64_t kSmallestFlush = 2u << 20;

}  // namespace

WriteBudget::WriteBudget(size_t bytes)
    : bytes_(bytes),
      relieve_at_(bytes / 4 * 3),
      accounting_(std::make_shared<rocksdb::WriteBufferManager>(bytes * kAccountingSlack)) {}

void WriteBudget::join(rocksdb::DB* db, std::vector<rocksdb::ColumnFamilyHandle*> families) {
  std::lock_guard lock(mutex_);
  members_.push_back({db, std::move(families)});
}

void WriteBudget::leave(rocksdb::DB* db) {
  std::lock_guard lock(mutex_);
  std::erase_if(members_, [&](const Member& m) { return m.db == db; });
}

void WriteBudget::relieve() {
  std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock.owns_lock()) return;  // somebody is at it
  rocksdb::FlushOptions how;
  how.wait = false;
  how.allow_write_stall = true;
  // A flush that is asked for takes its memtable out of the mutable ones at once, so this ends.
  for (size_t left = members_.size();
       left > 0 && accounting_->mutable_memtable_memory_usage() > relieve_at_; --left) {
    const Member* member = largest();
    if (member == nullptr) return;
    rocksdb::Status asked = member->db->Flush(how, member->families);
    if (!asked.ok()) {
      MARKAB_WARN("engine: {} cannot be flushed to free memory: {}", member->db->GetName(),
                  asked.ToString());
      return;
    }
  }
}

const WriteBudget::Member* WriteBudget::largest() const {
  const Member* found = nullptr;
  uint64_t most = kSmallestFlush;
  for (const Member& member : members_) {
    uint64_t bytes = 0;
    if (member.db->GetIntProperty(member.families[0],
                                  rocksdb::DB::Properties::kCurSizeActiveMemTable, &bytes) &&
        bytes > most) {
      most = bytes;
      found = &member;
    }
  }
  return found;
}

}  // namespace markab::engine
