#pragma once
// Who stands at the door of an accepted connection when its peer must say who it is: the seam
// between a connection and the security room (spec 05 §2). A connection without a guard serves
// whoever comes, and pays one comparison with null for that.
//
// A guard belongs to one connection, is used on its shard, and dies with it.

#include <memory>
#include <optional>
#include <string>

#include "io/shard.h"
#include "rpc/http.h"
#include "rpc/message.h"

namespace markab::rpc {

// What a guard may do to its connection.
class GuardedSession {
 public:
  virtual ~GuardedSession() = default;
  // From now on requests are handled as `user`'s and no longer shown to the guard, negotiation
  // messages apart. At most twice: as a member of a trusted network, and by negotiation.
  virtual void admit(std::string user) = 0;
  // Handles a request that the guard took.
  virtual void serve(Request request) = 0;
  virtual void refuse(Request request, Errc error) = 0;
  // Takes nothing more; sends what was answered, then the end of the stream.
  virtual void end() = 0;
};

class SessionGuard {
 public:
  virtual ~SessionGuard() = default;
  // A negotiation message, or anything from a peer that was not admitted.
  virtual void take(Request request) = 0;
  // Whether this connection may keep the first bytes of a frame of this length.
  virtual bool may_gather(size_t frame_bytes) = 0;
  // What to answer instead of a page.
  virtual std::optional<HttpResponse> check(const HttpRequest& request) = 0;
  // The connection is closed: lets go of all requests.
  virtual void closed() = 0;
};

class SessionGuards {
 public:
  virtual ~SessionGuards() = default;
  // On the connection's shard, before its first byte is read. nullptr: one peer too many, the
  // connection is closed.
  virtual std::unique_ptr<SessionGuard> watch(GuardedSession& session, io::Shard& shard,
                                              HostPort peer) = 0;
};

}  // namespace markab::rpc
