#include "fake_cluster.h"

#include <algorithm>

#include "client/operations.h"
#include "idl/meta_admin_types.h"
#include "idl/meta_admin_types.tcc"
#include "idl/partition_types.h"
#include "idl/partition_types.tcc"
#include "idl/rrdb_types.h"
#include "idl/rrdb_types.tcc"
#include "rpc/codec.h"

namespace markab::client {

using rpc::TaskCode;

namespace {
// What the client sends must be readable.
template <typename T>
void read(const std::string& args, T& out) {
  Status status = rpc::decode_args(args, out);
  MARKAB_ASSERT(status.ok(), "the client sent arguments that cannot be read", status.message());
}
}  // namespace

HostPort node(int n) { return {0x0A000000u + static_cast<uint32_t>(n), 34801}; }
HostPort meta(int n) { return {0x0A000100u + static_cast<uint32_t>(n), 34601}; }

void FakeCluster::place(int count, const std::vector<HostPort>& nodes) {
  for (int i = 0; i < count; ++i) {
    HostPort primary = nodes[static_cast<size_t>(i) % nodes.size()];
    told.push_back({1, primary});
    real.push_back(primary);
  }
}

void FakeCluster::move(int32_t partition, HostPort to) {
  auto i = static_cast<size_t>(partition);
  real[i] = to;
  told[i] = {told[i].ballot + 1, to};
}

void FakeCluster::kill(HostPort node) {
  dead_.insert(node);
  for (auto& pending : pending_) {
    if (pending->node == node && !pending->ended) {
      end(pending, Duration(0),
          Status(Errc::kNetworkFailure, "the connection broke, the request had been sent"), false,
          "");
    }
  }
}

void FakeCluster::revive(HostPort node) {
  dead_.erase(node);
  silent_.erase(node);
}

int FakeCluster::count_calls(TaskCode code) const {
  return static_cast<int>(
      std::count_if(calls.begin(), calls.end(), [&](const auto& c) { return c.code == code; }));
}

int FakeCluster::count_calls(HostPort node, TaskCode code) const {
  return static_cast<int>(std::count_if(
      calls.begin(), calls.end(), [&](const auto& c) { return c.code == code && c.node == node; }));
}

void FakeCluster::end(const std::shared_ptr<Pending>& pending, Duration after, Status status,
                      bool never_sent, std::string result) {
  if (pending->ended) return;
  pending->ended = true;
  auto block = std::make_shared<std::string>(std::move(result));
  world_.schedule_after(after, [this, pending, status = std::move(status), never_sent, block] {
    shard_.post([pending, status, never_sent, block] {
      rpc::Reply reply;
      reply.status = status;
      reply.never_sent = never_sent;
      reply.result = *block;
      reply.block = block;
      pending->done(std::move(reply));
    });
  });
}

void FakeCluster::call(HostPort to, TaskCode code, const rpc::CallOptions& options,
                       std::string_view args, Callback<rpc::Reply> done) {
  calls.push_back({world_.now(), to, code, options.gpid, options.partition_hash});
  auto pending = std::make_shared<Pending>();
  pending->node = to;
  pending->done = std::move(done);
  pending_.push_back(pending);
  if (auto unsent = unsent_.extract(code)) {
    return end(pending, Duration(0), Status(unsent.mapped(), "not sent"), true, "");
  }
  if (dead_.contains(to)) {
    return end(pending, std::chrono::microseconds(50),
               Status(Errc::kNetworkFailure, "the connection was refused"), true, "");
  }
  world_.schedule_after(options.timeout, [this, pending] {
    end(pending, Duration(0), Status(Errc::kTimeout, "did not answer"), false, "");
  });
  if (silent_.contains(to)) return;
  world_.schedule_after(kLatency,
                        [this, pending, code, gpid = options.gpid, args = std::string(args)] {
                          if (!pending->ended && !silent_.contains(pending->node))
                            arrive(pending, code, gpid, args);
                        });
}

void FakeCluster::arrive(const std::shared_ptr<Pending>& pending, TaskCode code, Gpid gpid,
                         const std::string& args) {
  if (auto& refusals = refusals_[code]; !refusals.empty()) {
    Errc error = refusals.front();
    refusals.pop_front();
    return end(pending, kLatency, error, false, "");
  }
  if (auto it = meta_errs.find(pending->node);
      it != meta_errs.end() && metas.contains(pending->node)) {
    wire::configuration_create_app_response
        response;  // every answer of a meta begins with the code
    response.err = it->second;
    return end(pending, kLatency, {}, false, rpc::encode_result(response));
  }
  if (metas.contains(pending->node)) {
    if (code == TaskCode::kQueryPartitionConfigByIndex)
      return end(pending, kLatency, {}, false, answer_query());
    if (code == TaskCode::kCreateApp) {
      wire::configuration_create_app_response response;
      response.err = meta_err;
      response.appid = kAppId;
      return end(pending, kLatency, {}, false, rpc::encode_result(response));
    }
    return end(pending, kLatency, Errc::kHandlerNotFound, false, "");
  }
  auto index = static_cast<size_t>(gpid.partition_index);
  if (gpid.app_id != kAppId || index >= real.size())
    return end(pending, kLatency, Errc::kObjectNotFound, false, "");
  if (real[index] != pending->node) return end(pending, kLatency, Errc::kInvalidState, false, "");
  std::string result = execute(code, gpid, args);
  if (int& lost = lost_answers_[code]; lost > 0) {
    --lost;
    return end(pending, kLatency,
               Status(Errc::kNetworkFailure, "the connection broke, the request had been sent"),
               false, "");
  }
  end(pending, kLatency, {}, false, std::move(result));
}

std::string FakeCluster::answer_query() {
  wire::query_cfg_response response;
  response.err = meta_err;
  if (meta_err == Errc::kOk) {
    response.app_id = kAppId;
    response.partition_count = static_cast<int32_t>(told.size());
    response.is_stateful = true;
    for (size_t i = 0; i < told.size(); ++i) {
      wire::partition_configuration config;
      config.pid = Gpid{kAppId, static_cast<int32_t>(i)};
      config.ballot = told[i].ballot;
      config.max_replica_count = 1;
      config.primary = told[i].primary;
      config.__set_hp_primary(wire::host_port(told[i].primary));
      response.partitions.push_back(std::move(config));
    }
  }
  return rpc::encode_result(response);
}

std::string FakeCluster::execute(TaskCode code, Gpid gpid, const std::string& args) {
  switch (code) {
    case TaskCode::kGet: {
      wire::blob key;
      read(args, key);
      wire::read_response response;
      auto it = rows.find(key.to_string());
      response.error = it == rows.end() ? 1 : 0;
      if (it != rows.end()) response.value = std::string_view(it->second);
      return rpc::encode_result(response);
    }
    case TaskCode::kPut: {
      wire::update_request request;
      read(args, request);
      rows[request.key.to_string()] = request.value.to_string();
      return rpc::encode_result(wire::update_response());
    }
    case TaskCode::kRemove: {
      wire::blob key;
      read(args, key);
      rows.erase(key.to_string());
      return rpc::encode_result(wire::update_response());
    }
    case TaskCode::kIncr: {
      wire::incr_request request;
      read(args, request);
      ++executed_incrs;
      auto& value = rows[request.key.to_string()];
      value = std::to_string((value.empty() ? 0 : std::stoll(value)) + request.increment);
      wire::incr_response response;
      response.new_value = std::stoll(value);
      return rpc::encode_result(response);
    }
    case TaskCode::kMultiRemove: {
      wire::multi_remove_request request;
      read(args, request);
      for (const auto& sort_key : request.sort_keys)
        rows.erase(raw_key(request.hash_key, sort_key));
      wire::multi_remove_response response;
      response.count = static_cast<int64_t>(request.sort_keys.size());
      return rpc::encode_result(response);
    }
    case TaskCode::kBatchGet: {
      wire::batch_get_request request;
      read(args, request);
      wire::batch_get_response response;
      for (const auto& key : request.keys) {
        auto it = rows.find(raw_key(key.hash_key, key.sort_key));
        if (it == rows.end()) continue;
        if (response.data.size() == rows_per_batch) {
          response.error = 7;
          break;
        }
        wire::full_data data;
        data.hash_key = key.hash_key;
        data.sort_key = key.sort_key;
        data.value = std::string_view(it->second);
        response.data.push_back(data);
      }
      return rpc::encode_result(response);
    }
    case TaskCode::kGetScanner:
    case TaskCode::kScan:
      return execute_scan(code, gpid, args);
    default:
      return rpc::encode_result(wire::update_response());
  }
}

std::string FakeCluster::execute_scan(TaskCode code, Gpid gpid, const std::string& args) {
  wire::scan_response response;
  Context context;
  if (code == TaskCode::kGetScanner) {
    wire::get_scanner_request request;
    read(args, request);
    context.next = request.start_key.to_string();
    if (!request.start_inclusive) context.next.push_back('\0');
    context.stop = request.stop_key.to_string();
    context.stop_inclusive = request.stop_inclusive;
    context.only_count = request.only_return_count;
    context.partition = gpid.partition_index;
  } else {
    wire::scan_request request;
    read(args, request);
    auto it = contexts_.find(request.context_id);
    if (it == contexts_.end()) {
      response.error = 1;
      return rpc::encode_result(response);
    }
    context = it->second;
    contexts_.erase(it);
  }
  response.context_id = -1;
  size_t taken = 0;
  for (auto it = rows.lower_bound(context.next); it != rows.end(); ++it) {
    if (it->first > context.stop || (it->first == context.stop && !context.stop_inclusive)) break;
    std::string_view hash_key;
    std::string_view sort_key;
    split_key(it->first, hash_key, sort_key);
    if (key_hash(hash_key, sort_key) % real.size() != static_cast<uint64_t>(context.partition))
      continue;
    if (taken == rows_per_batch) {
      context.next = it->first;
      response.context_id = next_context_++;
      contexts_[response.context_id] = context;
      break;
    }
    ++taken;
    if (context.only_count) continue;
    wire::key_value kv;
    kv.key = std::string_view(it->first);
    kv.value = std::string_view(it->second);
    response.kvs.push_back(kv);
  }
  if (context.only_count) response.__set_kv_count(static_cast<int32_t>(taken));
  return rpc::encode_result(response);
}

}  // namespace markab::client
