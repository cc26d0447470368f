#pragma once
// Reads a log's directory at start: which segments belong to the log, every record in them, a torn
// tail cut off, damage told. What is found where, and what becomes of it: 04 §2.3. Blocking.

#include <string>

#include "base/function.h"
#include "io/file.h"
#include "wal/log_index.h"

namespace markab::wal {

struct Replayed {
  LogIndex index;           // up to the damage, if there is some
  uint32_t chain = 0;       // the checksum of the last record
  uint64_t next_index = 1;  // no segment on the disk has this index or a higher one
};

// Delivers records as Log::open says. `out.index` has no segment when the directory holds no log.
// After damage nothing on the disk is changed. Errors: those of the file system.
Result<Replayed> replay(io::FileSystem& files, const std::string& dir, Decree after,
                        const Function<void(const Record&)>& visit, ReplaySummary& summary);

std::string segment_path(const std::string& dir, const SegmentName& name);
// Removes the segments in `dir` with an index below `below`, oldest first, each removal durable
// before the next one, so that a crash leaves no hole.
Status remove_segments(io::FileSystem& files, const std::string& dir, uint64_t below);

}  // namespace markab::wal
