#pragma once
// What the connections of one shard share: the poller, the input arena, the list of connections
// with something to send, counters. Made by the server; lives until its last connection's last
// request is gone. Used on its shard's thread, counters may be read from any.

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "io/poller.h"
#include "rpc/input.h"
#include "rpc/peer_rules.h"
#include "rpc/server.h"

namespace markab::rpc {

class Connection;

// Counts of one shard: written by its thread only, so that no two cores share a cache line for
// them.
class alignas(64) ShardCount {
 public:
  void add(int64_t n) {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  int64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<int64_t> value_{0};
};

struct ServerStats {
  ShardCount sessions;
  ShardCount frames;
  ShardCount http_requests;
  ShardCount bytes_in;
  ShardCount bytes_out;
  ShardCount malformed;
};

// How many connections each client host has; any thread.
class HostCounts {
 public:
  // False when the host has `limit` already; 0 is no limit.
  bool enter(uint32_t ipv4, size_t limit);
  void leave(uint32_t ipv4);

 private:
  std::mutex mutex_;
  std::unordered_map<uint32_t, size_t> counts_;
};

// Hosts whose malformed frames were logged of late: a port scanner must not fill the log. Any
// thread.
class MalformedLog {
 public:
  void report(Instant now, HostPort peer, std::string_view reason, std::string_view first_bytes);

 private:
  static constexpr size_t kMaxHosts = 1024;  // then all are forgotten
  static constexpr Duration kInterval = std::chrono::minutes(1);
  std::mutex mutex_;
  std::unordered_map<uint32_t, Instant> reported_;
};

// Shared by all shards; but for the last two read-only.
struct ServerCommon {
  ServerOptions options;
  PeerRules peer_rules;
  HostPort self;
  const Dispatcher* dispatcher = nullptr;
  const HttpRouter* http = nullptr;
  HostCounts hosts;
  MalformedLog malformed_log;
};

class ServerShard final : public io::Poller::TurnEnd,
                          public std::enable_shared_from_this<ServerShard> {
 public:
  ServerShard(std::shared_ptr<ServerCommon> common, io::Shard& shard)
      : common(std::move(common)), shard(shard) {}

  void start(io::Poller& poller);
  void adopt(int fd, HostPort peer);
  // Calls `drained` once when no connection waits for an answer or has one to send.
  void drain(Task drained);
  void close_all();

  // For connections.
  void need_flush(std::shared_ptr<Connection> connection);
  void forget(Connection* connection);
  void became_idle();
  bool draining() const { return static_cast<bool>(drained_); }

  const std::shared_ptr<ServerCommon> common;
  io::Shard& shard;
  io::Poller* poller = nullptr;  // none before start() and after close_all()
  InputArena arena;
  ServerStats stats;

 private:
  // Flushes what is dirty.
  void end_of_turn() override;

  std::unordered_set<std::shared_ptr<Connection>> connections_;
  std::vector<std::shared_ptr<Connection>> dirty_;
  bool flush_wanted_ = false;
  Task drained_;
};

}  // namespace markab::rpc
