#include "wal/replay.h"

#include <algorithm>

#include "base/log.h"
#include "wal/segment_reader.h"

namespace markab::wal {
namespace {

Result<std::vector<SegmentName>> list_segments(io::FileSystem& files, const std::string& dir) {
  auto names = files.list(dir);
  if (!names) return names.error();
  std::vector<SegmentName> out;
  for (const auto& name : *names) {
    if (auto segment = SegmentName::parse(name)) out.push_back(*segment);
  }
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) {
    return std::pair(a.index, a.previous) < std::pair(b.index, b.previous);
  });
  return out;
}

// What a process that was killed had reserved and not filled.
Result<bool> only_zeros(io::ReadFile& file, uint64_t from, uint64_t end) {
  constexpr size_t kChunk = 64u << 10;
  std::string bytes;
  for (; from < end; from += bytes.size()) {
    auto n = static_cast<size_t>(std::min<uint64_t>(kChunk, end - from));
    if (auto s = file.read(from, n, bytes); !s.ok()) return s;
    if (bytes.empty() || bytes.find_first_not_of('\0') != std::string::npos) return false;
  }
  return true;
}

// One run over the segments.
class Replayer {
 public:
  Replayer(io::FileSystem& files, const std::string& dir, Decree after,
           const Function<void(const Record&)>& visit, ReplaySummary& summary)
      : files_(files), dir_(dir), after_(after), visit_(visit), summary_(summary) {}

  Result<Replayed> run() {
    auto names = list_segments(files_, dir_);
    if (!names) return names.error();
    if (!names->empty()) out_.next_index = names->back().index + 1;
    if (auto s = drop_before_fresh(*names); !s.ok()) return s;
    for (size_t i = 0; i < names->size() && summary_.damage.ok(); ++i) {
      const SegmentName& name = (*names)[i];
      if (i > 0 && name.index != (*names)[i - 1].index + 1) {
        damage((*names)[i - 1], "the end",
               fmt::format("the segment after it is missing; the next is {}", name.to_string()));
        break;
      }
      if (auto s = read_segment(name, i + 1 == names->size()); !s.ok()) return s;
    }
    summary_.ballot = out_.index.ballot();
    summary_.member = out_.index.member();
    summary_.last_decree = out_.index.last_decree();
    summary_.last_committed = out_.index.committed();
    return std::move(out_);
  }

 private:
  // The newest fresh segment begins the log. Earlier ones are left over from a reset that a crash
  // cut short.
  Status drop_before_fresh(std::vector<SegmentName>& names) {
    for (size_t i = names.size(); i-- > 0;) {
      auto header = read_header(names[i]);
      if (!header && header.error().code() != Errc::kInvalidData) return header.error();
      if (!header || !header->fresh) continue;
      if (i == 0) return {};
      MARKAB_INFO("{} begins the log anew; removing {} segments before it",
                  segment_path(dir_, names[i]), i);
      names.erase(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(i));
      return remove_segments(files_, dir_, names.front().index);
    }
    return {};
  }

  Result<SegmentHeader> read_header(const SegmentName& name) {
    auto file = files_.open_read(segment_path(dir_, name));
    if (!file) return file.error();
    std::string bytes;
    if (auto s = (*file)->read(0, kSegmentHeader, bytes); !s.ok()) return s;
    return SegmentHeader::decode(bytes, name);
  }

  Status read_segment(const SegmentName& name, bool last) {
    auto header = read_header(name);
    if (!header) {
      if (header.error().code() != Errc::kInvalidData) return header.error();
      return bad_header(name, last, header.error());
    }
    const bool first = out_.index.segments().empty();
    if (first && header->name.previous > after_) {
      damage(name, "0",
             fmt::format("it is the first one and follows decree {}, but the checkpoint ends at {}",
                         header->name.previous, after_));
      return {};
    }
    if (!first && header->name.previous != out_.index.last_decree()) {
      damage(name, "0",
             fmt::format("it follows decree {}, the segment before it ends at {}",
                         header->name.previous, out_.index.last_decree()));
      return {};
    }
    if (!first && header->chain != out_.chain) {
      damage(name, "0", "records at the end of the segment before it are missing");
      return {};
    }
    out_.index.add_segment(*header);
    out_.chain = header->chain;
    summary_.bytes += kSegmentHeader;
    return read_records(name, last);
  }

