#include "client/front.h"

#include <atomic>
#include <thread>

#include "client/config_file.h"

namespace markab::client {

namespace {

// A client may be let go of by one of its own callbacks, and no thread can join itself: another one
// does it then. The program's end waits for these.
class Reaper {
 public:
  ~Reaper() {
    for (auto& thread : threads_) thread.join();
  }
  void take(std::unique_ptr<Front> front) {
    std::lock_guard lock(mutex_);
    threads_.emplace_back([front = std::move(front)]() mutable { front.reset(); });
  }

 private:
  std::mutex mutex_;
  std::vector<std::thread> threads_;
};

std::atomic<uint32_t> next_turn{0};
// Threads are numbered in the order in which they first use a client.
thread_local const uint32_t my_turn = next_turn.fetch_add(1, std::memory_order_relaxed);

}  // namespace

Outcome<std::shared_ptr<Front>> Front::create(const ClientOptions& options,
                                              std::vector<HostPort> metas) {
  static Reaper reaper;
  std::shared_ptr<Front> made(new Front(options), [](Front* front) {
    std::unique_ptr<Front> owned(front);
    if (owned->on_own_thread()) reaper.take(std::move(owned));
  });
  if (Error error = made->begin(options, std::move(metas))) return error;
  return made;
}

Front::Front(const ClientOptions& options)
    : default_timeout_(options.operation_timeout),
      runtime_({.shards = options.threads, .blocking_threads = 1}) {}

Error Front::begin(const ClientOptions& options, std::vector<HostPort> metas) {
  rpc::ChannelOptions channels;
  auto dialler = make_dialler(options.kerberos, runtime_.shard(0));
  if (!dialler) return {ErrorCode::kInvalidArgument, dialler.error().message()};
  dialler_ = std::move(*dialler);
  if (dialler_ != nullptr) channels.negotiators = dialler_->negotiators();
  // A port below 1024 says: a pure client, nobody connects to it (spec 01 §6.2).
  channels.self = {0x7F000001, 1};
  channels.connect_timeout = options.connect_timeout;
  channels.max_in_flight = options.max_in_flight;
  channels.connections_per_peer = options.connections_per_node;
  CoreOptions core;
  core.metas = std::move(metas);
  core.max_in_flight = options.max_in_flight;
  lanes_.resize(static_cast<size_t>(options.threads));
  for (int i = 0; i < options.threads; ++i) {
    Lane& lane = lanes_[static_cast<size_t>(i)];
    lane.shard = &runtime_.shard(i);
    runtime_.run_and_wait(i, [&] {
      lane.network = rpc::make_channels(runtime_, i, channels);
      lane.core = std::make_unique<Core>(*lane.shard, *lane.network, core);
    });
  }
  return {};
}

Front::~Front() {
  if (dialler_ != nullptr) dialler_->stop();
  for (int i = 0; i < lane_count(); ++i) {
    Lane& lane = lanes_[static_cast<size_t>(i)];
    runtime_.run_and_wait(i, [&] {
      lane.core->stop();
      lane.network.reset();
    });
  }
  // Callbacks that were posted before still find their core; then the threads end.
  for (int i = 0; i < lane_count(); ++i) {
    runtime_.run_and_wait(i, [&] { lanes_[static_cast<size_t>(i)].core.reset(); });
  }
  runtime_.stop();
}

Front::Lane& Front::lane() {
  for (Lane& lane : lanes_) {
    if (lane.shard->in_thread()) return lane;
  }
  return lanes_[my_turn % lanes_.size()];
}

Front::Lane& Front::next_lane() {
  return lanes_[next_turn.fetch_add(1, std::memory_order_relaxed) % lanes_.size()];
}

bool Front::on_own_thread() const {
  for (const Lane& lane : lanes_) {
    if (lane.shard->in_thread()) return true;
  }
  return false;
}

}  // namespace markab::client
