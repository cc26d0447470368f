#include "security/sasl.h"

#include <fmt/format.h>
#include <gssapi/gssapi_ext.h>
#include <krb5.h>
#include <sasl/sasl.h>

#include <algorithm>
#include <cstring>
#include <mutex>

#include "base/log.h"
#include "security/kerberos.h"

namespace markab::security {

namespace {

constexpr const char* kMechanism = "GSSAPI";
constexpr const char* kApplication = "pegasus";  // names a Cyrus configuration file, if any

using AnyCallback = int (*)();
template <typename F>
AnyCallback any(F* f) {
  return reinterpret_cast<AnyCallback>(reinterpret_cast<void (*)()>(f));
}

// ---- The library

int get_path(void* context, const char** path) {
  *path = static_cast<const char*>(context);
  return SASL_OK;
}

// No look-up of users in files of their own, no mechanism but ours.
int get_option(void*, const char*, const char* option, const char** result, unsigned* length) {
  const char* value = std::strcmp(option, "auxprop_plugin") == 0 ? "none"
                      : std::strcmp(option, "mech_list") == 0    ? kMechanism
                                                                 : nullptr;
  if (value == nullptr) return SASL_FAIL;
  *result = value;
  if (length != nullptr) *length = static_cast<unsigned>(std::strlen(value));
  return SASL_OK;
}

int log_of_library(void*, int level, const char* message) {
  if (level <= SASL_LOG_WARN && level != SASL_LOG_NONE) MARKAB_DEBUG("sasl: {}", message);
  return SASL_OK;
}

void* new_mutex() { return new std::mutex; }
int lock_mutex(void* mutex) {
  static_cast<std::mutex*>(mutex)->lock();
  return SASL_OK;
}
int unlock_mutex(void* mutex) {
  static_cast<std::mutex*>(mutex)->unlock();
  return SASL_OK;
}
void free_mutex(void* mutex) { delete static_cast<std::mutex*>(mutex); }

bool has_gssapi(const char** list) {
  for (; list != nullptr && *list != nullptr; ++list) {
    if (std::strcmp(*list, kMechanism) == 0) return true;
  }
  return false;
}

Status load_once(const std::string& plugin_path) {
  // Both outlive every use: the library keeps pointers to them until the process ends.
  static const std::string path = plugin_path;
  static const sasl_callback_t kPathCallbacks[] = {
      {SASL_CB_GETPATH, any(&get_path), const_cast<char*>(path.c_str())},
      {SASL_CB_GETOPT, any(&get_option), nullptr},
      {SASL_CB_LOG, any(&log_of_library), nullptr},
      {SASL_CB_LIST_END, nullptr, nullptr}};
  const sasl_callback_t* callbacks = path.empty() ? kPathCallbacks + 1 : kPathCallbacks;
  sasl_set_mutex(&new_mutex, &lock_mutex, &unlock_mutex, &free_mutex);
  int rc = sasl_client_init(callbacks);
  if (rc == SASL_OK) rc = sasl_server_init(callbacks, kApplication);
  if (rc != SASL_OK) {
    return {Errc::kSaslInternal, fmt::format("the SASL library cannot be used: {}",
                                             sasl_errstring(rc, nullptr, nullptr))};
  }
  if (!has_gssapi(sasl_global_listmech())) {
    return {Errc::kSaslInternal, fmt::format("no_mechanism: no GSSAPI plugin in {}; {}",
                                             path.empty() ? "the SASL library's own folder" : path,
                                             reason_remedy(Reason::kNoMechanism))};
  }
  return {};
}

// ---- One connection

// What the library said last about this connection: sasl_errdetail() alone hides the cause
// (05 §10.1).
struct Words {
  std::string last;
};

int log_of_connection(void* context, int level, const char* message) {
  if (level != SASL_LOG_NONE && level <= SASL_LOG_WARN)
    static_cast<Words*>(context)->last = message == nullptr ? "" : message;
  return SASL_OK;
}

// The client asks for no identity of its own (05 §2.5).
int no_name(void*, int, const char** result, unsigned* length) {
  *result = "";
  if (length != nullptr) *length = 0;
  return SASL_OK;
}

class GssCredential {
 public:
  GssCredential() = default;
  ~GssCredential() {
    OM_uint32 minor;
    if (handle_ != GSS_C_NO_CREDENTIAL) gss_release_cred(&minor, &handle_);
  }
  GssCredential(const GssCredential&) = delete;
  GssCredential& operator=(const GssCredential&) = delete;

