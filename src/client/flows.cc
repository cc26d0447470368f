#include "client/flows.h"

#include <algorithm>
#include <map>

#include "base/crc64.h"
#include "client/operations.h"
#include "client/scan_flow.h"
#include "idl/partition_types.h"
#include "idl/partition_types.tcc"
#include "rpc/codec.h"

namespace markab::client {

namespace {

// --- batch_get: one message per partition, in parallel ---

constexpr size_t kMaxKeysPerMessage = 1000;

struct BatchGet : std::enable_shared_from_this<BatchGet> {
  BatchGet(Core& core, Core::Table& table) : core(core), table(table) {}

  void start() {
    core.resolve(table, deadline, [self = shared_from_this()](Answer answer) {
      if (answer.error) return self->end(std::move(answer.error));
      self->send_all();
    });
  }

  void send_all() {
    std::map<int32_t, std::vector<size_t>> by_partition;
    for (size_t i = 0; i < keys.size(); ++i) {
      by_partition[table.routing.index_of(key_hash(keys[i].hash_key, keys[i].sort_key))].push_back(
          i);
    }
    ++waiting;  // until all are sent
    for (const auto& [partition, indices] : by_partition) {
      for (size_t from = 0; from < indices.size(); from += kMaxKeysPerMessage) {
        size_t to = std::min(from + kMaxKeysPerMessage, indices.size());
        send({indices.begin() + static_cast<std::ptrdiff_t>(from),
              indices.begin() + static_cast<std::ptrdiff_t>(to)});
      }
    }
    one_less();
  }

  void send(std::vector<size_t> indices) {
    auto prepared = prepare_batch_get(keys, indices);
    if (prepared.error) return end(std::move(prepared.error));
    ++waiting;
    core.call(table, std::move(prepared.request), deadline,
              [self = shared_from_this(), read = prepared.read,
               indices = std::move(indices)](Answer answer) mutable {
                self->take(read(std::move(answer)), std::move(indices));
                self->one_less();
              });
  }

  // The rows come in the order of the keys; keys without a row are left out, and a repeated key
  // comes again.
  void take(Outcome<Found> found, std::vector<size_t> indices) {
    if (!found) return end(found.error());
    size_t at = 0;
    for (size_t row = 0; row < found->keys.size(); ++row) {
      const Key& key = found->keys[row];
      while (at < indices.size() && (keys[indices[at]].hash_key != key.hash_key ||
                                     keys[indices[at]].sort_key != key.sort_key)) {
        ++at;
      }
      if (at == indices.size()) {
        return end(
            Error{ErrorCode::kCorruption,
                  fmt::format("{} returned a row that was not asked for", found.origin.server())});
      }
      values[indices[at++]] = std::move(found->values[row]);
    }
    if (found->complete) return;
    if (found->keys.empty()) {
      return end(Error{
          ErrorCode::kInvalidArgument,
          fmt::format("{} cannot return a single one of the rows within its size limit; use get",
                      found.origin.server())});
    }
    indices.erase(indices.begin(), indices.begin() + static_cast<std::ptrdiff_t>(at));
    if (!indices.empty()) send(std::move(indices));
  }

  void one_less() {
    if (--waiting == 0 && done) end({});
  }
  void end(Error error) {
    if (!done) return;
    auto tell = std::move(done);
    if (error) return tell(std::move(error));
    tell(std::move(values));
  }

  Core& core;
  Core::Table& table;
  std::vector<Key> keys;
  Instant deadline;
  Callback<Outcome<Values>> done;
  Values values;
  size_t waiting = 0;
};

// --- del_range: scan, delete, repeat ---

constexpr int32_t kDeletedAtOnce = 100;

struct DelRange : std::enable_shared_from_this<DelRange> {
  DelRange(Core& core, Core::Table& table) : core(core), table(table) {}

