#include "replica/slow_reads.h"

#include <fmt/format.h>

#include "base/escape.h"
#include "engine/key_codec.h"
#include "idl/rrdb_types.h"
#include "rpc/codec.h"

namespace markab::replica {

using rpc::TaskCode;

bool touched_much(const AbnormalReadLimits& limits, TaskCode code, const engine::ReadStats& stats) {
  auto over = [](uint64_t value, int64_t limit) {
    return limit > 0 && value >= static_cast<uint64_t>(limit);
  };
  switch (code) {
    case TaskCode::kGet:
      return over(stats.value_bytes, limits.get_bytes);
    case TaskCode::kMultiGet:
      return over(stats.bytes, limits.multi_get_bytes) ||
             over(stats.iterations, limits.multi_get_iterations);
    case TaskCode::kBatchGet:
      return over(stats.bytes, limits.batch_get_bytes) ||
             over(stats.iterations, limits.batch_get_keys);
    default:
      return false;
  }
}

namespace {

engine::KeyParts parts_of(std::string_view raw_key) {
  engine::KeyParts parts;
  if (!engine::split_key(raw_key, parts)) parts = {raw_key, {}};
  return parts;
}

std::string describe_key(std::string_view raw_key) {
  auto parts = parts_of(raw_key);
  return fmt::format("hash key \"{}\", sort key \"{}\"", escape_cut(parts.hash_key),
                     escape_cut(parts.sort_key));
}

template <typename Query>
bool decode(std::string_view args, Query& query) {
  return rpc::decode_args(args, query).ok();
}

std::string describe_multi_get(const wire::multi_get_request& q) {
  if (!q.sort_keys.empty()) {
    return fmt::format("hash key \"{}\", {} sort keys from \"{}\"", escape_cut(q.hash_key),
                       q.sort_keys.size(), escape_cut(q.sort_keys.front()));
  }
  return fmt::format(
      "hash key \"{}\", sort keys {}\"{}\" to {}{}", escape_cut(q.hash_key),
      q.start_inclusive ? "from " : "after ", escape_cut(q.start_sortkey),
      q.stop_sortkey.empty() ? "the end" : fmt::format("\"{}\"", escape_cut(q.stop_sortkey)),
      q.reverse ? ", backwards" : "");
}

}  // namespace

void visit_hash_keys(TaskCode code, std::string_view args,
                     const Function<void(std::string_view)>& visit) {
  switch (code) {
    case TaskCode::kGet:
    case TaskCode::kTtl: {
      wire::blob key;
      if (decode(args, key)) visit(parts_of(key).hash_key);
      return;
    }
    case TaskCode::kSortkeyCount: {
      wire::blob hash_key;
      if (decode(args, hash_key)) visit(hash_key);
      return;
    }
    case TaskCode::kMultiGet: {
      wire::multi_get_request q;
      if (decode(args, q)) visit(q.hash_key);
      return;
    }
    case TaskCode::kBatchGet: {
      wire::batch_get_request q;
      if (!decode(args, q)) return;
      for (const auto& key : q.keys) visit(key.hash_key);
      return;
    }
    case TaskCode::kGetScanner: {
      wire::get_scanner_request q;
      if (decode(args, q)) visit(parts_of(q.start_key).hash_key);
      return;
    }
    default:
      return;
  }
}

std::string describe_read(TaskCode code, std::string_view args) {
  switch (code) {
    case TaskCode::kGet:
    case TaskCode::kTtl: {
      wire::blob key;
      return decode(args, key) ? describe_key(key) : std::string();
    }
    case TaskCode::kSortkeyCount: {
      wire::blob hash_key;
      return decode(args, hash_key) ? fmt::format("hash key \"{}\"", escape_cut(hash_key))
                                    : std::string();
    }
    case TaskCode::kMultiGet: {
      wire::multi_get_request q;
      return decode(args, q) ? describe_multi_get(q) : std::string();
    }
    case TaskCode::kBatchGet: {
      wire::batch_get_request q;
      if (!decode(args, q) || q.keys.empty()) return {};
      return fmt::format("{} keys from hash key \"{}\", sort key \"{}\"", q.keys.size(),
                         escape_cut(q.keys.front().hash_key), escape_cut(q.keys.front().sort_key));
    }
    case TaskCode::kGetScanner: {
      wire::get_scanner_request q;
      if (!decode(args, q)) return {};
      return fmt::format("from {} to {}", describe_key(q.start_key), describe_key(q.stop_key));
    }
    case TaskCode::kScan: {
      wire::scan_request q;
      return decode(args, q) ? fmt::format("scan context {}", q.context_id) : std::string();
    }
    default:
      return {};
  }
}

}  // namespace markab::replica
