// Any interleaving of operations, batches in flight, flushes and restarts equals a plain map
// (model_run.h). rapidcheck finds a short list of steps that differs, and prints how to replay it.

#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <vector>

#include "engine/map_store.h"
#include "engine/rocks_store.h"
#include "unit/engine/model_run.h"
#include "unit/engine/temporary_directory.h"

namespace markab::engine {
namespace {

// True when the steps show no difference. The failures that GoogleTest noted on the way are told
// once, for the shortest list.
bool holds(const std::vector<uint64_t>& steps, const ModelOptions& options, ModelRun::Open open) {
  testing::TestPartResultArray failures;
  {
    testing::ScopedFakeTestPartResultReporter reporter(&failures);
    ModelRun run(options, std::move(open));
    for (uint64_t seed : steps) {
      run.step(seed);
      if (failures.size() > 0) break;
    }
    if (failures.size() == 0) run.finish();
  }
  if (failures.size() > 0) RC_LOG() << failures.GetTestPartResult(0).message() << '\n';
  return failures.size() == 0;
}

// Seeds do not shrink, lists of them do.
rc::Gen<std::vector<uint64_t>> steps_of(int scale) {
  auto seed = rc::gen::noShrink(rc::gen::arbitrary<uint64_t>());
  return rc::gen::scale(scale, rc::gen::container<std::vector<uint64_t>>(seed));
}

TEST(ModelTest, MapStoreEqualsTheModel) {
  bool held = rc::check([] {
    auto steps = *steps_of(10);
    TemporaryDirectory root;
    RC_ASSERT(holds(steps, {.changes_default_ttl = true}, [&](EngineOptions options) {
      MapStoreOptions map;
      map.dir = root.path();
      map.needs_disk_percent = 20;
      auto store = MapStore::open(io::real_file_system(), map);
      return Engine::over(std::move(*store), std::move(options));
    }));
  });
  EXPECT_TRUE(held);
}

TEST(ModelTest, RocksStoreEqualsTheModel) {
  SharedResourceOptions small;
  small.memory_bytes = 72 << 20;
  small.write_buffer_bytes = 64 << 20;
  SharedResources shared(small);
  bool held = rc::check([&] {
    auto steps = *steps_of(4);
    TemporaryDirectory root;
    RC_ASSERT(holds(steps, {}, [&](EngineOptions options) {
      options.dir = root.path() + "/rdb";
      return std::move(*Engine::open(shared, std::move(options)));
    }));
  });
  EXPECT_TRUE(held);
}

}  // namespace
}  // namespace markab::engine
