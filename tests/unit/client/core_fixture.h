#pragma once
// A core in the simulated runtime, in front of a FakeCluster: three metas, three nodes, four
// partitions.

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "client/core.h"
#include "client/operations.h"
#include "fake_cluster.h"
#include "sim/sim_runtime.h"

namespace markab::client {

using std::chrono::milliseconds;
using std::chrono::seconds;

class CoreTest : public testing::Test {
 protected:
  CoreTest() {
    cluster.metas = {meta(1), meta(2), meta(3)};
    cluster.place(4, {node(1), node(2), node(3)});
    options.metas = {meta(1), meta(2), meta(3)};
  }
  ~CoreTest() override {
    core.reset();
    world.run_for(seconds(100));  // whatever the cluster still owes must not hurt
  }

  Core& the_core() {
    if (!core) core = std::make_unique<Core>(shard, cluster, options);
    return *core;
  }
  Core::Table& table() { return *the_core().table("temp"); }

  // A call in flight.
  template <typename T>
  struct Flying {
    std::optional<Outcome<T>> outcome;
    Instant ended;
    int times = 0;
    bool done() const { return times > 0; }
  };
  template <typename T>
  std::shared_ptr<Flying<T>> launch(Prepared<T> prepared, Duration timeout = seconds(5)) {
    auto flying = std::make_shared<Flying<T>>();
    shard.post([this, flying, timeout, prepared = std::move(prepared)]() mutable {
      the_core().call(table(), std::move(prepared.request), shard.now() + timeout,
                      [this, flying, read = prepared.read](Answer answer) {
                        flying->outcome.emplace(read(std::move(answer)));
                        flying->ended = world.now();
                        ++flying->times;
                      });
    });
    return flying;
  }
  template <typename T>
  Outcome<T> finish(const std::shared_ptr<Flying<T>>& flying) {
    EXPECT_TRUE(world.run_until([&] { return flying->done(); }, seconds(60)))
        << "the call never ended";
    if (!flying->done()) return Error{ErrorCode::kInternal, "never ended"};
    return *flying->outcome;
  }
  template <typename T>
  Outcome<T> run(Prepared<T> prepared, Duration timeout = seconds(5)) {
    Instant begin = world.now();
    auto outcome = finish(launch(std::move(prepared), timeout));
    took = world.now() - begin;
    return outcome;
  }

  Outcome<std::string> get(std::string_view hash_key, Duration timeout = seconds(5)) {
    return run(prepare_get(hash_key, "s"), timeout);
  }
  Outcome<Nothing> set(std::string_view hash_key, std::string_view value,
                       Duration timeout = seconds(5)) {
    return run(prepare_set(hash_key, "s", value, 0), timeout);
  }
  Outcome<int64_t> incr(std::string_view hash_key, Duration timeout = seconds(5)) {
    return run(prepare_incr(hash_key, "s", 1, 0), timeout);
  }
  int32_t partition_of(std::string_view hash_key) const {
    return static_cast<int32_t>(key_hash(hash_key, "s") % cluster.real.size());
  }
  HostPort primary_of(std::string_view hash_key) const {
    return cluster.real[static_cast<size_t>(partition_of(hash_key))];
  }
  // Another node than the primary.
  HostPort other_than(HostPort primary) const { return primary == node(1) ? node(2) : node(1); }

  sim::SimWorld world{7};
  sim::SimRuntime runtime{world, "client", sim::SimRuntime::Options{}};
  io::Shard& shard = runtime.shard(0);
  FakeCluster cluster{world, shard};
  CoreOptions options;
  std::unique_ptr<Core> core;
  Duration took{0};
};

}  // namespace markab::client
