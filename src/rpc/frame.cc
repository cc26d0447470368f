#include "rpc/frame.h"

#include <algorithm>
#include <cstring>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "idl/base_types.h"
#include "idl/partition_types.h"
#include "rpc/wire_protocol.h"

namespace markab::rpc {

namespace {

constexpr std::string_view kThftSignature = "THFT";
constexpr std::string_view kRdsnSignature = "RDSN";

// Thrift's message header (spec 01 §4).
constexpr uint32_t kStrictMask = 0xffff0000;
constexpr uint32_t kStrict = 0x80010000;
constexpr uint32_t kCall = 1;
constexpr uint32_t kReply = 2;
constexpr uint32_t kOneway = 4;

// The native header's layout (spec 01 §6).
constexpr size_t kHeaderCrcAt = 12;
constexpr size_t kBodyLengthAt = 16;
constexpr size_t kBodyCrcAt = 20;
constexpr size_t kIdAt = 24;
constexpr size_t kTraceAt = 32;
constexpr size_t kNameAt = 40;
constexpr size_t kNameBytes = 48;
constexpr size_t kGpidAt = 96;
constexpr size_t kContextAt = 104;
constexpr size_t kFromAt = 112;
constexpr size_t kTimeoutAt = 120;
constexpr size_t kThreadHashAt = 124;
constexpr size_t kPartitionHashAt = 128;
constexpr size_t kErrorNameAt = 136;
static_assert(kErrorNameAt + kNameBytes + 8 == kRdsnHeaderBytes);

constexpr uint64_t kIsRequest = 1;
constexpr uint64_t kIsForwarded = 2;
constexpr int kFormatShift = 6;
constexpr uint64_t kFormatMask = 0xf;
constexpr uint64_t kThriftBinary = 1;
constexpr uint64_t kIsBackupRequest = 1 << 11;

// Reads big-endian values off the front of a view that the caller knows to be long enough, or may
// not.
class Cursor {
 public:
  explicit Cursor(std::string_view in) : in_(in) {}
  template <typename T>
  bool take(T& v) {
    if (in_.size() < sizeof(T)) return false;
    v = load_be<T>(in_.data());
    in_.remove_prefix(sizeof(T));
    return true;
  }
  bool take(std::string_view& v, size_t n) {
    if (in_.size() < n) return false;
    v = in_.substr(0, n);
    in_.remove_prefix(n);
    return true;
  }
  std::string_view rest() const { return in_; }

