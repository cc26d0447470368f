#pragma once
// The configuration of a program: an INI file (grammar: docs/formats.md, "Configuration"; spec 07
// §9.1) checked against a list of declared keys. An unknown key or a value out of range is an error
// that names file, line, key and what is allowed. Read at start by one thread; later reads from any
// thread; set() is for keys declared mutable.
//
// We parse INI ourselves: the grammar that published Pegasus files use (caret escapes, comments
// anywhere, duplicate sections refused, line numbers in errors) is not one that inih can be
// configured to.

#include <cstdint>
#include <map>
#include <memory>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace markab {

// One declared key.
struct ConfigKey {
  enum class Type { kBool, kInt, kDouble, kString };
  std::string section;
  std::string name;
  Type type = Type::kString;
  std::string default_value;
  int64_t min = INT64_MIN;  // for kInt
  int64_t max = INT64_MAX;
  std::vector<std::string> allowed;  // for kString: the legal words; empty: any text
  bool is_mutable = false;           // may be changed at run time (HTTP /updateConfig)
  std::string description;           // one sentence with the unit

  static ConfigKey boolean(std::string section, std::string name, bool value,
                           std::string description);
  static ConfigKey integer(std::string section, std::string name, int64_t value, int64_t min,
                           int64_t max, std::string description);
  static ConfigKey text(std::string section, std::string name, std::string value,
                        std::string description);
  static ConfigKey word(std::string section, std::string name, std::string value,
                        std::vector<std::string> allowed, std::string description);
  ConfigKey mutable_at_run_time() &&;
};

class Config {
 public:
  struct Entry {
    ConfigKey key;
    std::string value;
    std::string origin;  // "markab.ini:12", "--set", "default"
  };

  // Keys accepted without being declared, with a warning each: those that a Pegasus file may carry
  // and that mean nothing here. A section name ending in '*' accepts every key of sections with
  // that prefix.
  using Ignored = std::vector<std::pair<std::string, std::string>>;

  // `overrides` are "section.key=value" (the last dot before '=' separates). Errors:
  // kInvalidParameters with
  // "<file>:<line>: ...", kFileOperationFailed when the file cannot be read. An empty path means
  // defaults only.
  static Result<std::shared_ptr<Config>> load(const std::string& path, std::vector<ConfigKey> keys,
                                              const std::vector<std::string>& overrides = {},
                                              const Ignored& ignored = {});
  static Result<std::shared_ptr<Config>> parse(std::string_view text, const std::string& file,
                                               std::vector<ConfigKey> keys,
                                               const std::vector<std::string>& overrides = {},
                                               const Ignored& ignored = {});

  // Asking for an undeclared key, or for another type, is a bug (asserted).
  bool get_bool(std::string_view section, std::string_view name) const;
  int64_t get_int(std::string_view section, std::string_view name) const;
  std::string get_string(std::string_view section, std::string_view name) const;
  // A string split at commas, trimmed, empty items dropped.
  std::vector<std::string> get_list(std::string_view section, std::string_view name) const;
  // All keys of a section that was declared open ("" as the key's name): for [pegasus.clusters] and
  // its like.
  std::map<std::string, std::string> get_open_section(std::string_view section) const;

  // Changes a mutable key. Errors: kObjectNotFound, kInvalidParameters (with the allowed range),
  // kOperationDisabled (not mutable).
  Status set(std::string_view name, std::string_view value);
  // All entries in declaration order.
  std::vector<Entry> entries() const;

 private:
  const Entry& find(std::string_view section, std::string_view name, ConfigKey::Type type) const;
  Status assign(Entry& entry, std::string_view value, const std::string& origin) const;

  mutable std::shared_mutex mutex_;
  std::vector<Entry> entries_;
  std::map<std::string, std::map<std::string, std::string>, std::less<>> open_sections_;
};

}  // namespace markab
