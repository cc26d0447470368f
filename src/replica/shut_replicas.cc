// Replicas that lie on a disk of this node and could not be opened, or had to close, since the disk
// is full or fails. Their content is not lost: the meta server is told that they are here, so that
// nobody who knows less is chosen to lead in their stead, and they are opened again when they can.

#include "base/log.h"
#include "replica/server.h"
#include "replica/table_info.h"

namespace markab::replica {

namespace {

constexpr Duration kReopenPause = std::chrono::seconds(5);

}  // namespace

void ReplicaServer::shut(Gpid gpid, TableInfo table, size_t disk) {
  if (stopped_) return;
  shut_.insert_or_assign(gpid, Shut{std::move(table), disk});
  shut_count_.store(static_cast<int64_t>(shut_.size()));
  wait_to_reopen();
}

bool ReplicaServer::is_shut(Gpid gpid) const { return shut_.contains(gpid); }

void ReplicaServer::wait_to_reopen() {
  if (reopen_timer_ || shut_.empty()) return;
  reopen_timer_ = control_.after(kReopenPause, [this] {
    reopen_timer_.cancel();
    for (size_t disk = 0; disk < disks_.size(); ++disk) reopen_next(disk);
    wait_to_reopen();
  });
}

// One after the other: where the first does not open, the others need not try.
void ReplicaServer::reopen_next(size_t disk) {
  if (stopped_ || disks_.at(disk).status() == DiskStatus::kIoError) return;
  for (const auto& [gpid, shut] : shut_) {
    if (shut.disk != disk) continue;
    return reopen(gpid, [this, gpid = gpid, disk](Errc error) {
      if (error != Errc::kOk) return;
      MARKAB_WARN("{} could be opened after all", gpid);
      schedule_sync(std::chrono::milliseconds(100));
      reopen_next(disk);
    });
  }
}

void ReplicaServer::reopen(Gpid gpid, Callback<Errc> done) {
  auto node = shut_.extract(gpid);
  MARKAB_ASSERT(!node.empty(), "what was not shut is opened again", gpid);
  shut_count_.store(static_cast<int64_t>(shut_.size()));
  auto& shut = node.mapped();
  open_replica(gpid, std::move(shut.table), shut.disk, Origin::kShut, std::move(done));
}

// Nobody needs its content any more.
void ReplicaServer::discard_shut(Gpid gpid) {
  auto node = shut_.extract(gpid);
  if (node.empty()) return;
  shut_count_.store(static_cast<int64_t>(shut_.size()));
  const auto& disk = disks_.at(node.mapped().disk);
  if (disk.status() == DiskStatus::kIoError) return;  // nothing can be renamed there
  set_aside(disk.dir.replicas() + "/" + replica_dir_name(gpid), "gar");
}

// The rows by which the meta server learns of them (03 §11): in error, and their content unknown.
void ReplicaServer::report_shut(std::vector<wire::replica_info>& out) const {
  auto report = [&](Gpid gpid, size_t disk) {
    wire::replica_info info;
    info.pid = gpid;
    info.ballot = -1;
    info.status = wire::partition_status::PS_ERROR;
    info.last_committed_decree = info.last_prepared_decree = info.last_durable_decree = -1;
    info.app_type = "pegasus";
    info.disk_tag = disks_.at(disk).dir.tag;
    out.push_back(std::move(info));
  };
  for (const auto& [gpid, shut] : shut_) report(gpid, shut.disk);
  for (const auto& [gpid, entry] : entries_) {
    bool comes = entry.state == State::kOpening && entry.origin != Origin::kNew;
    bool goes = entry.state == State::kClosing && entry.shuts;
    if (comes || goes) report(gpid, entry.disk);
  }
}

}  // namespace markab::replica
