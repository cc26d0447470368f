#pragma once
// What every TCP connection of ours is set to, dialled or accepted.

#include "base/ids.h"

namespace markab::rpc {

// Dialled: bytes that nobody acknowledged for so long make the connection fail. TCP by itself tries
// again later and later, so that after a network that was gone for a minute it would be silent for
// another; dialling anew takes a round trip. Longer than the lease: by then the peer is given up.
constexpr Duration kDialledIsLost = std::chrono::seconds(10);
// Accepted: a client may read slowly, and its window be closed meanwhile.
constexpr Duration kAcceptedIsLost = std::chrono::seconds(60);
// Idle connections are probed at this interval, lest a peer that vanished keeps its place for hours.
constexpr Duration kProbeInterval = std::chrono::seconds(30);

// Small messages go out at once; a peer that is gone is noticed (tcp(7): TCP_USER_TIMEOUT, which
// bounds the probes too). An option that the kernel does not take is left as it is.
void set_stream_options(int fd, Duration lost_after);

}  // namespace markab::rpc
