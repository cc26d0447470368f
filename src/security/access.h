#pragma once
// Who may do what (spec 05 §7.1 to §7.3, without Ranger, whose place is beside these rules: it
// replaces them as a whole). Made at start, then read from any thread. Users are short names; a
// peer without a name is in no list.
//
//   class      which                                     who
//   open       what every client asks a meta server       everybody
//   data       reads and writes of rows                   the table's allowed_users, super users;
//                                                         everybody where the list is empty
//   internal   between our own daemons                    service users, super users
//   admin      all else                                   super users

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "rpc/task_code.h"

namespace markab::security {

enum class AccessClass : uint8_t { kOpen, kData, kInternal, kAdmin };
std::string_view access_class_name(AccessClass c);
// Of each task code, before [security] meta_acl_rpc_allow_list is looked at.
AccessClass access_class(rpc::TaskCode code);

using UserSet = std::set<std::string, std::less<>>;

// The table environment that names who may use a table; empty or absent: everybody.
inline constexpr std::string_view kAllowedUsersEnv = "replica_access_controller.allowed_users";
// "alice, bob" as a set.
UserSet parse_users(std::string_view text);

struct AccessOptions {
  bool enable_acl = false;
  bool enable_auth = false;
  UserSet super_users;
  UserSet service_users;
  // [security] meta_acl_rpc_allow_list; empty: the default open list.
  std::vector<std::string> open_codes;
};

class AccessRules {
 public:
  // Everything is allowed.
  AccessRules() = default;
  // Errors: kInvalidParameters, naming the unknown task code.
  static Result<AccessRules> make(AccessOptions options);

  bool enabled() const { return options_.enable_acl; }
  bool is_super(std::string_view user) const { return options_.super_users.contains(user); }
  bool is_service(std::string_view user) const { return options_.service_users.contains(user); }

  // Everything but data (which needs the table).
  bool allows(rpc::TaskCode code, std::string_view user) const;
  bool allows_data(const UserSet& allowed_users, std::string_view user) const;
  // Whether a relay may speak for others (05 §7.5): with authentication, only our own daemons.
  bool may_relay(std::string_view user) const {
    return !options_.enable_auth || is_service(user) || is_super(user);
  }

 private:
  AccessOptions options_;
  std::set<rpc::TaskCode> open_;
};

}  // namespace markab::security
