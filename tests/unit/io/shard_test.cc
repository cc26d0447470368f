#include "io/shard.h"

#include <gtest/gtest.h>

#include <atomic>
#include <barrier>
#include <filesystem>
#include <future>
#include <thread>

namespace markab::io {
namespace {

TEST(RealShard, RunsTasksInOrderOnItsThread) {
  RealRuntime runtime({2, 1});
  std::vector<int> order;
  std::promise<void> last;
  runtime.run_and_wait(1, [&] {
    EXPECT_TRUE(runtime.shard(1).in_thread());
    EXPECT_FALSE(runtime.shard(0).in_thread());
    for (int i = 0; i < 3; ++i) runtime.shard(1).post([&order, i] { order.push_back(i); });
    // Also from here: what another thread posts meanwhile may come first.
    runtime.shard(1).post([&] { last.set_value(); });
  });
  last.get_future().wait();
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2}));
}

TEST(RealShard, TimersFireOnceAndNotBeforeTheirTime) {
  RealRuntime runtime({1, 1});
  std::promise<Duration> fired;
  TimerHandle timer;
  auto& shard = runtime.shard(0);
  runtime.run_and_wait(0, [&] {
    auto start = shard.now();
    timer = shard.after(std::chrono::milliseconds(20),
                        [&, start] { fired.set_value(shard.now() - start); });
  });
  EXPECT_GE(fired.get_future().get(), std::chrono::milliseconds(20));
  runtime.run_and_wait(0, [&] { timer.cancel(); });
}

TEST(RealShard, ACancelledTimerFreesItsTaskAtOnceAndNeverRuns) {
  RealRuntime runtime({1, 1});
  auto& shard = runtime.shard(0);
  auto watched = std::make_shared<int>(0);
  runtime.run_and_wait(0, [&] {
    auto timer = shard.after(Duration(0), [watched] { ++*watched; });
    timer.cancel();
    EXPECT_EQ(watched.use_count(), 1);
  });
  runtime.run_and_wait(0, [] {});
  EXPECT_EQ(*watched, 0);
}

TEST(BlockingPool, WorkRunsElsewhereAndDoneAtHome) {
  RealRuntime runtime({1, 1});
  std::promise<void> finished;
  bool worked_elsewhere = false;
  runtime.run_and_wait(0, [&] {
    runtime.blocking().run(
        runtime.shard(0), [&] { worked_elsewhere = !runtime.shard(0).in_thread(); },
        [&] {
          EXPECT_TRUE(runtime.shard(0).in_thread());
          finished.set_value();
        });
  });
  finished.get_future().wait();
  EXPECT_TRUE(worked_elsewhere);
}

// All of them at once, and never more.
TEST(BlockingPool, UsesItsThreadsUpToTheBound) {
  constexpr int kThreads = 3;
  constexpr int kJobs = 60;
  RealRuntime runtime({1, kThreads});
  std::barrier all_at_once(kThreads);
  std::atomic<int> at_work{0};
  std::atomic<int> most{0};
  int done = 0;  // of the shard
  std::promise<void> finished;
  for (int i = 0; i < kJobs; ++i) {
    runtime.blocking().run(
        runtime.shard(0),
        [&] {
          int now = ++at_work;
          for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
          }
          all_at_once.arrive_and_wait();
          --at_work;
        },
        [&] {
          if (++done == kJobs) finished.set_value();
        });
  }
  finished.get_future().wait();
  EXPECT_EQ(most, kThreads);
}

TEST(BlockingPool, KeepsNoThreadsWithoutWork) {
  auto threads = [] {
    auto tasks = std::filesystem::directory_iterator("/proc/self/task");
    return std::distance(begin(tasks), end(tasks));
  };
  RealRuntime runtime({1, 4});
  auto before = threads();
  auto run_one = [&] {
    std::promise<void> finished;
    runtime.blocking().run(
        runtime.shard(0), [] {}, [&] { finished.set_value(); });
    finished.get_future().wait();
  };
  run_one();
  EXPECT_GT(threads(), before);
  while (threads() != before) std::this_thread::yield();  // ctest ends it when this never comes
  run_one();
}

TEST(AfterAllShards, WaitsForTheTaskThatEachShardIsIn) {
  RealRuntime runtime({3, 1});
  std::promise<void> release;
  auto released = release.get_future().share();
  std::atomic<bool> shard_busy{true};
  std::promise<void> entered;
  runtime.shard(2).post([&] {
    entered.set_value();
    released.wait();
    shard_busy = false;
  });
  entered.get_future().wait();
  std::promise<bool> quiet;
  after_all_shards(runtime, runtime.shard(0), [&] { quiet.set_value(!shard_busy); });
  runtime.run_and_wait(0, [] {});
  runtime.run_and_wait(1, [] {});
  EXPECT_TRUE(shard_busy);
  release.set_value();
  EXPECT_TRUE(quiet.get_future().get());
}

TEST(RealRuntime, StopDropsWhatIsQueuedAndFreesIt) {
  auto watched = std::make_shared<int>(0);
  {
    RealRuntime runtime({2, 2});
    runtime.run_and_wait(0, [&] {
      // Held by the closure itself: let go when the loop is destroyed.
      auto timer = std::make_shared<TimerHandle>();
      *timer = runtime.shard(0).after(std::chrono::hours(1), [watched, timer] { ++*watched; });
      timer->cancel();
    });
    runtime.stop();
    runtime.shard(0).post([watched] { ++*watched; });
  }
  EXPECT_EQ(*watched, 0);
  EXPECT_EQ(watched.use_count(), 1);
}

}  // namespace
}  // namespace markab::io
