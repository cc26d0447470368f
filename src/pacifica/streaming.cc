// What flows from a primary to each peer: runs of the list in order, several under way at once, and
// go-back-N when one is lost. All acknowledgements are cumulative.

#include <algorithm>

#include "pacifica/replica_core.h"

namespace markab::pacifica {

namespace {

constexpr size_t kMaxMutationsPerMessage = 1024;
// Flights that were sent again are remembered, since a late answer still counts; no more than this.
constexpr size_t kMaxOvertaken = 64;

}  // namespace

void ReplicaCore::flush(Instant now, Actions& out) {
  touch(now);
  if (role_ != Role::kPrimary || outdated_ || !ballot_durable()) return;  // S1, S2
  for (auto& peer : peers_) send_to(peer, out);
  sweep_learners(out);
}

void ReplicaCore::send_to(Peer& peer, Actions& out) {
  if (now_ < peer.paused_until) return;
  size_t window = peer.probing ? 1 : options_.max_messages_in_flight;
  while (peer.live_flights < window && (peer.next <= list_.last() || peer.greet)) {
    if (peer.next < list_.first()) {
      give_up(peer, Doom::kCertain, "it lags behind what is kept in memory");
      return;
    }
    send_run(peer, out);
  }
}

void ReplicaCore::send_run(Peer& peer, Actions& out) {
  auto& send = std::get<SendPrepare>(out.emplace_back(SendPrepare{peer.node, {}, next_token_++}));
  Prepare& prepare = send.prepare;
  prepare.membership = membership_;
  prepare.reign = reign_;
  prepare.reign_prepared = reign_prepared_;
  prepare.reign_committed = reign_committed_;
  prepare.committed = last_committed_;
  prepare.previous = peer.next - 1;
  prepare.signature = peer.signature;
  size_t bytes = 0;
  size_t waiting = static_cast<size_t>(list_.last() - prepare.previous);
  prepare.mutations.reserve(std::min(waiting, kMaxMutationsPerMessage));
  while (peer.next <= list_.last() && prepare.mutations.size() < kMaxMutationsPerMessage) {
    const auto& mutation = list_.at(peer.next).mutation;
    bytes += MutationList::size_of(mutation);
    if (bytes > options_.max_message_bytes && !prepare.mutations.empty()) break;
    prepare.mutations.push_back(mutation);
    ++peer.next;
  }
  peer.flights.push_back({send.token, prepare.previous, peer.next - 1, peer.acked, false});
  ++peer.live_flights;
  if (peer.flights.size() > peer.live_flights + kMaxOvertaken) {
    auto oldest = std::find_if(peer.flights.begin(), peer.flights.end(),
                               [](const Flight& f) { return f.overtaken; });
    peer.flights.erase(oldest);
  }
  peer.greet = false;
  peer.last_event = now_;
  if (peer.unwell_since == kNever) peer.unwell_since = now_;
}

// Everything from `next` on is sent again. What is under way no longer fills the window.
void ReplicaCore::rewind(Peer& peer, Decree next) {
  peer.next = std::max(next, peer.acked + 1);
  peer.greet = true;
  for (auto& flight : peer.flights) flight.overtaken = true;
  peer.live_flights = 0;
}

// Takes the flight of that token; none: an answer to what another reign or session sent.
std::optional<Flight> ReplicaCore::land(Peer& peer, uint64_t token) {
  auto found = std::find_if(peer.flights.begin(), peer.flights.end(),
                            [&](const Flight& f) { return f.token == token; });
  if (found == peer.flights.end()) return std::nullopt;
  Flight flight = *found;
  peer.flights.erase(found);
  if (!flight.overtaken) --peer.live_flights;
  return flight;
}

void ReplicaCore::on_prepare_ack(HostPort from, uint64_t token, const PrepareAck& ack, Instant now,
                                 Actions& out) {
  touch(now);
  Peer* peer = role_ == Role::kPrimary ? find_peer(from) : nullptr;
  if (peer == nullptr) return;
  auto flight = land(*peer, token);
  if (!flight) return;
  peer->last_event = now_;
  bool sane = ack.prepared <= list_.last() && ack.committed <= list_.last();
  if (ack.error == Errc::kVersionOutdated) {
    if (ack.ballot > ballot_) {
      outdated_ = true;
    } else if (!flight->overtaken) {
      rewind(*peer, peer->acked + 1);  // our own ballot rose after it was sent
    }
  } else if (ack.error == Errc::kOk && sane) {
    on_good_answer(*peer, *flight, ack, out);
  } else if (ack.error == Errc::kTryAgain && sane) {
    on_gap(*peer, *flight, ack);
  } else {
    on_refusal(*peer, *flight, ack);
  }
  sweep_learners(out);
  pursue_changes(out);
}

void ReplicaCore::on_good_answer(Peer& peer, const Flight& flight, const PrepareAck& ack,
                                 Actions& out) {
  if (ack.prepared < flight.acked_before) {
    return give_up(peer, Doom::kCertain, "it lost what it had acknowledged (04 S15)");
  }
  peer.acked = std::max(peer.acked, ack.prepared);
  peer.committed = std::max(peer.committed, ack.committed);
  peer.next = std::max(peer.next, peer.acked + 1);
  // What was sent before and is covered needs no answer of its own.
  for (auto& other : peer.flights) {
    if (other.overtaken || other.token > flight.token || other.last > peer.acked) continue;
    other.overtaken = true;
    --peer.live_flights;
  }
  peer.probing = false;
  peer.paused_until = {};
  // Well again: whatever is still under way has prepare_timeout from now.
  peer.unwell_since = peer.live_flights == 0 && !peer.greet ? kNever : now_;
  if (peer.doom == Doom::kUnwell && !(ask_ && ask_->node == peer.node)) peer.doom = Doom::kNone;
  consider_gating(peer);
  advance_commit(out);
}

// kTryAgain: something before this run is missing there.
void ReplicaCore::on_gap(Peer& peer, const Flight& flight, const PrepareAck& ack) {
  if (ack.prepared < flight.acked_before) {
    return give_up(peer, Doom::kCertain, "it lost what it had acknowledged (04 S15)");
  }
  if (flight.overtaken) return;
  // A gap is sent again at once. A peer that has no room, or that stands where it stood, is given a
  // moment.
  if (ack.prepared >= flight.previous) peer.paused_until = now_ + options_.resend_after / 8;
  rewind(peer, ack.prepared + 1);
}

void ReplicaCore::on_refusal(Peer& peer, const Flight& flight, const PrepareAck& ack) {
  // A learner in no state to learn is of no use; a secondary may be opening, and has
  // prepare_timeout for it.
  if (peer.learner && ack.error != Errc::kInactiveState) {
    return give_up(peer, Doom::kCertain,
                   std::string("it answered ") + std::string(errc_name(ack.error)));
  }
  if (!flight.overtaken) rewind(peer, peer.acked + 1);
  peer.probing = true;
  peer.paused_until = now_ + options_.resend_after / 8;
}

void ReplicaCore::on_prepare_failed(HostPort to, uint64_t token, bool certain, Instant now,
                                    Actions& out) {
  touch(now);
  Peer* peer = role_ == Role::kPrimary ? find_peer(to) : nullptr;
  if (peer == nullptr) return;
  auto flight = land(*peer, token);
  if (!flight) return;
  if (certain) {
    give_up(*peer, Doom::kCertain, "its process does not run");
  } else if (!flight->overtaken) {
    rewind(*peer, peer->acked + 1);
    peer->probing = true;
    peer->paused_until = now_ + options_.resend_after / 8;
  }
  sweep_learners(out);
  pursue_changes(out);
}

}  // namespace markab::pacifica
