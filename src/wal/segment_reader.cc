#include "wal/segment_reader.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/crc32c.h"

namespace markab::wal {
namespace {

// The most bytes that holds_valid_record() runs checksums over, beyond the range itself.
constexpr uint64_t kSearchBudget = 1u << 30;

// The checksum of a record of `size` bytes at `offset` that does not lie in one chunk.
Result<uint32_t> checksum_in_file(io::ReadFile& file, uint32_t salt, uint64_t offset,
                                  uint64_t size) {
  uint32_t checksum = salt;
  std::string part;
  for (uint64_t done = 4; done < size;) {
    auto n = static_cast<size_t>(std::min<uint64_t>(kReadChunk, size - done));
    if (auto s = file.read(offset + done, n, part); !s.ok()) return s;
    if (part.size() != n) return ~checksum;  // the file became shorter: no record
    checksum = crc32c(part, checksum);
    done += n;
  }
  return checksum;
}

}  // namespace

Status SegmentReader::fill(size_t n) {
  if (offset_ >= chunk_offset_ && offset_ + n <= chunk_offset_ + chunk_.size()) return {};
  auto wanted = static_cast<size_t>(std::min<uint64_t>(std::max(n, kReadChunk), end_ - offset_));
  chunk_offset_ = offset_;
  return file_.read(offset_, wanted, chunk_);
}

SegmentReader::Outcome SegmentReader::bad(std::string why) {
  why_ = std::move(why);
  return Outcome::kBad;
}

Result<SegmentReader::Outcome> SegmentReader::next() {
  if (offset_ >= end_) return Outcome::kEnd;
  uint64_t left = end_ - offset_;
  if (left < kRecordHeader) return bad(fmt::format("{} bytes are less than a record", left));
  if (auto s = fill(kRecordHeader); !s.ok()) return s;
  if (window().size() < kRecordHeader) return bad("the file ends inside a record");
  auto head = RecordHead::decode(window().data());
  if (!head) return bad("these bytes are not a record");
  if (head->size() > left)
    return bad(fmt::format("a record of {} bytes has only {}", head->size(), left));
  if (auto s = fill(head->size()); !s.ok()) return s;
  auto bytes = window().substr(0, head->size());
  if (bytes.size() < head->size()) return bad("the file ends inside a record");
  if (auto found = record_checksum(bytes, salt_); found != head->checksum) {
    return bad(fmt::format("the checksum of a record is {:08x}, its bytes give {:08x}",
                           head->checksum, found));
  }
  head_ = *head;
  head_.record.payload = bytes.substr(kRecordHeader);
  offset_ += bytes.size();
  return Outcome::kRecord;
}

Result<bool> holds_valid_record(io::ReadFile& file, uint32_t salt, uint64_t from, uint64_t end) {
  std::string chunk;
  uint64_t budget = kSearchBudget;
  while (from + kRecordHeader <= end) {
    auto n = static_cast<size_t>(std::min<uint64_t>(kReadChunk, end - from));
    if (auto s = file.read(from, n, chunk); !s.ok()) return s;
    if (chunk.size() < kRecordHeader) return false;
    size_t last = chunk.size() - kRecordHeader;
    for (size_t at = 0; at <= last; ++at) {
      // The cheap question first: nearly all positions fail it.
      if (auto type = load_le<uint32_t>(chunk.data() + at + 8); type != 1 && type != 2) continue;
      auto head = RecordHead::decode(chunk.data() + at);
      if (!head || head->size() > end - from - at) continue;
      if (head->size() > budget) return true;
      budget -= head->size();
      if (at + head->size() <= chunk.size()) {
        if (record_checksum({chunk.data() + at, head->size()}, salt) == head->checksum) return true;
        continue;
      }
      auto checksum = checksum_in_file(file, salt, from + at, head->size());
      if (!checksum) return checksum.error();
      if (*checksum == head->checksum) return true;
    }
    from += last + 1;
  }
  return false;
}

}  // namespace markab::wal
