#include "engine/hashkey_transform.h"

#include <algorithm>

#include "base/bytes.h"
#include "engine/key_codec.h"

namespace markab::engine {

rocksdb::Slice HashkeyTransform::Transform(const rocksdb::Slice& key) const {
  // Imported data may hold keys shorter than they declare: their prefix is the whole key.
  size_t length = kKeyPrefixLength + load_be<uint16_t>(key.data());
  return {key.data(), std::min(length, key.size())};
}

bool HashkeyTransform::InDomain(const rocksdb::Slice& key) const {
  return key.size() >= kKeyPrefixLength;
}

}  // namespace markab::engine
