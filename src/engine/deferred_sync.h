#pragma once
// RocksDB's file system with two kinds of syncs left out, since nothing depends on them:
//  - those of a store's creation. Until its first flush a store holds nothing durable and is made
//  anew when it is found
//    (rocks_store.cc), so its files are synced once, before that flush, instead of nine times while
//    a table is created.
//  - those of OPTIONS files, which no store reads.
// With nine of them at some 8 ms each, creating a table of 24 replicas on one disk took two
// seconds.

#include <rocksdb/env.h>

#include <memory>

namespace markab::engine {

// While one lives, syncs on this thread through an environment of make_store_env() do nothing.
class CreationScope {
 public:
  CreationScope();
  ~CreationScope();
  CreationScope(const CreationScope&) = delete;
  CreationScope& operator=(const CreationScope&) = delete;
};

// RocksDB's default environment, with its threads, over that file system.
std::unique_ptr<rocksdb::Env> make_store_env();

}  // namespace markab::engine
