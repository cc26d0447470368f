#include "engine/engine.h"

#include <random>

#include "base/assert.h"
#include "base/escape.h"
#include "engine/engine_impl.h"
#include "engine/rocks_store.h"

namespace markab::engine {

namespace {

uint64_t seed_of(const EngineOptions& options) {
  if (options.seed != 0) return options.seed;
  std::random_device device;
  return static_cast<uint64_t>(device()) << 32 | device();
}

}  // namespace

Result<std::unique_ptr<Engine>> Engine::open(SharedResources& shared, EngineOptions options) {
  if (!options.wall_us) {
    options.wall_us = [env = shared.env()] { return static_cast<int64_t>(env->NowMicros()); };
  }
  auto engine = std::make_unique<EngineImpl>(std::move(options));
  RocksStoreOptions rocks;
  rocks.gpid = engine->options().gpid;
  rocks.dir = engine->options().dir;
  rocks.settings = &engine->live_settings();
  rocks.wall_us = &engine->options().wall_us;
  auto store = RocksStore::open(shared, rocks);
  if (!store) return store.error();
  engine->attach(std::move(*store));
  return std::unique_ptr<Engine>(std::move(engine));
}

std::unique_ptr<Engine> Engine::over(std::unique_ptr<Store> store, EngineOptions options) {
  auto engine = std::make_unique<EngineImpl>(std::move(options));
  engine->attach(std::move(store));
  return engine;
}

EngineImpl::EngineImpl(EngineOptions options)
    : options_(std::move(options)), settings_(options_.settings), scans_(seed_of(options_)) {
  MARKAB_ASSERT(options_.now, "an engine needs a clock for its time limits");
}

void EngineImpl::attach(std::unique_ptr<Store> store) { store_ = std::move(store); }

Status EngineImpl::apply(Decree decree, std::string_view effects) {
  MARKAB_ASSERT(decree == store_->last_applied() + 1, "effects are applied in decree order", decree,
                store_->last_applied());
  return store_->write(decree, effects);
}

Status EngineImpl::apply_run(Decree first, const std::vector<std::string_view>& effects) {
  MARKAB_ASSERT(first == store_->last_applied() + 1, "effects are applied in decree order", first,
                store_->last_applied());
  return store_->write_run(first, effects);
}

bool EngineImpl::out_of_time(const ReadContext& context, int64_t threshold_ms) const {
  // In milliseconds, since the threshold may be any number that an operator wrote.
  return threshold_ms > 0 && (options_.now() - context.now).count() / 1000000 > threshold_ms;
}

int32_t storage_error(const Status& status) {
  switch (status.code()) {
    case Errc::kOk:
      return storage::kOk;
    case Errc::kRdbCorruption:
    case Errc::kCorruption:
      return storage::kCorruption;
    default:
      return storage::kIoError;
  }
}

int32_t EngineImpl::fail(Status status, ReadArena& arena) const {
  int32_t error = storage_error(status);
  arena.failure = std::move(status);
  return error;
}

int32_t EngineImpl::fail_damaged(std::string_view raw_key, ReadArena& arena) const {
  return fail(Status(Errc::kRdbCorruption,
                     fmt::format("the store of {} in {} holds a value that is shorter than its "
                                 "header, under the key \"{}\"",
                                 options_.gpid, options_.dir, escape_cut(raw_key))),
              arena);
}

}  // namespace markab::engine
