// The meta server around its core: services, followers, relays, storage that fails, pages and
// commands.

#include <gmock/gmock.h>

#include "idl/command_types.h"
#include "idl/duplication_types.h"
#include "server_world.h"

namespace markab::meta {

std::string ServerWorld::command(HostPort to, const std::string& name,
                                 std::vector<std::string> arguments) {
  wire::command request;
  request.cmd = name;
  request.arguments = std::move(arguments);
  std::string answer;
  EXPECT_TRUE(ask(to, rpc::TaskCode::kCliCall, request, answer).ok());
  return answer;
}

namespace {

using rpc::TaskCode;
using testing::HasSubstr;

TEST(MetaServer, ATableIsCreatedStoredAndTold) {
  ServerWorld w;
  w.open();
  EXPECT_EQ(w.create(meta_address(1), "t"), Errc::kOk);
  w.world.run_for(100ms);
  for (int n : {1, 2, 3}) EXPECT_EQ(w.replicas[n]->memberships.size(), 8u);
  EXPECT_EQ(w.disk.tree.count("/apps/1"), 1u);
  EXPECT_EQ(w.disk.tree.count("/apps/1/7"), 1u);
  EXPECT_EQ(w.disk.tree.at("/apps"), "unlock");
  auto response = w.query(meta_address(1), "t");
  EXPECT_EQ(response.err.code, Errc::kOk);
  EXPECT_TRUE(response.is_stateful);
  ASSERT_EQ(response.partitions.size(), 8u);
  EXPECT_EQ(response.partitions[3].hp_primary.node(), response.partitions[3].primary.node)
      << "native: host_port set";
  auto thft =
      w.ask_thft<wire::query_cfg_response>(w.meta(1), TaskCode::kQueryPartitionConfigByIndex, [] {
        wire::query_cfg_request r;
        r.app_name = "t";
        r.partition_indices = {5, 99, 2};
        return r;
      }());
  ASSERT_TRUE(thft.has_value());
  ASSERT_EQ(thft->partitions.size(), 2u) << "those asked for, in their order";
  EXPECT_EQ(Gpid(thft->partitions[0].pid).partition_index, 5);
  EXPECT_FALSE(thft->partitions[0].__isset.hp_primary) << "Thrift header: host_port omitted";
  EXPECT_EQ(w.query(meta_address(1), "none").err.code, Errc::kObjectNotFound);
  EXPECT_FALSE(w.query(meta_address(1), "none").is_stateful);
}

TEST(MetaServer, FailoverAfterAReportTakesMilliseconds) {
  ServerWorld w;
  w.open();
  ASSERT_EQ(w.create(meta_address(1), "t"), Errc::kOk);
  w.replicas[1] = nullptr;
  wire::report_death_request report;
  report.node = replica_address(1);
  report.start_time = 1000;
  wire::report_death_response answer;
  Instant start = w.world.now();
  ASSERT_TRUE(w.ask(meta_address(1), TaskCode::kReportDeath, report, answer).ok());
  EXPECT_EQ(answer.err.code, Errc::kOk);
  auto moved = [&] {
    for (auto& p : w.meta(1).server->core()->find_table("t")->partitions) {
      HostPort primary = p.config.primary;
      if (!primary || primary == replica_address(1)) return false;
      int n = static_cast<int>(primary.ipv4 - 0x0a000000u);
      if (w.replicas[n]->memberships[p.config.pid].ballot < p.config.ballot) return false;
    }
    return true;
  };
  EXPECT_TRUE(w.world.run_until(moved, 1s));
  EXPECT_LT(w.world.now() - start, 50ms);
}

TEST(MetaServer, LeavingEndsWithNoPrimaryLeft) {
  ServerWorld w;
  w.open();
  ASSERT_EQ(w.create(meta_address(1), "t"), Errc::kOk);
  wire::leave_request leave;
  leave.node = replica_address(2);
  leave.start_time = 1000;
  wire::leave_response answer;
  ASSERT_TRUE(w.ask(meta_address(1), TaskCode::kLeave, leave, answer).ok());
  EXPECT_EQ(answer.err.code, Errc::kOk);
  EXPECT_EQ(answer.remaining_primaries, 0);
  EXPECT_GT(w.replicas[2]->step_downs, 0);
  for (auto& p : w.query(meta_address(1), "t").partitions)
    EXPECT_NE(p.primary.node, replica_address(2));
}

TEST(MetaServer, BeaconsAreAcknowledgedByTheLeaderOnly) {
  ServerWorld w;
  w.open();
  w.meta(2);
  w.world.run_for(1s);
  wire::beacon_msg beacon;
  beacon.time = 12345;
  beacon.from_node = replica_address(9);
  beacon.to_node = meta_address(2);
  beacon.__set_start_time(1);
  wire::beacon_ack ack;
  ASSERT_TRUE(w.ask(meta_address(2), TaskCode::kFdPing, beacon, ack).ok());
  EXPECT_FALSE(ack.is_master);
  EXPECT_FALSE(ack.__isset.leadership);
  EXPECT_EQ(ack.primary_node.node, meta_address(1));
  EXPECT_EQ(ack.time, 12345);
  EXPECT_EQ(ack.this_node.node, meta_address(2));
  ASSERT_TRUE(w.ask(meta_address(1), TaskCode::kFdPing, beacon, ack).ok());
  EXPECT_TRUE(ack.is_master);
  EXPECT_TRUE(ack.allowed);
  EXPECT_EQ(w.meta(1).server->core()->alive_nodes(), 4);

  int64_t first = ack.leadership;
  EXPECT_NE(first, 0);
  w.box.elect({});
  w.world.run_for(100ms);
  w.box.elect(meta_address(1));
  w.world.run_for(1s);
  ASSERT_TRUE(w.ask(meta_address(1), TaskCode::kFdPing, beacon, ack).ok());
  EXPECT_TRUE(ack.is_master);
  EXPECT_NE(ack.leadership, first) << "the same server leads another time";
}

TEST(MetaServer, FollowersForwardThriftRequests) {
  ServerWorld w;
  w.open();
  MetaNode& follower = w.meta(2);
  w.world.run_for(100ms);
  wire::query_cfg_request query;
  query.app_name = "none";
  auto cfg =
      w.ask_thft<wire::query_cfg_response>(follower, TaskCode::kQueryPartitionConfigByIndex, query);
  ASSERT_TRUE(cfg.has_value());
  EXPECT_EQ(cfg->err.code, Errc::kForwardToOthers) << "before anything is looked up";
  EXPECT_FALSE(cfg->is_stateful);
  ASSERT_EQ(cfg->partitions.size(), 1u);
  EXPECT_EQ(cfg->partitions[0].primary.node, meta_address(1));
  wire::configuration_recall_app_request recall;
  recall.app_id = 77;
  auto r =
      w.ask_thft<wire::configuration_recall_app_response>(follower, TaskCode::kRecallApp, recall);
  ASSERT_TRUE(r.has_value());
  EXPECT_EQ(r->err.code, Errc::kForwardToOthers);
  auto b = w.ask_thft<wire::configuration_balancer_response>(
      follower, TaskCode::kProposeBalancer, wire::configuration_balancer_request());
  EXPECT_EQ(b->err.code, Errc::kForwardToOthers);
  w.box.elect({});
  w.world.run_for(100ms);
  cfg =
      w.ask_thft<wire::query_cfg_response>(follower, TaskCode::kQueryPartitionConfigByIndex, query);
  EXPECT_EQ(cfg->err.code, Errc::kForwardToOthers);
  EXPECT_TRUE(cfg->partitions.empty())
      << "an element without a primary would be taken as a meta server";
}

TEST(MetaServer, FollowersRelayNativeRequests) {
  ServerWorld w;
  w.open();
  w.meta(2);
  w.world.run_for(100ms);
  EXPECT_EQ(w.create(meta_address(2), "t"), Errc::kOk);
  auto response = w.query(meta_address(2), "t");
  EXPECT_EQ(response.err.code, Errc::kOk);
  ASSERT_EQ(response.partitions.size(), 8u);
  EXPECT_TRUE(response.partitions[0].__isset.hp_primary);
  EXPECT_EQ(w.query(meta_address(2), "none").err.code, Errc::kObjectNotFound);
}

TEST(MetaServer, ARelayWaitsForALeaderButNotForEver) {
  ServerWorld w;
  w.meta(2);
  w.world.run_for(100ms);
  wire::configuration_list_nodes_request request;
  wire::configuration_list_nodes_response response;
  Instant start = w.world.now();
  Status s = w.ask(meta_address(2), TaskCode::kListNodes, request, response);
  EXPECT_EQ(s.code(), Errc::kServiceNotActive);
  EXPECT_GE(w.world.now() - start, 2s);
  EXPECT_LT(w.world.now() - start, 3s);
  w.world.schedule_after(1s, [&] { w.box.elect(meta_address(2)); });
  EXPECT_TRUE(w.ask(meta_address(2), TaskCode::kListNodes, request, response).ok());
  EXPECT_EQ(response.err.code, Errc::kOk);
}

TEST(MetaServer, TwoMetasThatPointAtEachOtherDoNotPlayBall) {
  ServerWorld w;
  w.meta(1);
  w.meta(2);
  w.box.elect(meta_address(2));
  w.world.run_for(100ms);
  // Meta 2 learns that 1 leads; 1 still believes in 2.
  w.box.leader = meta_address(1);
  w.metas[2]->election.tell();
  w.world.run_for(100ms);
  uint64_t before = w.network.messages();
  wire::configuration_list_nodes_request request;
  wire::configuration_list_nodes_response response;
  EXPECT_EQ(w.ask(meta_address(1), TaskCode::kListNodes, request, response).code(),
            Errc::kServiceNotActive);
  EXPECT_LT(w.network.messages() - before, 200u);
}

TEST(MetaServer, RequestsWaitWhileTheLeaderIsLoading) {
  ServerWorld w;
  MetaNode& m = w.meta(1);
  w.box.elect(meta_address(1));
  w.world.run_until([&] { return m.server->core() != nullptr; }, 1s);
  ASSERT_FALSE(m.server->serving());
  EXPECT_EQ(w.query(meta_address(1), "none").err.code, Errc::kObjectNotFound)
      << "loaded in the meantime";
}

TEST(MetaServer, ALeaderThatCannotLoadSaysSo) {
  ServerWorld w;
  w.disk.tree["/apps/1"] = "garbage";
  MetaNode& m = w.meta(1);
  w.box.elect(meta_address(1));
  Instant start = w.world.now();
  EXPECT_EQ(w.query(meta_address(1), "none").err.code, Errc::kServiceNotActive);
  EXPECT_GE(w.world.now() - start, 2s);
  EXPECT_LT(w.world.now() - start, 3s);
  EXPECT_FALSE(m.server->serving());
}

TEST(MetaServer, NothingIsAnsweredBeforeItIsDurable) {
  ServerWorld w;
  w.open();
  w.disk.fail_writes = 3;
  Instant start = w.world.now();
  EXPECT_EQ(w.create(meta_address(1), "t"), Errc::kOk);
  EXPECT_GE(w.world.now() - start, 2s) << "three failures: 100 ms, 1 s, 1 s";
  EXPECT_EQ(w.disk.tree.count("/apps/1/7"), 1u);
}

TEST(MetaServer, AWriteThatFailedAndTookEffectIsHarmless) {
  ServerWorld w;
  w.open();
  w.disk.fail_writes = 2;
  w.disk.applied_though = true;
  EXPECT_EQ(w.create(meta_address(1), "t"), Errc::kOk);
  EXPECT_EQ(w.create(meta_address(1), "t"), Errc::kAppExist);
}

TEST(MetaServer, ANewLeaderGoesOnWhereTheOldOneDiedAtAnyTransaction) {
  for (uint64_t cut = 0; cut < 6; ++cut) {
    SCOPED_TRACE(cut);
    ServerWorld w(cut + 1);
    w.open();
    // Small transactions: the table is created in several.
    w.disk.stop_after = cut;
    wire::configuration_create_app_request request;
    request.app_name = "t";
    request.options.partition_count = 8;
    request.options.replica_count = 3;
    request.options.app_type = "pegasus";
    wire::configuration_create_app_response response;
    (void)w.ask(meta_address(1), TaskCode::kCreateApp, request, response, 300ms);
    bool answered = response.appid != 0;
    w.metas[1] = nullptr;
    w.disk.stop_after.reset();
    w.meta(2);
    w.box.elect(meta_address(2));
    w.world.run_for(3s);
    ASSERT_TRUE(w.meta(2).server->serving());
    const Table* table = w.meta(2).server->core()->find_table("t");
    EXPECT_TRUE(table != nullptr || !answered) << "an answered creation is lost";
    if (table != nullptr) {
      EXPECT_EQ(table->info.status, TableStatus::kAvailable);
    }
    w.meta(2).server->core()->check_invariants();
  }
}

TEST(MetaServer, TheOldLeadersWritesAreFencedOff) {
  ServerWorld w;
  w.open();
  MetaNode& old = w.meta(1);
  w.meta(2);
  w.world.run_for(100ms);
  // Meta 1 does not hear that it lost.
  w.box.leader = meta_address(2);
  w.metas[2]->election.tell();
  w.world.run_for(1s);
  ASSERT_TRUE(w.meta(2).server->serving());
  wire::configuration_create_app_request request;
  request.app_name = "stale";
  request.options.partition_count = 8;
  request.options.replica_count = 3;
  request.options.app_type = "pegasus";
  wire::configuration_create_app_response response;
  EXPECT_EQ(w.ask(old.self, TaskCode::kCreateApp, request, response, 3s).code(), Errc::kTimeout);
  EXPECT_EQ(w.disk.tree.count("/apps/1"), 0u);
}

TEST(MetaServer, LeasesSurviveAChangeOfTheLeader) {
  ServerWorld w;
  w.open();
  ASSERT_EQ(w.create(meta_address(1), "t"), Errc::kOk);
  w.meta(2);
  w.world.run_for(500ms);
  w.metas[1] = nullptr;
  w.box.elect(meta_address(2));
  w.world.run_for(8s);
  MetaCore* core = w.meta(2).server->core();
  ASSERT_NE(core, nullptr);
  EXPECT_EQ(core->alive_nodes(), 3);
  for (auto& p : core->find_table("t")->partitions)
    EXPECT_EQ(p.config.ballot, 1) << "nobody was given up";
}

TEST(MetaServer, WithoutReportTheGracePeriodDecides) {
  ServerWorld w;
  w.open();
  ASSERT_EQ(w.create(meta_address(1), "t"), Errc::kOk);
  w.network.isolate(replica_address(3), {meta_address(1)});
  w.world.run_for(5s);
  EXPECT_EQ(w.meta(1).server->core()->alive_nodes(), 3);
  w.world.run_for(2s);
  EXPECT_EQ(w.meta(1).server->core()->alive_nodes(), 2);
}

TEST(MetaServer, SubsystemsThatAreNotThereSaySo) {
  ServerWorld w;
  w.open();
  wire::duplication_add_response response;
  ASSERT_TRUE(
      w.ask(meta_address(1), TaskCode::kAddDuplication, wire::duplication_add_request(), response)
          .ok());
  EXPECT_EQ(response.err.code, Errc::kServiceNotActive);
  wire::configuration_recovery_response recovery;
  ASSERT_TRUE(w.ask(meta_address(1), TaskCode::kStartRecovery,
                    wire::configuration_recovery_request(), recovery)
                  .ok());
  EXPECT_EQ(recovery.err.code, Errc::kServiceAlreadyRunning);
}

TEST(MetaServer, ClusterInfoHasItsKeysInOrder) {
  ServerWorld w;
  w.open();
  wire::configuration_cluster_info_response info;
  ASSERT_TRUE(w.ask(meta_address(1), TaskCode::kClusterInfo,
                    wire::configuration_cluster_info_request(), info)
                  .ok());
  EXPECT_THAT(info.keys,
              testing::ElementsAre("meta_servers", "primary_meta_server", "zookeeper_hosts",
                                   "zookeeper_root", "meta_function_level",
                                   "balance_operation_count", "primary_replica_count_stddev",
                                   "total_replica_count_stddev", "cluster_name"));
  ASSERT_EQ(info.values.size(), 9u);
  EXPECT_EQ(info.values[0], "10.0.1.1:34601,10.0.1.2:34601");
  EXPECT_EQ(info.values[1], "10.0.1.1:34601");
  EXPECT_EQ(info.values[4], "steady");
  EXPECT_EQ(info.values[6], "0.00");
}

TEST(MetaServer, ListsAndLevels) {
  ServerWorld w;
  w.open();
  ASSERT_EQ(w.create(meta_address(1), "orders"), Errc::kOk);
  ASSERT_EQ(w.create(meta_address(1), "stock"), Errc::kOk);
  wire::configuration_list_apps_request request;
  wire::configuration_list_apps_response response;
  ASSERT_TRUE(w.ask(meta_address(1), TaskCode::kListApps, request, response).ok());
  EXPECT_EQ(response.infos.size(), 2u);
  request.__set_app_name_pattern("st");
  ASSERT_TRUE(w.ask(meta_address(1), TaskCode::kListApps, request, response = {}).ok());
  EXPECT_EQ(response.infos.size(), 2u) << "the pattern counts only together with its type";
  request.__set_match_type(wire::pattern_match_type::PMT_MATCH_PREFIX);
  ASSERT_TRUE(w.ask(meta_address(1), TaskCode::kListApps, request, response = {}).ok());
  ASSERT_EQ(response.infos.size(), 1u);
  EXPECT_EQ(response.infos[0].app_name, "stock");
  request.__set_match_type(wire::pattern_match_type::PMT_MATCH_REGEX);
  ASSERT_TRUE(w.ask(meta_address(1), TaskCode::kListApps, request, response = {}).ok());
  EXPECT_EQ(response.err.code, Errc::kNotImplemented);

  wire::configuration_list_nodes_request nodes;
  nodes.status = wire::node_status::NS_UNALIVE;
  wire::configuration_list_nodes_response listed;
  ASSERT_TRUE(w.ask(meta_address(1), TaskCode::kListNodes, nodes, listed).ok());
  EXPECT_TRUE(listed.infos.empty());

  wire::configuration_meta_control_request control;
  control.level = wire::meta_function_level::fl_lively;
  wire::configuration_meta_control_response controlled;
  ASSERT_TRUE(w.ask(meta_address(1), TaskCode::kControlMeta, control, controlled).ok());
  EXPECT_EQ(controlled.old_level, wire::meta_function_level::fl_steady);
  control.level = wire::meta_function_level::fl_invalid;
  ASSERT_TRUE(w.ask(meta_address(1), TaskCode::kControlMeta, control, controlled = {}).ok());
  EXPECT_EQ(controlled.old_level, wire::meta_function_level::fl_lively) << "only asked";
  EXPECT_EQ(controlled.err.code, Errc::kOk);
}

TEST(MetaServer, Pages) {
  ServerWorld w;
  w.open();
  ASSERT_EQ(w.create(meta_address(1), "t", 4), Errc::kOk);
  MetaNode& leader = w.meta(1);
  auto app = w.get(leader, "meta/app", {{"name", "t"}, {"detail", ""}});
  EXPECT_EQ(app.status, 200);
  EXPECT_THAT(
      app.body,
      HasSubstr(
          R"("general":{"app_name":"t","app_id":"1","partition_count":"4","max_replica_count":"3"})"));
  EXPECT_THAT(app.body, HasSubstr(R"("replica_count":"3/3")"));
  EXPECT_THAT(app.body,
              HasSubstr(R"("total":{"node":"total","primary":"4","secondary":"8","total":"12"})"));
  EXPECT_THAT(app.body, HasSubstr(R"("fully_healthy_partition_count":"4")"));
  EXPECT_EQ(app.body.back(), '\n');
  EXPECT_EQ(w.get(leader, "meta/app", {{"name", "none"}}).status, 404);
  EXPECT_EQ(w.get(leader, "meta/app").status, 400);
  EXPECT_EQ(w.get(leader, "meta/app", {{"name", "t"}, {"x", "1"}}).status, 400);
  EXPECT_THAT(w.get(leader, "meta/apps", {{"detail", ""}}).body,
              HasSubstr(R"("fully_healthy_app_count":"1")"));
  EXPECT_THAT(
      w.get(leader, "meta/nodes").body,
      HasSubstr(
          R"("summary":{"total_node_count":"3","alive_node_count":"3","unalive_node_count":"0"})"));
  EXPECT_THAT(w.get(leader, "meta/cluster").body, HasSubstr(R"("meta_function_level":"steady")"));
  EXPECT_EQ(w.get(leader, "meta/app_envs", {{"name", "t"}}).body, "{}\n");
  EXPECT_THAT(w.get(leader, "envs/list").body, HasSubstr(R"("rocksdb.num_levels")"));
  MetaNode& follower = w.meta(2);
  w.world.run_for(100ms);
  auto moved = w.get(follower, "meta/app", {{"name", "a b"}, {"detail", ""}});
  EXPECT_EQ(moved.status, 307);
  EXPECT_EQ(moved.location, "http://10.0.1.1:34601/meta/app?detail&name=a%20b");
  w.box.elect({});
  w.world.run_for(100ms);
  EXPECT_EQ(w.get(follower, "meta/nodes").status, 503);
}

TEST(MetaServer, Commands) {
  ServerWorld w;
  w.open();
  HostPort m = meta_address(1);
  EXPECT_EQ(w.command(m, "meta.live_percentage"),
            "{\n  \"error\": \"ok\",\n  \"meta.live_percentage\": \"50\"\n}");
  EXPECT_THAT(w.command(m, "meta.live_percentage", {"101"}),
              HasSubstr("ERR: invalid argument '101'"));
  EXPECT_EQ(w.command(m, "meta.live_percentage", {"60"}), "{\n  \"error\": \"ok\"\n}");
  EXPECT_EQ(w.meta(1).server->core()->options().live_percentage, 60);
  EXPECT_THAT(w.command(m, "meta.live_percentage", {"default"}),
              HasSubstr("\"meta.live_percentage\": 50"));
  w.command(m, "meta.lb.assign_secondary_black_list", {"10.0.0.1:34801,10.0.0.2:34801"});
  EXPECT_THAT(w.command(m, "meta.lb.assign_secondary_black_list"),
              HasSubstr("10.0.0.1:34801,10.0.0.2:34801"));
  w.command(m, "meta.lb.assign_secondary_black_list", {"clear"});
  EXPECT_TRUE(w.meta(1).server->core()->options().black_list.empty());
  EXPECT_THAT(w.command(m, "meta.lb.add_secondary_enable_flow_control", {"TRUE"}), HasSubstr("ok"));
  EXPECT_TRUE(w.meta(1).server->core()->options().flow_control);
  EXPECT_THAT(w.command(m, "meta.forget_node", {"10.0.0.1:34801"}), HasSubstr("is alive"));
  w.command(m, "meta.lb.ignored_app_list", {"set", "3,1"});
  EXPECT_EQ(w.command(m, "meta.lb.ignored_app_list", {"get"}), R"({"ignored_app_id_list":"1,3"})");
  EXPECT_THAT(w.command(m, "meta.lb.ignored_app_list", {"set", "x"}), HasSubstr("ERR"));
  EXPECT_EQ(w.command(m, "meta.lb.get_balance_operation_count"), "{\n  \"total\": -1\n}");
  EXPECT_EQ(w.command(m, "nonsense"), "unknown command 'nonsense'");
}

TEST(MetaServer, StopLetsTheNextOneLead) {
  ServerWorld w;
  w.open();
  bool stopped = false;
  w.meta(1).runtime.shard(0).post([&] { w.meta(1).server->stop([&] { stopped = true; }); });
  EXPECT_TRUE(w.world.run_until([&] { return stopped; }, 1s));
  EXPECT_EQ(w.box.candidates.size(), 0u);
}

TEST(MetaServer, MetricsTellTheHealth) {
  ServerWorld w;
  w.open();
  ASSERT_EQ(w.create(meta_address(1), "t", 4), Errc::kOk);
  w.world.run_for(2s);
  std::map<std::string, int64_t> seen;
  for (auto& entity : w.meta(1).registry.entities()) {
    entity->for_each([&](const MetricEntity::Item& item) {
      if (item.info.name.find("partitions") != std::string::npos ||
          item.info.name.find("replica_servers") != std::string::npos) {
        seen[entity->id + " " + item.info.name] = item.value();
      }
    });
  }
  EXPECT_EQ(seen["table@1 healthy_partitions"], 4);
  EXPECT_EQ(seen["table@1 dead_partitions"], 0);
  EXPECT_EQ(seen["server alive_replica_servers"], 3);
}

}  // namespace
}  // namespace markab::meta
