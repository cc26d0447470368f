#pragma once
// Which environments a table takes and with which values (03 §14), and how tables may be named (03
// §4.2). Pure.

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace markab::meta {

struct EnvRule {
  std::string_view key;
  std::string_view type;        // "int64", "string", "bool"
  std::string_view limitation;  // what values are accepted, for people
  std::string_view sample;
};
// In the order of the specification; for /envs/list.
const std::vector<EnvRule>& env_rules();

// kInvalidParameters with a sentence that says what is accepted; also for keys that are not
// settable.
Status check_env(std::string_view key, std::string_view value);
// At creation keys without a rule are kept as they are.
Status check_env_at_creation(std::string_view key, std::string_view value);

// 1 to 128 of [0-9A-Za-z_.:].
Status check_table_name(std::string_view name);

}  // namespace markab::meta
