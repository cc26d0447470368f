// The log on real threads and a real directory: what a simulation in one thread cannot show. Run it
// under the thread sanitizer too.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <thread>

#include "base/random.h"
#include "unit/wal/log_world.h"

namespace markab::wal {
namespace {

class LogReal : public testing::TestWithParam<LogSync> {
 protected:
  LogReal() {
    std::string pattern = testing::TempDir() + "/markab_wal_XXXXXX";
    dir_ = ::mkdtemp(pattern.data());
  }
  ~LogReal() override { std::filesystem::remove_all(dir_); }

  Disk::Options options() const {
    Disk::Options out;
    out.sync = GetParam();
    out.interval = std::chrono::milliseconds(2);
    out.segment_bytes = 16u << 10;
    return out;
  }
  static std::string payload(Decree d) {
    return std::string(static_cast<size_t>(d * 37 % 700), static_cast<char>('a' + d % 26));
  }
  static std::unique_ptr<Log> must_open(Disk& disk, io::Shard& shard, const std::string& dir,
                                        Decree expected) {
    ReplaySummary summary;
    Decree next = 1;
    auto log = Log::open(
        disk, shard, dir, 0,
        [&](const Record& r) {
          EXPECT_EQ(r.decree, next);
          EXPECT_EQ(r.payload, payload(r.decree));
          ++next;
        },
        summary);
    EXPECT_TRUE(log.has_value());
    EXPECT_TRUE(summary.damage.ok()) << summary.damage.to_string();
    EXPECT_EQ(summary.last_decree, expected);
    return std::move(*log);
  }

  std::string dir_;
};
INSTANTIATE_TEST_SUITE_P(Modes, LogReal,
                         testing::Values(LogSync::kAlways, LogSync::kInterval, LogSync::kNone));

// Lets the test's thread wait for what shards report.
class Latch {
 public:
  void reach(Decree d) {
    std::lock_guard lock(mutex_);
    reached_ = d;
    changed_.notify_all();
  }
  void wait_for(Decree d) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return reached_ >= d; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  Decree reached_ = 0;
};

TEST_P(LogReal, AppendsReadsAndTrimsSideBySide) {
  constexpr Decree kLast = 3000;
  io::RealRuntime runtime({.shards = 2, .blocking_threads = 3});
  auto disk = Disk::make(io::real_file_system(), runtime.blocking(), options());
  std::vector<std::unique_ptr<Log>> logs;
  std::vector<Latch> durable(2);
  for (int i = 0; i < 2; ++i) {
    logs.push_back(must_open(*disk, runtime.shard(i), dir_ + "/" + std::to_string(i), 0));
    runtime.run_and_wait(i, [&, i] {
      logs.back()->set_on_durable([&durable, i](const Status& s, Decree d) {
        EXPECT_TRUE(s.ok()) << s.to_string();
        durable[static_cast<size_t>(i)].reach(d);
      });
    });
  }
  // Each shard appends some at a time, and posts itself again.
  Function<void(int)> run = [&](int i) {
    auto& log = *logs[static_cast<size_t>(i)];
    for (int n = 0; n < 10 && log.last_decree() < kLast; ++n) {
      Decree d = log.last_decree() + 1;
      auto text = payload(d);
      ASSERT_TRUE(log.append({Record::Type::kMutation, 1, d, 0, d - 1, text}).ok());
    }
    if (log.last_decree() % 500 == 0) log.trim(log.last_decree() - 800);
    if (log.last_decree() < kLast) runtime.shard(i).post([&run, i] { run(i); });
  };
  for (int i = 0; i < 2; ++i) runtime.shard(i).post([&run, i] { run(i); });
  std::thread reader([&] {
    for (Decree from = 1; from <= kLast;) {
      auto got = logs[0]->read(from, 8000);
      if (!got) {
        ASSERT_EQ(got.error().code(), Errc::kObjectNotFound) << got.error().to_string();
        from = logs[0]->trimmed() + 1;
        continue;
      }
      for (const auto& [record, text] : *got) {
        ASSERT_EQ(record.decree, from);
        ASSERT_EQ(text, payload(from));
        ++from;
      }
      if (got->empty()) durable[0].wait_for(from);
    }
  });
  reader.join();
  for (auto& d : durable) d.wait_for(kLast);
  for (int i = 0; i < 2; ++i)
    runtime.run_and_wait(i, [&, i] { logs[static_cast<size_t>(i)].reset(); });
  runtime.stop();
}

// Logs end on their shard, inside their callback, or on another thread, while writes, syncs and
// rotations are under way; what was appended is there, and nothing runs afterwards.
TEST_P(LogReal, EndsAtAnyMoment) {
  io::RealRuntime runtime({.shards = 2, .blocking_threads = 2});
  auto disk = Disk::make(io::real_file_system(), runtime.blocking(), options());
  Random random(1);
  std::map<int, Decree> last;
  for (int round = 0; round < 60; ++round) {
    int which = round % 5;
    auto dir = dir_ + "/" + std::to_string(which);
    auto& shard = runtime.shard(which % 2);
    auto log = must_open(*disk, shard, dir, last[which]);
    std::atomic<bool> ended{false};
    Latch gone;
    bool from_inside = random.chance(0.3);
    auto count = 1 + random.below(60);
    shard.post([&] {
      log->set_on_durable([&](const Status& s, Decree) {
        EXPECT_TRUE(s.ok()) << s.to_string();
        EXPECT_FALSE(ended) << "a callback after the end";
        if (!from_inside) return;
        ended = true;
        log.reset();
        gone.reach(1);
      });
      for (uint64_t i = 0; i < count; ++i) {
        Decree d = ++last[which];
        auto text = payload(d);
        ASSERT_TRUE(log->append({Record::Type::kMutation, 1, d, 0, 0, text}).ok());
      }
      if (!from_inside) gone.reach(1);
    });
    gone.wait_for(1);
    if (from_inside) continue;
    // Wait a little, or not, with what the pool and the shard do anyway.
    for (auto n = random.below(4); n > 0; --n) runtime.run_and_wait(which % 2, [] {});
    if (random.chance(0.5)) {
      runtime.run_and_wait(which % 2, [&] {
        log.reset();
        ended = true;
      });
    } else {
      log.reset();
      ended = true;
    }
    // Whatever was posted before the end has run when this has.
    runtime.run_and_wait(which % 2, [] {});
  }
}

TEST_P(LogReal, TheRuntimeMayStopFirst) {
  std::unique_ptr<Disk> disk;
  std::unique_ptr<Log> log;
  {
    io::RealRuntime runtime({.shards = 1, .blocking_threads = 1});
    disk = Disk::make(io::real_file_system(), runtime.blocking(), options());
    log = must_open(*disk, runtime.shard(0), dir_ + "/x", 0);
    runtime.run_and_wait(0, [&] {
      for (Decree d = 1; d <= 100; ++d) {
        auto text = payload(d);
        ASSERT_TRUE(log->append({Record::Type::kMutation, 1, d, 0, 0, text}).ok());
      }
    });
    runtime.stop();
    log.reset();
  }
  io::RealRuntime runtime({.shards = 1, .blocking_threads = 1});
  disk = Disk::make(io::real_file_system(), runtime.blocking(), options());
  log = must_open(*disk, runtime.shard(0), dir_ + "/x", 100);
  log.reset();
}

}  // namespace
}  // namespace markab::wal
