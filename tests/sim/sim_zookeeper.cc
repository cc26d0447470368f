#include "sim/sim_zookeeper.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>

#include "base/assert.h"

namespace markab::sim {

namespace {

std::string parent_of(const std::string& path) {
  auto slash = path.rfind('/');
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string name_of(const std::string& path) { return path.substr(path.rfind('/') + 1); }

Status failure(Errc code, const std::string& path) {
  return Status(code, "simulated ZooKeeper, " + path);
}

}  // namespace

// One request: what is done at the server, and what the client then does on its shard.
struct SimZooKeeper::Request {
  Function<Task(Server&, const std::shared_ptr<Connection>&)> read;  // empty for a write
  Function<Task()> write;
};

// One connection of a client to a server, as both see it.
struct SimZooKeeper::Connection {
  Connection(SimRuntime& n, int s, size_t to) : node(n), shard(s), server(to) {}
  SimRuntime& node;
  const int shard;
  const size_t server;
  bool open = true;     // the client's end; false: given up
  bool broken = false;  // a message was lost: nothing passes after it
  std::shared_ptr<bool> cut;
  std::shared_ptr<Way> way;
  bool blocked(bool towards) const { return *cut || (*way && !(*way)(server, towards)); }
  int64_t session = 0;
  Task on_drop;  // the client's; runs on its shard
  std::shared_ptr<Callback<const std::shared_ptr<Connection>&, int64_t>> on_open;  // so does this
  std::deque<Request> queue;
  bool serving = false;
  Instant arrived_until;
  Instant answered_until;
};

// ---- the tree ----------------------------------------------------------------------------------

void SimZooKeeper::Tree::apply(const Write& write) {
  for (const Change& change : write.changes) {
    switch (change.kind) {
      case Change::Kind::kCreate: {
        Entry entry;
        entry.node.data = change.data;
        entry.node.ephemeral_owner = change.owner;
        entries[change.path] = std::move(entry);
        Entry& parent = entries[parent_of(change.path)];
        parent.children.insert(name_of(change.path));
        ++parent.next_sequence;
        parent.node.children = static_cast<int32_t>(parent.children.size());
        break;
      }
      case Change::Kind::kSet: {
        Entry& entry = entries.at(change.path);
        entry.node.data = change.data;
        ++entry.node.version;
        break;
      }
      case Change::Kind::kErase: {
        entries.erase(change.path);
        Entry& parent = entries.at(parent_of(change.path));
        parent.children.erase(name_of(change.path));
        parent.node.children = static_cast<int32_t>(parent.children.size());
        break;
      }
    }
  }
  MARKAB_ASSERT(write.zxid == zxid + 1, "a write was left out", write.zxid, zxid);
  zxid = write.zxid;
}

// Whether the operations would succeed, one after the other, and what they change.
zk::Outcome SimZooKeeper::check(const std::vector<zk::Op>& ops, std::vector<Change>& changes) {
  struct State {
    bool exists = false;
    int32_t version = 0;
    int32_t children = 0;
  };
  std::map<std::string, State> seen;
  auto state = [&](const std::string& path) -> State& {
    auto [it, fresh] = seen.try_emplace(path);
    auto entry = head_.entries.find(path);
    if (fresh && entry != head_.entries.end()) {
      it->second = {true, entry->second.node.version,
                    static_cast<int32_t>(entry->second.children.size())};
    }
    return it->second;
  };
  for (size_t i = 0; i < ops.size(); ++i) {
    const zk::Op& op = ops[i];
    State& s = state(op.path);
    bool create = op.kind == zk::Op::Kind::kCreate;
    Errc error = create && s.exists                                      ? Errc::kPathAlreadyExist
                 : create && !state(parent_of(op.path)).exists           ? Errc::kPathNotFound
                 : !create && !s.exists                                  ? Errc::kPathNotFound
                 : !create && op.version >= 0 && op.version != s.version ? Errc::kInvalidVersion
                 : op.kind == zk::Op::Kind::kErase && s.children > 0     ? Errc::kDirNotEmpty
                                                                         : Errc::kOk;
    if (error != Errc::kOk) return {failure(error, op.path), i};
    switch (op.kind) {
      case zk::Op::Kind::kCreate:
        state(op.path) = {true, 0, 0};
        ++state(parent_of(op.path)).children;
        changes.push_back({Change::Kind::kCreate, op.path, op.data, 0});
        break;
      case zk::Op::Kind::kSet:
        ++s.version;
        changes.push_back({Change::Kind::kSet, op.path, op.data, 0});
        break;
      case zk::Op::Kind::kErase:
        s.exists = false;
        --state(parent_of(op.path)).children;
        changes.push_back({Change::Kind::kErase, op.path, "", 0});
        break;
      case zk::Op::Kind::kCheck:
        break;
    }
  }
  return {};
}

// The write has its place in the order; each server follows when it does.
int64_t SimZooKeeper::commit(std::vector<Change> changes) {
  auto write = std::make_shared<Write>(Write{head_.zxid + 1, std::move(changes)});
  head_.apply(*write);
  for (const Change& change : write->changes) {
    if (!on_change_) break;
    on_change_(change.path, change.kind == Change::Kind::kErase ? nullptr : &change.data);
  }
  for (size_t i = 0; i < servers_.size(); ++i) {
    Server& server = servers_[i];
    Duration lag(static_cast<int64_t>(
        world_.random().below(static_cast<uint64_t>(options_.max_lag.count()) + 1)));
    server.applied_until = std::max(server.applied_until, world_.now() + lag);
    world_.schedule(server.applied_until, [this, alive = alive_, i, write] {
      if (*alive) apply(i, *write);
    });
  }
  return write->zxid;
}

void SimZooKeeper::apply(size_t index, const Write& write) {
  Server& server = servers_[index];
  server.tree.apply(write);
  fire(server, write);
}

void SimZooKeeper::fire(Server& server, const Write& write) {
  for (const Change& change : write.changes) {
    if (change.kind == Change::Kind::kSet) continue;  // only names are watched
    for (const std::string& path : {parent_of(change.path), change.path}) {
      if (path == change.path && change.kind != Change::Kind::kErase) continue;
      auto it = server.watches.find(path);
      if (it == server.watches.end()) continue;
      auto watches = std::move(it->second);
      server.watches.erase(it);
      for (auto& [connection, task] : watches) {
        if (auto c = connection.lock()) answer(c, [task = task] { (*task)(); });
      }
    }
  }
}

std::map<std::string, std::string> SimZooKeeper::data() const {
  std::map<std::string, std::string> out;
  for (const auto& [path, entry] : head_.entries) out[path] = entry.node.data;
  return out;
}

// ---- sessions ----------------------------------------------------------------------------------

void SimZooKeeper::touch(int64_t id) {
  auto it = sessions_.find(id);
  if (it != sessions_.end() && up_) it->second.deadline = world_.now() + it->second.timeout;
}

void SimZooKeeper::watch_session(int64_t id) {
  auto it = sessions_.find(id);
  if (it == sessions_.end() || !up_) return;  // up() starts the watch again
  int64_t tick = options_.tick.count();
  int64_t due = it->second.deadline.ns;
  Instant at{(due + tick - 1) / tick * tick};
  world_.schedule(std::max(at, world_.now()), [this, alive = alive_, id] {
    if (!*alive || !up_) return;
    auto session = sessions_.find(id);
    if (session == sessions_.end()) return;
    if (session->second.deadline > world_.now()) return watch_session(id);
    ++expirations_;
    end_session(id);
  });
}

void SimZooKeeper::end_session(int64_t id) {
  auto it = sessions_.find(id);
  if (it == sessions_.end()) return;
  auto connection = it->second.connection.lock();
  sessions_.erase(it);
  std::vector<Change> changes;
  for (const auto& [path, entry] : head_.entries) {
    if (entry.node.ephemeral_owner == id) changes.push_back({Change::Kind::kErase, path, "", 0});
  }
  if (!changes.empty()) commit(std::move(changes));
  if (connection != nullptr) drop(connection);
}

// ---- connections -------------------------------------------------------------------------------

Duration SimZooKeeper::latency() {
  auto span = static_cast<uint64_t>((options_.max_latency - options_.min_latency).count());
  return options_.min_latency + Duration(static_cast<int64_t>(world_.random().below(span + 1)));
}

void SimZooKeeper::answer(const std::shared_ptr<Connection>& connection, Task task) {
  connection->answered_until = std::max(connection->answered_until, world_.now() + latency());
  auto held = std::make_shared<Task>(std::move(task));
  world_.schedule(connection->answered_until, [alive = alive_, connection, held] {
    if (connection->blocked(false)) connection->broken = true;
    if (!*alive || !connection->open || connection->broken || connection->node.killed()) return;
    connection->node.shard(connection->shard).post([connection, held] {
      if (connection->open) (*held)();
    });
  });
}

// The server's end of it is gone; the client hears of it unless its messages are lost.
void SimZooKeeper::drop(const std::shared_ptr<Connection>& connection) {
  connection->queue.clear();
  if (connection->on_drop) answer(connection, std::exchange(connection->on_drop, {}));
}

void SimZooKeeper::arrive(const std::shared_ptr<Connection>& connection, Request request) {
  auto held = std::make_shared<Request>(std::move(request));
  connection->arrived_until = std::max(connection->arrived_until, world_.now() + latency());
  world_.schedule(connection->arrived_until, [this, alive = alive_, connection, held] {
    if (connection->blocked(true)) connection->broken = true;
    if (!*alive || connection->broken || !connection->on_drop) return;
    auto session = sessions_.find(connection->session);
    if (!serves(static_cast<int>(connection->server)) || session == sessions_.end() ||
        session->second.connection.lock() != connection)
      return drop(connection);
    touch(connection->session);
    connection->queue.push_back(std::move(*held));
    if (!connection->serving) serve_next(connection);
  });
}

void SimZooKeeper::serve_next(const std::shared_ptr<Connection>& connection) {
  connection->serving = !connection->queue.empty();
  if (!connection->serving) return;
  Request request = std::move(connection->queue.front());
  connection->queue.pop_front();
  if (request.read) {
    answer(connection, request.read(servers_[connection->server], connection));
    return serve_next(connection);
  }
  // To the server that orders writes and back: until then nothing behind it is served.
  auto held = std::make_shared<Request>(std::move(request));
  world_.schedule_after(latency(), [this, alive = alive_, connection, held] {
    if (!*alive || !up_) return;
    bool current = sessions_.count(connection->session) != 0 &&
                   sessions_[connection->session].connection.lock() == connection;
    if (!current) return;  // the session moved or ended: not executed
    auto task = std::make_shared<Task>(held->write());
    Instant seen = std::max(servers_[connection->server].applied_until, world_.now());
    world_.schedule(seen, [this, a = alive_, connection, task] {
      if (!*a) return;
      answer(connection, std::move(*task));
      serve_next(connection);
    });
  });
}

// ---- the client --------------------------------------------------------------------------------

class SimZooKeeperClient final : public zk::Client {
 public:
  SimZooKeeperClient(SimZooKeeper& ensemble, SimRuntime& node, int shard, Duration timeout,
                     SimZooKeeper::Way way)
      : ensemble_(ensemble),
        node_(node),
        shard_(shard),
        timeout_(timeout),
        way_(std::make_shared<SimZooKeeper::Way>(std::move(way))) {}
  ~SimZooKeeperClient() override {
    *alive_ = false;
    if (connection_ != nullptr) connection_->open = false;
  }

