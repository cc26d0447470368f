#include "bench/load.h"

#include <condition_variable>
#include <mutex>

#include "base/random.h"
#include "client/operations.h"
#include "rpc/channel.h"

namespace markab::bench {

using client::Answer;

namespace {
// Values are cut from one block of random bytes, each from another place.
constexpr size_t kValueBlock = 1 << 20;
constexpr std::string_view kSortKey = "f";
}  // namespace

std::string key_of(uint64_t i) {
  char text[] = "key:000000000000";
  for (char* digit = text + sizeof text - 2; i > 0 && digit >= text + 4; --digit, i /= 10) {
    *digit = static_cast<char>('0' + i % 10);
  }
  return {text, sizeof text - 1};
}

// All members are used on its shard only, except while the shard waits for run_and_wait.
struct Load::Worker {
  Worker(Load& load, int index, int connections)
      : load(load),
        options(load.options_),
        shard(load.runtime_.shard(index)),
        random(options.seed * 1000003 + index) {
    rpc::ChannelOptions channels;
    channels.self = {0x7F000001, 1};
    channels.connections_per_peer = connections;
    if (load.dialler_ != nullptr) channels.negotiators = load.dialler_->negotiators();
    network = rpc::make_channels(load.runtime_, index, channels);
    client::CoreOptions core_options;
    core_options.metas = options.metas;
    core = std::make_unique<client::Core>(shard, *network, core_options);
    table = core->table(options.table);
    slots = connections * options.depth;
    values.resize(kValueBlock + options.value_size);
    for (char& c : values) c = static_cast<char>('!' + random.below(94));
  }

  void issue() {
    uint64_t key;
    if (options.workload == Workload::kFill) {
      key = load.next_fill_.fetch_add(1, std::memory_order_relaxed);
      if (key >= options.keys) return rest();
    } else {
      if (!running) return rest();
      key = random.below(options.keys);
    }
    bool is_get = options.workload == Workload::kGet ||
                  (options.workload == Workload::kMixed && random.chance(options.read_share));
    is_get ? issue_get(key) : issue_set(key);
  }
  void issue_get(uint64_t key) {
    auto prepared = client::prepare_get(key_of(key), kSortKey);
    Instant begin = shard.now();
    core->call(*table, std::move(prepared.request), begin + options.timeout,
               [this, begin, read = prepared.read](Answer answer) {
                 auto value = read(std::move(answer));
                 bool missing = value.error().code == ErrorCode::kNotFound;
                 result->missing += missing ? 1 : 0;
                 ended(begin, value.ok() || missing ? Error{} : value.error());
               });
  }
  void issue_set(uint64_t key) {
    std::string_view value(values.data() + random.below(kValueBlock), options.value_size);
    auto prepared = client::prepare_set(key_of(key), kSortKey, value, 0);
    Instant begin = shard.now();
    core->call(*table, std::move(prepared.request), begin + options.timeout,
               [this, begin, read = prepared.read](Answer answer) {
                 auto done = read(std::move(answer));
                 ended(begin, done.error());
               });
  }
  void ended(Instant begin, const Error& error) {
    if (options.workload == Workload::kFill)
      load.fill_done_.fetch_add(1, std::memory_order_relaxed);
    if (!error) {
      ++result->operations;
      result->latency_ns.record((shard.now() - begin).count());
      return issue();
    }
    if (result->errors++ == 0) result->first_error = error.to_string();
    // Not from here: what is refused is answered inside of the call.
    shard.post([this] { issue(); });
  }
  void rest() {
    ++resting;
    if (resting == slots && on_rest) on_rest();
  }

  Load& load;
  const LoadOptions& options;
  io::Shard& shard;
  Random random;
  std::unique_ptr<rpc::Network> network;
  std::unique_ptr<client::Core> core;
  client::Core::Table* table;
  std::string values;
  int slots;
  int resting = 0;
  bool running = true;
  Task on_rest;
  std::unique_ptr<LoadResult> result = std::make_unique<LoadResult>();
};

Load::Load(const LoadOptions& options)
    : options_(options), runtime_({.shards = options.threads, .blocking_threads = 1}) {}

Result<std::unique_ptr<Load>> Load::open(const LoadOptions& options) {
  std::unique_ptr<Load> load(new Load(options));
  auto dialler = client::make_dialler(options.kerberos, load->runtime_.shard(0));
  if (!dialler) return dialler.error();
  load->dialler_ = std::move(*dialler);
  for (int i = 0; i < options.threads; ++i) {
    int connections =
        options.connections / options.threads + (i < options.connections % options.threads ? 1 : 0);
    if (connections == 0) break;
    load->runtime_.run_and_wait(
        i, [&] { load->workers_.push_back(std::make_unique<Worker>(*load, i, connections)); });
  }
  for (auto& worker : load->workers_) {
    std::mutex mutex;
    std::condition_variable ready;
    bool told = false;
    Error error;
    worker->shard.post([&] {
      worker->core->resolve(*worker->table, worker->shard.now() + options.timeout,
                            [&](Answer answer) {
                              std::lock_guard lock(mutex);
                              error = std::move(answer.error);
                              told = true;
                              ready.notify_one();
                            });
    });
    std::unique_lock lock(mutex);
    ready.wait(lock, [&] { return told; });
    if (error) return Status(Errc::kUnknown, error.message);
  }
  return load;
}

Load::~Load() {
  if (dialler_ != nullptr) dialler_->stop();
  for (size_t i = 0; i < workers_.size(); ++i) {
    runtime_.run_and_wait(static_cast<int>(i), [&] {
      workers_[i]->core->stop();
      workers_[i]->network.reset();
    });
    runtime_.run_and_wait(static_cast<int>(i), [&] { workers_[i].reset(); });
  }
  runtime_.stop();
}

void Load::start() {
  for (auto& worker : workers_) {
    worker->shard.post([&worker] {
      for (int i = 0; i < worker->slots; ++i) worker->issue();
    });
  }
}

void Load::count() {
  for (size_t i = 0; i < workers_.size(); ++i) {
    runtime_.run_and_wait(static_cast<int>(i),
                          [&] { workers_[i]->result = std::make_unique<LoadResult>(); });
  }
}

bool Load::filled() const {
  return fill_done_.load(std::memory_order_relaxed) >= static_cast<int64_t>(options_.keys);
}

void Load::read(LoadResult& result) {
  for (size_t i = 0; i < workers_.size(); ++i) {
    runtime_.run_and_wait(static_cast<int>(i), [&] {
      const LoadResult& part = *workers_[i]->result;
      result.operations += part.operations;
      result.errors += part.errors;
      result.missing += part.missing;
      result.latency_ns.merge(part.latency_ns);
      if (result.first_error.empty()) result.first_error = part.first_error;
    });
  }
}

void Load::stop() {
  for (auto& worker : workers_) {
    std::mutex mutex;
    std::condition_variable ready;
    bool rests = false;
    auto tell = [&] {
      std::lock_guard lock(mutex);
      rests = true;
      ready.notify_one();
    };
    worker->shard.post([&] {
      worker->running = false;
      if (worker->resting == worker->slots) return tell();
      worker->on_rest = tell;
    });
    std::unique_lock lock(mutex);
    ready.wait(lock, [&] { return rests; });
  }
}

}  // namespace markab::bench
