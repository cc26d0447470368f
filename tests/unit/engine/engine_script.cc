#include "unit/engine/engine_script.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <charconv>
#include <deque>
#include <sstream>

#include "base/escape.h"
#include "engine/effects.h"
#include "engine/key_codec.h"
#include "engine/value_codec.h"

namespace markab::engine {

namespace {

// More rows than this are described, not listed.
constexpr size_t kMaxListed = 20;

std::string bytes_of(const std::string& word) {
  if (word == "\"\"") return {};
  // "ab**1000": that often.
  if (auto stars = word.find("**"); stars != std::string::npos) {
    std::string part = bytes_of(word.substr(0, stars));
    std::string out;
    for (auto left = std::stoul(word.substr(stars + 2)); left > 0; --left) out += part;
    return out;
  }
  auto raw = unescape(word);
  EXPECT_TRUE(raw) << "bad escape in " << word;
  return raw ? *raw : word;
}

std::string shown(std::string_view bytes) {
  return bytes.size() > 60 ? fmt::format("({} bytes)", bytes.size())
                           : fmt::format("\"{}\"", escape(bytes));
}

std::string shown_key(std::string_view raw) {
  KeyParts parts;
  if (!split_key(raw, parts)) return fmt::format("raw {}", escape(raw, true));
  return fmt::format("{}/{}", parts.hash_key.empty() ? "\"\"" : escape(parts.hash_key),
                     parts.sort_key.empty() ? "\"\"" : escape(parts.sort_key));
}

}  // namespace

// The words of a command: positional ones, name=value, and bare flags. What is not asked for is an
// error.
class EngineScript::Arguments {
 public:
  explicit Arguments(const std::string& line) : line_(line) {
    std::istringstream words(line);
    words >> name_;
    for (std::string word; words >> word;) words_.push_back(word);
  }
  ~Arguments() { EXPECT_TRUE(words_.empty()) << "words left over in: " << line_; }

  const std::string& name() const { return name_; }
  bool empty() const { return words_.empty(); }
  std::string word() {
    if (words_.empty()) {
      ADD_FAILURE() << "a word is missing in: " << line_;
      return {};
    }
    std::string word = words_.front();
    words_.pop_front();
    return word;
  }
  // A view of bytes that live as long as these arguments.
  wire::blob blob() { return keep(bytes_of(word())); }
  // hash/sort, or raw:\x.. for any bytes.
  wire::blob key() { return keep(key_of(word())); }
  int64_t number() { return number_of(word()); }
  bool flag(const std::string& name) {
    auto at = std::find(words_.begin(), words_.end(), name);
    if (at == words_.end()) return false;
    words_.erase(at);
    return true;
  }
  bool has(const std::string& name, std::string& value) {
    for (auto at = words_.begin(); at != words_.end(); ++at) {
      if (!at->starts_with(name + "=")) continue;
      value = at->substr(name.size() + 1);
      words_.erase(at);
      return true;
    }
    return false;
  }
  int64_t option(const std::string& name, int64_t otherwise) {
    std::string value;
    return has(name, value) ? number_of(value) : otherwise;
  }
  wire::blob blob_option(const std::string& name) {
    std::string value;
    return has(name, value) ? keep(bytes_of(value)) : wire::blob();
  }
  wire::blob key_option(const std::string& name) {
    std::string value;
    return has(name, value) ? keep(key_of(value)) : wire::blob();
  }
  // The words that are left, as a line of their own.
  std::string take_rest() {
    std::string out;
    for (const std::string& word : std::exchange(words_, {}))
      out += (out.empty() ? "" : " ") + word;
    return out;
  }
  wire::blob keep(std::string bytes) { return wire::blob(kept_.emplace_back(std::move(bytes))); }

  static int64_t number_of(const std::string& word) {
    int64_t value = 0;
    auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    EXPECT_TRUE(error == std::errc() && end == word.data() + word.size()) << word;
    return value;
  }
  static std::string key_of(const std::string& word) {
    if (word.starts_with("raw:")) return bytes_of(word.substr(4));
    size_t slash = word.find('/');
    EXPECT_NE(slash, std::string::npos) << "not a key: " << word;
    return make_key(bytes_of(word.substr(0, slash)), bytes_of(word.substr(slash + 1)));
  }