  void start(Callback<zk::Event> on_event) override {
    on_event_ = std::move(on_event);
    attempt();
  }

  void close(Task done) override {
    closed_ = true;
    timer_.cancel();
    waiting_.clear();
    if (linked_) {
      send({{}, [this, e = &ensemble_, session = session_] {
              e->end_session(session);
              return Task([] {});
            }});
    }
    linked_ = false;
    shard().post(std::move(done));
  }

  void get(const std::string& path, Callback<Result<zk::Node>> done) override {
    read<Result<zk::Node>>(path, std::move(done),
                           [path](SimZooKeeper::Server& server, const auto&) -> Result<zk::Node> {
                             auto it = server.tree.entries.find(path);
                             if (it == server.tree.entries.end())
                               return failure(Errc::kPathNotFound, path);
                             return it->second.node;
                           });
  }

  void children(const std::string& path, Task on_change,
                Callback<Result<std::vector<std::string>>> done) override {
    auto watch = on_change ? std::make_shared<Task>(std::move(on_change)) : nullptr;
    read<Result<std::vector<std::string>>>(
        path, std::move(done),
        [path, watch](SimZooKeeper::Server& server,
                      const auto& connection) -> Result<std::vector<std::string>> {
          auto it = server.tree.entries.find(path);
          if (it == server.tree.entries.end()) return failure(Errc::kPathNotFound, path);
          if (watch != nullptr) server.watches[path].emplace_back(connection, watch);
          return std::vector<std::string>(it->second.children.begin(), it->second.children.end());
        });
  }

