#include "meta/zookeeper_store.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <deque>
#include <unordered_map>

#include "base/assert.h"
#include "base/log.h"
#include "zk/await.h"

namespace markab::meta {

namespace {

// Requests under way while the state is read: enough to keep a server busy over a slow network.
// They are sent half a window at a time: a request for each answer would wake this thread, the
// client's two and the server's for every single node.
constexpr size_t kReadWindow = 1000;
constexpr size_t kReadRefill = kReadWindow / 2;
// ZooKeeper takes 1 MiB (jute.maxbuffer); each operation adds its access list and frame.
constexpr size_t kMaxTransaction = 256u << 10;
constexpr size_t kProtectWindow = 200;
// What is ours below the root; an operator may keep other things there.
constexpr const char* kParts[] = {"apps", "bulk_load", "backup", "ranger_policy_meta_root"};

using Versions = std::unordered_map<std::string, int32_t>;

// Reads everything below the root, `kReadWindow` requests at a time.
class Reading : public std::enable_shared_from_this<Reading> {
 public:
  struct Found {
    StateStore::Tree tree;
    Versions versions;
  };
  Reading(zk::Client& client, std::string prefix, Callback<Result<Found>> done)
      : client_(client), prefix_(std::move(prefix)), done_(std::move(done)) {}

  void begin() {
    for (const char* part : kParts) wanted_.push_back({fmt::format("/{}", part), false});
    pump();
  }

 private:
  struct Want {
    std::string path;
    bool children;  // its names instead of its data
  };

  void pump() {
    if (under_way_ > kReadWindow - kReadRefill) return;
    while (status_.ok() && !wanted_.empty() && under_way_ < kReadWindow) {
      Want want = std::move(wanted_.front());
      wanted_.pop_front();
      ++under_way_;
      std::string absolute = prefix_ + want.path;
      if (want.children) {
        client_.children(absolute, {}, [self = shared_from_this(), path = want.path](auto names) {
          self->take_names(path, std::move(names));
        });
      } else {
        client_.get(absolute, [self = shared_from_this(), path = want.path](auto node) {
          self->take_node(path, std::move(node));
        });
      }
    }
    if (under_way_ > 0 || !done_) return;
    auto done = std::move(done_);
    done_ = {};
    if (!status_.ok()) return done(status_);
    done(std::move(found_));
  }

  void take_node(const std::string& path, Result<zk::Node> node) {
    --under_way_;
    if (node) {
      found_.versions[path] = node->version;
      found_.tree[path] = std::move(node->data);
      if (node->children > 0) wanted_.push_back({path, true});
    } else if (node.error().code() != Errc::kPathNotFound) {
      status_ = node.error();
    }
    pump();
  }

  void take_names(const std::string& path, Result<std::vector<std::string>> names) {
    --under_way_;
    if (names) {
      for (const std::string& name : *names)
        wanted_.push_back({fmt::format("{}/{}", path, name), false});
    } else if (names.error().code() != Errc::kPathNotFound) {
      status_ = names.error();
    }
    pump();
  }

  zk::Client& client_;
  const std::string prefix_;
  Callback<Result<Found>> done_;
  std::deque<Want> wanted_;
  size_t under_way_ = 0;
  Status status_;
  Found found_;
};

class ZooKeeperStore final : public StateStore {
 public:
  ZooKeeperStore(io::Shard& shard, zk::Client& client, ZooKeeperStoreOptions options)
      : shard_(shard), client_(client), options_(std::move(options)) {
    if (options_.root != "/") prefix_ = options_.root;
  }
  ~ZooKeeperStore() override { *alive_ = false; }

  void open(Callback<Result<Tree>> done) override;
  void write(std::vector<StateOp> ops, Callback<Status> done) override;
  void close(Task done) override {
    closing_ = std::move(done);
    reopening_ = {};
    ++term_;  // what is still protected can wait for the next leader
    if (!busy_) finish_close();
  }
  size_t max_transaction_bytes() const override { return kMaxTransaction; }

 private:
  struct Plan {
    std::vector<zk::Op> ops;  // the fence first
    Versions after;           // versions when it took effect; -1: erased
  };

  boost::asio::awaitable<Status> prepare();
  void read(Callback<Result<Tree>> done);
  Plan plan(const std::vector<StateOp>& ops);
  void add_put(Plan& plan, const StateOp& op);
  int32_t version_in(const Plan& plan, const std::string& path) const;
  void on_outcome(const zk::Outcome& outcome);
  boost::asio::awaitable<Status> compare();
  void finish_write(Status status);
  void fenced(const std::string& why) {
    // What an earlier leadership left behind is no matter of the present one.
    if (options_.on_fenced && !closing_ && !reopening_) options_.on_fenced(why);
  }
  boost::asio::awaitable<void> protect_tree(std::vector<std::string> paths, uint64_t term);
  // The request that was under way is answered. True: for somebody who still waits for it.
  bool release() {
    busy_ = false;
    if (closing_) {
      finish_close();
    } else if (reopening_) {
      open(std::exchange(reopening_, {}));
    } else {
      return true;
    }
    return false;
  }
  void finish_close() {
    versions_.clear();
    shard_.post(std::move(closing_));
  }

