#include "security/refusal_log.h"

#include <utility>

namespace markab::security {

bool RefusalLog::admit(Instant now, uint32_t ipv4, int kind, int64_t& left_out) {
  std::lock_guard lock(mutex_);
  if (entries_.size() >= kMaxEntries) entries_.clear();
  auto [at, is_new] =
      entries_.try_emplace(uint64_t{ipv4} << 8 | static_cast<uint64_t>(kind), Entry{now});
  Entry& entry = at->second;
  if (!is_new && now - entry.written < kInterval) {
    ++entry.left_out;
    return false;
  }
  left_out = std::exchange(entry.left_out, 0);
  entry.written = now;
  return true;
}

}  // namespace markab::security
