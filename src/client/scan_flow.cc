#include "client/scan_flow.h"

#include <algorithm>

#include "base/crc64.h"
#include "client/errors.h"
#include "client/operations.h"
#include "idl/rrdb_types.h"
#include "idl/rrdb_types.tcc"
#include "rpc/codec.h"

namespace markab::client {

using rpc::TaskCode;

// Starting again that often without a single row means that the server cannot serve this scan.
constexpr int kMaxRestarts = 16;
constexpr Duration kCloseTimeout = std::chrono::seconds(1);

ScanFlow::ScanFlow(Core& core, Core::Table& table, std::vector<int32_t> partitions,
                   ScanOptions options)
    : core_(core),
      table_(table),
      options_(std::move(options)),
      whole_(true),
      partitions_(std::move(partitions)),
      first_key_("\x00\x00", 2),
      stop_key_("\xFF\xFF") {
  begin_partition();
}

ScanFlow::ScanFlow(Core& core, Core::Table& table, std::string_view hash_key,
                   std::string_view start, std::string_view stop, ScanOptions options)
    : core_(core),
      table_(table),
      options_(std::move(options)),
      whole_(false),
      partitions_{-1},
      hash_(crc64(hash_key)),
      first_key_(raw_key(hash_key, start)),
      first_inclusive_(options_.start_inclusive),
      stop_key_(stop.empty() ? next_key(raw_key(hash_key, "")) : raw_key(hash_key, stop)),
      stop_inclusive_(!stop.empty() && options_.stop_inclusive) {
  if (options_.sort_key_filter == Filter::kPrefix && !options_.sort_key_pattern.empty()) {
    std::string from = raw_key(hash_key, options_.sort_key_pattern);
    std::string to = next_key(from);
    if (from > first_key_) {
      first_key_ = std::move(from);
      first_inclusive_ = true;
    }
    if (to <= stop_key_) {
      stop_key_ = std::move(to);
      stop_inclusive_ = false;
    }
  }
  int order = first_key_.compare(stop_key_);
  finished_ = order > 0 || (order == 0 && !(first_inclusive_ && stop_inclusive_));
  begin_partition();
}

void ScanFlow::begin_partition() {
  start_key_ = first_key_;
  start_inclusive_ = first_inclusive_;
  context_ = -1;
  counted_ = 0;
  restarts_ = 0;
  if (position_ >= partitions_.size()) finished_ = true;
}

void ScanFlow::end_partition() {
  ++position_;
  begin_partition();
}

void ScanFlow::next_batch(Instant deadline, BatchCallback done) {
  if (finished_) {
    ScanBatch batch;
    batch.finished = true;
    return done(std::move(batch));
  }
  ask(deadline, std::move(done));
}

std::string ScanFlow::encode_start() const {
  wire::get_scanner_request request;
  request.start_key = std::string_view(start_key_);
  request.stop_key = std::string_view(stop_key_);
  request.start_inclusive = start_inclusive_;
  request.stop_inclusive = stop_inclusive_;
  request.batch_size = std::clamp(options_.batch_size, 1, 1000);
  request.no_value = options_.no_value;
  if (whole_) {
    request.hash_key_filter_type = static_cast<wire::filter_type::type>(options_.hash_key_filter);
    request.hash_key_filter_pattern = std::string_view(options_.hash_key_pattern);
  }
  request.sort_key_filter_type = static_cast<wire::filter_type::type>(options_.sort_key_filter);
  request.sort_key_filter_pattern = std::string_view(options_.sort_key_pattern);
  request.__set_validate_partition_hash(whole_);
  request.__set_full_scan(whole_);
  request.__set_return_expire_ts(options_.return_expire_time);
  request.__set_only_return_count(options_.only_count);
  return rpc::encode_args(request);
}

void ScanFlow::ask(Instant deadline, BatchCallback done) {
  PartitionRequest request;
  request.hash = hash_;
  request.partition = partitions_[position_];
  if (context_ < 0) {
    request.code = TaskCode::kGetScanner;
    request.args = encode_start();
  } else {
    request.code = TaskCode::kScan;
    wire::scan_request next;
    next.context_id = context_;
    request.args = rpc::encode_args(next);
  }
  core_.call(table_, std::move(request), deadline,
             [self = shared_from_this(), deadline, done = std::move(done)](Answer answer) mutable {
               self->on_answer(deadline, std::move(answer), std::move(done));
             });
}

void ScanFlow::on_answer(Instant deadline, Answer answer, BatchCallback done) {
  if (answer.error) return done(std::move(answer.error));
  wire::scan_response response;
  Status status = rpc::decode_result(answer.result, response);
  if (!status.ok()) {
    return done(
        Error{ErrorCode::kCorruption, fmt::format("the answer of {} to scan cannot be read: {}",
                                                  answer.origin.server(), status.message())});
  }
  bool lost = response.error == 1;       // the context is gone
  bool cut_short = response.error == 7;  // the server's time limit: rows, but no context
  if (response.error != 0 && !lost && !cut_short)
    return done(storage_error(response.error, TaskCode::kScan));

  ScanBatch batch;
  for (const auto& kv : response.kvs) {
    std::string_view hash_key;
    std::string_view sort_key;
    if (!split_key(kv.key, hash_key, sort_key)) {
      return done(
          Error{ErrorCode::kCorruption,
                fmt::format("{} returned a row with a malformed key", answer.origin.server())});
    }
    ScanRow row{std::string(hash_key), std::string(sort_key), kv.value.to_string(), {}};
    if (kv.__isset.expire_ts_seconds && kv.expire_ts_seconds != 0) {
      row.expires = std::chrono::system_clock::time_point(
          Seconds(kExpiryEpoch + static_cast<uint32_t>(kv.expire_ts_seconds)));
    }
    batch.rows.push_back(std::move(row));
  }
  if (!response.kvs.empty()) {
    start_key_ = response.kvs.back().key.to_string();
    start_inclusive_ = false;
    restarts_ = 0;
  }
  if (response.__isset.kv_count) counted_ += response.kv_count;
  if (lost || cut_short) {
    context_ = -1;
    if (options_.only_count) counted_ = 0;
    if (batch.rows.empty() && ++restarts_ > kMaxRestarts) {
      return done(
          Error{ErrorCode::kUnavailable,
                fmt::format("{} forgot the scan, or ran into its time limit, {} times in a row",
                            answer.origin.server(), restarts_)});
    }
  } else if (response.context_id < 0) {
    if (options_.only_count) batch.count = counted_;
    end_partition();
    if (options_.only_count || finished_ || !batch.rows.empty())
      return deliver(std::move(batch), answer, std::move(done));
  } else {
    context_ = response.context_id;
  }
  if (!batch.rows.empty()) return deliver(std::move(batch), answer, std::move(done));
  ask(deadline, std::move(done));
}

void ScanFlow::deliver(ScanBatch batch, const Answer& answer, BatchCallback done) {
  if (!options_.only_count) batch.count = static_cast<int64_t>(batch.rows.size());
  batch.finished = finished_;
  Outcome<ScanBatch> outcome(std::move(batch));
  outcome.origin = answer.origin;
  done(std::move(outcome));
}

void ScanFlow::close() {
  if (finished_ || context_ < 0) return;
  PartitionRequest request;
  request.code = TaskCode::kClearScanner;
  request.hash = hash_;
  request.partition = partitions_[position_];
  request.args = rpc::encode_args(context_);
  finished_ = true;
  core_.call(table_, std::move(request), core_.shard().now() + kCloseTimeout, [](Answer) {});
}

}  // namespace markab::client
