// Rows of one hash key.

#include <boost/json.hpp>

#include "base/escape.h"
#include "shell/filters.h"
#include "shell/session.h"

namespace markab::shell {

namespace json = boost::json;

namespace {

Error multi_set(Session& session, const Arguments& arguments) {
  auto table = session.table();
  if (!table) return table.error();
  if (arguments.count() % 2 == 0) {
    return {ErrorCode::kInvalidArgument,
            fmt::format("sort key '{}' has no value; give pairs: SORT_KEY VALUE ...",
                        arguments.words().back())};
  }
  std::vector<Cell> cells;
  for (size_t i = 1; i < arguments.count(); i += 2)
    cells.push_back({arguments.word(i), arguments.word(i + 1)});
  auto done = (*table)->multi_set(arguments.word(0), cells, {}, session.timeout);
  return session.show_written(done);
}

Error show_cells(Session& session, const std::string& hash_key, const Outcome<Cells>& cells,
                 bool with_values) {
  if (!cells) return cells.error();
  if (session.json) {
    json::array rows;
    for (const auto& cell : cells->cells) {
      json::object row{{"hash_key", json_bytes(hash_key)}, {"sort_key", json_bytes(cell.sort_key)}};
      if (with_values) row["value"] = json_bytes(cell.value);
      rows.push_back(std::move(row));
    }
    json::object object{{"rows", std::move(rows)}, {"complete", cells->complete}};
    session.add_origin(object, cells.origin);
    session.emit(object);
    return {};
  }
  for (const auto& cell : cells->cells) {
    session.line(with_values
                     ? fmt::format("{} : {} => {}", session.quoted(hash_key),
                                   session.quoted(cell.sort_key), session.quoted(cell.value))
                     : session.quoted(cell.sort_key));
  }
  if (!cells->cells.empty()) session.line("");
  session.line(fmt::format("{} {} got, {}.", cells->cells.size(),
                           with_values ? "key-value pairs" : "sort keys",
                           cells->complete ? "fetch completed" : "fetch not completed"));
  session.show_origin(cells.origin);
  return {};
}

std::vector<std::string> after_first(const Arguments& arguments) {
  return {arguments.words().begin() + 1, arguments.words().end()};
}

Error multi_get(Session& session, const Arguments& arguments) {
  auto table = session.table();
  if (!table) return table.error();
  const auto& hash_key = arguments.word(0);
  if (arguments.count() == 1) {
    return show_cells(session, hash_key,
                      (*table)->multi_get_range(hash_key, "", "", {}, session.timeout), true);
  }
  return show_cells(session, hash_key,
                    (*table)->multi_get(hash_key, after_first(arguments), session.timeout), true);
}

Error multi_get_sortkeys(Session& session, const Arguments& arguments) {
  auto table = session.table();
  if (!table) return table.error();
  RangeOptions options;
  options.no_value = true;
  return show_cells(session, arguments.word(0),
                    (*table)->multi_get_range(arguments.word(0), "", "", options, session.timeout),
                    false);
}

Error multi_del(Session& session, const Arguments& arguments) {
  auto table = session.table();
  if (!table) return table.error();
  auto count = (*table)->multi_del(arguments.word(0), after_first(arguments), session.timeout);
  if (!count) return count.error();
  if (session.json) {
    json::object object{{"count", *count}};
    session.add_origin(object, count.origin);
    session.emit(object);
  } else {
    session.line(fmt::format("{} key-value pairs deleted.", *count));
    session.show_origin(count.origin);
  }
  return {};
}

Error read_range(const Arguments& arguments, RangeOptions& options) {
  auto start = arguments.truth('a', true);
  auto stop = arguments.truth('b', false);
  if (!start) return to_error(start.error());
  if (!stop) return to_error(stop.error());
  options.start_inclusive = *start;
  options.stop_inclusive = *stop;
  return read_filter(arguments, 's', 'y', options.sort_key_filter, options.sort_key_pattern);
}

Error multi_get_range(Session& session, const Arguments& arguments) {
  auto table = session.table();
  if (!table) return table.error();
  RangeOptions options;
  if (Error error = read_range(arguments, options)) return error;
  auto most = arguments.number('n', -1, -1, INT32_MAX);
  if (!most) return to_error(most.error());
  options.max_count = static_cast<int32_t>(*most);
  options.no_value = arguments.has('i');
  options.reverse = arguments.has('r');
  return show_cells(session, arguments.word(0),
                    (*table)->multi_get_range(arguments.word(0), arguments.word(1),
                                              arguments.word(2), options, session.timeout),
                    !options.no_value);
}

Error multi_del_range(Session& session, const Arguments& arguments) {
  auto table = session.table();
  if (!table) return table.error();
  RangeOptions options;
  if (Error error = read_range(arguments, options)) return error;
  auto count = (*table)->del_range(arguments.word(0), arguments.word(1), arguments.word(2), options,
                                   session.timeout);
  if (!count) return count.error();
  session.json ? session.emit({{"count", *count}})
               : session.line(fmt::format("OK, {} rows deleted.", *count));
  return {};
}

}  // namespace

std::vector<Command> range_commands() {
  const std::vector<Option> range{
      {'a', "start_inclusive", "bool", "with the row at START; default true"},
      {'b', "stop_inclusive", "bool", "with the row at STOP; default false"},
      {'s', "sort_key_filter_type", "anywhere|prefix|postfix", "only such sort keys"},
      {'y', "sort_key_filter_pattern", "pattern", "as this; un-escaped once more"}};
  auto get = range;
  get.insert(get.end(), {{'n', "max_count", "n", "at most so many"},
                         {'i', "no_value", "", "sort keys only"},
                         {'r', "reverse", "", "with -n: the largest sort keys"}});
  auto del = range;
  del.insert(del.end(), {{'i', "silent", "", "accepted"}});
  return {
      {"multi_set",
       "HASH_KEY SORT_KEY VALUE ...",
       "write rows of one hash key, all or none",
       {},
       3,
       kAnyNumber,
       multi_set},
      {"multi_get",
       "HASH_KEY [SORT_KEY ...]",
       "read rows of one hash key",
       {},
       1,
       kAnyNumber,
       multi_get},
      {"multi_get_range",
       "HASH_KEY START STOP [-a BOOL] [-b BOOL] [-s TYPE] [-y PATTERN] [-n MAX] [-i] [-r]",
       "read a range of rows; an empty STOP: to the end", get, 3, 3, multi_get_range},
      {"multi_get_sortkeys",
       "HASH_KEY",
       "the sort keys of one hash key",
       {},
       1,
       1,
       multi_get_sortkeys},
      {"multi_del",
       "HASH_KEY SORT_KEY ...",
       "delete rows of one hash key, all or none",
       {},
       2,
       kAnyNumber,
       multi_del},
      {"multi_del_range", "HASH_KEY START STOP [-a BOOL] [-b BOOL] [-s TYPE] [-y PATTERN]",
       "delete a range of rows, in steps", del, 3, 3, multi_del_range},
  };
}

}  // namespace markab::shell
