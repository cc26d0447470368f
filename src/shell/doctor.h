#pragma once
// `markab-shell doctor --config FILE`: checks what a daemon with this configuration needs, a line
// per check, with the cause and the remedy where something is wrong (spec 05 §10.2). Runs beside
// live daemons or without any. One thread; each check is bounded in time.

#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "base/config.h"
#include "security/options.h"
#include "zk/principal.h"

namespace markab::shell {

enum class Verdict { kOk, kWarning, kFailed };

struct Finding {
  Verdict verdict = Verdict::kOk;
  std::string check;   // "keytab"
  std::string what;    // what was found
  std::string remedy;  // "" when all is well
};

// Collects findings and prints each at once.
class Doctor {
 public:
  Doctor(const Config& config, bool json, std::ostream& out)
      : config(config), json_(json), out_(out) {}

  void ok(const std::string& check, const std::string& what);
  void warn(const std::string& check, const std::string& what, const std::string& remedy);
  void fail(const std::string& check, const std::string& what, const std::string& remedy);
  const std::vector<Finding>& findings() const { return findings_; }
  // 0: all well, 1: warnings, 2: failures.
  int exit_code() const;

  const Config& config;

 private:
  void add(Finding finding);
  const bool json_;
  std::ostream& out_;
  std::vector<Finding> findings_;
};

// The families of checks.
void check_kerberos(Doctor& doctor, const security::SecurityOptions& options);
void check_access(Doctor& doctor, const security::SecurityOptions& options);
// Logs in to each server; `names` as they were before they were pinned.
void check_zookeeper(Doctor& doctor, const security::SecurityOptions& options,
                     const zk::NameRules& names);
void check_names(Doctor& doctor);
void check_ports(Doctor& doctor);
void check_directories(Doctor& doctor);
void check_limits(Doctor& doctor);

int run_doctor(const std::string& config_file, bool json, std::ostream& out);

}  // namespace markab::shell
