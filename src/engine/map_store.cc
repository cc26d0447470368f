#include "engine/map_store.h"

#include <fmt/format.h>

#include <vector>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "engine/effects.h"
#include "engine/value_codec.h"

namespace markab::engine {

namespace {

constexpr char kFileName[] = "MAP";
constexpr size_t kMaxFileBytes = 1u << 30;
// u32 CRC-32C of what follows, u64 decree, u64 number of rows; then per row u32 key length, key,
// u32 value length, value.
constexpr size_t kHeaderBytes = 20;

std::string serialise(const MapStore::Rows& rows, Decree decree) {
  std::string out(4, '\0');
  append_le<uint64_t>(out, static_cast<uint64_t>(decree));
  append_le<uint64_t>(out, rows.size());
  for (const auto& [key, value] : rows) {
    append_le<uint32_t>(out, static_cast<uint32_t>(key.size()));
    out += key;
    append_le<uint32_t>(out, static_cast<uint32_t>(value.size()));
    out += value;
  }
  store_le<uint32_t>(out.data(), crc32c(std::string_view(out).substr(4)));
  return out;
}

// Takes one length and its bytes from the front of `rest`.
bool take_piece(std::string_view& rest, std::string_view& piece) {
  if (rest.size() < 4) return false;
  size_t length = load_le<uint32_t>(rest.data());
  if (length > rest.size() - 4) return false;
  piece = rest.substr(4, length);
  rest.remove_prefix(4 + length);
  return true;
}

Status parse(std::string_view bytes, MapStore::Rows& rows, Decree& decree) {
  if (bytes.size() < kHeaderBytes || load_le<uint32_t>(bytes.data()) != crc32c(bytes.substr(4))) {
    return Status(Errc::kRdbCorruption, "its checksum does not match");
  }
  decree = static_cast<Decree>(load_le<uint64_t>(bytes.data() + 4));
  uint64_t count = load_le<uint64_t>(bytes.data() + 12);
  std::string_view rest = bytes.substr(kHeaderBytes);
  for (; count > 0; --count) {
    std::string_view key;
    std::string_view value;
    if (!take_piece(rest, key) || !take_piece(rest, value)) {
      return Status(Errc::kRdbCorruption,
                    fmt::format("its row at offset {} ends too early", bytes.size() - rest.size()));
    }
    rows.emplace_hint(rows.end(), key, value);
  }
  return Status::Ok();
}

// Over [lower, upper) of rows that nobody changes any more.
class MapIterator final : public rocksdb::Iterator {
 public:
  MapIterator(std::shared_ptr<const MapStore::Rows> rows, const rocksdb::Slice* lower,
              const rocksdb::Slice* upper, bool needs_disk)
      : rows_(std::move(rows)), needs_disk_(needs_disk) {
    begin_ = lower == nullptr ? rows_->begin() : rows_->lower_bound(view(*lower));
    end_ = upper == nullptr ? rows_->end() : rows_->lower_bound(view(*upper));
    if (lower != nullptr && upper != nullptr && upper->compare(*lower) <= 0) end_ = begin_;
    at_ = end_;
  }

  bool Valid() const override { return valid_; }
  void SeekToFirst() override { stand_at(begin_); }
  void SeekToLast() override { stand_before(end_); }
  void Seek(const rocksdb::Slice& target) override {
    auto at = rows_->lower_bound(view(target));
    if (begin_ != rows_->end() && view(target) < begin_->first) at = begin_;
    if (end_ != rows_->end() && view(target) >= end_->first) at = end_;
    stand_at(at);
  }
  void SeekForPrev(const rocksdb::Slice& target) override {
    auto at = rows_->upper_bound(view(target));
    if (end_ != rows_->end() && view(target) >= end_->first) at = end_;
    stand_before(at);
  }
  void Next() override { stand_at(std::next(at_)); }
  void Prev() override { stand_before(at_); }
  rocksdb::Slice key() const override { return at_->first; }
  rocksdb::Slice value() const override { return at_->second; }
  rocksdb::Status status() const override {
    return needs_disk_ ? rocksdb::Status::Incomplete("not in memory") : rocksdb::Status::OK();
  }

