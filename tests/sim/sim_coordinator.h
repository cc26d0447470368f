#pragma once
// What ZooKeeper is to the meta servers, as a simulation: sessions that expire, a queue of
// candidates whose head leads, and a tree that only the leader's session may write. The service
// itself never fails (it stands for a whole quorum); what fails is the way to it, as cuts of the
// network to kAddress say, and its users.
//
// A session is renewed by pings. Its user counts from the sending of the last ping that was
// answered and lets go of leading before the service can have expired it; the service counts from
// the arrival. One thread; outlives its users.

#include <cstdint>
#include <memory>
#include <vector>

#include "meta/election.h"
#include "meta/state_store.h"
#include "sim_network.h"
#include "sim_runtime.h"

namespace markab::sim {

class SimCoordinator {
 public:
  static constexpr HostPort kAddress{0x0A000300, 2181};
  static constexpr Duration kSessionTimeout = std::chrono::milliseconds(3000);

  SimCoordinator(SimWorld& world, SimNetwork& network) : world_(world), network_(network) {}
  SimCoordinator(const SimCoordinator&) = delete;
  SimCoordinator& operator=(const SimCoordinator&) = delete;

  // One session, which is candidate and user of the tree. Dies with the process that made it.
  class Session;
  std::shared_ptr<Session> connect(SimRuntime& runtime, HostPort user);
  // Both over one session; they outlive neither it nor the runtime's shard 0.
  static std::unique_ptr<meta::Election> make_election(std::shared_ptr<Session> session);
  static std::unique_ptr<meta::StateStore> make_store(std::shared_ptr<Session> session);

  const meta::StateStore::Tree& tree() const { return tree_; }
  HostPort leader() const;
  uint64_t writes() const { return writes_; }

 private:
  class SimElection;
  class SimStore;
  struct Seat {
    uint64_t id = 0;
    HostPort user;
    Instant heard;
  };

  bool hears(HostPort user) const { return network_.passes(user, kAddress); }
  bool reaches(HostPort user) const { return network_.passes(kAddress, user); }
  Seat* find(uint64_t id);
  void expire();
  Duration delay() {
    return network_.faults().min_delay + Duration(world_.random().below(500'000));
  }

  SimWorld& world_;
  SimNetwork& network_;
  // In the order of their coming: the first one leads.
  std::vector<Seat> seats_;
  uint64_t next_seat_ = 1;
  meta::StateStore::Tree tree_;
  uint64_t writes_ = 0;
};

}  // namespace markab::sim
