#pragma once
// All of a daemon's security, assembled from [security]: the gate of its server, the negotiators of
// its channels, its ticket, its rules. With enable_auth off nothing of it exists but the rules, and
// no line of SASL or Kerberos runs. Made after the runtime, destroyed when the server and the
// channels are gone; used by main().

#include <memory>
#include <string>

#include "io/shard.h"
#include "rpc/dispatcher.h"
#include "rpc/negotiator.h"
#include "rpc/session_guard.h"
#include "security/access_guard.h"
#include "security/client_negotiation.h"
#include "security/gate.h"
#include "security/options.h"
#include "security/tickets.h"

namespace markab::security {

// The name of the cache for libraries that look for the process's default one.
inline constexpr const char* kDefaultCache = "MEMORY:markab";

// Sets the environment that `options` ask for. Before any thread exists (05 §5.2).
void prepare_process(const SecurityOptions& options);

class Service {
 public:
  // `config` must outlive it: mandatory_auth is read from there, so that it can change.
  static Result<std::unique_ptr<Service>> start(io::RealRuntime& runtime, const Config& config,
                                                SecurityOptions options, MetricRegistry& registry);
  ~Service();

  // null: no authentication.
  rpc::SessionGuards* guards() { return gate_.get(); }
  std::shared_ptr<rpc::Negotiators> negotiators() { return negotiators_; }
  AccessGuard& access() { return *access_; }
  // This process's ticket; null: none is kept.
  TicketSource* tickets() { return keeper_.get(); }
  // Answers RPC_NEGOTIATION where no gate does it, and checks who may call what: all that is not a
  // partition's on a replica server; on a meta server remote commands only, since it checks its own
  // RPCs by itself, after the question who leads.
  enum class Daemon { kMeta, kReplica };
  void guard(rpc::Dispatcher& dispatcher, Daemon daemon);
  // Nobody waits for a login any more; before the runtime stops.
  void stop();

 private:
  Service() = default;

  std::shared_ptr<io::BlockingPool> login_pool_;
  std::shared_ptr<io::BlockingPool> dial_pool_;
  std::shared_ptr<io::BlockingPool> accept_pool_;
  std::shared_ptr<TicketKeeper> keeper_;
  std::shared_ptr<Mechanisms> mechanisms_;
  std::shared_ptr<rpc::Negotiators> negotiators_;
  std::unique_ptr<Gate> gate_;
  std::unique_ptr<AccessGuard> access_;
  io::Shard* shard_ = nullptr;
};

}  // namespace markab::security