  void scan() {
    flow->next_batch(deadline, [self = shared_from_this()](Outcome<ScanBatch> batch) {
      self->take(std::move(batch));
    });
  }
  void take(Outcome<ScanBatch> batch) {
    if (!batch) return end(batch.error());
    finished = batch->finished;
    if (batch->rows.empty()) return finished ? end({}) : scan();
    std::vector<std::string> sort_keys;
    for (auto& row : batch->rows) sort_keys.push_back(std::move(row.sort_key));
    auto prepared = prepare_multi_del(hash_key, sort_keys);
    core.call(table, std::move(prepared.request), deadline,
              [self = shared_from_this(), read = prepared.read](Answer answer) {
                auto count = read(std::move(answer));
                if (!count) return self->end(count.error());
                self->deleted += *count;
                if (self->finished) return self->end({});
                self->scan();
              });
  }
  void end(Error error) {
    if (!error) return done(deleted);
    if (flow) flow->close();
    error.message += fmt::format(" ({} rows were deleted before)", deleted);
    done(std::move(error));
  }

  Core& core;
  Core::Table& table;
  std::string hash_key;
  std::shared_ptr<ScanFlow> flow;
  Instant deadline;
  Callback<Outcome<int64_t>> done;
  bool finished = false;
  int64_t deleted = 0;
};

// --- wait_writable ---

constexpr Duration kReadinessPoll = std::chrono::milliseconds(20);
constexpr Duration kProbeAgain = std::chrono::milliseconds(100);

// A key for each partition, such as nobody uses.
std::vector<std::string> probe_keys(int32_t partitions) {
  std::vector<std::string> keys(static_cast<size_t>(partitions));
  int32_t missing = partitions;
  for (uint64_t i = 0; missing > 0; ++i) {
    std::string key = fmt::format("markab.never.used.{}", i);
    auto& slot = keys[crc64(key) % keys.size()];
    if (!slot.empty()) continue;
    slot = std::move(key);
    --missing;
  }
  return keys;
}

struct WaitWritable : std::enable_shared_from_this<WaitWritable> {
  WaitWritable(Core& core, Core::Table& table) : core(core), table(table) {}

  void start() {
    core.resolve(table, deadline, [self = shared_from_this()](Answer answer) {
      if (answer.error) return self->end(std::move(answer.error));
      self->seen.partitions = self->table.routing.partition_count();
      self->probe_all();
      self->ask();
    });
  }

  void probe_all() {
    keys = probe_keys(seen.partitions);
    again.resize(keys.size());
    for (size_t i = 0; i < keys.size() && done; ++i) probe(i);
  }

  void probe(size_t partition) {
    auto prepared = prepare_del(keys[partition], "");
    core.call(table, std::move(prepared.request), deadline,
              [self = shared_from_this(), read = prepared.read, partition](Answer answer) {
                auto deleted = read(std::move(answer));
                if (!deleted) return self->refused(partition, deleted.error());
                ++self->seen.writable;
                self->changed();
              });
  }

  // What passes is waited for: a full disk, a throttle, a partition without a primary.
  void refused(size_t partition, Error error) {
    bool passes = error.code == ErrorCode::kBusy || error.code == ErrorCode::kUnavailable ||
                  error.code == ErrorCode::kUnknownOutcome;
    if (!done || !passes || core.shard().now() >= deadline) return end(std::move(error));
    last_refusal = std::move(error.message);
    again[partition] = core.shard().after(kProbeAgain, [self = shared_from_this(), partition] {
      if (self->done) self->probe(partition);
    });
  }

  void ask() {
    if (!done) return;
    wire::query_cfg_request request;
    request.app_name = table.routing.name();
    MetaRequest question{rpc::TaskCode::kQueryPartitionConfigByIndex, rpc::encode_args(request),
                         deadline, true};
    core.call_meta(std::move(question),
                   [self = shared_from_this()](Answer answer) { self->take(std::move(answer)); });
  }

