// The engine beside plain RocksDB: what our layer costs (issue 4, "How good"). Both do the same
// work in one process, on stores with the same options, in turn and slice by slice, so that
// whatever else the machine does meets both alike.
//
// Read the counters: `plain_ns` and `engine_ns` are processor time of this thread for one operation
// (the median slice), `ratio` is their quotient, `*_allocs` are allocations for one operation,
// RocksDB's own among them. The absolute figures are the machine's.

#include <benchmark/benchmark.h>
#include <rocksdb/db.h>
#include <stdlib.h>
#include <time.h>

#include <algorithm>
#include <filesystem>
#include <new>

#include "base/random.h"
#include "engine/key_codec.h"
#include "engine/resolver.h"
#include "engine/rocks_options.h"
#include "engine/rocks_store.h"
#include "engine/value_codec.h"

namespace {
thread_local int64_t allocations = 0;
}  // namespace

// Every allocation of the program and of its libraries comes through here.
void* operator new(size_t size) {
  ++allocations;
  void* p = malloc(size);
  if (p == nullptr) throw std::bad_alloc();
  return p;
}
void* operator new[](size_t size) { return operator new(size); }
void operator delete(void* p) noexcept { free(p); }
void operator delete[](void* p) noexcept { free(p); }
void operator delete(void* p, size_t) noexcept { free(p); }
void operator delete[](void* p, size_t) noexcept { free(p); }

namespace markab::engine {
namespace {

constexpr int kHashKeys = 10000;
constexpr int kRowsOfOne = 100;
constexpr size_t kValueBytes = 100;
constexpr int64_t kWallUs = 1700000000000000;
constexpr size_t kKeyRing = 4096;

std::string hash_key_of(uint64_t i) { return fmt::format("user{:010}", i); }

int64_t thread_ns() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return int64_t{t.tv_sec} * 1000000000 + t.tv_nsec;
}

// What one side has cost so far.
class Cost {
 public:
  template <typename Operation>
  int64_t slice(int operations, Operation& operation) {
    int64_t allocated = allocations;
    int64_t start = thread_ns();
    for (int i = 0; i < operations; ++i) operation();
    int64_t spent = thread_ns() - start;
    allocated_ += allocations - allocated;
    operations_ += operations;
    slices_.push_back(static_cast<double>(spent) / operations);
    return spent;
  }
  double median_ns() {
    auto middle = slices_.begin() + static_cast<std::ptrdiff_t>(slices_.size() / 2);
    std::nth_element(slices_.begin(), middle, slices_.end());
    return *middle;
  }
  double allocs() const {
    return static_cast<double>(allocated_) / static_cast<double>(operations_);
  }