  void create(const std::string& path, const std::string& data, zk::NodeKind kind,
              Callback<Result<std::string>> done) override {
    write<Result<std::string>>(
        path, std::move(done),
        [e = &ensemble_, path, data, kind, session = session_]() -> Result<std::string> {
          std::string full = path;
          auto parent = e->head_.entries.find(parent_of(path));
          if (kind == zk::NodeKind::kEphemeralSequential && parent != e->head_.entries.end())
            full += fmt::format("{:010d}", parent->second.next_sequence);
          std::vector<SimZooKeeper::Change> changes;
          auto outcome = e->check({{zk::Op::Kind::kCreate, full, data, -1}}, changes);
          if (!outcome.status.ok()) return outcome.status;
          if (kind != zk::NodeKind::kPersistent) changes.back().owner = session;
          e->commit(std::move(changes));
          return full;
        });
  }

  void multi(std::vector<zk::Op> ops, Callback<zk::Outcome> done) override {
    write<zk::Outcome>("", std::move(done), [e = &ensemble_, ops = std::move(ops)] {
      std::vector<SimZooKeeper::Change> changes;
      auto outcome = e->check(ops, changes);
      if (outcome.status.ok() && !changes.empty()) e->commit(std::move(changes));
      return outcome;
    });
  }

  void protect(const std::string& path, Callback<Result<bool>> done) override {
    read<Result<bool>>(path, std::move(done),
                       [path](SimZooKeeper::Server& server, const auto&) -> Result<bool> {
                         if (server.tree.entries.count(path) == 0)
                           return failure(Errc::kPathNotFound, path);
                         return false;
                       });
  }

