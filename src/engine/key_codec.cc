#include "engine/key_codec.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/crc64.h"

namespace markab::engine {

bool split_key(std::string_view raw, KeyParts& parts) {
  if (raw.size() < kKeyPrefixLength) return false;
  size_t length = load_be<uint16_t>(raw.data());
  if (length > kMaxHashKeyBytes || length > raw.size() - kKeyPrefixLength) return false;
  parts.hash_key = raw.substr(kKeyPrefixLength, length);
  parts.sort_key = raw.substr(kKeyPrefixLength + length);
  return true;
}

void append_key(std::string& out, std::string_view hash_key, std::string_view sort_key) {
  MARKAB_ASSERT(valid_hash_key(hash_key), "a hash key of this length has no raw key",
                hash_key.size());
  out.reserve(out.size() + kKeyPrefixLength + hash_key.size() + sort_key.size());
  append_be<uint16_t>(out, static_cast<uint16_t>(hash_key.size()));
  out.append(hash_key);
  out.append(sort_key);
}

std::string make_key(std::string_view hash_key, std::string_view sort_key) {
  std::string key;
  append_key(key, hash_key, sort_key);
  return key;
}

void advance_past_prefix(std::string& raw) {
  while (!raw.empty() && static_cast<uint8_t>(raw.back()) == 0xFF) raw.pop_back();
  if (!raw.empty()) raw.back() = static_cast<char>(static_cast<uint8_t>(raw.back()) + 1);
}

std::string key_after(std::string_view hash_key, std::string_view sort_prefix) {
  std::string key = make_key(hash_key, sort_prefix);
  advance_past_prefix(key);
  return key;
}

uint64_t row_hash(const KeyParts& parts) {
  return crc64(parts.hash_key.empty() ? parts.sort_key : parts.hash_key);
}

}  // namespace markab::engine
