#pragma once
// The seam between a negotiation and what proves identities: Cyrus SASL with GSSAPI in daemons and
// clients (sasl.h), a scripted one in tests. An object serves one side of one connection; it is
// used by one thread at a time, and a step may block (a client's on the KDC), so steps run on a
// pool of their own.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "security/reason.h"

namespace markab::security {

// Who was authenticated.
struct Identity {
  std::string principal;  // as the mechanism says it: "alice@EXAMPLE.ORG", "pegasus/h1"
  std::string user;       // the short name that rules are written with: "alice", "pegasus"
};

struct StepResult {
  enum class Outcome : uint8_t { kContinue, kDone, kFailed };
  Outcome outcome = Outcome::kFailed;
  std::string token;  // for the peer; may be empty, and an empty one is sent like any other
  Identity identity;  // server, kDone
  Failure failure;    // kFailed
};

class Mechanism {
 public:
  virtual ~Mechanism() = default;
  // A client's first step takes no token.
  virtual StepResult start(std::string_view token) = 0;
  virtual StepResult step(std::string_view token) = 0;
};

class Mechanisms {
 public:
  virtual ~Mechanisms() = default;
  // In the order of preference.
  virtual std::vector<std::string> names() const = 0;
  // nullptr, with the reason in `failure`. Neither blocks.
  virtual std::unique_ptr<Mechanism> new_server(const std::string& name, HostPort peer,
                                                Failure& failure) = 0;
  virtual std::unique_ptr<Mechanism> new_client(const std::string& name, HostPort peer,
                                                Failure& failure) = 0;
};

}  // namespace markab::security
