#pragma once
// What replicas of one partition say to each other, and what the meta server stores about them.
// Plain values; their bytes on the wire are the replica room's business.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/status.h"

namespace markab::pacifica {

// The serialised effects of one mutation; shared between the log, the messages and the store, never
// changed.
using Payload = std::shared_ptr<const std::string>;

struct Mutation {
  // Of the reign that prepared it last; a re-proposal raises it, the content stays (04 S5).
  Ballot ballot = 0;
  Decree decree = 0;
  int64_t timestamp_us = 0;  // given once, by the primary that first prepared it
  Payload payload;
};

// The membership of a partition as the meta server stores it.
struct Membership {
  Ballot ballot = 0;
  HostPort primary;  // none: {}
  std::vector<HostPort> secondaries;
  int32_t max_replica_count = 3;
  friend bool operator==(const Membership&, const Membership&) = default;
};

// Primary to secondary or learner: a contiguous run of mutations and the commit point. Empty runs
// carry only the latter. Per peer, runs are sent in order; a lost or reordered one is repaired by
// go-back-N from the receiver's answer.
//
// A reign is the time in which one primary leads without a break: it begins at the ballot that made
// it primary and goes on while each next ballot keeps it. Within a reign a decree has one content.
struct Prepare {
  Membership membership;  // the sender's; its ballot is the message's ballot
  Ballot reign = 0;       // the ballot under which the sender became primary
  // The sender's last_prepared at that moment: what others hold above it from earlier reigns is
  // void.
  Decree reign_prepared = 0;
  Decree reign_committed = 0;  // its last_committed at that moment
  Decree committed = 0;        // its commit point now
  Decree previous = 0;         // the decree before the first mutation here
  uint64_t signature = 0;      // the learner's; 0 to a secondary
  std::vector<Mutation> mutations;
};

// Answer to one Prepare, given when its run is as durable as the log promises, or at once when
// refused.
struct PrepareAck {
  // kOk; kObjectNotFound (no such replica), kVersionOutdated (lower ballot; `ballot` tells),
  // kInactiveState (not yet in service: try again), kInvalidState (cannot serve in that role),
  // kTryAgain (a gap: resend from prepared + 1), kWrongChecksum (another signature).
  Errc error = Errc::kOk;
  Ballot ballot = 0;     // kOk, kTryAgain: of the Prepare; else the receiver's
  Decree prepared = 0;   // kOk: everything up to here is durable under this reign. kTryAgain: is
                         // logged, maybe not durable
  Decree committed = 0;  // the receiver's commit point
};

}  // namespace markab::pacifica
