#pragma once
// Effects: what a mutation does to the store, as the bytes of a RocksDB WriteBatch restricted to
// plain puts and deletes of the default column family (docs/formats.md, "Effects"). The primary's
// resolver writes them; the log and the network carry them; every replica's store applies them as
// they are.
//
// The reader trusts nothing: effects come from a disk or a peer.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace markab::engine {

inline constexpr size_t kEffectsHeaderBytes = 12;  // u64 sequence (0), u32 count, little-endian

// Appends records to a string that it does not own. The string is complete after each call.
class EffectsWriter {
 public:
  // Starts anew in `out`.
  static void start(std::string& out);
  // The value's bytes are `header` followed by `data`.
  static void put(std::string& out, std::string_view key, std::string_view header,
                  std::string_view data);
  // The same with a raw key that is made on the way.
  static void put(std::string& out, std::string_view hash_key, std::string_view sort_key,
                  std::string_view header, std::string_view data);
  static void remove(std::string& out, std::string_view key);
  static void remove(std::string& out, std::string_view hash_key, std::string_view sort_key);
  // All records of other effects, which are valid_effects().
  static void append(std::string& out, std::string_view effects);
  // A put into column family `id`: the decree's, added by the store.
  static void put_in_family(std::string& out, uint32_t id, std::string_view key,
                            std::string_view value);
};

struct Effect {
  bool is_delete = false;
  std::string_view key;
  std::string_view value;  // with its header
};

// Walks over effects. `ok()` is false at the first byte that does not fit, and next() then returns
// false.
class EffectsReader {
 public:
  explicit EffectsReader(std::string_view effects);
  // Over records alone, without the header: the newer part of a batch under construction.
  static EffectsReader over_records(std::string_view records);
  bool next(Effect& effect);
  bool ok() const { return ok_; }
  uint32_t count() const { return count_; }

 private:
  bool read_piece(std::string_view& piece);

  std::string_view rest_;
  uint32_t count_ = 0;
  uint32_t seen_ = 0;
  bool counted_ = true;
  bool ok_ = true;
};

// Whether the bytes are well-formed effects; empty ones are (they only carry a decree).
bool valid_effects(std::string_view effects);

}  // namespace markab::engine
