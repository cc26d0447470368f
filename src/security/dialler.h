#pragma once
// The security of a program that only dials: the C++ client, and with it the shell and the bench.
// Logs in from a keytab, or uses the tickets that the user has (kinit). Made after the runtime's
// shard, destroyed when its channels are gone.

#include <memory>
#include <string>

#include "io/shard.h"
#include "rpc/negotiator.h"
#include "security/tickets.h"

namespace markab::security {

struct DiallerOptions {
  std::string service_name;
  std::string service_fqdn;
  std::string keytab;  // with principal; both empty: the user's ticket cache
  std::string principal;
  std::string plugin_path;
  bool require_peer_auth = false;
  Duration deadline = std::chrono::seconds(10);
};

class Dialler {
 public:
  // Errors: kInvalidParameters, kSaslInternal, with the remedy.
  static Result<std::unique_ptr<Dialler>> make(DiallerOptions options, io::Shard& shard);
  ~Dialler();

  std::shared_ptr<rpc::Negotiators> negotiators() { return negotiators_; }
  // Nobody waits for a login any more.
  void stop();

 private:
  Dialler() = default;
  std::shared_ptr<TicketKeeper> keeper_;
  std::shared_ptr<rpc::Negotiators> negotiators_;
};

}  // namespace markab::security
