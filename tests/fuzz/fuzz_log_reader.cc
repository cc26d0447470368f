// Any bytes as the files of a log: opening it ends, without a crash; what it delivers is the same
// when it is opened again, unless it was cut; reading gives only what was delivered.
//
// The first byte of the input chooses: bit 0, give every record a right checksum and chain, so that
// the bytes behind the checksums are reached; bit 1, make two segments of it; the upper bits, the
// checkpoint.
#include <cstdlib>
#include <map>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/log.h"
#include "sim/sim_files.h"
#include "sim/sim_runtime.h"
#include "wal/format.h"
#include "wal/log.h"

namespace markab::wal {
namespace {

constexpr const char* kDir = "/r/plog";

// Makes records of the bytes, one behind the other: the lengths that they say, as far as there are
// bytes.
std::string repaired(std::string_view bytes, const SegmentName& name, uint32_t& chain,
                     Decree& last) {
  std::string out;
  while (bytes.size() >= kRecordHeader) {
    std::string record(bytes.substr(0, kRecordHeader));
    size_t payload =
        std::min<size_t>(load_le<uint32_t>(record.data() + 4) % 1024, bytes.size() - kRecordHeader);
    record.append(bytes.substr(kRecordHeader, payload));
    store_le<uint32_t>(record.data() + 4, static_cast<uint32_t>(payload));
    store_le<uint32_t>(record.data() + 12, chain);
    chain = record_checksum(record, name.salt());
    store_le<uint32_t>(record.data(), chain);
    last = load_le<Decree>(record.data() + 24);
    out += record;
    bytes.remove_prefix(record.size());
  }
  return out + std::string(bytes);
}

void put(io::FileSystem& files, const SegmentName& name, std::string_view body, bool repair,
         uint32_t& chain, Decree& last) {
  std::string bytes;
  if (repair) {
    SegmentHeader header;
    header.name = name;
    header.chain = chain;
    header.encode(bytes);
    bytes += repaired(body, name, chain, last);
  } else {
    bytes = body;
  }
  auto s = files.write_atomic(std::string(kDir) + "/" + name.to_string(), bytes);
  MARKAB_ASSERT(s.ok(), "a file of the test", s);
}

struct Found {
  std::vector<std::pair<Record, std::string>> records;
  ReplaySummary summary;
};

Found open_once(sim::SimFileSystem& files, Decree after) {
  sim::SimWorld world(1);
  sim::SimRuntime node(world, "r", {});
  auto disk = Disk::make(files, node.blocking(), {});
  Found out;
  auto visit = [&](const Record& r) { out.records.emplace_back(r, std::string(r.payload)); };
  auto log = Log::open(*disk, node.shard(0), kDir, after, visit, out.summary);
  MARKAB_ASSERT(log.has_value(), "opening failed", log.error());
  if (!out.summary.damage.ok()) return out;
  std::map<Decree, std::string> model;
  for (const auto& [record, payload] : out.records) {
    if (record.type == Record::Type::kReign) {
      model.erase(model.upper_bound(record.decree), model.end());
    } else {
      model[record.decree] = payload;
    }
  }
  Decree from = std::max(after, (*log)->trimmed()) + 1;
  auto read = (*log)->read(from, 1000);
  MARKAB_ASSERT(read.has_value(), "reading failed", read.error());
  for (const auto& [record, payload] : *read) {
    MARKAB_ASSERT(record.decree == from && model.at(from) == payload,
                  "read is not what was delivered", from);
    ++from;
  }
  auto next = (*log)->last_decree();
  MARKAB_ASSERT(next >= 0, "a negative end", next);
  if (next < INT64_MAX) {
    auto s = (*log)->append({Record::Type::kMutation, INT64_MAX, next + 1, 0, 0, "goes on"});
    MARKAB_ASSERT(s.ok(), "the log does not go on", s);
  }
  return out;
}

void run(const uint8_t* data, size_t size) {
  if (size == 0) return;
  const bool repair = (data[0] & 1) != 0;
  const bool two = (data[0] & 2) != 0;
  const Decree after = data[0] >> 2;
  std::string_view body(reinterpret_cast<const char*>(data + 1), size - 1);
  sim::SimFileSystem::Options options;
  options.directories = {kDir};
  sim::SimFileSystem files(1, options);
  uint32_t chain = 0;
  Decree last = 0;
  SegmentName first{1, 0};
  put(files, first, two ? body.substr(0, body.size() / 2) : body, repair, chain, last);
  if (two) {
    SegmentName second{2, std::max<Decree>(last, 0)};
    put(files, second, body.substr(body.size() / 2), repair, chain, last);
  }
  Found before = open_once(files, after);
  Found again = open_once(files, after);
  MARKAB_ASSERT(before.summary.damage.ok() == again.summary.damage.ok(), "damage came or went",
                before.summary.damage, again.summary.damage);
  if (!before.summary.damage.ok()) {
    MARKAB_ASSERT(before.records.size() == again.records.size(),
                  "another number of records before the damage");
    return;
  }
  MARKAB_ASSERT(again.summary.cut_bytes == 0, "what was cut is cut again", again.summary.cut_bytes);
  MARKAB_ASSERT(again.records.size() <= before.records.size() + 1, "records came from nowhere");
}

}  // namespace
}  // namespace markab::wal

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  markab::log::set_level(markab::log::Level::kOff);
  markab::wal::run(data, size);
  return 0;
}
