#include "engine/check.h"

#include <compare>

#include "base/assert.h"
#include "base/integer_text.h"

namespace markab::engine {

namespace {

using Type = wire::cas_check_type;

CheckOutcome outcome(bool passed) {
  return passed ? CheckOutcome::kPassed : CheckOutcome::kNotPassed;
}

// `rank` counts from "less" to "greater" in the order that both families of compare types have.
bool compares(int rank, std::strong_ordering order) {
  switch (rank) {
    case 0:
      return order < 0;
    case 1:
      return order <= 0;
    case 2:
      return order == 0;
    case 3:
      return order >= 0;
    default:
      return order > 0;
  }
}

}  // namespace

CheckOutcome evaluate_check(wire::cas_check_type::type type,
                            const std::optional<std::string_view>& value,
                            std::string_view operand) {
  MARKAB_ASSERT(valid_check_type(type), "a check type that is none", static_cast<int>(type));
  switch (type) {
    case Type::CT_NO_CHECK:
      return CheckOutcome::kPassed;
    case Type::CT_VALUE_NOT_EXIST:
      return outcome(!value);
    case Type::CT_VALUE_NOT_EXIST_OR_EMPTY:
      return outcome(!value || value->empty());
    case Type::CT_VALUE_EXIST:
      return outcome(value.has_value());
    case Type::CT_VALUE_NOT_EMPTY:
      return outcome(value && !value->empty());
    case Type::CT_VALUE_MATCH_ANYWHERE:
      return outcome(value && value->find(operand) != std::string_view::npos);
    case Type::CT_VALUE_MATCH_PREFIX:
      return outcome(value && value->starts_with(operand));
    case Type::CT_VALUE_MATCH_POSTFIX:
      return outcome(value && value->ends_with(operand));
    default:
      break;
  }
  if (!value) return CheckOutcome::kNotPassed;  // the operand is not looked at
  if (type <= Type::CT_VALUE_BYTES_GREATER) {
    return outcome(compares(type - Type::CT_VALUE_BYTES_LESS, *value <=> operand));
  }
  int64_t left = 0;
  int64_t right = 0;
  if (!parse_integer(*value, left) || !parse_integer(operand, right)) return CheckOutcome::kInvalid;
  return outcome(compares(type - Type::CT_VALUE_INT_LESS, left <=> right));
}

}  // namespace markab::engine
