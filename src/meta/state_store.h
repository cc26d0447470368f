#pragma once
// Where the meta server's state lives, as a seam: a tree of paths with data, written by
// transactions. Real sides: embedded_store.h (RocksDB, for metas of one machine) and ZooKeeper;
// memory_store.h is the simulator's.
//
// Only the leader uses it. Called on the meta's shard; callbacks run there too, once each, never
// from inside the call.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/function.h"
#include "base/status.h"

namespace markab::meta {

struct StateOp {
  enum class Kind { kPut, kErase } kind = Kind::kPut;
  std::string path;  // "/apps/1/0"; relative to the cluster's root
  std::string data;
  friend bool operator==(const StateOp&, const StateOp&) = default;
};

class StateStore {
 public:
  using Tree = std::map<std::string, std::string>;
  virtual ~StateStore() = default;

  // Takes the store into use for one leadership and reads all of it. A leadership that ended
  // before, without close(), is answered nothing any more. Errors: kHoldByOthers (another process
  // has it), kInvalidData, kFileOperationFailed; the sentence names the place.
  virtual void open(Callback<Result<Tree>> done) = 0;
  // All of `ops` or none; Ok when durable. At most one call is under way. An error leaves the
  // outcome unknown: the caller repeats the same transaction, which is harmless.
  virtual void write(std::vector<StateOp> ops, Callback<Status> done) = 0;
  // Ends the use; `done` when nothing is under way any more.
  virtual void close(Task done) = 0;
  // A transaction of more bytes is split by the caller, in order.
  virtual size_t max_transaction_bytes() const = 0;
};

}  // namespace markab::meta
