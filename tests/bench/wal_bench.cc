// The log on a real disk: what an append costs the shard, how many writes a second share syncs, how
// fast a log is read back. The directory is that of MARKAB_BENCH_DIR, else the temporary one: name
// the disk that is to be measured.
#include <benchmark/benchmark.h>
#include <stdlib.h>

#include <condition_variable>
#include <filesystem>
#include <mutex>

#include "wal/log.h"

namespace markab::wal {
namespace {

constexpr int kThreads = 8;

class Bench {
 public:
  explicit Bench(LogSync sync, int logs) : runtime_({.shards = 1, .blocking_threads = kThreads}) {
    const char* base = ::getenv("MARKAB_BENCH_DIR");
    std::string pattern = std::string(base != nullptr ? base : "/tmp") + "/markab_wal_bench_XXXXXX";
    dir_ = ::mkdtemp(pattern.data());
    options_.sync = sync;
    disk_ = Disk::make(io::real_file_system(), runtime_.blocking(), options_);
    for (int i = 0; i < logs; ++i) open(i, [](const Record&) {});
  }
  ~Bench() {
    close();
    runtime_.stop();
    std::filesystem::remove_all(dir_);
  }

  ReplaySummary open(int i, const Function<void(const Record&)>& visit) {
    ReplaySummary summary;
    auto log =
        Log::open(*disk_, runtime_.shard(0), dir_ + "/" + std::to_string(i), 0, visit, summary);
    if (!log) throw std::runtime_error(log.error().to_string());
    logs_.push_back(std::move(*log));
    return summary;
  }
  void close() {
    runtime_.run_and_wait(0, [&] { logs_.clear(); });
  }

  // Keeps `in_flight` mutations under way in each log until each has `count` more durable.
  void run(Decree count, Decree in_flight, size_t size) {
    std::string payload(size, 'x');
    std::mutex mutex;
    std::condition_variable changed;
    size_t done = 0;
    Function<void(size_t, Decree)> refill = [&](size_t i, Decree durable) {
      Log& log = *logs_[i];
      Decree last = ends_[i];
      while (log.last_decree() < std::min(last, durable + in_flight)) {
        auto s =
            log.append({Record::Type::kMutation, 1, log.last_decree() + 1, 1, durable, payload});
        if (!s.ok()) throw std::runtime_error(s.to_string());
      }
      if (durable < last) return;
      std::lock_guard lock(mutex);
      ++done;
      changed.notify_one();
    };
    runtime_.run_and_wait(0, [&] {
      ends_.resize(logs_.size());
      for (size_t i = 0; i < logs_.size(); ++i) {
        ends_[i] = logs_[i]->last_decree() + count;
        logs_[i]->set_on_durable([&refill, i](const Status& s, Decree d) {
          if (!s.ok()) throw std::runtime_error(s.to_string());
          refill(i, d);
        });
      }
      for (size_t i = 0; i < logs_.size(); ++i) refill(i, logs_[i]->last_decree());
    });
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return done == logs_.size(); });
    lock.unlock();
    runtime_.run_and_wait(0, [&] {
      for (auto& log : logs_) log->set_on_durable(nullptr);
    });
  }

  Log& log(size_t i) { return *logs_[i]; }

 private:
  io::RealRuntime runtime_;
  std::string dir_;
  Disk::Options options_;
  std::unique_ptr<Disk> disk_;
  std::vector<std::unique_ptr<Log>> logs_;
  std::vector<Decree> ends_;
};

// Arguments: logs, mutations in flight per log, bytes of each.
void append(benchmark::State& state, LogSync sync, Decree batch) {
  Bench bench(sync, static_cast<int>(state.range(0)));
  for (auto _ : state) bench.run(batch, state.range(1), static_cast<size_t>(state.range(2)));
  auto total = static_cast<int64_t>(state.iterations()) * state.range(0) * batch;
  state.SetItemsProcessed(total);
  state.SetBytesProcessed(total * (state.range(2) + 48));
}
void always(benchmark::State& state) { append(state, LogSync::kAlways, 200); }
void interval(benchmark::State& state) { append(state, LogSync::kInterval, 10000); }
void none(benchmark::State& state) { append(state, LogSync::kNone, 10000); }

#define CASES               \
  Args({1, 1, 200})         \
      ->Args({1, 20, 200})  \
      ->Args({16, 20, 200}) \
      ->Args({64, 20, 200}) \
      ->Args({16, 20, 4096})
BENCHMARK(always)->CASES->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(interval)->CASES->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(none)->CASES->UseRealTime()->Unit(benchmark::kMillisecond);

// Argument: bytes of each mutation. The file is in the page cache.
void replay(benchmark::State& state) {
  Bench bench(LogSync::kNone, 1);
  auto size = static_cast<size_t>(state.range(0));
  bench.run(static_cast<Decree>((256u << 20) / (size + 48)), 100, size);
  uint64_t bytes = 0;
  for (auto _ : state) {
    bench.close();
    uint64_t sum = 0;
    auto summary = bench.open(0, [&sum](const Record& r) { sum += r.payload.size(); });
    benchmark::DoNotOptimize(sum);
    bytes += summary.bytes;
  }
  state.SetBytesProcessed(static_cast<int64_t>(bytes));
}
BENCHMARK(replay)->Arg(100)->Arg(1000)->Arg(100000)->UseRealTime()->Unit(benchmark::kMillisecond);

// A learner reads the log in pieces of 1 MiB.
void read(benchmark::State& state) {
  Bench bench(LogSync::kNone, 1);
  auto size = static_cast<size_t>(state.range(0));
  bench.run(static_cast<Decree>((64u << 20) / (size + 48)), 1000, size);
  int64_t bytes = 0;
  for (auto _ : state) {
    for (Decree from = 1; from <= bench.log(0).last_decree();) {
      auto piece = bench.log(0).read(from, 1u << 20);
      if (!piece) throw std::runtime_error(piece.error().to_string());
      from += static_cast<Decree>(piece->size());
      bytes += static_cast<int64_t>(piece->size() * (size + 48));
    }
  }
  state.SetBytesProcessed(bytes);
}
BENCHMARK(read)->Arg(100)->Arg(1000)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace markab::wal
