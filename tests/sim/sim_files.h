#pragma once
// The simulated side of io::FileSystem: the disk of one machine, in memory. What was appended is
// seen at once, but a crash loses what was not synced, tears the last write, and forgets directory
// entries that no sync_directory() covered. Disks fill up, fail and rot when they are told to. All
// chance comes from the given seeds.
//
// Two ways to die: stop() is the end of the process (the kernel lives: nothing written is lost),
// crash() the end of the machine. After either, every call fails with kDiskIoError and open files
// are dead for ever, so that destructors of the dead node change nothing; boot() lets the next life
// begin.
//
// Any thread (it has a lock, so that the real runtime can use it too); outlives the files it opens.

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "base/random.h"
#include "io/file.h"

namespace markab::sim {

class SimFileSystem final : public io::FileSystem {
 public:
  struct Options {
    uint64_t capacity_bytes = uint64_t{1} << 40;
    // Directories that exist, durably, from the start, besides "/" and ".".
    std::vector<std::string> directories;
  };
  // How often an operation fails with EIO, each time anew; 0 = never.
  struct FaultRates {
    double append = 0;  // a random part of the data is written
    double sync = 0;    // nothing becomes durable
    double read = 0;
    double metadata = 0;  // create, rename, remove, list, sync_directory, ...
  };
  struct Counters {
    uint64_t appends = 0;
    uint64_t syncs = 0;  // of files
    uint64_t directory_syncs = 0;
    uint64_t reads = 0;
  };

  explicit SimFileSystem(uint64_t seed);
  SimFileSystem(uint64_t seed, const Options& options);
  ~SimFileSystem() override;

  // --- the end of a life, and the next one ---
  void stop();
  // Also loses a random part of what is not durable.
  void crash();
  // As crash(), from a seed of its own.
  void crash(uint64_t seed);
  void boot();

  // --- faults ---
  void set_capacity(uint64_t bytes);
  void set_fault_rates(const FaultRates& rates);
  // The next append (sync) of a file whose path contains `part` fails with `status`, once.
  void fail_next_append(const std::string& part, Status status);
  void fail_next_sync(const std::string& part, Status status);
  // Flips the bits of `mask` in one byte of what is durable. Asserted: the byte is there.
  void rot(const std::string& path, uint64_t offset, uint8_t mask);
  // A new disk: everything but the directories of the start is gone. While the machine is down.
  void wipe();

  // --- for checks ---
  Counters counters() const;
  uint64_t used_bytes() const;
  // Handles of this life that were not destroyed.
  int open_files() const;
  // Of files that have durable bytes, in order.
  std::vector<std::string> durable_files() const;
  // How much of the file a crash cannot take.
  uint64_t synced_bytes(const std::string& path) const;

  // --- io::FileSystem ---
  Result<std::unique_ptr<io::AppendFile>> open_append(const std::string& path) override;
  Result<std::unique_ptr<io::AppendFile>> open_append_mapped(const std::string& path) override;
  Result<std::unique_ptr<io::ReadFile>> open_read(const std::string& path) override;
  Result<std::string> read_all(const std::string& path, size_t limit) override;
  Status write_atomic(const std::string& path, std::string_view data) override;
  Status rename(const std::string& from, const std::string& to) override;
  Status remove(const std::string& path) override;
  Status remove_all(const std::string& path) override;
  Status create_directories(const std::string& path) override;
  Status sync_directory(const std::string& path) override;
  Result<std::vector<std::string>> list(const std::string& path) override;
  bool exists(const std::string& path) override;
  Result<uint64_t> file_size(const std::string& path) override;
  Result<io::SpaceInfo> space(const std::string& path) override;

 private:
  class Appender;
  class Reader;
  // A file or a directory.
  struct Node {
    bool directory = false;
    std::string content;
    uint64_t synced = 0;    // this much of the content is durable ...
    std::string cut_tail;   // ... and was followed by this on the disk, which a truncation not yet
                            // synced cut off
    bool mapped = false;    // grows by steps ...
    uint64_t reserved = 0;  // ... to here; behind the content are zeros when the process ends

    uint64_t used_bytes() const { return std::max<uint64_t>(content.size(), reserved); }
  };
  using NodePtr = std::shared_ptr<Node>;
  using Names = std::map<std::string, NodePtr>;
  // A change of the names that is not durable yet.
  struct Change {
    enum class Kind { kLink, kUnlink, kRename } kind;
    std::string path;
    std::string to;  // kRename
    NodePtr node;    // kLink, kRename
  };

  static std::string normal(const std::string& path);
  static std::string parent(const std::string& path);
  static void apply(const Change& change, Names& names);
  static void move_tree(const std::string& from, const std::string& to, Names& names);

  Status error(Errc code, std::string_view what, const std::string& path,
               std::string_view why) const;
  // The gate of every call: kDiskIoError when the machine is down or the disk fails by chance.
  Status admit(double rate, std::string_view what, const std::string& path);
  Result<NodePtr> find_file(std::string_view what, const std::string& path);
  void end_life();
  void change(Change change);
  void lose_names(Random& random);
  void lose_content(Node& node, Random& random);
  Status append_locked(uint64_t life, const std::string& path, Node& node, std::string_view data);
  Status sync_locked(uint64_t life, const std::string& path, Node& node);
  Status rename_locked(const std::string& from, const std::string& to);
  Status sync_directory_locked(const std::string& path);

  mutable std::mutex mutex_;
  Random random_;
  uint64_t capacity_;
  FaultRates rates_;
  Counters counters_;
  std::vector<std::pair<std::string, Status>> failing_appends_, failing_syncs_;
  bool running_ = true;
  uint64_t life_ = 1;
  Names live_;
  Names durable_;
  std::vector<Change> changes_;  // from durable_ to live_, in order
  Names start_;                  // what exists on a new disk
  int open_files_ = 0;
};

}  // namespace markab::sim
