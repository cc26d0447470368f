#include "base/compaction_rules.h"

#include <fmt/format.h>

#include <boost/json.hpp>

namespace markab {

namespace json = boost::json;

namespace {

constexpr size_t kMaxOperations = 256;
constexpr size_t kMaxRules = 32;

Status bad(std::string_view where, std::string_view why) {
  return Status(Errc::kInvalidParameters, fmt::format("{}: {}", where, why));
}

const json::string* string_at(const json::object& object, const char* key) {
  const json::value* found = object.if_contains(key);
  return found == nullptr ? nullptr : found->if_string();
}

bool unsigned_at(const json::object& object, const char* key, uint32_t& out) {
  const json::value* found = object.if_contains(key);
  if (found == nullptr || !found->is_int64()) return false;
  int64_t value = found->get_int64();
  if (value < 0 || value > UINT32_MAX) return false;
  out = static_cast<uint32_t>(value);
  return true;
}

// "params" is a string that holds JSON.
Result<json::object> params_of(const json::object& object, std::string_view where) {
  const json::string* text = string_at(object, "params");
  boost::system::error_code error;
  json::value parsed = text == nullptr ? json::value() : json::parse(*text, error);
  if (error || !parsed.is_object())
    return bad(where, "\"params\" is a string that holds a JSON object");
  return std::move(parsed.get_object());
}

Result<CompactionRule> parse_rule(const json::value& value, std::string_view where) {
  const json::object* object = value.if_object();
  const json::string* type = object == nullptr ? nullptr : string_at(*object, "type");
  if (type == nullptr) return bad(where, "a rule is {\"type\":…,\"params\":…}");
  CompactionRule rule;
  auto params = params_of(*object, where);
  if (!params) return params.error();
  if (*type == "FRT_TTL_RANGE") {
    rule.type = CompactionRule::Type::kTtlRange;
    if (!unsigned_at(*params, "start_ttl", rule.start_ttl) ||
        !unsigned_at(*params, "stop_ttl", rule.stop_ttl)) {
      return bad(where, "the params of FRT_TTL_RANGE are {\"start_ttl\":N,\"stop_ttl\":N}");
    }
    return rule;
  }
  if (*type != "FRT_HASHKEY_PATTERN" && *type != "FRT_SORTKEY_PATTERN") {
    return bad(where, "a rule's type is FRT_HASHKEY_PATTERN, FRT_SORTKEY_PATTERN or FRT_TTL_RANGE");
  }
  rule.type = *type == "FRT_HASHKEY_PATTERN" ? CompactionRule::Type::kHashKeyPattern
                                             : CompactionRule::Type::kSortKeyPattern;
  const json::string* pattern = string_at(*params, "pattern");
  const json::string* match = string_at(*params, "match_type");
  std::string_view how = match == nullptr ? std::string_view() : std::string_view(*match);
  if (how == "SMT_MATCH_ANYWHERE") {
    rule.match = CompactionRule::Match::kAnywhere;
  } else if (how == "SMT_MATCH_PREFIX") {
    rule.match = CompactionRule::Match::kPrefix;
  } else if (how == "SMT_MATCH_POSTFIX") {
    rule.match = CompactionRule::Match::kPostfix;
  } else {
    pattern = nullptr;
  }
  if (pattern == nullptr) {
    return bad(where,
               "the params of a pattern are {\"pattern\":…,\"match_type\":…}, the match type being "
               "SMT_MATCH_ANYWHERE, SMT_MATCH_PREFIX or SMT_MATCH_POSTFIX");
  }
  rule.pattern = std::string(*pattern);
  return rule;
}

Status parse_type(const json::object& object, std::string_view where, CompactionOperation& out) {
  const json::string* type = string_at(object, "type");
  if (type != nullptr && *type == "COT_DELETE") {
    out.type = CompactionOperation::Type::kDelete;
    return Status::Ok();
  }
  if (type == nullptr || *type != "COT_UPDATE_TTL") {
    return bad(where, "an operation's type is COT_DELETE or COT_UPDATE_TTL");
  }
  auto params = params_of(object, where);
  if (!params) return params.error();
  const json::string* how = string_at(*params, "type");
  std::string_view name = how == nullptr ? std::string_view() : std::string_view(*how);
  if (name == "UTOT_FROM_NOW") {
    out.type = CompactionOperation::Type::kTtlFromNow;
  } else if (name == "UTOT_FROM_CURRENT") {
    out.type = CompactionOperation::Type::kTtlFromCurrent;
  } else if (name == "UTOT_TIMESTAMP") {
    out.type = CompactionOperation::Type::kTtlTimestamp;
  } else {
    name = {};
  }
  if (name.empty() || !unsigned_at(*params, "value", out.value)) {
    return bad(where,
               "the params of COT_UPDATE_TTL are {\"type\":…,\"value\":N}, the type being "
               "UTOT_FROM_NOW, UTOT_FROM_CURRENT or UTOT_TIMESTAMP");
  }
  return Status::Ok();
}

Result<CompactionOperation> parse_operation(const json::value& value, const std::string& where) {
  const json::object* object = value.if_object();
  if (object == nullptr)
    return bad(where, "an operation is {\"type\":…,\"params\":…,\"rules\":[…]}");
  CompactionOperation operation;
  if (Status s = parse_type(*object, where, operation); !s.ok()) return s;
  const json::value* rules = object->if_contains("rules");
  const json::array* list = rules == nullptr ? nullptr : rules->if_array();
  if (list == nullptr || list->empty() || list->size() > kMaxRules) {
    return bad(where, fmt::format("an operation has 1 to {} rules", kMaxRules));
  }
  for (size_t i = 0; i < list->size(); ++i) {
    auto rule = parse_rule((*list)[i], fmt::format("{}, rule {}", where, i + 1));
    if (!rule) return rule.error();
    operation.rules.push_back(std::move(*rule));
  }
  return operation;
}

}  // namespace

Result<CompactionRules> parse_compaction_rules(std::string_view text) {
  CompactionRules out;
  if (text.empty()) return out;
  boost::system::error_code error;
  json::value parsed = json::parse(text, error);
  const json::object* object = error ? nullptr : parsed.if_object();
  const json::value* ops = object == nullptr ? nullptr : object->if_contains("ops");
  const json::array* list = ops == nullptr ? nullptr : ops->if_array();
  if (list == nullptr || list->size() > kMaxOperations) {
    return bad(
        "the rules",
        fmt::format("JSON of the form {{\"ops\":[…]}} with at most {} operations", kMaxOperations));
  }
  for (size_t i = 0; i < list->size(); ++i) {
    auto operation = parse_operation((*list)[i], fmt::format("operation {}", i + 1));
    if (!operation) return operation.error();
    out.push_back(std::move(*operation));
  }
  return out;
}

}  // namespace markab
