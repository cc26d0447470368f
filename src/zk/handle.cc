#include "zk/handle.h"

#include <fmt/format.h>
#include <sasl/sasl.h>
#include <zookeeper/zookeeper.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <deque>
#include <map>

#include "base/assert.h"
#include "base/log.h"

namespace markab::zk {

namespace {

// How old an address may be when a connection is made anew.
constexpr int kLookUpAgainMs = 5000;

// DIGEST-MD5 at ZooKeeper knows no other server name (05 §6.5).
constexpr const char* kDigestHost = "zk-sasl-md5";

// The C client's log has no context. Its lines about failed connections name the server's address:
// they are kept by it.
struct ConnectionLog {
  struct Entry {
    uint64_t failures = 0;
    std::string last;
  };
  std::mutex mutex;
  std::map<std::string, Entry> by_address;
};
ConnectionLog& connection_log() {
  static ConnectionLog log;
  return log;
}

// "...: Socket [127.0.0.1:2181] zk retcode=-4, errno=111(Connection refused): server refused ..."
void take_log_line(const char* line) {
  std::string text(line);
  auto socket = text.find("Socket ");
  auto code = text.find(" zk retcode=");
  if (socket == std::string::npos || code == std::string::npos || code < socket) {
    MARKAB_DEBUG("zookeeper client: {}", text);
    return;
  }
  std::string address = text.substr(socket + 7, code - socket - 7);
  auto open = text.find("errno=", code);
  auto paren = text.find('(', open);
  auto close = text.find("): ", paren);
  std::string what = text.substr(code);
  if (close != std::string::npos) {
    std::string name = text.substr(paren + 1, close - paren - 1);
    std::string words = text.substr(close + 3);
    what = name == "Success" ? words : fmt::format("{} ({})", name, words);
  }
  ConnectionLog& log = connection_log();
  std::lock_guard lock(log.mutex);
  ConnectionLog::Entry& entry = log.by_address[address];
  ++entry.failures;
  entry.last = what;
}

// Cyrus SASL keeps callbacks of all kinds in one type.
template <typename F>
int (*as_sasl_procedure(F* function))(void) {
  return reinterpret_cast<int (*)(void)>(reinterpret_cast<void (*)(void)>(function));
}

void init_sasl(const std::string& plugin_path) {
  static std::once_flag once;
  static std::string path;
  std::call_once(once, [&] {
    path = plugin_path;
    static auto get_path = [](void*, const char** out) {
      *out = path.c_str();
      return SASL_OK;
    };
    static int (*get_path_c)(void*, const char**) = get_path;
    static const sasl_callback_t with_path[] = {
        {SASL_CB_GETPATH, as_sasl_procedure(get_path_c), nullptr},
        {SASL_CB_LIST_END, nullptr, nullptr}};
    // When the program did it already, this one counts for nothing: its plugins are there.
    sasl_client_init(path.empty() ? nullptr : with_path);
  });
}

HandleState state_of(int state) {
  if (state == ZOO_CONNECTED_STATE) return HandleState::kConnected;
  if (state == ZOO_ASSOCIATING_STATE) return HandleState::kLoggingIn;
  if (state == ZOO_EXPIRED_SESSION_STATE) return HandleState::kExpired;
  if (state == ZOO_AUTH_FAILED_STATE) return HandleState::kLoginFailed;
  return HandleState::kConnecting;
}

Node node_of(std::string data, const Stat& stat) {
  return {std::move(data), stat.version, stat.ephemeralOwner, stat.numChildren};
}

}  // namespace

Status to_status(int rc, const std::string& path) {
  auto status = [&](Errc code, std::string_view what) {
    return Status(code, fmt::format("ZooKeeper, {}: {}", path, what));
  };
  switch (rc) {
    case ZOK:
      return {};
    case ZNONODE:
      return status(Errc::kPathNotFound, "there is no such node");
    case ZNODEEXISTS:
      return status(Errc::kPathAlreadyExist, "the node is there already");
    case ZBADVERSION:
      return status(Errc::kInvalidVersion, "somebody else changed the node");
    case ZNOTEMPTY:
      return status(Errc::kDirNotEmpty, "the node has children");
    case ZNOAUTH:
      return status(Errc::kAclDeny,
                    "the node's access list does not let this principal do that; see [zookeeper] "
                    "acl_mode and who created it");
    case ZAUTHFAILED:
    case -124:  // ZSESSIONCLOSEDREQUIRESASLAUTH, which this version has no name for
      return status(Errc::kUnauthenticated,
                    "the server demands a login; set [zookeeper] sasl_mechanisms_type = GSSAPI");
    case ZSESSIONEXPIRED:
      return status(Errc::kExpired, "the session has expired");
    case ZBADARGUMENTS:
    case ZINVALIDACL:
      return status(Errc::kInvalidParameters, zerror(rc));
    case ZCONNECTIONLOSS:
    case ZOPERATIONTIMEOUT:
    case ZCLOSING:
    case ZINVALIDSTATE:
    case ZSESSIONMOVED:
      return status(Errc::kTimeout, "the connection broke; the outcome is unknown");
    default:
      return status(Errc::kZookeeperOperation, zerror(rc));
  }
}

struct Handle::Watch {
  std::shared_ptr<Shared> shared;
  Task task;
};

// Reached from the C client's threads; outlives the handle while tasks for the shard are queued.
struct Handle::Shared : std::enable_shared_from_this<Handle::Shared> {
  io::Shard* shard = nullptr;
  std::shared_ptr<Events> on_event;
  std::atomic<bool> connected{false};  // the last event said so
  std::atomic<uint64_t> breaks{0};
  std::atomic<bool> ended{false};
  mutable std::mutex mutex;  // the members below
  std::unordered_set<Call*> calls;
  std::unordered_set<Watch*> watches;
  std::vector<Task> due;  // for the shard, which was told of the first
  std::string sasl_words;
  std::string user, realm;  // DIGEST-MD5
  std::unique_ptr<char[]> secret;
  std::string address;  // as the C client writes it: "127.0.0.1:2181"
  std::array<sasl_callback_t, 6> callbacks{};

