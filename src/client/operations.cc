#include "client/operations.h"

#include "base/bytes.h"
#include "base/crc64.h"
#include "client/errors.h"
#include "idl/rrdb_types.h"
#include "idl/rrdb_types.tcc"
#include "rpc/codec.h"

namespace markab::client {

using rpc::TaskCode;

std::string raw_key(std::string_view hash_key, std::string_view sort_key) {
  std::string raw;
  raw.reserve(2 + hash_key.size() + sort_key.size());
  append_be(raw, static_cast<uint16_t>(hash_key.size()));
  raw.append(hash_key);
  raw.append(sort_key);
  return raw;
}

bool split_key(std::string_view raw, std::string_view& hash_key, std::string_view& sort_key) {
  if (raw.size() < 2) return false;
  size_t length = load_be<uint16_t>(raw.data());
  if (length > kMaxHashKey || raw.size() < 2 + length) return false;
  hash_key = raw.substr(2, length);
  sort_key = raw.substr(2 + length);
  return true;
}

std::string next_key(std::string prefix) {
  while (!prefix.empty() && static_cast<uint8_t>(prefix.back()) == 0xFF) prefix.pop_back();
  if (!prefix.empty()) prefix.back() = static_cast<char>(static_cast<uint8_t>(prefix.back()) + 1);
  return prefix;
}

uint64_t key_hash(std::string_view hash_key, std::string_view sort_key) {
  return crc64(hash_key.empty() ? sort_key : hash_key);
}

int32_t expiry_of(Seconds ttl, int64_t wall_us) {
  if (ttl.count() == 0) return 0;
  return static_cast<int32_t>(static_cast<int64_t>(expiry_now(wall_us)) + ttl.count());
}

namespace {

Error check_hash_key(std::string_view hash_key) {
  if (hash_key.size() <= kMaxHashKey) return {};
  return {ErrorCode::kInvalidArgument,
          fmt::format("the hash key has {} bytes; at most {} are allowed", hash_key.size(),
                      kMaxHashKey)};
}

// Decodes the result into `response` and looks at its `error`.
template <typename Response>
Error open_answer(const Answer& answer, TaskCode code, Response& response) {
  if (answer.error) return answer.error;
  Status status = rpc::decode_result(answer.result, response);
  if (!status.ok()) {
    return {ErrorCode::kCorruption,
            fmt::format("the answer of {} to {} cannot be read: {}", answer.origin.server(),
                        operation_name(code), status.message())};
  }
  if (response.error != 0) return storage_error(response.error, code);
  return {};
}

template <typename T>
Outcome<T> with_origin(Outcome<T> outcome, const Answer& answer, int64_t decree = -1) {
  outcome.origin = answer.origin;
  outcome.origin.decree = decree;
  return outcome;
}

template <typename T, typename Request>
Prepared<T> prepare(TaskCode code, uint64_t hash, const Request& request,
                    Outcome<T> (*read)(Answer&&)) {
  Prepared<T> prepared;
  prepared.request.code = code;
  prepared.request.hash = hash;
  prepared.request.args = rpc::encode_args(request);
  prepared.read = read;
  return prepared;
}

template <typename T>
Prepared<T> refused(Error error) {
  Prepared<T> prepared;
  prepared.error = std::move(error);
  return prepared;
}

// GET, TTL and REMOVE take nothing but a raw key.
template <typename T>
Prepared<T> prepare_key(TaskCode code, std::string_view hash_key, std::string_view sort_key,
                        Outcome<T> (*read)(Answer&&)) {
  if (Error error = check_hash_key(hash_key)) return refused<T>(std::move(error));
  std::string raw = raw_key(hash_key, sort_key);
  return prepare<T>(code, key_hash(hash_key, sort_key), wire::blob(raw), read);
}

// The answers of put and remove.
template <TaskCode code>
Outcome<Nothing> read_update(Answer&& answer) {
  wire::update_response response;
  Error error = open_answer(answer, code, response);
  return with_origin<Nothing>(error ? Outcome<Nothing>(std::move(error)) : Nothing{}, answer,
                              response.decree);
}

Outcome<Cells> read_cells(Answer&& answer) {
  wire::multi_get_response response;
  Error error = open_answer(answer, TaskCode::kMultiGet, response);
  if (error && response.error != 7) return with_origin<Cells>(std::move(error), answer);
  Cells cells;
  cells.complete = response.error == 0;
  cells.cells.reserve(response.kvs.size());
  for (const auto& kv : response.kvs)
    cells.cells.push_back({kv.key.to_string(), kv.value.to_string()});
  return with_origin<Cells>(std::move(cells), answer);
}

template <typename Response, TaskCode code>
Outcome<Checked> read_checked(Answer&& answer) {
  Response response;
  Error error = open_answer(answer, code, response);
  if (error && response.error != 13)
    return with_origin<Checked>(std::move(error), answer, response.decree);
  Checked checked;
  checked.passed = response.error == 0;
  checked.check_value_returned = response.check_value_returned;
  if (response.check_value_returned && response.check_value_exist) {
    checked.check_value = response.check_value.to_string();
  }
  return with_origin<Checked>(std::move(checked), answer, response.decree);
}

template <typename Request>
void fill_condition(Request& request, std::string_view hash_key, const Condition& condition) {
  request.hash_key = hash_key;
  request.check_sort_key = std::string_view(condition.check_sort_key);
  request.check_type = static_cast<wire::cas_check_type::type>(condition.check);
  request.check_operand = std::string_view(condition.operand);
  request.return_check_value = condition.return_check_value;
}

}  // namespace

Prepared<std::string> prepare_get(std::string_view hash_key, std::string_view sort_key) {
  return prepare_key<std::string>(TaskCode::kGet, hash_key, sort_key, [](Answer&& answer) {
    wire::read_response response;
    Error error = open_answer(answer, TaskCode::kGet, response);
    return with_origin<std::string>(
        error ? Outcome<std::string>(std::move(error)) : response.value.to_string(), answer);
  });
}

Prepared<Nothing> prepare_set(std::string_view hash_key, std::string_view sort_key,
                              std::string_view value, int32_t expiry) {
  if (Error error = check_hash_key(hash_key)) return refused<Nothing>(std::move(error));
  std::string raw = raw_key(hash_key, sort_key);
  wire::update_request request;
  request.key = std::string_view(raw);
  request.value = value;
  request.expire_ts_seconds = expiry;
  return prepare<Nothing>(TaskCode::kPut, key_hash(hash_key, sort_key), request,
                          read_update<TaskCode::kPut>);
}

Prepared<Nothing> prepare_del(std::string_view hash_key, std::string_view sort_key) {
  return prepare_key<Nothing>(TaskCode::kRemove, hash_key, sort_key,
                              read_update<TaskCode::kRemove>);
}

Prepared<bool> prepare_exist(std::string_view hash_key, std::string_view sort_key) {
  // By its ttl: the value need not travel.
  return prepare_key<bool>(TaskCode::kTtl, hash_key, sort_key, [](Answer&& answer) {
    wire::ttl_response response;
    Error error = open_answer(answer, TaskCode::kTtl, response);
    if (error.code == ErrorCode::kNotFound) return with_origin<bool>(false, answer);
    return with_origin<bool>(error ? Outcome<bool>(std::move(error)) : true, answer);
  });
}

Prepared<std::optional<Seconds>> prepare_ttl(std::string_view hash_key, std::string_view sort_key) {
  using Ttl = std::optional<Seconds>;
  return prepare_key<Ttl>(TaskCode::kTtl, hash_key, sort_key, [](Answer&& answer) {
    wire::ttl_response response;
    Error error = open_answer(answer, TaskCode::kTtl, response);
    if (error) return with_origin<Ttl>(std::move(error), answer);
    return with_origin<Ttl>(response.ttl_seconds < 0 ? Ttl() : Ttl(Seconds(response.ttl_seconds)),
                            answer);
  });
}

Prepared<int64_t> prepare_incr(std::string_view hash_key, std::string_view sort_key, int64_t by,
                               int32_t expiry) {
  if (Error error = check_hash_key(hash_key)) return refused<int64_t>(std::move(error));
  std::string raw = raw_key(hash_key, sort_key);
  wire::incr_request request;
  request.key = std::string_view(raw);
  request.increment = by;
  request.expire_ts_seconds = expiry;
  return prepare<
      int64_t>(TaskCode::kIncr, key_hash(hash_key, sort_key), request, [](Answer&& answer) {
    wire::incr_response response;
    Error error = open_answer(answer, TaskCode::kIncr, response);
    if (response.error == 4) {
      error.message = fmt::format(
          "the value is not a 64-bit decimal number, or the sum ({} + increment) is beyond 64 bits",
          response.new_value);
    }
    return with_origin<int64_t>(error ? Outcome<int64_t>(std::move(error)) : response.new_value,
                                answer, response.decree);
  });
}

Prepared<Cells> prepare_multi_get(std::string_view hash_key,
                                  const std::vector<std::string>& sort_keys) {
  if (Error error = check_hash_key(hash_key)) return refused<Cells>(std::move(error));
  if (sort_keys.empty()) {
    return refused<Cells>({ErrorCode::kInvalidArgument,
                           "multi_get without sort keys; multi_get_range reads them all"});
  }
  wire::multi_get_request request;
  request.hash_key = hash_key;
  request.sort_keys.assign(sort_keys.begin(), sort_keys.end());
  request.max_kv_count = -1;
  request.max_kv_size = -1;
  return prepare<Cells>(TaskCode::kMultiGet, crc64(hash_key), request, read_cells);
}

Prepared<Cells> prepare_multi_get_range(std::string_view hash_key, std::string_view start,
                                        std::string_view stop, const RangeOptions& options) {
  if (Error error = check_hash_key(hash_key)) return refused<Cells>(std::move(error));
  wire::multi_get_request request;
  request.hash_key = hash_key;
  request.max_kv_count = options.max_count;
  request.max_kv_size = options.max_bytes;
  request.no_value = options.no_value;
  request.start_sortkey = start;
  request.stop_sortkey = stop;
  request.start_inclusive = options.start_inclusive;
  request.stop_inclusive = options.stop_inclusive;
  request.sort_key_filter_type = static_cast<wire::filter_type::type>(options.sort_key_filter);
  request.sort_key_filter_pattern = std::string_view(options.sort_key_pattern);
  request.reverse = options.reverse;
  return prepare<Cells>(TaskCode::kMultiGet, crc64(hash_key), request, read_cells);
}

Prepared<Nothing> prepare_multi_set(std::string_view hash_key, const std::vector<Cell>& cells,
                                    int32_t expiry) {
  if (Error error = check_hash_key(hash_key)) return refused<Nothing>(std::move(error));
  if (cells.empty())
    return refused<Nothing>({ErrorCode::kInvalidArgument, "multi_set without cells"});
  wire::multi_put_request request;
  request.hash_key = hash_key;
  request.expire_ts_seconds = expiry;
  request.kvs.resize(cells.size());
  for (size_t i = 0; i < cells.size(); ++i) {
    request.kvs[i].key = std::string_view(cells[i].sort_key);
    request.kvs[i].value = std::string_view(cells[i].value);
  }
  return prepare<Nothing>(TaskCode::kMultiPut, crc64(hash_key), request,
                          read_update<TaskCode::kMultiPut>);
}

Prepared<int64_t> prepare_multi_del(std::string_view hash_key,
                                    const std::vector<std::string>& sort_keys) {
  if (Error error = check_hash_key(hash_key)) return refused<int64_t>(std::move(error));
  if (sort_keys.empty()) {
    return refused<int64_t>(
        {ErrorCode::kInvalidArgument, "multi_del without sort keys; del_range deletes them all"});
  }
  wire::multi_remove_request request;
  request.hash_key = hash_key;
  request.sort_keys.assign(sort_keys.begin(), sort_keys.end());
  return prepare<int64_t>(TaskCode::kMultiRemove, crc64(hash_key), request, [](Answer&& answer) {
    wire::multi_remove_response response;
    Error error = open_answer(answer, TaskCode::kMultiRemove, response);
    return with_origin<int64_t>(error ? Outcome<int64_t>(std::move(error)) : response.count, answer,
                                response.decree);
  });
}

Prepared<int64_t> prepare_sortkey_count(std::string_view hash_key) {
  if (Error error = check_hash_key(hash_key)) return refused<int64_t>(std::move(error));
  return prepare<int64_t>(
      TaskCode::kSortkeyCount, crc64(hash_key), wire::blob(hash_key), [](Answer&& answer) {
        wire::count_response response;
        Error error = open_answer(answer, TaskCode::kSortkeyCount, response);
        if (!error && response.count < 0) {  // spec 02 §9
          error = {
              ErrorCode::kTimeout,
              "the server gave up counting: the hash key has too many rows for its time limit"};
        }
        return with_origin<int64_t>(error ? Outcome<int64_t>(std::move(error)) : response.count,
                                    answer);
      });
}

Prepared<Checked> prepare_check_and_set(std::string_view hash_key, const Condition& condition,
                                        const Cell& cell, int32_t expiry) {
  if (Error error = check_hash_key(hash_key)) return refused<Checked>(std::move(error));
  wire::check_and_set_request request;
  fill_condition(request, hash_key, condition);
  request.set_diff_sort_key = cell.sort_key != condition.check_sort_key;
  request.set_sort_key = std::string_view(cell.sort_key);
  request.set_value = std::string_view(cell.value);
  request.set_expire_ts_seconds = expiry;
  return prepare<Checked>(TaskCode::kCheckAndSet, crc64(hash_key), request,
                          read_checked<wire::check_and_set_response, TaskCode::kCheckAndSet>);
}

Prepared<Checked> prepare_check_and_mutate(std::string_view hash_key, const Condition& condition,
                                           const std::vector<Mutation>& mutations,
                                           int64_t wall_us) {
  if (Error error = check_hash_key(hash_key)) return refused<Checked>(std::move(error));
  if (mutations.empty())
    return refused<Checked>({ErrorCode::kInvalidArgument, "check_and_mutate without mutations"});
  wire::check_and_mutate_request request;
  fill_condition(request, hash_key, condition);
  request.mutate_list.resize(mutations.size());
  for (size_t i = 0; i < mutations.size(); ++i) {
    auto& to = request.mutate_list[i];
    to.operation = static_cast<wire::mutate_operation::type>(mutations[i].kind);
    to.sort_key = std::string_view(mutations[i].sort_key);
    to.value = std::string_view(mutations[i].value);
    to.set_expire_ts_seconds = expiry_of(mutations[i].ttl, wall_us);
  }
  return prepare<Checked>(TaskCode::kCheckAndMutate, crc64(hash_key), request,
                          read_checked<wire::check_and_mutate_response, TaskCode::kCheckAndMutate>);
}

Prepared<Found> prepare_batch_get(const std::vector<Key>& keys,
                                  const std::vector<size_t>& indices) {
  wire::batch_get_request request;
  request.keys.resize(indices.size());
  for (size_t i = 0; i < indices.size(); ++i) {
    const Key& key = keys[indices[i]];
    if (Error error = check_hash_key(key.hash_key)) return refused<Found>(std::move(error));
    request.keys[i].hash_key = std::string_view(key.hash_key);
    request.keys[i].sort_key = std::string_view(key.sort_key);
  }
  const Key& first = keys[indices.front()];
  return prepare<Found>(
      TaskCode::kBatchGet, key_hash(first.hash_key, first.sort_key), request, [](Answer&& answer) {
        wire::batch_get_response response;
        Error error = open_answer(answer, TaskCode::kBatchGet, response);
        if (error && response.error != 7) return with_origin<Found>(std::move(error), answer);
        Found found;
        found.complete = response.error == 0;
        for (const auto& row : response.data) {
          found.keys.push_back({row.hash_key.to_string(), row.sort_key.to_string()});
          found.values.push_back(row.value.to_string());
        }
        return with_origin<Found>(std::move(found), answer);
      });
}

}  // namespace markab::client
