#pragma once
// A cluster that a test plays: metas and replica servers behind one rpc::Network, in the simulated
// runtime. Rows live in one map that all nodes share, as if replication were perfect; what the test
// changes is who is primary, who is dead, silent or refuses.

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "rpc/network.h"
#include "sim/sim_runtime.h"

namespace markab::client {

struct Recorded {
  Instant at;
  HostPort node;
  rpc::TaskCode code;
  Gpid gpid;
  uint64_t hash;
};

class FakeCluster final : public rpc::Network {
 public:
  static constexpr Duration kLatency = std::chrono::microseconds(200);
  static constexpr int32_t kAppId = 2;

  explicit FakeCluster(sim::SimWorld& world, io::Shard& shard) : world_(world), shard_(shard) {}

  // --- what the test says ---

  std::string table = "temp";
  // The meta's view, which may lag behind.
  struct Partition {
    Ballot ballot = 1;
    HostPort primary;
  };
  std::vector<Partition> told;
  // Where the partitions really are.
  std::vector<HostPort> real;
  Errc meta_err = Errc::kOk;           // what the metas answer instead
  std::map<HostPort, Errc> meta_errs;  // the same, of one meta
  std::set<HostPort> metas;
  // `count` partitions over these nodes, in turn.
  void place(int count, const std::vector<HostPort>& nodes);
  void move(int32_t partition, HostPort to);

  void kill(HostPort node);  // refuses; what it owes fails at once, as sent
  void silence(HostPort node) { silent_.insert(node); }  // takes everything, says nothing
  void revive(HostPort node);
  // The next requests of that code are answered so, whoever gets them, instead of being done.
  void refuse_next(rpc::TaskCode code, Errc error) { refusals_[code].push_back(error); }
  // The next request of that code does not even leave the client.
  void refuse_unsent_next(rpc::TaskCode code, Errc error) { unsent_[code] = error; }
  // The next request of that code is done, and its connection then breaks before the answer.
  void lose_next_answer(rpc::TaskCode code) { ++lost_answers_[code]; }
  void forget_contexts() { contexts_.clear(); }

  std::map<std::string, std::string> rows;  // by raw key
  int64_t executed_incrs = 0;
  size_t rows_per_batch = 1000;
  std::vector<Recorded> calls;
  int count_calls(rpc::TaskCode code) const;
  int count_calls(HostPort node, rpc::TaskCode code) const;

  // --- rpc::Network ---

  void call(HostPort to, rpc::TaskCode code, const rpc::CallOptions& options, std::string_view args,
            Callback<rpc::Reply> done) override;
  HostPort self() const override { return {0x7F000001, 1}; }

 private:
  struct Pending {
    HostPort node;
    Callback<rpc::Reply> done;
    bool ended = false;
  };
  struct Context {
    std::string next;
    std::string stop;
    bool stop_inclusive = false;
    bool only_count = false;
    int32_t partition = 0;
  };

  void arrive(const std::shared_ptr<Pending>& pending, rpc::TaskCode code, Gpid gpid,
              const std::string& args);
  std::string execute(rpc::TaskCode code, Gpid gpid, const std::string& args);
  std::string execute_scan(rpc::TaskCode code, Gpid gpid, const std::string& args);
  std::string answer_query();
  void end(const std::shared_ptr<Pending>& pending, Duration after, Status status, bool never_sent,
           std::string result);

  sim::SimWorld& world_;
  io::Shard& shard_;
  std::set<HostPort> dead_;
  std::set<HostPort> silent_;
  std::map<rpc::TaskCode, std::deque<Errc>> refusals_;
  std::map<rpc::TaskCode, Errc> unsent_;
  std::map<rpc::TaskCode, int> lost_answers_;
  std::map<int64_t, Context> contexts_;
  int64_t next_context_ = 1;
  std::vector<std::shared_ptr<Pending>> pending_;
};

HostPort node(int n);  // 10.0.0.n:34801
HostPort meta(int n);  // 10.0.1.n:34601

}  // namespace markab::client