 private:
  std::string line_;
  std::string name_;
  std::deque<std::string> words_;
  std::deque<std::string> kept_;
};

namespace {

template <typename Arguments>
wire::cas_check_type::type check_type(Arguments& arguments) {
  static const char* const kNames[] = {"no_check", "not_exist", "not_exist_or_empty",
                                       "exist",    "not_empty", "anywhere",
                                       "prefix",   "postfix",   "bytes<",
                                       "bytes<=",  "bytes==",   "bytes>=",
                                       "bytes>",   "int<",      "int<=",
                                       "int==",    "int>=",     "int>"};
  std::string word = arguments.word();
  for (size_t i = 0; i < std::size(kNames); ++i) {
    if (word == kNames[i]) return static_cast<wire::cas_check_type::type>(i);
  }
  return static_cast<wire::cas_check_type::type>(Arguments::number_of(word));
}

template <typename Arguments>
wire::filter_type::type filter(Arguments& arguments, const std::string& name, wire::blob& pattern) {
  std::string value;
  if (!arguments.has(name, value)) return wire::filter_type::FT_NO_FILTER;
  size_t colon = value.find(':');
  std::string kind = value.substr(0, colon);
  pattern = arguments.keep(bytes_of(value.substr(colon + 1)));
  if (kind == "none") return wire::filter_type::FT_NO_FILTER;
  if (kind == "anywhere") return wire::filter_type::FT_MATCH_ANYWHERE;
  if (kind == "prefix") return wire::filter_type::FT_MATCH_PREFIX;
  if (kind == "postfix") return wire::filter_type::FT_MATCH_POSTFIX;
  return static_cast<wire::filter_type::type>(Arguments::number_of(kind));
}

// sort_key=value words, until none is left.
template <typename Arguments>
void key_value_word(Arguments& arguments, wire::blob& key, wire::blob& value) {
  std::string word = arguments.word();
  size_t equals = word.find('=');
  key = arguments.keep(bytes_of(word.substr(0, equals)));
  if (equals != std::string::npos) value = arguments.keep(bytes_of(word.substr(equals + 1)));
}

bool is_write(const std::string& name) {
  return name == "put" || name == "remove" || name == "multi_put" || name == "multi_remove" ||
         name == "incr" || name == "check_and_set" || name == "check_and_mutate" ||
         name == "duplicate";
}

template <typename Arguments>
WriteRequest parse_check_and_set(Arguments& arguments) {
  wire::check_and_set_request r;
  r.set_expire_ts_seconds = static_cast<int32_t>(arguments.option("expire", 0));
  r.return_check_value = arguments.flag("return");
  std::string other;
  r.set_diff_sort_key = arguments.has("to", other);
  if (r.set_diff_sort_key) r.set_sort_key = arguments.keep(bytes_of(other));
  r.set_value = arguments.blob_option("value");
  r.hash_key = arguments.blob();
  r.check_sort_key = arguments.blob();
  r.check_type = check_type(arguments);
  if (!arguments.empty()) r.check_operand = arguments.blob();
  return r;
}

template <typename Arguments>
WriteRequest parse_check_and_mutate(Arguments& arguments) {
  wire::check_and_mutate_request r;
  r.return_check_value = arguments.flag("return");
  r.check_operand = arguments.blob_option("operand");
  int32_t expire_ts = static_cast<int32_t>(arguments.option("expire", 0));
  r.hash_key = arguments.blob();
  r.check_sort_key = arguments.blob();
  r.check_type = check_type(arguments);
  while (!arguments.empty()) {
    wire::mutate& m = r.mutate_list.emplace_back();
    std::string operation = arguments.word();
    m.operation = operation == "put" ? wire::mutate_operation::MO_PUT
                  : operation == "delete"
                      ? wire::mutate_operation::MO_DELETE
                      : static_cast<wire::mutate_operation::type>(Arguments::number_of(operation));
    key_value_word(arguments, m.sort_key, m.value);
    m.set_expire_ts_seconds = expire_ts;
  }
  return r;
}

template <typename Arguments>
WriteRequest parse_write(const std::string& name, Arguments& arguments) {
  if (name == "check_and_set") return parse_check_and_set(arguments);
  if (name == "check_and_mutate") return parse_check_and_mutate(arguments);
  int32_t expire_ts = static_cast<int32_t>(arguments.option("expire", 0));
  if (name == "remove") return RemoveRequest{arguments.key()};
  if (name == "put") {
    wire::update_request r;
    std::string type;
    if (arguments.has("type", type)) {
      r.__set_type(static_cast<wire::update_type::type>(Arguments::number_of(type)));
    }
    r.key = arguments.key();
    r.value = arguments.blob();
    r.expire_ts_seconds = expire_ts;
    return r;
  }
  if (name == "incr") {
    wire::incr_request r;
    r.key = arguments.key();
    r.increment = arguments.number();
    r.expire_ts_seconds = expire_ts;
    return r;
  }
  if (name == "multi_put") {
    wire::multi_put_request r;
    r.expire_ts_seconds = expire_ts;
    r.hash_key = arguments.blob();
    while (!arguments.empty()) {
      wire::key_value& kv = r.kvs.emplace_back();
      key_value_word(arguments, kv.key, kv.value);
    }
    return r;
  }
  wire::multi_remove_request r;
  r.hash_key = arguments.blob();
  while (!arguments.empty()) r.sort_keys.push_back(arguments.blob());
  return r;
}

// Entries between " ; ", each <cluster>@<microseconds> [verify] and a write. The words of an entry
// live in `kept`.
template <typename Arguments>
DuplicateRequest parse_duplicate(const std::string& line, std::deque<Arguments>& kept) {
  DuplicateRequest out;
  std::string rest = line.substr(line.find(' ') + 1);
  if (rest.starts_with("refused ")) {
    out.refusal = rest.substr(8);
    return out;
  }
  while (!rest.empty()) {
    size_t end = rest.find(" ; ");
    Arguments head(rest.substr(0, end));
    rest = end == std::string::npos ? "" : rest.substr(end + 3);
    DuplicatedWrite& write = out.writes.emplace_back();
    size_t at = head.name().find('@');
    write.cluster_id = static_cast<uint8_t>(Arguments::number_of(head.name().substr(0, at)));
    write.timestamp_us = Arguments::number_of(head.name().substr(at + 1));
    write.keeps_newer = !head.flag("anyhow");
    Arguments& body = kept.emplace_back(head.take_rest());
    WriteRequest parsed = parse_write(body.name(), body);
    std::visit(
        [&](auto& request) {
          using Request = std::decay_t<decltype(request)>;
          if constexpr (std::is_constructible_v<DuplicatedWrite::Body, Request>) {
            write.body = std::move(request);
          } else {
            ADD_FAILURE() << body.name() << " is not duplicated";
          }
        },
        parsed);
  }
  return out;
}

std::string describe(const std::string& name, const WriteResult& result) {
  std::string out = result.error == 0 ? "ok" : fmt::format("error {}", result.error);
  if (!result.hint.empty()) out += ": " + result.hint;
  if (name == "duplicate" && result.error == 0 && !result.has_effects) out += ", nothing done";
  if (name == "incr" || name == "multi_remove") out += fmt::format(" {}", result.number);
  if (result.check_value_returned) {
    out +=
        result.check_value_exist ? fmt::format(" was {}", shown(result.check_value)) : " was none";
  }
  return out + "\n";
}

// "sort = value" per row, or a summary of many; then the error.
template <typename Rows, typename ShowKey>
std::string describe_rows(const Rows& rows, int32_t error, ShowKey show_key) {
  std::string out;
  if (rows.size() > kMaxListed) {
    out = fmt::format("{} rows from {} to {}\n", rows.size(), show_key(rows.front()),
                      show_key(rows.back()));
  } else {
    for (const auto& row : rows) {
      out += fmt::format("{} = {}", show_key(row), shown(row.value));
      if constexpr (requires { row.__isset.expire_ts_seconds; }) {
        if (row.__isset.expire_ts_seconds) out += fmt::format(" expire {}", row.expire_ts_seconds);
      }
      out += "\n";
    }
  }
  if (rows.empty() && error == 0) out = "no rows\n";
  if (error != 0) out += fmt::format("error {}\n", error);
  return out;
}

}  // namespace

EngineScript::EngineScript(Open open, Compact compact)
    : open_(std::move(open)), compact_(std::move(compact)) {
  restart();
}
EngineScript::~EngineScript() = default;

void EngineScript::restart() {
  resolver_.reset();
  held_.clear();
  engine_.reset();
  EngineOptions options;
  options.gpid = {2, 0};
  options.partition_count = 8;
  options.settings = settings_;
  options.limits = limits_;
  options.now = [this] { return Instant{now_ns_ += tick_ns_}; };
  options.wall_us = [this] { return (kExpiryEpoch + wall_s_) * 1000000; };
  options.seed = 5;
  engine_ = open_(std::move(options));
  resolver_ = std::make_unique<Resolver>(*engine_);
  decree_ = engine_->store().last_applied();
}

std::string EngineScript::run(const std::string& text) {
  std::istringstream in(text);
  std::string out;
  Lines commands;
  bool in_answer = false;
  for (std::string line; std::getline(in, line);) {
    if (in_answer) {
      if (line.empty()) {
        in_answer = false;
        out += "\n";
      }
      continue;  // the answers come from us
    }
    out += line + "\n";
    if (line == "----") {
      out += run_stanza(commands);
      commands.clear();
      in_answer = true;
    } else if (!line.empty() && line[0] != '#') {
      commands.push_back(line);
    }
  }
  EXPECT_TRUE(commands.empty()) << "commands without an answer at the end of the script";
  return out;
}

std::string EngineScript::run_stanza(const Lines& commands) {
  std::string out;
  Lines writes;
  for (const std::string& line : commands) {
    std::string name = line.substr(0, line.find(' '));
    // What another cluster ships is a mutation of its own.
    if (name == "duplicate" ||
        (is_write(name) && !writes.empty() && writes.back().starts_with("duplicate "))) {
      out += run_writes(writes);
      writes.clear();
    }
    if (is_write(name)) {
      writes.push_back(line);
      continue;
    }
    out += run_writes(writes);
    writes.clear();
    Arguments arguments(line);
    out += run_command(name, arguments);
  }
  return out + run_writes(writes);
}

std::string EngineScript::run_writes(const Lines& commands) {
  if (commands.empty()) return {};
  ResolveContext context;
  context.wall_us = (kExpiryEpoch + wall_s_) * 1000000;
  context.timestamp_us = ++timestamp_us_;
  for (const std::string& line : commands) {
    std::deque<Arguments> entries;
    if (!line.starts_with("duplicate ")) continue;
    WriteRequest request = parse_duplicate(line, entries);
    timestamp_us_ = context.timestamp_us =
        std::max(context.timestamp_us, newest_timestamp_us(request));
  }
  context.cluster_id = 1;
  resolver_->begin(decree_ + 1, context);
  std::string out;
  for (const std::string& line : commands) {
    Arguments arguments(line);
    std::deque<Arguments> entries;
    WriteRequest request;
    if (arguments.name() == "duplicate") {
      arguments.take_rest();
      request = parse_duplicate(line, entries);
    } else {
      request = parse_write(arguments.name(), arguments);
    }
    WriteResult result;
    auto outcome = resolver_->add(request, result);
    if (outcome == Resolver::Outcome::kNeedsDisk) {
      auto wanted = resolver_->wanted();
      Resolver::fetch(*engine_, *wanted);
      resolver_->remember(wanted);
      outcome = resolver_->add(request, result);
    }
    EXPECT_EQ(outcome, Resolver::Outcome::kDone) << line;
    out += describe(arguments.name(), result);
  }
  commit(resolver_->end());
  return out;
}

void EngineScript::commit(std::shared_ptr<const std::string> effects) {
  if (effects == nullptr) return;
  held_.emplace_back(++decree_, std::move(effects));
  if (!holding_) apply_held();
}

void EngineScript::apply_held() {
  for (auto& [decree, effects] : held_) {
    Status applied = engine_->apply(decree, *effects);
    EXPECT_TRUE(applied.ok()) << applied.to_string();
    resolver_->applied(decree);
  }
  held_.clear();
}

std::string EngineScript::run_command(const std::string& name, Arguments& arguments) {
  if (name == "get") return get(arguments);
  if (name == "ttl") return ttl(arguments);
  if (name == "multi_get") return multi_get(arguments);
  if (name == "batch_get") return batch_get(arguments);
  if (name == "sortkey_count") return sortkey_count(arguments);
  if (name == "get_scanner") return get_scanner(arguments);
  if (name == "scan") return scan(arguments);
  if (name == "timetag") return timetag(arguments);
  if (name == "store_raw") return store_raw(arguments);
  if (name == "fill") return fill(arguments);
  if (name == "clear_scanner") {
    engine_->clear_scanner(scanners_[arguments.word()]);
    return "ok\n";
  }
  if (name == "expire_scanners") {
    engine_->expire_scanners(Instant{now_ns_});
    return fmt::format("{} left\n", engine_->scanner_count());
  }
  return run_setting(name, arguments);
}

namespace {

// "prefix:abc" and so on.
void read_pattern(const std::string& text, CompactionRule& rule) {
  auto colon = text.find(':');
  std::string match = text.substr(0, colon);
  rule.match = match == "prefix"    ? CompactionRule::Match::kPrefix
               : match == "postfix" ? CompactionRule::Match::kPostfix
                                    : CompactionRule::Match::kAnywhere;
  EXPECT_TRUE(match == "prefix" || match == "postfix" || match == "anywhere") << text;
  rule.pattern = colon == std::string::npos ? "" : text.substr(colon + 1);
}

// "delete,hash=prefix:tmp", "from_now:60,ttl=0..0"; see testdata/README.txt.
CompactionOperation compaction_operation(const std::string& word) {
  CompactionOperation out;
  std::istringstream parts(word);
  std::string part;
  std::getline(parts, part, ',');
  auto colon = part.find(':');
  std::string what = part.substr(0, colon);
  if (colon != std::string::npos)
    out.value = static_cast<uint32_t>(std::stoul(part.substr(colon + 1)));
  out.type = what == "from_now"       ? CompactionOperation::Type::kTtlFromNow
             : what == "from_current" ? CompactionOperation::Type::kTtlFromCurrent
             : what == "until"        ? CompactionOperation::Type::kTtlTimestamp
                                      : CompactionOperation::Type::kDelete;
  EXPECT_TRUE(what == "delete" || out.type != CompactionOperation::Type::kDelete) << word;
  while (std::getline(parts, part, ',')) {
    auto equals = part.find('=');
    std::string kind = part.substr(0, equals);
    std::string value = part.substr(equals + 1);
    CompactionRule& rule = out.rules.emplace_back();
    if (kind == "ttl") {
      rule.type = CompactionRule::Type::kTtlRange;
      auto dots = value.find("..");
      rule.start_ttl = static_cast<uint32_t>(std::stoul(value.substr(0, dots)));
      rule.stop_ttl = static_cast<uint32_t>(std::stoul(value.substr(dots + 2)));
    } else {
      EXPECT_TRUE(kind == "hash" || kind == "sort") << word;
      rule.type = kind == "hash" ? CompactionRule::Type::kHashKeyPattern
                                 : CompactionRule::Type::kSortKeyPattern;
      read_pattern(value, rule);
    }
  }
  return out;
}

}  // namespace

std::string EngineScript::run_setting(const std::string& name, Arguments& arguments) {
  if (name == "now") {
    wall_s_ = arguments.number();
  } else if (name == "sleep_ms") {
    now_ns_ += arguments.number() * 1000000;
  } else if (name == "each_look_takes_ms") {
    tick_ns_ = arguments.number() * 1000000;
  } else if (name == "settings") {
    settings_.default_ttl_s =
        static_cast<int32_t>(arguments.option("default_ttl", settings_.default_ttl_s));
    settings_.validate_partition_hash =
        arguments.option("validate_partition_hash", settings_.validate_partition_hash) != 0;
    settings_.partition_version =
        static_cast<int32_t>(arguments.option("partition_version", settings_.partition_version));
    settings_.iteration_threshold_ms =
        arguments.option("iteration_threshold_ms", settings_.iteration_threshold_ms);
    engine_->set_settings(settings_);
  } else if (name == "limits") {
    limits_.multi_get_rows =
        static_cast<uint32_t>(arguments.option("multi_get_rows", limits_.multi_get_rows));
    limits_.multi_get_bytes = static_cast<uint64_t>(
        arguments.option("multi_get_bytes", static_cast<int64_t>(limits_.multi_get_bytes)));
    limits_.scan_rows = static_cast<uint32_t>(arguments.option("scan_rows", limits_.scan_rows));
    restart();
  } else if (name == "peer") {
    peer_.port = static_cast<uint16_t>(arguments.number());
  } else if (name == "hold") {
    holding_ = true;
  } else if (name == "release") {
    holding_ = false;
    apply_held();
  } else if (name == "abandon") {
    decree_ = engine_->store().last_applied();
    held_.clear();
    resolver_->clear();
    holding_ = false;
  } else if (name == "flush") {
    EXPECT_TRUE(engine_->store().flush().ok());
  } else if (name == "restart") {
    restart();
    return fmt::format("decree {}\n", decree_);
  } else if (name == "compaction_rules") {
    auto rules = std::make_shared<CompactionRules>();
    while (!arguments.empty()) rules->push_back(compaction_operation(arguments.word()));
    settings_.store.compaction_rules = std::move(rules);
    engine_->set_settings(settings_);
  } else if (name == "compact") {
    EXPECT_TRUE(compact_(*engine_));
  } else {
    ADD_FAILURE() << "no such command: " << name;
  }
  return "ok\n";
}

template <typename Call>
void EngineScript::read(Call call) {
  ReadContext context;
  context.wall_us = (kExpiryEpoch + wall_s_) * 1000000;
  context.now = Instant{now_ns_};
  context.peer = peer_;
  arena_.reset();
  if (call(context) == ReadOutcome::kDone) return;
  arena_.reset();
  context.memory_only = false;
  EXPECT_EQ(call(context), ReadOutcome::kDone);
}

std::string EngineScript::get(Arguments& arguments) {
  wire::blob key = arguments.key();
  wire::read_response response;
  read([&](const ReadContext& context) { return engine_->get(key, context, arena_, response); });
  if (response.error == 0) return shown(response.value) + "\n";
  EXPECT_TRUE(response.value.empty());
  return fmt::format("error {}\n", response.error);
}

std::string EngineScript::ttl(Arguments& arguments) {
  wire::blob key = arguments.key();
  wire::ttl_response response;
  read([&](const ReadContext& context) { return engine_->ttl(key, context, arena_, response); });
  if (response.error != 0) return fmt::format("error {}\n", response.error);
  return fmt::format("{} seconds\n", response.ttl_seconds);
}

std::string EngineScript::multi_get(Arguments& arguments) {
  wire::multi_get_request r;
  r.max_kv_count = static_cast<int32_t>(arguments.option("count", 0));
  r.max_kv_size = static_cast<int32_t>(arguments.option("size", 0));
  r.no_value = arguments.flag("no_value");
  r.reverse = arguments.flag("reverse");
  r.start_inclusive = !arguments.flag("after_start");
  r.stop_inclusive = arguments.flag("with_stop");
  r.start_sortkey = arguments.blob_option("start");
  r.stop_sortkey = arguments.blob_option("stop");
  r.sort_key_filter_type = filter(arguments, "filter", r.sort_key_filter_pattern);
  bool stats = arguments.flag("stats");
  r.hash_key = arguments.blob();
  while (!arguments.empty()) r.sort_keys.push_back(arguments.blob());
  wire::multi_get_response response;
  read(
      [&](const ReadContext& context) { return engine_->multi_get(r, context, arena_, response); });
  std::string out =
      describe_rows(response.kvs, response.error, [](const auto& row) { return shown(row.key); });
  if (stats) {
    out += fmt::format("{} looked at, {} dead, {} filtered\n", arena_.stats.iterations,
                       arena_.stats.expired, arena_.stats.filtered);
  }
  return out;
}

std::string EngineScript::batch_get(Arguments& arguments) {
  wire::batch_get_request r;
  while (!arguments.empty()) {
    std::string word = arguments.word();
    size_t slash = word.find('/');
    wire::full_key& key = r.keys.emplace_back();
    key.hash_key = arguments.keep(bytes_of(word.substr(0, slash)));
    key.sort_key = arguments.keep(bytes_of(word.substr(slash + 1)));
  }
  wire::batch_get_response response;
  read(
      [&](const ReadContext& context) { return engine_->batch_get(r, context, arena_, response); });
  return describe_rows(response.data, response.error, [](const wire::full_data& row) {
    return shown_key(make_key(row.hash_key, row.sort_key));
  });
}

std::string EngineScript::sortkey_count(Arguments& arguments) {
  wire::blob hash_key = arguments.blob();
  wire::count_response response;
  read([&](const ReadContext& context) {
    return engine_->sortkey_count(hash_key, context, arena_, response);
  });
  if (response.error != 0) return fmt::format("error {}\n", response.error);
  return fmt::format("{} rows\n", response.count);
}

std::string EngineScript::get_scanner(Arguments& arguments) {
  wire::get_scanner_request r;
  r.start_inclusive = !arguments.flag("after_start");
  r.stop_inclusive = arguments.flag("with_stop");
  r.batch_size = static_cast<int32_t>(arguments.option("batch", 0));
  r.no_value = arguments.flag("no_value");
  r.hash_key_filter_type = filter(arguments, "hash_filter", r.hash_key_filter_pattern);
  r.sort_key_filter_type = filter(arguments, "sort_filter", r.sort_key_filter_pattern);
  if (arguments.flag("unvalidated")) r.__set_validate_partition_hash(false);
  if (arguments.flag("with_expire")) r.__set_return_expire_ts(true);
  if (arguments.flag("full")) r.__set_full_scan(true);
  if (arguments.flag("count_only")) r.__set_only_return_count(true);
  r.start_key = arguments.key_option("start");
  r.stop_key = arguments.key_option("stop");
  wire::scan_response response;
  read([&](const ReadContext& context) {
    return engine_->get_scanner(r, context, arena_, response);
  });
  return describe_scan(response);
}

std::string EngineScript::scan(Arguments& arguments) {
  wire::scan_request r;
  std::string name = arguments.word();
  r.context_id = scanners_.contains(name) ? scanners_[name] : Arguments::number_of(name);
  wire::scan_response response;
  read([&](const ReadContext& context) { return engine_->scan(r, context, arena_, response); });
  return describe_scan(response);
}

std::string EngineScript::describe_scan(const wire::scan_response& response) {
  std::string out;
  if (response.__isset.kv_count) {
    out = fmt::format("{} counted\n", response.kv_count);
    EXPECT_TRUE(response.kvs.empty());
    if (response.error != 0) out += fmt::format("error {}\n", response.error);
  } else {
    out = describe_rows(response.kvs, response.error,
                        [](const auto& row) { return shown_key(row.key); });
  }
  if (response.context_id == -1) return out + "finished\n";
  EXPECT_GT(response.context_id, 0);
  std::string name = fmt::format("s{}", scanners_.size() + 1);
  scanners_[name] = response.context_id;
  return out + "more in " + name + "\n";
}

// Any bytes under any key, as an imported store may hold them.
// Which write of which cluster a record is.
std::string EngineScript::timetag(Arguments& arguments) {
  rocksdb::PinnableSlice stored;
  Status error;
  Lookup found = engine_->store().get(arguments.key(), {.memory_only = false}, stored, error);
  if (found != Lookup::kFound) return "none\n";
  ValueView value;
  EXPECT_TRUE(decode_value(engine_->store().data_version(), {stored.data(), stored.size()}, value));
  return fmt::format("{}@{}{}\n", value.timetag >> 1 & 0x7F, value.timetag >> 8,
                     (value.timetag & 1) != 0 ? " deleted" : "");
}

std::string EngineScript::store_raw(Arguments& arguments) {
  auto effects = std::make_shared<std::string>();
  EffectsWriter::start(*effects);
  wire::blob key = arguments.key();
  EffectsWriter::put(*effects, key, {}, arguments.blob());
  commit(std::move(effects));
  return "ok\n";
}

// fill <hash key> <count>: rows 00000, 00001, ...
std::string EngineScript::fill(Arguments& arguments) {
  std::string value(static_cast<size_t>(arguments.option("bytes", 1)), 'v');
  uint32_t expire_ts = static_cast<uint32_t>(arguments.option("expire", 0));
  wire::blob hash_key = arguments.blob();
  int64_t count = arguments.number();
  auto effects = std::make_shared<std::string>();
  EffectsWriter::start(*effects);
  for (int64_t i = 0; i < count; ++i) {
    EffectsWriter::put(*effects, hash_key, fmt::format("{:05}", i),
                       encode_value(kDataVersionTimetag, expire_ts, 0, ""), value);
  }
  commit(std::move(effects));
  return "ok\n";
}

}  // namespace markab::engine
