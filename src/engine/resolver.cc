#include "engine/resolver.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <unordered_map>

#include "base/assert.h"
#include "base/integer_text.h"
#include "base/plant.h"
#include "engine/check.h"
#include "engine/effects.h"
#include "engine/key_codec.h"
#include "engine/overlay.h"
#include "engine/value_codec.h"

namespace markab::engine {

namespace {

// A batch reserves what the last one had, so that it grows at most once or twice.
constexpr size_t kMinExpectedBytes = 256;
constexpr size_t kMaxExpectedBytes = 16u << 10;

}  // namespace

struct Resolver::Fetched {
  struct Row {
    Lookup outcome = Lookup::kError;
    std::string stored;
    Status error;
  };
  uint64_t generation = 0;
  bool headers_only = false;
  std::map<std::string, Row, std::less<>> rows;
};

struct Resolver::Impl {
  explicit Impl(const Engine& e) : engine(e) {}

  // The live record of a key as the request sees it: with the effects in flight.
  struct Base {
    Outcome outcome = Outcome::kDone;
    int32_t error = storage::kOk;  // of the store
    bool exists = false;
    uint32_t expire_ts = 0;
    uint64_t timetag = 0;
    std::string_view data;
  };

  Outcome add(const wire::update_request& request, WriteResult& result);
  Outcome add(const RemoveRequest& request, WriteResult& result);
  Outcome add(const wire::multi_put_request& request, WriteResult& result);
  Outcome add(const wire::multi_remove_request& request, WriteResult& result);
  Outcome add(const wire::incr_request& request, WriteResult& result);
  Outcome add(const wire::check_and_set_request& request, WriteResult& result);
  Outcome add(const wire::check_and_mutate_request& request, WriteResult& result);
  Outcome add(const DuplicateRequest& request, WriteResult& result);

  // The timetags of the live records that the puts of a duplicate meet; 0 where there is none.
  using Timetags = std::unordered_map<std::string, uint64_t>;
  Outcome read_timetags(const DuplicateRequest& request, Timetags& timetags, int32_t& error);

  Base read_base(std::string_view raw_key);
  // Reads the check key and evaluates; false: `result` says why, or the outcome is not kDone.
  bool check(std::string_view hash_key, std::string_view sort_key, wire::cas_check_type::type type,
             std::string_view operand, bool return_value, WriteResult& result, Outcome& outcome);
  // Value headers: with the batch's timetag, and default_ttl where `expire_ts` is 0.
  std::string_view header(uint32_t expire_ts);
  std::string_view header(uint32_t expire_ts, uint64_t timetag);

  const Engine& engine;
  Overlay overlay;
  ResolveContext context;
  std::shared_ptr<std::string> batch;  // under construction
  size_t expected_bytes = kMinExpectedBytes;
  // Of the batch, read once at begin().
  uint32_t data_version = kDataVersionTimetag;
  uint32_t now = 0;
  uint32_t default_expire_ts = 0;
  char header_bytes[kMaxValueHeaderBytes] = {};

