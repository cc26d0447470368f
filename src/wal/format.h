#pragma once
// The bytes of a log segment: its name, its header, its records. Pure functions; docs/formats.md,
// "Log segment", has the byte tables. Any thread.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/ids.h"
#include "wal/log.h"

namespace markab::wal {

inline constexpr uint32_t kFormatVersion = 1;
inline constexpr size_t kSegmentHeader = 64;
inline constexpr size_t kRecordHeader = 48;
inline constexpr size_t kMaxRecord = kRecordHeader + kMaxPayload;

struct SegmentName {
  uint64_t index = 0;   // from 1, contiguous
  Decree previous = 0;  // the last valid decree before this segment

  std::string to_string() const;  // "log.<index>.<previous>"
  // Nothing for any other name, "log.01.5" included: one segment has one name.
  static std::optional<SegmentName> parse(std::string_view name);
  // Enters the checksums of all records of the segment, so that bytes of another segment, or a
  // record that a client built inside a value, never pass for a record of this one. From the name,
  // so that a broken header does not hide whether records are behind it.
  uint32_t salt() const;
};

struct SegmentHeader {
  SegmentName name;
  // The log begins with this segment: whatever earlier segments are still there is void (see
  // Log::reset).
  bool fresh = false;
  Ballot ballot = 0;     // the highest adopted before this segment
  Ballot member = 0;     // at which the writer was a member last, before this segment
  Decree committed = 0;  // the highest commit point known before this segment
  uint32_t chain = 0;    // checksum of the record before; 0 when there is none

  void encode(std::string& out) const;  // appends kSegmentHeader bytes
  // kInvalidData with the reason.
  static Result<SegmentHeader> decode(std::string_view bytes, const SegmentName& name);
};

// Appends the record's bytes to `out`; `chain` is the checksum of the record before it (that of the
// header's `chain` for the first one of a segment). Returns the record's own checksum.
uint32_t encode_record(const Record& record, uint32_t chain, uint32_t salt, std::string& out);

// The fixed part of a record, before its checksum is known to be right.
struct RecordHead {
  uint32_t checksum = 0;
  uint32_t chain = 0;
  uint32_t payload = 0;  // bytes
  Record record;         // without the payload

  size_t size() const { return kRecordHeader + payload; }
  // `bytes` holds at least kRecordHeader. Nothing when a field has a value that is never written.
  static std::optional<RecordHead> decode(const char* bytes);
};
// `bytes` = the whole record.
uint32_t record_checksum(std::string_view bytes, uint32_t salt);

}  // namespace markab::wal
