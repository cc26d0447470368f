#pragma once
// Which peers get host_port fields against the rule of their framing (spec 01 §7.3): two lists of
// IPv4 networks, the longest prefix wins. Made at start, then read from any thread.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"

namespace markab::rpc {

class PeerRules {
 public:
  // Items are "10.1.0.0/16" or a single address. Errors: kInvalidParameters, naming the item; also
  // for one network that is in both lists.
  static Result<PeerRules> parse(const std::vector<std::string>& always,
                                 const std::vector<std::string>& never);
  // True: always, false: never, nothing: as the framing says.
  std::optional<bool> find(uint32_t ipv4) const;

 private:
  struct Rule {
    uint32_t network;
    int prefix;
    bool set;
  };
  std::vector<Rule> rules_;  // longest prefix first
};

}  // namespace markab::rpc
