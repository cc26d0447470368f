#pragma once
// The meta servers as one: a call goes to the one that answered last; what only asks goes to all
// others at once when that one fails, is not the leader or is silent for a moment. Owned by a Core,
// on its shard.
//
// Calls that change something go to one server at a time, and to the next one only if the former
// surely did nothing. Rounds without success are repeated after a pause (10 ms doubling to 200 ms)
// until the deadline.

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/ids.h"
#include "base/random.h"
#include "client/answer.h"
#include "io/shard.h"
#include "rpc/network.h"

namespace markab::client {

struct MetaRequest {
  rpc::TaskCode code = rpc::TaskCode::kUnknown;
  std::string args;
  Instant deadline;
  bool only_asks = true;
};

// Calls under way; more end with kBusy.
inline constexpr size_t kMaxMetaCalls = 10000;

struct MetaGroupOptions {
  std::vector<HostPort> servers;                               // at least one
  Duration answer_patience = std::chrono::milliseconds(200);   // then the others are asked as well
  Duration attempt_timeout = std::chrono::milliseconds(1500);  // of what only asks
  Duration first_pause = std::chrono::milliseconds(10);
  Duration last_pause = std::chrono::milliseconds(200);
};

class MetaGroup {
 public:
  MetaGroup(io::Shard& shard, rpc::Network& network, MetaGroupOptions options);
  ~MetaGroup();

  // `done` runs once, on this shard, never inside of this call.
  void call(MetaRequest request, AnswerCallback done);
  // Ends all pending calls with `error`, and those that come later: the network is about to go.
  void close(const Error& error);

 private:
  struct Call;
  struct Life;

  void start_round(Call& call);
  void ask(Call& call, size_t server);
  void ask_others(Call& call);
  void on_reply(uint64_t id, size_t server, uint32_t round, rpc::Reply reply);
  void on_failure(Call& call, size_t server, bool surely_undone);
  void pause(Call& call);
  void finish(Call& call, Answer answer);
  void fail(Call& call, ErrorCode code, std::string message);

  io::Shard& shard_;
  rpc::Network& network_;
  const MetaGroupOptions options_;
  Random random_;
  std::optional<Error> closed_;
  size_t leader_ = 0;  // the server that answered last
  uint64_t next_id_ = 1;
  std::unordered_map<uint64_t, std::unique_ptr<Call>> calls_;
  std::shared_ptr<Life> life_;
};

// The `err` field (id 1) of a meta server's result struct; kInvalidData when it cannot be read.
Errc peek_err(std::string_view result);

}  // namespace markab::client