 private:
  std::vector<double> slices_;
  int64_t allocated_ = 0;
  int64_t operations_ = 0;
};

// Runs both in turn, `operations` of each in a slice.
template <typename Plain, typename Ours>
void compare(benchmark::State& state, int operations, Plain plain, Ours ours) {
  Cost plain_cost;
  Cost our_cost;
  for (auto _ : state) {
    plain_cost.slice(operations, plain);
    state.SetIterationTime(static_cast<double>(our_cost.slice(operations, ours)) * 1e-9);
  }
  state.counters["plain_ns"] = plain_cost.median_ns();
  state.counters["engine_ns"] = our_cost.median_ns();
  state.counters["ratio"] = our_cost.median_ns() / plain_cost.median_ns();
  state.counters["plain_allocs"] = plain_cost.allocs();
  state.counters["engine_allocs"] = our_cost.allocs();
}

// A store of ours and a plain one with the same options, under a temporary directory.
struct World {
  World() {
    char name[] = "/tmp/markab_bench_XXXXXX";
    root = mkdtemp(name);
    SharedResourceOptions options;
    options.memory_bytes = 1 << 30;
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
    options.statistics = std::make_shared<TickerCounts>();
    options.create_if_missing = options.create_missing_column_families = true;
    rocksdb::DB* raw = nullptr;
    rocksdb::DB::Open(options, root + "/plain",
                      {{"default", make_data_options(*shared, filter)},
                       {kMetaFamilyName, make_meta_options(*shared)}},
                      &handles, &raw);
    plain.reset(raw);
    plain_write.disableWAL = true;
  }
  // kHashKeys rows "s", and one hash key with kRowsOfOne rows, in our store.
  void fill(bool flushed) {
    Resolver resolver(*engine);
    std::string value(kValueBytes, 'v');
    auto put = [&](const std::string& hash_key, const std::string& sort_key) {
      ResolveContext context{kWallUs, ++timestamp, 1};
      Decree decree = engine->store().last_applied() + 1;
      resolver.begin(decree, context);
      std::string key = make_key(hash_key, sort_key);
      WriteRequest request;
      auto& r = request.emplace<wire::update_request>();
      r.key = wire::blob(key);
      r.value = wire::blob(value);
      WriteResult result;
      resolver.add(request, result);
      auto effects = resolver.end();
      (void)engine->apply(decree, *effects);
      resolver.applied(decree);
    };
    for (int i = 0; i < kHashKeys; ++i) put(hash_key_of(static_cast<uint64_t>(i)), "s");
    for (int i = 0; i < kRowsOfOne; ++i) put("many", fmt::format("{:05}", i));
    if (!flushed) return;
    (void)engine->store().flush();
    // Into the block cache.
    std::unique_ptr<rocksdb::Iterator> all(engine_db().NewIterator(total_order()));
    for (all->SeekToFirst(); all->Valid(); all->Next()) {
    }
    for (const std::string& key : random_keys()) {
      rocksdb::PinnableSlice value_read;
      engine_db().Get({}, engine_db().DefaultColumnFamily(), key, &value_read);
    }
  }
  static rocksdb::ReadOptions total_order() {
    rocksdb::ReadOptions options;
    options.total_order_seek = true;
    return options;
  }
  static std::vector<std::string> random_keys() {
    Random random(1);
    std::vector<std::string> keys;
    for (size_t i = 0; i < kKeyRing; ++i)
      keys.push_back(make_key(hash_key_of(random.below(kHashKeys)), "s"));
    return keys;
  }
  ReadContext context(bool memory_only) const {
    ReadContext c;
    c.wall_us = kWallUs;
    c.now = Instant{1};
    c.memory_only = memory_only;
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

// --- get of 100 bytes: from the memtable (0) and from cached blocks (1)

void get(benchmark::State& state) {
  World world;
  world.fill(state.range(0) == 1);
  auto keys = World::random_keys();
  rocksdb::ReadOptions options;
  options.read_tier = rocksdb::kBlockCacheTier;
  auto& db = world.engine_db();
  rocksdb::PinnableSlice value;
  size_t plain_at = 0;
  auto plain = [&] {
    value.Reset();
    auto got = db.Get(options, db.DefaultColumnFamily(), keys[plain_at++ % kKeyRing], &value);
    if (!got.ok()) state.SkipWithError("not found");
  };
  ReadContext context = world.context(true);
  ReadArena arena;
  wire::read_response response;
  size_t our_at = 0;
  auto ours = [&] {
    arena.reset();
    auto outcome =
        world.engine->get(wire::blob(keys[our_at++ % kKeyRing]), context, arena, response);
    if (outcome != ReadOutcome::kDone || response.error != 0) state.SkipWithError("not found");
  };
  compare(state, 2000, plain, ours);
}
BENCHMARK(get)->Arg(0)->Arg(1)->UseManualTime();

// --- writes: one mutation of N puts, resolved and applied; against a batch of N puts

void put(benchmark::State& state, bool with_decree) {
  World world;
  auto keys = World::random_keys();
  std::string value(kValueBytes, 'v');
  std::string stored = encode_value(1, 0, 0, value);
  const int64_t puts = state.range(0);
  size_t plain_at = 0;
  int64_t plain_decree = 0;
  auto plain = [&] {
    rocksdb::WriteBatch batch;
    for (int64_t i = 0; i < puts; ++i) batch.Put(keys[plain_at++ % kKeyRing], stored);
    if (with_decree) {
      batch.Put(world.handles[1], kMetaLastFlushedDecree, std::to_string(++plain_decree));
    }
    if (!world.plain->Write(world.plain_write, &batch).ok()) state.SkipWithError("write");
  };
  Resolver resolver(*world.engine);
  WriteRequest request;
  WriteResult result;
  Decree decree = 0;
  size_t our_at = 0;
  auto ours = [&] {
    resolver.begin(++decree, {kWallUs, decree, 1});
    for (int64_t i = 0; i < puts; ++i) {
      auto& r = request.emplace<wire::update_request>();
      r.key = wire::blob(keys[our_at++ % kKeyRing]);
      r.value = wire::blob(value);
      resolver.add(request, result);
    }
    auto effects = resolver.end();
    if (!world.engine->apply(decree, *effects).ok()) state.SkipWithError("apply");
    resolver.applied(decree);
  };
  compare(state, puts == 1 ? 1000 : 50, plain, ours);
}
BENCHMARK_CAPTURE(put, beside_the_puts_alone, false)
    ->Arg(1)
    ->Arg(32)
    ->UseManualTime()
    ->Iterations(200);
// What Pegasus' layout asks of any server: the decree in the same batch.
BENCHMARK_CAPTURE(put, beside_puts_and_decree, true)
    ->Arg(1)
    ->Arg(32)
    ->UseManualTime()
    ->Iterations(200);

// --- 100 rows of one hash key: by range, and by name. The plain side copies what it finds, as any
// answer must.

void multi_get(benchmark::State& state) {
  World world;
  world.fill(state.range(0) == 1);
  std::string lower = make_key("many", "");
  std::string upper = key_after("many");
  rocksdb::Slice upper_slice(upper);
  rocksdb::ReadOptions options;
  options.read_tier = rocksdb::kBlockCacheTier;
  options.iterate_upper_bound = &upper_slice;
  options.prefix_same_as_start = true;
  auto& db = world.engine_db();
  std::string copied;
  std::vector<std::pair<size_t, size_t>> rows;
  auto plain = [&] {
    std::unique_ptr<rocksdb::Iterator> it(db.NewIterator(options));
    copied.clear();
    rows.clear();
    for (it->Seek(lower); it->Valid(); it->Next()) {
      rows.emplace_back(it->key().size(), it->value().size());
      copied.append(it->key().data(), it->key().size());
      copied.append(it->value().data(), it->value().size());
    }
    if (rows.size() != kRowsOfOne) state.SkipWithError("rows");
  };
  wire::multi_get_request r;
  r.hash_key = wire::blob(std::string_view("many"));
  r.start_inclusive = true;
  ReadContext context = world.context(true);
  ReadArena arena;
  wire::multi_get_response response;
  auto ours = [&] {
    arena.reset();
    auto outcome = world.engine->multi_get(r, context, arena, response);
    if (outcome != ReadOutcome::kDone || response.kvs.size() != kRowsOfOne)
      state.SkipWithError("rows");
  };
  compare(state, 50, plain, ours);
}
BENCHMARK(multi_get)->Arg(0)->Arg(1)->UseManualTime();

void multi_get_points(benchmark::State& state) {
  World world;
  world.fill(state.range(0) == 1);
  auto& db = world.engine_db();
  std::vector<std::string> keys;
  std::vector<std::string> names;
  for (int i = 0; i < kRowsOfOne; ++i) names.push_back(fmt::format("{:05}", i));
  for (const auto& name : names) keys.push_back(make_key("many", name));
  std::vector<rocksdb::PinnableSlice> values(keys.size());
  auto plain = [&] {
    for (size_t i = 0; i < keys.size(); ++i) {
      values[i].Reset();
      if (!db.Get({}, db.DefaultColumnFamily(), keys[i], &values[i]).ok())
        state.SkipWithError("not found");
    }
  };
  wire::multi_get_request r;
  r.hash_key = wire::blob(std::string_view("many"));
  for (const std::string& name : names) r.sort_keys.emplace_back(name);
  ReadContext context = world.context(true);
  ReadArena arena;
  wire::multi_get_response response;
  auto ours = [&] {
    arena.reset();
    world.engine->multi_get(r, context, arena, response);
    if (response.kvs.size() != kRowsOfOne) state.SkipWithError("rows");
  };
  compare(state, 20, plain, ours);
}
BENCHMARK(multi_get_points)->Arg(0)->Arg(1)->UseManualTime();

// --- a scan of everything in batches of 1000

void scan(benchmark::State& state) {
  World world;
  world.fill(true);
  rocksdb::ReadOptions options = World::total_order();
  auto& db = world.engine_db();
  std::string copied;
  auto plain = [&] {
    std::unique_ptr<rocksdb::Iterator> it(db.NewIterator(options));
    size_t rows = 0;
    for (it->SeekToFirst(); it->Valid(); it->Next()) {
      copied.append(it->key().data(), it->key().size());
      copied.append(it->value().data(), it->value().size());
      if (++rows % 1000 == 0) copied.clear();
    }
    copied.clear();
  };
  std::string start = make_key("", "");
  wire::get_scanner_request r;
  r.start_key = wire::blob(start);
  r.stop_key = wire::blob(std::string_view("\xff\xff"));
  r.start_inclusive = true;
  r.batch_size = 1000;
  ReadContext context = world.context(false);
  ReadArena arena;
  auto ours = [&] {
    wire::scan_response response;
    arena.reset();
    world.engine->get_scanner(r, context, arena, response);
    size_t rows = response.kvs.size();
    while (response.context_id != -1) {
      wire::scan_request next;
      next.context_id = response.context_id;
      arena.reset();
      world.engine->scan(next, context, arena, response);
      rows += response.kvs.size();
    }
    if (rows != kHashKeys + kRowsOfOne) state.SkipWithError("rows");
  };
  compare(state, 1, plain, ours);
}
BENCHMARK(scan)->UseManualTime();

// --- the resolver alone: what the primary adds before the log

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
  int64_t before = allocations;
  for (auto _ : state) {
    resolver.begin(++decree, {kWallUs, decree, 1});
    resolver.add(request, result);
    benchmark::DoNotOptimize(resolver.end());
    resolver.applied(decree);
  }
  state.counters["engine_allocs"] =
      static_cast<double>(allocations - before) / static_cast<double>(decree);
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

}  // namespace
}  // namespace markab::engine
