#pragma once
// Meta servers and pretended replica servers in a simulated world: one virtual clock, a network
// that can be cut, a store that can fail.

#include <gtest/gtest.h>

#include "idl/fd_types.h"
#include "idl/markab_types.h"
#include "idl/meta_admin_types.h"
#include "meta/memory_store.h"
#include "meta/meta_server.h"
#include "rpc/codec.h"
#include "sim/sim_network.h"
#include "sim/sim_runtime.h"

namespace markab::meta {

using namespace std::chrono_literals;

inline HostPort meta_address(int n) {
  return HostPort{0x0a000100u + static_cast<uint32_t>(n), 34601};
}
inline HostPort replica_address(int n) {
  return HostPort{0x0a000000u + static_cast<uint32_t>(n), 34801};
}

// Who leads is what the test says.
class ElectionBox {
 public:
  struct Candidate final : Election {
    Candidate(ElectionBox& box, io::Shard& shard, HostPort self)
        : box(box), shard(shard), self(self) {}
    ~Candidate() override { std::erase(box.candidates, this); }
    void start(Callback<Standing> f) override {
      on_change = std::make_shared<Callback<Standing>>(std::move(f));
      box.candidates.push_back(this);
      tell();
    }
    void stop(Task done) override {
      on_change = nullptr;
      std::erase(box.candidates, this);
      shard.post(std::move(done));
    }
    void tell() {
      shard.post([f = on_change, s = Standing{box.leader == self, box.leader}] {
        if (f) (*f)(s);
      });
    }
    ElectionBox& box;
    io::Shard& shard;
    HostPort self;
    std::shared_ptr<Callback<Standing>> on_change;
  };
  void elect(HostPort who) {
    leader = who;
    for (Candidate* c : candidates) c->tell();
  }
  HostPort leader;
  std::vector<Candidate*> candidates;
};

struct MetaNode {
  MetaNode(sim::SimWorld& world, sim::SimNetwork& network, ElectionBox& box, MemoryDisk& disk,
           HostPort self, MetaOptions options)
      : self(self),
        network(network),
        runtime(world, "meta", {}),
        out(network.make(self, runtime, 0)),
        store(runtime.shard(0), disk),
        election(box, runtime.shard(0), self) {
    options.self = self;
    server = MetaServer::start({runtime.shard(0), *out, store, election, registry}, options,
                               dispatcher, http, commands);
    commands.serve(dispatcher);
    network.up(self, runtime, dispatcher);
  }
  ~MetaNode() {
    network.down(self);
    runtime.kill();
    server.reset();
  }
  HostPort self;
  sim::SimNetwork& network;
  sim::SimRuntime runtime;
  std::unique_ptr<rpc::Network> out;
  MemoryStore store;
  ElectionBox::Candidate election;
  MetricRegistry registry;
  rpc::Dispatcher dispatcher;
  rpc::HttpRouter http;
  rpc::RemoteCommands commands;
  std::unique_ptr<MetaServer> server;
};

// Beacons and confirms; remembers what it was told.
struct ReplicaNode {
  ReplicaNode(sim::SimWorld& world, sim::SimNetwork& network, HostPort self,
              std::vector<HostPort> metas, int64_t start)
      : self(self),
        network(network),
        metas(std::move(metas)),
        start_time(start),
        runtime(world, "replica", {}),
        out(network.make(self, runtime, 0)) {
    dispatcher.on(rpc::TaskCode::kConfigProposal, [this](rpc::Request r) {
      wire::configuration_update_request told;
      ASSERT_TRUE(rpc::decode_args(r.args, told).ok());
      memberships[told.config.pid] = told.config;
      ++proposals;
      r.reply({});
    });
    dispatcher.on(rpc::TaskCode::kStepDown, [this](rpc::Request r) {
      wire::step_down_response response;
      response.last_committed_decree = 5;
      ++step_downs;
      r.reply(rpc::encode_result(response));
    });
    network.up(self, runtime, dispatcher);
    runtime.shard(0).post([this] { beat(); });
  }
  ~ReplicaNode() {
    network.down(self);
    runtime.kill();
  }
  void beat() {
    timer = runtime.shard(0).after(500ms, [this] { beat(); });
    wire::beacon_msg beacon;
    beacon.from_node = self;
    beacon.__set_start_time(start_time);
    rpc::CallOptions options;
    options.timeout = 400ms;
    for (HostPort meta : metas) {
      out->call(
          meta, rpc::TaskCode::kFdPing, options, rpc::encode_args(beacon),
          [this](rpc::Reply reply) {
            wire::beacon_ack ack;
            if (!reply.status.ok() || !rpc::decode_result(reply.result, ack).ok() || !ack.is_master)
              return;
            if (ack.allowed) last_ack = runtime.shard(0).now();
          });
    }
  }
  HostPort self;
  sim::SimNetwork& network;
  std::vector<HostPort> metas;
  int64_t start_time;
  sim::SimRuntime runtime;
  std::unique_ptr<rpc::Network> out;
  rpc::Dispatcher dispatcher;
  io::TimerHandle timer;
  std::map<Gpid, wire::partition_configuration> memberships;
  int proposals = 0;
  int step_downs = 0;
  Instant last_ack;
};

class ServerWorld {
 public:
  explicit ServerWorld(uint64_t seed = 1) : world(seed), network(world) {
    options.server_list = {"10.0.1.1:34601", "10.0.1.2:34601"};
    options.cluster_name = "test";
    client_runtime = std::make_unique<sim::SimRuntime>(world, "client", sim::SimRuntime::Options{});
    client = network.make(HostPort{0x0a000200, 5000}, *client_runtime, 0);
  }
  MetaNode& meta(int n) {
    auto& slot = metas[n];
    if (!slot)
      slot = std::make_unique<MetaNode>(world, network, box, disk, meta_address(n), options);
    return *slot;
  }
  ReplicaNode& replica(int n, int64_t start = 1000) {
    auto& slot = replicas[n];
    slot = nullptr;
    slot = std::make_unique<ReplicaNode>(world, network, replica_address(n),
                                         std::vector<HostPort>{meta_address(1), meta_address(2)},
                                         start);
    return *slot;
  }
  // One meta that leads and three replica servers.
  void open() {
    meta(1);
    box.elect(meta_address(1));
    for (int n : {1, 2, 3}) replica(n);
    world.run_for(1s);
    ASSERT_TRUE(meta(1).server->serving());
    ASSERT_EQ(meta(1).server->core()->alive_nodes(), 3);
  }

