#pragma once
// Learning: how a replica that lacks mutations gets them (spec 04 §1.13). The Learner is one
// coroutine on the learning side; the CheckpointShelf holds, on the primary, the checkpoints that
// learners copy.

#include <boost/asio/awaitable.hpp>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "replica/host.h"
#include "replica/messages.h"

namespace markab::replica {

class Replica;

// Owned by the learning replica, on its shard. Destroying it ends the flow at its next step.
class Learner {
 public:
  Learner(Replica& replica, HostPort primary, uint64_t signature);
  ~Learner();
  Learner(const Learner&) = delete;

  uint64_t signature() const;
  HostPort primary() const;
  // The same primary invited again while the state is still being fetched: what is under way goes
  // on under that signature. False: the stream has begun, or it was given up.
  bool go_on_as(uint64_t signature);

 private:
  struct Flow;
  std::shared_ptr<Flow> flow_;
};

// Checkpoints made for learners, kept while somebody copies them and a while after. On the
// replica's shard.
class CheckpointShelf {
 public:
  CheckpointShelf(ReplicaHost& host, Gpid gpid, std::string dir);

  struct Checkpoint {
    uint64_t id = 0;
    Decree decree = 0;
    std::string dir;
    std::vector<LearnFile> files;
    Instant used;
  };
  // The newest checkpoint at or above `at_least`. kTryAgain while one is being made in the
  // background, kGetLearnStateFailed when that failed.
  Result<std::shared_ptr<Checkpoint>> get(Replica& replica, Decree at_least);
  // nullptr when it is gone: the learner asks again.
  std::shared_ptr<Checkpoint> find(uint64_t id, Instant now);
  // Before the replica goes.
  void stop() { sum_timer_.cancel(); }
  // Removes what nobody asked for during five minutes.
  void expire(Instant now);

 private:
  void make(Replica& replica);
  void sum(Replica& replica, size_t index, uint64_t offset);
  bool known(LearnFile& file) const;
  void made(Replica& replica, Status status);
  void drop(const std::string& dir);

  ReplicaHost& host_;
  const Gpid gpid_;
  const std::string dir_;
  std::shared_ptr<Checkpoint> newest_;
  std::shared_ptr<Checkpoint> making_;
  Status failed_;                          // why the last one was not made
  std::map<std::string, LearnFile> sums_;  // of the newest checkpoint's files, by name
  io::TimerHandle sum_timer_;
  uint64_t next_id_ = 1;
};

}  // namespace markab::replica
