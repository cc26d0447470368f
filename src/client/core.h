#pragma once
// The client's heart on one shard: finds the partition of a request, sends it to the primary, and
// repeats it elsewhere or later as long as that is safe and the deadline has not passed. Knows no
// thread and no socket: it runs on any io::Shard and rpc::Network, so in the simulator too.
//
// How an attempt ends, and what follows (errors.h, spec 01 §12.2):
//
//  - refused (not the primary, no such partition), or never sent because the connection broke: ask
//    the metas and repeat at once, then after 5 ms doubling to 200 ms, or as soon as the metas name
//    another primary.
//  - the connection broke after it was sent: the same if idempotent, else kUnknownOutcome.
//  - no answer for 1 s from a node that is silent: ask the metas; once the partition moved away,
//    as for a broken connection.
//  - the deadline: kTimeout; kUnavailable if no node took it; kUnknownOutcome for a write that is
//    not idempotent and whose answer is missing.
//
// Bounds: calls in flight (max_in_flight: then kBusy), tables (kMaxTables: then kBusy).

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/random.h"
#include "client/answer.h"
#include "client/meta_group.h"
#include "client/routing.h"
#include "io/shard.h"
#include "rpc/network.h"

namespace markab::client {

struct CoreOptions {
  std::vector<HostPort> metas;
  size_t max_in_flight = 100000;
  // A node that gave no answer for so long is suspected.
  Duration silence = std::chrono::seconds(1);
  Duration watch_interval = std::chrono::milliseconds(250);
  Duration first_backoff = std::chrono::milliseconds(5);
  Duration last_backoff = std::chrono::milliseconds(200);
};
inline constexpr size_t kMaxTables = 10000;

// A request for one partition.
struct PartitionRequest {
  rpc::TaskCode code = rpc::TaskCode::kUnknown;
  uint64_t hash = 0;  // chooses the partition, and goes into the header
  int32_t partition =
      -1;  // >= 0: this one, and its index goes into the header (table scans, spec 01 §13)
  std::string args;  // encoded (codec.h)
};

class Core {
 public:
  Core(io::Shard& shard, rpc::Network& network, const CoreOptions& options);
  ~Core();  // stop()
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;

  io::Shard& shard() { return shard_; }

  using CallId = uint64_t;
  struct Table {
    Routing routing;
    std::vector<CallId>
        waiting;  // calls that the next answer of a meta may wake; some may have ended
  };
  // The table of that name, known or not; lives as long as the core. nullptr: too many tables.
  Table* table(std::string_view name);
  // Runs `done` once the table's partitions are known, or with the reason why not.
  void resolve(Table& table, Instant deadline, AnswerCallback done);
  // Runs `done` once, on this shard; inside of this call only when it refuses (deadline passed, too
  // many calls) or when the network answers so.
  void call(Table& table, PartitionRequest request, Instant deadline, AnswerCallback done);
  void call_meta(MetaRequest request, AnswerCallback done);
  // One attempt at one node; no routing.
  void call_node(HostPort node, rpc::TaskCode code, std::string_view args, Instant deadline,
                 AnswerCallback done);

  // Ends every pending call with kClosed; later ones end at once.
  void stop();

  size_t in_flight() const { return in_flight_; }

 private:
  struct Call;
  struct Life;

  Call* find(CallId id);
  // nullptr: refused, and `done` was told.
  Call* add(Table& table, Instant deadline, AnswerCallback& done);
  void send(Call& call);
  void on_reply(CallId id, uint32_t attempt, HostPort node, rpc::Reply reply);
  // Waits for the pause to end, and with `reroute` for the metas to name another primary, whichever
  // is first.
  void wait(Call& call, bool reroute);
  void on_timer(Call& call);
  bool on_routing(Table& table);
  // What a waiting call does now that the metas answered.
  void wake(Call& call);

  void watch();
  void on_silence(Call& call);
  void link(Call& call);
  void unlink(Call& call);

  void finish(Call& call, Answer answer);
  void fail(Call& call, ErrorCode code, std::string_view what);
  void fail_at_deadline(Call& call);
  std::string describe(const Call& call) const;

  io::Shard& shard_;
  rpc::Network& network_;
  const CoreOptions options_;
  MetaGroup metas_;
  Random random_;
  bool stopped_ = false;

  std::map<std::string, std::unique_ptr<Table>, std::less<>> tables_;
  std::vector<std::unique_ptr<Call>> calls_;  // slots; a CallId is (generation, slot)
  std::vector<uint32_t> free_;
  size_t in_flight_ = 0;

  // Calls whose attempt is under way, oldest attempt first.
  Call* oldest_ = nullptr;
  Call* newest_ = nullptr;
  io::TimerHandle watch_timer_;
  bool watching_ = false;
  std::unordered_map<HostPort, Instant> heard_;  // when a node last answered anything
  std::shared_ptr<Life> life_;
};

}  // namespace markab::client
