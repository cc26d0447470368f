#pragma once
// Keeps the memtables of all stores of a daemon within one budget: at three quarters of it the
// store with the largest memtable is flushed, and at the budget writes are refused until a flush
// has ended.
//
// RocksDB's own WriteBufferManager, used here for its accounting only, would make whoever writes at
// the limit flush its own store: with idle stores holding most of the budget, each write of a busy
// one would flush a few rows.
//
// Any thread. Owned by SharedResources.

#include <rocksdb/db.h>
#include <rocksdb/write_buffer_manager.h>

#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

namespace markab::engine {

class WriteBudget {
 public:
  explicit WriteBudget(size_t bytes);

  // For DBOptions: counts the memory.
  const std::shared_ptr<rocksdb::WriteBufferManager>& accounting() const { return accounting_; }

  // A store and the families that it flushes as one. It leaves before it closes.
  void join(rocksdb::DB* db, std::vector<rocksdb::ColumnFamilyHandle*> families);
  void leave(rocksdb::DB* db);

  // Whether a write has to wait: the budget is used up, and flushes that will free some of it are
  // under way.
  bool full() const {
    size_t used = accounting_->memory_usage();
    return used >= bytes_ && used > accounting_->mutable_memtable_memory_usage();
  }
  // To be called after each write. One load while memory is ample; else it asks for flushes, which
  // costs the caller about as much as filling a memtable of its own does.
  void after_write() {
    if (accounting_->mutable_memtable_memory_usage() > relieve_at_) relieve();
  }
  size_t bytes() const { return bytes_; }
  size_t used() const { return accounting_->memory_usage(); }
  // Of used(): what is still written to.
  size_t used_mutable() const { return accounting_->mutable_memtable_memory_usage(); }
  // What an empty memtable takes for its filter, and the piece in which it grows: small enough that
  // hundreds of idle stores leave most of the budget to the busy ones.
  size_t memtable_filter_bytes() const;
  size_t memtable_block_bytes() const;

 private:
  struct Member {
    rocksdb::DB* db;
    std::vector<rocksdb::ColumnFamilyHandle*> families;
  };

  void relieve();
  // Null when no memtable has more than `least`.
  const Member* largest(uint64_t least) const;

  const size_t bytes_;
  const size_t relieve_at_;
  const std::shared_ptr<rocksdb::WriteBufferManager> accounting_;
  std::mutex mutex_;
  std::vector<Member> members_;
};

}  // namespace markab::engine
