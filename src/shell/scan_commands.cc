// Whole tables, or one hash key, row by row.

#include <algorithm>
#include <boost/json.hpp>
#include <condition_variable>
#include <deque>
#include <fstream>
#include <mutex>

#include "shell/filters.h"
#include "shell/session.h"

namespace markab::shell {

namespace json = boost::json;

namespace {

// Scanners that are read at once.
constexpr size_t kInFlight = 16;

struct ScanRequest {
  ScanOptions options;
  Filter value_filter = Filter::kNone;  // here, not at the server
  std::string value_pattern;
  int64_t most = -1;       // rows; -1: all
  int32_t partition = -1;  // -1: all
};

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
  auto start = arguments.truth('a', true);
  auto stop = arguments.truth('b', false);
  auto most = arguments.number('n', -1, -1, INT64_MAX);
  auto wait = arguments.number('t', session.timeout.count(), 1, 3600 * 1000);
  auto partition = arguments.number('p', -1, 0, INT32_MAX);
  for (const auto* number : {&most, &wait, &partition}) {
    if (!*number) return to_error(number->error());
  }
  if (!start) return to_error(start.error());
  if (!stop) return to_error(stop.error());
  options.start_inclusive = *start;
  options.stop_inclusive = *stop;
  options.timeout = Timeout(*wait);
  options.no_value = arguments.has('i') && request.value_filter == Filter::kNone;
  request.most = *most;
  request.partition = arguments.has('p') ? static_cast<int32_t>(*partition) : -1;
  return {};
}

Outcome<Scanners> open_scanners(Table& table, const ScanRequest& request, int n) {
  if (request.partition < 0) return table.unordered_scanners(n, request.options);
  auto one = table.partition_scanner(request.partition, request.options);
  if (!one) return one.error();
  Scanners scanners;
  scanners.push_back(std::move(*one));
  return scanners;
}

// Where the rows of a scan go: the screen, or a file.
class RowWriter {
 public:
  RowWriter(Session& session, const Arguments& arguments)
      : session_(session), no_value_(arguments.has('i')) {
    if (!arguments.has('o')) return;
    path_ = arguments.text('o');
    file_.open(path_);
  }
  Error check() const {
    if (path_.empty() || file_) return {};
    return {ErrorCode::kInvalidArgument,
            fmt::format("{} cannot be written; name a file that can", path_)};
  }
  void write(const ScanRow& row) {
    ++count_;
    std::string text;
    if (session_.json) {
      json::object object{{"hash_key", json_bytes(row.hash_key)},
                          {"sort_key", json_bytes(row.sort_key)}};
      if (!no_value_) object["value"] = json_bytes(row.value);
      text = json::serialize(object);
    } else {
      text = fmt::format("{} : {}", session_.quoted(row.hash_key), session_.quoted(row.sort_key));
      if (!no_value_) text += fmt::format(" => {}", session_.quoted(row.value));
    }
    if (path_.empty()) {
      session_.line(text);
    } else {
      file_ << text << '\n';
    }
  }
  int64_t count() const { return count_; }
  Error finish() {
    if (!path_.empty()) file_.flush();
    if (session_.json) {
      session_.emit({{"count", count_}});
    } else {
      if (count_ > 0 && path_.empty()) session_.line("");
      session_.line(fmt::format("{} key-value pairs got.", count_));
    }
    return check();
  }

