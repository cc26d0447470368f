// The doctor's report, and the checks of Kerberos and access rules.

#include "shell/doctor.h"

#include <fmt/format.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "security/kerberos.h"
#include "security/sasl.h"
#include "security/service.h"
#include "zk/options.h"

namespace markab::shell {

namespace {

using Clock = std::chrono::steady_clock;
constexpr int64_t kSkewLimit = 60;  // seconds; Kerberos itself refuses beyond 300
constexpr int64_t kSlowKdcMs = 2000;

int64_t ms_since(Clock::time_point begin) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begin).count();
}

ConfigKey text_key(const char* section, const char* name, const char* value = "") {
  return ConfigKey::text(section, name, value, "");
}

// What the doctor reads of a daemon's file, whichever daemon it is for.
std::vector<ConfigKey> doctor_keys() {
  auto keys = security::security_config_keys();
  keys.push_back(text_key("core", "data_dir", "."));
  keys.push_back(text_key("network", "address", "127.0.0.1"));
  keys.push_back(text_key("network", "port"));
  keys.push_back(text_key("meta_server", "server_list"));
  keys.push_back(text_key("meta_server", "state_dir"));
  keys.push_back(text_key("replication", "data_dirs"));
  keys.push_back(text_key("meta_server", "cluster_root"));
  for (auto& key : zk::config_keys()) keys.push_back(std::move(key));
  return keys;
}

}  // namespace

// ---- The report

void Doctor::ok(const std::string& check, const std::string& what) {
  add({Verdict::kOk, check, what, ""});
}
void Doctor::warn(const std::string& check, const std::string& what, const std::string& remedy) {
  add({Verdict::kWarning, check, what, remedy});
}
void Doctor::fail(const std::string& check, const std::string& what, const std::string& remedy) {
  add({Verdict::kFailed, check, what, remedy});
}

namespace {

void print(const Finding& finding, bool json, std::ostream& out) {
  constexpr const char* kWords[] = {"ok", "warn", "fail"};
  const char* word = kWords[static_cast<size_t>(finding.verdict)];
  if (json) {
    boost::json::object line{{"result", word}, {"check", finding.check}, {"found", finding.what}};
    if (!finding.remedy.empty()) line["remedy"] = finding.remedy;
    out << boost::json::serialize(line) << std::endl;
  } else {
    out << fmt::format("{:<4}  {:<22} {}", word, finding.check, finding.what);
    if (!finding.remedy.empty()) out << ". Remedy: " << finding.remedy;
    out << std::endl;
  }
}

}  // namespace

void Doctor::add(Finding finding) {
  print(finding, json_, out_);
  findings_.push_back(std::move(finding));
}

int Doctor::exit_code() const {
  int worst = 0;
  for (const auto& finding : findings_) worst = std::max(worst, static_cast<int>(finding.verdict));
  return worst;
}

// ---- Kerberos

