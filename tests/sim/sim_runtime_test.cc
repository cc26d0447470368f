#include "sim/sim_runtime.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace markab::sim {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;

TEST(SimRuntime, RunsPostsInOrderAndTimersAtTheirTime) {
  SimWorld world(1);
  SimRuntime node(world, "r1", {});
  std::vector<std::string> order;
  Instant start = world.now();
  auto late = node.shard(0).after(milliseconds(20), [&] { order.push_back("late"); });
  auto soon = node.shard(0).after(milliseconds(10), [&] { order.push_back("soon"); });
  auto never = node.shard(0).after(milliseconds(15), [&] { order.push_back("never"); });
  node.shard(0).post([&] { order.push_back("a"); });
  node.shard(0).post([&] { order.push_back("b"); });
  never.cancel();
  world.run_until_idle();
  EXPECT_THAT(order, ElementsAre("a", "b", "soon", "late"));
  EXPECT_EQ(world.now() - start, milliseconds(20));
}

TEST(SimRuntime, BlockingWorkRunsLaterAndThenItsDoneOnTheHomeShard) {
  SimWorld world(1);
  SimRuntime::Options options;
  options.shards = 2;
  SimRuntime node(world, "r1", options);
  std::vector<std::string> order;
  node.shard(0).post([&] {
    node.blocking().run(
        node.shard(1),
        [&] {
          EXPECT_FALSE(node.shard(1).in_thread());
          order.push_back("work");
        },
        [&] {
          EXPECT_TRUE(node.shard(1).in_thread());
          EXPECT_FALSE(node.shard(0).in_thread());
          order.push_back("done");
        });
    order.push_back("asked");
  });
  Instant start = world.now();
  world.run_until_idle();
  EXPECT_THAT(order, ElementsAre("asked", "work", "done"));
  EXPECT_GE(world.now() - start, options.min_blocking_latency);
  EXPECT_LE(world.now() - start, options.max_blocking_latency);
}

TEST(SimRuntime, KillDropsTasksTimersAndWorkOfThatNodeOnly) {
  SimWorld world(1);
  SimRuntime dying(world, "r1", {}), living(world, "r2", {});
  int died = 0, lived = 0;
  auto held = std::make_shared<int>(0);
  dying.shard(0).post([&, held] { ++died; });
  auto timer = dying.shard(0).after(milliseconds(1), [&, held] { ++died; });
  dying.blocking().run(
      dying.shard(0), [&, held] { ++died; }, [&, held] { ++died; });
  living.shard(0).post([&] { ++lived; });
  EXPECT_GT(held.use_count(), 1);
  dying.kill();
  EXPECT_EQ(held.use_count(), 1) << "the closures of a killed node are destroyed at once";
  dying.shard(0).post([&] { ++died; });
  world.run_until_idle();
  EXPECT_EQ(died, 0);
  EXPECT_EQ(lived, 1);
}

TEST(SimRuntime, APausedNodeRunsNothingAndCatchesUpInOrder) {
  SimWorld world(1);
  SimRuntime node(world, "r1", {});
  std::vector<int> order;
  node.pause();
  auto timer = node.shard(0).after(milliseconds(5), [&] { order.push_back(2); });
  auto cancelled = node.shard(0).after(milliseconds(6), [&] { order.push_back(9); });
  node.shard(0).post([&] { order.push_back(1); });
  world.run_for(seconds(1));
  EXPECT_TRUE(order.empty());
  cancelled.cancel();
  node.resume();
  node.shard(0).post([&] { order.push_back(3); });
  world.run_until_idle();
  EXPECT_THAT(order, ElementsAre(1, 2, 3));
}

TEST(SimRuntime, ADriftingClockFiresItsTimersByItsOwnTime) {
  SimWorld world(1);
  SimRuntime::Options fast;
  fast.clock_drift_ppm = 100'000;  // 10 % fast
  fast.wall_offset_us = 7;
  SimRuntime node(world, "r1", fast), right(world, "r2", {});
  Instant world_start = world.now();
  Instant local_start = node.now();
  Instant fired_local, fired_world;
  auto timer = node.shard(0).after(seconds(11), [&] {
    fired_local = node.now();
    fired_world = world.now();
  });
  EXPECT_EQ(node.wall_us(), right.wall_us() + 7);
  world.run_until_idle();
  EXPECT_EQ(fired_world - world_start, seconds(10));
  EXPECT_EQ(fired_local - local_start, seconds(11));
  node.set_clock_drift_ppm(-500'000);
  EXPECT_EQ(node.now(), fired_local);
  world.run_for(seconds(10));
  EXPECT_EQ(node.now() - fired_local, seconds(5));
}

boost::asio::awaitable<void> two_hops(io::Shard& a, io::Shard& b, std::vector<int>& trace) {
  trace.push_back(a.in_thread() ? 0 : -1);
  co_await boost::asio::post(b.executor(), boost::asio::use_awaitable);
  trace.push_back(1);
  co_await boost::asio::post(a.executor(), boost::asio::use_awaitable);
  trace.push_back(2);
}

TEST(SimRuntime, CoroutinesRunAsEvents) {
  SimWorld world(1);
  SimRuntime::Options options;
  options.shards = 2;
  SimRuntime node(world, "r1", options);
  std::vector<int> trace;
  boost::asio::co_spawn(node.shard(0).executor(), two_hops(node.shard(0), node.shard(1), trace),
                        boost::asio::detached);
  EXPECT_TRUE(trace.empty());
  world.run_until_idle();
  EXPECT_THAT(trace, ElementsAre(0, 1, 2));
}

TEST(SimRuntime, KillDestroysSuspendedCoroutines) {
  SimWorld world(1);
  SimRuntime node(world, "r1", {});
  auto held = std::make_shared<int>(0);
  boost::asio::co_spawn(
      node.shard(0).executor(),
      [](io::Shard& shard, std::shared_ptr<int> mine) -> boost::asio::awaitable<void> {
        for (;;) {
          co_await boost::asio::post(shard.executor(), boost::asio::use_awaitable);
          ++*mine;
        }
      }(node.shard(0), held),
      boost::asio::detached);
  for (int i = 0; i < 20; ++i) world.step();
  EXPECT_GT(*held, 5);
  node.kill();
  EXPECT_EQ(held.use_count(), 1);
  EXPECT_FALSE(world.step());
}

// Three nodes that post to each other with chance on every step: the whole history hangs on the
// seed alone.
uint64_t history(uint64_t seed) {
  SimWorld world(seed);
  SimRuntime::Options options;
  options.max_task_delay = std::chrono::microseconds(30);
  std::vector<std::unique_ptr<SimRuntime>> nodes;
  for (int i = 0; i < 3; ++i) nodes.push_back(std::make_unique<SimRuntime>(world, "r", options));
  Function<void(int)> hop = [&](int left) {
    if (left == 0) return;
    auto& node = *nodes[world.random().below(3)];
    if (world.random().chance(0.5)) {
      node.shard(0).post([&hop, left] { hop(left - 1); });
    } else {
      node.blocking().run(
          node.shard(0), [] {}, [&hop, left] { hop(left - 1); });
    }
  };
  for (int i = 0; i < 5; ++i) hop(100);
  world.run_until_idle();
  return world.fingerprint();
}

TEST(SimRuntime, ASeedReplaysExactly) {
  EXPECT_EQ(history(7), history(7));
  EXPECT_NE(history(7), history(8));
}

}  // namespace
}  // namespace markab::sim
