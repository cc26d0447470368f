#include "rpc/server_shard.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <utility>

#include "base/escape.h"
#include "base/log.h"
#include "rpc/connection.h"
#include "rpc/socket_options.h"

namespace markab::rpc {

bool HostCounts::enter(uint32_t ipv4, size_t limit) {
  std::lock_guard lock(mutex_);
  size_t& count = counts_[ipv4];
  if (limit != 0 && count >= limit) return false;
  ++count;
  return true;
}

void HostCounts::leave(uint32_t ipv4) {
  std::lock_guard lock(mutex_);
  auto found = counts_.find(ipv4);
  MARKAB_ASSERT(found != counts_.end() && found->second > 0,
                "a connection leaves that did not enter", ipv4);
  if (--found->second == 0) counts_.erase(found);
}

void MalformedLog::report(Instant now, HostPort peer, std::string_view reason,
                          std::string_view first_bytes) {
  constexpr size_t kShownBytes = 16;
  {
    std::lock_guard lock(mutex_);
    if (reported_.size() >= kMaxHosts) reported_.clear();
    auto [entry, is_new] = reported_.emplace(peer.ipv4, now);
    if (!is_new && now - entry->second < kInterval) return;
    entry->second = now;
  }
  MARKAB_WARN("{}: malformed frame ({}), beginning with \"{}\"; the connection is closed", peer,
              reason, escape(first_bytes.substr(0, kShownBytes)));
}

void ServerShard::start(io::Poller& of_shard) { poller = &of_shard; }

void ServerShard::adopt(int fd, HostPort peer) {
  auto connection = std::make_shared<Connection>(shared_from_this(), fd, peer);  // owns fd
  set_stream_options(fd, kAcceptedIsLost);
  if (poller == nullptr || !connection->open()) {
    common->hosts.leave(peer.ipv4);
    return;
  }
  connections_.insert(std::move(connection));
}

void ServerShard::need_flush(std::shared_ptr<Connection> connection) {
  if (poller == nullptr) return;
  dirty_.push_back(std::move(connection));
  if (std::exchange(flush_wanted_, true)) return;
  poller->at_end_of_turn(this);
}

void ServerShard::end_of_turn() {
  flush_wanted_ = false;
  for (size_t i = 0; i < dirty_.size(); ++i) dirty_[i]->flush();
  dirty_.clear();
}

void ServerShard::forget(Connection* connection) {
  // The caller holds a share, so that this is not the end of the object whose member is running.
  connections_.erase(connection->shared_from_this());
  if (connections_.empty()) became_idle();
}

void ServerShard::drain(Task drained) {
  drained_ = std::move(drained);
  for (const auto& connection : connections_) connection->drain();
  became_idle();
}

void ServerShard::became_idle() {
  if (!drained_) return;
  for (const auto& connection : connections_) {
    if (!connection->is_idle()) return;
  }
  auto call = std::move(drained_);
  drained_ = [] {};  // draining stays on
  call();
}

void ServerShard::close_all() {
  auto all = std::move(connections_);
  connections_.clear();
  for (const auto& connection : all) connection->close();
  dirty_.clear();
  if (poller != nullptr) poller->forget(this);
  poller = nullptr;
}

}  // namespace markab::rpc
