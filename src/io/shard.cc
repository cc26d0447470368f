#include "io/shard.h"

#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <condition_variable>
#include <mutex>
#include <utility>

#include "base/assert.h"

namespace markab::io {

namespace asio = boost::asio;

class RealShard final : public Shard {
 public:
  explicit RealShard(int index)
      : index_(index),
        context_(1),
        work_(asio::make_work_guard(context_)),
        thread_([this] { run(); }) {}

  void post(Task task) override { asio::post(context_, std::move(task)); }

  TimerHandle after(Duration delay, Task task) override {
    MARKAB_ASSERT(in_thread(), "a timer is set from another thread than its shard's", index_);
    return TimerHandle(std::make_unique<Timer>(context_, delay, std::move(task)));
  }

  Instant now() const override {
    return {
        std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now().time_since_epoch())
            .count()};
  }
  int64_t wall_us() const override {
    return std::chrono::duration_cast<std::chrono::microseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
  }
  bool in_thread() const override { return std::this_thread::get_id() == thread_.get_id(); }
  asio::any_io_executor executor() override { return context_.get_executor(); }
  int index() const override { return index_; }

  asio::io_context& context() { return context_; }
  void stop() {
    work_.reset();
    context_.stop();
  }
  void join() {
    if (thread_.joinable()) thread_.join();
  }

 private:
  struct Timer final : TimerHandle::Impl {
    // The closure outlives a cancelled timer inside asio's queue; `task` is shared so that
    // cancelling empties it.
    Timer(asio::io_context& context, Duration delay, Task task)
        : timer(context, std::chrono::steady_clock::now() + delay),
          task(std::make_shared<Task>(std::move(task))) {
      timer.async_wait([held = this->task](const boost::system::error_code& error) {
        if (error || !*held) return;
        Task run = std::move(*held);
        run();
      });
    }
    ~Timer() override { *task = nullptr; }
    asio::steady_timer timer;
    std::shared_ptr<Task> task;
  };

  void run() {
    auto name = fmt::format("shard{}", index_);
    pthread_setname_np(pthread_self(), name.c_str());
    context_.run();
  }

  const int index_;
  asio::io_context context_;
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  std::thread thread_;  // last: starts when all else is there
};

namespace {

// Of this thread alone, where the kernel allows it: a background thread gets what others leave.
void yield_to_others() {
  constexpr int kNice = 10;
  constexpr int kLowestBestEffort = (2 << 13) | 7;  // ioprio_set(2): class best effort, level 7
  constexpr int kThread = 1;
  (void)setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), kNice);
  (void)syscall(SYS_ioprio_set, kThread, 0, kLowestBestEffort);
}

}  // namespace

struct RealRuntime::Pool final : BlockingPool {
  Pool(const char* name, int threads, bool yields)
      : name(name), yields(yields), pool(static_cast<size_t>(threads)) {}
  // A thread takes its name and its rank when it has its first work.
  void enter() {
    thread_local bool entered = false;
    if (std::exchange(entered, true)) return;
    pthread_setname_np(pthread_self(), name);
    if (yields) yield_to_others();
  }
  void end() {
    pool.stop();
    pool.join();
  }
  void run(Shard& home, Task work, Task done) override {
    asio::post(pool, [this, &home, work = std::move(work), done = std::move(done)]() mutable {
      enter();
      work();
      work = nullptr;
      home.post(std::move(done));
    });
  }
  const char* const name;
  const bool yields;
  asio::thread_pool pool;
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
  blocking_ = std::make_unique<Pool>("blocking", options.blocking_threads, false);
  if (options.sync_threads > 0)
    syncing_ = std::make_unique<Pool>("log-sync", options.sync_threads, false);
  if (options.background_threads > 0)
    background_ = std::make_unique<Pool>("background", options.background_threads, true);
}

RealRuntime::~RealRuntime() { stop(); }

int RealRuntime::shard_count() const { return static_cast<int>(shards_.size()); }
Shard& RealRuntime::shard(int index) { return *shards_.at(index); }
BlockingPool& RealRuntime::blocking() { return *blocking_; }
BlockingPool& RealRuntime::syncing() { return syncing_ ? *syncing_ : *blocking_; }
BlockingPool& RealRuntime::background() { return background_ ? *background_ : *blocking_; }
asio::io_context& RealRuntime::context(int index) { return shards_.at(index)->context(); }

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
  for (auto* pool : {blocking_.get(), syncing_.get(), background_.get()}) {
    if (pool != nullptr) pool->end();
  }
  for (auto& shard : shards_) shard->stop();
  for (auto& shard : shards_) shard->join();
}

}  // namespace markab::io
