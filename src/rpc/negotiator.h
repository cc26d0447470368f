#pragma once
// The calling side of a connection's negotiation: the seam between a channel and the security room
// (spec 05 §2.4). A channel without negotiators sends its calls as soon as the connection is up.
//
// A negotiator belongs to one connection, is used on its shard, and dies with it: a new connection
// always negotiates anew.

#include <memory>
#include <string>
#include <string_view>

#include "base/function.h"
#include "base/status.h"
#include "io/shard.h"

namespace markab::rpc {

class Negotiator {
 public:
  virtual ~Negotiator() = default;
  // Called once, when the connection is up.
  virtual void begin() = 0;
  // The peer's answer to the last message: an envelope error, or a result struct.
  virtual void on_answer(Errc error, std::string_view result) = 0;
  // What was under way when time ran out, as a phrase.
  virtual std::string describe() const = 0;
};

// What a negotiator tells its channel. Not called once the negotiator is destroyed.
struct NegotiatorCalls {
  // Sends one RPC_NEGOTIATION with these encoded arguments.
  Function<void(std::string_view args)> send;
  // Ends it: Ok lets the calls out; else they fail with this. The last thing a negotiator does.
  Callback<Status> done;
};

class Negotiators {
 public:
  virtual ~Negotiators() = default;
  virtual std::unique_ptr<Negotiator> make(io::Shard& shard, HostPort peer,
                                           NegotiatorCalls calls) = 0;
  // From the connection's being up to the negotiation's end.
  virtual Duration deadline() const = 0;
};

}  // namespace markab::rpc
