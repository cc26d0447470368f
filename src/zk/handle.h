#pragma once
// One handle of ZooKeeper's C client, to one server: from its opening to its end. The C client
// brings two threads; what they report is posted to the shard, in order. Used by session.cc.
//
// open() and the destructor may block (look-ups of names, joining a thread that waits for a KDC)
// and belong on the blocking pool; everything else on the shard.

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_set>
#include <vector>

#include "io/shard.h"
#include "zk/client.h"
#include "zk/options.h"

struct _zhandle;
struct ACL_vector;

namespace markab::zk {

// Names a session at the servers.
struct SessionId {
  int64_t id = 0;  // 0: none yet
  std::array<char, 16> password{};
};

// How the C client sees its server.
enum class HandleState { kConnecting, kLoggingIn, kConnected, kExpired, kLoginFailed };

class Handle {
 public:
  struct Target {
    Server server;
    std::string sasl_host;  // empty: no SASL
  };
  using Events = Callback<>;  // "look at state()"

  // Starts connecting. `on_event` runs on the shard whenever the state may have changed. Null when
  // the name cannot be resolved; `why` then says so.
  static std::unique_ptr<Handle> open(io::Shard& shard, const Options& options, Target target,
                                      const SessionId& session, std::shared_ptr<Events> on_event,
                                      std::string& why);
  // Ends the session too when it is connected; else leaves it to whoever has its SessionId.
  ~Handle();
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

  HandleState state() const;
  SessionId session() const;
  Duration timeout() const;  // as granted
  const Target& target() const { return target_; }
  // What was said last by Kerberos or SASL, or about the connection; empty: nothing.
  std::string last_words() const;
  // Raised each time a connection ended. The client may have another one before the event is looked
  // at, so state() alone does not tell.
  uint64_t breaks() const;
  // Raised each time an attempt to connect failed.
  uint64_t refusals() const;

  // As in Client; callbacks run on the shard, or never when the handle ends before.
  void get(const std::string& path, Callback<Result<Node>> done);
  void children(const std::string& path, Task on_change,
                Callback<Result<std::vector<std::string>>> done);
  void create(const std::string& path, const std::string& data, NodeKind kind,
              Callback<Result<std::string>> done);
  void multi(std::vector<Op> ops, Callback<Outcome> done);
  void get_acl(const std::string& path, Callback<Result<bool>> is_as_wanted);
  void set_acl(const std::string& path, Callback<Status> done);
  // "sasl:pegasus/h1@REALM,..." or "world:anyone".
  void acl_text(const std::string& path, Callback<Result<std::string>> done);

 private:
  struct Call;
  struct Shared;
  struct Watch;
  struct AclList;

  Handle(io::Shard& shard, const Options& options, Target target, std::shared_ptr<Events> on_event);
  Call* make_call(std::string path);
  // Hands the call's answer to the shard; the call is over. Any thread.
  static void finish(Call* call, Task task);

  io::Shard& shard_;
  const Target target_;
  std::shared_ptr<Shared> shared_;
  std::unique_ptr<AclList> acl_;
  _zhandle* zh_ = nullptr;
};

// What the C client's error codes mean, for a request about `path`.
Status to_status(int rc, const std::string& path);

}  // namespace markab::zk
