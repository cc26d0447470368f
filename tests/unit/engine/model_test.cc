// Random operations, batches, flushes and restarts against a plain map: resolve and apply equal the
// model, whatever the store, whatever is in flight, whatever is on disk. A failing seed prints
// itself and replays.

#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <optional>

#include "base/random.h"
#include "engine/key_codec.h"
#include "engine/map_store.h"
#include "engine/resolver.h"
#include "engine/rocks_store.h"
#include "unit/engine/temporary_directory.h"

namespace markab::engine {
namespace {

struct Row {
  std::string value;
  uint32_t expire_ts = 0;
};
using Rows = std::map<std::pair<std::string, std::string>, Row>;

// The rules of spec 02 §7 once more, over a map.
class Model {
 public:
  Rows rows;
  std::atomic<uint32_t> now{1000};  // compactions look at it from threads of theirs
  uint32_t default_ttl = 0;

  const Row* live(const std::string& h, const std::string& s) const {
    auto at = rows.find({h, s});
    if (at == rows.end()) return nullptr;
    bool dead = at->second.expire_ts != 0 && at->second.expire_ts <= now;
    return dead ? nullptr : &at->second;
  }
  void put(const std::string& h, const std::string& s, const std::string& value,
           uint32_t expire_ts) {
    if (expire_ts == 0 && default_ttl != 0) expire_ts = now + default_ttl;
    rows[{h, s}] = Row{value, expire_ts};
  }
  std::pair<int32_t, int64_t> incr(const std::string& h, const std::string& s, int64_t by,
                                   int32_t expire_ts) {
    const Row* row = live(h, s);
    int64_t old_value = 0;
    if (row != nullptr && !row->value.empty()) {
      char* end = nullptr;
      errno = 0;
      old_value = strtoll(row->value.c_str(), &end, 0);
      if (errno != 0 || *end != 0) return {4, 0};
    }
    if ((by > 0 && old_value > INT64_MAX - by) || (by < 0 && old_value < INT64_MIN - by)) {
      return {4, old_value};
    }
    uint32_t kept = row == nullptr ? 0 : row->expire_ts;
    uint32_t expire = expire_ts == 0 ? kept : expire_ts < 0 ? 0 : static_cast<uint32_t>(expire_ts);
    put(h, s, std::to_string(old_value + by), expire);
    return {0, old_value + by};
  }
};

class ModelRun {
 public:
  using Open = Function<std::unique_ptr<Engine>(EngineOptions)>;

  // Compaction gives default_ttl to old rows at its own time, so only a store without it can have
  // changing ones.
  ModelRun(uint64_t seed, bool changes_default_ttl, Open open)
      : random_(seed), changes_default_ttl_(changes_default_ttl), open_(std::move(open)) {
    reopen();
  }

  void run(int steps) {
    for (int i = 0; i < steps && !testing::Test::HasFailure(); ++i) step();
    apply_some(in_flight_.size());
    compare_all();
  }

 private:
  void reopen() {
    resolver_.reset();
    engine_.reset();
    EngineOptions options;
    options.gpid = {1, 0};
    options.now = [] { return Instant{1}; };
    options.wall_us = [this] { return wall_us(); };
    options.seed = random_.next();
    options.settings.default_ttl_s = static_cast<int32_t>(model_.default_ttl);
    engine_ = open_(std::move(options));
    resolver_ = std::make_unique<Resolver>(*engine_);
  }
  int64_t wall_us() const { return (kExpiryEpoch + model_.now.load()) * 1000000; }

  std::string hash_key() {
    static const char* const kHashKeys[] = {
        "", "a", "b", "ab", "\xff", "\xff\xff", "long-hash-key"};
    return kHashKeys[random_.below(std::size(kHashKeys))];
  }
  std::string sort_key() {
    if (random_.chance(0.1)) return "";
    return std::string(1 + random_.below(2), static_cast<char>("ab\xff\x00z"[random_.below(5)]));
  }
  std::string value() {
    if (random_.chance(0.3)) return std::to_string(static_cast<int64_t>(random_.below(20)) - 10);
    if (random_.chance(0.05)) return "9223372036854775800";
    return std::string(random_.below(12), static_cast<char>('a' + random_.below(3)));
  }
  int32_t expire_ts() {
    if (random_.chance(0.6)) return 0;
    return static_cast<int32_t>(model_.now + random_.below(40)) - 10;
  }

