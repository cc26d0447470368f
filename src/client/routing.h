#pragma once
// Where the partitions of one table live, as a meta server last said. Owned by a Core,
// on its shard.
//
// One question to the metas at a time, however many calls want a fresh answer; while calls wait,
// the question is repeated (10 ms doubling to 50 ms), so that a new primary is seen soon after it
// was elected.

#include <string>
#include <vector>

#include "base/function.h"
#include "base/ids.h"
#include "base/random.h"
#include "client/meta_group.h"
#include "io/shard.h"

namespace markab::client {

class Routing {
 public:
  struct Partition {
    Ballot ballot = 0;
    HostPort primary;
  };
  struct Limits {
    Duration question_timeout = std::chrono::seconds(3);
    Duration first_poll = std::chrono::milliseconds(10);
    Duration last_poll = std::chrono::milliseconds(50);
  };
  // `answered` runs after each answer, good or bad, on this shard; it may call refresh() and says
  // whether somebody still waits.
  Routing(std::string name, io::Shard& shard, MetaGroup& metas, Limits limits,
          Function<bool(Routing&)> answered);
  ~Routing();

  const std::string& name() const { return name_; }
  // A meta answered with the partitions, at least once.
  bool known() const { return !partitions_.empty(); }
  int32_t app_id() const { return app_id_; }
  int32_t partition_count() const { return static_cast<int32_t>(partitions_.size()); }
  // The partition of a hash: the parent's while a child of a split is not ready (spec 01 §12.1).
  // known() only.
  int32_t index_of(uint64_t hash) const;
  const Partition& at(int32_t index) const { return partitions_.at(static_cast<size_t>(index)); }
  // Grows by one with each answer.
  uint64_t answers() const { return answers_; }
  // Of the last answer; kTableNotFound when no such table exists.
  const Error& last_error() const { return last_error_; }

  // Asks now, unless a question is under way.
  void refresh();

 private:
  struct Life;

  void on_answer(Answer answer);
  Error take(const Answer& answer);

  const std::string name_;
  io::Shard& shard_;
  MetaGroup& metas_;
  const Limits limits_;
  Function<bool(Routing&)> answered_;
  Random random_;
  int32_t app_id_ = 0;
  std::vector<Partition> partitions_;
  uint64_t answers_ = 0;
  Error last_error_;
  bool asking_ = false;
  Duration next_poll_;
  io::TimerHandle poll_;
  std::shared_ptr<Life> life_;
};

}  // namespace markab::client
