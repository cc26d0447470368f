// Moving a secondary to another disk (04 §3.2): a checkpoint is copied there while the replica
// serves; then it leaves its group, the directories change places, and it is opened on the other
// disk, where it learns what came meanwhile. The old directory is kept for a week.

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include "base/log.h"
#include "io/await.h"
#include "replica/server.h"
#include "replica/table_info.h"

namespace markab::replica {

namespace asio = boost::asio;
using asio::awaitable;
using pacifica::Role;

namespace {

constexpr size_t kCopyChunk = 1u << 20;
constexpr const char* kSource = "/migrate_source";

}  // namespace

// What a co_await passes on by value has a name first (io/await.h).
struct ReplicaServer::Migration : std::enable_shared_from_this<Migration> {
  ReplicaServer& server;
  const Gpid gpid;
  const size_t target;
  std::shared_ptr<Replica> replica;
  const std::string source_dir;  // the replica's directory
  const std::string final_dir;   // its place on the other disk
  std::string copy_dir;          // where it grows: <final>.<us>.disk.migrate.tmp
  const std::shared_ptr<std::set<Gpid>> moving;

  Migration(ReplicaServer& s, Gpid g, size_t t, std::shared_ptr<Replica> r)
      : server(s),
        gpid(g),
        target(t),
        replica(std::move(r)),
        source_dir(replica->dir()),
        final_dir(s.disks_.at(t).dir.replicas() + "/" + replica_dir_name(g)),
        copy_dir(fmt::format("{}.{}.disk.migrate.tmp", final_dir, s.control_.wall_us())),
        moving(s.moving_) {
    moving->insert(gpid);
  }
  ~Migration() { moving->erase(gpid); }

  static awaitable<void> run(std::shared_ptr<Migration> self) {
    auto& server = self->server;
    auto status = co_await copy(self);
    if (server.stopped_) co_return;
    if (status.ok()) status = co_await leave_group(self);
    if (server.stopped_) co_return;
    if (status.ok()) {
      co_await move(self);
      co_return;
    }
    MARKAB_ERROR("{}: moving to disk {} failed: {}", self->gpid,
                 server.disks_.at(self->target).dir.tag, status);
    self->replica.reset();
    auto clean = [&files = server.files_, dir = self->copy_dir] { return files.remove_all(dir); };
    auto cleaned =
        co_await io::on_pool(server.runtime_.background(), server.control_, std::move(clean));
    if (!cleaned.ok())
      MARKAB_WARN("{} stays behind until it is swept: {}", self->copy_dir, cleaned);
  }

  // The checkpoint beside the store (hard links), then its files across, no faster than copies may
  // be.
  static awaitable<Status> copy(std::shared_ptr<Migration> self) {
    auto& server = self->server;
    auto& pool = server.runtime_.background();
    auto begin = [self, &files = server.files_,
                  engine = self->replica->hold_engine()]() -> Result<std::vector<std::string>> {
      auto source = self->source_dir + kSource;
      if (engine == nullptr) return Status(Errc::kInvalidState, "the store is being replaced");
      if (auto s = files.remove_all(source); !s.ok()) return s;
      auto decree = engine->store().checkpoint(source);
      if (!decree) return decree.error();
      if (auto s = files.create_directories(self->copy_dir + "/data/rdb"); !s.ok()) return s;
      auto info = files.read_all(self->source_dir + "/.app-info");
      if (!info) return info.error();
      if (auto s = files.write_atomic(self->copy_dir + "/.app-info", *info); !s.ok()) return s;
      return files.list(source);
    };
    auto names = co_await io::on_pool(pool, server.control_, std::move(begin));
    if (!names) co_return names.error();
    for (const auto& name : *names) {
      for (uint64_t offset = 0;;) {
        if (server.stopped_) co_return Status(Errc::kInvalidState, "the daemon stops");
        auto wait = server.copies_.receive.reserve(kCopyChunk, server.control_.now());
        if (wait > Duration(0)) co_await io::sleep_for(server.control_, wait);
        auto piece = [self, &files = server.files_, name, offset]() -> Result<size_t> {
          auto in = files.open_read(self->source_dir + kSource + "/" + name);
          if (!in) return in.error();
          std::string bytes;
          if (auto s = (*in)->read(offset, kCopyChunk, bytes); !s.ok()) return s;
          auto out = files.open_append(self->copy_dir + "/data/rdb/" + name);
          if (!out) return out.error();
          if (auto s = (*out)->append(bytes); !s.ok()) return s;
          if (bytes.size() < kCopyChunk) {
            if (auto s = (*out)->sync(); !s.ok()) return s;
          }
          return bytes.size();
        };
        auto copied = co_await io::on_pool(pool, server.control_, std::move(piece));
        if (!copied) co_return copied.error();
        offset += *copied;
        if (*copied < kCopyChunk) break;
      }
    }
    auto end = [self, &files = server.files_]() -> Status {
      if (auto s = files.sync_directory(self->copy_dir + "/data/rdb"); !s.ok()) return s;
      return files.remove_all(self->source_dir + kSource);
    };
    co_return co_await io::on_pool(pool, server.control_, std::move(end));
  }