  void step() {
    switch (random_.below(20)) {
      case 0:
        apply_some(in_flight_.size());
        ASSERT_TRUE(engine_->store().flush().ok());
        flushed_ = applied_;
        flushed_decree_ = engine_->store().last_applied();
        break;
      case 1:
        if (random_.chance(0.2)) crash();
        break;
      case 2:
        model_.now += static_cast<uint32_t>(random_.below(10));
        break;
      case 3: {
        if (!changes_default_ttl_) break;
        model_.default_ttl = random_.chance(0.5) ? 0 : static_cast<uint32_t>(random_.below(30));
        TableSettings settings;
        settings.default_ttl_s = static_cast<int32_t>(model_.default_ttl);
        engine_->set_settings(settings);
        break;
      }
      case 4:
      case 5:
        apply_some(in_flight_.size());
        compare_all();
        break;
      case 6:
      case 7:
        compare_multi_get();
        break;
      case 8:
        apply_some(random_.below(in_flight_.size() + 1));
        break;
      default:
        write_batch();
    }
  }

  // Everything in flight is lost, and what was not flushed; the log's replay is not modelled.
  void crash() {
    in_flight_.clear();
    reopen();
    ASSERT_EQ(engine_->store().last_applied(), flushed_decree_);
    model_.rows = applied_ = flushed_;
    decree_ = flushed_decree_;
  }

  void write_batch() {
    ResolveContext context;
    context.wall_us = wall_us();
    context.timestamp_us = ++timestamp_;
    resolver_->begin(decree_ + 1, context);
    uint64_t requests = 1 + random_.below(4);
    for (uint64_t i = 0; i < requests; ++i) write_one();
    auto effects = resolver_->end();
    if (effects != nullptr) {
      ++decree_;
      in_flight_.push_back({decree_, effects, model_.rows});
    }
    if (random_.chance(0.7)) apply_some(in_flight_.size());
  }

  WriteResult add(const WriteRequest& request) {
    WriteResult result;
    auto outcome = resolver_->add(request, result);
    if (outcome == Resolver::Outcome::kNeedsDisk) {
      auto wanted = resolver_->wanted();
      Resolver::fetch(*engine_, *wanted);
      resolver_->remember(wanted);
      outcome = resolver_->add(request, result);
    }
    EXPECT_EQ(outcome, Resolver::Outcome::kDone);
    return result;
  }

