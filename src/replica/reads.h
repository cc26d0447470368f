#pragma once
// Reads of clients: checked, executed on the shard where their bytes arrived, first only from
// memory, and on the blocking pool when that is not enough (DESIGN §1.3). No hop, no lock, no
// allocation for what memory answers.

#include "replica/host.h"
#include "replica/replica.h"
#include "rpc/message.h"

namespace markab::replica {

// Answers `request`, a storage read addressed to `replica`. `here` is the shard that this runs on.
void serve_read(ReplicaHost& host, const std::shared_ptr<Replica>& replica, io::Shard& here,
                rpc::Request request);

}  // namespace markab::replica
