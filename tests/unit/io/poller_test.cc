// What a shard does in a turn: sockets, timers, tasks, and the end.

#include "io/poller.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <future>
#include <string>
#include <thread>
#include <vector>

#include "io/shard.h"

namespace markab::io {
namespace {

struct Pair {
  Pair() { EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0); }
  ~Pair() {
    close(ends[0]);
    close(ends[1]);
  }
  void write_one() { ASSERT_EQ(write(ends[1], "x", 1), 1); }
  bool read_one() {
    char c;
    return read(ends[0], &c, 1) == 1;
  }
  int ends[2];
};

struct Watcher final : Poller::Watcher {
  explicit Watcher(Function<void(uint32_t)> call) : call(std::move(call)) {}
  void on_ready(uint32_t events) override { call(events); }
  Function<void(uint32_t)> call;
};

struct End final : Poller::TurnEnd {
  explicit End(Task call) : call(std::move(call)) {}
  void end_of_turn() override { call(); }
  Task call;
};

TEST(Poller, ATurnIsWatchersThenTheirTasksThenTheEndOnce) {
  RealRuntime runtime({1, 1});
  auto& shard = runtime.shard(0);
  auto& poller = runtime.poller(0);
  Pair first, second;
  std::vector<std::string> story;
  std::promise<void> over;
  End end([&] {
    story.push_back("end");
    if (story.size() >= 5) over.set_value();
  });
  auto watch = [&](Pair& pair, const char* name) {
    return std::make_unique<Watcher>([&, name](uint32_t events) {
      EXPECT_TRUE(events & EPOLLIN);
      EXPECT_TRUE(pair.read_one());
      story.push_back(name);
      if (story.size() == 1) poller.at_end_of_turn(&end);
      shard.post([&, name] { story.push_back(std::string("task of ") + name); });
    });
  };
  auto one = watch(first, "first");
  auto other = watch(second, "second");
  runtime.run_and_wait(0, [&] {
    EXPECT_TRUE(poller.add(first.ends[0], EPOLLIN, one.get()));
    EXPECT_TRUE(poller.add(second.ends[0], EPOLLIN, other.get()));
    first.write_one();
    second.write_one();
  });
  over.get_future().wait();
  runtime.run_and_wait(0, [&] {
    poller.remove(first.ends[0], one.get());
    poller.remove(second.ends[0], other.get());
  });
  EXPECT_EQ(story, (std::vector<std::string>{"first", "second", "task of first", "task of second",
                                             "end"}));
}

TEST(Poller, AWatcherThatWasRemovedInTheTurnIsNotCalled) {
  RealRuntime runtime({1, 1});
  auto& poller = runtime.poller(0);
  Pair pairs[2];
  std::unique_ptr<Watcher> watchers[2];
  int calls = 0;
  std::promise<void> called;
  for (int i = 0; i < 2; ++i) {
    watchers[i] = std::make_unique<Watcher>([&](uint32_t) {
      ++calls;
      for (int k = 0; k < 2; ++k) poller.remove(pairs[k].ends[0], watchers[k].get());
      called.set_value();
    });
  }
  runtime.run_and_wait(0, [&] {
    for (int i = 0; i < 2; ++i) {
      EXPECT_TRUE(poller.add(pairs[i].ends[0], EPOLLIN, watchers[i].get()));
      pairs[i].write_one();
    }
  });
  called.get_future().wait();
  runtime.run_and_wait(0, [] {});
  EXPECT_EQ(calls, 1);
}

TEST(Poller, AnEndThatIsWantedAtTheEndComesToo) {
  RealRuntime runtime({1, 1});
  auto& poller = runtime.poller(0);
  int left = 200;  // more than one turn's
  std::promise<void> over;
  End end([&] {
    if (--left == 0) return over.set_value();
    poller.at_end_of_turn(&end);
  });
  End forgotten([] { FAIL() << "it was forgotten"; });
  runtime.run_and_wait(0, [&] {
    poller.at_end_of_turn(&forgotten);
    poller.at_end_of_turn(&end);
    poller.forget(&forgotten);
  });
  over.get_future().wait();
  runtime.run_and_wait(0, [] {});
  EXPECT_EQ(left, 0);
}

// A shard that sleeps is woken by a task, whoever posts it; none is lost on the way to sleep.
TEST(RealShard, TasksOfManyThreadsAllRunInTheOrderOfEach) {
  constexpr int kThreads = 4;
  constexpr int kTasks = 20000;
  RealRuntime runtime({1, 1});
  auto& shard = runtime.shard(0);
  int seen[kThreads] = {};
  std::promise<void> done;
  int left = kThreads * kTasks;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kTasks; ++i) {
        shard.post([&, t, i] {
          EXPECT_EQ(seen[t]++, i);
          if (--left == 0) done.set_value();
        });
        if (i % 100 == 0) runtime.run_and_wait(0, [] {});  // so that it sleeps now and then
      }
    });
  }
  for (auto& thread : threads) thread.join();
  done.get_future().wait();
}

// What another thread had posted before comes before what is posted here after seeing that.
TEST(RealShard, OrderHoldsAcrossThreads) {
  RealRuntime runtime({1, 1});
  auto& shard = runtime.shard(0);
  std::vector<int> order;
  runtime.run_and_wait(0, [&] {
    std::thread([&] { shard.post([&] { order.push_back(1); }); }).join();
    shard.post([&] { order.push_back(2); });
  });
  runtime.run_and_wait(0, [] {});
  EXPECT_EQ(order, (std::vector<int>{1, 2}));
}

TEST(RealShard, TimersOfOneInstantRunInOrderAndOneMayCancelTheNext) {
  RealRuntime runtime({1, 1});
  auto& shard = runtime.shard(0);
  std::vector<int> order;
  std::promise<void> over;
  TimerHandle timers[4];
  runtime.run_and_wait(0, [&] {
    timers[0] = shard.after(std::chrono::milliseconds(2), [&] {
      order.push_back(0);
      timers[0].cancel();  // itself
      timers[1].cancel();
    });
    timers[1] = shard.after(std::chrono::milliseconds(2), [&] { order.push_back(1); });
    timers[2] = shard.after(Duration(0), [&] { order.push_back(2); });
    timers[3] = shard.after(std::chrono::milliseconds(4), [&] {
      order.push_back(3);
      over.set_value();
    });
    // They fall due together.
    for (auto end = shard.now() + std::chrono::milliseconds(6); shard.now() < end;) {
    }
  });
  over.get_future().wait();
  runtime.run_and_wait(0, [&] {
    for (auto& timer : timers) timer.cancel();
  });
  EXPECT_EQ(order, (std::vector<int>{2, 0, 3}));
}

// Thousands of timers that are cancelled, as those of calls that were answered, leave nothing.
TEST(RealShard, CancelledTimersDoNotGather) {
  RealRuntime runtime({1, 1});
  auto watched = std::make_shared<int>(0);
  runtime.run_and_wait(0, [&] {
    for (int i = 0; i < 100000; ++i) {
      auto timer = runtime.shard(0).after(std::chrono::hours(1), [watched] { ++*watched; });
    }
    EXPECT_EQ(watched.use_count(), 1);
  });
  EXPECT_EQ(*watched, 0);
}

}  // namespace
}  // namespace markab::io
