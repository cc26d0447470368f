#include "engine/effects.h"

#include "base/bytes.h"
#include "engine/key_codec.h"

namespace markab::engine {

namespace {

// Record tags of RocksDB's write batch format.
constexpr char kTagDelete = 0x0;
constexpr char kTagPut = 0x1;
constexpr char kTagPutInFamily = 0x5;

constexpr size_t kMaxVarint32 = 5;
constexpr size_t kCountOffset = 8;

size_t encode_varint(char* out, uint32_t v) {
  size_t n = 0;
  while (v >= 0x80) {
    out[n++] = static_cast<char>(v | 0x80);
    v >>= 7;
  }
  out[n++] = static_cast<char>(v);
  return n;
}

void append_varint(std::string& out, size_t v) {
  char raw[kMaxVarint32];
  out.append(raw, encode_varint(raw, static_cast<uint32_t>(v)));
}

void count_one_more(std::string& out) {
  store_le<uint32_t>(out.data() + kCountOffset, load_le<uint32_t>(out.data() + kCountOffset) + 1);
}

void append_raw_key(std::string& out, std::string_view hash_key, std::string_view sort_key) {
  append_varint(out, kKeyPrefixLength + hash_key.size() + sort_key.size());
  append_be<uint16_t>(out, static_cast<uint16_t>(hash_key.size()));
  out.append(hash_key);
  out.append(sort_key);
}

void append_value(std::string& out, std::string_view header, std::string_view data) {
  append_varint(out, header.size() + data.size());
  out.append(header);
  out.append(data);
}

}  // namespace

void EffectsWriter::start(std::string& out) { out.assign(kEffectsHeaderBytes, '\0'); }

void EffectsWriter::put(std::string& out, std::string_view key, std::string_view header,
                        std::string_view data) {
  out.push_back(kTagPut);
  append_varint(out, key.size());
  out.append(key);
  append_value(out, header, data);
  count_one_more(out);
}

void EffectsWriter::put(std::string& out, std::string_view hash_key, std::string_view sort_key,
                        std::string_view header, std::string_view data) {
  out.push_back(kTagPut);
  append_raw_key(out, hash_key, sort_key);
  append_value(out, header, data);
  count_one_more(out);
}

void EffectsWriter::remove(std::string& out, std::string_view key) {
  out.push_back(kTagDelete);
  append_varint(out, key.size());
  out.append(key);
  count_one_more(out);
}

void EffectsWriter::remove(std::string& out, std::string_view hash_key, std::string_view sort_key) {
  out.push_back(kTagDelete);
  append_raw_key(out, hash_key, sort_key);
  count_one_more(out);
}

void EffectsWriter::append(std::string& out, std::string_view effects) {
  if (effects.empty()) return;
  uint32_t count = load_le<uint32_t>(out.data() + kCountOffset) +
                   load_le<uint32_t>(effects.data() + kCountOffset);
  store_le<uint32_t>(out.data() + kCountOffset, count);
  out.append(effects.substr(kEffectsHeaderBytes));
}

void EffectsWriter::put_in_family(std::string& out, uint32_t id, std::string_view key,
                                  std::string_view value) {
  out.push_back(kTagPutInFamily);
  append_varint(out, id);
  append_varint(out, key.size());
  out.append(key);
  append_varint(out, value.size());
  out.append(value);
  count_one_more(out);
}

EffectsReader::EffectsReader(std::string_view effects) {
  if (effects.empty()) return;
  if (effects.size() < kEffectsHeaderBytes) {
    ok_ = false;
    return;
  }
  count_ = load_le<uint32_t>(effects.data() + kCountOffset);
  rest_ = effects.substr(kEffectsHeaderBytes);
}

EffectsReader EffectsReader::over_records(std::string_view records) {
  EffectsReader reader({});
  reader.rest_ = records;
  reader.counted_ = false;
  return reader;
}

bool EffectsReader::read_piece(std::string_view& piece) {
  uint32_t length = 0;
  size_t used = 0;
  for (int shift = 0;; shift += 7, ++used) {
    if (used == rest_.size() || used == kMaxVarint32) return false;
    uint8_t byte = static_cast<uint8_t>(rest_[used]);
    if (used == kMaxVarint32 - 1 && byte > 0x0F) return false;  // above 32 bits
    length |= static_cast<uint32_t>(byte & 0x7F) << shift;
    if (byte < 0x80) break;
  }
  rest_.remove_prefix(used + 1);
  if (length > rest_.size()) return false;
  piece = rest_.substr(0, length);
  rest_.remove_prefix(length);
  return true;
}

bool EffectsReader::next(Effect& effect) {
  if (!ok_) return false;
  if (rest_.empty()) {
    ok_ = !counted_ || seen_ == count_;
    return false;
  }
  char tag = rest_[0];
  rest_.remove_prefix(1);
  effect.is_delete = tag == kTagDelete;
  effect.value = {};
  ok_ = (tag == kTagPut || tag == kTagDelete) && read_piece(effect.key) &&
        (effect.is_delete || read_piece(effect.value)) && (++seen_ <= count_ || !counted_);
  return ok_;
}

bool valid_effects(std::string_view effects) {
  EffectsReader reader(effects);
  Effect effect;
  while (reader.next(effect)) {
  }
  return reader.ok();
}

}  // namespace markab::engine
