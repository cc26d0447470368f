// Whole tables, or one hash key, row by row.

#include <boost/json.hpp>
#include <fstream>

#include "shell/filters.h"
#include "shell/scan_request.h"

namespace markab::shell {

namespace json = boost::json;

namespace {

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

// `most` rows; -1: all.
Error write_rows(Scanner& scanner, const ScanRequest& request, int64_t most, RowWriter& writer) {
  for (;;) {
    if (most >= 0 && writer.count() >= most) return {};
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
  auto start = arguments.truth('a', true);
  if (!start) return to_error(start.error());
  auto stop = arguments.truth('b', false);
  if (!stop) return to_error(stop.error());
  request.options.start_inclusive = *start;
  request.options.stop_inclusive = *stop;
  auto most = arguments.number('n', -1, -1, INT64_MAX);
  if (!most) return to_error(most.error());
  RowWriter writer(session, arguments);
  if (Error error = writer.check()) return error;
  auto scanner = (*table)->hash_scanner(arguments.word(0), arguments.word(1), arguments.word(2),
                                        request.options);
  if (!scanner) return scanner.error();
  if (Error error = write_rows(**scanner, request, *most, writer)) return error;
  return writer.finish();
}

Error full_scan(Session& session, const Arguments& arguments) {
  auto table = session.table();
  if (!table) return table.error();
  ScanRequest request;
  if (Error error = read_scan(session, arguments, request)) return error;
  auto most = arguments.number('n', -1, -1, INT64_MAX);
  if (!most) return to_error(most.error());
  RowWriter writer(session, arguments);
  if (Error error = writer.check()) return error;
  auto scanners = open_scanners(**table, request, 1);
  if (!scanners) return scanners.error();
  for (auto& scanner : *scanners) {
    if (Error error = write_rows(*scanner, request, *most, writer)) return error;
  }
  return writer.finish();
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
  auto rows = filter_options();
  rows.insert(rows.end(), {{'o', "output", "file", "write the rows there"},
                           {'n', "max_count", "n", "at most so many"}});
  const auto hash_filter = hash_key_options();
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
  auto clear_options = rows;
  clear_options.insert(clear_options.end(), hash_filter.begin(), hash_filter.end());
  clear_options.insert(clear_options.end(), {{'f', "force", "", "really"}});
  return {
      {"hash_scan",
       "HASH_KEY START STOP [filters] [-a BOOL] [-b BOOL] [-o FILE] [-n MAX] [-t MS] [-i]",
       "the rows of one hash key; an empty STOP: to its end", hash_options, 3, 3, hash_scan},
      {"full_scan", "[filters] [-o FILE] [-n MAX] [-t MS] [-i] [-p PARTITION]",
       "the rows of the table in use", full_options, 0, 0, full_scan},
      count_data_command(),
      {"clear_data", "-f [filters] [-p PARTITION] [-t MS]",
       "delete all rows, or those that pass the filters", clear_options, 0, 0, clear_data},
  };
}

}  // namespace markab::shell
