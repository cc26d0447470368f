// Reading an open log: for learners and for duplication.

#include <algorithm>
#include <limits>

#include "base/assert.h"
#include "wal/log_core.h"
#include "wal/segment_reader.h"

namespace markab::wal {
namespace {

// What is read of one segment: records in [begin, end).
struct Part {
  SegmentName name;
  uint64_t begin = 0;
  uint64_t end = 0;
};
// A record that replaces or voids decrees from `low` on, at a place of the parts; `lowest` is the
// least `low` from here to the end.
struct Place {
  size_t part = 0;
  uint64_t offset = 0;
  Decree low = 0;
  Decree lowest = 0;
};
struct Plan {
  std::vector<Part> parts;
  std::vector<Place> rewinds;
};

// From the last mark before which nothing at or above `from` is still valid, to the end of what is
// written.
Plan plan_from(const std::deque<Segment>& segments, Decree from) {
  size_t first = segments.size();
  uint64_t begin = 0;
  while (begin == 0) {
    MARKAB_ASSERT(first > 0, "no mark of the log is before a decree that was not trimmed", from);
    --first;
    const auto& marks = segments[first].marks;
    auto mark = std::find_if(marks.rbegin(), marks.rend(),
                             [&](const Mark& m) { return m.last_before < from; });
    if (mark != marks.rend()) begin = mark->offset;
  }
  Plan plan;
  for (size_t i = first; i < segments.size(); ++i) {
    const Segment& segment = segments[i];
    for (const Rewind& rewind : segment.rewinds) {
      if (rewind.offset < segment.written && (i > first || rewind.offset >= begin)) {
        plan.rewinds.push_back({plan.parts.size(), rewind.offset, rewind.low, 0});
      }
    }
    plan.parts.push_back({segment.name, i == first ? begin : kSegmentHeader, segment.written});
  }
  Decree lowest = std::numeric_limits<Decree>::max();
  for (auto place = plan.rewinds.rbegin(); place != plan.rewinds.rend(); ++place) {
    place->lowest = lowest = std::min(lowest, place->low);
  }
  return plan;
}

// Gathers the newest content of decrees from `from` on, up to a number of bytes.
class Gatherer {
 public:
  Gatherer(Decree from, size_t max_bytes) : from_(from), max_bytes_(max_bytes) {}

  // Errors: a record that cannot be there.
  Status add(const Record& record) {
    if (record.type == Record::Type::kReign) {
      shrink(record.decree);
      return {};
    }
    if (record.decree < from_ || record.decree > cap_) return {};
    auto at = static_cast<size_t>(record.decree - from_);
    if (at > records_.size()) {
      return {Errc::kInvalidData,
              fmt::format("decree {} is missing before {}", end(), record.decree)};
    }
    if (at == records_.size()) {
      if (!records_.empty() && bytes_ + record.payload.size() > max_bytes_) {
        cap_ = record.decree - 1;
        return {};
      }
      records_.emplace_back();
    }
    auto& [kept, payload] = records_[at];
    bytes_ += record.payload.size() - payload.size();
    kept = record;
    kept.payload = {};
    payload.assign(record.payload);
    return {};
  }
  // All that fits is here, as long as no later record changes it.
  bool full() const { return end() > cap_; }
  Decree cap() const { return cap_; }
  std::vector<std::pair<Record, std::string>> take() { return std::move(records_); }

 private:
  Decree end() const { return from_ + static_cast<Decree>(records_.size()); }
  void shrink(Decree last) {
    while (!records_.empty() && end() - 1 > last) {
      bytes_ -= records_.back().second.size();
      records_.pop_back();
    }
  }

  const Decree from_;
  const size_t max_bytes_;
  Decree cap_ = std::numeric_limits<Decree>::max();  // nothing above it is taken
  size_t bytes_ = 0;
  std::vector<std::pair<Record, std::string>> records_;
};

}  // namespace

Result<std::vector<std::pair<Record, std::string>>> LogCore::read(Decree from, size_t max_bytes) {
  Plan plan;
  {
    std::lock_guard lock(mutex_);
    if (from <= index_.trimmed()) {
      return Status(Errc::kObjectNotFound,
                    fmt::format("{}: decree {} was trimmed; the log begins after {}", dir_, from,
                                index_.trimmed()));
    }
    if (from > index_.last_decree() || index_.segments().empty())
      return std::vector<std::pair<Record, std::string>>();
    plan = plan_from(index_.segments(), from);
  }
  Gatherer gatherer(from, max_bytes);
  size_t next_rewind = 0;
  for (size_t i = 0; i < plan.parts.size(); ++i) {
    const Part& part = plan.parts[i];
    auto path = segment_path(dir_, part.name);
    if (part.begin >= part.end) continue;  // nothing of it is written yet
    auto file = files_.open_read(path);
    if (!file && file.error().code() == Errc::kPathNotFound) {
      return Status(Errc::kObjectNotFound,
                    fmt::format("{} was removed while decree {} was read", path, from));
    }
    if (!file) return file.error();
    SegmentReader reader(**file, part.name.salt(), part.begin, part.end);
    for (;;) {
      uint64_t offset = reader.offset();
      while (next_rewind < plan.rewinds.size() &&
             std::pair(plan.rewinds[next_rewind].part, plan.rewinds[next_rewind].offset) <
                 std::pair(i, offset)) {
        ++next_rewind;
      }
      if (gatherer.full() && (next_rewind == plan.rewinds.size() ||
                              plan.rewinds[next_rewind].lowest > gatherer.cap())) {
        return gatherer.take();
      }
      auto outcome = reader.next();
      if (!outcome) return outcome.error();
      if (*outcome == SegmentReader::Outcome::kEnd) break;
      Status status;
      if (*outcome == SegmentReader::Outcome::kBad)
        status = Status(Errc::kInvalidData, reader.why());
      if (status.ok()) status = gatherer.add(reader.record());
      if (!status.ok())
        return status.with_context(fmt::format("{} is damaged at {}", path, offset));
    }
  }
  return gatherer.take();
}

}  // namespace markab::wal
