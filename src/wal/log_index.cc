#include "wal/log_index.h"

#include <algorithm>

#include "base/assert.h"

namespace markab::wal {
namespace {

// A reader skips at most this much before the decree it wants.
constexpr uint64_t kMarkDistance = 256u << 10;
constexpr Ballot kUnknown = -1;

}  // namespace

void LogIndex::clear(Decree previous) {
  segments_.clear();
  bytes_ = 0;
  last_decree_ = previous;
  committed_ = previous;  // only what is committed is ever in a checkpoint
  ballots_.clear();
}

void LogIndex::add_segment(const SegmentHeader& header) {
  if (segments_.empty()) last_decree_ = header.name.previous;
  MARKAB_ASSERT(header.name.previous == last_decree_, "a segment does not follow the one before",
                header.name.previous, last_decree_);
  Segment segment;
  segment.name = header.name;
  segment.bytes = kSegmentHeader;
  segment.marks.push_back({kSegmentHeader, last_decree_});
  segments_.push_back(std::move(segment));
  bytes_ += kSegmentHeader;
  ballot_ = std::max(ballot_, header.ballot);
  member_ = std::max(member_, header.member);
  committed_ = std::max(committed_, header.committed);
}

Status LogIndex::admits(const Record& record) const {
  if (record.type == Record::Type::kReign) return {};
  if (record.decree > last_decree_ + 1 || record.decree <= 0) {
    return {Errc::kInvalidData,
            fmt::format("decree {} follows decree {}", record.decree, last_decree_)};
  }
  if (record.decree <= last_decree_ && record.ballot <= ballot_of(record.decree)) {
    return {Errc::kInvalidData,
            fmt::format("decree {} of ballot {} is written again under ballot {}", record.decree,
                        ballot_of(record.decree), record.ballot)};
  }
  return {};
}

void LogIndex::add_record(const Record& record, size_t size) {
  MARKAB_ASSERT(!segments_.empty(), "a record without a segment", record.decree);
  Segment& segment = segments_.back();
  uint64_t offset = segment.bytes;
  if (offset - segment.marks.back().offset >= kMarkDistance)
    segment.marks.push_back({offset, last_decree_});
  if (record.type == Record::Type::kReign) {
    if (record.decree < last_decree_) {
      segment.rewinds.push_back({offset, record.decree + 1});
      last_decree_ = record.decree;
      ballots_.erase(ballots_.upper_bound(record.decree), ballots_.end());
    }
  } else {
    if (record.decree <= last_decree_) segment.rewinds.push_back({offset, record.decree});
    set_ballot(record.decree, record.ballot);
    last_decree_ = std::max(last_decree_, record.decree);
    segment.highest = std::max(segment.highest, record.decree);
  }
  ballot_ = std::max(ballot_, record.ballot);
  member_ = std::max(member_, record.member);
  committed_ = std::max(committed_, record.committed);
  segment.bytes += size;
  bytes_ += size;
}

size_t LogIndex::removable(Decree decree) const {
  size_t count = 0;
  while (count + 1 < segments_.size() && segments_[count].highest <= decree &&
         segments_[count + 1].name.previous <= decree) {
    ++count;
  }
  return count;
}

void LogIndex::remove_oldest(size_t count) {
  MARKAB_ASSERT(count < segments_.size(), "the current segment would be removed", count,
                segments_.size());
  for (size_t i = 0; i < count; ++i) {
    bytes_ -= segments_.front().bytes;
    segments_.pop_front();
  }
  // Keep the run that holds the first decree left.
  auto first = ballots_.upper_bound(trimmed() + 1);
  if (first != ballots_.begin()) ballots_.erase(ballots_.begin(), std::prev(first));
}

Ballot LogIndex::ballot_of(Decree decree) const {
  auto next = ballots_.upper_bound(decree);
  return next == ballots_.begin() || decree > last_decree_ ? kUnknown : std::prev(next)->second;
}

void LogIndex::set_ballot(Decree decree, Ballot ballot) {
  Ballot after = ballot_of(decree + 1);
  Ballot before = ballot_of(decree - 1);
  // The decree leaves the run it was in; what follows it keeps its ballot.
  if (decree < last_decree_) ballots_.emplace(decree + 1, after);
  if (decree > last_decree_ && before == ballot) return;
  ballots_[decree] = ballot;
  if (before == ballot) ballots_.erase(decree);
  if (auto next = ballots_.find(decree + 1); next != ballots_.end() && next->second == ballot)
    ballots_.erase(next);
}

}  // namespace markab::wal
