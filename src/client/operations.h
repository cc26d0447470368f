#pragma once
// Each data operation as a request for one partition and a way to read its answer: keys, hashes,
// expiry times, the generated types. Pure; any thread.

#include <string>
#include <string_view>
#include <vector>

#include "client/answer.h"
#include "client/core.h"
#include "markab/client.h"

namespace markab::client {

template <typename T>
struct Prepared {
  Error error;  // set: not to be sent
  PartitionRequest request;
  Outcome<T> (*read)(Answer&&) = nullptr;
};

// The raw key: u16 length of the hash key, hash key, sort key (spec 02 §3).
std::string raw_key(std::string_view hash_key, std::string_view sort_key);
// False when it is malformed. The views point into `raw`.
bool split_key(std::string_view raw, std::string_view& hash_key, std::string_view& sort_key);
// The first key after all that begin with `prefix`, a raw key or the beginning of one.
std::string next_key(std::string prefix);
uint64_t key_hash(std::string_view hash_key, std::string_view sort_key);
// An expiry time on the wire: 0 for no ttl; a negative ttl is in the past. `wall_us` is
// the time now.
int32_t expiry_of(Seconds ttl, int64_t wall_us);

inline constexpr size_t kMaxHashKey = 65534;

Prepared<std::string> prepare_get(std::string_view hash_key, std::string_view sort_key);
Prepared<Nothing> prepare_set(std::string_view hash_key, std::string_view sort_key,
                              std::string_view value, int32_t expiry);
Prepared<Nothing> prepare_del(std::string_view hash_key, std::string_view sort_key);
Prepared<bool> prepare_exist(std::string_view hash_key, std::string_view sort_key);
Prepared<std::optional<Seconds>> prepare_ttl(std::string_view hash_key, std::string_view sort_key);
// `expiry`: 0 keep, > 0 set, < 0 clear.
Prepared<int64_t> prepare_incr(std::string_view hash_key, std::string_view sort_key, int64_t by,
                               int32_t expiry);
Prepared<Cells> prepare_multi_get(std::string_view hash_key,
                                  const std::vector<std::string>& sort_keys);
Prepared<Cells> prepare_multi_get_range(std::string_view hash_key, std::string_view start,
                                        std::string_view stop, const RangeOptions& options);
Prepared<Nothing> prepare_multi_set(std::string_view hash_key, const std::vector<Cell>& cells,
                                    int32_t expiry);
Prepared<int64_t> prepare_multi_del(std::string_view hash_key,
                                    const std::vector<std::string>& sort_keys);
Prepared<int64_t> prepare_sortkey_count(std::string_view hash_key);
Prepared<Checked> prepare_check_and_set(std::string_view hash_key, const Condition& condition,
                                        const Cell& cell, int32_t expiry);
Prepared<Checked> prepare_check_and_mutate(std::string_view hash_key, const Condition& condition,
                                           const std::vector<Mutation>& mutations, int64_t wall_us);
// The keys with these indices, which are of one partition.
struct Found {
  std::vector<Key> keys;
  std::vector<std::string> values;  // of keys[i]
  bool complete = true;             // false: keys after the last one found were not looked at
};
Prepared<Found> prepare_batch_get(const std::vector<Key>& keys, const std::vector<size_t>& indices);

}  // namespace markab::client
