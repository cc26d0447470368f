#pragma once
// One leadership, from the moment the election is won until it is lost: the core, its journal, its
// clock, and those who wait for answers. Performs the core's actions in order. On the meta's shard.

#include <deque>
#include <memory>
#include <string>
#include <unordered_map>

#include "base/metrics.h"
#include "io/shard.h"
#include "meta/config_keys.h"
#include "meta/core/meta_core.h"
#include "meta/election.h"
#include "meta/journal.h"
#include "meta/metrics.h"
#include "meta/state_store.h"
#include "rpc/network.h"

namespace markab::meta {

// What the meta server is built on. All outlive it.
struct MetaSeams {
  io::Shard& shard;       // the meta's one shard
  rpc::Network& network;  // that shard's way out
  StateStore& store;
  Election& election;
  MetricRegistry& registry;
};

class Leadership {
 public:
  Leadership(const MetaSeams& seams, const MetaOptions& options, MetaMetrics& metrics);
  ~Leadership();
  Leadership(const Leadership&) = delete;
  Leadership& operator=(const Leadership&) = delete;

  // Opens the store, loads the state, serves. Repeats what fails.
  void begin();
  bool serving() const { return core_.loaded(); }
  // Tells this leadership from every other one: it began at this wall time, in microseconds.
  int64_t id() const { return id_; }
  MetaCore& core() { return core_; }
  Moment moment() const { return {seams_.shard.now(), seams_.shard.wall_us() / 1000}; }

  // Runs one event of the core and performs what comes of it: event([](MetaCore& c, Moment t,
  // Actions& out) {...}).
  template <typename F>
  auto event(F f) {
    Actions out;
    if constexpr (std::is_void_v<decltype(f(core_, moment(), out))>) {
      f(core_, moment(), out);
      perform(std::move(out));
    } else {
      auto result = f(core_, moment(), out);
      perform(std::move(out));
      return result;
    }
  }

  // A token by which the core names who waits; the callback runs once, or never when the leadership
  // ends.
  uint64_t await(Callback<AdminReply> done);
  uint64_t await_update(Callback<Errc, PartitionConfig> done);

 private:
  void open_store();
  void loaded(Result<StateStore::Tree> tree);
  void perform(Actions actions);
  void act(Store& action);
  void act(Propose& action);
  void act(AskStepDown& action);
  void act(Answer& action);
  void act(AnswerUpdate& action);
  void act(MembershipChanged& action);
  void act(NodeChanged& action);
  void act(Note& action);
  void tick();

  MetaSeams seams_;
  const MetaOptions& options_;
  MetaMetrics& metrics_;
  const int64_t id_;
  MetaCore core_;
  Journal journal_;
  std::deque<Action> queue_;
  bool performing_ = false;
  uint64_t next_token_ = 1;
  std::unordered_map<uint64_t, Callback<AdminReply>> waiting_;
  std::unordered_map<uint64_t, Callback<Errc, PartitionConfig>> waiting_updates_;
  io::TimerHandle tick_timer_;
  io::TimerHandle open_timer_;
  int open_failures_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace markab::meta
