#pragma once
// The mutation log of one replica: appended by its shard, made durable per disk, replayed at start,
// read by learners, trimmed behind checkpoints. Knows files and records, not replicas. Format:
// docs/formats.md, "Log segment".
//
// Owned by one replica; every member is called on that replica's shard unless it says otherwise.
// Records appended in one turn of the shard go to the file with one write; all writes of one disk
// that wait share one sync (group commit).

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/function.h"
#include "base/ids.h"
#include "io/file.h"
#include "io/shard.h"

namespace markab::wal {

// When on_durable is told: after the data is synced; after write(2), with a sync each interval
// behind it; after write(2), the kernel writes back when it likes.
enum class LogSync { kAlways, kInterval, kNone };

// The largest payload of a record; the callers' bounds on mutations are far below it.
inline constexpr size_t kMaxPayload = 64u << 20;

struct Record {
  enum class Type : uint8_t {
    kMutation = 1,  // one mutation, `decree` = the one before it + 1 (or a rewrite of it under a
                    // higher ballot)
    kReign =
        2,  // a new ballot is adopted; records with a decree above `decree` are void from here on
  };
  Type type = Type::kMutation;
  Ballot ballot = 0;
  Decree decree = 0;
  int64_t timestamp_us = 0;  // kMutation: given by the primary that first prepared it
  Decree committed = 0;      // the commit point that the writer knew
  std::string_view payload;  // kMutation: the serialised effects
  Ballot member = 0;         // kReign: at which the writer was a member of the group last
};

// One data directory's way to durability. Shared by the replicas of that disk on all shards;
// thread-safe.
class Disk {
 public:
  struct Options {
    LogSync sync = LogSync::kAlways;
    Duration interval = std::chrono::milliseconds(100);
    uint64_t segment_bytes = 32u << 20;
    // So many logs are synced at a time, each on a thread of the pool: the pool needs more threads
    // than all its disks ask for together. See disk.h for why more than one.
    int parallel_syncs = 4;
    size_t max_unwritten_bytes = 32u << 20;  // per log: more is kBusy for the appender
  };
  virtual ~Disk() = default;
  virtual io::FileSystem& files() = 0;
  virtual const Options& options() const = 0;
  static std::unique_ptr<Disk> make(io::FileSystem& files, io::BlockingPool& pool,
                                    const Options& options);
};

// What replay found.
struct ReplaySummary {
  Ballot ballot = 0;  // the highest seen
  Ballot member = 0;  // at which the writer was a member of the group last
  Decree last_decree =
      0;  // the end of the valid log, Log::last_decree(); 0 when it never held anything
  Decree last_committed = 0;  // the highest commit point any record knew, at most last_decree
  uint64_t records = 0;
  uint64_t bytes = 0;
  uint64_t cut_bytes = 0;  // behind the last whole record: cut off
  // Of those, what was written: the end of a record. A crash cut its write short, and nobody was
  // told of it; or the disk changed what it had, and others were. Nothing tells these two apart.
  uint64_t torn_bytes = 0;
  // The log ended below `after`, or was not there although `after` > 0, and was begun anew behind
  // it. What it held above `after` and told to be durable, if it did, is lost: the caller must not
  // take its old role again.
  bool began_anew = false;
  // Damage in the middle (a bad record with valid ones behind it, a missing segment, a log that
  // begins above `after`): file, offset and reason. The caller must relearn instead of serving past
  // the hole; records before the hole were delivered. Nothing on the disk was changed. Until
  // reset(), append() answers this error.
  Status damage;
};

class Log {
 public:
  // Told when everything up to `decree`, with its newest content, is as durable as Options::sync
  // asks; or once with the error that ended the log (kDiskInsufficient, kDiskIoError, ...) and the
  // decree that is durable. On the shard, never from inside append(). The log may be destroyed from
  // inside. The decree can be lower than one told before: as long as a rewrite of decree d, or a
  // reign that voids from d on, is appended and not yet durable, at most d - 1 is told. A caller
  // that remembers what it was told lowers it itself when it appends such a record.
  using OnDurable = Callback<Status, Decree>;

  // Opens or creates the log in `dir` (its parent exists) and delivers every mutation with a decree
  // above `after`, the checkpoint's, and all reign records to `visit` in log order: a rewrite of a
  // decree comes later than what it replaces, and the caller replaces. Blocking: call it on the
  // blocking pool; bounded memory. The log is then bound to `shard` and ready for appends. A log
  // that ends below `after` is begun anew there: the next decree is `after` + 1. Errors: those of
  // the file system; damage is none, see ReplaySummary.
  static Result<std::unique_ptr<Log>> open(Disk& disk, io::Shard& shard, const std::string& dir,
                                           Decree after, const Function<void(const Record&)>& visit,
                                           ReplaySummary& summary);
  // Writes what is buffered; syncs unless kNone; blocking. On the shard, or on another thread once
  // the shard calls nothing more; a sync that is under way does not hinder it, and no callback
  // comes afterwards.
  virtual ~Log() = default;

  virtual void set_on_durable(OnDurable callback) = 0;
  // Appends one record; the payload is copied. Precondition (asserted): a mutation's decree is at
  // most last_decree() + 1 and, where it rewrites, its ballot is higher than the one it replaces.
  // kBusy when Options::max_unwritten_bytes wait. kInvalidData after damage, or the error that
  // ended the log. A full disk does not end it: what was appended is written when there is space.
  virtual Status append(const Record& record) = 0;
  // Whether it waits for that. Any thread.
  virtual bool out_of_space() const = 0;
  // The memory that append() begins with, for its caller to have it fetched ahead.
  virtual std::string_view hot_memory() const { return {}; }
  // How many records were appended since open(), reigns included, and how many of these are
  // durable: for a caller that waits for a certain record.
  virtual uint64_t appended_records() const = 0;
  virtual uint64_t durable_records() const = 0;
  // The highest decree appended and still valid.
  virtual Decree last_decree() const = 0;
  // Decrees up to here may have been trimmed; 0 when nothing was.
  virtual Decree trimmed() const = 0;
  // Removes whole segments whose decrees are all at most `decree`, in the background; the caller
  // passes the least of durable checkpoint, learners and duplication readers.
  virtual void trim(Decree decree) = 0;
  // Forgets everything and continues after `decree` (a checkpoint of that decree was installed).
  // Durable when it returns, in every mode; blocking, some syncs long. What waits for on_durable is
  // not told any more. Mends damage. An error ends the log.
  virtual Status reset(Decree decree) = 0;
  virtual uint64_t bytes() const = 0;

  // Reads mutations from `from` upwards for a learner: up to `max_bytes` of payload, at least one.
  // Each decree once, with its newest content: contiguous from `from`; none when the file holds no
  // such decree (yet). The bytes are in the string, the Record's payload is empty. kObjectNotFound
  // when `from` was trimmed, kInvalidData when the file is damaged. Blocking; any thread; may run
  // beside appends, not beside the destructor.
  virtual Result<std::vector<std::pair<Record, std::string>>> read(Decree from,
                                                                   size_t max_bytes) = 0;
};

}  // namespace markab::wal
