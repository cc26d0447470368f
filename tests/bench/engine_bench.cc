// The engine beside plain RocksDB, in one process and with the same options: what our layer costs.
// Read each pair's ratio; the absolute figures are the machine's.

#include <benchmark/benchmark.h>
#include <rocksdb/db.h>
#include <stdlib.h>

#include <filesystem>

#include "base/random.h"
#include "engine/key_codec.h"
#include "engine/resolver.h"
#include "engine/rocks_options.h"
#include "engine/rocks_store.h"
#include "engine/value_codec.h"

namespace markab::engine {
namespace {

constexpr int kHashKeys = 10000;
constexpr int kRowsOfOne = 100;
constexpr size_t kValueBytes = 200;
constexpr int64_t kWallUs = 1700000000000000;

std::string hash_key_of(uint64_t i) { return fmt::format("user{:010}", i); }

// A store under a temporary directory: kHashKeys rows "s", and one hash key with kRowsOfOne rows.
struct World {
  World() {
    char name[] = "/tmp/markab_bench_XXXXXX";
    root = mkdtemp(name);
    SharedResourceOptions options;
    options.block_cache_bytes = 256 << 20;
    options.write_buffer_bytes = 512 << 20;
    shared = make_shared_resources(options);
    EngineOptions engine_options;
    engine_options.gpid = {1, 0};
    engine_options.dir = root + "/engine";
    engine_options.now = [] { return Instant{1}; };
    engine = std::move(*Engine::open(*shared, std::move(engine_options)));
    open_plain();
  }
  ~World() {
    for (auto* handle : handles) plain->DestroyColumnFamilyHandle(handle);
    plain.reset();
    engine.reset();
    std::filesystem::remove_all(root);
  }
  void open_plain() {
    auto filter = std::make_shared<RecordFilterFactory>(settings, wall_us, 0);
    std::filesystem::create_directory(root + "/plain");
    rocksdb::DBOptions options = make_db_options(*shared, "plain");
    options.create_if_missing = options.create_missing_column_families = true;
    rocksdb::DB* raw = nullptr;
    rocksdb::DB::Open(options, root + "/plain",
                      {{"default", make_data_options(*shared, filter)},
                       {kMetaFamilyName, make_meta_options(*shared)}},
                      &handles, &raw);
    plain.reset(raw);
    plain_write.disableWAL = true;
  }
  void fill(bool flushed) {
    Resolver resolver(*engine);
    std::string value(kValueBytes, 'v');
    auto put = [&](const std::string& hash_key, const std::string& sort_key) {
      ResolveContext context{kWallUs, ++timestamp, 1};
      Decree decree = engine->store().last_applied() + 1;
      resolver.begin(decree, context);
      std::string key = make_key(hash_key, sort_key);
      wire::update_request r;
      r.key = wire::blob(key);
      r.value = wire::blob(value);
      WriteResult result;
      resolver.add(r, result);
      auto effects = resolver.end();
      (void)engine->apply(decree, *effects);
      resolver.applied(decree);
    };
    for (int i = 0; i < kHashKeys; ++i) put(hash_key_of(static_cast<uint64_t>(i)), "s");
    for (int i = 0; i < kRowsOfOne; ++i) put("many", fmt::format("{:05}", i));
    if (flushed) (void)engine->store().flush();
  }
  ReadContext context() const {
    ReadContext c;
    c.wall_us = kWallUs;
    c.now = Instant{1};
    c.memory_only = true;
    return c;
  }
  rocksdb::DB& engine_db() { return dynamic_cast<RocksStore&>(engine->store()).db(); }

