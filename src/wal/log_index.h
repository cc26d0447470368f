#pragma once
// What a log knows in memory about its segments: which decrees lie where, what was rewritten, which
// ballot each decree has. Grows with each record, at replay as at append; holds no file and no
// lock.

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "wal/format.h"

namespace markab::wal {

// A reader that wants decrees from d on may start at any mark whose `last_before` is below d.
struct Mark {
  uint64_t offset = 0;
  Decree last_before = 0;  // the last valid decree at this place
};
// The record at `offset` replaces or voids what earlier records say about decrees from `low` on.
struct Rewind {
  uint64_t offset = 0;
  Decree low = 0;
};

struct Segment {
  SegmentName name;
  uint64_t bytes = 0;    // header and records, those included that wait to be written
  uint64_t written = 0;  // of these, what is in the file
  Decree highest =
      0;  // the highest decree of any mutation in it, void ones included; 0 when it has none
  std::vector<Mark> marks;
  std::vector<Rewind> rewinds;
};

class LogIndex {
 public:
  // The log begins anew with nothing before `previous`.
  void clear(Decree previous);
  // A segment with this header follows; its header is `bytes` of it.
  void add_segment(const SegmentHeader& header);
  // Whether a record may follow what is there. The reason when not: a gap before its decree, or a
  // rewrite that does not have a higher ballot.
  Status admits(const Record& record) const;
  // The record, of `size` bytes, was added to the last segment. Precondition: admits(record).
  void add_record(const Record& record, size_t size);
  // How many of the oldest segments hold no mutation above `decree`. Never the last one.
  size_t removable(Decree decree) const;
  void remove_oldest(size_t count);

  std::deque<Segment>& segments() { return segments_; }
  const std::deque<Segment>& segments() const { return segments_; }
  Decree last_decree() const { return last_decree_; }
  Decree trimmed() const { return segments_.empty() ? 0 : segments_.front().name.previous; }
  Ballot ballot() const { return ballot_; }
  Ballot member() const { return member_; }
  Decree committed() const { return std::min(committed_, last_decree_); }
  uint64_t bytes() const { return bytes_; }

 private:
  Ballot ballot_of(Decree decree) const;  // -1: not known
  void set_ballot(Decree decree, Ballot ballot);

  std::deque<Segment> segments_;
  Decree last_decree_ = 0;
  Ballot ballot_ = 0;
  Ballot member_ = 0;
  Decree committed_ = 0;
  uint64_t bytes_ = 0;
  // First decree of each run of equal ballots -> the ballot; up to last_decree_. -1 where it is not
  // known.
  std::map<Decree, Ballot> ballots_;
};

}  // namespace markab::wal
