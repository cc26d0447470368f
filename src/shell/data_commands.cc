// One row, and atomic writes.

#include <boost/json.hpp>
#include <iostream>

#include "shell/session.h"

namespace markab::shell {

namespace json = boost::json;

namespace {

// What every one of these begins with.
#define MARKAB_TABLE_IN_USE(session, table) \
  auto in_use = (session).table();          \
  if (!in_use) return in_use.error();       \
  Table& table = **in_use

Error parse_ttl(const std::string& text, Seconds& ttl) {
  auto number = parse_number("TTL", text, 0, INT32_MAX);
  if (!number) return to_error(number.error());
  ttl = Seconds(*number);
  return {};
}

// A single value under a name, as text and as JSON.
void show_value(Session& session, std::string_view name, json::value value, std::string_view text,
                const Origin& origin) {
  if (session.json) {
    json::object object{{name, std::move(value)}};
    session.add_origin(object, origin);
    session.emit(object);
  } else {
    session.line(text);
    session.show_origin(origin);
  }
}

Error set(Session& session, const Arguments& arguments) {
  MARKAB_TABLE_IN_USE(session, table);
  Seconds ttl{0};
  if (arguments.count() > 3) {
    if (Error error = parse_ttl(arguments.word(3), ttl)) return error;
  }
  return session.show_written(
      table.set(arguments.word(0), arguments.word(1), arguments.word(2), ttl, session.timeout));
}

Error get(Session& session, const Arguments& arguments) {
  MARKAB_TABLE_IN_USE(session, table);
  auto value = table.get(arguments.word(0), arguments.word(1), session.timeout);
  if (!value) return value.error();
  show_value(session, "value", json_bytes(*value), session.quoted(*value), value.origin);
  return {};
}

Error del(Session& session, const Arguments& arguments) {
  MARKAB_TABLE_IN_USE(session, table);
  return session.show_written(table.del(arguments.word(0), arguments.word(1), session.timeout));
}

Error exist(Session& session, const Arguments& arguments) {
  MARKAB_TABLE_IN_USE(session, table);
  auto there = table.exist(arguments.word(0), arguments.word(1), session.timeout);
  if (!there) return there.error();
  show_value(session, "exist", *there, *there ? "True" : "False", there.origin);
  return {};
}

Error ttl(Session& session, const Arguments& arguments) {
  MARKAB_TABLE_IN_USE(session, table);
  auto left = table.ttl(arguments.word(0), arguments.word(1), session.timeout);
  if (!left) return left.error();
  json::value value;
  if (left->has_value()) value = (*left)->count();
  show_value(session, "ttl", value,
             left->has_value() ? std::to_string((*left)->count()) : "Infinite", left.origin);
  return {};
}

Error count(Session& session, const Arguments& arguments) {
  MARKAB_TABLE_IN_USE(session, table);
  auto rows = table.sortkey_count(arguments.word(0), session.timeout);
  if (!rows) return rows.error();
  show_value(session, "count", *rows, std::to_string(*rows), rows.origin);
  return {};
}

Error incr(Session& session, const Arguments& arguments) {
  MARKAB_TABLE_IN_USE(session, table);
  int64_t by = 1;
  if (arguments.count() > 2) {
    auto number = parse_number("INCREMENT", arguments.word(2), INT64_MIN, INT64_MAX);
    if (!number) return to_error(number.error());
    by = *number;
  }
  auto sum = table.incr(arguments.word(0), arguments.word(1), by, {}, session.timeout);
  if (!sum) return sum.error();
  show_value(session, "value", *sum, std::to_string(*sum), sum.origin);
  return {};
}

// --- conditional writes ---

constexpr std::string_view kChecks[] = {"no_check",
                                        "not_exist",
                                        "not_exist_or_empty",
                                        "exist",
                                        "not_empty",
                                        "match_anywhere",
                                        "match_prefix",
                                        "match_postfix",
                                        "bytes_less",
                                        "bytes_less_or_equal",
                                        "bytes_equal",
                                        "bytes_greater_or_equal",
                                        "bytes_greater",
                                        "int_less",
                                        "int_less_or_equal",
                                        "int_equal",
                                        "int_greater_or_equal",
                                        "int_greater"};

Error read_condition(const Arguments& arguments, Condition& condition) {
  if (!arguments.has('c') || !arguments.has('t')) {
    return {ErrorCode::kInvalidArgument, "give the sort key to look at (-c) and the check (-t)"};
  }
  condition.check_sort_key = arguments.text('c');
  condition.operand = arguments.text('o');
  condition.return_check_value = arguments.has('r');
  std::string wanted = arguments.text('t');
  for (size_t i = 0; i < std::size(kChecks); ++i) {
    if (kChecks[i] != wanted) continue;
    condition.check = static_cast<Check>(i);
    return {};
  }
  return {ErrorCode::kInvalidArgument,
          fmt::format("'{}' is no check; allowed are {}", wanted,
                      fmt::join(std::begin(kChecks), std::end(kChecks), ", "))};
}

Error show_checked(Session& session, const Outcome<Checked>& done, std::string_view verb) {
  if (!done) return done.error();
  json::value before;
  if (done->check_value) before = json_bytes(*done->check_value);
  if (session.json) {
    json::object object{{"passed", done->passed}};
    if (done->check_value_returned) object["check_value"] = before;
    session.add_origin(object, done.origin);
    session.emit(object);
    return {};
  }
  session.line(done->passed ? fmt::format("{} succeed.", verb)
                            : fmt::format("{} failed, the check did not pass.", verb));
  if (done->check_value_returned) {
    session.line("");
    session.line(done->check_value
                     ? fmt::format("Check value: {}", session.quoted(*done->check_value))
                     : "Check value: none, there was no such row");
  }
  session.show_origin(done.origin);
  return {};
}

Error check_and_set(Session& session, const Arguments& arguments) {
  MARKAB_TABLE_IN_USE(session, table);
  Condition condition;
  if (Error error = read_condition(arguments, condition)) return error;
  Seconds lives{0};
  if (arguments.has('l')) {
    if (Error error = parse_ttl(arguments.text('l'), lives)) return error;
  }
  Cell cell{arguments.text('s', condition.check_sort_key), arguments.text('v')};
  return show_checked(
      session, table.check_and_set(arguments.word(0), condition, cell, lives, session.timeout),
      "Set");
}

// Reads `set SK VALUE [TTL]`, `del SK`, then `ok` or `abort`, from the lines that follow.
Error read_mutations(Session& session, std::vector<Mutation>& mutations) {
  session.progress("set SORT_KEY VALUE [TTL] | del SORT_KEY, one per line; then ok, or abort");
  std::string text;
  while (session.next_line(text)) {
    auto words = split_words(text);
    if (!words) return to_error(words.error());
    if (words->empty()) continue;
    const auto& verb = words->front();
    if (verb == "ok") return {};
    if (verb == "abort") return {ErrorCode::kInvalidArgument, "aborted; nothing was done"};
    Mutation mutation;
    if (verb == "set" && (words->size() == 3 || words->size() == 4)) {
      mutation.sort_key = (*words)[1];
      mutation.value = (*words)[2];
      if (words->size() == 4) {
        if (Error error = parse_ttl((*words)[3], mutation.ttl)) return error;
      }
    } else if (verb == "del" && words->size() == 2) {
      mutation.kind = Mutation::Kind::kDelete;
      mutation.sort_key = (*words)[1];
    } else {
      return {ErrorCode::kInvalidArgument,
              fmt::format("'{}' is no mutation; nothing was done", text)};
    }
    mutations.push_back(std::move(mutation));
  }
  return {ErrorCode::kInvalidArgument, "the input ended before `ok`; nothing was done"};
}

Error check_and_mutate(Session& session, const Arguments& arguments) {
  MARKAB_TABLE_IN_USE(session, table);
  Condition condition;
  if (Error error = read_condition(arguments, condition)) return error;
  std::vector<Mutation> mutations;
  if (Error error = read_mutations(session, mutations)) return error;
  return show_checked(
      session, table.check_and_mutate(arguments.word(0), condition, mutations, session.timeout),
      "Mutate");
}

}  // namespace

std::vector<Command> data_commands() {
  const std::vector<Option> condition{
      {'c', "check_sort_key", "sort_key", "the row to look at"},
      {'t', "check_type", "type", "not_exist, exist, bytes_equal, int_less, ..."},
      {'o', "check_operand", "operand", "what to compare with"},
      {'r', "return_check_value", "", "show the value before"}};
  auto with_set = condition;
  with_set.insert(with_set.end(),
                  {{'s', "set_sort_key", "sort_key", "the row to set; default: the one looked at"},
                   {'v', "set_value", "value", "its new value"},
                   {'l', "set_value_ttl_seconds", "seconds", "how long it lives"}});
  return {
      {"set", "HASH_KEY SORT_KEY VALUE [TTL]", "write a row", {}, 3, 4, set},
      {"get", "HASH_KEY SORT_KEY", "read a row", {}, 2, 2, get},
      {"del", "HASH_KEY SORT_KEY", "delete a row", {}, 2, 2, del},
      {"exist", "HASH_KEY SORT_KEY", "whether there is such a row", {}, 2, 2, exist},
      {"ttl", "HASH_KEY SORT_KEY", "how many seconds a row still lives", {}, 2, 2, ttl},
      {"count", "HASH_KEY", "how many rows a hash key has", {}, 1, 1, count},
      {"incr", "HASH_KEY SORT_KEY [INCREMENT]", "add to a number", {}, 2, 3, incr},
      {"check_and_set",
       "HASH_KEY -c SORT_KEY -t TYPE [-o OPERAND] [-s SORT_KEY] -v VALUE [-l TTL] [-r]",
       "write a row if a condition holds", with_set, 1, 1, check_and_set},
      {"check_and_mutate", "HASH_KEY -c SORT_KEY -t TYPE [-o OPERAND] [-r]",
       "change rows of a hash key if a condition holds; the changes are on the lines that follow",
       condition, 1, 1, check_and_mutate},
  };
}

}  // namespace markab::shell
