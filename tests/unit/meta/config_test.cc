// The meta server's options as read from a configuration.

#include <gtest/gtest.h>

#include "meta/config_keys.h"

namespace markab::meta {
namespace {

const HostPort kSelf{0x7f000001, 34601};

std::shared_ptr<Config> parse(const std::string& text) {
  auto keys = meta_config_keys();
  keys.push_back(ConfigKey::text("replication", "cluster_name", "markab", "the cluster"));
  auto config = Config::parse(text, "test.ini", keys);
  EXPECT_TRUE(config.has_value()) << config.error().message();
  return *config;
}

TEST(MetaConfig, TheDefaultsFitTogether) {
  auto config = parse("");
  auto options = read_meta_options(*config, kSelf);
  ASSERT_TRUE(options.has_value()) << options.error().message();
  EXPECT_EQ(options->core.lease, std::chrono::seconds(5));
  EXPECT_EQ(options->core.grace, std::chrono::seconds(6));
  EXPECT_EQ(options->core.min_live_nodes, 1);
  EXPECT_EQ(options->core.live_percentage, 50);
  EXPECT_EQ(options->self, kSelf);
}

TEST(MetaConfig, ContradictionsAreRefusedWithARemedy) {
  for (const char* text :
       {"[replication]\nfd_grace_seconds = 5\n",
        "[meta_server]\nmin_allowed_replica_count = 4\nmax_allowed_replica_count = 3\n",
        "[meta_server]\nreplica_white_list = here\n", "[meta_server]\nserver_list = meta1:34601\n",
        "[meta_server]\nmeta_state_service_type = meta_state_service_zookeeper\n",
        "[meta_server]\nrecover_from_replica_server = true\n"}) {
    auto config = parse(text);
    auto options = read_meta_options(*config, kSelf);
    ASSERT_FALSE(options.has_value()) << text;
    EXPECT_EQ(options.error().code(), Errc::kInvalidParameters);
    EXPECT_FALSE(options.error().message().empty());
  }
}

TEST(MetaConfig, MutableKeysActAtOnce) {
  auto config = parse("");
  auto options = read_meta_options(*config, kSelf);
  ASSERT_TRUE(options.has_value());
  ASSERT_TRUE(config->set("max_allowed_replica_count", "7").ok());
  CoreOptions core = options->core;
  options->refresh(core);
  EXPECT_EQ(core.max_replica_count, 7);
}

}  // namespace
}  // namespace markab::meta
