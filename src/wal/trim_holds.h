#pragma once
// What still needs a log besides its replica's checkpoint: learners that read it, and duplication
// that ships it. Each holds the position up to which it is done; a trim goes no further than the
// least of them (04 S11).
//
// Owned by the replica that owns the log, on its shard. Pure: the time comes in.

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "base/ids.h"

namespace markab::wal {

class TrimHolds {
 public:
  using Id = uint64_t;

  // `who` needs every decree above `position`, until `until` (kNever: until it lets go). `who` is
  // what an operator reads when the log does not shrink.
  Id hold(std::string who, Decree position, Instant until);
  // It is done up to `position`, and alive. Nothing when it was let go of or has run out; positions
  // never fall.
  void advance(Id id, Decree position, Instant until);
  void release(Id id);

  // The highest decree that may be trimmed, at most `durable`. Forgets who has run out.
  Decree limit(Decree durable, Instant now);
  // The one that holds back most.
  struct Hold {
    std::string who;
    Decree position = 0;
    Instant until;
  };
  std::optional<Hold> slowest() const;
  // Lets go of the slowest: the log has reached its bound. Whoever it was finds decrees trimmed and
  // begins anew.
  void drop_slowest();
  size_t size() const { return holds_.size(); }

 private:
  std::map<Id, Hold>::const_iterator find_slowest() const;

  std::map<Id, Hold> holds_;
  Id next_ = 1;
};

}  // namespace markab::wal
