#pragma once
// The filters of range reads (spec 02 §9): any, prefix, postfix or anywhere in a hash key or sort
// key. Pure.

#include <cstdint>
#include <string_view>

#include "idl/rrdb_types.h"

namespace markab::engine {

// Whether the wire's number is one of the four.
inline bool valid_filter_type(wire::filter_type::type type) {
  return type >= wire::filter_type::FT_NO_FILTER && type <= wire::filter_type::FT_MATCH_POSTFIX;
}

// An empty pattern matches everything; a key shorter than the pattern never does.
inline bool filter_matches(wire::filter_type::type type, std::string_view pattern,
                           std::string_view key) {
  if (type == wire::filter_type::FT_NO_FILTER || pattern.empty()) return true;
  switch (type) {
    case wire::filter_type::FT_MATCH_ANYWHERE:
      return key.find(pattern) != std::string_view::npos;
    case wire::filter_type::FT_MATCH_PREFIX:
      return key.starts_with(pattern);
    case wire::filter_type::FT_MATCH_POSTFIX:
      return key.ends_with(pattern);
    default:
      return true;
  }
}

}  // namespace markab::engine
