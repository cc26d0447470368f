// count_data: how many rows there are, and of what sizes (07 §8.4).

#include <algorithm>
#include <boost/json.hpp>
#include <queue>

#include "base/metrics.h"
#include "shell/filters.h"
#include "shell/scan_request.h"

namespace markab::shell {

namespace json = boost::json;

namespace {

constexpr int64_t kMostTopRows = 10000;
constexpr int64_t kLongestRunSeconds = 7 * 86400;

// Sizes in bytes.
struct RowSizes {
  Histogram hash_key, sort_key, value, row;

  void add(const ScanRow& r) {
    hash_key.record(static_cast<int64_t>(r.hash_key.size()));
    sort_key.record(static_cast<int64_t>(r.sort_key.size()));
    value.record(static_cast<int64_t>(r.value.size()));
    row.record(static_cast<int64_t>(r.hash_key.size() + r.sort_key.size() + r.value.size()));
  }
};

// The largest rows seen, a bounded number.
class LargestRows {
 public:
  struct Row {
    size_t bytes;
    std::string hash_key, sort_key;
    bool operator<(const Row& other) const { return bytes > other.bytes; }  // the smallest on top
  };

  explicit LargestRows(size_t most) : most_(most) {}
  void add(const ScanRow& row) {
    size_t bytes = row.hash_key.size() + row.sort_key.size() + row.value.size();
    if (most_ == 0 || (rows_.size() == most_ && bytes <= rows_.top().bytes)) return;
    if (rows_.size() == most_) rows_.pop();
    rows_.push({bytes, row.hash_key, row.sort_key});
  }
  // The largest first. Empties this.
  std::vector<Row> take() {
    std::vector<Row> out;
    for (; !rows_.empty(); rows_.pop()) out.push_back(rows_.top());
    std::reverse(out.begin(), out.end());
    return out;
  }

 private:
  const size_t most_;
  std::priority_queue<Row> rows_;
};

struct Wanted {
  bool distinct = false;  // hash keys
  bool sizes = false;
  size_t top = 0;
  Timeout run{};  // 0: to the end

  bool rows(const ScanRequest& request) const {
    return distinct || sizes || top > 0 || request.value_filter != Filter::kNone;
  }
};

Error read_wanted(const Arguments& arguments, Wanted& wanted) {
  auto top = arguments.number('n', 0, 0, kMostTopRows);
  auto run = arguments.number('r', 0, 0, kLongestRunSeconds);
  for (const auto* number : {&top, &run}) {
    if (!*number) return to_error(number->error());
  }
  wanted.distinct = arguments.has('d');
  wanted.sizes = arguments.has('a');
  wanted.top = static_cast<size_t>(*top);
  wanted.run = Seconds(*run);
  return {};
}

struct PartitionCount {
  int64_t rows = 0;
  int64_t hash_keys = 0;
  std::string last_hash_key;
};

class Counting {
 public:
  Counting(const ScanRequest& request, const Wanted& wanted, size_t partitions)
      : request_(request), wanted_(wanted), largest_(wanted.top), partitions_(partitions) {}

  void take(size_t partition, const ScanBatch& batch) {
    PartitionCount& count = partitions_[partition];
    if (!wanted_.rows(request_)) {
      count.rows += batch.count;
      return;
    }
    for (const auto& row : batch.rows) {
      if (!passes(request_.value_filter, request_.value_pattern, row.value)) continue;
      // The rows of one hash key come together.
      if (count.rows++ == 0 || row.hash_key != count.last_hash_key) {
        ++count.hash_keys;
        count.last_hash_key = row.hash_key;
      }
      if (wanted_.sizes) sizes_.add(row);
      largest_.add(row);
    }
  }
  const std::vector<PartitionCount>& partitions() const { return partitions_; }
  int64_t rows() const {
    int64_t sum = 0;
    for (const auto& p : partitions_) sum += p.rows;
    return sum;
  }
  int64_t hash_keys() const {
    int64_t sum = 0;
    for (const auto& p : partitions_) sum += p.hash_keys;
    return sum;
  }