  const std::shared_ptr<bool>& cut() const { return cut_; }
  int64_t session() const { return session_; }

 private:
  using Connection = SimZooKeeper::Connection;

  io::Shard& shard() { return node_.shard(shard_); }

  void send(SimZooKeeper::Request request) { ensemble_.arrive(connection_, std::move(request)); }

  // What runs here when an answer arrives; nothing when the connection was given up before.
  template <typename T>
  Task deliver(uint64_t id, int64_t zxid, T value) {
    auto held = std::make_shared<T>(std::move(value));
    return [this, alive = alive_, id, zxid, held] {
      if (!*alive) return;
      heard_ = shard().now();
      seen_ = std::max(seen_, zxid);
      auto it = waiting_.find(id);
      if (it == waiting_.end()) return;
      auto done = std::static_pointer_cast<Callback<T>>(it->second.done);
      waiting_.erase(it);
      (*done)(std::move(*held));
    };
  }

  template <typename T, typename F>
  void read(const std::string& path, Callback<T> done, F f) {
    uint64_t id = 0;
    if (!accept(path, std::move(done), id)) return;
    send({[this, alive = alive_, id, f](SimZooKeeper::Server& server, const auto& connection) {
            return *alive ? deliver<T>(id, server.tree.zxid, f(server, connection)) : Task([] {});
          },
          {}});
  }

