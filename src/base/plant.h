#pragma once
// Bugs that can be planted, to prove that the simulator's checks find them. Where MARKAB_PLANTS is
// not defined - in everything that is shipped - each place is a constant false and no code is left;
// the planted build compiles the few files concerned once more (tests/sim/CMakeLists.txt).

#ifdef MARKAB_PLANTS

#include <array>
#include <string_view>

namespace markab {

enum class Plant {
  kNone,
  kAckBeforeAllPrepared,
  kSkipBallotCheck,
  kApplyOutOfOrder,
  kForgetSync,
  kServeAfterLease,
  kReuseDecree,
  kDropOverlay,
};
struct PlantName {
  Plant plant;
  std::string_view name;
  std::string_view what;
};
inline constexpr std::array kPlants = {
    PlantName{Plant::kAckBeforeAllPrepared, "ack-early",
              "the primary commits before all secondaries have prepared"},
    PlantName{Plant::kSkipBallotCheck, "skip-ballot-check",
              "a secondary takes prepares of a lower ballot"},
    PlantName{Plant::kApplyOutOfOrder, "apply-out-of-order",
              "two mutations that were committed together are applied in the wrong order"},
    PlantName{Plant::kForgetSync, "forget-sync",
              "the log says that records are durable without having synced them"},
    PlantName{Plant::kServeAfterLease, "serve-after-lease", "reads are served without a lease"},
    PlantName{Plant::kReuseDecree, "reuse-decree",
              "a new primary forgets what it inherited, and uses its decrees again"},
    PlantName{Plant::kDropOverlay, "drop-overlay",
              "atomic operations do not see the effects that are still in flight"},
};
inline Plant planted = Plant::kNone;  // set before anything starts

}  // namespace markab

#define MARKAB_PLANTED(name) (::markab::planted == ::markab::Plant::name)

#else

#define MARKAB_PLANTED(name) false

#endif
