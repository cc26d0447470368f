#include "engine/resolver.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/assert.h"
#include "base/crc64.h"
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
  uint64_t generation = 0;
  std::string key;
  Lookup outcome = Lookup::kError;
  std::string stored;
  Status error;
};

struct Resolver::Impl {
  explicit Impl(const Engine& e) : engine(e) {}

  // The live record of a key as the request sees it: with the effects in flight.
  struct Base {
    Outcome outcome = Outcome::kDone;
    int32_t error = storage::kOk;  // of the store
    bool exists = false;
    uint32_t expire_ts = 0;
    std::string_view data;
  };

  Outcome add(const wire::update_request& request, WriteResult& result);
  Outcome add(const RemoveRequest& request, WriteResult& result);
  Outcome add(const wire::multi_put_request& request, WriteResult& result);
  Outcome add(const wire::multi_remove_request& request, WriteResult& result);
  Outcome add(const wire::incr_request& request, WriteResult& result);
  Outcome add(const wire::check_and_set_request& request, WriteResult& result);
  Outcome add(const wire::check_and_mutate_request& request, WriteResult& result);

  Base read_base(std::string_view raw_key);
  // Reads the check key and evaluates; false: `result` says why, or the outcome is not kDone.
  bool check(std::string_view hash_key, std::string_view sort_key, wire::cas_check_type::type type,
             std::string_view operand, bool return_value, WriteResult& result, Outcome& outcome);
  // Value headers: with the batch's timetag, and default_ttl where `expire_ts` is 0.
  std::string_view header(uint32_t expire_ts);

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
  std::string wanted_key;
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
  fetched->key = impl_->wanted_key;
  return fetched;
}

void Resolver::fetch(const Engine& engine, Fetched& fetched) {
  rocksdb::PinnableSlice value;
  fetched.outcome = engine.store().get(fetched.key, {.memory_only = false}, value, fetched.error);
  if (fetched.outcome == Lookup::kFound) fetched.stored.assign(value.data(), value.size());
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
  size_t n =
      encode_value_header(data_version, expire_ts == 0 ? default_expire_ts : expire_ts,
                          make_timetag(context.timestamp_us, context.cluster_id), header_bytes);
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
      if (fetched != nullptr && fetched->key == raw_key) {
        looked = fetched->outcome;
        stored = fetched->stored;
        error = fetched->error;
      } else {
        looked = engine.store().get(raw_key, {.memory_only = true}, pinned, error);
        if (looked == Lookup::kFound) stored = {pinned.data(), pinned.size()};
      }
      if (looked == Lookup::kNotFound) return base;
      if (looked == Lookup::kNeedsDisk) {
        wanted_key.assign(raw_key);
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

namespace {

struct RowHash {
  uint64_t& hash;

  bool of_raw(std::string_view key) const {
    KeyParts parts;
    if (!split_key(key, parts)) return false;
    hash = row_hash(parts);
    return true;
  }
  bool of_hash_key(std::string_view hash_key) const {
    hash = crc64(hash_key);
    return valid_hash_key(hash_key);
  }
  bool operator()(const wire::update_request& r) const { return of_raw(r.key); }
  bool operator()(const RemoveRequest& r) const { return of_raw(r.key); }
  bool operator()(const wire::incr_request& r) const { return of_raw(r.key); }
  bool operator()(const wire::multi_put_request& r) const { return of_hash_key(r.hash_key); }
  bool operator()(const wire::multi_remove_request& r) const { return of_hash_key(r.hash_key); }
  bool operator()(const wire::check_and_set_request& r) const { return of_hash_key(r.hash_key); }
  bool operator()(const wire::check_and_mutate_request& r) const { return of_hash_key(r.hash_key); }
};

struct HashKey {
  static std::string_view of_raw(std::string_view key) {
    KeyParts parts;
    return split_key(key, parts) ? parts.hash_key : std::string_view();
  }
  std::string_view operator()(const wire::update_request& r) const { return of_raw(r.key); }
  std::string_view operator()(const RemoveRequest& r) const { return of_raw(r.key); }
  std::string_view operator()(const wire::incr_request& r) const { return of_raw(r.key); }
  template <typename Request>
  std::string_view operator()(const Request& r) const {
    return r.hash_key;
  }
};

struct RowCount {
  size_t operator()(const wire::multi_put_request& r) const { return r.kvs.size(); }
  size_t operator()(const wire::multi_remove_request& r) const { return r.sort_keys.size(); }
  size_t operator()(const wire::check_and_mutate_request& r) const { return r.mutate_list.size(); }
  template <typename Request>
  size_t operator()(const Request&) const {
    return 1;
  }
};

}  // namespace

bool row_hash(const WriteRequest& request, uint64_t& hash) {
  return std::visit(RowHash{hash}, request);
}

std::string_view hash_key_of(const WriteRequest& request) { return std::visit(HashKey{}, request); }

int64_t row_count(const WriteRequest& request) {
  return std::max<int64_t>(1, static_cast<int64_t>(std::visit(RowCount{}, request)));
}

}  // namespace markab::engine
