#pragma once
// Reads the records of one segment in order, a chunk of the file at a time. Used at start, for
// learners, and by tools. Blocking; one thread at a time.

#include <cstdint>
#include <string>

#include "io/file.h"
#include "wal/format.h"

namespace markab::wal {

// What is read at once; a record that is larger is read whole.
inline constexpr size_t kReadChunk = 1u << 20;

class SegmentReader {
 public:
  enum class Outcome {
    kRecord,  // record() holds the next one
    kEnd,     // the range ends here
    kBad,     // no valid record here: why() says what is wrong
  };

  // Reads records of `file` in [offset, end).
  SegmentReader(io::ReadFile& file, uint32_t salt, uint64_t offset, uint64_t end)
      : file_(file), salt_(salt), offset_(offset), end_(end) {}

  // Errors: those of the file.
  Result<Outcome> next();

  // The record's payload is valid until the next call of next().
  const RecordHead& head() const { return head_; }
  const Record& record() const { return head_.record; }
  // Where the next record begins; after kBad, where the bad one begins.
  uint64_t offset() const { return offset_; }
  const std::string& why() const { return why_; }

 private:
  // Makes [offset_, offset_ + n) of the file the front of window().
  Status fill(size_t n);
  std::string_view window() const {
    return std::string_view(chunk_).substr(static_cast<size_t>(offset_ - chunk_offset_));
  }
  Outcome bad(std::string why);

  io::ReadFile& file_;
  const uint32_t salt_;
  uint64_t offset_;
  const uint64_t end_;
  std::string chunk_;
  uint64_t chunk_offset_ = 0;
  RecordHead head_;
  std::string why_;
};

// Whether a valid record begins anywhere in [from, end): it tells a torn tail from damage in the
// middle. Where bytes look so much like records that the search would not end soon, the answer is
// yes, the careful one.
Result<bool> holds_valid_record(io::ReadFile& file, uint32_t salt, uint64_t from, uint64_t end);

}  // namespace markab::wal