namespace {

bool keytab_is_good(Doctor& doctor, const security::SecurityOptions& options) {
  security::KeytabContent content;
  security::Failure failure;
  if (!security::read_keytab(options.keytab, content, failure)) {
    doctor.fail("keytab", failure.detail, std::string(security::reason_remedy(failure.reason)));
    return false;
  }
  doctor.ok("keytab",
            fmt::format("{} holds keys of {} principals", options.keytab, content.newest.size()));
  bool all = true;
  auto need = [&](const std::string& name, const char* check, security::Reason reason) {
    std::string full = security::with_realm(name);
    if (auto found = content.newest.find(full); found != content.newest.end()) {
      doctor.ok(check, fmt::format("{} is in the keytab, key version {}", full, found->second));
    } else {
      all = false;
      doctor.fail(check, fmt::format("{} is not in {}", full, options.keytab),
                  std::string(security::reason_remedy(reason)));
    }
  };
  need(options.principal, "keytab principal", security::Reason::kPrincipalNotInKeytab);
  if (options.enable_auth) {
    need(options.service_name + "/" + options.service_fqdn, "keytab service",
         security::Reason::kNoKeyForService);
  }
  return all;
}

void check_service_ticket(Doctor& doctor, const security::SecurityOptions& options,
                          const security::Ticket& ticket) {
  std::string listed = options.service_name + "/" + options.service_fqdn;
  security::Failure failure;
  std::string asked =
      security::service_principal(options.service_name, options.service_fqdn, failure);
  // Without a rule for the host's realm the KDC of the user is asked, and none is named yet.
  if (!asked.empty() && asked.back() == '@') asked.pop_back();
  if (asked != listed && asked != security::with_realm(listed)) {
    doctor.warn("service name",
                fmt::format("{} is asked for as {}, by krb5.conf's rules of canonical names",
                            listed, asked),
                "set dns_canonicalize_hostname = false in krb5.conf, on clients too");
  }
  for (const auto& [service, why] : ticket.missing) {
    if (service.rfind(options.service_name + "/", 0) != 0) continue;
    doctor.fail("service ticket", fmt::format("no ticket for {}: {}", service, why.detail),
                std::string(security::reason_remedy(why.reason)));
    return;
  }
  doctor.ok("service ticket", fmt::format("the KDC gave one for {}", asked));
}

// Client and server of this configuration against each other, in this process.
void negotiate_with_self(Doctor& doctor, const security::SecurityOptions& options,
                         std::shared_ptr<const security::Ticket> ticket) {
  struct Given final : security::TicketSource {
    std::shared_ptr<const security::Ticket> ticket;
    std::shared_ptr<const security::Ticket> current(security::Failure&) override { return ticket; }
    void suspect() override {}
  };
  auto source = std::make_shared<Given>();
  source->ticket = std::move(ticket);
  security::SaslOptions sasl;
  sasl.service_name = options.service_name;
  sasl.service_fqdn = options.service_fqdn;
  sasl.plugin_path = options.plugin_path;
  sasl.keytab = options.keytab;
  sasl.tickets = source;
  auto made = security::make_sasl_mechanisms(std::move(sasl));
  if (!made) {
    doctor.fail("SASL", made.error().message(), "");
    return;
  }
  security::Failure failure;
  auto client = (*made)->new_client("GSSAPI", {}, failure);
  auto server = (*made)->new_server("GSSAPI", {}, failure);
  if (client == nullptr || server == nullptr) {
    doctor.fail("self-negotiation", failure.detail,
                std::string(security::reason_remedy(failure.reason)));
    return;
  }
  using Outcome = security::StepResult::Outcome;
  auto from_client = client->start({});
  auto from_server = security::StepResult();
  bool first = true;
  constexpr int kMost = 16;
  for (int i = 0; i < kMost && from_client.outcome != Outcome::kFailed; ++i) {
    from_server = first ? server->start(from_client.token) : server->step(from_client.token);
    first = false;
    if (from_server.outcome != Outcome::kContinue) break;
    from_client = client->step(from_server.token);
  }
  if (from_client.outcome == Outcome::kFailed || from_server.outcome != Outcome::kDone) {
    const auto& why =
        from_client.outcome == Outcome::kFailed ? from_client.failure : from_server.failure;
    doctor.fail("self-negotiation", why.detail, std::string(security::reason_remedy(why.reason)));
    return;
  }
  doctor.ok("self-negotiation",
            fmt::format("this configuration authenticates itself as {}, user {}",
                        from_server.identity.principal, from_server.identity.user));
}

}  // namespace

