#pragma once
// The prefix of a raw key that RocksDB's filters know: length field and hash key. Its name is part
// of the files on disk and shared with Pegasus (spec 02 §14).

#include <rocksdb/slice_transform.h>

namespace markab::engine {

class HashkeyTransform final : public rocksdb::SliceTransform {
 public:
  const char* Name() const override { return "pegasus.HashkeyTransform"; }
  rocksdb::Slice Transform(const rocksdb::Slice& key) const override;
  bool InDomain(const rocksdb::Slice& key) const override;
};

}  // namespace markab::engine
