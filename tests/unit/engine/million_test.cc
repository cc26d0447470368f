// A million random operations on RocksDB against the model (model_run.h): once with a fixed seed,
// once with a seed that is new each time and printed. MARKAB_MODEL_OPERATIONS and MARKAB_MODEL_SEED
// change them. Takes about 20 seconds of one core each.

#include <gtest/gtest.h>

#include <cstdlib>
#include <random>

#include "engine/rocks_store.h"
#include "unit/engine/model_run.h"
#include "unit/engine/temporary_directory.h"

namespace markab::engine {
namespace {

constexpr uint64_t kFixedSeed = 20240229;

uint64_t from_environment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 0);
}

void run_operations(uint64_t seed) {
  const uint64_t operations = from_environment("MARKAB_MODEL_OPERATIONS", 1000000);
  SharedResourceOptions small;
  small.memory_bytes = 72 << 20;
  small.write_buffer_bytes = 64 << 20;
  SharedResources shared(small);
  TemporaryDirectory root;
  ModelOptions options;
  options.steps_per_flush = 2000;
  options.steps_per_crash = 10000;
  options.steps_per_comparison = 200;
  ModelRun run(options, [&](EngineOptions engine_options) {
    engine_options.dir = root.path() + "/rdb";
    auto engine = Engine::open(shared, std::move(engine_options));
    EXPECT_TRUE(engine) << engine.error().to_string();
    return std::move(*engine);
  });
  Random steps(seed);
  uint64_t step = 0;
  for (; run.operations() < operations && !testing::Test::HasFailure(); ++step)
    run.step(steps.next());
  ASSERT_FALSE(testing::Test::HasFailure())
      << "seed " << seed << " differs at step " << step << ": MARKAB_MODEL_SEED=" << seed;
  run.finish();
  std::printf(
      "figure: random operations against the model, seed %llu: %llu operations in %llu steps, %llu "
      "rows compared, no difference\n",
      static_cast<unsigned long long>(seed), static_cast<unsigned long long>(run.operations()),
      static_cast<unsigned long long>(step), static_cast<unsigned long long>(run.rows_compared()));
}

TEST(MillionTest, FixedSeed) { run_operations(from_environment("MARKAB_MODEL_SEED", kFixedSeed)); }

TEST(MillionTest, NewSeed) {
  std::random_device device;
  run_operations(static_cast<uint64_t>(device()) << 32 | device());
}

}  // namespace
}  // namespace markab::engine
