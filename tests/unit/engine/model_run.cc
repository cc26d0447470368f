#include "unit/engine/model_run.h"

#include <cerrno>
#include <cstdlib>

#include "engine/key_codec.h"

namespace markab::engine {

namespace {

// strtoll with base 0 on the whole text, which is not empty.
std::optional<int64_t> to_integer(const std::string& text) {
  char* end = nullptr;
  errno = 0;
  int64_t value = strtoll(text.c_str(), &end, 0);
  if (text.empty() || errno != 0 || end != text.c_str() + text.size()) return std::nullopt;
  return value;
}

bool model_filter(wire::filter_type::type type, const std::string& pattern,
                  const std::string& key) {
  if (type == 0 || pattern.empty()) return true;
  if (key.size() < pattern.size()) return false;
  if (type == 1) return key.find(pattern) != std::string::npos;
  if (type == 2) return key.compare(0, pattern.size(), pattern) == 0;
  return key.compare(key.size() - pattern.size(), pattern.size(), pattern) == 0;
}

}  // namespace

ModelRun::ModelRun(const ModelOptions& options, Open open)
    : options_(options), open_(std::move(open)) {
  reopen();
}
ModelRun::~ModelRun() = default;

void ModelRun::reopen() {
  resolver_.reset();
  engine_.reset();
  EngineOptions options;
  options.gpid = {1, 0};
  options.now = [] { return Instant{1}; };
  options.wall_us = [this] { return wall_us(); };
  options.seed = ++opens_;
  options.settings.default_ttl_s = static_cast<int32_t>(default_ttl_);
  engine_ = open_(std::move(options));
  resolver_ = std::make_unique<Resolver>(*engine_);
}

// Everything in flight is lost, and what was not flushed; the log's replay is not modelled.
void ModelRun::crash() {
  in_flight_.clear();
  reopen();
  ASSERT_EQ(engine_->store().last_applied(), flushed_decree_);
  rows_ = applied_ = flushed_;
  decree_ = flushed_decree_;
}

void ModelRun::step(uint64_t seed) {
  random_ = Random(seed);
  if (random_.below(options_.steps_per_flush) == 0) {
    apply_some(in_flight_.size());
    ASSERT_TRUE(engine_->store().flush().ok());
    flushed_ = applied_;
    flushed_decree_ = engine_->store().last_applied();
    return;
  }
  if (random_.below(options_.steps_per_crash) == 0) return crash();
  if (random_.below(options_.steps_per_comparison) == 0) return compare_all();
  switch (random_.below(20)) {
    case 0:
      now_ += static_cast<uint32_t>(random_.below(10));
      return;
    case 1: {
      if (!options_.changes_default_ttl) return;
      default_ttl_ = random_.chance(0.5) ? 0 : static_cast<uint32_t>(random_.below(30));
      TableSettings settings;
      settings.default_ttl_s = static_cast<int32_t>(default_ttl_);
      engine_->set_settings(settings);
      return;
    }
    case 2:
    case 3:
      return apply_some(random_.below(in_flight_.size() + 1));
    case 4:
    case 5:
    case 6:
    case 7:
    case 8:
    case 9:
      return read_one();
    default:
      return write_batch();
  }
}

void ModelRun::finish() {
  apply_some(in_flight_.size());
  compare_all();
}

std::string ModelRun::hash_key() {
  static const char* const kHashKeys[] = {"", "a", "b", "ab", "\xff", "\xff\xff", "long-hash-key"};
  return kHashKeys[random_.below(std::size(kHashKeys))];
}

std::string ModelRun::sort_key() {
  if (random_.chance(0.1)) return "";
  return std::string(1 + random_.below(2), "ab\xff\x00z"[random_.below(5)]);
}

std::string ModelRun::value() {
  if (random_.chance(0.3)) return std::to_string(static_cast<int64_t>(random_.below(20)) - 10);
  if (random_.chance(0.05)) return "9223372036854775800";
  if (random_.chance(0.05)) return "0x1f";
  return std::string(random_.below(12), static_cast<char>('a' + random_.below(3)));
}

int32_t ModelRun::expire_ts() {
  if (random_.chance(0.6)) return 0;
  return static_cast<int32_t>(now_ + random_.below(40)) - 10;
}

// ---- the model ----

const ModelRow* ModelRun::live(const ModelRows& rows, const Key& key) const {
  auto at = rows.find(key);
  return at == rows.end() || !is_live(at->second) ? nullptr : &at->second;
}

void ModelRun::model_put(const Key& key, const std::string& value, int32_t expire_ts) {
  auto expire = static_cast<uint32_t>(expire_ts);
  if (expire == 0 && default_ttl_ != 0) expire = now_ + default_ttl_;
  rows_[key] = ModelRow{value, expire};
}

std::pair<int32_t, int64_t> ModelRun::model_incr(const Key& key, int64_t by, int32_t expire_ts) {
  const ModelRow* row = live(rows_, key);
  int64_t old_value = 0;
  if (row != nullptr && !row->value.empty()) {
    auto parsed = to_integer(row->value);
    if (!parsed) return {4, 0};
    old_value = *parsed;
  }
  if ((by > 0 && old_value > INT64_MAX - by) || (by < 0 && old_value < INT64_MIN - by)) {
    return {4, old_value};
  }
  uint32_t kept = row == nullptr ? 0 : row->expire_ts;
  int32_t expire = expire_ts == 0 ? static_cast<int32_t>(kept) : std::max(expire_ts, 0);
  model_put(key, std::to_string(old_value + by), expire);
  return {0, old_value + by};
}

// 0 passed, 13 not, 4 not integers: the table of spec 02 §8, row by row.
int32_t ModelRun::model_check(const ModelRow* row, int type, const std::string& o) const {
  auto verdict = [](bool passed) { return passed ? 0 : 13; };
  if (type == 0) return 0;
  if (type == 1) return verdict(row == nullptr);
  if (type == 2) return verdict(row == nullptr || row->value.empty());
  if (row == nullptr) return 13;
  const std::string& v = row->value;
  if (type == 3) return 0;
  if (type == 4) return verdict(!v.empty());
  if (type <= 7) return verdict(model_filter(static_cast<wire::filter_type::type>(type - 4), o, v));
  int order = 0;
  if (type <= 12) {
    order = v.compare(o);  // char_traits<char> compares as unsigned bytes
  } else {
    auto left = to_integer(v);
    auto right = to_integer(o);
    if (!left || !right) return 4;
    order = *left < *right ? -1 : *left > *right ? 1 : 0;
  }
  switch (type <= 12 ? type - 8 : type - 13) {
    case 0:
      return verdict(order < 0);
    case 1:
      return verdict(order <= 0);
    case 2:
      return verdict(order == 0);
    case 3:
      return verdict(order >= 0);
    default:
      return verdict(order > 0);
  }
}

// ---- writes ----

void ModelRun::write_batch() {
  ResolveContext context;
  context.wall_us = wall_us();
  context.timestamp_us = ++timestamp_;
  resolver_->begin(decree_ + 1, context);
  uint64_t requests = 1 + random_.below(4);
  for (uint64_t i = 0; i < requests; ++i) write_one();
  auto effects = resolver_->end();
  if (effects != nullptr) {
    ++decree_;
    in_flight_.push_back({decree_, effects, rows_});
  }
  if (random_.chance(0.7)) apply_some(in_flight_.size());
}

WriteResult ModelRun::add(const WriteRequest& request) {
  ++operations_;
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

void ModelRun::write_one() {
  using Write = void (ModelRun::*)();
  static constexpr Write kWrites[] = {&ModelRun::put,           &ModelRun::put,
                                      &ModelRun::remove,        &ModelRun::incr,
                                      &ModelRun::multi_put,     &ModelRun::multi_remove,
                                      &ModelRun::check_and_set, &ModelRun::check_and_mutate};
  (this->*kWrites[random_.below(std::size(kWrites))])();
}

void ModelRun::put() {
  Key key{hash_key(), sort_key()};
  std::string raw = make_key(key.first, key.second);
  std::string v = value();
  wire::update_request r;
  r.key = wire::blob(raw);
  r.value = wire::blob(v);
  r.expire_ts_seconds = expire_ts();
  EXPECT_EQ(add(r).error, 0);
  model_put(key, v, r.expire_ts_seconds);
}

void ModelRun::remove() {
  Key key{hash_key(), sort_key()};
  std::string raw = make_key(key.first, key.second);
  EXPECT_EQ(add(RemoveRequest{wire::blob(raw)}).error, 0);
  rows_.erase(key);
}

void ModelRun::incr() {
  Key key{hash_key(), sort_key()};
  std::string raw = make_key(key.first, key.second);
  wire::incr_request r;
  r.key = wire::blob(raw);
  r.increment = static_cast<int64_t>(random_.below(20)) - 10;
  r.expire_ts_seconds = random_.chance(0.2) ? -1 : expire_ts();
  WriteResult result = add(r);
  auto expected = model_incr(key, r.increment, r.expire_ts_seconds);
  EXPECT_EQ(std::pair(result.error, result.number), expected) << key.first << "/" << key.second;
}

void ModelRun::multi_put() {
  std::string h = hash_key();
  wire::multi_put_request r;
  r.hash_key = wire::blob(h);
  r.expire_ts_seconds = expire_ts();
  std::deque<std::string> kept;
  for (uint64_t left = random_.below(4); left > 0; --left) {
    wire::key_value& kv = r.kvs.emplace_back();
    kv.key = wire::blob(kept.emplace_back(sort_key()));
    kv.value = wire::blob(kept.emplace_back(value()));
  }
  EXPECT_EQ(add(r).error, r.kvs.empty() ? 4 : 0);
  for (const auto& kv : r.kvs) {
    model_put({h, kv.key.to_string()}, kv.value.to_string(), r.expire_ts_seconds);
  }
}

void ModelRun::multi_remove() {
  std::string h = hash_key();
  wire::multi_remove_request r;
  r.hash_key = wire::blob(h);
  std::deque<std::string> kept;
  for (uint64_t left = random_.below(4); left > 0; --left) {
    r.sort_keys.push_back(wire::blob(kept.emplace_back(sort_key())));
  }
  WriteResult result = add(r);
  EXPECT_EQ(result.error, r.sort_keys.empty() ? 4 : 0);
  EXPECT_EQ(result.number, static_cast<int64_t>(r.sort_keys.size()));
  for (const auto& s : r.sort_keys) rows_.erase({h, s.to_string()});
}

void ModelRun::check_and_set() {
  Key key{hash_key(), sort_key()};
  std::string operand = value();
  std::string v = value();
  std::string other = sort_key();
  int type = static_cast<int>(random_.below(19));  // one too many
  const ModelRow* row = live(rows_, key);
  if (row != nullptr && random_.chance(0.4)) operand = row->value;
  wire::check_and_set_request r;
  r.hash_key = wire::blob(key.first);
  r.check_sort_key = wire::blob(key.second);
  r.check_type = static_cast<wire::cas_check_type::type>(type);
  r.check_operand = wire::blob(operand);
  r.set_diff_sort_key = random_.chance(0.5);
  r.set_sort_key = wire::blob(other);
  r.set_value = wire::blob(v);
  r.set_expire_ts_seconds = expire_ts();
  r.return_check_value = random_.chance(0.5);
  WriteResult result = add(r);
  if (type > 17) {
    EXPECT_EQ(result.error, 4);
    EXPECT_FALSE(result.check_value_returned);
    return;
  }
  int32_t expected = model_check(row, type, operand);
  EXPECT_EQ(result.error, expected) << "check type " << type;
  EXPECT_EQ(result.check_value_returned, r.return_check_value);
  EXPECT_EQ(result.check_value_exist, r.return_check_value && row != nullptr);
  EXPECT_EQ(result.check_value, r.return_check_value && row != nullptr ? row->value : "");
  if (expected != 0) return;
  model_put({key.first, r.set_diff_sort_key ? other : key.second}, v, r.set_expire_ts_seconds);
}

void ModelRun::check_and_mutate() {
  Key key{hash_key(), sort_key()};
  std::string operand = value();
  int type = static_cast<int>(random_.below(18));
  const ModelRow* row = live(rows_, key);
  wire::check_and_mutate_request r;
  r.hash_key = wire::blob(key.first);
  r.check_sort_key = wire::blob(key.second);
  r.check_type = static_cast<wire::cas_check_type::type>(type);
  r.check_operand = wire::blob(operand);
  bool bad = false;
  std::deque<std::string> kept;
  for (uint64_t left = random_.below(4); left > 0; --left) {
    wire::mutate& m = r.mutate_list.emplace_back();
    m.operation =
        random_.chance(0.4) ? wire::mutate_operation::MO_DELETE : wire::mutate_operation::MO_PUT;
    if (random_.chance(0.02)) {
      m.operation = static_cast<wire::mutate_operation::type>(2);
      bad = true;
    }
    m.sort_key = wire::blob(kept.emplace_back(sort_key()));
    m.value = wire::blob(kept.emplace_back(value()));
    m.set_expire_ts_seconds = expire_ts();
  }
  WriteResult result = add(r);
  int32_t expected = bad || r.mutate_list.empty() ? 4 : model_check(row, type, operand);
  EXPECT_EQ(result.error, expected) << "check type " << type;
  if (expected != 0) return;
  for (const auto& m : r.mutate_list) {
    if (m.operation == wire::mutate_operation::MO_DELETE) {
      rows_.erase({key.first, m.sort_key.to_string()});
    } else {
      model_put({key.first, m.sort_key.to_string()}, m.value.to_string(), m.set_expire_ts_seconds);
    }
  }
}

void ModelRun::apply_some(size_t count) {
  for (; count > 0; --count) {
    auto& front = in_flight_.front();
    Status s = engine_->apply(front.decree, *front.effects);
    ASSERT_TRUE(s.ok()) << s.to_string();
    resolver_->applied(front.decree);
    applied_ = std::move(front.after);
    in_flight_.pop_front();
  }
}

// ---- reads: they see what is applied ----

ReadContext ModelRun::context(bool memory_only) const {
  ReadContext c;
  c.wall_us = wall_us();
  c.now = Instant{1};
  c.memory_only = memory_only;
  return c;
}

template <typename Call>
void ModelRun::read(Call call) {
  ++operations_;
  arena_.reset();
  if (call(context(true)) == ReadOutcome::kDone) return;
  arena_.reset();
  EXPECT_EQ(call(context(false)), ReadOutcome::kDone);
}

void ModelRun::read_one() {
  using Read = void (ModelRun::*)();
  static constexpr Read kReads[] = {&ModelRun::compare_get,   &ModelRun::compare_get,
                                    &ModelRun::compare_ttl,   &ModelRun::compare_batch_get,
                                    &ModelRun::compare_count, &ModelRun::compare_points,
                                    &ModelRun::compare_range, &ModelRun::compare_range};
  (this->*kReads[random_.below(std::size(kReads))])();
}

void ModelRun::compare_get() {
  Key key{hash_key(), sort_key()};
  std::string raw = make_key(key.first, key.second);
  wire::read_response response;
  read([&](const ReadContext& c) { return engine_->get(wire::blob(raw), c, arena_, response); });
  const ModelRow* row = live(applied_, key);
  EXPECT_EQ(response.error, row == nullptr ? 1 : 0);
  EXPECT_EQ(response.value.view, row == nullptr ? "" : row->value);
  ++rows_compared_;
}

void ModelRun::compare_ttl() {
  Key key{hash_key(), sort_key()};
  std::string raw = make_key(key.first, key.second);
  wire::ttl_response response;
  read([&](const ReadContext& c) { return engine_->ttl(wire::blob(raw), c, arena_, response); });
  const ModelRow* row = live(applied_, key);
  int32_t expected = row == nullptr        ? 0
                     : row->expire_ts == 0 ? -1
                                           : static_cast<int32_t>(row->expire_ts - now_);
  EXPECT_EQ(response.error, row == nullptr ? 1 : 0);
  EXPECT_EQ(response.ttl_seconds, expected);
  ++rows_compared_;
}

void ModelRun::compare_batch_get() {
  wire::batch_get_request r;
  std::deque<std::string> kept;
  std::vector<std::pair<Key, std::string>> expected;
  for (uint64_t left = random_.below(5); left > 0; --left) {
    Key key{hash_key(), sort_key()};
    wire::full_key& asked = r.keys.emplace_back();
    asked.hash_key = wire::blob(kept.emplace_back(key.first));
    asked.sort_key = wire::blob(kept.emplace_back(key.second));
    if (const ModelRow* row = live(applied_, key)) expected.push_back({key, row->value});
  }
  wire::batch_get_response response;
  read([&](const ReadContext& c) { return engine_->batch_get(r, c, arena_, response); });
  EXPECT_EQ(response.error, r.keys.empty() ? 4 : 0);
  ASSERT_EQ(response.data.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(response.data[i].hash_key.view, expected[i].first.first);
    EXPECT_EQ(response.data[i].sort_key.view, expected[i].first.second);
    EXPECT_EQ(response.data[i].value.view, expected[i].second);
  }
  rows_compared_ += expected.size();
}

std::vector<std::pair<std::string, ModelRow>> ModelRun::rows_of(const std::string& hash_key,
                                                                wire::filter_type::type filter,
                                                                const std::string& pattern) const {
  std::vector<std::pair<std::string, ModelRow>> out;
  for (auto at = applied_.lower_bound({hash_key, ""});
       at != applied_.end() && at->first.first == hash_key; ++at) {
    if (is_live(at->second) && model_filter(filter, pattern, at->first.second)) {
      out.push_back({at->first.second, at->second});
    }
  }
  return out;
}

void ModelRun::compare_count() {
  std::string h = hash_key();
  wire::count_response response;
  read([&](const ReadContext& c) {
    return engine_->sortkey_count(wire::blob(h), c, arena_, response);
  });
  EXPECT_EQ(response.error, 0);
  EXPECT_EQ(response.count, static_cast<int64_t>(rows_of(h, {}, "").size()));
  ++rows_compared_;
}

void ModelRun::compare_points() {
  std::string h = hash_key();
  wire::multi_get_request r;
  r.hash_key = wire::blob(h);
  r.max_kv_count = static_cast<int32_t>(random_.below(4));
  r.no_value = random_.chance(0.2);
  std::deque<std::string> kept;
  std::vector<std::pair<std::string, std::string>> expected;
  for (uint64_t left = 1 + random_.below(4); left > 0; --left) {
    const std::string& s = kept.emplace_back(sort_key());
    r.sort_keys.push_back(wire::blob(s));
    if (const ModelRow* row = live(applied_, {h, s})) {
      expected.push_back({s, r.no_value ? "" : row->value});
    }
  }
  auto limit = static_cast<size_t>(r.max_kv_count);
  bool cut = r.max_kv_count > 0 && expected.size() > limit;
  if (cut) expected.resize(limit);
  wire::multi_get_response response;
  read([&](const ReadContext& c) { return engine_->multi_get(r, c, arena_, response); });
  EXPECT_EQ(response.error, cut ? 7 : 0);
  std::vector<std::pair<std::string, std::string>> got;
  for (const auto& kv : response.kvs) got.push_back({kv.key.to_string(), kv.value.to_string()});
  EXPECT_EQ(got, expected);
  rows_compared_ += expected.size();
}

void ModelRun::compare_range() {
  std::string h = hash_key();
  std::string start = sort_key();
  std::string stop = sort_key();
  std::string pattern = random_.chance(0.5) ? "" : sort_key();
  wire::multi_get_request r;
  r.hash_key = wire::blob(h);
  r.start_sortkey = wire::blob(start);
  r.stop_sortkey = wire::blob(stop);
  r.start_inclusive = random_.chance(0.5);
  r.stop_inclusive = random_.chance(0.5);
  r.reverse = random_.chance(0.5);
  r.max_kv_count = static_cast<int32_t>(random_.below(5));
  r.sort_key_filter_type = static_cast<wire::filter_type::type>(random_.below(4));
  r.sort_key_filter_pattern = wire::blob(pattern);
  std::vector<std::pair<std::string, std::string>> expected;
  for (const auto& [sort, row] : rows_of(h, r.sort_key_filter_type, pattern)) {
    if (sort < start || (sort == start && !r.start_inclusive)) continue;
    if (!stop.empty() && (sort > stop || (sort == stop && !r.stop_inclusive))) continue;
    expected.push_back({sort, row.value});
  }
  size_t limit = r.max_kv_count > 0 ? static_cast<size_t>(r.max_kv_count) : expected.size();
  bool cut = expected.size() > limit;
  if (cut && r.reverse) expected.erase(expected.begin(), expected.end() - static_cast<long>(limit));
  if (cut && !r.reverse) expected.resize(limit);
  wire::multi_get_response response;
  read([&](const ReadContext& c) { return engine_->multi_get(r, c, arena_, response); });
  EXPECT_EQ(response.error, cut ? 7 : 0);
  std::vector<std::pair<std::string, std::string>> got;
  for (const auto& kv : response.kvs) got.push_back({kv.key.to_string(), kv.value.to_string()});
  EXPECT_EQ(got, expected);
  rows_compared_ += expected.size();
}

// A scan of everything, in batches of random size, equals the model.
void ModelRun::compare_all() {
  ModelRows expected;
  for (const auto& [key, row] : applied_) {
    if (is_live(row)) expected[key] = row;
  }
  std::string start = make_key("", "");
  wire::get_scanner_request r;
  r.start_key = wire::blob(start);
  r.stop_key = wire::blob(std::string_view("\xff\xff"));
  r.start_inclusive = true;
  r.batch_size = static_cast<int32_t>(1 + random_.below(200));
  r.__set_return_expire_ts(true);
  wire::scan_response response;
  read([&](const ReadContext& c) { return engine_->get_scanner(r, c, arena_, response); });
  std::string last;
  size_t seen = 0;
  while (true) {
    ASSERT_EQ(response.error, 0);
    for (const wire::key_value& kv : response.kvs) {
      KeyParts parts;
      ASSERT_TRUE(split_key(kv.key, parts));
      ASSERT_LT(last, kv.key.view);
      last = kv.key.to_string();
      auto at = expected.find({std::string(parts.hash_key), std::string(parts.sort_key)});
      ASSERT_NE(at, expected.end());
      ASSERT_EQ(kv.value.view, at->second.value);
      ASSERT_EQ(static_cast<uint32_t>(kv.expire_ts_seconds), at->second.expire_ts);
      ++seen;
    }
    if (response.context_id == -1) break;
    wire::scan_request next;
    next.context_id = response.context_id;
    read([&](const ReadContext& c) { return engine_->scan(next, c, arena_, response); });
  }
  ASSERT_EQ(seen, expected.size());
  rows_compared_ += seen;
}

}  // namespace markab::engine