  void take(Answer answer) {
    if (!done) return;
    if (answer.error) return end(std::move(answer.error));
    wire::query_cfg_response response;
    Status status = rpc::decode_result(answer.result, response);
    if (!status.ok()) return end(Error{ErrorCode::kCorruption, status.to_string()});
    Readiness now;
    now.partitions = response.partition_count;
    now.writable = seen.writable;
    for (const auto& config : response.partitions) {
      bool primary = config.primary || (config.__isset.hp_primary && config.hp_primary);
      now.with_primary += primary ? 1 : 0;
      auto alive = static_cast<int32_t>(config.secondaries.size()) + (primary ? 1 : 0);
      now.with_all_replicas += primary && alive >= config.max_replica_count ? 1 : 0;
    }
    bool news =
        now.with_primary != seen.with_primary || now.with_all_replicas != seen.with_all_replicas;
    seen = now;
    if (news) changed();
    if (!done) return;
    if (core.shard().now() >= deadline) {
      return end(Error{
          ErrorCode::kTimeout,
          fmt::format("of {} partitions {} have a primary, {} all replicas, {} take writes{}{}",
                      seen.partitions, seen.with_primary, seen.with_all_replicas, seen.writable,
                      last_refusal.empty() ? "" : "; the last one was refused: ", last_refusal)});
    }
    timer = core.shard().after(kReadinessPoll, [self = shared_from_this()] { self->ask(); });
  }

  void changed() {
    if (!done) return;
    if (progress) progress(seen);
    if (seen.with_all_replicas >= seen.partitions && seen.writable >= seen.partitions) end({});
  }
  void end(Error error) {
    if (!done) return;
    auto tell = std::move(done);
    timer.cancel();
    again.clear();
    progress = nullptr;
    if (error) return tell(std::move(error));
    tell(seen);
  }

  Core& core;
  Core::Table& table;
  Instant deadline;
  std::function<void(const Readiness&)> progress;
  Callback<Outcome<Readiness>> done;
  Readiness seen;
  std::string last_refusal;
  io::TimerHandle timer;
  std::vector<std::string> keys;       // a partition each
  std::vector<io::TimerHandle> again;  // of their probes that were refused
};

}  // namespace

void batch_get(Core& core, Core::Table& table, std::vector<Key> keys, Instant deadline,
               Callback<Outcome<Values>> done) {
  if (keys.empty()) return done(Error{ErrorCode::kInvalidArgument, "batch_get without keys"});
  auto flow = std::make_shared<BatchGet>(core, table);
  flow->values.resize(keys.size());
  flow->keys = std::move(keys);
  flow->deadline = deadline;
  flow->done = std::move(done);
  flow->start();
}

void del_range(Core& core, Core::Table& table, std::string hash_key, std::string start,
               std::string stop, const RangeOptions& options, Instant deadline,
               Callback<Outcome<int64_t>> done) {
  if (hash_key.size() > kMaxHashKey) {
    return done(Error{ErrorCode::kInvalidArgument,
                      fmt::format("the hash key has {} bytes; at most {} are allowed",
                                  hash_key.size(), kMaxHashKey)});
  }
  ScanOptions scan;
  scan.start_inclusive = options.start_inclusive;
  scan.stop_inclusive = options.stop_inclusive;
  scan.sort_key_filter = options.sort_key_filter;
  scan.sort_key_pattern = options.sort_key_pattern;
  scan.batch_size = kDeletedAtOnce;
  scan.no_value = true;
  auto flow = std::make_shared<DelRange>(core, table);
  flow->flow = std::make_shared<ScanFlow>(core, table, hash_key, start, stop, std::move(scan));
  flow->hash_key = std::move(hash_key);
  flow->deadline = deadline;
  flow->done = std::move(done);
  flow->scan();
}

void wait_writable(Core& core, Core::Table& table, Instant deadline,
                   std::function<void(const Readiness&)> progress,
                   Callback<Outcome<Readiness>> done) {
  auto flow = std::make_shared<WaitWritable>(core, table);
  flow->deadline = deadline;
  flow->progress = std::move(progress);
  flow->done = std::move(done);
  flow->start();
}

}  // namespace markab::client
