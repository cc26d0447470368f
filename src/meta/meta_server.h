#pragma once
// The meta server: stands for election, and either leads (leadership.h) or passes on to who does.
// Answers every RPC of spec 03 §2 and the pages of 03 §15, all on one shard; handlers on other
// shards post there.
//
// Start order (03 §7): the handlers are registered before anything else, so that followers can
// refer to the leader; from the moment the election is won beacons are acknowledged, before the
// state is loaded, so that leases survive.

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "meta/leadership.h"
#include "rpc/codec.h"
#include "rpc/dispatcher.h"
#include "rpc/http.h"
#include "rpc/message.h"
#include "rpc/remote_command.h"

namespace markab::wire {
class query_cfg_response;
}

namespace markab::meta {

class MetaServer {
 public:
  // Registers with `dispatcher`, `http` and `commands` (none of which may serve yet; all outlive
  // the server) and begins on the shard. Any thread.
  static std::unique_ptr<MetaServer> start(const MetaSeams& seams, MetaOptions options,
                                           rpc::Dispatcher& dispatcher, rpc::HttpRouter& http,
                                           rpc::RemoteCommands& commands);
  ~MetaServer();

  // Steps down and lets go of election and store; then `done`, on the shard. Requests that arrive
  // later are answered with ERR_SERVICE_NOT_ACTIVE. On the shard.
  void stop(Task done);

  // --- on the shard ---
  const Standing& standing() const { return standing_; }
  bool serving() const { return leadership_ != nullptr && leadership_->serving(); }
  // The leader's core; null on followers.
  MetaCore* core() { return leadership_ == nullptr ? nullptr : &leadership_->core(); }

 private:
  MetaServer(const MetaSeams& seams, MetaOptions options);

  template <typename Argument, typename Response>
  struct Call {
    rpc::Request request;
    Argument argument;
    Response response;
    void finish() { request.reply(rpc::encode_result(response)); }
  };
  using Handler = Function<void(rpc::Request)>;

  // Registers `handle(call)`; it runs on the shard, when this server leads and serves. Everybody
  // else is answered before.
  template <typename Argument, typename Response, typename F>
  void serve(rpc::TaskCode code, F handle) {
    serve_unless<Argument, Response>(
        code, [](rpc::Request&) { return false; }, handle);
  }
  // As serve(), but `taken(request)` is asked before and may answer the request in any standing.
  template <typename Argument, typename Response, typename Taken, typename F>
  void serve_unless(rpc::TaskCode code, Taken taken, F handle) {
    dispatcher_->on_refusal(code, [](Errc error) {
      Response refusal;
      refusal.err = error;
      return rpc::encode_result(refusal);
    });
    on(code, [this, taken, handle](rpc::Request request) {
      if (taken(request) || !admitted<Response>(request)) return;
      if (!permitted(request)) {  // 05 §7.1: after the question who leads
        dispatcher_->refuse(std::move(request), Errc::kAclDeny);
        return;
      }
      Call<Argument, Response> call;
      if (Status s = rpc::decode_args(request.args, call.argument); !s.ok()) {
        request.reply_error(Errc::kInvalidData);
        return;
      }
      call.request = std::move(request);
      handle(std::move(call));
    });
  }
  // A subsystem that this server does not have.
  template <typename Argument, typename Response>
  void serve_inactive(rpc::TaskCode code, Errc err = Errc::kServiceNotActive) {
    serve<Argument, Response>(code, [err](auto call) {
      call.response.err = err;
      call.finish();
    });
  }
  void on(rpc::TaskCode code, Handler handler);

  // 03 §3.1, steps 1 and 2; answers or relays the request when it says no.
  template <typename Response>
  bool admitted(rpc::Request& request) {
    if (leadership_ == nullptr) {
      if (!request.is_thft()) {
        relay(std::move(request));
        return false;
      }
      Response response;
      response.err = Errc::kForwardToOthers;
      name_leader(response);
      request.reply(rpc::encode_result(response));
      return false;
    }
    if (leadership_->serving()) return true;
    if (seams_.shard.now() - request.arrived < kWaitForLeader) {
      // Loading takes milliseconds, and Go clients take what follows for final.
      wait_for_leader(std::move(request));
      return false;
    }
    Response response;
    response.err = Errc::kServiceNotActive;
    request.reply(rpc::encode_result(response));
    return false;
  }
  // Whether the user may do this at all (05 §7.2).
  bool permitted(const rpc::Request& request) {
    return options_.access == nullptr || options_.access->permits(request, seams_.shard.now());
  }
  template <typename Response>
  void name_leader(Response&) {}
  void name_leader(wire::query_cfg_response& response);

  // Lets the core do what an administrator asked; `finish(call, reply)` fills in what is peculiar
  // to the response.
  template <typename C, typename F>
  void administer(C call, Request request, std::string what, F finish) {
    Leadership& leader = *leadership_;
    auto user = call.request.user();
    HostPort peer = call.request.peer();
    uint64_t token =
        leader.await([call = std::make_shared<C>(std::move(call)), what = std::move(what),
                      user = std::move(user), peer, finish](AdminReply reply) {
          audit(user, peer, what, reply.err, reply.hint);
          call->response.err = reply.err;
          finish(*call, reply);
          call->finish();
        });
    leader.event([&](MetaCore& core, Moment t, Actions& out) {
      core.on_request(token, std::move(request), t, out);
    });
  }
  // One line for each administrative action: who, what, result.
  static void audit(const std::string& user, HostPort peer, const std::string& what, Errc err,
                    const std::string& hint);

  void stand(Standing standing);
  // Ends a leadership whose time is over, before it answers once more.
  void drop_stale_leadership();
  void register_table_services();
  void register_setting_services();
  void register_cluster_services();
  void register_replica_services();
  void register_inactive_services();
  void register_http(rpc::HttpRouter& http);
  void register_commands(rpc::RemoteCommands& commands);

  // relay.cc: 01 §6.2
  // How long a request waits for a leader, or for the leader's state.
  static constexpr Duration kWaitForLeader = std::chrono::seconds(2);
  void relay(rpc::Request request);
  void wait_for_leader(rpc::Request request);
  void relay_to(HostPort leader, rpc::Request request, Instant give_up);
  void on_relayed(rpc::Request request);
  void flush_relays();

  // replica_services.cc
  void on_beacon(rpc::Request request);
  bool took_leaders_death(rpc::Request& request);

  std::vector<std::pair<std::string, std::string>> cluster_info() const;

  MetaSeams seams_;
  const MetaOptions options_;
  std::shared_ptr<MetricEntity> server_entity_;
  MetaMetrics metrics_;
  rpc::Dispatcher* dispatcher_ = nullptr;
  std::map<rpc::TaskCode, Handler> handlers_;
  Standing standing_;
  std::unique_ptr<Leadership> leadership_;
  bool stopped_ = false;
  struct WaitingRelay {
    rpc::Request request;
    Instant give_up;
  };
  std::vector<WaitingRelay> waiting_relays_;
  io::TimerHandle relay_timer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace markab::meta
