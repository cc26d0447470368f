// The paths that every daemon answers, through the router alone.

#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "rpc/http.h"
#include "rpc/http_session.h"
#include "rpc/process_metrics.h"

namespace markab::rpc {
namespace {

namespace json = boost::json;

class HttpPathsTest : public ::testing::Test {
 protected:
  HttpPathsTest() {
    std::vector<ConfigKey> keys;
    keys.push_back(ConfigKey::integer("replication", "rounds", 3, 1, 10, "How many rounds")
                       .mutable_at_run_time());
    keys.push_back(ConfigKey::boolean("core", "fixed", true, "Cannot be changed"));
    auto parsed = Config::parse("", "none", std::move(keys));
    EXPECT_TRUE(parsed);
    config_ = *parsed;
    add_standard_paths(router_, {"onebox", "replica", "127.0.0.1", 34801}, *config_, registry_,
                       [this] { return wall_us_; });
    replica_ =
        registry_.entity("replica", "replica@2.0", {{"table_id", "2"}, {"partition_id", "0"}});
    replica_->counter({"get_requests", "Requests", "GET requests"}).add(12);
    replica_->gauge({"inflight", "Requests", "In flight"}).set(4);
    auto& latency = replica_->histogram({"get_latency_ns", "NanoSeconds", "Latency of GET"});
    for (int i = 1; i <= 100; ++i) latency.record(i);
    disk_ = registry_.entity("disk", "disk@tag", {{"tag", "tag"}});
    disk_->gauge({"disk_capacity", "MegaBytes", "Capacity"}).set(7);
  }
  HttpResponse get(std::string_view target, bool post = false) {
    auto request = parse_target(target);
    EXPECT_TRUE(request) << target;
    request->is_post = post;
    HttpResponse out;
    router_.route(std::move(*request), [&](HttpResponse response) { out = std::move(response); });
    return out;
  }
  json::value get_json(std::string_view target) { return json::parse(get(target).body); }

