#include "io/shard.h"

#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <list>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "base/assert.h"
#include "io/real_shard.h"

namespace markab::io {

namespace {

// How much a pool's threads leave to all others, where the kernel allows it.
enum class Yields {
  kNothing,
  kProcessor,         // to the shards, which have work for microseconds
  kProcessorAndDisk,  // a background thread gets what others leave
};

// Of this thread alone.
void yield_to_others(Yields yields) {
  if (yields == Yields::kNothing) return;
  const int nice = yields == Yields::kProcessor ? 5 : 10;
  constexpr int kLowestBestEffort = (2 << 13) | 7;  // ioprio_set(2): class best effort, level 7
  constexpr int kThread = 1;
  (void)setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), nice);
  if (yields != Yields::kProcessorAndDisk) return;
  (void)syscall(SYS_ioprio_set, kThread, 0, kLowestBestEffort);
}

}  // namespace

// Threads come when there is work and none of them waits for it, up to the bound, and go after a
// while without: an idle daemon has none.
struct RealRuntime::Pool final : BlockingPool {
  Pool(const char* name, int threads, Yields yields) : name(name), bound(threads), yields(yields) {}

  void run(Shard& home, Task work, Task done) override {
    std::lock_guard lock(mutex);
    queue.push_back({&home, std::move(work), std::move(done)});
    if (stopped) return;
    join_finished();
    if (static_cast<int>(queue.size()) <= idle) return wake.notify_one();
    if (static_cast<int>(threads.size()) < bound) begin_thread();
  }
  // What still waits is dropped with the pool.
  void end() {
    std::unique_lock lock(mutex);
    stopped = true;
    wake.notify_all();
    last_left.wait(lock, [this] { return threads.empty(); });
    join_finished();
  }

  struct Job {
    Shard* home;
    Task work;
    Task done;
  };
  static constexpr auto kIdle = std::chrono::seconds(1);

  // Under the lock, which such a thread does not take any more.
  void join_finished() {
    for (auto& thread : finished) thread.join();
    finished.clear();
  }
  void begin_thread() {
    threads.emplace_front();
    try {
      threads.front() = std::thread([this, self = threads.begin()] { loop(self); });
    } catch (const std::system_error& e) {
      threads.pop_front();  // those that run will come to it
      MARKAB_ASSERT(!threads.empty(), "not one thread can be started", name, e.what());
    }
  }
  void loop(std::list<std::thread>::iterator self) {
    pthread_setname_np(pthread_self(), name);
    yield_to_others(yields);
    std::unique_lock lock(mutex);
    for (;;) {
      ++idle;
      bool called = wake.wait_for(lock, kIdle, [this] { return stopped || !queue.empty(); });
      --idle;
      if (stopped || !called) break;
      Job job = std::move(queue.front());
      queue.pop_front();
      lock.unlock();
      job.work();
      job.work = nullptr;
      job.home->post(std::move(job.done));
      lock.lock();
    }
    finished.splice(finished.end(), threads, self);
    if (threads.empty()) last_left.notify_one();
  }

  const char* const name;
  const int bound;
  const Yields yields;
  std::mutex mutex;  // of all below
  std::condition_variable wake;
  std::condition_variable last_left;
  std::deque<Job> queue;
  std::list<std::thread> threads;   // at work, or waiting for it
  std::list<std::thread> finished;  // to be joined
  int idle = 0;
  bool stopped = false;
};

void after_all_shards(Runtime& runtime, Shard& home, Task done) {
  // One token goes round: a shard passes it on when it gets to it, which is after the task it was
  // in.
  struct Token {
    Runtime& runtime;
    Shard& home;
    Task done;
    static void pass(std::shared_ptr<Token> token, int index) {
      if (index == token->runtime.shard_count()) {
        token->home.post([token] { token->done(); });
        return;
      }
      token->runtime.shard(index).post([token, index] { pass(token, index + 1); });
    }
  };
  Token::pass(std::make_shared<Token>(Token{runtime, home, std::move(done)}), 0);
}

RealRuntime::RealRuntime(const RealRuntimeOptions& options) {
  int n = options.shards > 0 ? options.shards
                             : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  for (int i = 0; i < n; ++i) shards_.push_back(std::make_unique<RealShard>(i));
  blocking_ = std::make_unique<Pool>("blocking", options.blocking_threads, Yields::kNothing);
  if (options.range_read_threads > 0)
    range_reads_ =
        std::make_unique<Pool>("range-reads", options.range_read_threads, Yields::kProcessor);
  if (options.sync_threads > 0)
    syncing_ = std::make_unique<Pool>("log-sync", options.sync_threads, Yields::kNothing);
  if (options.background_threads > 0)
    background_ =
        std::make_unique<Pool>("background", options.background_threads, Yields::kProcessorAndDisk);
}

RealRuntime::~RealRuntime() { stop(); }

int RealRuntime::shard_count() const { return static_cast<int>(shards_.size()); }
Shard& RealRuntime::shard(int index) { return *shards_.at(index); }
BlockingPool& RealRuntime::blocking() { return *blocking_; }
BlockingPool& RealRuntime::range_reads() { return range_reads_ ? *range_reads_ : *blocking_; }
BlockingPool& RealRuntime::syncing() { return syncing_ ? *syncing_ : *blocking_; }
BlockingPool& RealRuntime::background() { return background_ ? *background_ : *blocking_; }
Poller& RealRuntime::poller(int index) { return shards_.at(index)->poller(); }

void RealRuntime::run_and_wait(int index, Task task) {
  MARKAB_ASSERT(!shards_.at(index)->in_thread(), "a shard would wait for itself", index);
  std::mutex mutex;
  std::condition_variable ready;
  bool done = false;
  shards_.at(index)->post([&] {
    task();
    std::lock_guard lock(mutex);
    done = true;
    ready.notify_one();
  });
  std::unique_lock lock(mutex);
  ready.wait(lock, [&] { return done; });
}

void RealRuntime::stop() {
  // The pools first: their work may post to shards, and posting to a stopped shard is harmless.
  for (auto* pool : {blocking_.get(), range_reads_.get(), syncing_.get(), background_.get()}) {
    if (pool != nullptr) pool->end();
  }
  for (auto& shard : shards_) shard->stop();
  for (auto& shard : shards_) shard->join();
}

}  // namespace markab::io