  Section count_section() const {
    std::vector<std::string> columns{"partition", "row_count"};
    if (wanted_.distinct) columns.emplace_back("hash_key_count");
    Section section = Section::rows("count", columns);
    auto add = [&](json::value name, int64_t count, int64_t keys) {
      std::vector<json::value> cells{std::move(name), count};
      if (wanted_.distinct) cells.emplace_back(keys);
      section.add_row(std::move(cells));
    };
    for (size_t i = 0; i < partitions_.size(); ++i) {
      add(request_.partition >= 0 ? request_.partition : static_cast<int>(i), partitions_[i].rows,
          partitions_[i].hash_keys);
    }
    add("total", rows(), hash_keys());
    return section;
  }
  Section size_section() const {
    Section section =
        Section::rows("size", {"bytes_of", "average", "p50", "p90", "p99", "p999", "largest"});
    for (auto [name, h] :
         {std::pair{"hash_key", &sizes_.hash_key}, std::pair{"sort_key", &sizes_.sort_key},
          std::pair{"value", &sizes_.value}, std::pair{"row", &sizes_.row}}) {
      section.add_row({name, h->count() == 0 ? 0 : h->sum() / h->count(), h->quantile(0.5),
                       h->quantile(0.9), h->quantile(0.99), h->quantile(0.999), h->max()});
    }
    return section;
  }
  Section top_section(const Session& session) {
    Section section = Section::rows("top", {"rank", "row_size", "hash_key", "sort_key"});
    int rank = 0;
    for (const auto& row : largest_.take()) {
      auto shown = [&](const std::string& key) {
        return session.json ? json_bytes(key) : json::value(json::string(session.quoted(key)));
      };
      section.add_row({++rank, row.bytes, shown(row.hash_key), shown(row.sort_key)});
    }
    return section;
  }

 private:
  const ScanRequest& request_;
  const Wanted& wanted_;
  RowSizes sizes_;
  LargestRows largest_;
  std::vector<PartitionCount> partitions_;
};

void emit_counts(Session& session, const Wanted& wanted, Counting& counting, bool complete) {
  json::object object{{"count", counting.rows()}, {"complete", complete}};
  if (wanted.distinct) object["hash_key_count"] = counting.hash_keys();
  json::array by_partition;
  for (const auto& p : counting.partitions()) by_partition.emplace_back(p.rows);
  object["by_partition"] = std::move(by_partition);
  if (wanted.sizes) object["size"] = counting.size_section().to_json(false);
  if (wanted.top > 0) object["top"] = counting.top_section(session).to_json(false);
  session.emit(object);
}

Error count_data(Session& session, const Arguments& arguments) {
  auto table = session.table();
  if (!table) return table.error();
  ScanRequest request;
  if (Error error = read_scan(session, arguments, request)) return error;
  auto batch = arguments.number('b', 1000, 1, 1000);
  if (!batch) return to_error(batch.error());
  Wanted wanted;
  if (Error error = read_wanted(arguments, wanted)) return error;
  request.options.only_count = !wanted.rows(request);
  request.options.no_value =
      request.value_filter == Filter::kNone && !wanted.sizes && wanted.top == 0;
  request.options.batch_size = static_cast<int32_t>(*batch);
  auto scanners = open_scanners(**table, request, INT32_MAX);  // one per partition
  if (!scanners) return scanners.error();
  Counting counting(request, wanted, scanners->size());
  const Timeout began = session.clock();
  bool stopped = false;
  Error error = drain(
      *scanners,
      [&](size_t i, const ScanBatch& rows) -> Error {
        counting.take(i, rows);
        return {};
      },
      [&] {
        stopped = wanted.run > Timeout() && session.clock() - began >= wanted.run;
        return stopped;
      });
  if (error) return error;
  if (session.json) {
    emit_counts(session, wanted, counting, !stopped);
    return {};
  }
  Report report{counting.count_section()};
  if (wanted.sizes) report.push_back(counting.size_section());
  if (wanted.top > 0) report.push_back(counting.top_section(session));
  if (Error shown = session.show(report, arguments)) return shown;
  session.line("");
  session.line(stopped ? fmt::format("Stopped after {} s, {} rows so far.", arguments.text('r'),
                                     counting.rows())
                       : fmt::format("Count done, total {} rows.", counting.rows()));
  return {};
}

}  // namespace

Command count_data_command() {
  auto options = filter_options();
  auto more = hash_key_options();
  options.insert(options.end(), more.begin(), more.end());
  options.insert(options.end(), {{'c', "precise", "", "accepted: the count is always exact"},
                                 {'b', "max_batch_count", "n", "rows a batch; at most 1000"},
                                 {'d', "diff_hash_key", "", "also how many hash keys"},
                                 {'a', "stat_size", "", "also the sizes of keys and values"},
                                 {'n', "top_count", "n", "also so many of the largest rows"},
                                 {'r', "run_seconds", "s", "stop after so long; 0: at the end"},
                                 {'o', "output", "file", "write it there"},
                                 {'j', "json", "", "print JSON with string values"}});
  return {"count_data",
          "[filters] [-d] [-a] [-n TOP] [-r SECONDS] [-b BATCH] [-p PARTITION] [-t MS] [-j]",
          "how many rows the table has, exactly",
          options,
          0,
          0,
          count_data};
}

}  // namespace markab::shell
