#include "rpc/pretty_json.h"

#include <boost/json.hpp>

namespace markab::rpc {

namespace json = boost::json;

namespace {

void write(const json::value& value, int indent, size_t depth, std::string& out) {
  auto new_line = [&](size_t d) {
    out.push_back('\n');
    out.append(d * static_cast<size_t>(indent), ' ');
  };
  if (const json::object* object = value.if_object(); object != nullptr && !object->empty()) {
    const char* before = "{";
    for (const auto& [key, member] : *object) {
      out += before;
      before = ",";
      new_line(depth + 1);
      out += json::serialize(json::string(key));
      out += ": ";
      write(member, indent, depth + 1, out);
    }
    new_line(depth);
    out.push_back('}');
  } else if (const json::array* array = value.if_array(); array != nullptr && !array->empty()) {
    const char* before = "[";
    for (const json::value& element : *array) {
      out += before;
      before = ",";
      new_line(depth + 1);
      write(element, indent, depth + 1, out);
    }
    new_line(depth);
    out.push_back(']');
  } else {
    out += json::serialize(value);
  }
}

}  // namespace

std::string pretty_json(const json::value& value, int indent) {
  std::string out;
  write(value, indent, 0, out);
  return out;
}

}  // namespace markab::rpc
