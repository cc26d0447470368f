#include "io/own_pool.h"

#include <pthread.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

namespace markab::io {

namespace {

class OwnPool final : public BlockingPool {
 public:
  explicit OwnPool(int threads) {
    for (int i = 0; i < threads; ++i) {
      ++state_->threads;
      std::thread([state = state_] { state->serve(); }).detach();
    }
  }
  ~OwnPool() override {
    std::unique_lock lock(state_->mutex);
    state_->stopping = true;
    auto dropped = std::move(state_->jobs);
    state_->changed.notify_all();
    state_->changed.wait_for(lock, kPatience, [&] { return state_->threads == 0; });
    lock.unlock();
  }
  void run(Shard& home, Task work, Task done) override {
    std::lock_guard lock(state_->mutex);
    state_->jobs.push_back({&home, std::move(work), std::move(done)});
    state_->changed.notify_one();
  }

 private:
  static constexpr Duration kPatience = std::chrono::milliseconds(200);
  struct Job {
    Shard* home;
    Task work;
    Task done;
  };
  struct State {
    std::mutex mutex;
    std::condition_variable changed;
    std::deque<Job> jobs;
    int threads = 0;
    bool stopping = false;

    void serve() {
      pthread_setname_np(pthread_self(), "own-pool");
      std::unique_lock lock(mutex);
      while (true) {
        changed.wait(lock, [&] { return stopping || !jobs.empty(); });
        if (stopping) break;
        Job job = std::move(jobs.front());
        jobs.pop_front();
        lock.unlock();
        job.work();
        job.work = nullptr;
        lock.lock();
        if (stopping) break;  // the shard may be gone soon
        job.home->post(std::move(job.done));
      }
      --threads;
      changed.notify_all();
    }
  };
  const std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace

std::unique_ptr<BlockingPool> make_blocking_pool(int threads) {
  return std::make_unique<OwnPool>(threads);
}

}  // namespace markab::io
