#pragma once
// The election of metas that share one machine and one state_dir: who holds the kernel's lock on
// <state_dir>/leader.lock leads. The kernel frees it whatever ends the process, and the next one
// has it within 100 ms. The leader's address stands in <state_dir>/leader. Fencing is the lock
// itself, and RocksDB's own on the store.
//
// A leader that is stopped (SIGSTOP) but not dead keeps the lock: on one machine that is for the
// operator to solve.

#include <memory>
#include <string>

#include "io/file.h"
#include "io/shard.h"
#include "meta/election.h"

namespace markab::meta {

std::unique_ptr<Election> make_embedded_election(io::Shard& shard, io::BlockingPool& pool,
                                                 io::FileSystem& files, std::string state_dir,
                                                 HostPort self);

}  // namespace markab::meta