  void write_one() {
    std::string h = hash_key();
    std::string s = sort_key();
    std::string v = value();
    std::string raw = make_key(h, s);
    int32_t expire = expire_ts();
    switch (random_.below(6)) {
      case 0: {
        wire::update_request r;
        r.key = wire::blob(raw);
        r.value = wire::blob(v);
        r.expire_ts_seconds = expire;
        EXPECT_EQ(add(r).error, 0);
        model_.put(h, s, v, static_cast<uint32_t>(expire));
        break;
      }
      case 1:
        EXPECT_EQ(add(RemoveRequest{wire::blob(raw)}).error, 0);
        model_.rows.erase({h, s});
        break;
      case 2: {
        wire::incr_request r;
        r.key = wire::blob(raw);
        r.increment = static_cast<int64_t>(random_.below(20)) - 10;
        r.expire_ts_seconds = random_.chance(0.2) ? -1 : expire;
        WriteResult result = add(r);
        auto expected = model_.incr(h, s, r.increment, r.expire_ts_seconds);
        EXPECT_EQ(std::pair(result.error, result.number), expected) << h << "/" << s;
        break;
      }
      case 3: {
        std::string s2 = sort_key();
        wire::multi_put_request r;
        r.hash_key = wire::blob(h);
        r.expire_ts_seconds = expire;
        for (const std::string* key : {&s, &s2}) {
          wire::key_value& kv = r.kvs.emplace_back();
          kv.key = wire::blob(*key);
          kv.value = wire::blob(v);
          model_.put(h, *key, v, static_cast<uint32_t>(expire));
        }
        EXPECT_EQ(add(r).error, 0);
        break;
      }
      case 4: {
        std::string operand = value();
        wire::check_and_set_request r;
        r.hash_key = wire::blob(h);
        r.check_sort_key = wire::blob(s);
        bool equal = random_.chance(0.5);
        r.check_type = equal ? wire::cas_check_type::CT_VALUE_BYTES_EQUAL
                             : wire::cas_check_type::CT_VALUE_NOT_EXIST;
        const Row* row = model_.live(h, s);
        if (equal && row != nullptr && random_.chance(0.5)) operand = row->value;
        r.check_operand = wire::blob(operand);
        r.set_value = wire::blob(v);
        r.set_expire_ts_seconds = expire;
        r.return_check_value = true;
        WriteResult result = add(r);
        bool passes = equal ? row != nullptr && row->value == operand : row == nullptr;
        EXPECT_EQ(result.error, passes ? 0 : 13);
        EXPECT_EQ(result.check_value_exist, row != nullptr);
        EXPECT_EQ(result.check_value, row == nullptr ? "" : row->value);
        if (passes) model_.put(h, s, v, static_cast<uint32_t>(expire));
        break;
      }
      default: {
        std::string s2 = sort_key();
        wire::check_and_mutate_request r;
        r.hash_key = wire::blob(h);
        r.check_sort_key = wire::blob(s);
        r.check_type = wire::cas_check_type::CT_VALUE_EXIST;
        wire::mutate& remove = r.mutate_list.emplace_back();
        remove.operation = wire::mutate_operation::MO_DELETE;
        remove.sort_key = wire::blob(s);
        wire::mutate& put = r.mutate_list.emplace_back();
        put.sort_key = wire::blob(s2);
        put.value = wire::blob(v);
        put.set_expire_ts_seconds = expire;
        bool passes = model_.live(h, s) != nullptr;
        EXPECT_EQ(add(r).error, passes ? 0 : 13);
        if (!passes) break;
        model_.rows.erase({h, s});
        model_.put(h, s2, v, static_cast<uint32_t>(expire));
      }
    }
  }

  void apply_some(size_t count) {
    for (; count > 0; --count) {
      auto& front = in_flight_.front();
      Status s = engine_->apply(front.decree, *front.effects);
      ASSERT_TRUE(s.ok()) << s.to_string();
      resolver_->applied(front.decree);
      applied_ = std::move(front.after);
      in_flight_.pop_front();
    }
  }

  ReadContext context(bool memory_only) const {
    ReadContext c;
    c.wall_us = wall_us();
    c.now = Instant{1};
    c.memory_only = memory_only;
    return c;
  }
  bool is_live(const Row& row) const { return row.expire_ts == 0 || row.expire_ts > model_.now; }

  // A scan of everything, in batches of random size, equals the model.
  void compare_all() {
    Rows seen;
    std::string start = make_key("", "");
    wire::get_scanner_request r;
    r.start_key = wire::blob(start);
    r.stop_key = wire::blob(std::string_view("\xff\xff"));
    r.start_inclusive = true;
    r.batch_size = static_cast<int32_t>(1 + random_.below(30));
    r.__set_return_expire_ts(true);
    wire::scan_response response;
    ReadArena arena;
    ASSERT_EQ(engine_->get_scanner(r, context(false), arena, response), ReadOutcome::kDone);
    std::string last;
    while (true) {
      ASSERT_EQ(response.error, 0);
      for (const wire::key_value& kv : response.kvs) {
        KeyParts parts;
        ASSERT_TRUE(split_key(kv.key, parts));
        ASSERT_LT(last, kv.key.view);
        last = kv.key.to_string();
        seen[{std::string(parts.hash_key), std::string(parts.sort_key)}] =
            Row{kv.value.to_string(), static_cast<uint32_t>(kv.expire_ts_seconds)};
      }
      if (response.context_id == -1) break;
      wire::scan_request next;
      next.context_id = response.context_id;
      arena.reset();
      ASSERT_EQ(engine_->scan(next, context(false), arena, response), ReadOutcome::kDone);
    }
    Rows expected;
    for (const auto& [key, row] : applied_) {
      if (is_live(row)) expected[key] = row;
    }
    ASSERT_EQ(seen.size(), expected.size());
    for (const auto& [key, row] : expected) {
      ASSERT_EQ(seen[key].value, row.value);
      ASSERT_EQ(seen[key].expire_ts, row.expire_ts);
    }
  }

