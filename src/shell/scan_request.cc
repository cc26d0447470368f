#include "shell/scan_request.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>

#include "shell/filters.h"

namespace markab::shell {

namespace {

// Scanners that are read at once.
constexpr size_t kInFlight = 16;

}  // namespace

Error read_scan(Session& session, const Arguments& arguments, ScanRequest& request) {
  auto& options = request.options;
  options.timeout = session.timeout;
  options.batch_size = 500;
  if (Error error =
          read_filter(arguments, 'h', 'x', options.hash_key_filter, options.hash_key_pattern))
    return error;
  if (Error error =
          read_filter(arguments, 's', 'y', options.sort_key_filter, options.sort_key_pattern))
    return error;
  if (Error error = read_filter(arguments, 'v', 'z', request.value_filter, request.value_pattern))
    return error;
  auto wait = arguments.number('t', session.timeout.count(), 1, 3600 * 1000);
  auto partition = arguments.number('p', -1, 0, INT32_MAX);
  for (const auto* number : {&wait, &partition}) {
    if (!*number) return to_error(number->error());
  }
  options.timeout = Timeout(*wait);
  options.no_value = arguments.has('i') && request.value_filter == Filter::kNone;
  request.partition = arguments.has('p') ? static_cast<int32_t>(*partition) : -1;
  return {};
}

std::vector<Option> filter_options() {
  return {{'s', "sort_key_filter_type", "anywhere|prefix|postfix", "only such sort keys"},
          {'y', "sort_key_filter_pattern", "pattern", "as this; un-escaped once more"},
          {'v', "value_filter_type", "anywhere|prefix|postfix", "only such values"},
          {'z', "value_filter_pattern", "pattern", "as this; un-escaped once more"},
          {'t', "timeout_ms", "ms", "of each batch"}};
}

std::vector<Option> hash_key_options() {
  return {{'h', "hash_key_filter_type", "anywhere|prefix|postfix", "only such hash keys"},
          {'x', "hash_key_filter_pattern", "pattern", "as this; un-escaped once more"},
          {'p', "partition", "index", "only this partition"}};
}

Outcome<Scanners> open_scanners(Table& table, const ScanRequest& request, int n) {
  if (request.partition < 0) return table.unordered_scanners(n, request.options);
  auto one = table.partition_scanner(request.partition, request.options);
  if (!one) return one.error();
  Scanners scanners;
  scanners.push_back(std::move(*one));
  return scanners;
}

Error drain(Scanners& scanners, const std::function<Error(size_t, const ScanBatch&)>& take,
            const std::function<bool()>& enough) {
  // Shared with the callbacks, which may come after an error has ended this.
  struct Arrivals {
    std::mutex mutex;
    std::condition_variable some;
    std::deque<std::pair<size_t, Outcome<ScanBatch>>> batches;
  };
  auto arrivals = std::make_shared<Arrivals>();
  auto fetch = [&](size_t i) {
    scanners[i]->async_next_batch([arrivals, i](Outcome<ScanBatch> batch) {
      std::lock_guard lock(arrivals->mutex);
      arrivals->batches.emplace_back(i, std::move(batch));
      arrivals->some.notify_one();
    });
  };
  size_t started = 0;
  while (started < std::min(kInFlight, scanners.size())) fetch(started++);
  for (size_t left = scanners.size(); left > 0;) {
    std::unique_lock lock(arrivals->mutex);
    arrivals->some.wait(lock, [&] { return !arrivals->batches.empty(); });
    auto [i, batch] = std::move(arrivals->batches.front());
    arrivals->batches.pop_front();
    lock.unlock();
    if (!batch) return batch.error();
    if (!batch->finished) fetch(i);  // while the rows of this one are looked at
    if (Error error = take(i, *batch)) return error;
    if (enough && enough()) return {};
    if (!batch->finished) continue;
    --left;
    if (started < scanners.size()) fetch(started++);
  }
  return {};
}

}  // namespace markab::shell
