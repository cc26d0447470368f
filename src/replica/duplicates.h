#pragma once
// Writes that another cluster ships to this one (spec 06 §5): from which clusters they are taken,
// and how their messages read. Pure; any thread.

#include <bitset>
#include <map>
#include <string>
#include <string_view>

#include "base/function.h"
#include "base/status.h"
#include "engine/write_request.h"

namespace markab::replica {

struct DuplicationPeers {
  static constexpr int kIds = 128;  // 1..127; 0 is a cluster without one
  // Whether a put gives way to a newer live record ([replication] dup_verify_timetag).
  enum class KeepNewer { kAlways, kAsRequested, kNever };

  uint8_t own_id = 0;
  std::bitset<kIds> known;
  bool takes_strangers = false;  // [replication] dup_ignore_other_cluster_ids
  KeepNewer keep_newer = KeepNewer::kAlways;
};

// Reads [duplication-group], names and ids; `own_name` may be missing there. Error: an id that is
// no number of 1..127, or that two clusters have.
Result<DuplicationPeers> duplication_peers(const std::map<std::string, std::string>& group,
                                           const std::string& own_name);

// Whether rows of that hash are this partition's.
using OwnsHash = Function<bool(uint64_t hash)>;

// Reads a duplicate request; `out` views `args`. What a source of Pegasus may be told only with
// "busy" (it ends its process at other answers) becomes `out.refusal`. Errors: kInvalidData for
// bytes that do not parse, kParentPartitionMisused for a row of another partition.
Status decode_duplicate(std::string_view args, const DuplicationPeers& peers, const OwnsHash& owns,
                        engine::DuplicateRequest& out);

}  // namespace markab::replica
