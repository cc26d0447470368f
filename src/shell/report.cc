#include "shell/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <ctime>

namespace markab::shell {

namespace json = boost::json;

namespace {

std::string cell_text(const json::value& cell) {
  if (cell.is_string()) return std::string(cell.get_string());
  if (cell.is_double()) return fmt::format("{:.2f}", cell.get_double());  // 07 §3.1
  return json::serialize(cell);
}

// A cell is one line, whatever the server sent: white space with a line break in it
// becomes one blank.
std::string one_line(const json::value& cell) {
  std::string text = cell_text(cell);
  std::string out;
  for (size_t i = 0; i < text.size();) {
    size_t end = std::min(text.find_first_not_of(" \t\r\n", i), text.size());
    if (text.find_first_of("\r\n", i) < end) {
      out += ' ';
      i = end;
    } else {
      out += text[i++];
    }
  }
  return out;
}

bool valid_utf8(std::string_view bytes) {
  size_t i = 0;
  while (i < bytes.size()) {
    auto lead = static_cast<uint8_t>(bytes[i]);
    size_t more = lead < 0x80       ? 0
                  : lead >> 5 == 6  ? 1
                  : lead >> 4 == 14 ? 2
                  : lead >> 3 == 30 ? 3
                                    : 4;
    if (more == 4 || i + more >= bytes.size()) return false;
    uint32_t point = more == 0 ? lead : lead & (0x3Fu >> more);
    for (size_t k = 1; k <= more; ++k) {
      auto next = static_cast<uint8_t>(bytes[i + k]);
      if (next >> 6 != 2) return false;
      point = point << 6 | (next & 0x3F);
    }
    constexpr uint32_t kLeast[] = {0, 0x80, 0x800, 0x10000};
    if (point < kLeast[more] || point > 0x10FFFF || (point >= 0xD800 && point < 0xE000))
      return false;
    i += more + 1;
  }
  return true;
}

}  // namespace

Section Section::rows(std::string name, std::vector<std::string> columns) {
  Section section;
  section.name_ = std::move(name);
  section.columns_ = std::move(columns);
  return section;
}

Section Section::fields(std::string name) {
  Section section;
  section.name_ = std::move(name);
  section.single_ = true;
  section.cells_.emplace_back();
  return section;
}

void Section::add_row(std::vector<json::value> cells) { cells_.push_back(std::move(cells)); }

void Section::add_field(std::string key, json::value value) {
  columns_.push_back(std::move(key));
  cells_[0].push_back(std::move(value));
}

void Section::print(std::string& out) const {
  out += fmt::format("[{}]\n", name_);
  if (single_) {
    size_t width = 0;
    for (const auto& key : columns_) width = std::max(width, key.size());
    for (size_t i = 0; i < columns_.size(); ++i) {
      out += fmt::format("{:<{}} : {}\n", columns_[i], width, one_line(cells_[0][i]));
    }
    return;
  }
  std::vector<size_t> widths;
  for (const auto& column : columns_) widths.push_back(column.size());
  for (const auto& row : cells_) {
    for (size_t i = 0; i < row.size() && i < widths.size(); ++i) {
      widths[i] = std::max(widths[i], one_line(row[i]).size());
    }
  }
  auto line = [&](auto cell_at, size_t n) {
    std::string text;
    for (size_t i = 0; i < n; ++i) text += fmt::format("{:<{}}", cell_at(i), widths[i] + 2);
    while (!text.empty() && text.back() == ' ') text.pop_back();
    out += text + "\n";
  };
  line([&](size_t i) { return columns_[i]; }, columns_.size());
  for (const auto& row : cells_) {
    line([&](size_t i) { return one_line(row[i]); }, std::min(row.size(), columns_.size()));
  }
}

json::value Section::to_json(bool as_text) const {
  auto row_json = [&](const std::vector<json::value>& row) {
    json::object object;
    for (size_t i = 0; i < row.size() && i < columns_.size(); ++i) {
      object[columns_[i]] = as_text ? json::value(cell_text(row[i])) : row[i];
    }
    return object;
  };
  if (single_) return row_json(cells_[0]);
  json::object object;
  for (const auto& row : cells_) object[cell_text(row[0])] = row_json(row);
  return object;
}

std::string to_text(const Report& report) {
  std::string out;
  for (const auto& section : report) {
    if (!out.empty()) out += "\n";
    section.print(out);
  }
  return out;
}

json::value to_json(const Report& report, bool as_text) {
  json::object object;
  for (const auto& section : report) object[section.name()] = section.to_json(as_text);
  return object;
}

json::value json_bytes(std::string_view bytes) {
  if (valid_utf8(bytes)) return json::string(bytes);
  std::string hex;
  for (char c : bytes) hex += fmt::format("{:02x}", static_cast<uint8_t>(c));
  return json::object{{"hex", hex}};
}

std::string format_time(int64_t unix_second) {
  if (unix_second <= 0) return "-";
  auto at = static_cast<std::time_t>(unix_second);
  std::tm fields{};
  if (localtime_r(&at, &fields) == nullptr) return "-";
  char text[32];
  size_t length = std::strftime(text, sizeof text, "%Y-%m-%d_%H:%M:%S", &fields);
  return {text, length};
}

}  // namespace markab::shell