  template <typename T, typename F>
  void write(const std::string& path, Callback<T> done, F f) {
    uint64_t id = 0;
    if (!accept(path, std::move(done), id)) return;
    send({{}, [this, alive = alive_, e = &ensemble_, id, f] {
            T value = f();  // takes effect whether its client still lives or not
            return *alive ? deliver<T>(id, e->head_.zxid, std::move(value)) : Task([] {});
          }});
  }

  struct Waiting {
    std::shared_ptr<void> done;  // a Callback<T>
    Function<void(const Status&)> fail;
  };
  template <typename T>
  bool accept(const std::string& path, Callback<T> done, uint64_t& id) {
    auto held = std::make_shared<Callback<T>>(std::move(done));
    auto fail = [held](const Status& status) {
      if constexpr (std::is_same_v<T, zk::Outcome>) {
        (*held)(zk::Outcome{status, SIZE_MAX});
      } else {
        (*held)(status);
      }
    };
    if (closed_) return false;
    if (!linked_) {
      shard().post([alive = alive_, fail, path] {
        if (*alive) fail(failure(Errc::kTimeout, path));
      });
      return false;
    }
    id = ++last_id_;
    waiting_[id] = {held, fail};
    return true;
  }

  void attempt() {
    if (closed_) return;
    size_t server = ensemble_.world_.random().below(ensemble_.servers_.size());
    connection_ = std::make_shared<Connection>(node_, shard_, server);
    connection_->cut = cut_;
    connection_->way = way_;
    connection_->on_drop = [this, alive = alive_, c = connection_.get()] {
      if (*alive && connection_.get() == c) lost();
    };
    connection_->on_open = std::make_shared<Callback<const std::shared_ptr<Connection>&, int64_t>>(
        [this, alive = alive_](const std::shared_ptr<Connection>& c, int64_t session) {
          if (*alive) opened(c, session);
        });
    std::erase_if(ensemble_.connections_, [](const auto& c) { return c.expired(); });
    ensemble_.connections_.push_back(connection_);
    // Nobody may answer at all.
    timer_ = shard().after(timeout_ / 3, [this] { lost(); });
    auto& world = ensemble_.world_;
    world.schedule_after(ensemble_.latency(),
                         [this, alive = alive_, c = connection_, session = session_, seen = seen_] {
                           if (*alive && c->open && !c->blocked(true))
                             ensemble_.open(c, session, seen, timeout_);
                         });
  }

  // How the server answered the attempt: 0 = it refuses, -1 = the session is over.
  void opened(const std::shared_ptr<Connection>& connection, int64_t session) {
    if (closed_ || connection_ != connection) return;
    if (session <= 0) {
      if (session == 0) return lost();
      session_ = 0;
      auto alive = alive_;
      fail_all(Errc::kExpired);
      if (!*alive) return;
      on_event_({zk::Link::kExpired, 0, {}});
      if (!*alive || closed_) return;
      return lost();
    }
    session_ = session;
    linked_ = true;
    heard_ = shard().now();
    timer_ = shard().after(timeout_ / 3, [this] { ping(); });
    on_event_({zk::Link::kConnected, session_, timeout_});
  }

  void ping() {
    if (shard().now() - heard_ > timeout_ * 2 / 3) return lost();
    timer_ = shard().after(timeout_ / 3, [this] { ping(); });
    send({[this, alive = alive_](SimZooKeeper::Server&, const auto&) {
            return Task([this, a = alive] {
              if (*a) heard_ = shard().now();
            });
          },
          {}});
  }

  void lost() {
    timer_.cancel();
    if (connection_ != nullptr) connection_->open = false;
    connection_.reset();
    bool was = std::exchange(linked_, false);
    auto alive = alive_;
    fail_all(Errc::kTimeout);
    if (!*alive || closed_) return;
    if (was) on_event_({zk::Link::kDisconnected, session_, {}});
    if (!*alive || closed_) return;
    Duration pause(static_cast<int64_t>(ensemble_.world_.random().below(100'000'000)));
    timer_ = shard().after(pause, [this] { attempt(); });
  }

