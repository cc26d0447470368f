#pragma once
// What must never happen in a cluster, noticed where it happens: every mutation that any store
// applies passes here (one content per decree in the whole history, spec 04 S2; in order, without
// gaps, S4), and every violation is kept.

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/ids.h"
#include "engine/store.h"

namespace markab::sim {

class Watch {
 public:
  void violation(std::string what);
  const std::vector<std::string>& violations() const { return violations_; }

  // A store of `gpid` at node `who` goes from `before` to `decree` by `effects`.
  void applied(Gpid gpid, const std::string& who, Decree before, Decree decree,
               std::string_view effects);
  // Lets every write into `store` pass by applied().
  std::unique_ptr<engine::Store> around(std::unique_ptr<engine::Store> store, Gpid gpid,
                                        std::string who);
  uint64_t writes_seen() const { return writes_seen_; }

 private:
  struct Seen {
    uint64_t content;
    std::string who;
  };
  std::unordered_map<Gpid, std::unordered_map<Decree, Seen>> applied_;
  std::vector<std::string> violations_;
  uint64_t writes_seen_ = 0;
};

}  // namespace markab::sim
