#include "base/config.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>
#include <mutex>
#include <set>
#include <sstream>

#include "base/assert.h"
#include "base/log.h"

namespace markab {
namespace {

std::string_view trim(std::string_view s) {
  auto blank = [](char c) { return c == ' ' || c == '\t' || c == '\r'; };
  while (!s.empty() && blank(s.front())) s.remove_prefix(1);
  while (!s.empty() && blank(s.back())) s.remove_suffix(1);
  return s;
}

// Cuts a comment ('#' or ';' anywhere unless a caret stands before it) and resolves the caret
// escapes.
std::string strip_comment(std::string_view line) {
  std::string out;
  for (size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '^' && i + 1 < line.size() && (line[i + 1] == '#' || line[i + 1] == ';')) {
      out += line[++i];
    } else if (line[i] == '#' || line[i] == ';') {
      break;
    } else {
      out += line[i];
    }
  }
  return out;
}

bool parse_int(std::string_view text, int64_t& out) {
  std::string copy(text);
  if (copy.empty()) return false;
  errno = 0;
  char* end = nullptr;
  out = std::strtoll(copy.c_str(), &end, 0);
  return errno == 0 && *end == '\0';
}

bool parse_bool(std::string_view text, bool& out) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  out = lower == "true";
  return lower == "true" || lower == "false";
}

std::string range_text(int64_t min, int64_t max) {
  if (min == INT64_MIN && max == INT64_MAX) return "any integer";
  if (max == INT64_MAX) return fmt::format("{} and more", min);
  if (min == INT64_MIN) return fmt::format("at most {}", max);
  return fmt::format("{} to {}", min, max);
}

// The number of single-character edits between two words, for "did you mean".
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      size_t next =
          std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = row[j];
      row[j] = next;
    }
  }
  return row[b.size()];
}

bool is_ignored(const Config::Ignored& ignored, std::string_view section, std::string_view name) {
  for (const auto& [s, n] : ignored) {
    if (!s.empty() && s.back() == '*' &&
        section.starts_with(std::string_view(s).substr(0, s.size() - 1)))
      return true;
    if (s == section && (n == name || n.empty())) return true;
  }
  return false;
}

}  // namespace

ConfigKey ConfigKey::boolean(std::string section, std::string name, bool value,
                             std::string description) {
  ConfigKey k;
  k.section = std::move(section);
  k.name = std::move(name);
  k.type = Type::kBool;
  k.default_value = value ? "true" : "false";
  k.description = std::move(description);
  return k;
}

ConfigKey ConfigKey::integer(std::string section, std::string name, int64_t value, int64_t min,
                             int64_t max, std::string description) {
  ConfigKey k;
  k.section = std::move(section);
  k.name = std::move(name);
  k.type = Type::kInt;
  k.default_value = std::to_string(value);
  k.min = min;
  k.max = max;
  k.description = std::move(description);
  return k;
}

ConfigKey ConfigKey::text(std::string section, std::string name, std::string value,
                          std::string description) {
  ConfigKey k;
  k.section = std::move(section);
  k.name = std::move(name);
  k.default_value = std::move(value);
  k.description = std::move(description);
  return k;
}

ConfigKey ConfigKey::word(std::string section, std::string name, std::string value,
                          std::vector<std::string> allowed, std::string description) {
  ConfigKey k = text(std::move(section), std::move(name), std::move(value), std::move(description));
  k.allowed = std::move(allowed);
  return k;
}

ConfigKey ConfigKey::mutable_at_run_time() && {
  is_mutable = true;
  return std::move(*this);
}

Result<std::shared_ptr<Config>> Config::load(const std::string& path, std::vector<ConfigKey> keys,
                                             const std::vector<std::string>& overrides,
                                             const Ignored& ignored) {
  if (path.empty()) return parse("", "", std::move(keys), overrides, ignored);
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    return Status(
        Errc::kFileOperationFailed,
        fmt::format("the configuration file {} cannot be read: {}", path, std::strerror(errno)));
  }
  std::stringstream text;
  text << in.rdbuf();
  return parse(text.str(), path, std::move(keys), overrides, ignored);
}

