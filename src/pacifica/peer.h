#pragma once
// What a primary knows of one secondary or learner: how far it has come, what is under way to it,
// what is asked of the meta server about it. Plain state; streaming.cc moves it.

#include <string>
#include <vector>

#include "base/ids.h"

namespace markab::pacifica {

// One Prepare without an answer.
struct Flight {
  uint64_t token = 0;
  Decree previous = 0;
  Decree last = 0;
  // What the peer had acknowledged when it was sent: an answer below it is a loss.
  Decree acked_before = 0;
  // Sent again, or covered by another answer: a late answer counts, but the window does not wait.
  bool overtaken = false;
};

// Why a secondary is to leave, mildest first.
enum class Doom {
  kNone,
  kUnwell,   // no good answer for prepare_timeout; a good answer revokes it
  kCertain,  // its process is gone, its state has a hole, or somebody ordered it
};

struct Peer {
  HostPort node;
  bool learner = false;
  bool gating = true;      // commits wait for it
  uint64_t signature = 0;  // of a learner's session

  Decree acked = 0;      // durable there, cumulative
  Decree committed = 0;  // as it told last
  Decree next = 1;       // the first decree not sent yet
  std::vector<Flight> flights;
  size_t live_flights = 0;  // not overtaken

  bool greet = true;  // is owed a message even when there is nothing new: a ballot, a commit point
  bool probing = false;  // silent: one message at a time until it answers
  Instant paused_until;
  Instant last_event;             // the last message or answer
  Instant unwell_since = kNever;  // owes a good answer since then

  Doom doom = Doom::kNone;
  // A learner whose upgrade may be stored at the meta server already: it gates until that is known,
  // come what may.
  bool asked = false;
  bool unsure = false;   // an attempt of the upgrade ended without an answer
  bool leaving = false;  // to be dropped as soon as !asked
  std::string reason;    // of doom or leaving
};

}  // namespace markab::pacifica
