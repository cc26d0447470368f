#include "replica/duplicates.h"

#include "base/integer_text.h"
#include "idl/duplication_types.h"
#include "rpc/codec.h"
#include "rpc/task_code.h"

namespace markab::replica {

using engine::DuplicatedWrite;
using rpc::TaskCode;

namespace {

constexpr int64_t kTimestampEnd = int64_t{1} << 55;  // a timetag has 56 bits for it

Status invalid(size_t entry, const Status& why) {
  return Status(Errc::kInvalidData, fmt::format("entry {}: {}", entry, why.message()));
}

// The body as its client sent it (06 §5.2). False: duplication carries no such operation.
bool decode_body(const wire::duplicate_entry& entry, DuplicatedWrite::Body& out, Status& status) {
  switch (rpc::task_from_name(entry.task_code.name)) {
    case TaskCode::kPut: {
      auto& put = out.emplace<wire::update_request>();
      status = rpc::decode_args(entry.raw_message, put);
      // What an atomic write of several rows removed is logged there as a put of that type.
      if (put.__isset.type && put.type == wire::update_type::UT_CHECK_AND_MUTATE_REMOVE) {
        wire::blob key = put.key;
        out.emplace<engine::RemoveRequest>().key = key;
      }
      return true;
    }
    case TaskCode::kRemove:
      status = rpc::decode_args(entry.raw_message, out.emplace<engine::RemoveRequest>().key);
      return true;
    case TaskCode::kMultiPut:
      status = rpc::decode_args(entry.raw_message, out.emplace<wire::multi_put_request>());
      return true;
    case TaskCode::kMultiRemove:
      status = rpc::decode_args(entry.raw_message, out.emplace<wire::multi_remove_request>());
      return true;
    default:
      return false;
  }
}

// Why an entry is not taken; empty when it is.
std::string refusal_of(const wire::duplicate_entry& entry, const DuplicationPeers& peers) {
  int id = entry.cluster_id;
  if (id < 1 || (!peers.takes_strangers && !peers.known[static_cast<size_t>(id)])) {
    return fmt::format(
        "cluster id {} is not in [duplication-group] of this cluster: add it there, or set "
        "[replication] dup_ignore_other_cluster_ids",
        id);
  }
  if (id == peers.own_id) {
    return fmt::format(
        "cluster id {} is this cluster's own: two clusters have the same id in "
        "[duplication-group], or a table is duplicated to itself",
        id);
  }
  if (entry.timestamp < 1 || entry.timestamp >= kTimestampEnd)
    return fmt::format("timestamp {} is out of range", entry.timestamp);
  return {};
}

bool keeps_newer(const wire::duplicate_entry& entry, DuplicationPeers::KeepNewer rule) {
  switch (rule) {
    case DuplicationPeers::KeepNewer::kAlways:
      return true;
    case DuplicationPeers::KeepNewer::kAsRequested:
      return entry.__isset.verify_timetag && entry.verify_timetag;
    case DuplicationPeers::KeepNewer::kNever:
      return false;
  }
  return true;
}

// Releases up to 2.3 of Pegasus send one entry in the place of the list.
Status decode_entries(std::string_view args, std::vector<wire::duplicate_entry>& out) {
  wire::duplicate_request request;
  Status status = rpc::decode_args(args, request);
  if (!status.ok()) return status;
  out = std::move(request.entries);
  if (!out.empty()) return {};
  wire::duplicate_entry single;
  status = rpc::decode_args(args, single);
  if (status.ok() && single.__isset.task_code) out.push_back(std::move(single));
  return status;
}

}  // namespace

Result<DuplicationPeers> duplication_peers(const std::map<std::string, std::string>& group,
                                           const std::string& own_name) {
  DuplicationPeers out;
  std::map<int64_t, std::string> names;
  for (const auto& [name, text] : group) {
    int64_t id = 0;
    if (!parse_integer(text, id) || id < 1 || id >= DuplicationPeers::kIds) {
      return Status(Errc::kInvalidParameters,
                    fmt::format("[duplication-group] {} = {} is no id: they are numbers of 1 to {}",
                                name, text, DuplicationPeers::kIds - 1));
    }
    auto [it, fresh] = names.emplace(id, name);
    if (!fresh) {
      return Status(
          Errc::kInvalidParameters,
          fmt::format("[duplication-group] gives id {} to both {} and {}", id, it->second, name));
    }
    out.known.set(static_cast<size_t>(id));
    if (name == own_name) out.own_id = static_cast<uint8_t>(id);
  }
  return out;
}

Status decode_duplicate(std::string_view args, const DuplicationPeers& peers, const OwnsHash& owns,
                        engine::DuplicateRequest& out) {
  out = {};
  std::vector<wire::duplicate_entry> entries;
  Status status = decode_entries(args, entries);
  if (!status.ok()) return status;
  auto refuse = [&](size_t i, const std::string& why) {
    if (out.refusal.empty()) out.refusal = fmt::format("entry {}: {}", i, why);
  };
  for (size_t i = 0; i < entries.size(); ++i) {
    const wire::duplicate_entry& entry = entries[i];
    if (std::string why = refusal_of(entry, peers); !why.empty()) {
      refuse(i, why);
      continue;
    }
    DuplicatedWrite& write = out.writes.emplace_back();
    write.timestamp_us = entry.timestamp;
    write.cluster_id = static_cast<uint8_t>(entry.cluster_id);
    write.keeps_newer = keeps_newer(entry, peers.keep_newer);
    if (!decode_body(entry, write.body, status)) {
      refuse(i, fmt::format("'{}' is no operation that is duplicated", entry.task_code.name));
      continue;
    }
    if (!status.ok()) return invalid(i, status);
    uint64_t hash = 0;
    if (!engine::has_rows(write)) continue;
    if (!engine::row_hash(write, hash)) {
      refuse(i, "its key is malformed");
    } else if (!owns(hash)) {
      return Status(Errc::kParentPartitionMisused,
                    fmt::format("entry {} is a row of another partition", i));
    }
  }
  return {};
}

}  // namespace markab::replica
