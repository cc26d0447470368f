#include "io/shard.h"

#include <pthread.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <condition_variable>
#include <mutex>

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

struct RealRuntime::Pool final : BlockingPool {
  explicit Pool(int threads) : pool(threads) {}
  void run(Shard& home, Task work, Task done) override {
    asio::post(pool, [&home, work = std::move(work), done = std::move(done)]() mutable {
      work();
      work = nullptr;
      home.post(std::move(done));
    });
  }
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
  pool_ = std::make_unique<Pool>(options.blocking_threads);
}

RealRuntime::~RealRuntime() { stop(); }

int RealRuntime::shard_count() const { return static_cast<int>(shards_.size()); }
Shard& RealRuntime::shard(int index) { return *shards_.at(index); }
BlockingPool& RealRuntime::blocking() { return *pool_; }
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
  // The pool first: its work may post to shards, and posting to a stopped shard is harmless.
  pool_->pool.stop();
  pool_->pool.join();
  for (auto& shard : shards_) shard->stop();
  for (auto& shard : shards_) shard->join();
}

}  // namespace markab::io
