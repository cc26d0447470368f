#pragma once
// What commands print: sections of rows, as aligned text or as JSON. In memory every cell is a JSON
// value, so that numbers stay numbers. Pure.
//
// Text (07 §8.1): a line [name], a header row, columns as wide as their longest cell + 2; a section
// of one row without a header shows as `key : value` lines. JSON:
// {"section":{"row":{"column":value}}}; a single-row section is
// {"section":{"key":value}}.

#include <boost/json/value.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace markab::shell {

class Section {
 public:
  // Rows under a header; the first column is the rows' name in JSON.
  static Section rows(std::string name, std::vector<std::string> columns);
  // `key : value` lines.
  static Section fields(std::string name);

  void add_row(std::vector<boost::json::value> cells);
  void add_field(std::string key, boost::json::value value);

  void print(std::string& out) const;
  // `as_text`: all values as strings, as the other side of 07 §8.1 has them.
  boost::json::value to_json(bool as_text) const;
  const std::string& name() const { return name_; }

 private:
  std::string name_;
  bool single_ = false;
  std::vector<std::string> columns_;
  std::vector<std::vector<boost::json::value>> cells_;
};

using Report = std::vector<Section>;

std::string to_text(const Report& report);
boost::json::value to_json(const Report& report, bool as_text);

// Bytes in JSON: themselves when they are valid UTF-8, else {"hex":"..."}.
boost::json::value json_bytes(std::string_view bytes);
// "2026-01-02_03:04:05" in local time, "-" for 0.
std::string format_time(int64_t unix_second);

}  // namespace markab::shell