 private:
  std::string_view in_;
};

// The body of a THFT frame: message header and argument struct. Null when all is well.
const char* parse_thrift_message(std::string_view body, RequestFrame& out) {
  Cursor in(body);
  uint32_t first = 0;
  if (!in.take(first)) return "the body is too short for a message header";
  uint32_t type = 0;
  int32_t sequence = 0;
  uint32_t name_bytes = first;
  bool strict = (first & 0x80000000) != 0;
  if (strict) {
    if ((first & kStrictMask) != kStrict) return "the message has an unknown version";
    type = first & 0xff;
    if (!in.take(name_bytes)) return "the body is too short for a message header";
  }
  if (name_bytes == 0 || name_bytes > kMaxNameBytes) return "the name's length is out of range";
  if (!in.take(out.name, name_bytes)) return "the body is too short for the name";
  if (!strict) {
    uint8_t old_type = 0;
    if (!in.take(old_type)) return "the body is too short for a message header";
    type = old_type;
  }
  if (!in.take(sequence)) return "the body is too short for a message header";
  if (type != kCall && type != kOneway) return "the message is neither a call nor one-way";
  out.header.id = static_cast<uint32_t>(sequence);
  out.header.code = task_from_name(out.name);
  out.args = in.rest();
  return nullptr;
}

const char* parse_meta(std::string_view bytes, RequestHeader& header) {
  wire::request_meta meta;
  try {
    WireReader in(bytes);
    meta.read(&in);
  } catch (const DecodeError&) {
    return "the meta struct is malformed";
  } catch (const std::exception&) {  // nested too deeply
    return "the meta struct is malformed";
  }
  header.gpid = {meta.app_id, meta.partition_index};
  header.timeout_ms = meta.client_timeout;
  header.partition_hash = static_cast<uint64_t>(meta.partition_hash);
  header.is_backup_request = meta.is_backup_request;
  return nullptr;
}

Parsed finish_thft(std::string_view in, size_t before_body, size_t body_bytes, RequestFrame& out) {
  if (const char* reason = parse_thrift_message(in.substr(before_body, body_bytes), out)) {
    return Parsed::malformed(reason);
  }
  return Parsed::frame(before_body + body_bytes);
}

Parsed parse_thft0(std::string_view in, size_t max_body, RequestFrame& out) {
  if (in.size() < kThft0HeaderBytes) return Parsed::need(kThft0HeaderBytes);
  const char* p = in.data();
  if (load_be<uint32_t>(p + 8) != kThft0HeaderBytes)
    return Parsed::malformed("the header's length is not 48");
  size_t body = load_be<uint32_t>(p + 16);
  if (body > max_body) return Parsed::malformed("the declared length exceeds the limit");
  size_t total = kThft0HeaderBytes + body;
  if (in.size() < total) return Parsed::need(total);
  RequestHeader& header = out.header;
  header = {};
  header.kind = HeaderKind::kThft0;
  header.gpid = {load_be<int32_t>(p + 24), load_be<int32_t>(p + 28)};
  header.timeout_ms = load_be<int32_t>(p + 32);
  header.partition_hash = load_be<uint64_t>(p + 40);
  return finish_thft(in, kThft0HeaderBytes, body, out);
}

Parsed parse_thft1(std::string_view in, size_t max_body, RequestFrame& out) {
  if (in.size() < kThft1PrefixBytes) return Parsed::need(kThft1PrefixBytes);
  size_t meta = load_be<uint32_t>(in.data() + 8);
  size_t body = load_be<uint32_t>(in.data() + 12);
  if (meta > kMaxMetaBytes) return Parsed::malformed("the meta struct's length exceeds the limit");
  if (body > max_body) return Parsed::malformed("the declared length exceeds the limit");
  size_t total = kThft1PrefixBytes + meta + body;
  if (in.size() < total) return Parsed::need(total);
  out.header = {};
  out.header.kind = HeaderKind::kThft1;
  if (const char* reason = parse_meta(in.substr(kThft1PrefixBytes, meta), out.header)) {
    return Parsed::malformed(reason);
  }
  return finish_thft(in, kThft1PrefixBytes + meta, body, out);
}

// The checks that requests and answers of the native framing share. On kFrame, `total` is the
// frame's length.
Parsed check_rdsn(std::string_view in, size_t max_body) {
  if (in.size() < kSignatureBytes) return Parsed::need(kRdsnHeaderBytes);
  if (!in.starts_with(kRdsnSignature)) return Parsed::malformed("the signature is not RDSN");
  if (in.size() < kRdsnHeaderBytes) return Parsed::need(kRdsnHeaderBytes);
  const char* p = in.data();
  size_t body = load_le<uint32_t>(p + kBodyLengthAt);
  if (body > max_body) return Parsed::malformed("the declared length exceeds the limit");
  if (auto declared = load_le<uint32_t>(p + kHeaderCrcAt); declared != 0) {
    char copy[kRdsnHeaderBytes];
    std::memcpy(copy, p, sizeof copy);
    store_le<uint32_t>(copy + kHeaderCrcAt, 0);
    if (crc32c({copy, sizeof copy}) != declared)
      return Parsed::malformed("the header's checksum is wrong");
  }
  if ((load_le<uint64_t>(p + kContextAt) >> kFormatShift & kFormatMask) != kThriftBinary) {
    return Parsed::malformed("the payload's format is not Thrift binary");
  }
  size_t total = kRdsnHeaderBytes + body;
  if (in.size() < total) return Parsed::need(total);
  if (auto declared = load_le<uint32_t>(p + kBodyCrcAt);
      declared != 0 && crc32c(in.substr(kRdsnHeaderBytes, body)) != declared) {
    return Parsed::malformed("the body's checksum is wrong");
  }
  return Parsed::frame(total);
}

// A name in a field of 48 bytes, NUL-terminated if shorter.
std::string_view padded_name(const char* field) { return {field, strnlen(field, kNameBytes)}; }

char* put(char* to, std::string_view bytes) {
  if (!bytes.empty()) std::memcpy(to, bytes.data(), bytes.size());
  return to + bytes.size();
}
template <typename T>
char* put_be(char* to, T v) {
  store_be(to, v);
  return to + sizeof v;
}

void append_thft_reply(std::string& out, const RequestHeader& header, std::string_view name,
                       Errc error, std::string_view result) {
  error = errc_for_thft(error);
  if (error != Errc::kOk) result = {};
  MARKAB_ASSERT(error != Errc::kOk || !result.empty(),
                "ERR_OK without a result wedges Go clients (01 §5.2)", name);
  std::string_view error_name = errc_name(error);
  constexpr std::string_view kAck = "_ACK";
  size_t ack_bytes = name.size() + kAck.size();
  size_t fixed = 4 + 4 + error_name.size() + 4 + 4 + ack_bytes + 4;
  size_t old = out.size();
  out.resize(old + fixed);
  char* p = out.data() + old;
  p = put_be(p, static_cast<uint32_t>(fixed + result.size()));
  p = put_be(p, static_cast<uint32_t>(error_name.size()));
  p = put(p, error_name);
  p = put_be(p, kStrict | kReply);
  p = put_be(p, static_cast<uint32_t>(ack_bytes));
  p = put(p, name);
  p = put(p, kAck);
  put_be(p, static_cast<uint32_t>(header.id));
  out.append(result);
}

void start_rdsn_header(char* p, size_t body_bytes, uint64_t id, uint64_t trace_id, uint64_t context,
                       Gpid gpid, HostPort self) {
  std::memset(p, 0, kRdsnHeaderBytes);
  put(p, kRdsnSignature);
  store_le<uint32_t>(p + 8, kRdsnHeaderBytes);
  store_le<uint32_t>(p + kBodyLengthAt, static_cast<uint32_t>(body_bytes));
  store_le<uint64_t>(p + kIdAt, id);
  store_le<uint64_t>(p + kTraceAt, trace_id);
  store_le<int32_t>(p + kGpidAt, gpid.app_id);
  store_le<int32_t>(p + kGpidAt + 4, gpid.partition_index);
  store_le<uint64_t>(p + kContextAt, context);
  store_le<uint64_t>(p + kFromAt, wire::pack_address(self));
}

void put_padded(char* field, std::string_view name, std::string_view suffix = {}) {
  constexpr size_t kMax = kNameBytes - 1;
  std::string_view head = name.substr(0, kMax);
  field = put(field, head);
  put(field, suffix.substr(0, kMax - head.size()));
}

void append_rdsn_reply(std::string& out, const RequestHeader& header, std::string_view name,
                       Errc error, std::string_view result, HostPort self) {
  if (error != Errc::kOk && error != Errc::kForwardToOthers) result = {};
  size_t old = out.size();
  out.resize(old + kRdsnHeaderBytes);
  char* p = out.data() + old;
  start_rdsn_header(p, result.size(), header.id, header.trace_id,
                    header.context & ~(kIsRequest | kIsForwarded), header.gpid, self);
  put_padded(p + kNameAt, name, "_ACK");
  store_le<int32_t>(p + kTimeoutAt, header.timeout_ms);
  store_le<int32_t>(p + kThreadHashAt, header.thread_hash);
  store_le<uint64_t>(p + kPartitionHashAt, header.partition_hash);
  put_padded(p + kErrorNameAt, errc_name(error));
  out.append(result);
}

}  // namespace

Family family_of(std::string_view first_bytes) {
  std::string_view signature = first_bytes.substr(0, kSignatureBytes);
  if (signature == kThftSignature) return Family::kThft;
  if (signature == kRdsnSignature) return Family::kRdsn;
  if (signature == "GET " || signature == "POST") return Family::kHttp;
  return Family::kUnknown;
}

Parsed parse_thft(std::string_view in, size_t max_body, RequestFrame& out) {
  constexpr size_t kUpToVersion = 8;
  if (in.size() < kSignatureBytes) return Parsed::need(kUpToVersion);
  if (!in.starts_with(kThftSignature)) return Parsed::malformed("the signature is not THFT");
  if (in.size() < kUpToVersion) return Parsed::need(kUpToVersion);
  switch (load_be<uint32_t>(in.data() + 4)) {
    case 0:
      return parse_thft0(in, max_body, out);
    case 1:
      return parse_thft1(in, max_body, out);
    default:
      return Parsed::malformed("the header's version is neither 0 nor 1");
  }
}

Parsed parse_rdsn(std::string_view in, size_t max_body, RequestFrame& out) {
  Parsed parsed = check_rdsn(in, max_body);
  if (parsed.outcome != Parsed::Outcome::kFrame) return parsed;
  const char* p = in.data();
  RequestHeader& header = out.header;
  header = {};
  header.kind = HeaderKind::kRdsn;
  header.context = load_le<uint64_t>(p + kContextAt);
  if ((header.context & kIsRequest) == 0)
    return Parsed::malformed("an answer where a request was expected");
  header.is_backup_request = (header.context & kIsBackupRequest) != 0;
  header.id = load_le<uint64_t>(p + kIdAt);
  header.trace_id = load_le<uint64_t>(p + kTraceAt);
  header.gpid = {load_le<int32_t>(p + kGpidAt), load_le<int32_t>(p + kGpidAt + 4)};
  header.timeout_ms = load_le<int32_t>(p + kTimeoutAt);
  header.thread_hash = load_le<int32_t>(p + kThreadHashAt);
  header.partition_hash = load_le<uint64_t>(p + kPartitionHashAt);
  out.name = padded_name(p + kNameAt);
  header.code = task_from_name(out.name);
  out.args = in.substr(kRdsnHeaderBytes, parsed.bytes - kRdsnHeaderBytes);
  return parsed;
}

Parsed parse_rdsn_reply(std::string_view in, size_t max_body, ReplyFrame& out) {
  Parsed parsed = check_rdsn(in, max_body);
  if (parsed.outcome != Parsed::Outcome::kFrame) return parsed;
  const char* p = in.data();
  if ((load_le<uint64_t>(p + kContextAt) & kIsRequest) != 0) {
    return Parsed::malformed("a request where an answer was expected");
  }
  out.id = load_le<uint64_t>(p + kIdAt);
  out.error = errc_from_name(padded_name(p + kErrorNameAt));
  out.result = in.substr(kRdsnHeaderBytes, parsed.bytes - kRdsnHeaderBytes);
  return parsed;
}

void append_reply(std::string& out, const RequestHeader& header, std::string_view name, Errc error,
                  std::string_view result, HostPort self) {
  if (header.kind == HeaderKind::kRdsn) {
    append_rdsn_reply(out, header, name, error, result, self);
  } else {
    append_thft_reply(out, header, name, error, result);
  }
}

void append_rdsn_request(std::string& out, const RdsnRequest& request, std::string_view args,
                         HostPort self) {
  size_t old = out.size();
  out.resize(old + kRdsnHeaderBytes);
  char* p = out.data() + old;
  start_rdsn_header(p, args.size(), request.id, request.id,
                    kIsRequest | kThriftBinary << kFormatShift, request.gpid, self);
  put_padded(p + kNameAt, task_name(request.code));
  store_le<int32_t>(p + kTimeoutAt, request.timeout_ms);
  store_le<int32_t>(p + kThreadHashAt,
                    static_cast<int32_t>(static_cast<uint32_t>(request.gpid.app_id) * 7919u +
                                         static_cast<uint32_t>(request.gpid.partition_index)));
  store_le<uint64_t>(p + kPartitionHashAt, request.partition_hash);
  out.append(args);
}

}  // namespace markab::rpc
