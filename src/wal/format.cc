#include "wal/format.h"

#include <charconv>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/crc32c.h"

namespace markab::wal {
namespace {

constexpr std::string_view kMagic = "MARKABWL";
constexpr uint32_t kFlagFresh = 1;
constexpr size_t kChecksumAt = kSegmentHeader - sizeof(uint32_t);

// Decimal without sign or leading zeros.
template <typename T>
bool parse_number(std::string_view text, T& out) {
  if (text.empty() || (text.size() > 1 && text[0] == '0') || text[0] == '-') return false;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size();
}

// Where 0 was written, before members were told: nothing better is known than the ballot itself.
Ballot decode_member(int64_t raw, Ballot ballot) { return raw > 0 ? raw - 1 : ballot; }

Status bad_header(const SegmentName& name, std::string_view why) {
  return {Errc::kInvalidData,
          fmt::format("the header of {} is not valid: {}", name.to_string(), why)};
}

}  // namespace

std::string SegmentName::to_string() const { return fmt::format("log.{}.{}", index, previous); }

std::optional<SegmentName> SegmentName::parse(std::string_view name) {
  constexpr std::string_view kPrefix = "log.";
  if (name.substr(0, kPrefix.size()) != kPrefix) return {};
  name.remove_prefix(kPrefix.size());
  auto dot = name.find('.');
  if (dot == std::string_view::npos) return {};
  SegmentName out;
  if (!parse_number(name.substr(0, dot), out.index) || out.index == 0) return {};
  if (!parse_number(name.substr(dot + 1), out.previous)) return {};
  return out;
}

uint32_t SegmentName::salt() const {
  char raw[16];
  store_le<uint64_t>(raw, index);
  store_le<int64_t>(raw + 8, previous);
  return crc32c({raw, sizeof raw}, crc32c(kMagic));
}

void SegmentHeader::encode(std::string& out) const {
  size_t start = out.size();
  out.append(kMagic);
  append_le<uint32_t>(out, kFormatVersion);
  append_le<uint32_t>(out, fresh ? kFlagFresh : 0);
  append_le<uint64_t>(out, name.index);
  append_le<int64_t>(out, name.previous);
  append_le<int64_t>(out, ballot);
  append_le<int64_t>(out, committed);
  append_le<uint32_t>(out, chain);
  append_le<int64_t>(out, member + 1);
  append_le<uint32_t>(out, crc32c(std::string_view(out).substr(start)));
  MARKAB_ASSERT(out.size() - start == kSegmentHeader, "the segment header has another size",
                out.size());
}

Result<SegmentHeader> SegmentHeader::decode(std::string_view bytes, const SegmentName& name) {
  if (bytes.size() < kSegmentHeader) return bad_header(name, "the file is too short");
  const char* p = bytes.data();
  if (bytes.substr(0, kMagic.size()) != kMagic) return bad_header(name, "the magic bytes differ");
  if (load_le<uint32_t>(p + kChecksumAt) != crc32c(bytes.substr(0, kChecksumAt))) {
    return bad_header(name, "the checksum differs");
  }
  if (auto version = load_le<uint32_t>(p + 8); version != kFormatVersion) {
    return bad_header(
        name, fmt::format("format version {}; this program knows {}", version, kFormatVersion));
  }
  SegmentHeader out;
  out.fresh = (load_le<uint32_t>(p + 12) & kFlagFresh) != 0;
  out.name.index = load_le<uint64_t>(p + 16);
  out.name.previous = load_le<int64_t>(p + 24);
  out.ballot = load_le<int64_t>(p + 32);
  out.committed = load_le<int64_t>(p + 40);
  out.chain = load_le<uint32_t>(p + 48);
  out.member = decode_member(load_le<int64_t>(p + 52), out.ballot);
  if (out.name.index != name.index || out.name.previous != name.previous) {
    return bad_header(name, fmt::format("it is that of {}", out.name.to_string()));
  }
  return out;
}

uint32_t record_checksum(std::string_view bytes, uint32_t salt) {
  return crc32c(bytes.substr(4), salt);
}

uint32_t encode_record(const Record& record, uint32_t chain, uint32_t salt, std::string& out) {
  MARKAB_ASSERT(record.payload.size() <= kMaxPayload, "a record is too large for the log",
                record.payload.size());
  char head[kRecordHeader];
  store_le<uint32_t>(head + 4, static_cast<uint32_t>(record.payload.size()));
  store_le<uint32_t>(head + 8, static_cast<uint32_t>(record.type));
  store_le<uint32_t>(head + 12, chain);
  store_le<int64_t>(head + 16, record.ballot);
  store_le<int64_t>(head + 24, record.decree);
  bool is_reign = record.type == Record::Type::kReign;
  store_le<int64_t>(head + 32, is_reign ? record.member + 1 : record.timestamp_us);
  store_le<int64_t>(head + 40, record.committed);
  uint32_t checksum = crc32c(record.payload, crc32c({head + 4, sizeof head - 4}, salt));
  store_le<uint32_t>(head, checksum);
  out.append(head, sizeof head);
  out.append(record.payload);
  return checksum;
}

std::optional<RecordHead> RecordHead::decode(const char* p) {
  RecordHead out;
  out.payload = load_le<uint32_t>(p + 4);
  auto type = load_le<uint32_t>(p + 8);  // one byte and three zeros
  if (out.payload > kMaxPayload) return {};
  if (type != static_cast<uint32_t>(Record::Type::kMutation) &&
      type != static_cast<uint32_t>(Record::Type::kReign)) {
    return {};
  }
  out.checksum = load_le<uint32_t>(p);
  out.chain = load_le<uint32_t>(p + 12);
  out.record.type = static_cast<Record::Type>(type);
  out.record.ballot = load_le<int64_t>(p + 16);
  out.record.decree = load_le<int64_t>(p + 24);
  auto told = load_le<int64_t>(p + 32);
  if (out.record.type == Record::Type::kReign) {
    out.record.member = decode_member(told, out.record.ballot);
  } else {
    out.record.timestamp_us = told;
  }
  out.record.committed = load_le<int64_t>(p + 40);
  if (out.record.ballot < 0 || out.record.decree < 0 || out.record.committed < 0) return {};
  return out;
}

}  // namespace markab::wal