 private:
  Session& session_;
  const bool no_value_;
  std::string path_;
  std::ofstream file_;
  int64_t count_ = 0;
};

Error write_rows(Scanner& scanner, const ScanRequest& request, RowWriter& writer) {
  for (;;) {
    if (request.most >= 0 && writer.count() >= request.most) return {};
    auto row = scanner.next();
    if (!row) return row.error();
    if (!row->has_value()) return {};
    if (passes(request.value_filter, request.value_pattern, (*row)->value)) writer.write(**row);
  }
}

Error hash_scan(Session& session, const Arguments& arguments) {
  auto table = session.table();
  if (!table) return table.error();
  ScanRequest request;
  if (Error error = read_scan(session, arguments, request)) return error;
  RowWriter writer(session, arguments);
  if (Error error = writer.check()) return error;
  auto scanner = (*table)->hash_scanner(arguments.word(0), arguments.word(1), arguments.word(2),
                                        request.options);
  if (!scanner) return scanner.error();
  if (Error error = write_rows(**scanner, request, writer)) return error;
  return writer.finish();
}

Error full_scan(Session& session, const Arguments& arguments) {
  auto table = session.table();
  if (!table) return table.error();
  ScanRequest request;
  if (Error error = read_scan(session, arguments, request)) return error;
  RowWriter writer(session, arguments);
  if (Error error = writer.check()) return error;
  auto scanners = open_scanners(**table, request, 1);
  if (!scanners) return scanners.error();
  for (auto& scanner : *scanners) {
    if (Error error = write_rows(*scanner, request, writer)) return error;
  }
  return writer.finish();
}

// --- counting and clearing ---

// Reads several scanners at once and calls `take` with each batch, on this thread, in the
// order of arrival.
template <typename Take>
Error drain(Scanners& scanners, Take take) {
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
    if (!batch->finished) continue;
    --left;
    if (started < scanners.size()) fetch(started++);
  }
  return {};
}

Error count_data(Session& session, const Arguments& arguments) {
  auto table = session.table();
  if (!table) return table.error();
  ScanRequest request;
  if (Error error = read_scan(session, arguments, request)) return error;
  bool distinct = arguments.has('d');
  bool rows_needed = distinct || request.value_filter != Filter::kNone;
  request.options.only_count = !rows_needed;
  request.options.no_value = request.value_filter == Filter::kNone;
  request.options.batch_size = 1000;
  auto scanners = open_scanners(**table, request, INT32_MAX);  // one per partition
  if (!scanners) return scanners.error();
  std::vector<int64_t> by_partition(scanners->size(), 0);
  std::vector<int64_t> hash_keys(scanners->size(), 0);
  std::vector<std::string> last_hash_key(scanners->size());
  Error error = drain(*scanners, [&](size_t i, const ScanBatch& batch) -> Error {
    if (!rows_needed) {
      by_partition[i] += batch.count;
      return {};
    }
    for (const auto& row : batch.rows) {
      if (!passes(request.value_filter, request.value_pattern, row.value)) continue;
      // The rows of one hash key come together.
      if (by_partition[i]++ == 0 || row.hash_key != last_hash_key[i]) {
        ++hash_keys[i];
        last_hash_key[i] = row.hash_key;
      }
    }
    return {};
  });
  if (error) return error;
  std::vector<std::string> columns{"partition", "row_count"};
  if (distinct) columns.push_back("hash_key_count");
  Section rows = Section::rows("count", columns);
  int64_t total = 0;
  int64_t total_keys = 0;
  auto add = [&](json::value name, int64_t count, int64_t keys) {
    std::vector<json::value> cells{std::move(name), count};
    if (distinct) cells.emplace_back(keys);
    rows.add_row(std::move(cells));
  };
  for (size_t i = 0; i < by_partition.size(); ++i) {
    add(request.partition >= 0 ? request.partition : static_cast<int>(i), by_partition[i],
        hash_keys[i]);
    total += by_partition[i];
    total_keys += hash_keys[i];
  }
  add("total", total, total_keys);
  if (session.json) {
    json::object object{{"count", total}};
    if (distinct) object["hash_key_count"] = total_keys;
    json::array counts(by_partition.begin(), by_partition.end());
    object["by_partition"] = std::move(counts);
    session.emit(object);
    return {};
  }
  if (Error shown = session.show({rows}, arguments)) return shown;
  session.line("");
  session.line(fmt::format("Count done, total {} rows.", total));
  return {};
}