  // False with the cause.
  bool acquire(gss_cred_usage_t usage, std::vector<gss_key_value_element_desc> places,
               const std::string& service, std::string& error) {
    OM_uint32 minor = 0;
    gss_name_t name = GSS_C_NO_NAME;
    if (!service.empty()) {
      gss_buffer_desc text{service.size(), const_cast<char*>(service.data())};
      OM_uint32 major = gss_import_name(&minor, &text, GSS_C_NT_HOSTBASED_SERVICE, &name);
      if (GSS_ERROR(major)) return refuse(major, minor, error);
    }
    static gss_OID_desc krb5{9, const_cast<char*>("\x2a\x86\x48\x86\xf7\x12\x01\x02\x02")};
    gss_OID_set_desc mechanisms{1, &krb5};
    gss_key_value_set_desc store{static_cast<OM_uint32>(places.size()), places.data()};
    OM_uint32 major = gss_acquire_cred_from(&minor, name, GSS_C_INDEFINITE, &mechanisms, usage,
                                            &store, &handle_, nullptr, nullptr);
    bool good = !GSS_ERROR(major) || refuse(major, minor, error);
    OM_uint32 ignored;
    if (name != GSS_C_NO_NAME) gss_release_name(&ignored, &name);
    return good;
  }
  gss_cred_id_t get() const { return handle_; }

 private:
  static bool refuse(OM_uint32 major, OM_uint32 minor, std::string& error) {
    error = minor != 0 ? text_of(minor, GSS_C_MECH_CODE) : text_of(major, GSS_C_GSS_CODE);
    return false;
  }
  static std::string text_of(OM_uint32 code, int type) {
    OM_uint32 minor;
    OM_uint32 more = 0;
    gss_buffer_desc text{0, nullptr};
    if (GSS_ERROR(gss_display_status(&minor, code, type, GSS_C_NO_OID, &more, &text)))
      return fmt::format("GSSAPI error {}", code);
    std::string out(static_cast<const char*>(text.value), text.length);
    gss_release_buffer(&minor, &text);
    return out;
  }
  gss_cred_id_t handle_ = GSS_C_NO_CREDENTIAL;
};

class SaslConnection : public Mechanism {
 public:
  ~SaslConnection() override {
    if (connection_ != nullptr) sasl_dispose(&connection_);
  }

 protected:
  StepResult refuse(Failure failure) {
    StepResult out;
    out.failure = std::move(failure);
    return out;
  }
  StepResult outcome(int rc, const char* token, unsigned length) {
    if (rc != SASL_OK && rc != SASL_CONTINUE) return refuse(failure_of_library(rc));
    StepResult out;
    out.outcome = rc == SASL_OK ? StepResult::Outcome::kDone : StepResult::Outcome::kContinue;
    if (token != nullptr) out.token.assign(token, length);
    return out;
  }
  Failure failure_of_library(int rc) {
    std::string said =
        connection_ == nullptr ? sasl_errstring(rc, nullptr, nullptr) : sasl_errdetail(connection_);
    // The log callback knows the minor code, the detail often only the call's name.
    if (!words_.last.empty() && classify(said) == Reason::kMechanismRefused) {
      said = classify(words_.last) != Reason::kMechanismRefused
                 ? words_.last
                 : fmt::format("{} ({})", said, words_.last);
    }
    return security::failure_of(std::move(said));
  }
  // Authentication only: SSF 0 on both ends (05 §2.2).
  bool restrict() {
    sasl_security_properties_t properties{};
    properties.max_ssf = 0;
    return sasl_setprop(connection_, SASL_SEC_PROPS, &properties) == SASL_OK;
  }

  Words words_;
  GssCredential credential_;
  sasl_conn_t* connection_ = nullptr;
};

class SaslServer final : public SaslConnection {
 public:
  SaslServer(std::shared_ptr<const SaslOptions> options, std::string default_realm)
      : held_(std::move(options)), options_(*held_), default_realm_(std::move(default_realm)) {}

