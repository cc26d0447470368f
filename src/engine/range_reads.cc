// Reads of a hash key's rows in order: multi_get by range and sortkey_count (spec 02 §9).

#include <algorithm>

#include "engine/engine_impl.h"
#include "engine/key_codec.h"
#include "engine/row_filter.h"
#include "engine/value_codec.h"

namespace markab::engine {

namespace {

struct MultiGetLimits {
  size_t rows;
  uint64_t bytes;

  MultiGetLimits(const ReadLimits& limits, const wire::multi_get_request& request)
      : rows(limits.multi_get_rows), bytes(limits.multi_get_bytes) {
    if (request.max_kv_count > 0) {
      rows = std::min(rows, static_cast<size_t>(request.max_kv_count));
    }
    if (request.max_kv_size > 0) {
      bytes = std::min(bytes, static_cast<uint64_t>(request.max_kv_size));
    }
  }
};

KeyRange range_of(const wire::multi_get_request& request) {
  KeyRange range;
  range.set_start(make_key(request.hash_key, request.start_sortkey), request.start_inclusive);
  if (request.stop_sortkey.empty()) {
    range.set_stop(key_after(request.hash_key), false);
  } else {
    range.set_stop(make_key(request.hash_key, request.stop_sortkey), request.stop_inclusive);
  }
  if (request.sort_key_filter_type == wire::filter_type::FT_MATCH_PREFIX &&
      !request.sort_key_filter_pattern.empty()) {
    range.begin_at(make_key(request.hash_key, request.sort_key_filter_pattern));
    range.cut_at(key_after(request.hash_key, request.sort_key_filter_pattern));
  }
  return range;
}

}  // namespace

ReadOutcome EngineImpl::multi_get(const wire::multi_get_request& request,
                                  const ReadContext& context, ReadArena& arena,
                                  wire::multi_get_response& response) const {
  response.kvs.clear();
  response.error = storage::kOk;
  if (!valid_hash_key(request.hash_key)) {
    response.error = storage::kInvalidArgument;
    return ReadOutcome::kDone;
  }
  if (!request.sort_keys.empty()) return multi_get_points(request, context, arena, response);
  if (!valid_filter_type(request.sort_key_filter_type)) {
    response.error = storage::kInvalidArgument;
    return ReadOutcome::kDone;
  }
  return multi_get_range(request, context, arena, response);
}

ReadOutcome EngineImpl::multi_get_range(const wire::multi_get_request& request,
                                        const ReadContext& context, ReadArena& arena,
                                        wire::multi_get_response& response) const {
  KeyRange range = range_of(request);
  if (range.empty()) return ReadOutcome::kDone;
  const MultiGetLimits limits(options_.limits, request);
  const uint32_t time_check = time_check_every();
  const int64_t threshold_ms = settings_.get().iteration_threshold_ms;
  const uint32_t now = expiry_now(context.wall_us);
  const size_t sort_key_at = kKeyPrefixLength + request.hash_key.size();
  // Backwards there is no prefix to seek: total order.
  auto rows = store_->iterate(read_from(context), range.lower(), range.upper(), !request.reverse);
  uint64_t size = 0;
  bool incomplete = false;
  request.reverse ? rows->SeekToLast() : rows->Seek(*range.lower());
  for (; rows->Valid(); request.reverse ? rows->Prev() : rows->Next()) {
    if (context.memory_only &&
        (arena.stats.iterations == kMaxIterationsOnShard || size > kMaxBytesOnShard)) {
      response.kvs.clear();
      return ReadOutcome::kNeedsDisk;
    }
    if (arena.stats.iterations == options_.limits.multi_get_rows ||
        (arena.stats.iterations % time_check == time_check - 1 &&
         out_of_time(context, threshold_ms))) {
      incomplete = true;
      break;
    }
    ++arena.stats.iterations;
    std::string_view key(rows->key().data(), rows->key().size());
    ValueView value;
    if (!decode_value(store_->data_version(), {rows->value().data(), rows->value().size()},
                      value)) {
      response.kvs.clear();
      response.error = fail_damaged(key, arena);
      return ReadOutcome::kDone;
    }
    std::string_view sort_key = key.substr(sort_key_at);
    if (is_dead(value.expire_ts, now)) {
      ++arena.stats.expired;
    } else if (!filter_matches(request.sort_key_filter_type, request.sort_key_filter_pattern,
                               sort_key)) {
      ++arena.stats.filtered;
    } else if (response.kvs.size() >= limits.rows || size >= limits.bytes) {
      // Only a row that would have been returned makes the answer incomplete: exact, unlike
      // upstream.
      incomplete = true;
      break;
    } else {
      wire::key_value& row = response.kvs.emplace_back();
      row.key = wire::blob(arena.copy(sort_key));
      if (!request.no_value) row.value = wire::blob(arena.copy(value.data));
      size += row.key.size() + row.value.size();
    }
  }
  if (!rows->Valid() && !rows->status().ok()) {
    response.kvs.clear();
    if (context.memory_only && rows->status().IsIncomplete()) return ReadOutcome::kNeedsDisk;
    response.error = fail(store_->status_of(*rows), arena);
    return ReadOutcome::kDone;
  }
  if (request.reverse) std::reverse(response.kvs.begin(), response.kvs.end());
  if (incomplete) response.error = storage::kIncomplete;
  arena.stats.bytes = size + response.kvs.size() * request.hash_key.size();
  return ReadOutcome::kDone;
}

namespace {

// A count under way: one view of the store, from the first slice to the last.
struct UnfinishedCount final : ReadArena::Unfinished {
  KeyRange range;
  std::unique_ptr<rocksdb::Iterator> rows;  // over `range`; destroyed first
  int64_t count = 0;
};

}  // namespace

ReadOutcome EngineImpl::sortkey_count(const wire::blob& hash_key, const ReadContext& context,
                                      ReadArena& arena, wire::count_response& response) const {
  response.count = 0;
  response.error = storage::kOk;
  if (!valid_hash_key(hash_key)) {
    response.error = storage::kInvalidArgument;
    return ReadOutcome::kDone;
  }
  auto counting =
      std::unique_ptr<UnfinishedCount>(static_cast<UnfinishedCount*>(arena.unfinished.release()));
  if (counting == nullptr) {
    counting = std::make_unique<UnfinishedCount>();
    counting->range.set_start(make_key(hash_key, {}), true);
    counting->range.set_stop(key_after(hash_key), false);
    counting->rows =
        store_->iterate(read_from(context), counting->range.lower(), counting->range.upper(), true);
    counting->rows->Seek(*counting->range.lower());
  }
  const uint32_t time_check = time_check_every();
  const int64_t threshold_ms = settings_.get().iteration_threshold_ms;
  const uint32_t now = expiry_now(context.wall_us);
  const bool sliced = context.slice > Duration(0);
  const Instant slice_end = sliced ? options_.now() + context.slice : Instant();
  rocksdb::Iterator& rows = *counting->rows;
  bool first = true;  // a slice gets on by a row at least
  for (; rows.Valid(); rows.Next(), first = false) {
    if (context.memory_only && arena.stats.iterations == kMaxIterationsOnShard) {
      return ReadOutcome::kNeedsDisk;
    }
    if (!first && arena.stats.iterations % time_check == time_check - 1) {
      if (out_of_time(context, threshold_ms)) {
        response.count = -1;
        return ReadOutcome::kDone;
      }
      if (sliced && options_.now() >= slice_end) {
        arena.unfinished = std::move(counting);
        return ReadOutcome::kUnfinished;
      }
    }
    ++arena.stats.iterations;
    ValueView value;
    if (!decode_value(store_->data_version(), {rows.value().data(), rows.value().size()}, value)) {
      response.error = fail_damaged({rows.key().data(), rows.key().size()}, arena);
      return ReadOutcome::kDone;
    }
    if (is_dead(value.expire_ts, now)) {
      ++arena.stats.expired;
    } else {
      ++counting->count;
    }
  }
  if (rows.status().ok()) {
    response.count = counting->count;
    return ReadOutcome::kDone;
  }
  if (context.memory_only && rows.status().IsIncomplete()) return ReadOutcome::kNeedsDisk;
  response.error = fail(store_->status_of(rows), arena);
  return ReadOutcome::kDone;
}

}  // namespace markab::engine
