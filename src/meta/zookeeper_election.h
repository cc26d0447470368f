#pragma once
// The election through ZooKeeper (03 §7): ephemeral, sequential nodes
// <lock_root>/dsn.meta.server.leader/LOCKNODE<10 digits> with "host:port" in them; the lowest one
// leads. Starts and closes the client.
//
// A leader is one only as long as ZooKeeper heard from it: it writes its own node several times per
// session timeout, and each write that came through proves that the session cannot end before
// (the time the write was sent) + timeout. Short of that by a margin, holds() turns false and the
// leadership ends, before the servers can let another one begin. Writes to the state are fenced by
// the same node (zookeeper_store.h), so that clocks decide nothing about what is stored.

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "io/shard.h"
#include "meta/election.h"
#include "zk/client.h"

namespace markab::meta {

class ZooKeeperElection final : public Election {
 public:
  // All outlive it.
  ZooKeeperElection(io::Shard& shard, zk::Client& client, std::string lock_root, HostPort self);
  ~ZooKeeperElection() override;

  void start(Callback<Standing> on_change) override;
  void stop(Task done) override;
  bool holds() const override;
  void report_dead(HostPort leader, Callback<Status> done) override;

  // This candidate's node, as an absolute path, while it leads; else empty.
  std::string fence() const { return standing_.leading ? node_ : std::string(); }
  // Ends this leadership, if there is one, and stands again behind the others.
  void resign(const std::string& why);

  static constexpr Duration kAgain = std::chrono::milliseconds(200);
  // The share of the session timeout that a leader leaves unused.
  static constexpr int kMarginPart = 5;
  // A leader shows itself this often per timeout.
  static constexpr int kBeatsPerTimeout = 6;

 private:
  struct Flow;  // its coroutines

  void on_event(const zk::Event& event);
  void look();
  void look_later(Duration delay);
  void beat();
  void on_beat(Instant sent, const zk::Outcome& outcome);
  void tell(Standing standing);
  void step_down(const std::string& why);

  io::Shard& shard_;
  zk::Client& client_;
  const std::string folder_;
  const HostPort self_;
  Callback<Standing> on_change_;
  Standing standing_;
  bool told_ = false;
  bool stopped_ = false;

  bool linked_ = false;
  bool folder_made_ = false;
  int64_t session_ = 0;
  Duration timeout_{};
  std::string node_;                            // ours, absolute; empty: none yet
  bool lowest_ = false;                         // no other candidate is before ours
  std::map<std::string, HostPort> candidates_;  // by node name, as seen last
  bool looking_ = false;
  bool look_again_ = false;
  bool beating_ = false;
  Instant lease_until_;
  std::string last_error_;
  io::TimerHandle look_timer_;
  io::TimerHandle beat_timer_;
  io::TimerHandle lease_timer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace markab::meta