 private:
  static std::string_view view(const rocksdb::Slice& s) { return {s.data(), s.size()}; }
  void stand_at(MapStore::Rows::const_iterator at) {
    at_ = at;
    valid_ = !needs_disk_ && begin_ != end_ && at_ != end_;
  }
  void stand_before(MapStore::Rows::const_iterator at) {
    valid_ = !needs_disk_ && begin_ != end_ && at != begin_;
    at_ = valid_ ? std::prev(at) : end_;
  }

  const std::shared_ptr<const MapStore::Rows> rows_;
  const bool needs_disk_;
  MapStore::Rows::const_iterator begin_;
  MapStore::Rows::const_iterator end_;
  MapStore::Rows::const_iterator at_;
  bool valid_ = false;
};

}  // namespace

MapStore::MapStore(io::FileSystem& files, MapStoreOptions options)
    : files_(files), options_(std::move(options)), random_(options_.seed) {}

Result<std::unique_ptr<MapStore>> MapStore::open(io::FileSystem& files, MapStoreOptions options) {
  std::unique_ptr<MapStore> store(new MapStore(files, std::move(options)));
  if (Status s = store->load(); !s.ok()) return s;
  return store;
}

Status MapStore::load() {
  std::string path = options_.dir + "/" + kFileName;
  if (!files_.exists(path)) return files_.create_directories(options_.dir);
  auto bytes = files_.read_all(path, kMaxFileBytes);
  if (!bytes) return bytes.error();
  if (Status s = parse(*bytes, *rows_, last_applied_); !s.ok()) {
    return s.with_context(fmt::format("opening {}", path));
  }
  last_flushed_ = last_applied_;
  durable_ = std::move(*bytes);
  return Status::Ok();
}

bool MapStore::says_needs_disk(ReadFrom from) const {
  return from.memory_only && options_.needs_disk_percent > 0 &&
         random_.below(100) < options_.needs_disk_percent;
}

Lookup MapStore::get(std::string_view key, ReadFrom from, rocksdb::PinnableSlice& value,
                     Status& /*error*/) const {
  if (says_needs_disk(from)) return Lookup::kNeedsDisk;
  auto row = rows_->find(key);
  if (row == rows_->end()) return Lookup::kNotFound;
  value.PinSelf(row->second);
  return Lookup::kFound;
}

std::unique_ptr<rocksdb::Iterator> MapStore::iterate(ReadFrom from, const rocksdb::Slice* lower,
                                                     const rocksdb::Slice* upper,
                                                     bool /*one_hash_key*/) const {
  return std::make_unique<MapIterator>(rows_, lower, upper, says_needs_disk(from));
}

Status MapStore::status_of(const rocksdb::Iterator& /*iterator*/) const { return Status::Ok(); }

Status MapStore::write(Decree decree, std::string_view effects) {
  if (!valid_effects(effects)) {
    return Status(
        Errc::kInvalidData,
        fmt::format("the effects of decree {} ({} bytes) are malformed", decree, effects.size()));
  }
  if (rows_.use_count() > 1) rows_ = std::make_shared<Rows>(*rows_);
  EffectsReader reader(effects);
  Effect effect;
  while (reader.next(effect)) {
    if (!effect.is_delete) {
      (*rows_)[std::string(effect.key)] = effect.value;
    } else if (auto row = rows_->find(effect.key); row != rows_->end()) {
      rows_->erase(row);
    }
  }
  last_applied_ = decree;
  return Status::Ok();
}

uint32_t MapStore::data_version() const { return kDataVersionTimetag; }

Status MapStore::flush() {
  std::string bytes = serialise(*rows_, last_applied_);
  if (Status s = files_.write_atomic(options_.dir + "/" + kFileName, bytes); !s.ok()) return s;
  durable_ = std::move(bytes);
  last_flushed_ = last_applied_;
  return Status::Ok();
}

Result<Decree> MapStore::checkpoint(const std::string& dir) {
  if (files_.exists(dir)) {
    return Status(Errc::kPathAlreadyExist, fmt::format("the checkpoint directory {} exists", dir));
  }
  if (durable_.empty()) {
    if (Status s = flush(); !s.ok()) return s;
  }
  if (Status s = files_.create_directories(dir); !s.ok()) return s;
  if (Status s = files_.write_atomic(dir + "/" + kFileName, durable_); !s.ok()) return s;
  return last_flushed_;
}

}  // namespace markab::engine
