#include "wal/trim_holds.h"

#include <algorithm>

#include "base/assert.h"

namespace markab::wal {

TrimHolds::Id TrimHolds::hold(std::string who, Decree position, Instant until) {
  MARKAB_ASSERT(position >= 0, "a hold on a log below its beginning", who, position);
  holds_.emplace(next_, Hold{std::move(who), position, until});
  return next_++;
}

void TrimHolds::advance(Id id, Decree position, Instant until) {
  auto found = holds_.find(id);
  if (found == holds_.end()) return;
  found->second.position = std::max(found->second.position, position);
  found->second.until = std::max(found->second.until, until);
}

void TrimHolds::release(Id id) { holds_.erase(id); }

Decree TrimHolds::limit(Decree durable, Instant now) {
  std::erase_if(holds_, [now](const auto& entry) { return entry.second.until <= now; });
  Decree least = durable;
  for (const auto& [id, hold] : holds_) least = std::min(least, hold.position);
  return least;
}

std::map<TrimHolds::Id, TrimHolds::Hold>::const_iterator TrimHolds::find_slowest() const {
  return std::min_element(holds_.begin(), holds_.end(), [](const auto& a, const auto& b) {
    return a.second.position < b.second.position;
  });
}

std::optional<TrimHolds::Hold> TrimHolds::slowest() const {
  auto found = find_slowest();
  if (found == holds_.end()) return std::nullopt;
  return found->second;
}

void TrimHolds::drop_slowest() {
  auto found = find_slowest();
  if (found != holds_.end()) holds_.erase(found);
}

}  // namespace markab::wal
