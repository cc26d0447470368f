#pragma once
// Raw keys (spec 02 §3): u16 big-endian length of the hash key, hash key, sort key. Their byte
// order is the order of the store. Pure functions on bytes; any thread.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace markab::engine {

inline constexpr size_t kKeyPrefixLength = 2;      // of the length field
inline constexpr size_t kMaxHashKeyBytes = 65534;  // 65535 is refused everywhere

struct KeyParts {
  std::string_view hash_key;
  std::string_view sort_key;
};

// False when the key is malformed: shorter than its length field, or than what that declares, or a
// length of 65535.
bool split_key(std::string_view raw, KeyParts& parts);
// Whether raw keys can be made with this hash key.
inline bool valid_hash_key(std::string_view hash_key) {
  return hash_key.size() <= kMaxHashKeyBytes;
}

// Appends the raw key. Precondition (asserted): valid_hash_key().
void append_key(std::string& out, std::string_view hash_key, std::string_view sort_key);
std::string make_key(std::string_view hash_key, std::string_view sort_key);
// Turns `raw` into the smallest key above all that begin with it: an exclusive upper bound. A key
// of nothing but FF bytes becomes empty, which means "no bound".
void advance_past_prefix(std::string& raw);
// The first key above all keys of `hash_key` (whose sort keys begin with `sort_prefix`).
std::string key_after(std::string_view hash_key, std::string_view sort_prefix = {});

// The hash that routes a row: CRC-64 of the hash key, or of the sort key when that is empty (spec
// 01 §13).
uint64_t row_hash(const KeyParts& parts);

}  // namespace markab::engine