  HttpRouter router_;
  std::shared_ptr<Config> config_;
  MetricRegistry registry_;
  std::shared_ptr<MetricEntity> replica_, disk_;
  int64_t wall_us_ = 1700000000000000;
};

TEST_F(HttpPathsTest, Metrics) {
  json::value body = get_json("/metrics");
  EXPECT_EQ(body.at("cluster"), "onebox");
  EXPECT_EQ(body.at("role"), "replica");
  EXPECT_EQ(body.at("host"), "127.0.0.1");
  EXPECT_EQ(body.at("port").to_number<int>(), 34801);
  EXPECT_EQ(body.at("timestamp_ns").to_number<int64_t>(), 1700000000000000000);
  ASSERT_EQ(body.at("entities").as_array().size(), 2u);
  EXPECT_EQ(
      json::serialize(body.at("entities").at(0)),
      R"({"type":"replica","id":"replica@2.0","attributes":{"partition_id":"0","table_id":"2"},"metrics":[)"
      R"({"name":"get_requests","value":12},{"name":"inflight","value":4},)"
      R"({"name":"get_latency_ns","p50":51,"p90":91,"p95":95,"p99":99,"p999":100}]})");
}

TEST_F(HttpPathsTest, MetricFilters) {
  auto count = [&](std::string_view target) {
    return get_json(target).at("entities").as_array().size();
  };
  EXPECT_EQ(count("/metrics?types=disk"), 1u);
  EXPECT_EQ(count("/metrics?types=disk,replica&ids="), 2u);
  EXPECT_EQ(count("/metrics?ids=replica@2.0"), 1u);
  EXPECT_EQ(count("/metrics?ids=replica@2.1"), 0u);
  EXPECT_EQ(count("/metrics?attributes=table_id,2,tag,nope"), 1u);
  EXPECT_EQ(count("/metrics?metrics=get_requests"), 1u);
  EXPECT_EQ(count("/metrics?with_metric_fields=p99"),
            1u);  // the disk has no percentile: left out whole
  EXPECT_EQ(
      json::serialize(get_json("/metrics?metrics=get_requests&detail=true&types=replica")
                          .at("entities")
                          .at(0)
                          .at("metrics")),
      R"([{"name":"get_requests","type":"Counter","unit":"Requests","desc":"GET requests","value":12}])");
  EXPECT_EQ(json::serialize(
                get_json("/metrics?with_metric_fields=name,p99&detail=true&metrics=get_latency_ns")
                    .at("entities")
                    .at(0)
                    .at("metrics")),
            R"([{"name":"get_latency_ns","p99":99}])");
  HttpResponse odd = get("/metrics?attributes=a,b,c");
  EXPECT_EQ(odd.status, 400);
  EXPECT_NE(odd.body.find("error_message"), std::string::npos);
  EXPECT_EQ(get("/metrics?nonsense=1").body, "{\"error_message\":\"unknown field nonsense=1\"}\n");
  EXPECT_EQ(get("/metrics", true).status, 400);
}

TEST_F(HttpPathsTest, Prometheus) {
  HttpResponse response = get("/metrics/prometheus");
  EXPECT_NE(response.content_type.find("version=0.0.4"), std::string::npos);
  EXPECT_NE(response.body.find("# TYPE markab_get_requests_total counter"), std::string::npos)
      << response.body;
  EXPECT_NE(response.body.find(
                "markab_get_requests_total{partition_id=\"0\",table_id=\"2\",cluster=\"onebox\","
                "role=\"replica\",instance=\"127.0.0.1:34801\"} 12"),
            std::string::npos)
      << response.body;
  EXPECT_NE(response.body.find("markab_get_latency_ns_count"), std::string::npos);
  EXPECT_NE(response.body.find("quantile=\"0.99\""), std::string::npos);
}

TEST_F(HttpPathsTest, Configuration) {
  json::value all = get_json("/configs");
  EXPECT_EQ(
      json::serialize(all.at("rounds")),
      R"({"name":"rounds","section":"replication","type":"FV_INT64","tags":"flag_tag::FT_MUTABLE",)"
      R"("description":"How many rounds","value":"3"})");
  EXPECT_EQ(get_json("/config?name=fixed").at("tags"), "");
  EXPECT_EQ(get("/config?name=none").body, "ERR_OBJECT_NOT_FOUND: 'none' is not found");
  EXPECT_EQ(get("/config?name=none").status, 200);
  EXPECT_EQ(get("/config").status, 400);
  EXPECT_EQ(get("/configs?x=1").status, 400);
  EXPECT_EQ(get("/updateConfig?rounds=5").body, "{\"update_status\":\"ERR_OK\"}\n");
  EXPECT_EQ(config_->get_int("replication", "rounds"), 5);
  EXPECT_NE(get("/updateConfig?rounds=50").body.find("ERR_INVALID_PARAMETERS"), std::string::npos);
  EXPECT_NE(get("/updateConfig?fixed=false").body.find("ERR_OPERATION_DISABLED"),
            std::string::npos);
  EXPECT_NE(get("/updateConfig?nobody=1").body.find("ERR_OBJECT_NOT_FOUND"), std::string::npos);
  EXPECT_NE(get("/updateConfig").body.find("ERR_INVALID_PARAMETERS"), std::string::npos);
  EXPECT_NE(get("/updateConfig?rounds=1&fixed=0").body.find("ERR_INVALID_PARAMETERS"),
            std::string::npos);
}

TEST_F(HttpPathsTest, AboutTheProcess) {
  EXPECT_FALSE(get_json("/version").at("Version").as_string().empty());
  EXPECT_EQ(get_json("/recentStartTime").at("RecentStartTime").as_string().size(), 19u);
  json::value help = get_json("/");
  for (const char* path : {"/", "/version", "/configs", "/config", "/updateConfig", "/metrics",
                           "/metrics/prometheus"}) {
    EXPECT_TRUE(help.as_object().contains(path)) << path;
  }
  auto entity = process_metrics(registry_);
  EXPECT_EQ(process_metrics(registry_), entity);
  entity->for_each(
      [](const MetricEntity::Item& item) { EXPECT_GT(item.value(), 0) << item.info.name; });
}

TEST(HttpTarget, IsSplitFirstAndDecodedAfter) {
  auto request = parse_target("//meta///app/?name=a%26b%3D&x=%2f&flag&&y=#frag");
  ASSERT_TRUE(request);
  EXPECT_EQ(request->path, "meta/app");
  EXPECT_EQ(request->query, (std::map<std::string, std::string>{
                                {"name", "a&b="}, {"x", "/"}, {"flag", ""}, {"y", ""}}));
  EXPECT_FALSE(parse_target("/x?a=%2"));
  EXPECT_FALSE(parse_target("/%zz"));
  EXPECT_FALSE(parse_target("/x?a=1&a=2"));
  EXPECT_EQ(parse_target("")->path, "");
}

}  // namespace
}  // namespace markab::rpc
