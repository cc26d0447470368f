// What scripts cannot show: which reads leave the shard, bounds of scan contexts, reads while
// writing.

#include "engine/engine.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "engine/effects.h"
#include "engine/key_codec.h"
#include "engine/resolver.h"
#include "engine/rocks_store.h"
#include "engine/value_codec.h"
#include "unit/engine/temporary_directory.h"

namespace markab::engine {
namespace {

class EngineTest : public testing::Test {
 protected:
  EngineTest() { open(); }

  void open() {
    engine_.reset();
    shared_.reset();  // the block cache goes with it
    SharedResourceOptions small;
    small.memory_bytes = 72 << 20;
    small.write_buffer_bytes = 64 << 20;
    shared_ = make_shared_resources(small);
    EngineOptions options;
    options.gpid = {2, 3};
    options.dir = root_.path() + "/rdb";
    options.now = [this] { return Instant{1} + look_takes_ * looks_++; };
    auto engine = Engine::open(*shared_, std::move(options));
    ASSERT_TRUE(engine) << engine.error().to_string();
    engine_ = std::move(*engine);
  }
  void put_rows(const std::string& hash_key, int count, size_t bytes = 10) {
    std::string effects;
    EffectsWriter::start(effects);
    for (int i = 0; i < count; ++i) {
      EffectsWriter::put(effects, hash_key, fmt::format("{:05}", i), encode_value(1, 0, 0, ""),
                         std::string(bytes, 'v'));
    }
    ASSERT_TRUE(engine_->apply(engine_->store().last_applied() + 1, effects).ok());
  }
  void remove_rows(const std::string& hash_key, int count) {
    std::string effects;
    EffectsWriter::start(effects);
    for (int i = 0; i < count; ++i)
      EffectsWriter::remove(effects, hash_key, fmt::format("{:05}", i));
    ASSERT_TRUE(engine_->apply(engine_->store().last_applied() + 1, effects).ok());
  }
  ReadContext context(bool memory_only, uint16_t peer = 1) const {
    ReadContext c;
    c.wall_us = 1700000000000000;
    c.now = Instant{1};
    c.memory_only = memory_only;
    c.peer = HostPort{0x0A000001, peer};
    return c;
  }
  ReadOutcome get(const std::string& hash_key, const std::string& sort_key, bool memory_only) {
    std::string key = make_key(hash_key, sort_key);
    arena_.reset();
    return engine_->get(wire::blob(key), context(memory_only), arena_, read_);
  }
  ReadOutcome multi_get(const std::string& hash_key, bool memory_only, int32_t count = 0) {
    wire::multi_get_request r;
    r.hash_key = wire::blob(hash_key);
    r.start_inclusive = true;
    r.max_kv_count = count;
    arena_.reset();
    return engine_->multi_get(r, context(memory_only), arena_, multi_);
  }
  int64_t start_scan(uint16_t peer = 1) {
    std::string start = make_key("", "");
    wire::get_scanner_request r;
    r.start_key = wire::blob(start);
    r.stop_key = wire::blob(std::string_view("\xff\xff"));
    r.start_inclusive = true;
    r.batch_size = 1;
    arena_.reset();
    wire::scan_response response;
    EXPECT_EQ(engine_->get_scanner(r, context(false, peer), arena_, response), ReadOutcome::kDone);
    EXPECT_EQ(response.error, 0);
    return response.context_id;
  }
  int32_t scan(int64_t id) {
    wire::scan_request r;
    r.context_id = id;
    wire::scan_response response;
    arena_.reset();
    EXPECT_EQ(engine_->scan(r, context(false), arena_, response), ReadOutcome::kDone);
    return response.error;
  }