  // Its primary must not wait for it while it is closed: it leaves the group first, and comes back
  // as a learner that lacks little.
  static awaitable<Status> leave_group(std::shared_ptr<Migration> self) {
    auto& server = self->server;
    struct Told {
      Role role = Role::kError;
      pacifica::Membership membership;
      Decree committed = 0;
      Errc answer = Errc::kTimeout;
    };
    auto told = std::make_shared<Told>();
    co_await asio::async_initiate<const asio::use_awaitable_t<>, void()>(
        [&](auto handler) {
          self->replica->shard().post([self, told, handler = std::move(handler)]() mutable {
            if (!self->replica->closed()) {
              told->role = self->replica->role();
              told->membership = self->replica->membership();
              told->committed = self->replica->last_committed();
            }
            self->server.control_.post(
                [handler = std::move(handler)]() mutable { std::move(handler)(); });
          });
        },
        asio::use_awaitable);
    if (told->role != Role::kSecondary)
      co_return Status(Errc::kInvalidState, "it is no secondary any more");
    if (server.stopped_) co_return Status(Errc::kInvalidState, "the daemon stops");
    co_await asio::async_initiate<const asio::use_awaitable_t<>, void()>(
        [&](auto handler) {
          auto held = std::make_shared<decltype(handler)>(std::move(handler));
          server.ask_removal(self->gpid, server.app_info_of(*self->replica), told->membership,
                             told->committed, [told, held](Errc error) {
                               told->answer = error;
                               std::move (*held)();
                             });
        },
        asio::use_awaitable);
    if (told->answer != Errc::kOk)
      co_return Status(told->answer, "the meta server did not take it out of its group");
    co_return Status();
  }

  static awaitable<void> move(std::shared_ptr<Migration> self) {
    auto& server = self->server;
    auto entry = server.entries_.find(self->gpid);
    bool open = entry != server.entries_.end() && entry->second.state == State::kOpen &&
                entry->second.replica == self->replica;
    if (!open) co_return;  // it broke meanwhile, and went its own way
    auto table = self->replica->table_now();
    auto origin = entry->second.disk;
    self->replica.reset();
    co_await asio::async_initiate<const asio::use_awaitable_t<>, void()>(
        [&](auto handler) {
          server.close_replica(self->gpid,
                               [handler = std::move(handler)]() mutable { std::move(handler)(); });
        },
        asio::use_awaitable);
    if (server.stopped_) co_return;
    auto aside = fmt::format("{}.{}.disk.migrate.ori", self->source_dir, server.control_.wall_us());
    auto change = [self, aside, &files = server.files_]() -> Status {
      if (auto s = files.rename(self->source_dir, aside); !s.ok()) return s;
      auto s = files.rename(self->copy_dir, self->final_dir);
      if (!s.ok()) (void)files.rename(aside, self->source_dir);
      return s;
    };
    auto changed =
        co_await io::on_pool(server.runtime_.background(), server.control_, std::move(change));
    if (server.stopped_ || server.entries_.contains(self->gpid)) co_return;
    if (!changed.ok())
      MARKAB_ERROR("{}: the directories could not change places: {}", self->gpid, changed);
    reopen(self, table, changed.ok() ? self->target : origin, origin, aside);
  }

