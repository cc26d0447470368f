#pragma once
// A replica server's line to the meta servers: beacons that hold the lease, and calls that find the
// leader. Lives on shard 0.
//
// The lease counts from the send time of the last beacon that the leader acknowledged, on the
// monotonic clock (spec 04 §1.9); lease_valid() is read by every shard for every request.
//
// When a lease had run out, others may lead meanwhile what was led here: the next lease counts only
// once its owner has confirmed that every replica here was told its membership since (04 S9).

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/function.h"
#include "base/metrics.h"
#include "io/shard.h"
#include "rpc/network.h"

namespace markab::replica {

struct MetaLinkOptions {
  std::vector<HostPort> metas;
  Duration beacon_interval = std::chrono::seconds(1);
  Duration lease = std::chrono::seconds(5);
  int64_t start_time_ms = 0;  // of this process: its incarnation
};

class MetaLink {
 public:
  MetaLink(io::Shard& shard, rpc::Network& network, MetaLinkOptions options, MetricEntity& metrics);
  ~MetaLink();

  // Begins to send beacons. `on_connected` is called each time the lease is (re)gained after there
  // was none: a new term begins. `on_new_leader` when the lease goes on but was granted by another
  // leadership than before, which knows nothing of what this node has. `on_lost` when it ran out.
  void start(Task on_connected, Task on_new_leader, Task on_lost);
  // On shard 0. The term, and that all replicas heard what a meta server said in it.
  uint64_t term() const { return term_; }
  bool confirmed() const { return confirmed_; }
  void confirm(uint64_t term);
  // Grows with each leadership that granted the lease.
  uint64_t leaderships() const { return leaderships_; }
  void stop();

  // Any thread.
  bool lease_valid(Instant now) const {
    return now.ns < lease_until_.load(std::memory_order_acquire);
  }
  // Ends the lease now: this node is leaving.
  void give_up_lease() { lease_until_.store(0, std::memory_order_release); }

  // Calls the leader: the meta server believed to lead first, then the others; ends with the first
  // answer that is not "not me", or with the last failure. On shard 0.
  void call(rpc::TaskCode code, std::string args, Duration timeout, Callback<rpc::Reply> done);
  HostPort leader() const { return options_.metas[current_]; }

 private:
  struct Attempt;
  void send_beacon();
  void on_beacon_answer(Instant sent, HostPort asked, const rpc::Reply& reply);
  void attempt(std::shared_ptr<Attempt> attempt);
  void follow(HostPort leader);

  io::Shard& shard_;
  rpc::Network& network_;
  const MetaLinkOptions options_;
  Counter& beacon_failed_count_;
  Task on_connected_;
  Task on_new_leader_;
  Task on_lost_;
  size_t current_ = 0;
  bool connected_ = false;
  bool confirmed_ = false;
  uint64_t term_ = 0;
  // The leadership that granted the lease last: its address, and its number if it tells one.
  std::pair<HostPort, int64_t> granted_by_;
  uint64_t leaderships_ = 0;
  Instant granted_until_;
  bool stopped_ = true;
  io::TimerHandle beacon_timer_;
  io::TimerHandle lease_timer_;
  std::atomic<int64_t> lease_until_{0};  // granted_until_ when it is confirmed, else less
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace markab::replica
