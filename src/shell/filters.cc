#include "shell/filters.h"

#include "base/escape.h"
#include "shell/session.h"

namespace markab::shell {

Error read_filter(const Arguments& arguments, char type, char pattern, Filter& filter,
                  std::string& text) {
  if (arguments.has(type) != arguments.has(pattern)) {
    return {ErrorCode::kInvalidArgument, fmt::format("-{} and -{} go together", type, pattern)};
  }
  if (!arguments.has(type)) return {};
  std::string name = arguments.text(type);
  if (name == "anywhere") {
    filter = Filter::kAnywhere;
  } else if (name == "prefix") {
    filter = Filter::kPrefix;
  } else if (name == "postfix") {
    filter = Filter::kPostfix;
  } else {
    return {ErrorCode::kInvalidArgument,
            fmt::format("-{} '{}'; allowed are anywhere, prefix and postfix", type, name)};
  }
  auto raw = unescape(arguments.text(pattern));
  if (!raw) return to_error(raw.error());
  text = std::move(*raw);
  return {};
}

bool passes(Filter filter, std::string_view pattern, std::string_view value) {
  switch (filter) {
    case Filter::kAnywhere:
      return value.find(pattern) != std::string_view::npos;
    case Filter::kPrefix:
      return value.starts_with(pattern);
    case Filter::kPostfix:
      return value.ends_with(pattern);
    case Filter::kNone:
      break;
  }
  return true;
}

}  // namespace markab::shell