Result<std::shared_ptr<Config>> Config::parse(std::string_view text, const std::string& file,
                                              std::vector<ConfigKey> keys,
                                              const std::vector<std::string>& overrides,
                                              const Ignored& ignored) {
  auto config = std::make_shared<Config>();
  std::set<std::string, std::less<>> known_sections;
  for (auto& key : keys) {
    known_sections.insert(key.section);
    if (key.name.empty()) {
      config->open_sections_[key.section];
      continue;
    }
    Entry entry{key, key.default_value, "default"};
    config->entries_.push_back(std::move(entry));
  }

  // One assignment, wherever it came from.
  auto apply = [&](const std::string& section, const std::string& name, const std::string& value,
                   const std::string& origin) -> Status {
    auto open = config->open_sections_.find(section);
    for (auto& entry : config->entries_) {
      if (entry.key.section == section && entry.key.name == name)
        return config->assign(entry, value, origin);
    }
    if (open != config->open_sections_.end()) {
      open->second[name] = value;
      return {};
    }
    if (is_ignored(ignored, section, name)) {
      MARKAB_WARN("{}: [{}] {} has no meaning in Markab and is ignored", origin, section, name);
      return {};
    }
    std::string hint;
    size_t best = 4;
    for (const auto& entry : config->entries_) {
      size_t d = edit_distance(entry.key.name, name) + (entry.key.section == section ? 0 : 1);
      if (d < best) {
        best = d;
        hint = fmt::format("; did you mean [{}] {}?", entry.key.section, entry.key.name);
      }
    }
    if (!known_sections.contains(section)) {
      return {Errc::kInvalidParameters,
              fmt::format("{}: there is no section [{}] (key {}){}", origin, section, name, hint)};
    }
    return {Errc::kInvalidParameters,
            fmt::format("{}: [{}] has no key {}{}", origin, section, name, hint)};
  };

  std::string section;
  std::set<std::string> seen_sections;
  std::set<std::pair<std::string, std::string>> seen_keys;
  size_t line_number = 0;
  while (!text.empty()) {
    ++line_number;
    auto end = text.find('\n');
    auto raw = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    auto stripped = strip_comment(raw);
    auto line = trim(stripped);
    auto origin = fmt::format("{}:{}", file, line_number);
    if (line.empty()) continue;
    if (line.front() == '[') {
      if (line.back() != ']' || line.find('=') != std::string_view::npos) {
        return Status(Errc::kInvalidParameters,
                      fmt::format("{}: '{}' is not a section; expected [name]", origin, line));
      }
      section = trim(line.substr(1, line.size() - 2));
      if (section.empty())
        return Status(Errc::kInvalidParameters, fmt::format("{}: a section needs a name", origin));
      if (!seen_sections.insert(section).second) {
        return Status(Errc::kInvalidParameters,
                      fmt::format("{}: section [{}] is defined twice; join them", origin, section));
      }
      continue;
    }
    auto equals = line.find('=');
    std::string name(trim(line.substr(0, equals)));
    std::string value(equals == std::string_view::npos ? std::string_view()
                                                       : trim(line.substr(equals + 1)));
    if (name.empty())
      return Status(Errc::kInvalidParameters,
                    fmt::format("{}: a key is missing before '='", origin));
    if (section.empty()) {
      return Status(Errc::kInvalidParameters,
                    fmt::format("{}: key {} stands before any [section]", origin, name));
    }
    if (!seen_keys.emplace(section, name).second) {
      MARKAB_WARN("{}: [{}] {} is given twice; the first value holds", origin, section, name);
      continue;
    }
    if (auto s = apply(section, name, value, origin); !s.ok()) return s;
  }
  for (const auto& override_text : overrides) {
    auto equals = override_text.find('=');
    auto dot = override_text.rfind('.', equals);
    if (equals == std::string::npos || dot == std::string::npos || dot == 0 || dot + 1 >= equals) {
      return Status(
          Errc::kInvalidParameters,
          fmt::format("--set {}: expected section.key=value, as in replication.log_sync=none",
                      override_text));
    }
    if (auto s =
            apply(override_text.substr(0, dot), override_text.substr(dot + 1, equals - dot - 1),
                  override_text.substr(equals + 1), "--set");
        !s.ok()) {
      return s;
    }
  }
  return config;
}

