#pragma once
// Who of several meta servers leads, as a seam. Real sides: embedded_election.h (a lock file, for
// metas of one machine) and ZooKeeper; the simulator brings its own.
//
// Fencing: the side must guarantee that a store opened by an earlier leader takes no write once
// another one leads. Called on the meta's shard; so is `on_change`.

#include "base/function.h"
#include "base/ids.h"
#include "base/status.h"

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
  // Whether who leads may act as the leader at this very moment. Asked before anything is answered
  // or told, since a process that was paused may find out late that its time is over.
  virtual bool holds() const { return true; }
  // A witness saw the leader's process end: what it held is taken away now instead of when its
  // session ends. Nothing when `leader` does not lead.
  virtual void report_dead(HostPort leader, Callback<Status> done) {
    (void)leader;  // here the kernel is the witness
    done({});
  }
};

}  // namespace markab::meta
