#pragma once
// The election through ZooKeeper (03 §7): ephemeral, sequential nodes
// <lock_root>/dsn.meta.server.leader/LOCKNODE<10 digits> with "host:port" in them; the lowest one
// leads. Starts and closes the client.
//
// A leader is one only as long as ZooKeeper heard from it: several times per session timeout it
// writes the seat, which is the data of the candidates' folder, in one transaction with a check
// that its own node is there. Each write that came through is a lease, counted from its sending and
// shorter than the session timeout by a margin; at its end holds() turns false and the leadership
// ends. Mostly that is before the servers let the session expire. A session can also end before its
// time, at an operator's command: therefore who comes after a leader that did not leave the seat
// itself begins only when the last lease must be over, which it knows since all candidates look at
// the seat's version while they wait. Writes to the state are fenced by the leader's node
// (zookeeper_store.h), so that clocks decide nothing about what is stored.

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "io/shard.h"
#include "meta/election.h"
#include "zk/client.h"

namespace markab::meta {

// Who led last, and how long after its last write it may still have acted as the leader.
// docs/formats.md, "The meta server's state".
struct Seat {
  std::string node;  // the name of its election node; empty: nobody, the seat is free
  HostPort holder;
  Duration lease{};

  std::string to_text() const;
  // Whatever does not read as a seat is a free one: the folder belongs to Pegasus' tools, too.
  static Seat parse(std::string_view text);
};

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
  // Those who wait look at the seat this often.
  static constexpr int kPollsPerTimeout = 12;
  // ... but the first in line, when somebody's lease is in its way.
  static constexpr Duration kSeatPoll = std::chrono::milliseconds(50);
  // Who follows waits for the lease and this share of it, for clocks that run at different speeds.
  static constexpr int kDriftPart = 10;
  // A predecessor's clock may have been configured strangely.
  static constexpr Duration kMaxLease = std::chrono::minutes(10);
  // How long stop() waits for ZooKeeper to hear that the seat is free.
  static constexpr Duration kLeaveTimeout = std::chrono::seconds(1);

 private:
  struct Flow;  // its coroutines

  void on_event(const zk::Event& event);
  void look();
  void look_later(Duration delay);
  void take_seat();
  void beat(int32_t seat_version);
  void on_beat(Instant lease_until, Instant sent, const zk::Outcome& outcome);
  void note_seat(const zk::Node& folder);
  void poll_seat();
  void poll_later();
  void protect();
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
  Seat seat_;                  // as seen last
  int32_t seat_version_ = -1;  // its version then
  Instant seat_since_;         // when that version was seen first
  bool polling_ = false;
  std::string waited_for_;  // the candidate of whose lease the log spoke last
  std::string last_error_;
  io::TimerHandle look_timer_;
  io::TimerHandle poll_timer_;
  io::TimerHandle beat_timer_;
  io::TimerHandle lease_timer_;
  io::TimerHandle leave_timer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace markab::meta
