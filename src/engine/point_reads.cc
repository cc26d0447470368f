// Reads of named rows: get, ttl, batch_get, and multi_get with sort keys (spec 02 §9).

#include <algorithm>

#include "engine/engine_impl.h"
#include "engine/key_codec.h"
#include "engine/value_codec.h"

namespace markab::engine {

namespace {

// Of a live record. A time too far away for the wire's number (a client sent a negative one) must
// not read as "none".
int32_t ttl_of(uint32_t expire_ts, uint32_t now) {
  if (expire_ts == 0) return -1;
  return static_cast<int32_t>(std::min<uint32_t>(expire_ts - now, INT32_MAX));
}

}  // namespace

EngineImpl::Found EngineImpl::find(std::string_view raw_key, const ReadContext& context,
                                   ReadArena& arena, Record& record, int32_t& error) const {
  rocksdb::PinnableSlice& pinned = arena.pin();
  ++arena.stats.iterations;
  Status status;
  switch (store_->get(raw_key, read_from(context), pinned, status)) {
    case Lookup::kFound:
      break;
    case Lookup::kNotFound:
      arena.unpin();
      return Found::kAbsent;
    case Lookup::kNeedsDisk:
      arena.unpin();
      return Found::kNeedsDisk;
    case Lookup::kError:
      arena.unpin();
      error = fail(std::move(status), arena);
      return Found::kFailed;
  }
  ValueView value;
  if (!decode_value(store_->data_version(), {pinned.data(), pinned.size()}, value)) {
    error = fail_damaged(raw_key, arena);
    return Found::kFailed;
  }
  if (is_dead(value.expire_ts, expiry_now(context.wall_us))) {
    ++arena.stats.expired;
    arena.unpin();
    return Found::kAbsent;
  }
  record.expire_ts = value.expire_ts;
  record.data = value.data;
  return Found::kLive;
}

template <typename Response, typename Live>
ReadOutcome EngineImpl::read_record(const wire::blob& key, const ReadContext& context,
                                    ReadArena& arena, Response& response, Live live) const {
  KeyParts parts;
  if (!split_key(key.view, parts)) {
    response.error = storage::kInvalidArgument;
    return ReadOutcome::kDone;
  }
  Record record;
  switch (find(key.view, context, arena, record, response.error)) {
    case Found::kLive:
      response.error = storage::kOk;
      live(record);
      break;
    case Found::kAbsent:
      response.error = storage::kNotFound;
      break;
    case Found::kNeedsDisk:
      return ReadOutcome::kNeedsDisk;
    case Found::kFailed:
      break;
  }
  return ReadOutcome::kDone;
}

ReadOutcome EngineImpl::get(const wire::blob& key, const ReadContext& context, ReadArena& arena,
                            wire::read_response& response) const {
  response.value = wire::blob();
  return read_record(key, context, arena, response, [&](const Record& record) {
    response.value = wire::blob(record.data);
    arena.stats.bytes = key.view.size() + record.data.size();
    arena.stats.value_bytes = record.data.size();
  });
}

ReadOutcome EngineImpl::ttl(const wire::blob& key, const ReadContext& context, ReadArena& arena,
                            wire::ttl_response& response) const {
  response.ttl_seconds = 0;
  return read_record(key, context, arena, response, [&](const Record& record) {
    response.ttl_seconds = ttl_of(record.expire_ts, expiry_now(context.wall_us));
  });
}

ReadOutcome EngineImpl::batch_get(const wire::batch_get_request& request,
                                  const ReadContext& context, ReadArena& arena,
                                  wire::batch_get_response& response) const {
  response.data.clear();
  response.error = storage::kOk;
  if (request.keys.empty()) {
    response.error = storage::kInvalidArgument;
    return ReadOutcome::kDone;
  }
  if (context.memory_only && request.keys.size() > kMaxIterationsOnShard) {
    return ReadOutcome::kNeedsDisk;
  }
  std::string raw_key;
  uint64_t bytes = 0;
  for (const wire::full_key& key : request.keys) {
    Found found = Found::kFailed;
    Record record;
    if (valid_hash_key(key.hash_key)) {
      raw_key.clear();
      append_key(raw_key, key.hash_key, key.sort_key);
      found = find(raw_key, context, arena, record, response.error);
    } else {
      response.error = storage::kInvalidArgument;
    }
    if (found == Found::kAbsent) continue;
    if (found == Found::kLive) {
      uint64_t size = key.hash_key.size() + key.sort_key.size() + record.data.size();
      if (bytes > 0 && bytes + size > kMaxPointAnswerBytes) {
        response.error = storage::kIncomplete;
        break;
      }
      bytes += size;
      wire::full_data& row = response.data.emplace_back();
      row.hash_key = key.hash_key;
      row.sort_key = key.sort_key;
      row.value = wire::blob(record.data);
    }
    if (found == Found::kFailed) {
      response.data.clear();
      return ReadOutcome::kDone;
    }
    if (found == Found::kNeedsDisk || (context.memory_only && bytes > kMaxBytesOnShard)) {
      response.data.clear();
      return ReadOutcome::kNeedsDisk;
    }
  }
  arena.stats.bytes = bytes;
  return ReadOutcome::kDone;
}

ReadOutcome EngineImpl::multi_get_points(const wire::multi_get_request& request,
                                         const ReadContext& context, ReadArena& arena,
                                         wire::multi_get_response& response) const {
  if (context.memory_only && request.sort_keys.size() > kMaxIterationsOnShard) {
    return ReadOutcome::kNeedsDisk;
  }
  size_t max_rows = options_.limits.multi_get_rows;
  if (request.max_kv_count > 0) {
    max_rows = std::min(max_rows, static_cast<size_t>(request.max_kv_count));
  }
  // There is no cap of 30 MiB here (spec 02 §6), but there is one of the frame.
  uint64_t max_bytes = kMaxPointAnswerBytes;
  if (request.max_kv_size > 0) {
    max_bytes = std::min(max_bytes, static_cast<uint64_t>(request.max_kv_size));
  }
  std::string raw_key;
  append_key(raw_key, request.hash_key, {});
  const size_t prefix = raw_key.size();
  uint64_t size = 0;
  for (const wire::blob& sort_key : request.sort_keys) {
    raw_key.resize(prefix);
    raw_key.append(sort_key.view);
    Record record;
    Found found = find(raw_key, context, arena, record, response.error);
    if (found == Found::kAbsent) continue;
    if (found == Found::kFailed) {
      response.kvs.clear();
      return ReadOutcome::kDone;
    }
    if (found == Found::kNeedsDisk || (context.memory_only && size > kMaxBytesOnShard)) {
      response.kvs.clear();
      return ReadOutcome::kNeedsDisk;
    }
    if (response.kvs.size() >= max_rows || size >= max_bytes) {
      response.error = storage::kIncomplete;
      break;
    }
    wire::key_value& row = response.kvs.emplace_back();
    row.key = sort_key;
    if (!request.no_value) row.value = wire::blob(record.data);
    size += row.key.size() + row.value.size();
    arena.stats.bytes += request.hash_key.size() + row.key.size() + row.value.size();
  }
  return ReadOutcome::kDone;
}

}  // namespace markab::engine
