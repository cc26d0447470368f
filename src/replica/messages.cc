#include "replica/messages.h"

#include "base/bytes.h"

namespace markab::replica {
namespace {

using pacifica::Membership;
using pacifica::Mutation;

constexpr uint8_t kVersion = 1;
constexpr size_t kMutationHead = 8 + 8 + 4;  // ballot, timestamp, length

// What comes from the network names a file of a checkpoint, nothing beside it.
bool is_file_name(std::string_view name) {
  return !name.empty() && name.find('/') == std::string_view::npos && name.front() != '.';
}

// Reads little-endian fields; after the first failure everything reads as zero and ok() is false.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {
    if (u8() != kVersion) ok_ = false;
  }
  uint8_t u8() { return number<uint8_t>(); }
  uint16_t u16() { return number<uint16_t>(); }
  uint32_t u32() { return number<uint32_t>(); }
  uint64_t u64() { return number<uint64_t>(); }
  int32_t i32() { return number<int32_t>(); }
  int64_t i64() { return number<int64_t>(); }
  HostPort node() {
    HostPort out;
    out.ipv4 = u32();
    out.port = u16();
    return out;
  }
  Errc errc() {
    auto v = i32();
    if (v < 0 || v >= kErrcCount) ok_ = false;
    return ok_ ? static_cast<Errc>(v) : Errc::kUnknown;
  }
  std::string_view text() {
    auto n = u32();
    if (n > rest_.size()) {
      ok_ = false;
      return {};
    }
    auto out = rest_.substr(0, n);
    rest_.remove_prefix(n);
    return out;
  }
  // The number of elements that follow, each of at least `least` bytes.
  uint32_t count(size_t least) {
    auto n = u32();
    if (n > rest_.size() / least) ok_ = false;
    return ok_ ? n : 0;
  }
  Membership membership() {
    Membership out;
    out.ballot = i64();
    out.primary = node();
    out.max_replica_count = i32();
    for (auto n = count(6); n > 0; --n) out.secondaries.push_back(node());
    return out;
  }
  std::vector<Mutation> mutations(Decree previous) {
    std::vector<Mutation> out;
    auto n = count(kMutationHead);
    out.reserve(n);
    for (; n > 0 && ok_; --n) {
      Mutation m;
      m.ballot = i64();
      m.decree = ++previous;
      m.timestamp_us = i64();
      m.payload = std::make_shared<const std::string>(text());
      out.push_back(std::move(m));
    }
    return out;
  }
  bool ok() const { return ok_; }
  // Ok when all was there and nothing is left.
  Status done(std::string_view what) const {
    if (ok_ && rest_.empty()) return {};
    return {
        Errc::kInvalidData,
        fmt::format("a malformed {} message ({})", what,
                    ok_ ? fmt::format("{} bytes are left over", rest_.size()) : "it is cut short")};
  }

 private:
  template <typename T>
  T number() {
    if (rest_.size() < sizeof(T)) {
      ok_ = false;
      rest_ = {};
      return 0;
    }
    T v = load_le<T>(rest_.data());
    rest_.remove_prefix(sizeof(T));
    return v;
  }
  std::string_view rest_;
  bool ok_ = true;
};

void put_node(const HostPort& node, std::string& out) {
  append_le(out, node.ipv4);
  append_le(out, node.port);
}

void put_text(std::string_view text, std::string& out) {
  append_le(out, static_cast<uint32_t>(text.size()));
  out.append(text);
}

void put_membership(const Membership& m, std::string& out) {
  append_le(out, m.ballot);
  put_node(m.primary, out);
  append_le(out, m.max_replica_count);
  append_le(out, static_cast<uint32_t>(m.secondaries.size()));
  for (const auto& node : m.secondaries) put_node(node, out);
}

void put_mutations(const std::vector<Mutation>& mutations, std::string& out) {
  size_t bytes = 0;
  for (const auto& m : mutations) bytes += kMutationHead + m.payload->size();
  out.reserve(out.size() + bytes + 4);
  append_le(out, static_cast<uint32_t>(mutations.size()));
  for (const auto& m : mutations) {
    append_le(out, m.ballot);
    append_le(out, m.timestamp_us);
    put_text(*m.payload, out);
  }
}

void put_errc(Errc error, std::string& out) { append_le(out, static_cast<int32_t>(error)); }

}  // namespace

void encode(const pacifica::Prepare& p, std::string& out) {
  append_le(out, kVersion);
  put_membership(p.membership, out);
  append_le(out, p.reign);
  append_le(out, p.reign_prepared);
  append_le(out, p.reign_committed);
  append_le(out, p.committed);
  append_le(out, p.previous);
  append_le(out, p.signature);
  put_mutations(p.mutations, out);
}

Result<pacifica::Prepare> decode_prepare(std::string_view bytes) {
  Reader in(bytes);
  pacifica::Prepare p;
  p.membership = in.membership();
  p.reign = in.i64();
  p.reign_prepared = in.i64();
  p.reign_committed = in.i64();
  p.committed = in.i64();
  p.previous = in.i64();
  p.signature = in.u64();
  if (p.previous < 0 || p.membership.ballot < 0) {
    return Status(Errc::kInvalidData, "a prepare message with a negative decree or ballot");
  }
  p.mutations = in.mutations(p.previous);
  if (auto s = in.done("prepare"); !s.ok()) return s;
  return p;
}

void encode(const pacifica::PrepareAck& ack, std::string& out) {
  append_le(out, kVersion);
  put_errc(ack.error, out);
  append_le(out, ack.ballot);
  append_le(out, ack.prepared);
  append_le(out, ack.committed);
}