  void fail_all(Errc code) {
    auto waiting = std::exchange(waiting_, {});
    auto alive = alive_;
    for (auto& [id, w] : waiting) {
      w.fail(failure(code, "the connection was lost"));
      if (!*alive) return;
    }
  }

  SimZooKeeper& ensemble_;
  SimRuntime& node_;
  const int shard_;
  const Duration timeout_;
  Callback<zk::Event> on_event_;
  std::shared_ptr<Connection> connection_;
  std::shared_ptr<bool> cut_ = std::make_shared<bool>(false);
  const std::shared_ptr<SimZooKeeper::Way> way_;
  int64_t session_ = 0;
  int64_t seen_ = 0;  // the newest write that it was told of
  bool linked_ = false;
  bool closed_ = false;
  Instant heard_;
  std::map<uint64_t, Waiting> waiting_;
  uint64_t last_id_ = 0;
  io::TimerHandle timer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);

  friend class SimZooKeeper;
};

void SimZooKeeper::open(const std::shared_ptr<Connection>& connection, int64_t session,
                        int64_t seen_zxid, Duration timeout) {
  auto reply = [&](int64_t result) {
    auto on_open = connection->on_open;
    answer(connection, [on_open, connection, result] { (*on_open)(connection, result); });
  };
  if (!serves(static_cast<int>(connection->server))) return reply(0);
  if (session != 0 && sessions_.count(session) == 0) return reply(-1);
  // A server that has not come as far as the client has seen would take it back in time.
  if (servers_[connection->server].tree.zxid < seen_zxid) return reply(0);
  if (session == 0) {
    session = next_session_++;
    sessions_[session].timeout = timeout;
  }
  Session& s = sessions_[session];
  if (auto before = s.connection.lock(); before != nullptr && before != connection) drop(before);
  s.connection = connection;
  connection->session = session;
  touch(session);
  watch_session(session);
  reply(session);
}

// ---- the ensemble ------------------------------------------------------------------------------

SimZooKeeper::SimZooKeeper(SimWorld& world, const Options& options)
    : world_(world), options_(options), servers_(static_cast<size_t>(options.servers)) {
  MARKAB_ASSERT(options.servers > 0, "an ensemble without servers", options.servers);
  head_.entries["/"];
  for (Server& server : servers_) server.tree = head_;
}

SimZooKeeper::~SimZooKeeper() { *alive_ = false; }

std::unique_ptr<zk::Client> SimZooKeeper::connect(SimRuntime& node, int shard,
                                                  Duration session_timeout, Way way) {
  return std::make_unique<SimZooKeeperClient>(*this, node, shard, session_timeout, std::move(way));
}

void SimZooKeeper::down() {
  up_ = false;
  for (auto& weak : connections_) {
    if (auto c = weak.lock()) drop(c);
  }
}

// A new leader of the ensemble gives every session its full time.
void SimZooKeeper::up() {
  if (up_) return;
  up_ = true;
  for (auto& [id, session] : sessions_) {
    touch(id);
    watch_session(id);
  }
}

void SimZooKeeper::stop_server(int index) {
  servers_[static_cast<size_t>(index)].runs = false;
  servers_[static_cast<size_t>(index)].watches.clear();
  for (auto& weak : connections_) {
    auto c = weak.lock();
    if (c != nullptr && c->server == static_cast<size_t>(index)) drop(c);
  }
}

void SimZooKeeper::start_server(int index) { servers_[static_cast<size_t>(index)].runs = true; }

void SimZooKeeper::cut(zk::Client& client) {
  *static_cast<SimZooKeeperClient&>(client).cut() = true;
}

void SimZooKeeper::heal(zk::Client& client) {
  *static_cast<SimZooKeeperClient&>(client).cut() = false;
}

void SimZooKeeper::expire(zk::Client& client) {
  ++expirations_;
  end_session(static_cast<SimZooKeeperClient&>(client).session());
}

void SimZooKeeper::set_latency(Duration least, Duration most) {
  options_.min_latency = least;
  options_.max_latency = most;
}

}  // namespace markab::sim
