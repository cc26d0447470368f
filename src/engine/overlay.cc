#include "engine/overlay.h"

#include <algorithm>
#include <functional>

#include "base/assert.h"
#include "engine/effects.h"

namespace markab::engine {

namespace {

constexpr size_t kFirstSlots = 64;
// The index of a burst is not kept for ever.
constexpr size_t kMaxKeptSlots = 16384;

uint64_t hash_of(std::string_view key) { return std::hash<std::string_view>()(key); }

}  // namespace

void Overlay::add(Decree decree, std::shared_ptr<const std::string> effects) {
  MARKAB_ASSERT(batches_.empty() || batches_.back().decree < decree,
                "batches are begun in decree order", decree);
  if (!batches_.empty()) finished_bytes_ += batches_.back().effects->size();
  batches_.push_back({decree, std::move(effects), kEffectsHeaderBytes});
}

size_t Overlay::bytes() const {
  return batches_.empty() ? 0 : finished_bytes_ + batches_.back().effects->size();
}

Overlay::Seen Overlay::find(std::string_view raw_key, std::string_view& stored) {
  if (batches_.empty()) return Seen::kNothing;
  index_rest();
  if (used_ == 0) return Seen::kNothing;
  const Slot& slot = slots_[probe(hash_of(raw_key), raw_key)];
  if (slot.batch == 0) return Seen::kNothing;
  if (slot.is_delete) return Seen::kDeletion;
  stored = std::string_view(*batch(slot.batch).effects).substr(slot.value_at, slot.value_bytes);
  return Seen::kValue;
}

void Overlay::index_rest() {
  uint64_t last = first_ + batches_.size() - 1;
  for (uint64_t number = std::max(first_, first_unindexed_); number <= last; ++number) {
    index_batch(number);
  }
  first_unindexed_ = last;  // which may still grow
}

void Overlay::index_batch(uint64_t number) {
  Batch& b = batch(number);
  std::string_view all(*b.effects);
  if (b.indexed == all.size()) return;
  EffectsReader records = EffectsReader::over_records(all.substr(b.indexed));
  Effect effect;
  while (records.next(effect)) {
    Slot slot;
    slot.hash = hash_of(effect.key);
    slot.batch = number;
    slot.key_at = static_cast<uint32_t>(effect.key.data() - all.data());
    slot.key_bytes = static_cast<uint32_t>(effect.key.size());
    slot.is_delete = effect.is_delete;
    if (!effect.is_delete) {
      slot.value_at = static_cast<uint32_t>(effect.value.data() - all.data());
      slot.value_bytes = static_cast<uint32_t>(effect.value.size());
    }
    put_slot(slot);
  }
  MARKAB_ASSERT(records.ok(), "effects that this process wrote do not parse", b.decree);
  b.indexed = all.size();
}

std::string_view Overlay::key_of(const Slot& slot) const {
  return std::string_view(*batch(slot.batch).effects).substr(slot.key_at, slot.key_bytes);
}

size_t Overlay::probe(uint64_t hash, std::string_view key) const {
  size_t mask = slots_.size() - 1;
  size_t at = hash & mask;
  while (slots_[at].batch != 0 && (slots_[at].hash != hash || key_of(slots_[at]) != key)) {
    at = (at + 1) & mask;
  }
  return at;
}

void Overlay::put_slot(const Slot& slot) {
  if (slots_.size() < 2 * (used_ + 1)) grow();
  std::string_view key = key_of(slot);
  Slot& place = slots_[probe(slot.hash, key)];
  if (place.batch == 0) ++used_;
  place = slot;
}

void Overlay::grow() {
  std::vector<Slot> old(std::max(kFirstSlots, slots_.size() * 2));
  old.swap(slots_);
  size_t mask = slots_.size() - 1;
  for (const Slot& slot : old) {
    if (slot.batch == 0) continue;
    size_t at = slot.hash & mask;
    while (slots_[at].batch != 0) at = (at + 1) & mask;
    slots_[at] = slot;
  }
}

// Closes the gap, so that no probe ends too early.
void Overlay::erase_slot(size_t at) {
  size_t mask = slots_.size() - 1;
  --used_;
  for (size_t next = (at + 1) & mask; slots_[next].batch != 0; next = (next + 1) & mask) {
    size_t home = slots_[next].hash & mask;
    if (((next - home) & mask) >= ((next - at) & mask)) {
      slots_[at] = slots_[next];
      at = next;
    }
  }
  slots_[at] = Slot();
}

void Overlay::forget_front() {
  Batch& front = batches_.front();
  if (front.indexed > kEffectsHeaderBytes) {
    std::string_view all(*front.effects);
    EffectsReader records = EffectsReader::over_records(
        all.substr(kEffectsHeaderBytes, front.indexed - kEffectsHeaderBytes));
    Effect effect;
    while (records.next(effect)) {
      size_t at = probe(hash_of(effect.key), effect.key);
      if (slots_[at].batch == first_) erase_slot(at);
    }
  }
  if (batches_.size() > 1) finished_bytes_ -= front.effects->size();
  batches_.pop_front();
  ++first_;
}

void Overlay::drop_last() {
  MARKAB_ASSERT(batches_.back().effects->size() == kEffectsHeaderBytes,
                "only a batch without effects can be dropped", batches_.back().decree);
  batches_.pop_back();
  if (!batches_.empty()) finished_bytes_ -= batches_.back().effects->size();
  // Its number will be used again, by a batch of which nothing is indexed either.
  first_unindexed_ = std::min(first_unindexed_, first_ + batches_.size());
}

void Overlay::applied(Decree decree) {
  while (!batches_.empty() && batches_.front().decree <= decree) forget_front();
  if (batches_.empty()) {
    MARKAB_ASSERT(used_ == 0, "the index outlived its batches", used_);
    if (slots_.size() > kMaxKeptSlots) slots_.clear();
  }
}

void Overlay::clear() {
  first_ += batches_.size();
  batches_.clear();
  slots_.clear();
  used_ = 0;
  finished_bytes_ = 0;
}

}  // namespace markab::engine