  // A native request from outside; the status is the envelope's.
  template <typename Response, typename Argument>
  Status ask(HostPort to, rpc::TaskCode code, const Argument& argument, Response& response,
             Duration limit = 10s) {
    std::optional<Status> result;
    rpc::CallOptions call;
    call.timeout = limit;
    client_runtime->shard(0).post([&] {
      client->call(to, code, call, rpc::encode_args(argument), [&](rpc::Reply reply) {
        result = reply.status;
        if (reply.status.ok()) result = rpc::decode_result(reply.result, response);
      });
    });
    world.run_until([&] { return result.has_value(); }, limit + 1s);
    return result.value_or(Status(Errc::kTimeout, "the test waited in vain"));
  }
  // A Thrift-header request straight into a meta's dispatcher.
  template <typename Response, typename Argument>
  std::optional<Response> ask_thft(MetaNode& meta, rpc::TaskCode code, const Argument& argument) {
    struct Sink final : rpc::ReplySink {
      void reply(const rpc::RequestHeader&, std::string_view, Errc e,
                 std::string_view result) override {
        error = e;
        text = result;
      }
      HostPort peer() const override { return HostPort{0x0a000201, 7}; }
      const std::string& user() const override { return nobody; }
      bool wants_host_port() const override { return false; }
      std::optional<Errc> error;
      std::string text;
      std::string nobody;
    };
    auto sink = std::make_shared<Sink>();
    std::string args = rpc::encode_args(argument);
    rpc::RequestHeader header;
    header.code = code;
    header.kind = rpc::HeaderKind::kThft0;
    auto request =
        std::make_shared<rpc::Request>(header, rpc::task_name(code), args, nullptr, sink);
    meta.runtime.shard(0).post([&meta, request] { meta.dispatcher.dispatch(std::move(*request)); });
    world.run_until([&] { return sink->error.has_value(); }, 10s);
    if (!sink->error || *sink->error != Errc::kOk) return std::nullopt;
    Response response;
    if (!rpc::decode_result(sink->text, response).ok()) return std::nullopt;
    return response;
  }
  Errc create(HostPort to, const std::string& name, int32_t partitions = 8) {
    wire::configuration_create_app_request request;
    request.app_name = name;
    request.options.partition_count = partitions;
    request.options.replica_count = 3;
    request.options.app_type = "pegasus";
    request.options.is_stateful = true;
    wire::configuration_create_app_response response;
    Status s = ask(to, rpc::TaskCode::kCreateApp, request, response);
    return s.ok() ? response.err.code : s.code();
  }
  wire::query_cfg_response query(HostPort to, const std::string& name) {
    wire::query_cfg_request request;
    request.app_name = name;
    wire::query_cfg_response response;
    EXPECT_TRUE(ask(to, rpc::TaskCode::kQueryPartitionConfigByIndex, request, response).ok());
    return response;
  }
  std::string command(HostPort to, const std::string& name,
                      std::vector<std::string> arguments = {});
  rpc::HttpResponse get(MetaNode& meta, const std::string& path,
                        std::map<std::string, std::string> query = {}) {
    std::optional<rpc::HttpResponse> result;
    rpc::HttpRequest request;
    request.path = path;
    request.query = std::move(query);
    meta.http.route(std::move(request), [&](rpc::HttpResponse r) { result = std::move(r); });
    world.run_until([&] { return result.has_value(); }, 5s);
    return result.value_or(rpc::HttpResponse{});
  }

  sim::SimWorld world;
  sim::SimNetwork network;
  ElectionBox box;
  MemoryDisk disk;
  MetaOptions options;
  std::map<int, std::unique_ptr<MetaNode>> metas;
  std::map<int, std::unique_ptr<ReplicaNode>> replicas;
  std::unique_ptr<sim::SimRuntime> client_runtime;
  std::unique_ptr<rpc::Network> client;
};

}  // namespace markab::meta