  // One hash key, by range, forward or backward, with a limit.
  void compare_multi_get() {
    std::string h = hash_key();
    std::string start = sort_key();
    std::string stop = sort_key();
    wire::multi_get_request r;
    r.hash_key = wire::blob(h);
    r.start_sortkey = wire::blob(start);
    r.stop_sortkey = wire::blob(stop);
    r.start_inclusive = random_.chance(0.5);
    r.stop_inclusive = random_.chance(0.5);
    r.reverse = random_.chance(0.5);
    r.max_kv_count = static_cast<int32_t>(random_.below(5));
    std::vector<std::string> expected;
    for (const auto& [key, row] : applied_) {
      const auto& [hash, sort] = key;
      if (hash != h || !is_live(row)) continue;
      if (sort < start || (sort == start && !r.start_inclusive)) continue;
      if (!stop.empty() && (sort > stop || (sort == stop && !r.stop_inclusive))) continue;
      expected.push_back(sort);
    }
    size_t limit = r.max_kv_count > 0 ? static_cast<size_t>(r.max_kv_count) : expected.size();
    bool cut = expected.size() > limit;
    if (cut && r.reverse)
      expected.erase(expected.begin(), expected.end() - static_cast<long>(limit));
    if (cut && !r.reverse) expected.resize(limit);
    ReadArena arena;
    wire::multi_get_response response;
    if (engine_->multi_get(r, context(true), arena, response) == ReadOutcome::kNeedsDisk) {
      arena.reset();
      ASSERT_EQ(engine_->multi_get(r, context(false), arena, response), ReadOutcome::kDone);
    }
    ASSERT_EQ(response.error, cut ? 7 : 0);
    std::vector<std::string> got;
    for (const wire::key_value& kv : response.kvs) got.push_back(kv.key.to_string());
    ASSERT_EQ(got, expected);
  }

  struct InFlight {
    Decree decree;
    std::shared_ptr<const std::string> effects;
    Rows after;
  };

  Random random_;
  const bool changes_default_ttl_;
  Open open_;
  Model model_;  // with everything in flight
  Rows applied_;
  Rows flushed_;
  Decree flushed_decree_ = 0;
  std::deque<InFlight> in_flight_;
  Decree decree_ = 0;
  int64_t timestamp_ = 0;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Resolver> resolver_;
};

TEST(ModelTest, MapStoreEqualsTheModel) {
  for (uint64_t seed = 1; seed <= 15; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    TemporaryDirectory root;
    ModelRun run(seed, true, [&](EngineOptions options) {
      MapStoreOptions map;
      map.dir = root.path();
      map.needs_disk_percent = 20;
      map.seed = seed;
      auto store = MapStore::open(io::real_file_system(), map);
      EXPECT_TRUE(store) << store.error().to_string();
      return Engine::over(std::move(*store), std::move(options));
    });
    run.run(400);
  }
}

TEST(ModelTest, RocksStoreEqualsTheModel) {
  SharedResourceOptions small;
  small.block_cache_bytes = 8 << 20;
  small.write_buffer_bytes = 64 << 20;
  SharedResources shared(small);
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    TemporaryDirectory root;
    ModelRun run(seed, false, [&](EngineOptions options) {
      options.dir = root.path() + "/rdb";
      auto engine = Engine::open(shared, std::move(options));
      EXPECT_TRUE(engine) << engine.error().to_string();
      return std::move(*engine);
    });
    run.run(400);
  }
}

}  // namespace
}  // namespace markab::engine