Error clear_data(Session& session, const Arguments& arguments) {
  auto table = session.table();
  if (!table) return table.error();
  if (!arguments.has('f')) {
    return {ErrorCode::kInvalidArgument,
            fmt::format("this deletes rows of table {}; say -f to do it", session.table_name())};
  }
  ScanRequest request;
  if (Error error = read_scan(session, arguments, request)) return error;
  request.options.no_value = request.value_filter == Filter::kNone;
  request.options.batch_size = 500;
  auto scanners = open_scanners(**table, request, INT32_MAX);
  if (!scanners) return scanners.error();
  int64_t deleted = 0;
  Error error = drain(*scanners, [&](size_t, const ScanBatch& batch) -> Error {
    std::vector<std::string> sort_keys;
    for (size_t i = 0; i < batch.rows.size(); ++i) {
      const auto& row = batch.rows[i];
      if (passes(request.value_filter, request.value_pattern, row.value))
        sort_keys.push_back(row.sort_key);
      bool last = i + 1 == batch.rows.size() || batch.rows[i + 1].hash_key != row.hash_key;
      // multi_del sends an empty hash key to one partition, where only rows with that
      // very hash are.
      if (!last || sort_keys.empty()) continue;
      if (row.hash_key.empty()) {
        for (const auto& sort_key : sort_keys) {
          auto done = (*table)->del("", sort_key, session.timeout);
          if (!done) return done.error();
        }
      } else {
        auto done = (*table)->multi_del(row.hash_key, sort_keys, session.timeout);
        if (!done) return done.error();
      }
      deleted += static_cast<int64_t>(sort_keys.size());
      sort_keys.clear();
    }
    return {};
  });
  if (error) {
    error.message += fmt::format(" ({} rows were deleted before)", deleted);
    return error;
  }
  session.json ? session.emit({{"deleted", deleted}})
               : session.line(fmt::format("Clear done, total {} rows are cleared.", deleted));
  return {};
}

}  // namespace

std::vector<Command> scan_commands() {
  const std::vector<Option> rows{
      {'s', "sort_key_filter_type", "anywhere|prefix|postfix", "only such sort keys"},
      {'y', "sort_key_filter_pattern", "pattern", "as this; un-escaped once more"},
      {'v', "value_filter_type", "anywhere|prefix|postfix", "only such values"},
      {'z', "value_filter_pattern", "pattern", "as this; un-escaped once more"},
      {'o', "output", "file", "write the rows there"},
      {'n', "max_count", "n", "at most so many"},
      {'t', "timeout_ms", "ms", "of each batch"}};
  const std::vector<Option> hash_filter{
      {'h', "hash_key_filter_type", "anywhere|prefix|postfix", "only such hash keys"},
      {'x', "hash_key_filter_pattern", "pattern", "as this; un-escaped once more"},
      {'p', "partition", "index", "only this partition"}};
  auto hash_options = rows;
  hash_options.insert(hash_options.end(),
                      {{'a', "start_inclusive", "bool", "with the row at START; default true"},
                       {'b', "stop_inclusive", "bool", "with the row at STOP; default false"},
                       {'d', "detailed", "", "accepted"},
                       {'i', "no_value", "", "keys only"}});
  auto full_options = rows;
  full_options.insert(full_options.end(), hash_filter.begin(), hash_filter.end());
  full_options.insert(full_options.end(),
                      {{'d', "detailed", "", "accepted"}, {'i', "no_value", "", "keys only"}});
  auto count_options = rows;
  count_options.insert(count_options.end(), hash_filter.begin(), hash_filter.end());
  count_options.insert(count_options.end(),
                       {{'c', "precise", "", "accepted: the count is always exact"},
                        {'b', "max_batch_count", "n", "accepted"},
                        {'d', "diff_hash_key", "", "also how many hash keys"},
                        {'j', "json", "", "print JSON with string values"}});
  auto clear_options = rows;
  clear_options.insert(clear_options.end(), hash_filter.begin(), hash_filter.end());
  clear_options.insert(clear_options.end(), {{'f', "force", "", "really"}});
  return {
      {"hash_scan",
       "HASH_KEY START STOP [filters] [-a BOOL] [-b BOOL] [-o FILE] [-n MAX] [-t MS] [-i]",
       "the rows of one hash key; an empty STOP: to its end", hash_options, 3, 3, hash_scan},
      {"full_scan", "[filters] [-o FILE] [-n MAX] [-t MS] [-i] [-p PARTITION]",
       "the rows of the table in use", full_options, 0, 0, full_scan},
      {"count_data", "[filters] [-d] [-p PARTITION] [-t MS] [-j]",
       "how many rows the table has, exactly", count_options, 0, 0, count_data},
      {"clear_data", "-f [filters] [-p PARTITION] [-t MS]",
       "delete all rows, or those that pass the filters", clear_options, 0, 0, clear_data},
  };
}

}  // namespace markab::shell