  TemporaryDirectory root_;
  Duration look_takes_{};  // each look at the clock
  std::atomic<int64_t> looks_{0};
  std::shared_ptr<SharedResources> shared_;
  std::unique_ptr<Engine> engine_;
  ReadArena arena_;
  wire::read_response read_;
  wire::multi_get_response multi_;
};

TEST_F(EngineTest, MemtableIsMemory) {
  put_rows("h", 3);
  EXPECT_EQ(get("h", "00001", true), ReadOutcome::kDone);
  EXPECT_EQ(read_.error, storage::kOk);
  EXPECT_EQ(get("h", "missing", true), ReadOutcome::kDone);
  EXPECT_EQ(read_.error, storage::kNotFound);
  EXPECT_EQ(multi_get("h", true), ReadOutcome::kDone);
  EXPECT_EQ(multi_.kvs.size(), 3u);
}

TEST_F(EngineTest, ColdBlocksNeedTheDiskOnce) {
  put_rows("h", 100);
  ASSERT_TRUE(engine_->store().flush().ok());
  open();
  EXPECT_EQ(get("h", "00001", true), ReadOutcome::kNeedsDisk);
  EXPECT_EQ(multi_get("h", true), ReadOutcome::kNeedsDisk);
  EXPECT_TRUE(multi_.kvs.empty());
  EXPECT_EQ(get("h", "00001", false), ReadOutcome::kDone);
  EXPECT_EQ(read_.error, storage::kOk);
  EXPECT_EQ(get("h", "00001", true), ReadOutcome::kDone);
  EXPECT_EQ(read_.value.view, std::string(10, 'v'));
  EXPECT_EQ(multi_get("h", true), ReadOutcome::kDone);
  EXPECT_EQ(multi_.kvs.size(), 100u);
}

// replica.rocksdb_block_cache_enabled = false (02 §13).
TEST_F(EngineTest, ReadsLeaveTheCacheAsItIsWhereTheTableSaysSo) {
  put_rows("h", 100);
  ASSERT_TRUE(engine_->store().flush().ok());
  open();
  TableSettings settings;
  settings.block_cache_enabled = false;
  engine_->set_settings(settings);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(get("h", "00001", false), ReadOutcome::kDone);
    EXPECT_EQ(multi_get("h", false), ReadOutcome::kDone);
    EXPECT_EQ(get("h", "00001", true), ReadOutcome::kNeedsDisk);
  }
  engine_->set_settings(TableSettings());
  EXPECT_EQ(get("h", "00001", false), ReadOutcome::kDone);
  EXPECT_EQ(get("h", "00001", true), ReadOutcome::kDone);
}

// The shard's time is bounded: by rows, by bytes, by tombstones.
TEST_F(EngineTest, LongRangesLeaveTheShard) {
  put_rows("fits", kMaxIterationsOnShard);
  put_rows("many", kMaxIterationsOnShard + 1);
  put_rows("wide", 30, 10000);
  EXPECT_EQ(multi_get("fits", true), ReadOutcome::kDone);
  EXPECT_EQ(multi_get("many", true), ReadOutcome::kNeedsDisk);
  EXPECT_EQ(multi_get("many", true, 10), ReadOutcome::kDone);
  EXPECT_EQ(multi_get("wide", true), ReadOutcome::kNeedsDisk);
  EXPECT_EQ(multi_get("wide", false), ReadOutcome::kDone);
  EXPECT_EQ(multi_.kvs.size(), 30u);

  put_rows("graves", 5000);
  remove_rows("graves", 5000);
  EXPECT_EQ(multi_get("graves", true), ReadOutcome::kNeedsDisk);
  EXPECT_EQ(multi_get("graves", false), ReadOutcome::kDone);
  EXPECT_TRUE(multi_.kvs.empty());
  wire::count_response count;
  arena_.reset();
  EXPECT_EQ(
      engine_->sortkey_count(wire::blob(std::string_view("many")), context(true), arena_, count),
      ReadOutcome::kNeedsDisk);
}

// A count of very many rows lets others in, and still counts one view of the store.
TEST_F(EngineTest, CountsAreDoneInSlices) {
  put_rows("many", 5000);
  look_takes_ = std::chrono::milliseconds(1);
  ReadContext c = context(false);
  c.slice = std::chrono::milliseconds(3);
  wire::count_response response;
  arena_.reset();
  int slices = 1;
  while (engine_->sortkey_count(wire::blob("many"), c, arena_, response) ==
         ReadOutcome::kUnfinished) {
    ++slices;
    put_rows("many", 6000);  // by another, meanwhile
    ASSERT_LT(slices, 100);
  }
  EXPECT_GT(slices, 3);
  EXPECT_EQ(response.error, storage::kOk);
  EXPECT_EQ(response.count, 5000);
  EXPECT_EQ(arena_.stats.iterations, 5000u);
  EXPECT_EQ(arena_.unfinished, nullptr);
  // Shorter than a look takes: it ends none the less.
  c.slice = Duration(1);
  arena_.reset();
  slices = 1;
  while (engine_->sortkey_count(wire::blob("many"), c, arena_, response) ==
         ReadOutcome::kUnfinished) {
    ++slices;
  }
  EXPECT_EQ(response.count, 6000);
  EXPECT_EQ(slices, 21);  // ended by each of 20 looks
  // And the time limit counts from the first slice.
  TableSettings settings;
  settings.iteration_threshold_ms = 5;
  engine_->set_settings(settings);
  looks_ = 0;
  arena_.reset();
  while (engine_->sortkey_count(wire::blob("many"), c, arena_, response) ==
         ReadOutcome::kUnfinished) {
  }
  EXPECT_EQ(response.count, -1);
  // Left half done: the arena lets go of the view.
  c.slice = Duration(1);
  settings.iteration_threshold_ms = 0;
  engine_->set_settings(settings);
  arena_.reset();
  ASSERT_EQ(engine_->sortkey_count(wire::blob("many"), c, arena_, response),
            ReadOutcome::kUnfinished);
  EXPECT_NE(arena_.unfinished, nullptr);
  arena_.reset();
}

TEST_F(EngineTest, ManyPointsLeaveTheShard) {
  put_rows("h", 10);
  wire::multi_get_request r;
  r.hash_key = wire::blob(std::string_view("h"));
  wire::batch_get_request b;
  for (uint32_t i = 0; i <= kMaxIterationsOnShard; ++i) {
    r.sort_keys.emplace_back(std::string_view("00001"));
    wire::full_key& key = b.keys.emplace_back();
    key.hash_key = r.hash_key;
    key.sort_key = r.sort_keys[0];
  }
  EXPECT_EQ(engine_->multi_get(r, context(true), arena_, multi_), ReadOutcome::kNeedsDisk);
  wire::batch_get_response batch;
  EXPECT_EQ(engine_->batch_get(b, context(true), arena_, batch), ReadOutcome::kNeedsDisk);
  arena_.reset();
  EXPECT_EQ(engine_->multi_get(r, context(false), arena_, multi_), ReadOutcome::kDone);
  EXPECT_EQ(multi_.kvs.size(), kMaxIterationsOnShard + 1);
  EXPECT_EQ(engine_->batch_get(b, context(false), arena_, batch), ReadOutcome::kDone);
  EXPECT_EQ(batch.data.size(), kMaxIterationsOnShard + 1);
}

TEST_F(EngineTest, OnlyShortScansOfOneHashKeyStayOnTheShard) {
  put_rows("h", 50);
  auto outcome = [&](const std::string& start, std::string_view stop, int32_t batch) {
    wire::get_scanner_request r;
    r.start_key = wire::blob(start);
    r.stop_key = wire::blob(stop);
    r.start_inclusive = true;
    r.batch_size = batch;
    wire::scan_response response;
    arena_.reset();
    return engine_->get_scanner(r, context(true), arena_, response);
  };
  std::string start = make_key("h", "");
  std::string stop = key_after("h");
  EXPECT_EQ(outcome(start, stop, 100), ReadOutcome::kDone);
  EXPECT_EQ(outcome(start, stop, 10), ReadOutcome::kNeedsDisk) << "it has more batches";
  EXPECT_EQ(outcome(start, "\xff\xff", 100), ReadOutcome::kNeedsDisk) << "the whole partition";
  EXPECT_EQ(engine_->scanner_count(), 0u);
}

TEST_F(EngineTest, AnswerTooLargeForAFrameIsCut) {
  put_rows("h", 60, 1000000);
  wire::multi_get_request r;
  r.hash_key = wire::blob(std::string_view("h"));
  std::vector<std::string> names;
  for (int i = 0; i < 60; ++i) names.push_back(fmt::format("{:05}", i));
  for (const std::string& name : names) r.sort_keys.emplace_back(name);
  EXPECT_EQ(engine_->multi_get(r, context(false), arena_, multi_), ReadOutcome::kDone);
  EXPECT_EQ(multi_.error, storage::kIncomplete);
  EXPECT_LT(multi_.kvs.size(), 60u);
  EXPECT_GT(multi_.kvs.size(), 40u);
}

// Hash keys at, above and far above the limit of 65534 bytes, in every request that carries one
// (spec 02 §6).
TEST_F(EngineTest, HashKeyLimitHoldsEverywhere) {
  Resolver resolver(*engine_);
  for (size_t size :
       {size_t{65533}, size_t{65534}, size_t{65535}, size_t{65536}, size_t{1} << 20}) {
    SCOPED_TRACE(size);
    const int32_t expected = size <= kMaxHashKeyBytes ? 0 : 4;
    std::string bytes(size, 'h');
    wire::blob hash_key(bytes);
    wire::blob one(std::string_view("1"));

    resolver.begin(engine_->store().last_applied() + 1, {1700000000000000, 1, 1});
    auto add = [&](const WriteRequest& request) {
      WriteResult result;
      EXPECT_EQ(resolver.add(request, result), Resolver::Outcome::kDone);
      EXPECT_EQ(result.has_effects, expected == 0);
      uint64_t hash = 0;
      EXPECT_EQ(row_hash(request, hash), expected == 0);
      return result.error;
    };
    wire::multi_put_request multi_put;
    multi_put.hash_key = hash_key;
    multi_put.kvs.emplace_back().key = one;
    EXPECT_EQ(add(multi_put), expected);
    wire::check_and_set_request check_and_set;
    check_and_set.hash_key = hash_key;
    EXPECT_EQ(add(check_and_set), expected);
    wire::check_and_mutate_request check_and_mutate;
    check_and_mutate.hash_key = hash_key;
    check_and_mutate.mutate_list.emplace_back().sort_key = one;
    EXPECT_EQ(add(check_and_mutate), expected);
    wire::multi_remove_request multi_remove;
    multi_remove.hash_key = hash_key;
    multi_remove.sort_keys.push_back(one);
    EXPECT_EQ(add(multi_remove), expected);
    if (auto effects = resolver.end()) {
      ASSERT_TRUE(engine_->apply(engine_->store().last_applied() + 1, *effects).ok());
    }
    resolver.applied(engine_->store().last_applied());

    EXPECT_EQ(multi_get(bytes, false), ReadOutcome::kDone);
    EXPECT_EQ(multi_.error, expected);
    wire::multi_get_request points;
    points.hash_key = hash_key;
    points.sort_keys.push_back(one);
    arena_.reset();
    EXPECT_EQ(engine_->multi_get(points, context(false), arena_, multi_), ReadOutcome::kDone);
    EXPECT_EQ(multi_.error, expected);
    wire::batch_get_request batch;
    batch.keys.emplace_back().hash_key = hash_key;
    wire::batch_get_response batch_answer;
    EXPECT_EQ(engine_->batch_get(batch, context(false), arena_, batch_answer), ReadOutcome::kDone);
    EXPECT_EQ(batch_answer.error, expected);
    wire::count_response count;
    arena_.reset();
    EXPECT_EQ(engine_->sortkey_count(hash_key, context(false), arena_, count), ReadOutcome::kDone);
    EXPECT_EQ(count.error, expected);
  }
}

TEST_F(EngineTest, ScanIdsArePositiveAndUniqueAcrossOpens) {
  put_rows("h", 10);
  int64_t first = start_scan();
  EXPECT_GT(first, int64_t{1} << 32);
  EXPECT_EQ(start_scan(), first + 1);
  ASSERT_TRUE(engine_->store().flush().ok());
  open();
  int64_t other = start_scan();
  EXPECT_NE(first >> 32, other >> 32);
  EXPECT_EQ(scan(first), storage::kNotFound);
  EXPECT_EQ(scan(other), storage::kOk);
}

TEST_F(EngineTest, OldestScanOfAPeerMakesRoom) {
  put_rows("h", 10);
  int64_t bystander = start_scan(2);
  std::vector<int64_t> ids;
  for (size_t i = 0; i < kMaxScanContextsPerPeer; ++i) ids.push_back(start_scan(1));
  EXPECT_EQ(engine_->scanner_count(), kMaxScanContextsPerPeer + 1);
  start_scan(1);
  EXPECT_EQ(engine_->scanner_count(), kMaxScanContextsPerPeer + 1);
  EXPECT_EQ(scan(ids[0]), storage::kNotFound);
  EXPECT_EQ(scan(ids[1]), storage::kOk);
  EXPECT_EQ(scan(bystander), storage::kOk);
}

TEST_F(EngineTest, ScansOfAllPeersAreBounded) {
  put_rows("h", 10);
  int64_t first = start_scan(1);
  for (size_t i = 0; i < kMaxScanContexts; ++i) start_scan(static_cast<uint16_t>(2 + i / 100));
  EXPECT_EQ(engine_->scanner_count(), kMaxScanContexts);
  EXPECT_EQ(scan(first), storage::kNotFound);
}

// Readers on other threads see whole mutations only: both rows of a mutation have the same number.
TEST_F(EngineTest, ReadersSeeWholeMutations) {
  std::atomic<bool> stop{false};
  auto effects_of = [](int n) {
    std::string effects;
    EffectsWriter::start(effects);
    std::string number = std::to_string(n);
    EffectsWriter::put(effects, "h", "a", encode_value(1, 0, 0, ""), number);
    EffectsWriter::put(effects, "h", "b", encode_value(1, 0, 0, ""), number);
    return effects;
  };
  ASSERT_TRUE(engine_->apply(1, effects_of(1)).ok());
  std::vector<std::thread> readers;
  std::atomic<int> torn{0};
  std::atomic<int> seen{0};
  for (uint16_t i = 0; i < 3; ++i) {
    readers.emplace_back([&, i] {
      ReadArena arena;
      while (!stop.load()) {
        wire::multi_get_request r;
        r.hash_key = wire::blob(std::string_view("h"));
        r.start_inclusive = true;
        wire::multi_get_response response;
        arena.reset();
        if (engine_->multi_get(r, context(false, i), arena, response) != ReadOutcome::kDone ||
            response.kvs.size() != 2 || response.kvs[0].value.view != response.kvs[1].value.view) {
          torn.fetch_add(1);
        }
        engine_->settings();
        engine_->store().last_flushed();
        seen.fetch_add(1);
      }
    });
  }
  Decree decree = 1;
  while (seen.load() < 3000) {
    ++decree;
    ASSERT_TRUE(engine_->apply(decree, effects_of(static_cast<int>(decree))).ok());
    if (decree % 500 == 0) {
      ASSERT_TRUE(engine_->store().flush().ok());
    }
    engine_->set_settings(TableSettings());
  }
  stop.store(true);
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(torn.load(), 0);
}

}  // namespace
}  // namespace markab::engine