  int open() {
    callbacks_[0] = {SASL_CB_LOG, any(&log_of_connection), &words_};
    callbacks_[1] = {SASL_CB_PROXY_POLICY, any(&may_proxy), this};
    callbacks_[2] = {SASL_CB_LIST_END, nullptr, nullptr};
    int rc = sasl_server_new(options_.service_name.c_str(), options_.service_fqdn.c_str(), nullptr,
                             nullptr, nullptr, callbacks_, 0, &connection_);
    return rc != SASL_OK ? rc : restrict() ? SASL_OK : SASL_FAIL;
  }
  Failure failure(int rc) { return failure_of_library(rc); }

  StepResult start(std::string_view token) override {
    std::vector<gss_key_value_element_desc> places{{"rcache", "none:"}};
    if (!options_.keytab.empty()) places.push_back({"keytab", options_.keytab.c_str()});
    std::string error;
    std::string service = options_.service_name + "@" + options_.service_fqdn;
    if (!credential_.acquire(GSS_C_ACCEPT, std::move(places), service, error))
      return refuse(security::failure_of(std::move(error)));
    sasl_setprop(connection_, SASL_GSS_CREDS, credential_.get());
    const char* out = nullptr;
    unsigned length = 0;
    int rc = sasl_server_start(connection_, kMechanism, token.data() ? token.data() : "",
                               static_cast<unsigned>(token.size()), &out, &length);
    return finish(outcome(rc, out, length));
  }
  StepResult step(std::string_view token) override {
    const char* out = nullptr;
    unsigned length = 0;
    int rc = sasl_server_step(connection_, token.data() ? token.data() : "",
                              static_cast<unsigned>(token.size()), &out, &length);
    return finish(outcome(rc, out, length));
  }

 private:
  static int may_proxy(sasl_conn_t* connection, void* context, const char* requested,
                       unsigned requested_length, const char* authenticated,
                       unsigned authenticated_length, const char*, unsigned, propctx*) {
    auto& self = *static_cast<SaslServer*>(context);
    std::string who(authenticated, authenticated_length);
    std::string realm = realm_of(who);
    if (realm.empty()) realm = self.default_realm_;
    std::string full = realm_of(who).empty() ? who + "@" + realm : who;
    if (may_act_as({requested, requested_length}, who, realm, local_name(full))) return SASL_OK;
    sasl_seterror(connection, 0, "Requested identity not authenticated identity");
    return SASL_NOAUTHZ;
  }

  StepResult finish(StepResult result) {
    if (result.outcome != StepResult::Outcome::kDone) return result;
    const void* authenticated = nullptr;
    const void* user = nullptr;
    if (sasl_getprop(connection_, SASL_AUTHUSER, &authenticated) != SASL_OK ||
        sasl_getprop(connection_, SASL_USERNAME, &user) != SASL_OK || authenticated == nullptr ||
        user == nullptr) {
      return refuse({Reason::kMechanismRefused, "the mechanism names no user"});
    }
    Identity& identity = result.identity;
    identity.principal = static_cast<const char*>(authenticated);
    std::string realm = realm_of(identity.principal);
    if (realm.empty()) {
      realm = default_realm_;
      identity.principal += "@" + realm;
    }
    const auto& accepted = options_.accepted_realms;
    bool is_ours = accepted.empty()
                       ? realm == default_realm_
                       : std::find(accepted.begin(), accepted.end(), realm) != accepted.end();
    if (!is_ours) {
      return refuse(
          {Reason::kRealmNotAccepted, fmt::format("{} is of realm {}", identity.principal, realm)});
    }
    identity.user = short_name(static_cast<const char*>(user));
    if (identity.user.empty())
      return refuse({Reason::kMechanismRefused, "the mechanism names an empty user"});
    return result;
  }

  const std::shared_ptr<const SaslOptions> held_;
  const SaslOptions& options_;
  const std::string default_realm_;
  sasl_callback_t callbacks_[3];
};

class SaslClient final : public SaslConnection {
 public:
  explicit SaslClient(std::shared_ptr<const SaslOptions> options)
      : held_(std::move(options)), options_(*held_) {}

  int open() {
    callbacks_[0] = {SASL_CB_LOG, any(&log_of_connection), &words_};
    callbacks_[1] = {SASL_CB_USER, any(&no_name), nullptr};
    callbacks_[2] = {SASL_CB_AUTHNAME, any(&no_name), nullptr};
    callbacks_[3] = {SASL_CB_LIST_END, nullptr, nullptr};
    int rc = sasl_client_new(options_.service_name.c_str(), options_.service_fqdn.c_str(), nullptr,
                             nullptr, callbacks_, 0, &connection_);
    return rc != SASL_OK ? rc : restrict() ? SASL_OK : SASL_FAIL;
  }
  Failure failure(int rc) { return failure_of_library(rc); }