  void tell() {
    hand_over([events = on_event] { (*events)(); });
  }
  void forget(Watch* watch);
  void hand_over(Task task);
  void deliver();
  static void watch(zhandle_t*, int type, int, const char*, void* context);
  static void fire(zhandle_t*, int type, int, const char*, void* context);
  static int log(void* context, int level, const char* message);
  static int simple(void* context, int id, const char** result, unsigned* length);
  static int get_realm(void* context, int id, const char** available, const char** result);
  static int get_secret(sasl_conn_t*, void* context, int id, sasl_secret_t** secret);
  void fill_callbacks(const Options& options);
};

struct Handle::Call {
  std::shared_ptr<Shared> shared;
  std::string path;
  Callback<Result<Node>> on_node;
  Callback<Result<std::vector<std::string>>> on_names;
  Callback<Result<std::string>> on_name;
  Callback<Outcome> on_outcome;
  Callback<Result<bool>> on_bool;
  Callback<Status> on_status;
  // multi: must outlive the request
  std::vector<Op> ops;
  std::vector<zoo_op_t> c_ops;
  std::vector<zoo_op_result_t> results;
  const AclList* acl = nullptr;
  Watch* watch = nullptr;
};

struct Handle::AclList {
  explicit AclList(const Acl& wanted) {
    auto add = [&](const char* scheme, const std::string& id) {
      texts.push_back(scheme);
      texts.push_back(id);
    };
    switch (wanted.mode) {
      case Acl::Mode::kOpen:
        add("world", "anyone");
        break;
      case Acl::Mode::kCreator:
        add("auth", "");
        break;
      case Acl::Mode::kIds:
        for (const std::string& id : wanted.ids) add("sasl", id);
        break;
    }
    for (size_t i = 0; i < texts.size(); i += 2)
      entries.push_back({ZOO_PERM_ALL, {texts[i].data(), texts[i + 1].data()}});
    vector = {static_cast<int32_t>(entries.size()), entries.data()};
    mode = wanted.mode;
  }
  // Whether a node's list says the same. `auth` is stored as the creator's own ids.
  bool same(const ACL_vector& found) const {
    if (mode == Acl::Mode::kCreator) {
      return found.count > 0 && std::all_of(found.data, found.data + found.count, [](const ACL& a) {
               return std::strcmp(a.id.scheme, "sasl") == 0;
             });
    }
    if (found.count != vector.count) return false;
    for (int32_t i = 0; i < found.count; ++i) {
      const ACL& a = found.data[i];
      bool wanted = std::any_of(entries.begin(), entries.end(), [&](const ACL& b) {
        return a.perms == b.perms && std::strcmp(a.id.scheme, b.id.scheme) == 0 &&
               std::strcmp(a.id.id, b.id.id) == 0;
      });
      if (!wanted) return false;
    }
    return true;
  }
  std::deque<std::string> texts;
  std::vector<ACL> entries;
  ACL_vector vector{};
  Acl::Mode mode = Acl::Mode::kOpen;
};

// ---- what the C client's threads call ----------------------------------------------------------

void Handle::Shared::watch(zhandle_t* zh, int type, int state, const char*, void*) {
  // Watches of nodes have callbacks of their own.
  if (type != ZOO_SESSION_EVENT) return;
  auto* shared = static_cast<Shared*>(const_cast<void*>(zoo_get_context(zh)));
  if (shared == nullptr) return;
  shared->connected = state == ZOO_CONNECTED_STATE;
  if (state != ZOO_CONNECTED_STATE) ++shared->breaks;
  shared->tell();
}

int Handle::Shared::log(void* context, int level, const char* message) {
  auto* shared = static_cast<Shared*>(context);
  if (level > SASL_LOG_WARN || message == nullptr) return SASL_OK;
  std::lock_guard lock(shared->mutex);
  shared->sasl_words = message;
  return SASL_OK;
}

int Handle::Shared::simple(void* context, int, const char** result, unsigned* length) {
  auto* shared = static_cast<Shared*>(context);
  *result = shared->user.c_str();
  if (length != nullptr) *length = static_cast<unsigned>(shared->user.size());
  return SASL_OK;
}

int Handle::Shared::get_realm(void* context, int, const char**, const char** result) {
  *result = static_cast<Shared*>(context)->realm.c_str();
  return SASL_OK;
}

int Handle::Shared::get_secret(sasl_conn_t*, void* context, int, sasl_secret_t** secret) {
  *secret = reinterpret_cast<sasl_secret_t*>(static_cast<Shared*>(context)->secret.get());
  return SASL_OK;
}

void Handle::Shared::fill_callbacks(const Options& options) {
  size_t n = 0;
  auto add = [&](unsigned long id, auto function) {
    callbacks[n++] = {id, as_sasl_procedure(function), this};
  };
  add(SASL_CB_LOG, &Shared::log);
  if (options.sasl == Sasl::kDigest) {
    user = options.user;
    realm = options.realm;
    secret.reset(new char[sizeof(sasl_secret_t) + options.password.size() + 1]());
    auto* value = reinterpret_cast<sasl_secret_t*>(secret.get());
    value->len = options.password.size();
    std::memcpy(value->data, options.password.data(), options.password.size());
    add(SASL_CB_USER, &Shared::simple);
    add(SASL_CB_AUTHNAME, &Shared::simple);
    add(SASL_CB_GETREALM, &Shared::get_realm);
    add(SASL_CB_PASS, &Shared::get_secret);
  }
  callbacks[n] = {SASL_CB_LIST_END, nullptr, nullptr};
}

// Answers, watches and events reach the shard in the order in which the C client's thread tells
// them: a watch before what was read after it. Those that come faster than the shard takes them
// share one of its turns.
void Handle::Shared::hand_over(Task task) {
  bool first = false;
  {
    std::lock_guard lock(mutex);
    first = due.empty();
    due.push_back(std::move(task));
  }
  if (first) shard->post([self = shared_from_this()] { self->deliver(); });
}

// On the shard. A task may end the handle: the rest is dropped then.
void Handle::Shared::deliver() {
  std::vector<Task> taken;
  {
    std::lock_guard lock(mutex);
    taken.swap(due);
  }
  for (Task& task : taken) {
    if (ended.load(std::memory_order_relaxed)) return;
    task();
  }
}

void Handle::finish(Call* call, Task task) {
  auto shared = call->shared;
  {
    std::lock_guard lock(shared->mutex);
    shared->calls.erase(call);
  }
  shared->hand_over(std::move(task));
  delete call;
}

// ---- life --------------------------------------------------------------------------------------

Handle::Handle(io::Shard& shard, const Options& options, Target target,
               std::shared_ptr<Events> on_event)
    : shard_(shard),
      target_(std::move(target)),
      shared_(std::make_shared<Shared>()),
      acl_(std::make_unique<AclList>(options.acl)) {
  shared_->shard = &shard;
  shared_->on_event = std::move(on_event);
  shared_->fill_callbacks(options);
}

std::unique_ptr<Handle> Handle::open(io::Shard& shard, const Options& options, Target target,
                                     const SessionId& session, std::shared_ptr<Events> on_event,
                                     std::string& why) {
  static std::once_flag quiet;
  std::call_once(quiet, [] { zoo_set_debug_level(ZOO_LOG_LEVEL_ERROR); });
  std::unique_ptr<Handle> handle(
      new Handle(shard, options, std::move(target), std::move(on_event)));
  Shared* shared = handle->shared_.get();
  clientid_t id{};
  id.client_id = session.id;
  std::memcpy(id.passwd, session.password.data(), sizeof(id.passwd));
  zoo_sasl_params_t sasl{};
  if (options.sasl != Sasl::kNone) {
    init_sasl(options.plugin_path);
    sasl.service = options.service.c_str();
    sasl.host = options.sasl == Sasl::kDigest ? kDigestHost : handle->target_.sasl_host.c_str();
    sasl.mechlist = options.sasl == Sasl::kDigest ? "DIGEST-MD5" : "GSSAPI";
    sasl.callbacks = shared->callbacks.data();
    MARKAB_ASSERT(*sasl.host != '\0', "a login without the server's name",
                  handle->target_.server.endpoint());
  }
  int timeout = static_cast<int>(
      std::chrono::duration_cast<std::chrono::milliseconds>(options.session_timeout).count());
  std::string endpoint = handle->target_.server.endpoint();
  errno = 0;
  handle->zh_ = zookeeper_init_sasl(endpoint.c_str(), &Shared::watch, timeout,
                                    session.id == 0 ? nullptr : &id, shared, 0, take_log_line,
                                    options.sasl == Sasl::kNone ? nullptr : &sasl);
  if (handle->zh_ != nullptr) {
    // Without this the client looks the name up before every wait for its socket: reading 100,000
    // nodes took half as long again.
    zoo_set_servers_resolution_delay(handle->zh_, kLookUpAgainMs);
    return handle;
  }
  why = fmt::format("{} cannot be resolved or reached ({})", endpoint,
                    errno == 0 ? "no address is known" : std::strerror(errno));
  return nullptr;
}

Handle::~Handle() {
  shared_->ended = true;
  if (zh_ == nullptr) return;
  zookeeper_close(zh_);
  // Both threads are joined: what they have not called back will not be.
  std::unordered_set<Call*> calls;
  std::unordered_set<Watch*> watches;
  {
    std::lock_guard lock(shared_->mutex);
    calls.swap(shared_->calls);
    watches.swap(shared_->watches);
  }
  for (Call* call : calls) delete call;
  for (Watch* watch : watches) delete watch;
}

// The client tells of a loss before its own state shows it.
HandleState Handle::state() const {
  HandleState state = state_of(zoo_state(zh_));
  bool early = state == HandleState::kConnected && !shared_->connected;
  return early ? HandleState::kConnecting : state;
}

SessionId Handle::session() const {
  SessionId out;
  const clientid_t* id = zoo_client_id(zh_);
  out.id = id->client_id;
  std::memcpy(out.password.data(), id->passwd, sizeof(id->passwd));
  return out;
}

Duration Handle::timeout() const { return std::chrono::milliseconds(zoo_recv_timeout(zh_)); }

std::string Handle::last_words() const {
  {
    std::lock_guard lock(shared_->mutex);
    if (!shared_->sasl_words.empty()) return shared_->sasl_words;
  }
  const char* address = zoo_get_current_server(zh_);
  ConnectionLog& log = connection_log();
  std::lock_guard lock(log.mutex);
  auto it = log.by_address.find(address == nullptr ? "" : address);
  return it == log.by_address.end() ? std::string() : it->second.last;
}

uint64_t Handle::breaks() const { return shared_->breaks; }

uint64_t Handle::refusals() const {
  const char* address = zoo_get_current_server(zh_);
  ConnectionLog& log = connection_log();
  std::lock_guard lock(log.mutex);
  auto it = log.by_address.find(address == nullptr ? "" : address);
  return it == log.by_address.end() ? 0 : it->second.failures;
}

// ---- requests ----------------------------------------------------------------------------------

Handle::Call* Handle::make_call(std::string path) {
  auto* call = new Call;
  call->shared = shared_;
  call->path = std::move(path);
  call->acl = acl_.get();
  std::lock_guard lock(shared_->mutex);
  shared_->calls.insert(call);
  return call;
}

namespace {

// The C client takes `const void*` and gives it back.
template <typename T>
T* own(const void* data) {
  return static_cast<T*>(const_cast<void*>(data));
}

}  // namespace

void Handle::Shared::fire(zhandle_t*, int type, int, const char*, void* context) {
  // A session event leaves the watch in place.
  if (type == ZOO_SESSION_EVENT) return;
  auto* watch = static_cast<Watch*>(context);
  auto shared = watch->shared;
  Task task = std::move(watch->task);
  shared->forget(watch);
  shared->hand_over(std::move(task));
}

void Handle::Shared::forget(Watch* watch) {
  if (watch == nullptr) return;
  std::lock_guard lock(mutex);
  watches.erase(watch);
  delete watch;
}

void Handle::get(const std::string& path, Callback<Result<Node>> done) {
  Call* call = make_call(path);
  call->on_node = std::move(done);
  auto on_data = [](int rc, const char* value, int length, const Stat* stat, const void* data) {
    Call* c = own<Call>(data);
    Result<Node> result = to_status(rc, c->path);
    if (rc == ZOK) result = node_of(std::string(value, length > 0 ? length : 0), *stat);
    finish(c, [f = std::move(c->on_node), r = std::move(result)]() mutable { f(std::move(r)); });
  };
  int rc = zoo_aget(zh_, call->path.c_str(), 0, on_data, call);
  if (rc != ZOK) on_data(rc, nullptr, 0, nullptr, call);
}

void Handle::children(const std::string& path, Task on_change,
                      Callback<Result<std::vector<std::string>>> done) {
  Call* call = make_call(path);
  call->on_names = std::move(done);
  auto on_names = [](int rc, const String_vector* names, const void* data) {
    Call* c = own<Call>(data);
    Result<std::vector<std::string>> result = to_status(rc, c->path);
    if (rc == ZOK) result = std::vector<std::string>(names->data, names->data + names->count);
    if (rc != ZOK) c->shared->forget(c->watch);  // the C client sets it only when all is well
    finish(c, [f = std::move(c->on_names), r = std::move(result)]() mutable { f(std::move(r)); });
  };
  if (on_change) {
    call->watch = new Watch{shared_, std::move(on_change)};
    std::lock_guard lock(shared_->mutex);
    shared_->watches.insert(call->watch);
  }
  int rc =
      zoo_awget_children(zh_, call->path.c_str(), call->watch == nullptr ? nullptr : &Shared::fire,
                         call->watch, on_names, call);
  if (rc != ZOK) on_names(rc, nullptr, call);
}

void Handle::create(const std::string& path, const std::string& data, NodeKind kind,
                    Callback<Result<std::string>> done) {
  Call* call = make_call(path);
  call->on_name = std::move(done);
  auto on_name = [](int rc, const char* name, const void* context) {
    Call* c = own<Call>(context);
    Result<std::string> result = to_status(rc, c->path);
    if (rc == ZOK) result = std::string(name);
    finish(c, [f = std::move(c->on_name), r = std::move(result)]() mutable { f(std::move(r)); });
  };
  int flags = kind == NodeKind::kPersistent  ? 0
              : kind == NodeKind::kEphemeral ? ZOO_EPHEMERAL
                                             : ZOO_EPHEMERAL | ZOO_SEQUENCE;
  int rc = zoo_acreate(zh_, call->path.c_str(), data.data(), static_cast<int>(data.size()),
                       &acl_->vector, flags, on_name, call);
  if (rc != ZOK) on_name(rc, nullptr, call);
}

void Handle::multi(std::vector<Op> ops, Callback<Outcome> done) {
  MARKAB_ASSERT(!ops.empty(), "a transaction of nothing");
  Call* call = make_call(ops.back().path);
  call->on_outcome = std::move(done);
  call->ops = std::move(ops);
  call->results.resize(call->ops.size());
  call->c_ops.resize(call->ops.size());
  for (size_t i = 0; i < call->ops.size(); ++i) {
    const Op& op = call->ops[i];
    zoo_op_t* out = &call->c_ops[i];
    int length = static_cast<int>(op.data.size());
    switch (op.kind) {
      case Op::Kind::kCreate:
        zoo_create_op_init(out, op.path.c_str(), op.data.data(), length, &acl_->vector, 0, nullptr,
                           0);
        break;
      case Op::Kind::kSet:
        zoo_set_op_init(out, op.path.c_str(), op.data.data(), length, op.version, nullptr);
        break;
      case Op::Kind::kErase:
        zoo_delete_op_init(out, op.path.c_str(), op.version);
        break;
      case Op::Kind::kCheck:
        zoo_check_op_init(out, op.path.c_str(), op.version);
        break;
    }
  }
  auto on_done = [](int rc, const void* data) {
    Call* c = own<Call>(data);
    Outcome outcome;
    outcome.status = to_status(rc, c->path);
    // The operation at fault carries the error; those around it say that they were rolled back.
    for (size_t i = 0; rc != ZOK && i < c->results.size(); ++i) {
      if (c->results[i].err != rc) continue;
      outcome.failed_op = i;
      outcome.status = to_status(rc, c->ops[i].path);
      break;
    }
    finish(c,
           [f = std::move(c->on_outcome), o = std::move(outcome)]() mutable { f(std::move(o)); });
  };
  int rc = zoo_amulti(zh_, static_cast<int>(call->c_ops.size()), call->c_ops.data(),
                      call->results.data(), on_done, call);
  if (rc != ZOK) on_done(rc, call);
}

void Handle::get_acl(const std::string& path, Callback<Result<bool>> is_as_wanted) {
  Call* call = make_call(path);
  call->on_bool = std::move(is_as_wanted);
  auto on_acl = [](int rc, ACL_vector* acl, Stat*, const void* data) {
    Call* c = own<Call>(data);
    Result<bool> result = to_status(rc, c->path);
    if (rc == ZOK) result = c->acl->same(*acl);
    finish(c, [f = std::move(c->on_bool), r = std::move(result)]() mutable { f(std::move(r)); });
  };
  int rc = zoo_aget_acl(zh_, call->path.c_str(), on_acl, call);
  if (rc != ZOK) on_acl(rc, nullptr, nullptr, call);
}

void Handle::acl_text(const std::string& path, Callback<Result<std::string>> done) {
  Call* call = make_call(path);
  call->on_name = std::move(done);
  auto on_acl = [](int rc, ACL_vector* acl, Stat*, const void* data) {
    Call* c = own<Call>(data);
    Result<std::string> result = to_status(rc, c->path);
    if (rc == ZOK) {
      std::string text;
      for (int32_t i = 0; i < acl->count; ++i) {
        const Id& id = acl->data[i].id;
        text += fmt::format("{}{}:{}", i == 0 ? "" : ",", id.scheme, id.id);
      }
      result = std::move(text);
    }
    finish(c, [f = std::move(c->on_name), r = std::move(result)]() mutable { f(std::move(r)); });
  };
  int rc = zoo_aget_acl(zh_, call->path.c_str(), on_acl, call);
  if (rc != ZOK) on_acl(rc, nullptr, nullptr, call);
}

void Handle::set_acl(const std::string& path, Callback<Status> done) {
  Call* call = make_call(path);
  call->on_status = std::move(done);
  auto on_done = [](int rc, const void* data) {
    Call* c = own<Call>(data);
    Status status = to_status(rc, c->path);
    finish(c, [f = std::move(c->on_status), s = std::move(status)]() mutable { f(std::move(s)); });
  };
  int rc = zoo_aset_acl(zh_, call->path.c_str(), -1, &acl_->vector, on_done, call);
  if (rc != ZOK) on_done(rc, call);
}

}  // namespace markab::zk
