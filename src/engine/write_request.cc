#include "engine/write_request.h"

#include <algorithm>

#include "base/crc64.h"
#include "engine/key_codec.h"

namespace markab::engine {

namespace {

struct RowHash {
  uint64_t& hash;

  bool of_raw(std::string_view key) const {
    KeyParts parts;
    if (!split_key(key, parts)) return false;
    hash = row_hash(parts);
    return true;
  }
  bool of_hash_key(std::string_view hash_key) const {
    hash = crc64(hash_key);
    return valid_hash_key(hash_key);
  }
  bool operator()(const wire::update_request& r) const { return of_raw(r.key); }
  bool operator()(const RemoveRequest& r) const { return of_raw(r.key); }
  bool operator()(const wire::incr_request& r) const { return of_raw(r.key); }
  bool operator()(const wire::multi_put_request& r) const { return of_hash_key(r.hash_key); }
  bool operator()(const wire::multi_remove_request& r) const { return of_hash_key(r.hash_key); }
  bool operator()(const wire::check_and_set_request& r) const { return of_hash_key(r.hash_key); }
  bool operator()(const wire::check_and_mutate_request& r) const { return of_hash_key(r.hash_key); }
  bool operator()(const DuplicateRequest& r) const {
    return !r.writes.empty() && row_hash(r.writes.front(), hash);
  }
};

struct HashKey {
  static std::string_view of_raw(std::string_view key) {
    KeyParts parts;
    return split_key(key, parts) ? parts.hash_key : std::string_view();
  }
  std::string_view operator()(const wire::update_request& r) const { return of_raw(r.key); }
  std::string_view operator()(const RemoveRequest& r) const { return of_raw(r.key); }
  std::string_view operator()(const wire::incr_request& r) const { return of_raw(r.key); }
  std::string_view operator()(const DuplicateRequest&) const { return {}; }
  template <typename Request>
  std::string_view operator()(const Request& r) const {
    return r.hash_key;
  }
};

struct RowCount {
  size_t operator()(const DuplicateRequest& r) const {
    size_t rows = 0;
    for (const DuplicatedWrite& write : r.writes) rows += std::visit(*this, write.body);
    return rows;
  }
  size_t operator()(const wire::multi_put_request& r) const { return r.kvs.size(); }
  size_t operator()(const wire::multi_remove_request& r) const { return r.sort_keys.size(); }
  size_t operator()(const wire::check_and_mutate_request& r) const { return r.mutate_list.size(); }
  template <typename Request>
  size_t operator()(const Request&) const {
    return 1;
  }
};

}  // namespace

bool row_hash(const DuplicatedWrite& write, uint64_t& hash) {
  return std::visit(RowHash{hash}, write.body);
}

bool has_rows(const DuplicatedWrite& write) { return std::visit(RowCount{}, write.body) > 0; }

bool row_hash(const WriteRequest& request, uint64_t& hash) {
  return std::visit(RowHash{hash}, request);
}

std::string_view hash_key_of(const WriteRequest& request) { return std::visit(HashKey{}, request); }

int64_t row_count(const WriteRequest& request) {
  return std::max<int64_t>(1, static_cast<int64_t>(std::visit(RowCount{}, request)));
}

int64_t newest_timestamp_us(const WriteRequest& request) {
  int64_t newest = 0;
  if (const auto* duplicate = std::get_if<DuplicateRequest>(&request)) {
    for (const DuplicatedWrite& write : duplicate->writes)
      newest = std::max(newest, write.timestamp_us);
  }
  return newest;
}

}  // namespace markab::engine
