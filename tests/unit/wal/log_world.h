#pragma once
// A node with one log on a simulated disk, for the tests of the log. One life at a time: boot()
// opens the log, power_cut() ends the machine, kill() the process, close() the log in good order.

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "sim/sim_files.h"
#include "sim/sim_runtime.h"
#include "wal/log.h"

namespace markab::wal {

// A record with its payload, to keep and compare.
struct Kept {
  Record::Type type = Record::Type::kMutation;
  Ballot ballot = 0;
  Decree decree = 0;
  int64_t timestamp_us = 0;
  Decree committed = 0;
  std::string payload;
  Ballot member = 0;

  static Kept of(const Record& r) {
    return {r.type,  r.ballot, r.decree, r.timestamp_us, r.committed, std::string(r.payload),
            r.member};
  }
  Record view() const { return {type, ballot, decree, timestamp_us, committed, payload, member}; }
  friend bool operator==(const Kept&, const Kept&) = default;
  friend std::ostream& operator<<(std::ostream& out, const Kept& k) {
    return out << (k.type == Record::Type::kReign ? "reign " : "") << k.decree << " of ballot "
               << k.ballot << " (committed " << k.committed << ", " << k.payload.size() << " bytes "
               << k.payload.substr(0, 12) << ")";
  }
};

inline Kept mutation(Ballot ballot, Decree decree, std::string payload, Decree committed = 0) {
  return {Record::Type::kMutation, ballot, decree, 1000 + decree, committed, std::move(payload), 0};
}
inline Kept reign(Ballot ballot, Decree decree, Ballot member = 0) {
  return {Record::Type::kReign, ballot, decree, 0, 0, {}, member};
}

inline Disk::Options mode(LogSync sync, uint64_t segment_bytes = 32u << 20) {
  Disk::Options options;
  options.sync = sync;
  options.segment_bytes = segment_bytes;
  return options;
}

// What a log says: the newest content of each valid decree.
using Model = std::map<Decree, Kept>;
inline void apply(const Kept& r, Model& model) {
  if (r.type == Record::Type::kReign) {
    model.erase(model.upper_bound(r.decree), model.end());
  } else {
    model[r.decree] = r;
  }
}
inline Model effective(const std::vector<Kept>& records) {
  Model out;
  for (const Kept& r : records) apply(r, out);
  return out;
}

class LogWorld {
 public:
  static constexpr const char* kDir = "/r/plog";

  explicit LogWorld(uint64_t seed, const Disk::Options& options = {})
      : options(options), world(seed), files(seed + 1, root()) {}
  ~LogWorld() { close(); }

  void boot(Decree after = 0) {
    auto s = try_boot(after);
    ASSERT_TRUE(s.ok()) << s.to_string();
  }
  Status try_boot(Decree after = 0) {
    files.boot();
    node = std::make_unique<sim::SimRuntime>(world, "r1", sim::SimRuntime::Options{});
    disk = Disk::make(files, node->blocking(), options);
    delivered.clear();
    auto opened = Log::open(
        *disk, node->shard(0), kDir, after,
        [this](const Record& r) { delivered.push_back(Kept::of(r)); }, summary);
    if (!opened) return opened.error();
    log = std::move(*opened);
    told.clear();
    log->set_on_durable([this](const Status& status, Decree decree) {
      told.emplace_back(status, decree);
      if (on_durable) on_durable(status, decree);
    });
    return {};
  }
  void close() {
    log.reset();
    disk.reset();
    node.reset();
  }
  // The machine goes down: what was not synced may be gone.
  void power_cut() {
    files.crash();
    if (node) node->kill();
    close();
  }
  // The process ends: what was written stays.
  void kill() {
    files.stop();
    if (node) node->kill();
    close();
  }

  Status append(const Kept& record) { return log->append(record.view()); }
  void must_append(const Kept& record) {
    auto s = append(record);
    ASSERT_TRUE(s.ok()) << s.to_string();
  }
  // Appends mutations up to `last` with payloads of `size` bytes.
  void fill(Ballot ballot, Decree last, size_t size = 10) {
    while (log->last_decree() < last) {
      Decree d = log->last_decree() + 1;
      must_append(mutation(ballot, d, std::string(size, static_cast<char>('a' + d % 26)), d - 1));
    }
  }
  void settle() { world.run_until_idle(); }
  std::vector<std::string> segments() { return files.list(kDir).value(); }
  std::string path(const std::string& segment) { return std::string(kDir) + "/" + segment; }
  std::string content(const std::string& segment) {
    return files.read_all(path(segment), 1u << 30).value();
  }
  // Puts a file of this content in the place of a segment, durably.
  void put(const std::string& segment, std::string_view bytes) {
    files.boot();
    auto s = files.write_atomic(path(segment), bytes);
    ASSERT_TRUE(s.ok()) << s.to_string();
  }

  Disk::Options options;
  sim::SimWorld world;
  sim::SimFileSystem files;
  std::unique_ptr<sim::SimRuntime> node;
  std::unique_ptr<Disk> disk;
  std::unique_ptr<Log> log;
  ReplaySummary summary;
  std::vector<Kept> delivered;
  std::vector<std::pair<Status, Decree>> told;
  Log::OnDurable on_durable;

 private:
  static sim::SimFileSystem::Options root() {
    sim::SimFileSystem::Options out;
    out.directories = {"/r"};
    return out;
  }
};

}  // namespace markab::wal
