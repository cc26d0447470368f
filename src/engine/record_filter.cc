#include "engine/record_filter.h"

#include <string>

#include "base/bytes.h"
#include "base/ids.h"
#include "engine/key_codec.h"
#include "engine/value_codec.h"

namespace markab::engine {

namespace {

class RecordFilter final : public rocksdb::CompactionFilter {
 public:
  RecordFilter(const TableSettings& settings, uint32_t data_version, uint32_t now,
               int32_t partition_index)
      : settings_(settings),
        data_version_(data_version),
        now_(now),
        partition_index_(partition_index),
        drops_strangers_(settings.validate_partition_hash && settings.partition_version >= 0 &&
                         partition_index <= settings.partition_version) {}

  const char* Name() const override { return "markab.RecordFilter"; }

  bool Filter(int /*level*/, const rocksdb::Slice& key, const rocksdb::Slice& stored,
              std::string* new_value, bool* value_changed) const override {
    if (key.size() < kKeyPrefixLength) return false;
    std::string_view raw(stored.data(), stored.size());
    ValueView value;
    if (!decode_value(data_version_, raw, value)) return false;  // damaged: for a reader to tell
    if (is_dead(value.expire_ts, now_)) return true;
    KeyParts parts;
    if (drops_strangers_ && split_key({key.data(), key.size()}, parts) &&
        !row_is_ours(row_hash(parts), settings_.partition_version, partition_index_)) {
      return true;
    }
    if (value.expire_ts == 0 && settings_.default_ttl_s > 0) {
      new_value->assign(raw);
      store_be<uint32_t>(new_value->data(), now_ + static_cast<uint32_t>(settings_.default_ttl_s));
      *value_changed = true;
    }
    return false;
  }

 private:
  const TableSettings settings_;
  const uint32_t data_version_;
  const uint32_t now_;
  const int32_t partition_index_;
  const bool drops_strangers_;
};

}  // namespace

std::unique_ptr<rocksdb::CompactionFilter> RecordFilterFactory::CreateCompactionFilter(
    const rocksdb::CompactionFilter::Context& /*context*/) {
  int32_t version = data_version_.load(std::memory_order_acquire);
  if (version < 0) return nullptr;
  return std::make_unique<RecordFilter>(settings_.get(), static_cast<uint32_t>(version),
                                        expiry_now(wall_us_()), partition_index_);
}

}  // namespace markab::engine
