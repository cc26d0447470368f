#include "replica/capacity_units.h"

#include <variant>

#include "engine/engine.h"

namespace markab::replica {

namespace storage = engine::storage;
using rpc::TaskCode;

Charge charge_read(TaskCode code, int32_t error, const engine::ReadStats& stats,
                   const UnitSizes& sizes) {
  bool found_or_not = error == storage::kOk || error == storage::kNotFound;
  bool counted = false;
  switch (code) {
    case TaskCode::kGet:
    case TaskCode::kTtl:
    case TaskCode::kSortkeyCount:
      counted = found_or_not;
      break;
    case TaskCode::kMultiGet:
    case TaskCode::kBatchGet:
    case TaskCode::kGetScanner:
    case TaskCode::kScan:
      counted = found_or_not || error == storage::kIncomplete || error == storage::kInvalidArgument;
      break;
    default:
      break;
  }
  if (!counted) return {};
  Charge charge;
  charge.bytes = static_cast<int64_t>(stats.bytes);
  charge.read_units = capacity_units(charge.bytes, sizes.read);
  return charge;
}

namespace {

int64_t size_of(const wire::blob& a) { return static_cast<int64_t>(a.size()); }

struct WriteCharge {
  const engine::WriteResult& result;
  const UnitSizes& sizes;

  // The read half of a check: what was looked up, whether or not it passed.
  Charge of_check(const wire::blob& hash_key, const wire::blob& sort_key) const {
    bool counted = result.error == storage::kOk || result.error == storage::kInvalidArgument ||
                   result.error == storage::kTryAgain;
    Charge charge;
    if (counted)
      charge.read_units = capacity_units(size_of(hash_key) + size_of(sort_key), sizes.read);
    return charge;
  }

  Charge of_bytes(int64_t bytes) const {
    if (result.error != storage::kOk) return {};
    return {.read_units = 0, .write_units = capacity_units(bytes, sizes.write), .bytes = bytes};
  }
  Charge operator()(const wire::update_request& r) const {
    return of_bytes(size_of(r.key) + size_of(r.value));
  }
  Charge operator()(const engine::RemoveRequest& r) const { return of_bytes(size_of(r.key)); }
  Charge operator()(const wire::multi_put_request& r) const {
    int64_t bytes = 0;
    for (const auto& kv : r.kvs) bytes += size_of(r.hash_key) + size_of(kv.key) + size_of(kv.value);
    return of_bytes(bytes);
  }
  Charge operator()(const wire::multi_remove_request& r) const {
    int64_t bytes = 0;
    for (const auto& sort_key : r.sort_keys) bytes += size_of(r.hash_key) + size_of(sort_key);
    return of_bytes(bytes);
  }
  // As if each of its writes had come by itself.
  Charge operator()(const engine::DuplicateRequest& r) const {
    Charge charge;
    if (result.error != storage::kOk) return charge;
    for (const auto& write : r.writes) {
      Charge one = std::visit(*this, write.body);
      charge.write_units += one.write_units;
      charge.bytes += one.bytes;
    }
    return charge;
  }
  Charge operator()(const wire::incr_request&) const {
    if (result.error == storage::kOk) return {.read_units = 1, .write_units = 1, .bytes = 0};
    if (result.error == storage::kInvalidArgument)
      return {.read_units = 1, .write_units = 0, .bytes = 0};
    return {};
  }
  Charge operator()(const wire::check_and_set_request& r) const {
    Charge charge = of_check(r.hash_key, r.check_sort_key);
    if (result.error != storage::kOk) return charge;
    charge.bytes = size_of(r.hash_key) + size_of(r.set_sort_key) + size_of(r.set_value);
    charge.write_units = capacity_units(charge.bytes, sizes.write);
    return charge;
  }
  Charge operator()(const wire::check_and_mutate_request& r) const {
    Charge charge = of_check(r.hash_key, r.check_sort_key);
    if (result.error != storage::kOk) return charge;
    for (const auto& m : r.mutate_list) {
      charge.bytes += size_of(r.hash_key) + size_of(m.sort_key) + size_of(m.value);
    }
    charge.write_units = capacity_units(charge.bytes, sizes.write);
    return charge;
  }
};

}  // namespace

Charge charge_write(const engine::WriteRequest& request, const engine::WriteResult& result,
                    const UnitSizes& sizes) {
  return std::visit(WriteCharge{result, sizes}, request);
}

}  // namespace markab::replica
