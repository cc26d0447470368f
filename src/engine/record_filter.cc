#include "engine/record_filter.h"

#include <algorithm>
#include <string>

#include "base/bytes.h"
#include "base/ids.h"
#include "engine/key_codec.h"
#include "engine/row_filter.h"
#include "engine/value_codec.h"

namespace markab::engine {

namespace {

wire::filter_type::type filter_of(CompactionRule::Match match) {
  switch (match) {
    case CompactionRule::Match::kAnywhere:
      return wire::filter_type::FT_MATCH_ANYWHERE;
    case CompactionRule::Match::kPrefix:
      return wire::filter_type::FT_MATCH_PREFIX;
    case CompactionRule::Match::kPostfix:
      return wire::filter_type::FT_MATCH_POSTFIX;
  }
  return wire::filter_type::FT_MATCH_ANYWHERE;
}

bool rule_matches(const CompactionRule& rule, const KeyParts& parts, uint32_t expire_ts,
                  uint32_t now) {
  if (rule.type == CompactionRule::Type::kTtlRange) {
    if (expire_ts == 0) return rule.start_ttl == 0 && rule.stop_ttl == 0;
    // In 64 bits: a range may reach beyond what an expiry can say.
    return uint64_t{now} + rule.start_ttl <= expire_ts &&
           expire_ts <= uint64_t{now} + rule.stop_ttl;
  }
  std::string_view key =
      rule.type == CompactionRule::Type::kHashKeyPattern ? parts.hash_key : parts.sort_key;
  return !rule.pattern.empty() && filter_matches(filter_of(rule.match), rule.pattern, key);
}

// The expiry that a TTL operation gives; `expire_ts` is what the record had before all operations.
uint32_t updated_expiry(const CompactionOperation& operation, uint32_t expire_ts, uint32_t now) {
  auto clamp = [](uint64_t seconds) {
    return static_cast<uint32_t>(std::min<uint64_t>(seconds, UINT32_MAX));
  };
  switch (operation.type) {
    case CompactionOperation::Type::kTtlFromNow:
      return clamp(uint64_t{now} + operation.value);
    case CompactionOperation::Type::kTtlFromCurrent:
      return expire_ts == 0 ? 0 : clamp(uint64_t{expire_ts} + operation.value);
    case CompactionOperation::Type::kTtlTimestamp:
      // A time before the epoch of expiries is long past, which must not read as "never".
      return operation.value <= kExpiryEpoch
                 ? 1
                 : static_cast<uint32_t>(operation.value - kExpiryEpoch);
    case CompactionOperation::Type::kDelete:
      break;
  }
  return expire_ts;
}

}  // namespace

RecordFate apply_compaction_rules(const CompactionRules& rules, const KeyParts& parts,
                                  uint32_t expire_ts, uint32_t now) {
  RecordFate fate{.drop = false, .expire_ts = expire_ts};
  for (const CompactionOperation& operation : rules) {
    bool matches = std::all_of(operation.rules.begin(), operation.rules.end(), [&](const auto& r) {
      return rule_matches(r, parts, expire_ts, now);
    });
    if (!matches) continue;
    if (operation.type == CompactionOperation::Type::kDelete) {
      fate.drop = true;
      return fate;
    }
    fate.expire_ts = updated_expiry(operation, expire_ts, now);
  }
  return fate;
}

namespace {

class RecordFilter final : public rocksdb::CompactionFilter {
 public:
  RecordFilter(const OperationSettings& settings, std::shared_ptr<const CompactionRules> rules,
               uint32_t data_version, uint32_t now, int32_t partition_index)
      : settings_(settings),
        rules_(std::move(rules)),
        data_version_(data_version),
        now_(now),
        partition_index_(partition_index),
        drops_strangers_(settings.validate_partition_hash && settings.partition_version >= 0 &&
                         partition_index <= settings.partition_version) {}

  const char* Name() const override { return "markab.RecordFilter"; }

  // The steps of spec 02 §14, in their order: default_ttl, the user's operations, the dead (by the
  // expiry before those operations), strangers.
  bool Filter(int /*level*/, const rocksdb::Slice& key, const rocksdb::Slice& stored,
              std::string* new_value, bool* value_changed) const override {
    KeyParts parts;
    if (!split_key({key.data(), key.size()}, parts)) return false;
    std::string_view raw(stored.data(), stored.size());
    ValueView value;
    if (!decode_value(data_version_, raw, value)) return false;  // damaged: for a reader to tell
    if (is_dead(value.expire_ts, now_)) return true;
    if (drops_strangers_ &&
        !row_is_ours(row_hash(parts), settings_.partition_version, partition_index_)) {
      return true;
    }
    uint32_t expire_ts = value.expire_ts;
    if (expire_ts == 0 && settings_.default_ttl_s > 0) {
      expire_ts = now_ + static_cast<uint32_t>(settings_.default_ttl_s);
    }
    if (rules_ != nullptr) {
      RecordFate fate = apply_compaction_rules(*rules_, parts, expire_ts, now_);
      if (fate.drop) return true;
      expire_ts = fate.expire_ts;
    }
    if (expire_ts != value.expire_ts) {
      new_value->assign(raw);
      store_be<uint32_t>(new_value->data(), expire_ts);
      *value_changed = true;
    }
    return false;
  }

 private:
  const OperationSettings settings_;
  const std::shared_ptr<const CompactionRules> rules_;
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
  return std::make_unique<RecordFilter>(settings_.get(), settings_.store().compaction_rules,
                                        static_cast<uint32_t>(version), expiry_now(wall_us_()),
                                        partition_index_);
}

}  // namespace markab::engine
