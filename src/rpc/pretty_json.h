#pragma once
// A JSON value as indented text, members in their order: for answers that people read with curl.

#include <boost/json/value.hpp>
#include <string>

namespace markab::rpc {

std::string pretty_json(const boost::json::value& value, int indent = 2);

}  // namespace markab::rpc