  // A crash right after the creation of a segment leaves it without a whole header, and without
  // records.
  Status bad_header(const SegmentName& name, bool last, const Status& why) {
    auto path = segment_path(dir_, name);
    auto file = files_.open_read(path);
    if (!file) return file.error();
    bool behind = true;
    if (last) {
      auto found = holds_valid_record(**file, name.salt(), 0, (*file)->size());
      if (!found) return found.error();
      behind = *found;
    }
    if (behind) {
      damage(name, "0", why.message());
      return {};
    }
    MARKAB_WARN("{}: removed, {} bytes: {}; it holds no record (a crash when it was created)", path,
                (*file)->size(), why.message());
    summary_.cut_bytes += (*file)->size();
    summary_.torn_bytes += (*file)->size();
    out_.next_index = name.index;  // no index is left out
    if (auto s = files_.remove(path); !s.ok()) return s;
    return files_.sync_directory(dir_);
  }

  Status read_records(const SegmentName& name, bool last) {
    auto file = files_.open_read(segment_path(dir_, name));
    if (!file) return file.error();
    const uint64_t size = (*file)->size();
    SegmentReader reader(**file, name.salt(), kSegmentHeader, size);
    for (;;) {
      uint64_t offset = reader.offset();
      auto outcome = reader.next();
      if (!outcome) return outcome.error();
      if (*outcome == SegmentReader::Outcome::kEnd) break;
      if (*outcome == SegmentReader::Outcome::kBad)
        return bad_record(name, last, **file, offset, reader.why());
      if (auto s = accept(reader.head()); !s.ok()) {
        damage(name, std::to_string(offset), s.message());
        return {};
      }
    }
    out_.index.segments().back().written = out_.index.segments().back().bytes;
    return {};
  }

  // Errors: a record that is whole but cannot follow what was read.
  Status accept(const RecordHead& head) {
    if (head.chain != out_.chain)
      return {Errc::kInvalidData, "the record before this one is missing"};
    if (auto s = out_.index.admits(head.record); !s.ok()) return s;
    out_.chain = head.checksum;
    out_.index.add_record(head.record, head.size());
    ++summary_.records;
    summary_.bytes += head.size();
    if (head.record.type == Record::Type::kReign || head.record.decree > after_)
      visit_(head.record);
    return {};
  }

  Status bad_record(const SegmentName& name, bool last, io::ReadFile& file, uint64_t offset,
                    const std::string& why) {
    Segment& segment = out_.index.segments().back();
    segment.written = segment.bytes;
    bool behind = true;
    if (last) {
      auto found = holds_valid_record(file, name.salt(), offset + 1, file.size());
      if (!found) return found.error();
      behind = *found;
    }
    if (behind) {
      damage(name, std::to_string(offset), why + (last ? ", and valid records are behind it" : ""));
      return {};
    }
    auto path = segment_path(dir_, name);
    auto reserved = only_zeros(file, offset, file.size());
    if (!reserved) return reserved.error();
    if (*reserved) {
      MARKAB_DEBUG("{}: cut at {}, {} bytes that were reserved", path, offset,
                   file.size() - offset);
    } else {
      MARKAB_WARN("{}: cut at {}, {} bytes are gone: {} (a write that a crash cut short)", path,
                  offset, file.size() - offset, why);
      summary_.torn_bytes += file.size() - offset;
    }
    summary_.cut_bytes += file.size() - offset;
    auto writer = files_.open_append(path);
    if (!writer) return writer.error();
    if (auto s = (*writer)->truncate(offset); !s.ok()) return s;
    return (*writer)->sync();
  }

  void damage(const SegmentName& name, std::string_view offset, std::string_view why) {
    summary_.damage =
        Status(Errc::kInvalidData,
               fmt::format("{} is damaged at {}: {}. The log is valid up to decree {}; "
                           "the replica must be learned again from another one",
                           segment_path(dir_, name), offset, why, out_.index.last_decree()));
    MARKAB_ERROR("{}", summary_.damage.message());
  }

  io::FileSystem& files_;
  const std::string& dir_;
  const Decree after_;
  const Function<void(const Record&)>& visit_;
  ReplaySummary& summary_;
  Replayed out_;
};

}  // namespace

Result<Replayed> replay(io::FileSystem& files, const std::string& dir, Decree after,
                        const Function<void(const Record&)>& visit, ReplaySummary& summary) {
  summary = {};
  return Replayer(files, dir, after, visit, summary).run();
}

std::string segment_path(const std::string& dir, const SegmentName& name) {
  return dir + "/" + name.to_string();
}

Status remove_segments(io::FileSystem& files, const std::string& dir, uint64_t below) {
  auto names = list_segments(files, dir);
  if (!names) return names.error();
  for (const auto& name : *names) {
    if (name.index >= below) break;
    if (auto s = files.remove(segment_path(dir, name)); !s.ok() && s.code() != Errc::kPathNotFound)
      return s;
    if (auto s = files.sync_directory(dir); !s.ok()) return s;
  }
  return {};
}

}  // namespace markab::wal
