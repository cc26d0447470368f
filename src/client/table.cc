#include "client/flows.h"
#include "client/table_impl.h"

namespace markab {

using client::Core;
using client::on_lane;
using client::submit;
using client::Values;
using client::wait_for;

namespace {

int64_t wall_us(const Table::Impl& table) { return table.front->lane().shard->wall_us(); }

}  // namespace

Table::Table(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
Table::~Table() = default;

const std::string& Table::name() const { return impl_->name; }

// Each operation in its three forms: the callback form does it, the others wrap that.

// --- get ---

void Table::async_get(std::string_view hash_key, std::string_view sort_key, Done<std::string> done,
                      Timeout timeout) {
  submit(impl_, client::prepare_get(hash_key, sort_key), timeout, std::move(done));
}

Outcome<std::string> Table::get(std::string_view hash_key, std::string_view sort_key,
                                Timeout timeout) {
  return wait_for<std::string>(*impl_->front, [&](Done<std::string> done) {
    async_get(hash_key, sort_key, std::move(done), timeout);
  });
}

Pending<std::string> Table::co_get(std::string hash_key, std::string sort_key, Timeout timeout) {
  return Pending<std::string>([this, hash_key = std::move(hash_key), sort_key = std::move(sort_key),
                               timeout](Done<std::string> done) {
    async_get(hash_key, sort_key, std::move(done), timeout);
  });
}

// --- set ---

void Table::async_set(std::string_view hash_key, std::string_view sort_key, std::string_view value,
                      Done<Nothing> done, Seconds ttl, Timeout timeout) {
  submit(impl_,
         client::prepare_set(hash_key, sort_key, value, client::expiry_of(ttl, wall_us(*impl_))),
         timeout, std::move(done));
}

Outcome<Nothing> Table::set(std::string_view hash_key, std::string_view sort_key,
                            std::string_view value, Seconds ttl, Timeout timeout) {
  return wait_for<Nothing>(*impl_->front, [&](Done<Nothing> done) {
    async_set(hash_key, sort_key, value, std::move(done), ttl, timeout);
  });
}

Pending<Nothing> Table::co_set(std::string hash_key, std::string sort_key, std::string value,
                               Seconds ttl, Timeout timeout) {
  return Pending<Nothing>([this, hash_key = std::move(hash_key), sort_key = std::move(sort_key),
                           value = std::move(value), ttl, timeout](Done<Nothing> done) {
    async_set(hash_key, sort_key, value, std::move(done), ttl, timeout);
  });
}

// --- del ---

void Table::async_del(std::string_view hash_key, std::string_view sort_key, Done<Nothing> done,
                      Timeout timeout) {
  submit(impl_, client::prepare_del(hash_key, sort_key), timeout, std::move(done));
}

Outcome<Nothing> Table::del(std::string_view hash_key, std::string_view sort_key, Timeout timeout) {
  return wait_for<Nothing>(*impl_->front, [&](Done<Nothing> done) {
    async_del(hash_key, sort_key, std::move(done), timeout);
  });
}

Pending<Nothing> Table::co_del(std::string hash_key, std::string sort_key, Timeout timeout) {
  return Pending<Nothing>(
      [this, hash_key = std::move(hash_key), sort_key = std::move(sort_key),
       timeout](Done<Nothing> done) { async_del(hash_key, sort_key, std::move(done), timeout); });
}

// --- exist ---

void Table::async_exist(std::string_view hash_key, std::string_view sort_key, Done<bool> done,
                        Timeout timeout) {
  submit(impl_, client::prepare_exist(hash_key, sort_key), timeout, std::move(done));
}

Outcome<bool> Table::exist(std::string_view hash_key, std::string_view sort_key, Timeout timeout) {
  return wait_for<bool>(*impl_->front, [&](Done<bool> done) {
    async_exist(hash_key, sort_key, std::move(done), timeout);
  });
}

Pending<bool> Table::co_exist(std::string hash_key, std::string sort_key, Timeout timeout) {
  return Pending<bool>(
      [this, hash_key = std::move(hash_key), sort_key = std::move(sort_key),
       timeout](Done<bool> done) { async_exist(hash_key, sort_key, std::move(done), timeout); });
}

// --- ttl ---

void Table::async_ttl(std::string_view hash_key, std::string_view sort_key,
                      Done<std::optional<Seconds>> done, Timeout timeout) {
  submit(impl_, client::prepare_ttl(hash_key, sort_key), timeout, std::move(done));
}

Outcome<std::optional<Seconds>> Table::ttl(std::string_view hash_key, std::string_view sort_key,
                                           Timeout timeout) {
  return wait_for<std::optional<Seconds>>(*impl_->front, [&](Done<std::optional<Seconds>> done) {
    async_ttl(hash_key, sort_key, std::move(done), timeout);
  });
}

Pending<std::optional<Seconds>> Table::co_ttl(std::string hash_key, std::string sort_key,
                                              Timeout timeout) {
  return Pending<std::optional<Seconds>>([this, hash_key = std::move(hash_key),
                                          sort_key = std::move(sort_key),
                                          timeout](Done<std::optional<Seconds>> done) {
    async_ttl(hash_key, sort_key, std::move(done), timeout);
  });
}

// --- incr ---

void Table::async_incr(std::string_view hash_key, std::string_view sort_key, int64_t by,
                       Done<int64_t> done, Seconds ttl, Timeout timeout) {
  submit(impl_,
         client::prepare_incr(hash_key, sort_key, by,
                              ttl.count() < 0 ? -1 : client::expiry_of(ttl, wall_us(*impl_))),
         timeout, std::move(done));
}

Outcome<int64_t> Table::incr(std::string_view hash_key, std::string_view sort_key, int64_t by,
                             Seconds ttl, Timeout timeout) {
  return wait_for<int64_t>(*impl_->front, [&](Done<int64_t> done) {
    async_incr(hash_key, sort_key, by, std::move(done), ttl, timeout);
  });
}

Pending<int64_t> Table::co_incr(std::string hash_key, std::string sort_key, int64_t by, Seconds ttl,
                                Timeout timeout) {
  return Pending<int64_t>([this, hash_key = std::move(hash_key), sort_key = std::move(sort_key), by,
                           ttl, timeout](Done<int64_t> done) {
    async_incr(hash_key, sort_key, by, std::move(done), ttl, timeout);
  });
}

// --- multi_get ---

void Table::async_multi_get(std::string_view hash_key, const std::vector<std::string>& sort_keys,
                            Done<Cells> done, Timeout timeout) {
  submit(impl_, client::prepare_multi_get(hash_key, sort_keys), timeout, std::move(done));
}

Outcome<Cells> Table::multi_get(std::string_view hash_key,
                                const std::vector<std::string>& sort_keys, Timeout timeout) {
  return wait_for<Cells>(*impl_->front, [&](Done<Cells> done) {
    async_multi_get(hash_key, sort_keys, std::move(done), timeout);
  });
}

Pending<Cells> Table::co_multi_get(std::string hash_key, std::vector<std::string> sort_keys,
                                   Timeout timeout) {
  return Pending<Cells>([this, hash_key = std::move(hash_key), sort_keys = std::move(sort_keys),
                         timeout](Done<Cells> done) {
    async_multi_get(hash_key, sort_keys, std::move(done), timeout);
  });
}

// --- multi_get_range ---

void Table::async_multi_get_range(std::string_view hash_key, std::string_view start,
                                  std::string_view stop, const RangeOptions& options,
                                  Done<Cells> done, Timeout timeout) {
  submit(impl_, client::prepare_multi_get_range(hash_key, start, stop, options), timeout,
         std::move(done));
}

Outcome<Cells> Table::multi_get_range(std::string_view hash_key, std::string_view start,
                                      std::string_view stop, const RangeOptions& options,
                                      Timeout timeout) {
  return wait_for<Cells>(*impl_->front, [&](Done<Cells> done) {
    async_multi_get_range(hash_key, start, stop, options, std::move(done), timeout);
  });
}

Pending<Cells> Table::co_multi_get_range(std::string hash_key, std::string start, std::string stop,
                                         RangeOptions options, Timeout timeout) {
  return Pending<Cells>([this, hash_key = std::move(hash_key), start = std::move(start),
                         stop = std::move(stop), options = std::move(options),
                         timeout](Done<Cells> done) {
    async_multi_get_range(hash_key, start, stop, options, std::move(done), timeout);
  });
}

// --- multi_set ---

void Table::async_multi_set(std::string_view hash_key, const std::vector<Cell>& cells,
                            Done<Nothing> done, Seconds ttl, Timeout timeout) {
  submit(impl_, client::prepare_multi_set(hash_key, cells, client::expiry_of(ttl, wall_us(*impl_))),
         timeout, std::move(done));
}

Outcome<Nothing> Table::multi_set(std::string_view hash_key, const std::vector<Cell>& cells,
                                  Seconds ttl, Timeout timeout) {
  return wait_for<Nothing>(*impl_->front, [&](Done<Nothing> done) {
    async_multi_set(hash_key, cells, std::move(done), ttl, timeout);
  });
}

Pending<Nothing> Table::co_multi_set(std::string hash_key, std::vector<Cell> cells, Seconds ttl,
                                     Timeout timeout) {
  return Pending<Nothing>([this, hash_key = std::move(hash_key), cells = std::move(cells), ttl,
                           timeout](Done<Nothing> done) {
    async_multi_set(hash_key, cells, std::move(done), ttl, timeout);
  });
}

// --- multi_del ---

void Table::async_multi_del(std::string_view hash_key, const std::vector<std::string>& sort_keys,
                            Done<int64_t> done, Timeout timeout) {
  submit(impl_, client::prepare_multi_del(hash_key, sort_keys), timeout, std::move(done));
}

Outcome<int64_t> Table::multi_del(std::string_view hash_key,
                                  const std::vector<std::string>& sort_keys, Timeout timeout) {
  return wait_for<int64_t>(*impl_->front, [&](Done<int64_t> done) {
    async_multi_del(hash_key, sort_keys, std::move(done), timeout);
  });
}

Pending<int64_t> Table::co_multi_del(std::string hash_key, std::vector<std::string> sort_keys,
                                     Timeout timeout) {
  return Pending<int64_t>([this, hash_key = std::move(hash_key), sort_keys = std::move(sort_keys),
                           timeout](Done<int64_t> done) {
    async_multi_del(hash_key, sort_keys, std::move(done), timeout);
  });
}

// --- del_range ---

void Table::async_del_range(std::string_view hash_key, std::string_view start,
                            std::string_view stop, const RangeOptions& options, Done<int64_t> done,
                            Timeout timeout) {
  on_lane<int64_t>(
      impl_, impl_->front->lane(), timeout, std::move(done),
      [hash_key = std::string(hash_key), start = std::string(start), stop = std::string(stop),
       options](Core& core, Core::Table& table, Instant deadline, Done<int64_t> done) {
        client::del_range(core, table, hash_key, start, stop, options, deadline, std::move(done));
      });
}

Outcome<int64_t> Table::del_range(std::string_view hash_key, std::string_view start,
                                  std::string_view stop, const RangeOptions& options,
                                  Timeout timeout) {
  return wait_for<int64_t>(*impl_->front, [&](Done<int64_t> done) {
    async_del_range(hash_key, start, stop, options, std::move(done), timeout);
  });
}

Pending<int64_t> Table::co_del_range(std::string hash_key, std::string start, std::string stop,
                                     RangeOptions options, Timeout timeout) {
  return Pending<int64_t>([this, hash_key = std::move(hash_key), start = std::move(start),
                           stop = std::move(stop), options = std::move(options),
                           timeout](Done<int64_t> done) {
    async_del_range(hash_key, start, stop, options, std::move(done), timeout);
  });
}

// --- sortkey_count ---

void Table::async_sortkey_count(std::string_view hash_key, Done<int64_t> done, Timeout timeout) {
  submit(impl_, client::prepare_sortkey_count(hash_key), timeout, std::move(done));
}

Outcome<int64_t> Table::sortkey_count(std::string_view hash_key, Timeout timeout) {
  return wait_for<int64_t>(*impl_->front, [&](Done<int64_t> done) {
    async_sortkey_count(hash_key, std::move(done), timeout);
  });
}

Pending<int64_t> Table::co_sortkey_count(std::string hash_key, Timeout timeout) {
  return Pending<int64_t>([this, hash_key = std::move(hash_key), timeout](Done<int64_t> done) {
    async_sortkey_count(hash_key, std::move(done), timeout);
  });
}

// --- check_and_set ---

void Table::async_check_and_set(std::string_view hash_key, const Condition& condition,
                                const Cell& cell, Done<Checked> done, Seconds ttl,
                                Timeout timeout) {
  submit(impl_,
         client::prepare_check_and_set(hash_key, condition, cell,
                                       client::expiry_of(ttl, wall_us(*impl_))),
         timeout, std::move(done));
}

Outcome<Checked> Table::check_and_set(std::string_view hash_key, const Condition& condition,
                                      const Cell& cell, Seconds ttl, Timeout timeout) {
  return wait_for<Checked>(*impl_->front, [&](Done<Checked> done) {
    async_check_and_set(hash_key, condition, cell, std::move(done), ttl, timeout);
  });
}

Pending<Checked> Table::co_check_and_set(std::string hash_key, Condition condition, Cell cell,
                                         Seconds ttl, Timeout timeout) {
  return Pending<Checked>([this, hash_key = std::move(hash_key), condition = std::move(condition),
                           cell = std::move(cell), ttl, timeout](Done<Checked> done) {
    async_check_and_set(hash_key, condition, cell, std::move(done), ttl, timeout);
  });
}

// --- check_and_mutate ---

void Table::async_check_and_mutate(std::string_view hash_key, const Condition& condition,
                                   const std::vector<Mutation>& mutations, Done<Checked> done,
                                   Timeout timeout) {
  submit(impl_, client::prepare_check_and_mutate(hash_key, condition, mutations, wall_us(*impl_)),
         timeout, std::move(done));
}

Outcome<Checked> Table::check_and_mutate(std::string_view hash_key, const Condition& condition,
                                         const std::vector<Mutation>& mutations, Timeout timeout) {
  return wait_for<Checked>(*impl_->front, [&](Done<Checked> done) {
    async_check_and_mutate(hash_key, condition, mutations, std::move(done), timeout);
  });
}

Pending<Checked> Table::co_check_and_mutate(std::string hash_key, Condition condition,
                                            std::vector<Mutation> mutations, Timeout timeout) {
  return Pending<Checked>([this, hash_key = std::move(hash_key), condition = std::move(condition),
                           mutations = std::move(mutations), timeout](Done<Checked> done) {
    async_check_and_mutate(hash_key, condition, mutations, std::move(done), timeout);
  });
}

// --- compare_exchange ---

void Table::async_compare_exchange(std::string_view hash_key, std::string_view sort_key,
                                   std::string_view expected, std::string_view desired,
                                   Done<Checked> done, Seconds ttl, Timeout timeout) {
  Condition condition{std::string(sort_key), Check::kBytesEqual, std::string(expected), true};
  async_check_and_set(hash_key, condition, {std::string(sort_key), std::string(desired)},
                      std::move(done), ttl, timeout);
}

Outcome<Checked> Table::compare_exchange(std::string_view hash_key, std::string_view sort_key,
                                         std::string_view expected, std::string_view desired,
                                         Seconds ttl, Timeout timeout) {
  return wait_for<Checked>(*impl_->front, [&](Done<Checked> done) {
    async_compare_exchange(hash_key, sort_key, expected, desired, std::move(done), ttl, timeout);
  });
}

Pending<Checked> Table::co_compare_exchange(std::string hash_key, std::string sort_key,
                                            std::string expected, std::string desired, Seconds ttl,
                                            Timeout timeout) {
  return Pending<Checked>([this, hash_key = std::move(hash_key), sort_key = std::move(sort_key),
                           expected = std::move(expected), desired = std::move(desired), ttl,
                           timeout](Done<Checked> done) {
    async_compare_exchange(hash_key, sort_key, expected, desired, std::move(done), ttl, timeout);
  });
}

// --- batch_get ---

void Table::async_batch_get(const std::vector<Key>& keys, Done<Values> done, Timeout timeout) {
  on_lane<Values>(
      impl_, impl_->front->lane(), timeout, std::move(done),
      [keys](Core& core, Core::Table& table, Instant deadline, Done<Values> done) mutable {
        client::batch_get(core, table, std::move(keys), deadline, std::move(done));
      });
}

Outcome<Values> Table::batch_get(const std::vector<Key>& keys, Timeout timeout) {
  return wait_for<Values>(
      *impl_->front, [&](Done<Values> done) { async_batch_get(keys, std::move(done), timeout); });
}

Pending<Values> Table::co_batch_get(std::vector<Key> keys, Timeout timeout) {
  return Pending<Values>([this, keys = std::move(keys), timeout](Done<Values> done) {
    async_batch_get(keys, std::move(done), timeout);
  });
}

// --- scanners ---

namespace {

Error check_scan(const ScanOptions& options) {
  if (options.batch_size >= 1 && options.batch_size <= 1000) return {};
  return {
      ErrorCode::kInvalidArgument,
      fmt::format("batch_size = {} is out of range; allowed are 1 to 1000", options.batch_size)};
}

// Partitions first, first + step, ... of the table.
std::unique_ptr<Scanner> partitions_scanner(const std::shared_ptr<Table::Impl>& table,
                                            std::vector<int32_t> partitions,
                                            const ScanOptions& options) {
  auto impl = std::make_shared<Scanner::Impl>();
  impl->table = table;
  impl->lane = &table->front->next_lane();
  impl->timeout = options.timeout;
  impl->make = [partitions = std::move(partitions), options](Core& core, Core::Table& known) {
    return std::make_shared<client::ScanFlow>(core, known, partitions, options);
  };
  return Scanner::Impl::wrap(std::move(impl));
}

}  // namespace

Outcome<std::unique_ptr<Scanner>> Table::hash_scanner(std::string_view hash_key,
                                                      std::string_view start, std::string_view stop,
                                                      const ScanOptions& options) {
  if (Error error = check_scan(options)) return error;
  if (hash_key.size() > client::kMaxHashKey) {
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("the hash key has {} bytes; at most {} are allowed", hash_key.size(),
                             client::kMaxHashKey)};
  }
  auto impl = std::make_shared<Scanner::Impl>();
  impl->table = impl_;
  impl->lane = &impl_->front->next_lane();
  impl->timeout = options.timeout;
  impl->make = [hash_key = std::string(hash_key), start = std::string(start),
                stop = std::string(stop), options](Core& core, Core::Table& known) {
    return std::make_shared<client::ScanFlow>(core, known, hash_key, start, stop, options);
  };
  return Scanner::Impl::wrap(std::move(impl));
}

Outcome<Scanners> Table::unordered_scanners(int n, const ScanOptions& options) {
  if (Error error = check_scan(options)) return error;
  if (n < 1)
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("{} scanners read nothing; ask for at least 1", n)};
  auto count = wait_for<int32_t>(*impl_->front, [&](Done<int32_t> done) {
    on_lane<int32_t>(impl_, impl_->front->lane(), options.timeout, std::move(done),
                     [](Core& core, Core::Table& table, Instant deadline, Done<int32_t> done) {
                       core.resolve(table, deadline,
                                    [&table, done = std::move(done)](client::Answer answer) {
                                      if (answer.error) return done(std::move(answer.error));
                                      done(table.routing.partition_count());
                                    });
                     });
  });
  if (!count) return count.error();
  n = std::min(n, *count);
  Scanners scanners;
  for (int i = 0; i < n; ++i) {
    std::vector<int32_t> partitions;
    for (int32_t p = i; p < *count; p += n) partitions.push_back(p);
    scanners.push_back(partitions_scanner(impl_, std::move(partitions), options));
  }
  return scanners;
}

Outcome<std::unique_ptr<Scanner>> Table::partition_scanner(int partition,
                                                           const ScanOptions& options) {
  if (Error error = check_scan(options)) return error;
  if (partition < 0)
    return Error{ErrorCode::kInvalidArgument, fmt::format("there is no partition {}", partition)};
  return partitions_scanner(impl_, {partition}, options);
}

}  // namespace markab
