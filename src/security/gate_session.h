#pragma once
// One accepted connection at the gate (gate.h). On its connection's shard; the steps of its
// mechanism run on the gate's pool, one at a time.

#include <deque>
#include <memory>
#include <string>

#include "security/gate.h"
#include "security/negotiation_core.h"

namespace markab::security {

class GateSession final : public rpc::SessionGuard {
 public:
  GateSession(Gate& gate, rpc::GuardedSession& session, io::Shard& shard, HostPort peer,
              bool is_trusted);
  ~GateSession() override;

  void take(rpc::Request request) override;
  bool may_gather(size_t frame_bytes) override;
  std::optional<rpc::HttpResponse> check(const rpc::HttpRequest& request) override;
  void closed() override;

 private:
  void negotiate(rpc::Request request);
  void act(negotiation::Action action);
  void run_step(bool first, std::string token);
  void answer(NegotiationStatus status, std::string_view msg);
  void succeed();
  void fail(const Failure& failure);
  void park(rpc::Request request);
  void refuse(rpc::Request request);
  void refuse_parked();
  void serve_parked();
  void on_deadline();
  void watch_deadline();
  void hold(size_t bytes);
  void let_go(size_t bytes);
  void no_longer_stranger();

  Gate& gate_;
  rpc::GuardedSession& session_;
  io::Shard& shard_;
  const HostPort peer_;
  ServerNegotiation core_;
  std::shared_ptr<Mechanism> mechanism_;
  Identity identity_;
  rpc::Request pending_;  // the negotiation message that waits for its answer
  bool has_pending_ = false;
  std::deque<rpc::Request> parked_;
  size_t parked_bytes_ = 0;
  size_t gathering_ = 0;
  bool is_stranger_;
  bool is_page_reader_ = false;  // speaks HTTP
  bool grace_over_ = false;
  bool ended_ = false;
  Instant began_;
  io::TimerHandle deadline_;
  io::TimerHandle grace_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace markab::security