  // On the other disk; where that fails, again from its origin.
  static void reopen(std::shared_ptr<Migration> self, TableInfo table, size_t disk, size_t origin,
                     std::string aside) {
    auto& server = self->server;
    auto opened = [self, table, disk, origin, aside](Errc error) {
      auto& server = self->server;
      if (error == Errc::kOk || disk == origin) {
        MARKAB_INFO("{} is on disk {} now", self->gpid, server.disks_.at(disk).dir.tag);
        server.schedule_sync(Duration(0));
        return;
      }
      MARKAB_ERROR("{} could not be opened on disk {}; it goes back", self->gpid,
                   server.disks_.at(disk).dir.tag);
      server.runtime_.background().run(
          server.control_,
          [self, aside] {
            auto& files = self->server.files_;
            auto now = self->server.control_.wall_us();
            if (files.exists(self->final_dir))
              (void)files.rename(self->final_dir, fmt::format("{}.{}.gar", self->final_dir, now));
            (void)files.rename(aside, self->source_dir);
          },
          [self, table, origin, aside] {
            if (self->server.stopped_ || self->server.entries_.contains(self->gpid)) return;
            reopen(self, table, origin, origin, aside);
          });
    };
    // Should it not open where it was, it is shut there like any other.
    server.open_replica(self->gpid, table, disk, disk == origin ? Origin::kStored : Origin::kNew,
                        std::move(opened));
  }
};

// The checks in the order of 04 §4.4.
void ReplicaServer::migrate(Gpid gpid, const std::string& from, const std::string& to,
                            Callback<Status> done) {
  if (moving_->contains(gpid)) return done({Errc::kBusy, fmt::format("{} is being moved", gpid)});
  auto found = entries_.find(gpid);
  if (found == entries_.end()) return done(Errc::kObjectNotFound);
  if (found->second.state != State::kOpen)
    return done({Errc::kBusy, fmt::format("{} is being opened or closed", gpid)});
  auto role = static_cast<Role>(found->second.replica->metrics().role.value());
  if (role != Role::kSecondary)
    return done({Errc::kInvalidState, fmt::format("{} is {} here; only a secondary can be moved",
                                                  gpid, role_name(role))});
  if (from == to) return done({Errc::kInvalidParameters, "origin and target are the same disk"});
  auto origin = disks_.find(from);
  auto target = disks_.find(to);
  auto here = found->second.disk;
  if (origin < disks_.size() && here != origin && here != target)
    return done({Errc::kObjectNotFound,
                 fmt::format("{} is on disk {}, not on {}", gpid, disks_.at(here).dir.tag, from)});
  if (origin < disks_.size() && disks_.at(origin).status() == DiskStatus::kIoError)
    return done({Errc::kDiskIoError, fmt::format("the disk {} fails", from)});
  if (target < disks_.size() && here == target)
    return done({Errc::kPathAlreadyExist, fmt::format("{} is on disk {} already", gpid, to)});
  if (target < disks_.size() && disks_.at(target).status() != DiskStatus::kNormal) {
    auto status = disks_.at(target).status();
    return done({status == DiskStatus::kIoError ? Errc::kDiskIoError : Errc::kDiskInsufficient,
                 fmt::format("the disk {} is {}", to, disk_status_name(status))});
  }
  if (origin == disks_.size() || target == disks_.size())
    return done({Errc::kObjectNotFound,
                 fmt::format("this server has no disk {}", origin == disks_.size() ? from : to)});
  auto migration = std::make_shared<Migration>(*this, gpid, target, found->second.replica);
  MARKAB_INFO("{} moves from disk {} to {}", gpid, from, to);
  asio::co_spawn(control_.executor(), Migration::run(migration), asio::detached);
  done({});
}

}  // namespace markab::replica
