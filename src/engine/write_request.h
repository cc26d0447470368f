#pragma once
// What the resolver turns into effects: the writes of clients, and those that another cluster
// shipped. Plain values; their blobs view the bytes of a request. Pure functions; any thread.

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "idl/rrdb_types.h"

namespace markab::engine {

struct RemoveRequest {
  wire::blob key;
};
// A write of another cluster, shipped from there (spec 02 §11).
struct DuplicatedWrite {
  using Body = std::variant<wire::update_request, RemoveRequest, wire::multi_put_request,
                            wire::multi_remove_request>;
  int64_t timestamp_us = 0;  // of the mutation there; 1 .. 2^55 - 1, as timetags have room for
  uint8_t cluster_id = 0;    // where it was written, 1..127
  // A put is dropped when the live record here is newer: by its timetag (spec 06 §5.4).
  bool keeps_newer = true;
  Body body;
};
// Applied in order and as a whole, in a mutation of its own, or refused as a whole.
struct DuplicateRequest {
  std::vector<DuplicatedWrite> writes;
  std::string refusal;  // why it may not be applied, for the other side's operator; empty: it may
};
// One client write; its blobs view the request's bytes, which the caller keeps until the answer.
using WriteRequest =
    std::variant<wire::update_request, RemoveRequest, wire::multi_put_request,
                 wire::multi_remove_request, wire::incr_request, wire::check_and_set_request,
                 wire::check_and_mutate_request, DuplicateRequest>;

// Which hash the row of a request has (spec 02 §3), of a duplicate its first row; false when the
// key is malformed, or there is none.
bool row_hash(const WriteRequest& request, uint64_t& hash);
// The hash key of a request's rows, viewing its bytes; empty when its key is malformed, and for a
// duplicate, whose rows have many.
std::string_view hash_key_of(const WriteRequest& request);
// How many rows a request names; at least 1.
int64_t row_count(const WriteRequest& request);
// The newest timestamp that a request brings along; 0 for all but a duplicate.
int64_t newest_timestamp_us(const WriteRequest& request);
// Of one duplicated write: false for a multi-row write without rows, which does nothing.
bool has_rows(const DuplicatedWrite& write);
// As above; precondition: it has rows, which all have this hash.
bool row_hash(const DuplicatedWrite& write, uint64_t& hash);

}  // namespace markab::engine
