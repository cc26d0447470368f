#pragma once
// The StateStore in ZooKeeper: paths are nodes below [meta_server] cluster_root, as Pegasus' tools
// know them (03 §6). A transaction is one `multi`, in which every node has the version that this
// leader knows, and the leader's own election node must be there: who lost the election writes
// nothing any more, whatever is still on its way.

#include <functional>
#include <memory>
#include <string>

#include "io/shard.h"
#include "meta/state_store.h"
#include "zk/client.h"

namespace markab::meta {

struct ZooKeeperStoreOptions {
  std::string root;  // "/pegasus/c1", or "/"
  // The election node of this leadership, as an absolute path; empty when there is none.
  std::function<std::string()> fence;
  // Another one wrote, or leads: this leadership is at its end. The sentence says what was found.
  std::function<void(std::string)> on_fenced;
};

// `client` is started by somebody else (the election) and outlives the store.
std::unique_ptr<StateStore> make_zookeeper_store(io::Shard& shard, zk::Client& client,
                                                 ZooKeeperStoreOptions options);

}  // namespace markab::meta
