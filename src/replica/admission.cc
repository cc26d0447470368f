#include "replica/admission.h"

#include <string_view>

namespace markab::replica {

void Admission::configure(const std::map<std::string, std::string>& envs, int32_t partition_count) {
  auto throttle = [&](RequestThrottle& target, const char* key) {
    auto found = envs.find(key);
    auto rule = found == envs.end() ? std::nullopt : parse_throttle(found->second);
    target.configure(rule.value_or(ThrottleRule()), partition_count);
  };
  throttle(reads, "replica.read_throttling");
  throttle(backup_reads, "replica.backup_request_throttling");
  throttle(writes, "replica.write_throttling");
  throttle(write_bytes, "replica.write_throttling_by_size");

  auto bytes = envs.find("replica.read_throttling_by_size");
  auto limit = bytes == envs.end() ? std::nullopt : parse_read_bytes_limit(bytes->second);
  read_bytes.configure(limit.value_or(0), partition_count);

  auto deny = envs.find("replica.deny_client_request");
  if (deny == envs.end()) {
    deny_.store(0, std::memory_order_relaxed);
  } else if (auto rule = parse_deny(deny->second)) {
    uint8_t bits = (rule->reads ? kReads : 0) | (rule->writes ? kWrites : 0);
    if (rule->answer == DenyRule::Answer::kReconfigure) bits |= kReconfigureBit;
    deny_.store(bits, std::memory_order_relaxed);
  }
}

}  // namespace markab::replica