void check_kerberos(Doctor& doctor, const security::SecurityOptions& options) {
  if (!options.enable_auth && !options.zookeeper_kerberos) {
    doctor.ok("authentication", "off: [security] enable_auth = false");
    return;
  }
  for (const auto& problem : security::problems_of(options))
    doctor.fail("configuration", problem, "see there");
  std::string realm = security::default_realm();
  if (realm.empty()) {
    doctor.fail("krb5.conf", "it names no default_realm, or cannot be read",
                "correct [security] krb5_config or /etc/krb5.conf");
  } else {
    doctor.ok("krb5.conf",
              fmt::format("{}, realm {}", options.config.empty() ? "the system's" : options.config,
                          realm));
  }
  if (options.keytab.empty()) {
    doctor.warn("keytab",
                "none is configured: the ticket cache of the user is used, and nobody "
                "renews it",
                "set [security] krb5_keytab and krb5_principal");
    return;
  }
  if (!keytab_is_good(doctor, options)) return;
  security::LoginRequest request{options.keytab, options.principal, {}, ""};
  if (options.enable_auth)
    request.services.push_back(options.service_name + "@" + options.service_fqdn);
  auto begin = Clock::now();
  security::Failure failure;
  auto ticket = security::login(request, failure);
  int64_t took = ms_since(begin);
  if (ticket == nullptr) {
    doctor.fail("KDC", fmt::format("{} (after {} ms)", failure.detail, took),
                std::string(security::reason_remedy(failure.reason)));
    return;
  }
  std::string speed = fmt::format("it answered in {} ms", took);
  if (took > kSlowKdcMs) {
    doctor.warn("KDC", speed, "name a nearer KDC first in krb5.conf: peers wait for it");
  } else {
    doctor.ok("KDC", speed);
  }
  doctor.ok("ticket", fmt::format("{} got one for {} s", ticket->principal,
                                  ticket->expires_s - ticket->issued_s));
  int64_t now = std::chrono::duration_cast<std::chrono::seconds>(
                    std::chrono::system_clock::now().time_since_epoch())
                    .count();
  int64_t skew = now - ticket->issued_s;
  std::string apart = fmt::format("this machine's clock and the KDC's are {} s apart", skew);
  if (skew > kSkewLimit || skew < -kSkewLimit) {
    doctor.warn("clock", apart, std::string(security::reason_remedy(security::Reason::kClockSkew)));
  } else {
    doctor.ok("clock", apart);
  }
  if (!options.enable_auth) return;
  check_service_ticket(doctor, options, *ticket);
  negotiate_with_self(doctor, options, ticket);
}

void check_access(Doctor& doctor, const security::SecurityOptions& options) {
  if (!options.gate.trusted.empty() && !options.gate.trusted.only_loopback()) {
    doctor.warn("trusted_networks", "peers beyond this machine pass without authentication",
                "keep [security] trusted_networks to loopback or a bastion");
  }
  if (options.enable_auth && !options.mandatory_auth) {
    doctor.warn("mandatory_auth", "peers without authentication are served as nobody",
                "set [security] mandatory_auth = true once all clients authenticate");
  }
  if (options.access.enable_acl && options.access.super_users.empty()) {
    doctor.warn("super_users", "enable_acl is on and nobody may administrate",
                "name at least one user in [security] super_users");
  }
}

namespace {

// Names of services are taken as they are given, while this lives.
class PinnedNames {
 public:
  explicit PinnedNames(bool wanted) {
    if (!wanted) return;
    std::error_code ignored;
    path_ = (std::filesystem::temp_directory_path(ignored) / "markab-doctor-XXXXXX").string();
    int fd = ::mkstemp(path_.data());
    if (fd < 0) {
      why_ = fmt::format("{} cannot be written: {}", path_, std::strerror(errno));
      path_.clear();
      return;
    }
    ::close(fd);
    if (auto before = zk::pin_service_names(path_)) {
      before_ = *before;
    } else {
      why_ = before.error().message();
    }
  }
  ~PinnedNames() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }
  PinnedNames(const PinnedNames&) = delete;
  PinnedNames& operator=(const PinnedNames&) = delete;
  const zk::NameRules& before() const { return before_; }
  const std::string& why() const { return why_; }  // "" unless it did not work

 private:
  std::string path_;
  std::string why_;
  zk::NameRules before_;
};

}  // namespace

int run_doctor(const std::string& config_file, bool json, std::ostream& out) {
  auto config = Config::load(config_file, doctor_keys(), {}, {{"*", ""}});
  if (!config) {
    print({Verdict::kFailed, "configuration", config.error().message(), "correct that file"}, json,
          out);
    return static_cast<int>(Verdict::kFailed);
  }
  Doctor doctor(**config, json, out);
  auto options = security::read_security_options(**config);
  if (!options) {
    doctor.fail("configuration", options.error().message(), "correct that key");
    return doctor.exit_code();
  }
  bool for_zookeeper = (*config)->get_string("zookeeper", "sasl_mechanisms_type") == "GSSAPI";
  security::prepare_process(*options);
  // As the meta server, before Kerberos is used for the first time: names as they are listed.
  PinnedNames names(for_zookeeper);
  if (!names.why().empty())
    doctor.warn("names of services", names.why(), "set TMPDIR to a folder that can be written");
  check_kerberos(doctor, *options);
  check_access(doctor, *options);
  check_zookeeper(doctor, *options, names.before());
  check_names(doctor);
  check_ports(doctor);
  check_directories(doctor);
  check_limits(doctor);
  return doctor.exit_code();
}

}  // namespace markab::shell
