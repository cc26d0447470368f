#include "engine/write_budget.h"

#include <algorithm>

#include "base/log.h"

namespace markab::engine {

namespace {

// Out of reach, so that RocksDB never acts on it.
constexpr size_t kAccountingSlack = 16;
// Smaller memtables are not worth a file, unless the budget has so little room that hundreds of
// them fill it.
constexpr size_t kSmallestFlush = 2u << 20;
constexpr size_t kSmallestFlushPart = 256;  // one of so many of the budget
// A filter of 512 KiB still is 10 bits per hash key when a full memtable of 64 MiB holds rows of
// 150 bytes. (Upstream's ratio costs 6.4 MiB per idle store.)
constexpr size_t kMostFilter = 512u << 10;
constexpr size_t kLeastFilter = 8u << 10;
constexpr size_t kFilterPart = 1024;
constexpr size_t kMostBlock = 256u << 10;
constexpr size_t kLeastBlock = 8u << 10;
constexpr size_t kBlockPart = 2048;
static_assert(kFilterPart >= 4 * kSmallestFlushPart, "what is flushed is rows, not the filter");

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
  const size_t worth_it = std::min(kSmallestFlush, bytes_ / kSmallestFlushPart);
  for (size_t left = members_.size();
       left > 0 && accounting_->mutable_memtable_memory_usage() > relieve_at_; --left) {
    const Member* member = largest(used() >= bytes_ ? 0 : worth_it);
    if (member == nullptr) return;
    rocksdb::Status asked = member->db->Flush(how, member->families);
    if (!asked.ok()) {
      MARKAB_WARN("engine: {} cannot be flushed to free memory: {}", member->db->GetName(),
                  asked.ToString());
      return;
    }
  }
}

size_t WriteBudget::memtable_filter_bytes() const {
  return std::clamp(bytes_ / kFilterPart, kLeastFilter, kMostFilter);
}
size_t WriteBudget::memtable_block_bytes() const {
  return std::clamp(bytes_ / kBlockPart, kLeastBlock, kMostBlock) / 4096 * 4096;
}

const WriteBudget::Member* WriteBudget::largest(uint64_t least) const {
  const Member* found = nullptr;
  uint64_t most = least;
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
