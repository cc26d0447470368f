#pragma once
// The conditions of check_and_set and check_and_mutate (spec 02 §8). Pure.

#include <optional>
#include <string_view>

#include "idl/rrdb_types.h"

namespace markab::engine {

enum class CheckOutcome {
  kPassed,
  kNotPassed,
  kInvalid /* an integer compare on what is not an integer */
};

inline bool valid_check_type(wire::cas_check_type::type type) {
  return type >= wire::cas_check_type::CT_NO_CHECK &&
         type <= wire::cas_check_type::CT_VALUE_INT_GREATER;
}

// `value` is that of the live record, or none. Precondition: valid_check_type(type).
CheckOutcome evaluate_check(wire::cas_check_type::type type,
                            const std::optional<std::string_view>& value, std::string_view operand);

}  // namespace markab::engine
