#include "watch.h"

#include <fmt/format.h>

#include "base/crc64.h"
#include "base/escape.h"
#include "base/log.h"
#include "engine/effects.h"

namespace markab::sim {

namespace {

constexpr size_t kMaxViolations = 20;

class WatchedStore final : public engine::Store {
 public:
  WatchedStore(Watch& watch, std::unique_ptr<engine::Store> store, Gpid gpid, std::string who)
      : watch_(watch), store_(std::move(store)), gpid_(gpid), who_(std::move(who)) {}

  engine::Lookup get(std::string_view key, engine::ReadFrom from, rocksdb::PinnableSlice& value,
                     Status& error) const override {
    return store_->get(key, from, value, error);
  }
  std::unique_ptr<rocksdb::Iterator> iterate(engine::ReadFrom from, const rocksdb::Slice* lower,
                                             const rocksdb::Slice* upper,
                                             bool one_hash_key) const override {
    return store_->iterate(from, lower, upper, one_hash_key);
  }
  Status status_of(const rocksdb::Iterator& iterator) const override {
    return store_->status_of(iterator);
  }
  Status write(Decree decree, std::string_view effects) override {
    auto before = store_->last_applied();
    auto status = store_->write(decree, effects);
    if (status.ok()) watch_.applied(gpid_, who_, before, decree, effects);
    return status;
  }
  Decree last_applied() const override { return store_->last_applied(); }
  Decree last_flushed() const override { return store_->last_flushed(); }
  uint32_t data_version() const override { return store_->data_version(); }
  Status flush() override { return store_->flush(); }
  Result<Decree> checkpoint(const std::string& dir) override { return store_->checkpoint(dir); }

 private:
  Watch& watch_;
  const std::unique_ptr<engine::Store> store_;
  const Gpid gpid_;
  const std::string who_;
};

std::string describe(std::string_view effects) {
  std::string out;
  engine::EffectsReader reader(effects);
  engine::Effect effect;
  while (reader.next(effect)) {
    out += fmt::format("{}{} ", effect.is_delete ? "-" : "+", escape(effect.key));
    if (!effect.is_delete) out += escape(effect.value) + " ";
  }
  return out;
}

}  // namespace

void Watch::violation(std::string what) {
  if (violations_.size() < kMaxViolations) violations_.push_back(std::move(what));
}

void Watch::applied(Gpid gpid, const std::string& who, Decree before, Decree decree,
                    std::string_view effects) {
  ++writes_seen_;
  MARKAB_DEBUG("{} applies decree {} at {}: {}", gpid, decree, who, describe(effects));
  if (decree != before + 1) {
    violation(
        fmt::format("{} at {}: decree {} is applied after {} (S4)", gpid, who, decree, before));
  }
  uint64_t content = crc64(effects);
  auto [seen, fresh] = applied_[gpid].try_emplace(decree, Seen{content, who});
  if (!fresh && seen->second.content != content) {
    violation(fmt::format("{}: decree {} has one content at {} and another at {} (S2)", gpid,
                          decree, seen->second.who, who));
  }
}

std::unique_ptr<engine::Store> Watch::around(std::unique_ptr<engine::Store> store, Gpid gpid,
                                             std::string who) {
  return std::make_unique<WatchedStore>(*this, std::move(store), gpid, std::move(who));
}

}  // namespace markab::sim