  StepResult start(std::string_view) override {
    if (options_.tickets != nullptr) {
      Failure none;
      ticket_ = options_.tickets->current(none);
      if (ticket_ == nullptr) return refuse(std::move(none));
      std::string error;
      if (!credential_.acquire(GSS_C_INITIATE, {{"ccache", ticket_->cache_name.c_str()}}, "",
                               error))
        return refuse(security::failure_of(std::move(error)));
      sasl_setprop(connection_, SASL_GSS_CREDS, credential_.get());
    }
    const char* out = nullptr;
    unsigned length = 0;
    const char* chosen = nullptr;
    int rc = sasl_client_start(connection_, kMechanism, nullptr, &out, &length, &chosen);
    return outcome(rc, out, length);
  }
  StepResult step(std::string_view token) override {
    const char* out = nullptr;
    unsigned length = 0;
    // 05 §2.2: an empty token is a token; the pointer must not be null.
    int rc = sasl_client_step(connection_, token.data() ? token.data() : "",
                              static_cast<unsigned>(token.size()), nullptr, &out, &length);
    return outcome(rc, out, length);
  }

 private:
  const std::shared_ptr<const SaslOptions> held_;
  const SaslOptions& options_;
  std::shared_ptr<const Ticket> ticket_;  // keeps its cache
  sasl_callback_t callbacks_[4];
};

class SaslMechanisms final : public Mechanisms {
 public:
  SaslMechanisms(SaslOptions options, std::string default_realm)
      : options_(std::make_shared<const SaslOptions>(std::move(options))),
        default_realm_(std::move(default_realm)) {}

  std::vector<std::string> names() const override { return {kMechanism}; }
  std::unique_ptr<Mechanism> new_server(const std::string& name, HostPort,
                                        Failure& failure) override {
    return open(std::make_unique<SaslServer>(options_, default_realm_), name, failure);
  }
  std::unique_ptr<Mechanism> new_client(const std::string& name, HostPort,
                                        Failure& failure) override {
    return open(std::make_unique<SaslClient>(options_), name, failure);
  }

 private:
  template <typename T>
  static std::unique_ptr<Mechanism> open(std::unique_ptr<T> made, const std::string& name,
                                         Failure& failure) {
    if (name != kMechanism) {
      failure = {Reason::kNoMechanism, fmt::format("'{}' is not known here", name)};
      return nullptr;
    }
    if (int rc = made->open(); rc != SASL_OK) {
      failure = made->failure(rc);
      return nullptr;
    }
    return made;
  }

  const std::shared_ptr<const SaslOptions> options_;
  const std::string default_realm_;
};

}  // namespace

Status load_sasl(const std::string& plugin_path) {
  static const Status loaded = load_once(plugin_path);
  return loaded;
}

Result<std::unique_ptr<Mechanisms>> make_sasl_mechanisms(SaslOptions options) {
  if (options.service_name.empty() || options.service_fqdn.empty()) {
    return Status(Errc::kInvalidParameters,
                  "[security] service_name and service_fqdn must be set, alike on all servers and "
                  "clients of the cluster");
  }
  if (Status status = load_sasl(options.plugin_path); !status.ok()) return status;
  std::string realm = default_realm();
  return std::unique_ptr<Mechanisms>(
      std::make_unique<SaslMechanisms>(std::move(options), std::move(realm)));
}

std::string short_name(std::string_view user) {
  user = user.substr(0, user.rfind('@'));
  return std::string(user.substr(0, user.find('/')));
}

std::string realm_of(std::string_view principal) {
  auto at = principal.rfind('@');
  return at == std::string_view::npos ? std::string() : std::string(principal.substr(at + 1));
}

bool may_act_as(std::string_view requested, std::string_view authenticated, std::string_view realm,
                std::string_view local) {
  if (requested.empty() || requested == authenticated) return true;
  if (!local.empty() && requested == local) return true;
  // "alice" for "alice@REALM" and the other way round.
  std::string with_realm = fmt::format("{}@{}", authenticated, realm);
  if (requested == with_realm) return true;
  return fmt::format("{}@{}", requested, realm) == authenticated;
}

}  // namespace markab::security