  std::string root;
  std::shared_ptr<SharedResources> shared;
  std::unique_ptr<Engine> engine;
  LiveSettings settings{TableSettings()};
  Function<int64_t()> wall_us = [] { return kWallUs; };
  std::unique_ptr<rocksdb::DB> plain;
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::WriteOptions plain_write;
  int64_t timestamp = 0;
};

// --- get: from the memtable (0) and from cached blocks (1)
// ------------------------------------------------------------

void get_plain(benchmark::State& state) {
  World world;
  world.fill(state.range(0) == 1);
  Random random(1);
  rocksdb::ReadOptions options;
  options.read_tier = rocksdb::kBlockCacheTier;
  auto& db = world.engine_db();
  for (int warm = 0; warm < kHashKeys; ++warm) {
    std::string value;
    db.Get({}, make_key(hash_key_of(static_cast<uint64_t>(warm)), "s"), &value);
  }
  std::vector<std::string> keys;
  for (int i = 0; i < 4096; ++i)
    keys.push_back(make_key(hash_key_of(random.below(kHashKeys)), "s"));
  size_t at = 0;
  rocksdb::PinnableSlice value;
  for (auto _ : state) {
    value.Reset();
    benchmark::DoNotOptimize(
        db.Get(options, db.DefaultColumnFamily(), keys[at++ % keys.size()], &value));
  }
}
BENCHMARK(get_plain)->Arg(0)->Arg(1);

void get_engine(benchmark::State& state) {
  World world;
  world.fill(state.range(0) == 1);
  Random random(1);
  ReadContext context = world.context();
  context.memory_only = false;
  ReadArena arena;
  wire::read_response response;
  std::vector<std::string> keys;
  for (int i = 0; i < 4096; ++i)
    keys.push_back(make_key(hash_key_of(random.below(kHashKeys)), "s"));
  for (const std::string& key : keys) {
    arena.reset();
    world.engine->get(wire::blob(key), context, arena, response);
  }
  context.memory_only = true;
  size_t at = 0;
  for (auto _ : state) {
    arena.reset();
    benchmark::DoNotOptimize(
        world.engine->get(wire::blob(keys[at++ % keys.size()]), context, arena, response));
    if (response.error != 0) state.SkipWithError("not found");
  }
}
BENCHMARK(get_engine)->Arg(0)->Arg(1);

// --- writes: one mutation of N puts
// -----------------------------------------------------------------------------------

void write_plain(benchmark::State& state) {
  World world;
  Random random(1);
  std::string value = encode_value(1, 0, 0, std::string(kValueBytes, 'v'));
  std::vector<std::string> keys;
  for (int i = 0; i < 4096; ++i)
    keys.push_back(make_key(hash_key_of(random.below(kHashKeys)), "s"));
  size_t at = 0;
  for (auto _ : state) {
    rocksdb::WriteBatch batch;
    for (int64_t i = 0; i < state.range(0); ++i) batch.Put(keys[at++ % keys.size()], value);
    if (!world.plain->Write(world.plain_write, &batch).ok()) state.SkipWithError("write");
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(write_plain)->Arg(1)->Arg(32)->Iterations(20000);

// What Pegasus' layout asks of any server: the decree in the same batch.
void write_plain_with_decree(benchmark::State& state) {
  World world;
  Random random(1);
  std::string value = encode_value(1, 0, 0, std::string(kValueBytes, 'v'));
  std::vector<std::string> keys;
  for (int i = 0; i < 4096; ++i)
    keys.push_back(make_key(hash_key_of(random.below(kHashKeys)), "s"));
  size_t at = 0;
  int64_t decree = 0;
  for (auto _ : state) {
    rocksdb::WriteBatch batch;
    for (int64_t i = 0; i < state.range(0); ++i) batch.Put(keys[at++ % keys.size()], value);
    batch.Put(world.handles[1], kMetaLastFlushedDecree, std::to_string(++decree));
    if (!world.plain->Write(world.plain_write, &batch).ok()) state.SkipWithError("write");
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(write_plain_with_decree)->Arg(1)->Arg(32)->Iterations(20000);

void write_engine(benchmark::State& state) {
  World world;
  Random random(1);
  std::string value(kValueBytes, 'v');
  std::vector<std::string> keys;
  for (int i = 0; i < 4096; ++i)
    keys.push_back(make_key(hash_key_of(random.below(kHashKeys)), "s"));
  Resolver resolver(*world.engine);
  size_t at = 0;
  Decree decree = 0;
  WriteResult result;
  for (auto _ : state) {
    resolver.begin(++decree, {kWallUs, decree, 1});
    for (int64_t i = 0; i < state.range(0); ++i) {
      WriteRequest request;
      auto& r = request.emplace<wire::update_request>();
      r.key = wire::blob(keys[at++ % keys.size()]);
      r.value = wire::blob(value);
      resolver.add(request, result);
    }
    auto effects = resolver.end();
    if (!world.engine->apply(decree, *effects).ok()) state.SkipWithError("apply");
    resolver.applied(decree);
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(write_engine)->Arg(1)->Arg(32)->Iterations(20000);

// The resolver alone: what the primary adds before the log.
void resolve_put(benchmark::State& state) {
  World world;
  std::string value(kValueBytes, 'v');
  std::string key = make_key("user", "s");
  Resolver resolver(*world.engine);
  WriteRequest request;
  auto& r = request.emplace<wire::update_request>();
  r.key = wire::blob(key);
  r.value = wire::blob(value);
  WriteResult result;
  Decree decree = 0;
  for (auto _ : state) {
    resolver.begin(++decree, {kWallUs, decree, 1});
    resolver.add(request, result);
    benchmark::DoNotOptimize(resolver.end());
    resolver.applied(decree);
  }
}
BENCHMARK(resolve_put);

// incr on one row with N increments in flight: each finds the one before in the overlay.
void resolve_incr(benchmark::State& state) {
  World world;
  std::string key = make_key("counter", "s");
  Resolver resolver(*world.engine);
  WriteRequest request;
  auto& r = request.emplace<wire::incr_request>();
  r.key = wire::blob(key);
  r.increment = 1;
  WriteResult result;
  Decree decree = 0;
  for (auto _ : state) {
    resolver.begin(++decree, {kWallUs, decree, 1});
    resolver.add(request, result);
    benchmark::DoNotOptimize(resolver.end());
    if (decree > state.range(0)) resolver.applied(decree - state.range(0));
  }
}
BENCHMARK(resolve_incr)->Arg(1)->Arg(64);

// --- ranges of 100 rows
// -----------------------------------------------------------------------------------------------

void range_plain(benchmark::State& state) {
  World world;
  world.fill(state.range(0) == 1);
  std::string lower = make_key("many", "");
  std::string upper = key_after("many");
  rocksdb::Slice upper_slice(upper);
  rocksdb::ReadOptions options;
  options.iterate_upper_bound = &upper_slice;
  auto& db = world.engine_db();
  size_t rows = 0;
  for (auto _ : state) {
    std::unique_ptr<rocksdb::Iterator> it(db.NewIterator(options));
    std::vector<std::pair<std::string, std::string>> out;
    for (it->Seek(lower); it->Valid(); it->Next()) {
      out.emplace_back(it->key().ToString(), it->value().ToString());
    }
    rows += out.size();
  }
  state.SetItemsProcessed(static_cast<int64_t>(rows));
}
BENCHMARK(range_plain)->Arg(0)->Arg(1);

void multi_get_engine(benchmark::State& state) {
  World world;
  world.fill(state.range(0) == 1);
  wire::multi_get_request r;
  r.hash_key = wire::blob(std::string_view("many"));
  r.start_inclusive = true;
  ReadContext context = world.context();
  context.memory_only = false;
  ReadArena arena;
  wire::multi_get_response response;
  size_t rows = 0;
  for (auto _ : state) {
    arena.reset();
    if (world.engine->multi_get(r, context, arena, response) != ReadOutcome::kDone) {
      state.SkipWithError("disk");
    }
    context.memory_only = true;
    rows += response.kvs.size();
  }
  state.SetItemsProcessed(static_cast<int64_t>(rows));
}
BENCHMARK(multi_get_engine)->Arg(0)->Arg(1);

void points_plain(benchmark::State& state) {
  World world;
  world.fill(state.range(0) == 1);
  auto& db = world.engine_db();
  std::vector<std::string> keys;
  for (int i = 0; i < kRowsOfOne; ++i) keys.push_back(make_key("many", fmt::format("{:05}", i)));
  for (auto _ : state) {
    std::vector<rocksdb::PinnableSlice> values(keys.size());
    for (size_t i = 0; i < keys.size(); ++i) {
      benchmark::DoNotOptimize(db.Get({}, db.DefaultColumnFamily(), keys[i], &values[i]));
    }
  }
  state.SetItemsProcessed(state.iterations() * kRowsOfOne);
}
BENCHMARK(points_plain)->Arg(0)->Arg(1);

void multi_get_points_engine(benchmark::State& state) {
  World world;
  world.fill(state.range(0) == 1);
  std::vector<std::string> names;
  for (int i = 0; i < kRowsOfOne; ++i) names.push_back(fmt::format("{:05}", i));
  wire::multi_get_request r;
  r.hash_key = wire::blob(std::string_view("many"));
  for (const std::string& name : names) r.sort_keys.emplace_back(name);
  ReadContext context = world.context();
  context.memory_only = false;
  ReadArena arena;
  wire::multi_get_response response;
  for (auto _ : state) {
    arena.reset();
    world.engine->multi_get(r, context, arena, response);
    if (response.kvs.size() != kRowsOfOne) state.SkipWithError("rows");
  }
  state.SetItemsProcessed(state.iterations() * kRowsOfOne);
}
BENCHMARK(multi_get_points_engine)->Arg(0)->Arg(1);

// --- a scan of everything in batches of 1000
// ----------------------------------------------------------------------------

void scan_plain(benchmark::State& state) {
  World world;
  world.fill(true);
  rocksdb::ReadOptions options;
  options.total_order_seek = true;
  auto& db = world.engine_db();
  size_t rows = 0;
  for (auto _ : state) {
    std::unique_ptr<rocksdb::Iterator> it(db.NewIterator(options));
    std::vector<std::pair<std::string, std::string>> out;
    for (it->SeekToFirst(); it->Valid(); it->Next()) {
      out.emplace_back(it->key().ToString(), it->value().ToString());
      if (out.size() == 1000) out.clear();
      ++rows;
    }
  }
  state.SetItemsProcessed(static_cast<int64_t>(rows));
}
BENCHMARK(scan_plain);

void scan_engine(benchmark::State& state) {
  World world;
  world.fill(true);
  std::string start = make_key("", "");
  wire::get_scanner_request r;
  r.start_key = wire::blob(start);
  r.stop_key = wire::blob(std::string_view("\xff\xff"));
  r.start_inclusive = true;
  r.batch_size = 1000;
  ReadContext context = world.context();
  context.memory_only = false;
  ReadArena arena;
  size_t rows = 0;
  for (auto _ : state) {
    wire::scan_response response;
    arena.reset();
    world.engine->get_scanner(r, context, arena, response);
    rows += response.kvs.size();
    while (response.context_id != -1) {
      wire::scan_request next;
      next.context_id = response.context_id;
      arena.reset();
      world.engine->scan(next, context, arena, response);
      rows += response.kvs.size();
    }
  }
  state.SetItemsProcessed(static_cast<int64_t>(rows));
}
BENCHMARK(scan_engine);

}  // namespace
}  // namespace markab::engine
