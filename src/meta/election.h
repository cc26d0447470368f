#pragma once
// Who of several meta servers leads, as a seam. Real sides: embedded_election.h (a lock file, for
// metas of one machine) and ZooKeeper; the simulator brings its own.
//
// Fencing: the side must guarantee that a store opened by an earlier leader takes no write once
// another one leads. Called on the meta's shard; so is `on_change`.

#include "base/function.h"
#include "base/ids.h"

namespace markab::meta {

struct Standing {
  bool leading = false;
  HostPort leader;  // who leads, as far as is known; self when leading
  friend bool operator==(const Standing&, const Standing&) = default;
};

class Election {
 public:
  virtual ~Election() = default;
  // Stands for election; tells each change of the standing, beginning with none known.
  virtual void start(Callback<Standing> on_change) = 0;
  // Gives up leading or standing; no call of `on_change` comes after `done`.
  virtual void stop(Task done) = 0;
};

}  // namespace markab::meta