  // What the disk has to say.
  uint64_t generation = 1;
  std::vector<std::string> wanted_keys;
  bool wants_headers_only = false;
  std::shared_ptr<Fetched> fetched;
  rocksdb::PinnableSlice pinned;
};

Resolver::Resolver(const Engine& engine) : impl_(std::make_unique<Impl>(engine)) {}
Resolver::~Resolver() = default;

void Resolver::begin(Decree decree, const ResolveContext& context) {
  MARKAB_ASSERT(impl_->batch == nullptr, "the batch before was not ended", decree);
  impl_->context = context;
  impl_->data_version = impl_->engine.store().data_version();
  impl_->now = expiry_now(context.wall_us);
  int32_t default_ttl = impl_->engine.settings().default_ttl_s;
  impl_->default_expire_ts = default_ttl > 0 ? impl_->now + static_cast<uint32_t>(default_ttl) : 0;
  impl_->batch = std::make_shared<std::string>();
  impl_->batch->reserve(impl_->expected_bytes);
  EffectsWriter::start(*impl_->batch);
  impl_->overlay.add(decree, impl_->batch);
}

Resolver::Outcome Resolver::add(const WriteRequest& request, WriteResult& result) {
  MARKAB_ASSERT(impl_->batch != nullptr, "add() outside of a batch");
  if (impl_->overlay.bytes() > kMaxOverlayBytes) return Outcome::kBusy;
  result = {};
  Outcome outcome =
      std::visit([&](const auto& typed) { return impl_->add(typed, result); }, request);
  impl_->pinned.Reset();
  if (outcome == Outcome::kDone) impl_->fetched.reset();
  return outcome;
}

std::shared_ptr<const std::string> Resolver::end() {
  MARKAB_ASSERT(impl_->batch != nullptr, "end() outside of a batch");
  std::shared_ptr<const std::string> batch = std::move(impl_->batch);
  if (batch->size() > kEffectsHeaderBytes) {
    impl_->expected_bytes = std::clamp(batch->size(), kMinExpectedBytes, kMaxExpectedBytes);
    return batch;
  }
  impl_->overlay.drop_last();
  return nullptr;
}

size_t Resolver::batch_bytes() const { return impl_->batch == nullptr ? 0 : impl_->batch->size(); }

std::shared_ptr<Resolver::Fetched> Resolver::wanted() const {
  auto fetched = std::make_shared<Fetched>();
  fetched->generation = impl_->generation;
  fetched->headers_only = impl_->wants_headers_only;
  for (std::string& key : impl_->wanted_keys) fetched->rows[std::move(key)];
  impl_->wanted_keys.clear();
  return fetched;
}

void Resolver::fetch(const Engine& engine, Fetched& fetched) {
  rocksdb::PinnableSlice value;
  for (auto& [key, row] : fetched.rows) {
    row.outcome = engine.store().get(key, {.memory_only = false}, value, row.error);
    size_t bytes =
        fetched.headers_only ? std::min(value.size(), kMaxValueHeaderBytes) : value.size();
    if (row.outcome == Lookup::kFound) row.stored.assign(value.data(), bytes);
    value.Reset();
  }
}

void Resolver::remember(std::shared_ptr<Fetched> fetched) {
  if (fetched->generation == impl_->generation) impl_->fetched = std::move(fetched);
}

void Resolver::applied(Decree decree) {
  MARKAB_ASSERT(impl_->batch == nullptr, "applied() within a batch", decree);
  impl_->overlay.applied(decree);
}

void Resolver::clear() {
  MARKAB_ASSERT(impl_->batch == nullptr, "clear() within a batch");
  impl_->overlay.clear();
  impl_->fetched.reset();
  ++impl_->generation;
}

std::string_view Resolver::Impl::header(uint32_t expire_ts) {
  return header(expire_ts, make_timetag(context.timestamp_us, context.cluster_id));
}

std::string_view Resolver::Impl::header(uint32_t expire_ts, uint64_t timetag) {
  size_t n = encode_value_header(data_version, expire_ts == 0 ? default_expire_ts : expire_ts,
                                 timetag, header_bytes);
  return {header_bytes, n};
}

Resolver::Impl::Base Resolver::Impl::read_base(std::string_view raw_key) {
  Base base;
  std::string_view stored;
  switch (MARKAB_PLANTED(kDropOverlay) ? Overlay::Seen::kNothing : overlay.find(raw_key, stored)) {
    case Overlay::Seen::kDeletion:
      return base;
    case Overlay::Seen::kValue:
      break;
    case Overlay::Seen::kNothing: {
      Lookup looked = Lookup::kNeedsDisk;
      Status error;
      const Fetched::Row* row = nullptr;
      if (fetched != nullptr) {
        auto it = fetched->rows.find(raw_key);
        if (it != fetched->rows.end()) row = &it->second;
      }
      if (row != nullptr) {
        looked = row->outcome;
        stored = row->stored;
        error = row->error;
      } else {
        looked = engine.store().get(raw_key, {.memory_only = true}, pinned, error);
        if (looked == Lookup::kFound) stored = {pinned.data(), pinned.size()};
      }
      if (looked == Lookup::kNotFound) return base;
      if (looked == Lookup::kNeedsDisk) {
        wanted_keys.emplace_back(raw_key);
        wants_headers_only = false;
        base.outcome = Outcome::kNeedsDisk;
        return base;
      }
      if (looked == Lookup::kError) {
        base.error = storage_error(error);
        return base;
      }
    }
  }
  ValueView value;
  if (!decode_value(data_version, stored, value)) {
    base.error = storage::kCorruption;
    return base;
  }
  base.exists = !is_dead(value.expire_ts, now);
  base.expire_ts = value.expire_ts;
  base.timetag = value.timetag;
  base.data = value.data;
  return base;
}

// A plain put reads nothing and appends once. The fields `type` and above are for translated writes
// of Pegasus and mean nothing from a client (spec 02 §7).
Resolver::Outcome Resolver::Impl::add(const wire::update_request& request, WriteResult& result) {
  KeyParts parts;
  if (!split_key(request.key, parts)) {
    result.error = storage::kInvalidArgument;
    return Outcome::kDone;
  }
  EffectsWriter::put(*batch, request.key, header(static_cast<uint32_t>(request.expire_ts_seconds)),
                     request.value);
  result.has_effects = true;
  return Outcome::kDone;
}

Resolver::Outcome Resolver::Impl::add(const RemoveRequest& request, WriteResult& result) {
  KeyParts parts;
  if (!split_key(request.key, parts)) {
    result.error = storage::kInvalidArgument;
    return Outcome::kDone;
  }
  EffectsWriter::remove(*batch, request.key);
  result.has_effects = true;
  return Outcome::kDone;
}

Resolver::Outcome Resolver::Impl::add(const wire::multi_put_request& request, WriteResult& result) {
  if (request.kvs.empty() || !valid_hash_key(request.hash_key)) {
    result.error = storage::kInvalidArgument;
    return Outcome::kDone;
  }
  std::string_view value_header = header(static_cast<uint32_t>(request.expire_ts_seconds));
  for (const wire::key_value& kv : request.kvs) {
    EffectsWriter::put(*batch, request.hash_key, kv.key, value_header, kv.value);
  }
  result.has_effects = true;
  return Outcome::kDone;
}

Resolver::Outcome Resolver::Impl::add(const wire::multi_remove_request& request,
                                      WriteResult& result) {
  if (request.sort_keys.empty() || !valid_hash_key(request.hash_key)) {
    result.error = storage::kInvalidArgument;
    return Outcome::kDone;
  }
  for (const wire::blob& sort_key : request.sort_keys) {
    EffectsWriter::remove(*batch, request.hash_key, sort_key);
  }
  result.number = static_cast<int64_t>(request.sort_keys.size());
  result.has_effects = true;
  return Outcome::kDone;
}

Resolver::Outcome Resolver::Impl::add(const wire::incr_request& request, WriteResult& result) {
  KeyParts parts;
  if (!split_key(request.key, parts)) {
    result.error = storage::kInvalidArgument;
    return Outcome::kDone;
  }
  Base base = read_base(request.key);
  if (base.outcome != Outcome::kDone) return base.outcome;
  result.error = base.error;
  if (base.error != storage::kOk) return Outcome::kDone;
  int64_t old_value = 0;
  if (base.exists && !base.data.empty() && !parse_integer(base.data, old_value)) {
    result.error = storage::kInvalidArgument;
    return Outcome::kDone;
  }
  if (__builtin_add_overflow(old_value, request.increment, &result.number)) {
    result.error = storage::kInvalidArgument;
    result.number = old_value;
    return Outcome::kDone;
  }
  // Above zero sets, below clears, zero keeps; a new record has nothing to keep.
  uint32_t expire_ts = base.exists ? base.expire_ts : 0;
  if (request.expire_ts_seconds != 0) {
    expire_ts =
        request.expire_ts_seconds > 0 ? static_cast<uint32_t>(request.expire_ts_seconds) : 0;
  }
  char text[24];
  char* end = std::to_chars(text, text + sizeof text, result.number).ptr;
  EffectsWriter::put(*batch, request.key, header(expire_ts),
                     {text, static_cast<size_t>(end - text)});
  result.has_effects = true;
  return Outcome::kDone;
}

bool Resolver::Impl::check(std::string_view hash_key, std::string_view sort_key,
                           wire::cas_check_type::type type, std::string_view operand,
                           bool return_value, WriteResult& result, Outcome& outcome) {
  Base base;
  if (return_value || type != wire::cas_check_type::CT_NO_CHECK) {
    base = read_base(make_key(hash_key, sort_key));
  }
  outcome = base.outcome;
  if (outcome != Outcome::kDone) return false;
  result.error = base.error;
  if (base.error != storage::kOk) return false;
  result.check_value_returned = return_value;
  result.check_value_exist = return_value && base.exists;
  if (result.check_value_exist) result.check_value.assign(base.data);
  auto value = base.exists ? std::optional(base.data) : std::nullopt;
  switch (evaluate_check(type, value, operand)) {
    case CheckOutcome::kPassed:
      return true;
    case CheckOutcome::kNotPassed:
      result.error = storage::kTryAgain;
      return false;
    case CheckOutcome::kInvalid:
      result.error = storage::kInvalidArgument;
      return false;
  }
  return false;
}

Resolver::Outcome Resolver::Impl::add(const wire::check_and_set_request& request,
                                      WriteResult& result) {
  if (!valid_check_type(request.check_type) || !valid_hash_key(request.hash_key)) {
    result.error = storage::kInvalidArgument;
    return Outcome::kDone;
  }
  Outcome outcome = Outcome::kDone;
  if (!check(request.hash_key, request.check_sort_key, request.check_type, request.check_operand,
             request.return_check_value, result, outcome)) {
    return outcome;
  }
  EffectsWriter::put(*batch, request.hash_key,
                     request.set_diff_sort_key ? request.set_sort_key : request.check_sort_key,
                     header(static_cast<uint32_t>(request.set_expire_ts_seconds)),
                     request.set_value);
  result.has_effects = true;
  return Outcome::kDone;
}

Resolver::Outcome Resolver::Impl::add(const wire::check_and_mutate_request& request,
                                      WriteResult& result) {
  bool valid = !request.mutate_list.empty() && valid_check_type(request.check_type) &&
               valid_hash_key(request.hash_key);
  for (const wire::mutate& mutation : request.mutate_list) {
    valid = valid && (mutation.operation == wire::mutate_operation::MO_PUT ||
                      mutation.operation == wire::mutate_operation::MO_DELETE);
  }
  if (!valid) {
    result.error = storage::kInvalidArgument;
    return Outcome::kDone;
  }
  Outcome outcome = Outcome::kDone;
  if (!check(request.hash_key, request.check_sort_key, request.check_type, request.check_operand,
             request.return_check_value, result, outcome)) {
    return outcome;
  }
  for (const wire::mutate& mutation : request.mutate_list) {
    if (mutation.operation == wire::mutate_operation::MO_DELETE) {
      EffectsWriter::remove(*batch, request.hash_key, mutation.sort_key);
    } else {
      EffectsWriter::put(*batch, request.hash_key, mutation.sort_key,
                         header(static_cast<uint32_t>(mutation.set_expire_ts_seconds)),
                         mutation.value);
    }
  }
  result.has_effects = true;
  return Outcome::kDone;
}

// ---- duplicated writes -------------------------------------------------------------------------

namespace {

// Calls `visit` with the raw key, expiry and value of each put, in order.
template <typename Visit>
void for_each_put(const DuplicatedWrite& write, Visit visit) {
  if (const auto* put = std::get_if<wire::update_request>(&write.body)) {
    visit(std::string(put->key), put->expire_ts_seconds, std::string_view(put->value));
  } else if (const auto* puts = std::get_if<wire::multi_put_request>(&write.body)) {
    for (const wire::key_value& kv : puts->kvs)
      visit(make_key(puts->hash_key, kv.key), puts->expire_ts_seconds, std::string_view(kv.value));
  }
}

template <typename Visit>
void for_each_removal(const DuplicatedWrite& write, Visit visit) {
  if (const auto* removal = std::get_if<RemoveRequest>(&write.body)) {
    visit(std::string(removal->key));
  } else if (const auto* removals = std::get_if<wire::multi_remove_request>(&write.body)) {
    for (const wire::blob& sort_key : removals->sort_keys)
      visit(make_key(removals->hash_key, sort_key));
  }
}

}  // namespace

Resolver::Outcome Resolver::Impl::read_timetags(const DuplicateRequest& request, Timetags& timetags,
                                                int32_t& error) {
  for (const DuplicatedWrite& write : request.writes) {
    if (!write.keeps_newer) continue;
    for_each_put(write, [&](std::string key, int32_t, std::string_view) {
      auto [it, fresh] = timetags.try_emplace(std::move(key), 0);
      if (!fresh) return;
      Base base = read_base(it->first);
      pinned.Reset();
      if (base.outcome == Outcome::kDone && base.error != storage::kOk) error = base.error;
      if (base.exists) it->second = base.timetag;
    });
  }
  wants_headers_only = true;
  return wanted_keys.empty() ? Outcome::kDone : Outcome::kNeedsDisk;
}

// Spec 06 §5.4. A removal leaves no timetag behind: a put that comes after it is taken, as old as
// it may be.
Resolver::Outcome Resolver::Impl::add(const DuplicateRequest& request, WriteResult& result) {
  if (!request.refusal.empty()) {
    result.error = storage::kBusy;  // never 4, at which a Pegasus source ends its process
    result.hint = request.refusal;
    return Outcome::kDone;
  }
  MARKAB_ASSERT(batch->size() == kEffectsHeaderBytes, "a duplicate shares its mutation",
                context.timestamp_us);
  Timetags timetags;
  if (data_version != kDataVersionPlain) {
    Outcome outcome = read_timetags(request, timetags, result.error);
    if (outcome != Outcome::kDone) {
      result = {};
      return outcome;
    }
    if (result.error != storage::kOk) return Outcome::kDone;
  }
  for (const DuplicatedWrite& write : request.writes) {
    MARKAB_ASSERT(write.timestamp_us <= context.timestamp_us, "a mutation older than its rows",
                  write.timestamp_us, context.timestamp_us);
    uint64_t timetag = make_timetag(write.timestamp_us, write.cluster_id);
    for_each_put(write, [&](const std::string& key, int32_t expire_ts, std::string_view value) {
      uint64_t& live = timetags[key];
      if (write.keeps_newer && timetag < live) return;
      live = timetag;
      EffectsWriter::put(*batch, key, header(static_cast<uint32_t>(expire_ts), timetag), value);
    });
    for_each_removal(write, [&](const std::string& key) {
      timetags[key] = 0;
      EffectsWriter::remove(*batch, key);
    });
  }
  result.has_effects = batch->size() > kEffectsHeaderBytes;
  return Outcome::kDone;
}

}  // namespace markab::engine
