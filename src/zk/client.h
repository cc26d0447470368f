#pragma once
// ZooKeeper as a seam: nodes with versions, transactions of several of them, sessions whose
// ephemeral nodes end with them, one-shot watches. Real side: session.h; the simulator brings its
// own.
//
// Owned by one shard and called there; callbacks run there, once each, never from inside the call.
// A callback of a client that is destroyed is destroyed without having run.

#include <cstdint>
#include <string>
#include <vector>

#include "base/function.h"
#include "base/ids.h"
#include "base/status.h"

namespace markab::zk {

struct Node {
  std::string data;
  int32_t version = 0;          // raised by one with each change of the data; 0 after creation
  int64_t ephemeral_owner = 0;  // the session that it ends with; 0: none
  int32_t children = 0;
};

struct Op {
  enum class Kind { kCreate, kSet, kErase, kCheck } kind = Kind::kCreate;
  std::string path;
  std::string data;
  int32_t version = -1;  // what kSet, kErase and kCheck expect; -1: any, but the node must be there
  friend bool operator==(const Op&, const Op&) = default;
};

// What became of a transaction.
struct Outcome {
  Status status;
  size_t failed_op = SIZE_MAX;  // the operation that it failed at, where one can be told
};

enum class NodeKind { kPersistent, kEphemeral, kEphemeralSequential };

enum class Link {
  kConnected,     // requests can be made; `session` and `timeout` are set
  kDisconnected,  // the session may go on at the servers; the client looks for one of them
  kExpired,       // the session is over and its ephemeral nodes with it; a new one is being made
};
struct Event {
  Link link = Link::kDisconnected;
  int64_t session = 0;
  Duration timeout{};  // as the servers granted it
};

// Errors of all requests: kTimeout (no connection, or it broke: the outcome is unknown),
// kPathNotFound, kPathAlreadyExist, kInvalidVersion, kDirNotEmpty, kAclDeny, kUnauthenticated,
// kExpired (the session), kInvalidParameters; else kZookeeperOperation. The sentence names the
// path.
class Client {
 public:
  virtual ~Client() = default;

  // Connects, and stays connected until close(). `on_event` hears of each change.
  virtual void start(Callback<Event> on_event) = 0;
  // Ends the session at the servers too, when one of them is within reach. No callback but `done`
  // runs after that.
  virtual void close(Task done) = 0;

  virtual void get(const std::string& path, Callback<Result<Node>> done) = 0;
  // Names, in no order. `on_change`, when given, is called at most once, at the next change of the
  // names or when the node ends. A watch does not outlive the link: look again after kConnected.
  virtual void children(const std::string& path, Task on_change,
                        Callback<Result<std::vector<std::string>>> done) = 0;
  // The path as it was made: with ten digits behind it when sequential.
  virtual void create(const std::string& path, const std::string& data, NodeKind kind,
                      Callback<Result<std::string>> done) = 0;
  // All of it or nothing, in order.
  virtual void multi(std::vector<Op> ops, Callback<Outcome> done) = 0;
  // Gives an existing node the access list that this client gives to new ones; true when it had
  // another one before.
  virtual void protect(const std::string& path, Callback<Result<bool>> done) = 0;
};

}  // namespace markab::zk
