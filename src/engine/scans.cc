// Scans: get_scanner, scan, clear_scanner (spec 02 §10).

#include <algorithm>

#include "engine/engine_impl.h"
#include "engine/key_codec.h"
#include "engine/row_filter.h"
#include "engine/value_codec.h"

namespace markab::engine {

namespace {

constexpr int64_t kFinished = -1;

// A stop key that means "to the end of the partition": the clients' FF FF, and what pypegasus3
// 0.0.1.1 makes of it.
constexpr std::string_view kEndOfTable = "\xFF\xFF";
constexpr std::string_view kEndOfTableAsUtf8 = "\xC3\xBF\xC3\xBF";

void set_finished(wire::scan_response& response, int32_t error) {
  response.error = error;
  response.kvs.clear();
  response.context_id = kFinished;
}

// The rows that a request asks for; spec 02 §10, steps 2 and 4. `start` is the well-formed start
// key.
void set_range(const wire::get_scanner_request& request, const KeyParts& start, ScanContext& scan) {
  bool to_the_end =
      request.stop_key.view == kEndOfTable || request.stop_key.view == kEndOfTableAsUtf8;
  scan.one_hash_key = !(request.full_scan || start.hash_key.empty() || to_the_end);
  scan.range.set_start(request.start_key, request.start_inclusive);
  if (to_the_end) {
    // Past every well-formed key, since no hash key has that length.
    scan.range.set_stop(kEndOfTable, false);
  } else {
    scan.range.set_stop(request.stop_key, request.stop_inclusive);
  }
  if (scan.one_hash_key) {
    scan.range.cut_at(key_after(start.hash_key));
  } else if (request.hash_key_filter_type == wire::filter_type::FT_MATCH_PREFIX &&
             valid_hash_key(request.hash_key_filter_pattern)) {
    // Hash keys sort by length first, so only the start can be moved.
    if (!request.hash_key_filter_pattern.empty()) {
      scan.range.begin_at(make_key(request.hash_key_filter_pattern, {}));
    }
  }
}

void set_options(const wire::get_scanner_request& request, uint32_t most_rows, ScanContext& scan) {
  scan.batch_rows = request.batch_size <= 0
                        ? most_rows
                        : std::min(static_cast<uint32_t>(request.batch_size), most_rows);
  scan.no_value = request.no_value;
  scan.validate_partition_hash =
      !request.__isset.validate_partition_hash || request.validate_partition_hash;
  scan.return_expire_ts = request.__isset.return_expire_ts && request.return_expire_ts;
  scan.only_return_count = request.only_return_count;
  scan.hash_filter = request.hash_key_filter_type;
  scan.hash_pattern.assign(request.hash_key_filter_pattern.view);
  scan.sort_filter = request.sort_key_filter_type;
  scan.sort_pattern.assign(request.sort_key_filter_pattern.view);
}

}  // namespace

ReadOutcome EngineImpl::get_scanner(const wire::get_scanner_request& request,
                                    const ReadContext& context, ReadArena& arena,
                                    wire::scan_response& response) {
  set_finished(response, storage::kOk);
  if (request.only_return_count) response.__set_kv_count(0);
  KeyParts start;
  if (!valid_filter_type(request.hash_key_filter_type) ||
      !valid_filter_type(request.sort_key_filter_type) || !split_key(request.start_key, start)) {
    response.error = storage::kInvalidArgument;
    return ReadOutcome::kDone;
  }
  auto scan = std::make_unique<ScanContext>();
  set_range(request, start, *scan);
  if (scan->range.empty()) return ReadOutcome::kDone;
  // A scan of the whole partition is long: it never runs on a shard, and leaves the cache to
  // others.
  if (context.memory_only && !scan->one_hash_key) return ReadOutcome::kNeedsDisk;
  set_options(request, options_.limits.scan_rows, *scan);
  scan->peer = context.peer;
  ReadFrom from = read_from(context);
  from.fill_cache = from.fill_cache && scan->one_hash_key;
  scan->rows = store_->iterate(from, scan->range.lower(), scan->range.upper(), scan->one_hash_key);
  scan->rows->Seek(*scan->range.lower());
  bool unfinished = false;
  ReadOutcome outcome =
      read_batch(*scan, options_.limits.scan_rows, context, arena, response, unfinished);
  if (outcome == ReadOutcome::kDone && unfinished) {
    // What goes on later may need the disk, with the view of now.
    if (context.memory_only) {
      response.kvs.clear();
      return ReadOutcome::kNeedsDisk;
    }
    response.context_id = scans_.put(std::move(scan), context.now);
  }
  return outcome;
}

ReadOutcome EngineImpl::scan(const wire::scan_request& request, const ReadContext& context,
                             ReadArena& arena, wire::scan_response& response) {
  set_finished(response, storage::kOk);
  if (context.memory_only && scans_.contains(request.context_id)) return ReadOutcome::kNeedsDisk;
  auto scan = context.memory_only ? nullptr : scans_.take(request.context_id);
  if (scan == nullptr) {
    response.error = storage::kNotFound;
    return ReadOutcome::kDone;
  }
  bool unfinished = false;
  ReadOutcome outcome = read_batch(*scan, scan->batch_rows, context, arena, response, unfinished);
  if (unfinished) response.context_id = scans_.put(std::move(scan), context.now);
  return outcome;
}

void EngineImpl::clear_scanner(int64_t context_id) { scans_.take(context_id); }

void EngineImpl::expire_scanners(Instant now) { scans_.expire(now - kScanContextIdle); }

ReadOutcome EngineImpl::read_batch(ScanContext& scan, uint32_t max_iterations,
                                   const ReadContext& context, ReadArena& arena,
                                   wire::scan_response& response, bool& unfinished) const {
  const OperationSettings settings = settings_.get();
  const bool validate = scan.validate_partition_hash && settings.validate_partition_hash;
  const bool all_strangers =
      settings.partition_version < 0 || options_.gpid.partition_index > settings.partition_version;
  const uint32_t now = expiry_now(context.wall_us);
  const uint32_t time_check_every = std::max(1u, scan.batch_rows / 10);
  rocksdb::Iterator& rows = *scan.rows;
  uint32_t count = 0;
  uint64_t size = 0;
  bool timed_out = false;
  for (; rows.Valid(); rows.Next()) {
    if (context.memory_only &&
        (arena.stats.iterations == kMaxIterationsOnShard || size > kMaxBytesOnShard)) {
      response.kvs.clear();
      return ReadOutcome::kNeedsDisk;
    }
    if (count == scan.batch_rows || arena.stats.iterations == max_iterations ||
        size >= kMaxScanBatchBytes) {
      unfinished = true;
      break;
    }
    if (arena.stats.iterations % time_check_every == time_check_every - 1 &&
        out_of_time(context, settings.iteration_threshold_ms)) {
      timed_out = true;
      break;
    }
    ++arena.stats.iterations;
    std::string_view key(rows.key().data(), rows.key().size());
    KeyParts parts;
    ValueView value;
    if (!split_key(key, parts)) continue;  // the reserved empty key, or imported rubbish
    if (!decode_value(store_->data_version(), {rows.value().data(), rows.value().size()}, value)) {
      set_finished(response, fail_damaged(key, arena));
      return ReadOutcome::kDone;
    }
    if (is_dead(value.expire_ts, now)) {
      ++arena.stats.expired;
      continue;
    }
    if (validate && (all_strangers || !row_is_ours(row_hash(parts), settings.partition_version,
                                                   options_.gpid.partition_index))) {
      continue;
    }
    if (!filter_matches(scan.hash_filter, scan.hash_pattern, parts.hash_key) ||
        !filter_matches(scan.sort_filter, scan.sort_pattern, parts.sort_key)) {
      ++arena.stats.filtered;
      continue;
    }
    ++count;
    if (scan.only_return_count) continue;
    wire::key_value& row = response.kvs.emplace_back();
    row.key = wire::blob(arena.copy(key));
    if (!scan.no_value) row.value = wire::blob(arena.copy(value.data));
    if (scan.return_expire_ts) row.__set_expire_ts_seconds(static_cast<int32_t>(value.expire_ts));
    size += row.key.size() + row.value.size();
  }
  if (!rows.Valid() && !rows.status().ok()) {
    bool needs_disk = context.memory_only && rows.status().IsIncomplete();
    set_finished(response, needs_disk ? storage::kOk : fail(store_->status_of(rows), arena));
    return needs_disk ? ReadOutcome::kNeedsDisk : ReadOutcome::kDone;
  }
  if (scan.only_return_count) response.__set_kv_count(static_cast<int32_t>(count));
  if (timed_out) response.error = storage::kIncomplete;
  arena.stats.bytes = size;
  return ReadOutcome::kDone;
}

}  // namespace markab::engine