Status Config::assign(Entry& entry, std::string_view value, const std::string& origin) const {
  auto refuse = [&](const std::string& allowed) {
    return Status(Errc::kInvalidParameters,
                  fmt::format("{}: [{}] {} = {} is not possible; allowed: {}", origin,
                              entry.key.section, entry.key.name, value, allowed));
  };
  switch (entry.key.type) {
    case ConfigKey::Type::kBool: {
      bool parsed = false;
      if (!parse_bool(value, parsed)) return refuse("true, false");
      entry.value = parsed ? "true" : "false";
      break;
    }
    case ConfigKey::Type::kInt: {
      int64_t parsed = 0;
      if (!parse_int(value, parsed) || parsed < entry.key.min || parsed > entry.key.max) {
        return refuse(range_text(entry.key.min, entry.key.max));
      }
      entry.value = std::to_string(parsed);
      break;
    }
    case ConfigKey::Type::kDouble: {
      char* end = nullptr;
      std::string copy(value);
      std::strtod(copy.c_str(), &end);
      if (copy.empty() || *end != '\0') return refuse("a number");
      entry.value = copy;
      break;
    }
    case ConfigKey::Type::kString:
      if (!entry.key.allowed.empty() &&
          std::find(entry.key.allowed.begin(), entry.key.allowed.end(), value) ==
              entry.key.allowed.end()) {
        return refuse(fmt::format("{}", fmt::join(entry.key.allowed, ", ")));
      }
      entry.value = value;
      break;
  }
  entry.origin = origin;
  return {};
}

const Config::Entry& Config::find(std::string_view section, std::string_view name,
                                  ConfigKey::Type type) const {
  for (const auto& entry : entries_) {
    if (entry.key.name == name && entry.key.section == section) {
      MARKAB_ASSERT(entry.key.type == type,
                    "a configuration key is read as another type than declared", name);
      return entry;
    }
  }
  MARKAB_ASSERT(false, "an undeclared configuration key is read", section, name);
  __builtin_unreachable();
}

bool Config::get_bool(std::string_view section, std::string_view name) const {
  std::shared_lock lock(mutex_);
  return find(section, name, ConfigKey::Type::kBool).value == "true";
}

int64_t Config::get_int(std::string_view section, std::string_view name) const {
  std::shared_lock lock(mutex_);
  int64_t out = 0;
  bool parsed = parse_int(find(section, name, ConfigKey::Type::kInt).value, out);
  MARKAB_ASSERT(parsed, "a checked integer does not parse", section, name);
  return out;
}

std::string Config::get_string(std::string_view section, std::string_view name) const {
  std::shared_lock lock(mutex_);
  return find(section, name, ConfigKey::Type::kString).value;
}

std::vector<std::string> Config::get_list(std::string_view section, std::string_view name) const {
  std::vector<std::string> out;
  std::string whole = get_string(section, name);
  std::string_view rest = whole;
  while (!rest.empty()) {
    auto comma = rest.find(',');
    auto item = trim(rest.substr(0, comma));
    if (!item.empty()) out.emplace_back(item);
    rest = comma == std::string_view::npos ? std::string_view() : rest.substr(comma + 1);
  }
  return out;
}

std::map<std::string, std::string> Config::get_open_section(std::string_view section) const {
  std::shared_lock lock(mutex_);
  auto found = open_sections_.find(section);
  return found == open_sections_.end() ? std::map<std::string, std::string>() : found->second;
}

Status Config::set(std::string_view name, std::string_view value) {
  std::unique_lock lock(mutex_);
  for (auto& entry : entries_) {
    if (entry.key.name != name) continue;
    if (!entry.key.is_mutable) {
      return {Errc::kOperationDisabled,
              fmt::format("{} is not mutable at run time; change it in {} and restart", name,
                          entry.origin == "default" ? "the configuration" : entry.origin)};
    }
    return assign(entry, value, "run time");
  }
  return {Errc::kObjectNotFound, fmt::format("{} is not found", name)};
}

std::vector<Config::Entry> Config::entries() const {
  std::shared_lock lock(mutex_);
  return entries_;
}

}  // namespace markab
