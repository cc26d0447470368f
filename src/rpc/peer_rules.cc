#include "rpc/peer_rules.h"

#include <algorithm>
#include <charconv>

#include "base/ids.h"

namespace markab::rpc {

namespace {

constexpr int kAddressBits = 32;

uint32_t mask_of(int prefix) { return prefix == 0 ? 0 : ~uint32_t{0} << (kAddressBits - prefix); }

}  // namespace

Result<PeerRules> PeerRules::parse(const std::vector<std::string>& always,
                                   const std::vector<std::string>& never) {
  PeerRules made;
  for (bool set : {true, false}) {
    const char* key = set ? "host_port_always" : "host_port_never";
    for (const std::string& item : set ? always : never) {
      size_t slash = item.find('/');
      int prefix = kAddressBits;
      bool good = true;
      if (slash != std::string::npos) {
        const char* end = item.data() + item.size();
        auto [at, error] = std::from_chars(item.data() + slash + 1, end, prefix);
        good = error == std::errc() && at == end && prefix >= 0 && prefix <= kAddressBits;
      }
      auto address = HostPort::parse(item.substr(0, slash) + ":1");
      if (!good || !address) {
        return Status(
            Errc::kInvalidParameters,
            fmt::format("{}: '{}' is no IPv4 network; write it like 10.1.0.0/16", key, item));
      }
      uint32_t network = address->ipv4 & mask_of(prefix);
      for (const Rule& other : made.rules_) {
        if (other.network == network && other.prefix == prefix && other.set != set) {
          return Status(
              Errc::kInvalidParameters,
              fmt::format("'{}' is both in host_port_always and in host_port_never", item));
        }
      }
      made.rules_.push_back({network, prefix, set});
    }
  }
  std::stable_sort(made.rules_.begin(), made.rules_.end(),
                   [](const Rule& a, const Rule& b) { return a.prefix > b.prefix; });
  return made;
}

std::optional<bool> PeerRules::find(uint32_t ipv4) const {
  for (const Rule& rule : rules_) {
    if ((ipv4 & mask_of(rule.prefix)) == rule.network) return rule.set;
  }
  return std::nullopt;
}

}  // namespace markab::rpc
