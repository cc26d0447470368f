#include "replica/server.h"

#include <boost/json.hpp>

#include "base/log.h"
#include "idl/markab_types.h"
#include "replica/hotkey_service.h"
#include "replica/reads.h"
#include "replica/table_info.h"
#include "rpc/codec.h"

namespace markab::replica {

using pacifica::Role;
using rpc::TaskCode;

namespace {

constexpr uint64_t kLeastFlush = 4u << 20;  // smaller tables are not worth their compactions
constexpr const char* kNodeFile = "/replica/.markab-node";
constexpr const char* kOpenSuffix = ".open";  // of a mark that could not be rewritten

}  // namespace

ReplicaServer::ReplicaServer(io::Runtime& runtime, std::vector<rpc::Network*> networks,
                             io::FileSystem& files, OpenEngine open_engine, ServerOptions options,
                             MetricRegistry& registry)
    : runtime_(runtime),
      control_(runtime.shard(0)),
      networks_(std::move(networks)),
      files_(files),
      open_engine_(std::move(open_engine)),
      options_(std::move(options)),
      self_text_(options_.self.to_string()),
      registry_(registry),
      entity_(registry.entity("server", "replica_server")),
      link_(std::make_unique<MetaLink>(control_, *networks_.at(0), options_.meta, *entity_)),
      disks_(files_, runtime_, options_.log, registry_),
      copies_(options_.max_copies, options_.copy_bytes_per_second, options_.copy_bytes_per_second),
      routes_(new Routes) {
  MARKAB_ASSERT(static_cast<int>(networks_.size()) == runtime.shard_count(),
                "one network per shard");
  for (const auto& dir : options_.data_dirs) disks_.add(dir);
  const char* names[] = {"inactive_replicas", "learning_replicas", "secondary_replicas",
                         "primary_replicas", "error_replicas"};
  for (int i = 0; i < 5; ++i) {
    entity_->gauge({names[i], "Replicas", "Replicas in that role"},
                   [this, i] { return role_counts_[i].load(); });
  }
  entity_->gauge({"shut_replicas", "Replicas",
                  "Replicas on a disk that is full or fails; they are opened when they can be"},
                 [this] { return shut_count_.load(); });
  entity_->gauge({"total_replicas", "Replicas", "Open replicas"}, [this] {
    int64_t total = 0;
    for (auto& count : role_counts_) total += count.load();
    return total;
  });
}

ReplicaServer::~ReplicaServer() {
  MARKAB_ASSERT(entries_.empty(), "the replica server is dropped without stop()");
  delete routes_.load();
}

uint64_t ReplicaServer::flush_after_log_bytes() const {
  int64_t replicas = 0;
  for (const auto& count : role_counts_) replicas += count.load(std::memory_order_relaxed);
  auto share = options_.replay_budget_bytes / static_cast<uint64_t>(std::max<int64_t>(1, replicas));
  return std::min(options_.tuning.flush_after_log_bytes, std::max(kLeastFlush, share));
}

int ReplicaServer::shard_of(Gpid gpid) const {
  return static_cast<int>(std::hash<Gpid>()(gpid) % static_cast<size_t>(runtime_.shard_count()));
}

// ---- disks
// ---------------------------------------------------------------------------------------------------------

Status ReplicaServer::prepare_disks() {
  bool same_boot = true;
  bool clean = true;
  std::map<size_t, Status> broken;
  for (size_t i = 0; i < disks_.size(); ++i) {
    auto status = options_.data_dirs[i].broken.ok()
                      ? prepare_disk(disks_.at(i).dir, same_boot, clean)
                      : options_.data_dirs[i].broken;
    // What belongs to another cluster is a mistake of the configuration, not a broken disk.
    bool mistake = status.code() == Errc::kInvalidParameters || status.code() == Errc::kInvalidData;
    if (!status.ok() && (mistake || !options_.ignore_broken_disk)) return status;
    if (!status.ok()) broken.emplace(i, status);
  }
  if (broken.size() == disks_.size()) return broken.begin()->second;
  for (const auto& [i, why] : broken) disks_.set_status(i, DiskStatus::kIoError, why.message());
  trust_log_ = same_boot || clean || options_.log.sync == wal::LogSync::kAlways;
  if (!trust_log_) {
    MARKAB_WARN(
        "the machine rebooted without a clean stop and [replication] log_sync is not 'always': the "
        "replicas of "
        "this node learn anew before they serve");
  }
  return {};
}

std::string ReplicaServer::node_mark(const char* state) const {
  return boost::json::serialize(boost::json::object{{"cluster", options_.cluster_name},
                                                    {"node", self_text_},
                                                    {"boot_id", options_.boot_id},
                                                    {"state", state}});
}

// Blocking. Also for a directory that is added at run time.
Status ReplicaServer::prepare_disk(const DataDir& disk, bool& same_boot, bool& clean) {
  auto unusable = [&](const Status& s, const char* what) {
    return Status(s.code(), fmt::format("the data directory {} cannot be {}: {}; make it writable "
                                        "for this user or change [replication] data_dirs",
                                        disk.path, what, s.message()));
  };
  if (auto s = files_.create_directories(disk.replicas()); !s.ok()) return unusable(s, "used");
  auto path = disk.path + kNodeFile;
  const auto renamed = path + kOpenSuffix;
  std::string before;
  if (files_.exists(path) || files_.exists(renamed)) {
    bool says_open = !files_.exists(path);
    if (says_open) path = renamed;
    auto text = files_.read_all(path, 1u << 16);
    if (!text) return unusable(text.error(), "read");
    boost::system::error_code error;
    auto parsed = boost::json::parse(*text, error);
    if (error || !parsed.is_object()) {
      return {Errc::kInvalidData,
              fmt::format("{} is damaged; if the directory belongs to cluster {}, remove that file",
                          path, options_.cluster_name)};
    }
    const auto& object = parsed.get_object();
    auto field = [&](const char* key) -> std::string {
      const auto* v = object.if_contains(key);
      return v != nullptr && v->is_string() ? std::string(v->get_string()) : std::string();
    };
    if (field("cluster") != options_.cluster_name) {
      return {Errc::kInvalidParameters,
              fmt::format("the data directory {} belongs to cluster '{}', this daemon to '{}'; "
                          "correct [replication] cluster_name or data_dirs",
                          disk.path, field("cluster"), options_.cluster_name)};
    }
    if (field("node") != self_text_) {
      MARKAB_WARN("the data directory {} was last used by node {}", disk.path, field("node"));
    }
    same_boot = same_boot && field("boot_id") == options_.boot_id;
    clean = clean && field("state") == "closed" && !says_open;
    before = std::move(*text);
  }
  auto s = mark_open(disk.path + kNodeFile, before);
  return s.ok() ? s : unusable(s, "written");
}

// A disk without space for the mark is used nevertheless: what lies there is needed, and it must
// not look cleanly closed after a crash. A file can be renamed where none can be written.
Status ReplicaServer::mark_open(const std::string& path, const std::string& before) {
  if (before == node_mark("open") && files_.exists(path)) return {};
  auto s = files_.write_atomic(path, node_mark("open"));
  if (s.ok()) return files_.exists(path + kOpenSuffix) ? files_.remove(path + kOpenSuffix) : s;
  if (s.code() != Errc::kDiskInsufficient || before.empty()) return s;
  MARKAB_ERROR("{}; the daemon begins without", s);
  return files_.exists(path) ? files_.rename(path, path + kOpenSuffix) : Status();
}

size_t ReplicaServer::choose_disk(Gpid gpid) const {
  std::vector<Disks::Load> load(disks_.size());
  for (const auto& [other, entry] : entries_) {
    load[entry.disk].of_table += other.app_id == gpid.app_id ? 1 : 0;
    load[entry.disk].all += 1;
  }
  return disks_.choose(load);
}

// ---- requests
// ------------------------------------------------------------------------------------------------------

void ReplicaServer::register_handlers(rpc::Dispatcher& dispatcher, rpc::HttpRouter&) {
  dispatcher.on_partition([this](rpc::Request r) { route(std::move(r)); });
  dispatcher.on(TaskCode::kPrepare,
                [this](rpc::Request r) { route_to_owner(std::move(r), &Replica::on_prepare); });
  dispatcher.on(TaskCode::kLearn,
                [this](rpc::Request r) { route_to_owner(std::move(r), &Replica::on_learn); });
  dispatcher.on(TaskCode::kFetchLog,
                [this](rpc::Request r) { route_to_owner(std::move(r), &Replica::on_fetch_log); });
  dispatcher.on(TaskCode::kNfsCopy,
                [this](rpc::Request r) { route_to_owner(std::move(r), &Replica::on_fetch_file); });
  dispatcher.on(TaskCode::kLearnAddLearner,
                [this](rpc::Request r) { on_add_learner(std::move(r)); });
  dispatcher.on(TaskCode::kConfigProposal, [this](rpc::Request r) { on_proposal(std::move(r)); });
  register_hotkey_handler(*this, dispatcher);
  dispatcher.on(TaskCode::kStepDown, [this](rpc::Request r) { on_step_down(std::move(r)); });
}

void ReplicaServer::route(rpc::Request request) {
  // The snapshot is not freed while a task that could have loaded it runs (publish_routes).
  const auto* routes = routes_.load(std::memory_order_acquire);
  auto found = routes->find(request.header.gpid);
  if (found == routes->end()) {
    if (request.header.code == TaskCode::kClearScanner && request.is_thft()) return;
    request.reply_error(Errc::kObjectNotFound);
    return;
  }
  // The first check after "partition open here" (05 §7.3).
  if (options_.access != nullptr && options_.access->enabled() &&
      !options_.access->permits_data(request, *found->second->allowed_users(), control_.now())) {
    request.reply_error(Errc::kAclDeny);
    return;
  }
  if (rpc::task_kind(request.header.code) == rpc::TaskKind::kWrite) {
    found->second->enqueue_write(std::move(request));
    return;
  }
  for (int i = 0; i < runtime_.shard_count(); ++i) {
    auto& shard = runtime_.shard(i);
    if (!shard.in_thread()) continue;
    serve_read(*this, found->second, shard, std::move(request));
    return;
  }
  MARKAB_ASSERT(false, "a request is handled outside of the shards");
}

void ReplicaServer::route_to_owner(rpc::Request request, void (Replica::*handler)(rpc::Request)) {
  const auto* routes = routes_.load(std::memory_order_acquire);
  auto found = routes->find(request.header.gpid);
  if (found == routes->end()) {
    if (request.header.code == TaskCode::kPrepare) {
      std::string bytes;
      encode(pacifica::PrepareAck{Errc::kObjectNotFound, 0, 0, 0}, bytes);
      request.reply(bytes);
    } else {
      request.reply_error(Errc::kObjectNotFound);
    }
    return;
  }
  const auto& replica = found->second;
  if (replica->shard().in_thread()) {
    if (request.header.code == TaskCode::kPrepare) {
      return replica->soon(
          [held = std::move(request)](Replica& it) mutable { it.on_prepare(std::move(held)); });
    }
    (*replica.*handler)(std::move(request));
    return;
  }
  auto held = std::make_shared<rpc::Request>(std::move(request));
  replica->shard().post(
      [replica = found->second, held, handler] { (*replica.*handler)(std::move(*held)); });
}

// On shard 0. Readers of the old snapshot are tasks that run now; it is freed when every shard has
// come past.
void ReplicaServer::publish_routes() {
  auto* next = new Routes;
  for (const auto& [gpid, entry] : entries_) {
    if (entry.state == State::kOpen) next->emplace(gpid, entry.replica);
  }
  const auto* old = routes_.exchange(next, std::memory_order_acq_rel);
  io::after_all_shards(runtime_, control_, [held = std::unique_ptr<const Routes>(old)] {});
}

void ReplicaServer::on_add_learner(rpc::Request request) {
  auto message = decode_add_learner(request.args);
  if (!message) {
    request.reply_error(Errc::kInvalidData);
    return;
  }
  auto held = std::make_shared<rpc::Request>(std::move(request));
  control_.post([this, held, message = std::move(*message)] {
    auto gpid = held->header.gpid;
    auto learn = [this, held, message, gpid](Errc error) {
      auto found = entries_.find(gpid);
      if (error != Errc::kOk || found == entries_.end() || found->second.state != State::kOpen) {
        held->reply_error(error != Errc::kOk ? error : Errc::kInvalidState);
        return;
      }
      auto replica = found->second.replica;
      replica->shard().post([replica, held, message] {
        auto result = replica->on_add_learner(message);
        if (result == Errc::kOk) {
          held->reply({});
        } else {
          held->reply_error(result);
        }
      });
    };
    auto found = entries_.find(gpid);
    if (found != entries_.end()) {
      if (found->second.state == State::kOpening) {
        found->second.waiting.push_back(learn);
      } else {
        learn(found->second.state == State::kOpen ? Errc::kOk : Errc::kInvalidState);
      }
      return;
    }
    if (leaving_ || !loaded_ || moving_->contains(gpid)) {
      held->reply_error(Errc::kInvalidState);
      return;
    }
    TableInfo table;
    table.app_name = message.app_name;
    table.partition_count = message.partition_count;
    table.max_replica_count = message.membership.max_replica_count;
    for (const auto& [key, value] : message.envs) table.envs[key] = value;
    auto disk = choose_disk(gpid);
    // What is here already, if it can be opened, needs less than a new copy.
    if (auto old = shut_.find(gpid);
        old != shut_.end() && (disk == old->second.disk || disk == disks_.size()))
      return reopen(gpid, learn);
    if (disk == disks_.size()) {
      held->reply_error(Errc::kDiskInsufficient);
      return;
    }
    if (is_shut(gpid)) discard_shut(gpid);
    open_replica(gpid, std::move(table), disk, Origin::kNew, learn);
  });
}

void ReplicaServer::on_step_down(rpc::Request request) {
  wire::step_down_request message;
  if (!rpc::decode_args(request.args, message).ok()) {
    request.reply_error(Errc::kInvalidData);
    return;
  }
  auto held = std::make_shared<rpc::Request>(std::move(request));
  control_.post([this, held, message] {
    auto answer = [held](Errc error, Decree committed) {
      wire::step_down_response response;
      response.err = error;
      response.last_committed_decree = committed;
      held->reply(rpc::encode_result(response));
    };
    auto found = entries_.find(message.pid);
    if (found == entries_.end() || found->second.state != State::kOpen)
      return answer(Errc::kObjectNotFound, 0);
    auto replica = found->second.replica;
    replica->shard().post([replica, message, answer] {
      if (replica->ballot() != message.ballot)
        return answer(Errc::kInvalidVersion, replica->last_committed());
      replica->step_down(answer);
    });
  });
}

// ---- opening and closing
// -------------------------------------------------------------------------------------------

void ReplicaServer::start() {
  control_.post([this] { load_all(); });
}

void ReplicaServer::load_all() {
  std::vector<std::pair<size_t, DataDir>> dirs;
  for (size_t i = 0; i < disks_.size(); ++i) {
    if (disks_.at(i).status() != DiskStatus::kIoError) dirs.emplace_back(i, disks_.at(i).dir);
  }
  auto found = std::make_shared<std::vector<Stored>>();
  runtime_.background().run(
      control_,
      [this, found, dirs] {
        *found = find_stored(dirs);
        settle_twins(*found, dirs);
      },
      [this, found] {
        if (stopped_) return;
        watch_disks();
        sweep_disks();
        auto open = std::make_shared<size_t>(found->size());
        auto one_done = [this, open] {
          if (--*open > 0 || stopped_) return;
          loaded_ = true;
          MARKAB_INFO("{} replicas are open; joining the cluster {}", entries_.size(),
                      options_.cluster_name);
          auto sync_at_once = [this] { schedule_sync(Duration(0)); };
          link_->start(sync_at_once, sync_at_once, [] {});
        };
        if (found->empty()) {
          *open = 1;
          one_done();
        }
        for (auto& f : *found)
          open_replica(f.gpid, std::move(f.table), f.disk, Origin::kStored,
                       [one_done](Errc) { one_done(); });
      });
}

void ReplicaServer::open_replica(Gpid gpid, TableInfo table, size_t disk, Origin origin,
                                 Callback<Errc> done) {
  auto [it, fresh] = entries_.try_emplace(gpid);
  MARKAB_ASSERT(fresh && !is_shut(gpid), "a replica is opened twice", gpid);
  it->second.disk = disk;
  it->second.origin = origin;
  it->second.table = table;
  it->second.waiting.push_back(std::move(done));
  Replica::OpenOptions open;
  open.gpid = gpid;
  open.table = std::move(table);
  open.dir = disks_.at(disk).dir.replicas() + "/" + replica_dir_name(gpid);
  open.disk = disks_.at(disk).log.get();
  open.disk_tag = disks_.at(disk).dir.tag;
  open.disk_health = disks_.at(disk).health;
  open.shard = shard_of(gpid);
  open.trust_log = trust_log_;
  Replica::open(*this, std::move(open), [this, gpid](Result<std::shared_ptr<Replica>> result) {
    auto held = std::make_shared<Result<std::shared_ptr<Replica>>>(std::move(result));
    control_.post([this, gpid, held] { opened(gpid, std::move(*held)); });
  });
}

void ReplicaServer::opened(Gpid gpid, Result<std::shared_ptr<Replica>> result) {
  auto found = entries_.find(gpid);
  MARKAB_ASSERT(found != entries_.end() && found->second.state == State::kOpening,
                "an unexpected opening", gpid);
  auto waiting = std::move(found->second.waiting);
  if (!result) {
    auto origin = found->second.origin;
    if (origin == Origin::kShut) {
      MARKAB_INFO("once more, {}", result.error());
    } else {
      MARKAB_ERROR("{}", result.error());
    }
    auto disk = found->second.disk;
    auto table = std::move(found->second.table);
    auto dir = disks_.at(disk).dir.replicas() + "/" + replica_dir_name(gpid);
    entries_.erase(found);
    // A store that cannot be read is set aside, never deleted before its replacement is whole (spec
    // 04 §2.5).
    auto code = result.error().code();
    if (code == Errc::kRdbCorruption || code == Errc::kCorruption || code == Errc::kInvalidData) {
      set_aside(dir, "err");
    } else if (origin != Origin::kNew &&
               (code == Errc::kDiskInsufficient || code == Errc::kDiskIoError)) {
      shut(gpid, std::move(table), disk);
    }
    for (auto& done : waiting) done(code);
    if (code == Errc::kDiskIoError) disk_failed(disk, result.error());
    return;
  }
  found->second.state = State::kOpen;
  found->second.replica = std::move(*result);
  found->second.table = {};
  role_counts_[0].fetch_add(1);
  publish_routes();
  if (stopped_) return;
  for (auto& done : waiting) done(Errc::kOk);
}

void ReplicaServer::close_replica(Gpid gpid, Task done) {
  auto found = entries_.find(gpid);
  MARKAB_ASSERT(found != entries_.end() && found->second.state == State::kOpen,
                "closing what is not open", gpid);
  found->second.state = State::kClosing;
  auto replica = found->second.replica;
  publish_routes();
  auto held = std::make_shared<Task>(std::move(done));
  replica->shard().post([this, replica, gpid, held] {
    role_counts_[static_cast<int>(replica->role())].fetch_sub(1);
    replica->close([this, gpid, held] {
      control_.post([this, gpid, held] {
        // The routes that held it are freed by the same rule as in publish_routes; then the store
        // closes on the pool.
        io::after_all_shards(runtime_, control_, [this, gpid, held] {
          auto last =
              std::make_shared<std::shared_ptr<Replica>>(std::move(entries_.at(gpid).replica));
          runtime_.background().run(
              control_, [last] { last->reset(); },
              [this, gpid, held] {
                entries_.erase(gpid);
                (*held)();
              });
        });
      });
    });
  });
}

// Closes a replica and renames its directory, so that it is not loaded again and can be swept later
// (spec 04 §2.5).
void ReplicaServer::discard_replica(Gpid gpid, const char* suffix) {
  auto dir = entries_.at(gpid).replica->dir();
  close_replica(gpid, [this, dir, suffix] { set_aside(dir, suffix); });
}

void ReplicaServer::set_aside(const std::string& dir, const char* suffix) {
  auto aside = fmt::format("{}.{}.{}", dir, control_.wall_us(), suffix);
  runtime_.background().run(
      control_,
      [this, dir, aside] {
        if (auto s = files_.rename(dir, aside); !s.ok())
          MARKAB_ERROR("{} could not be set aside: {}", dir, s);
      },
      [] {});
}

std::vector<std::shared_ptr<Replica>> ReplicaServer::replicas() const {
  std::vector<std::shared_ptr<Replica>> out;
  for (const auto& [gpid, entry] : entries_) {
    if (entry.state == State::kOpen) out.push_back(entry.replica);
  }
  return out;
}

void ReplicaServer::on_role_changed(Replica&, Role before, Role role) {
  role_counts_[static_cast<int>(before)].fetch_sub(1);
  role_counts_[static_cast<int>(role)].fetch_add(1);
}

void ReplicaServer::on_broken(Replica& replica, const Status& why) {
  auto gpid = replica.gpid();
  control_.post([this, gpid, why] {
    const bool shuts = why.code() == Errc::kDiskIoError || why.code() == Errc::kDiskInsufficient;
    MARKAB_ERROR("{} is closed{}: {}", gpid, shuts ? "" : " and set aside", why);
    auto found = entries_.find(gpid);
    if (found == entries_.end() || found->second.state != State::kOpen || stopped_) return;
    // A full disk is not damage: the replica stays where it is and is opened again when there is
    // space. Nor can anything be renamed on a disk that fails.
    if (shuts) {
      auto disk = found->second.disk;
      found->second.shuts = true;
      close_replica(gpid, [this, gpid, disk, table = found->second.replica->table_now()]() mutable {
        shut(gpid, std::move(table), disk);
        schedule_sync(std::chrono::milliseconds(100));
      });
      if (why.code() == Errc::kDiskIoError) disk_failed(disk, why);
    } else {
      discard_replica(gpid, "err");
    }
    schedule_sync(std::chrono::milliseconds(100));
  });
}

// ---- leaving
// -------------------------------------------------------------------------------------------------------

void ReplicaServer::leave(Task done) {
  leaving_ = true;
  auto deadline = control_.now() + options_.leave_timeout;
  ask_to_leave(deadline, std::make_shared<Task>(std::move(done)));
}

void ReplicaServer::ask_to_leave(Instant deadline, std::shared_ptr<Task> done) {
  wire::leave_request request;
  request.node = options_.self;
  request.start_time = options_.meta.start_time_ms;
  auto left = std::max(deadline - control_.now(), Duration(std::chrono::milliseconds(1)));
  link_->call(
      TaskCode::kLeave, rpc::encode_args(request), left, [this, deadline, done](rpc::Reply reply) {
        wire::leave_response response;
        auto status = reply.status;
        if (status.ok()) status = rpc::decode_result(reply.result, response);
        bool finished =
            status.ok() && response.err.code == Errc::kOk && response.remaining_primaries == 0;
        if (finished || control_.now() >= deadline) {
          if (!finished) {
            MARKAB_WARN("leaving without having handed over all primaries ({} left): {}",
                        response.remaining_primaries, status);
          }
          link_->give_up_lease();
          (*done)();
          return;
        }
        leave_timer_ = control_.after(std::chrono::milliseconds(20),
                                      [this, deadline, done] { ask_to_leave(deadline, done); });
      });
}

void ReplicaServer::abandon() {
  stopped_ = true;
  link_->stop();
  for (auto& [gpid, entry] : entries_) {
    if (entry.replica) entry.replica->abandon();
  }
  entries_.clear();
}

void ReplicaServer::stop(Task done) {
  MARKAB_ASSERT(!stopped_, "the replica server is stopped twice");
  stopped_ = true;
  link_->give_up_lease();
  link_->stop();
  sync_timer_.cancel();
  leave_timer_.cancel();
  disk_timer_.cancel();
  sweep_timer_.cancel();
  reopen_timer_.cancel();
  end_first_leads(std::exchange(first_leads_, {}), {});
  take_held_proposals();
  auto finish = std::make_shared<Task>([this, done = std::make_shared<Task>(std::move(done))] {
    runtime_.background().run(
        control_,
        [this] {
          for (size_t i = 0; i < disks_.size(); ++i) {
            if (disks_.at(i).status() == DiskStatus::kIoError) continue;
            auto s = files_.write_atomic(disks_.at(i).dir.path + kNodeFile, node_mark("closed"));
            if (!s.ok()) MARKAB_WARN("{}", s);
          }
        },
        [this, done] {
          // The witness of its own end: nothing is served any more, so nobody need wait for the
          // lease (DESIGN §1.5).
          wire::report_death_request report;
          report.node = options_.self;
          report.start_time = options_.meta.start_time_ms;
          report.reason = "the daemon stops";
          link_->call(TaskCode::kReportDeath, rpc::encode_args(report),
                      std::chrono::milliseconds(500), [done](const rpc::Reply&) { (*done)(); });
        });
  });
  // What is still opening is waited for: openings cannot be taken back.
  auto close_all = std::make_shared<Function<void()>>();
  *close_all = [this, finish, close_all] {
    bool opening = false;
    std::vector<Gpid> open;
    for (const auto& [gpid, entry] : entries_) {
      opening = opening || entry.state != State::kOpen;
      if (entry.state == State::kOpen) open.push_back(gpid);
    }
    for (auto gpid : open) close_replica(gpid, [] {});
    if (open.empty() && !opening && moving_->empty()) {
      auto last = std::move(*finish);
      control_.post([close_all] { *close_all = nullptr; });
      last();
      return;
    }
    leave_timer_ = control_.after(std::chrono::milliseconds(5), [close_all] { (*close_all)(); });
  };
  (*close_all)();
}

}  // namespace markab::replica