  io::Shard& shard_;
  zk::Client& client_;
  const ZooKeeperStoreOptions options_;
  std::string prefix_;  // before a path; empty for the root "/"
  std::string fence_;
  Versions versions_;
  bool busy_ = false;
  std::vector<StateOp> current_;
  Plan current_plan_;
  Callback<Status> current_done_;
  Task closing_;
  Callback<Result<Tree>> reopening_;  // waits for what is under way
  uint64_t term_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

// ---- reading -----------------------------------------------------------------------------------

void ZooKeeperStore::open(Callback<Result<Tree>> done) {
  closing_ = {};
  ++term_;
  if (busy_) {
    // The last leadership ended while it wrote. What becomes of that comes first: it may take
    // effect as long as it is unanswered. Its own callback waits for nothing any more.
    reopening_ = std::move(done);
    return;
  }
  busy_ = true;
  fence_ = options_.fence();
  auto held = std::make_shared<Callback<Result<Tree>>>(
      [this, alive = alive_, done = std::move(done)](Result<Tree> tree) {
        if (release()) done(std::move(tree));
      });
  if (fence_.empty()) {
    shard_.post([alive = alive_, held] {
      if (*alive) (*held)(Status(Errc::kHoldByOthers, "this meta server leads no longer"));
    });
    return;
  }
  boost::asio::co_spawn(shard_.executor(), prepare(),
                        [this, alive = alive_, held](std::exception_ptr, Status status) {
                          if (!*alive) return;
                          if (!status.ok()) return (*held)(status);
                          read([held](Result<Tree> tree) { (*held)(std::move(tree)); });
                        });
}

boost::asio::awaitable<Status> ZooKeeperStore::prepare() {
  std::string root = options_.root;
  Status status = co_await zk::make_path(client_, root);
  co_return status;
}

void ZooKeeperStore::read(Callback<Result<Tree>> done) {
  Instant began = shard_.now();
  auto reading = std::make_shared<Reading>(
      client_, prefix_,
      [this, alive = alive_, began, done = std::move(done)](Result<Reading::Found> found) {
        if (!*alive) return;
        if (!found) return done(found.error());
        auto apps = found->tree.find("/apps");
        if (apps != found->tree.end() && apps->second == "lock") {
          return done(Status(Errc::kInvalidData,
                             fmt::format("{}/apps says \"lock\": somebody initialises or recovers "
                                         "this cluster, or was interrupted in it",
                                         prefix_)));
        }
        versions_ = std::move(found->versions);
        MARKAB_INFO("read {} nodes below {} in {} ms", versions_.size(), options_.root,
                    (shard_.now() - began) / std::chrono::milliseconds(1));
        std::vector<std::string> paths;
        for (const auto& [path, version] : versions_) paths.push_back(prefix_ + path);
        boost::asio::co_spawn(shard_.executor(), protect_tree(std::move(paths), term_),
                              boost::asio::detached);
        done(std::move(found->tree));
      });
  reading->begin();
}

// A tree that was made under another acl_mode gets the present one: everything below the root
// first, so that the root tells whether it is done.
boost::asio::awaitable<void> ZooKeeperStore::protect_tree(std::vector<std::string> paths,
                                                          uint64_t term) {
  auto alive = alive_;
  if (prefix_.empty()) co_return;  // the whole server's root is not ours
  std::string root = options_.root;
  auto probe = co_await zk::protect(client_, root + "/apps");
  if (!*alive || term != term_) co_return;
  bool changed = probe.has_value() && *probe;
  if (!changed) co_return;
  size_t done = 0;
  auto failures = std::make_shared<size_t>(0);
  for (const std::string& path : paths) {
    bool last = ++done == paths.size();
    if (done % kProtectWindow != 0 && !last) {
      client_.protect(path, [failures](Result<bool> result) { *failures += !result.has_value(); });
      continue;
    }
    auto result = co_await zk::protect(client_, path);  // answers come in order
    if (!*alive || term != term_) co_return;
    *failures += !result.has_value();
  }
  auto top = co_await zk::protect(client_, root);
  if (!*alive) co_return;
  MARKAB_INFO("gave {} nodes below {} the access list of [zookeeper] acl_mode, {} failed",
              paths.size(), root, *failures + !top.has_value());
}

// ---- writing -----------------------------------------------------------------------------------

int32_t ZooKeeperStore::version_in(const Plan& plan, const std::string& path) const {
  auto planned = plan.after.find(path);
  if (planned != plan.after.end()) return planned->second;
  auto known = versions_.find(path);
  return known == versions_.end() ? -1 : known->second;
}

void ZooKeeperStore::add_put(Plan& plan, const StateOp& op) {
  int32_t version = version_in(plan, op.path);
  if (version >= 0) {
    plan.ops.push_back({zk::Op::Kind::kSet, prefix_ + op.path, op.data, version});
    plan.after[op.path] = version + 1;
    return;
  }
  for (auto slash = op.path.find('/', 1); slash != std::string::npos;
       slash = op.path.find('/', slash + 1)) {
    std::string parent = op.path.substr(0, slash);
    if (version_in(plan, parent) >= 0) continue;
    plan.ops.push_back({zk::Op::Kind::kCreate, prefix_ + parent, "", -1});
    plan.after[parent] = 0;
  }
  plan.ops.push_back({zk::Op::Kind::kCreate, prefix_ + op.path, op.data, -1});
  plan.after[op.path] = 0;
}

ZooKeeperStore::Plan ZooKeeperStore::plan(const std::vector<StateOp>& ops) {
  Plan plan;
  plan.ops.push_back({zk::Op::Kind::kCheck, fence_, "", -1});
  for (const StateOp& op : ops) {
    if (op.kind == StateOp::Kind::kPut) {
      add_put(plan, op);
    } else if (int32_t version = version_in(plan, op.path); version >= 0) {
      plan.ops.push_back({zk::Op::Kind::kErase, prefix_ + op.path, "", version});
      plan.after[op.path] = -1;
    }
  }
  return plan;
}

void ZooKeeperStore::write(std::vector<StateOp> ops, Callback<Status> done) {
  MARKAB_ASSERT(!busy_ && !closing_, "two writes at once, or one after close()", options_.root);
  busy_ = true;
  current_ = std::move(ops);
  current_done_ = std::move(done);
  current_plan_ = plan(current_);
  client_.multi(current_plan_.ops, [this, alive = alive_](const zk::Outcome& outcome) {
    if (*alive) on_outcome(outcome);
  });
}

void ZooKeeperStore::on_outcome(const zk::Outcome& outcome) {
  Errc code = outcome.status.code();
  if (outcome.status.ok()) {
    for (const auto& [path, version] : current_plan_.after) {
      if (version < 0) {
        versions_.erase(path);
      } else {
        versions_[path] = version;
      }
    }
    return finish_write({});
  }
  bool conflict = code == Errc::kInvalidVersion || code == Errc::kPathAlreadyExist ||
                  code == Errc::kPathNotFound;
  if (!conflict) return finish_write(outcome.status);
  if (outcome.failed_op == 0) {
    std::string why = fmt::format("the election node {} is gone", fence_);
    fenced(why);
    return finish_write(Status(Errc::kHoldByOthers, why));
  }
  // Perhaps it is this very transaction, which took effect when the connection broke.
  boost::asio::co_spawn(shard_.executor(), compare(),
                        [this, alive = alive_](std::exception_ptr, Status status) {
                          if (*alive) finish_write(std::move(status));
                        });
}

// Whether the nodes of the current transaction are as it would have left them. The failed
// transaction passed through this server before, so what is read is not older.
boost::asio::awaitable<Status> ZooKeeperStore::compare() {
  std::map<std::string, const StateOp*> last;
  for (const StateOp& op : current_) last[op.path] = &op;
  Versions found;
  for (const auto& [path, op] : last) {
    auto node = co_await zk::get(client_, prefix_ + path);
    bool missing = !node && node.error().code() == Errc::kPathNotFound;
    if (!node && !missing) co_return node.error();
    bool wanted = op->kind == StateOp::Kind::kPut;
    bool same = wanted ? node.has_value() && node->data == op->data : missing;
    if (!same) {
      std::string why = fmt::format("somebody else wrote {}{}", prefix_, path);
      fenced(why);
      co_return Status(Errc::kInconsistentState, why);
    }
    found[path] = missing ? -1 : node->version;
  }
  for (const auto& [path, version] : current_plan_.after) {
    auto it = found.find(path);
    int32_t now = it == found.end() ? version : it->second;
    if (now < 0) {
      versions_.erase(path);
    } else {
      versions_[path] = now;
    }
  }
  co_return Status();
}

void ZooKeeperStore::finish_write(Status status) {
  auto done = std::exchange(current_done_, {});
  if (release()) done(std::move(status));
}

}  // namespace

std::unique_ptr<StateStore> make_zookeeper_store(io::Shard& shard, zk::Client& client,
                                                 ZooKeeperStoreOptions options) {
  return std::make_unique<ZooKeeperStore>(shard, client, std::move(options));
}

}  // namespace markab::meta