Result<pacifica::PrepareAck> decode_prepare_ack(std::string_view bytes) {
  Reader in(bytes);
  pacifica::PrepareAck ack;
  ack.error = in.errc();
  ack.ballot = in.i64();
  ack.prepared = in.i64();
  ack.committed = in.i64();
  if (auto s = in.done("prepare answer"); !s.ok()) return s;
  return ack;
}

void encode(const AddLearner& m, std::string& out) {
  append_le(out, kVersion);
  put_membership(m.membership, out);
  append_le(out, m.signature);
  put_text(m.app_name, out);
  append_le(out, m.partition_count);
  append_le(out, static_cast<uint32_t>(m.envs.size()));
  for (const auto& [key, value] : m.envs) {
    put_text(key, out);
    put_text(value, out);
  }
}

Result<AddLearner> decode_add_learner(std::string_view bytes) {
  Reader in(bytes);
  AddLearner m;
  m.membership = in.membership();
  m.signature = in.u64();
  m.app_name = in.text();
  m.partition_count = in.i32();
  for (auto n = in.count(8); n > 0; --n) {
    auto key = std::string(in.text());
    m.envs.emplace_back(std::move(key), std::string(in.text()));
  }
  if (auto s = in.done("add-learner"); !s.ok()) return s;
  return m;
}

void encode(const LearnRequest& m, std::string& out) {
  append_le(out, kVersion);
  put_node(m.learner, out);
  append_le(out, m.signature);
  append_le(out, m.position);
}

Result<LearnRequest> decode_learn_request(std::string_view bytes) {
  Reader in(bytes);
  LearnRequest m;
  m.learner = in.node();
  m.signature = in.u64();
  m.position = in.i64();
  if (auto s = in.done("learn"); !s.ok()) return s;
  if (m.position < 0) return Status(Errc::kInvalidData, "a learn message with a negative position");
  return m;
}

void encode(const LearnReply& m, std::string& out) {
  append_le(out, kVersion);
  append_le(out, static_cast<uint8_t>(m.mode));
  put_errc(m.error, out);
  append_le(out, m.decree);
  append_le(out, m.checkpoint);
  append_le(out, static_cast<uint32_t>(m.files.size()));
  for (const auto& file : m.files) {
    put_text(file.name, out);
    append_le(out, file.size);
    append_le(out, file.crc);
  }
}

Result<LearnReply> decode_learn_reply(std::string_view bytes) {
  Reader in(bytes);
  LearnReply m;
  auto mode = in.u8();
  if (mode > static_cast<uint8_t>(LearnReply::Mode::kDiscard)) {
    return Status(Errc::kInvalidData, fmt::format("a learn answer of unknown mode {}", mode));
  }
  m.mode = static_cast<LearnReply::Mode>(mode);
  m.error = in.errc();
  m.decree = in.i64();
  m.checkpoint = in.u64();
  for (auto n = in.count(16); n > 0; --n) {
    LearnFile file;
    file.name = in.text();
    file.size = in.u64();
    file.crc = in.u32();
    if (!is_file_name(file.name))
      return Status(Errc::kInvalidData, "a learn answer with a file name that is a path");
    m.files.push_back(std::move(file));
  }
  if (auto s = in.done("learn answer"); !s.ok()) return s;
  return m;
}

void encode(const FetchLog& m, std::string& out) {
  append_le(out, kVersion);
  append_le(out, m.signature);
  append_le(out, m.from);
  append_le(out, m.max_bytes);
}

Result<FetchLog> decode_fetch_log(std::string_view bytes) {
  Reader in(bytes);
  FetchLog m;
  m.signature = in.u64();
  m.from = in.i64();
  m.max_bytes = in.u32();
  if (auto s = in.done("fetch-log"); !s.ok()) return s;
  if (m.from < 1) return Status(Errc::kInvalidData, "a fetch-log message below decree 1");
  return m;
}

void encode(const FetchLogReply& m, std::string& out) {
  append_le(out, kVersion);
  put_errc(m.error, out);
  append_le(out, m.committed);
  append_le(out, m.mutations.empty() ? Decree{0} : m.mutations.front().decree - 1);
  put_mutations(m.mutations, out);
}

Result<FetchLogReply> decode_fetch_log_reply(std::string_view bytes) {
  Reader in(bytes);
  FetchLogReply m;
  m.error = in.errc();
  m.committed = in.i64();
  auto previous = in.i64();
  m.mutations = in.mutations(previous);
  if (auto s = in.done("fetch-log answer"); !s.ok()) return s;
  return m;
}

void encode(const FetchFile& m, std::string& out) {
  append_le(out, kVersion);
  append_le(out, m.signature);
  append_le(out, m.checkpoint);
  put_text(m.name, out);
  append_le(out, m.offset);
  append_le(out, m.size);
}

Result<FetchFile> decode_fetch_file(std::string_view bytes) {
  Reader in(bytes);
  FetchFile m;
  m.signature = in.u64();
  m.checkpoint = in.u64();
  m.name = in.text();
  m.offset = in.u64();
  m.size = in.u32();
  if (auto s = in.done("fetch-file"); !s.ok()) return s;
  if (!is_file_name(m.name)) {
    return Status(Errc::kInvalidData, "a fetch-file message whose file name leaves the checkpoint");
  }
  return m;
}

void encode(const FetchFileReply& m, std::string& out) {
  append_le(out, kVersion);
  put_errc(m.error, out);
  put_text(m.bytes, out);
}

Result<FetchFileReply> decode_fetch_file_reply(std::string_view bytes) {
  Reader in(bytes);
  FetchFileReply m;
  m.error = in.errc();
  m.bytes = in.text();
  if (auto s = in.done("fetch-file answer"); !s.ok()) return s;
  return m;
}

}  // namespace markab::replica
