#pragma once
// Frames as bytes: where one ends, what its header says, and how answers are written (spec 01 §2 to
// §6). Pure functions; connections and channels feed them, tests and fuzzers call them alone. Byte
// tables: docs/formats.md, "Frames".

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/ids.h"
#include "base/status.h"
#include "rpc/message.h"

namespace markab::rpc {

inline constexpr size_t kSignatureBytes = 4;
inline constexpr size_t kThft0HeaderBytes = 48;
inline constexpr size_t kThft1PrefixBytes = 16;
inline constexpr size_t kRdsnHeaderBytes = 192;
// Of THFT's version 1 meta struct and of a procedure's name: real ones have 37 and at most 47
// bytes.
inline constexpr size_t kMaxMetaBytes = 4096;
inline constexpr size_t kMaxNameBytes = 255;

// What the first four bytes of a connection say about the rest of it (spec 01 §1).
enum class Family : uint8_t { kThft, kRdsn, kHttp, kUnknown };
// Precondition: at least kSignatureBytes.
Family family_of(std::string_view first_bytes);
// Whether these are of a TLS handshake record (spec 05 §8.1). Precondition: at least one byte.
inline bool begins_tls(std::string_view first_bytes) { return first_bytes[0] == '\x16'; }

struct Parsed {
  enum class Outcome : uint8_t { kNeedMore, kFrame, kMalformed };
  Outcome outcome;
  // kFrame: its length. kNeedMore: the bytes, from the frame's start, without which another try is
  // useless; at most the limit and the headers.
  size_t bytes = 0;
  const char* reason = "";  // kMalformed: a phrase for the log

  static Parsed need(size_t n) { return {Outcome::kNeedMore, n}; }
  static Parsed frame(size_t n) { return {Outcome::kFrame, n}; }
  static Parsed malformed(const char* why) { return {Outcome::kMalformed, 0, why}; }
};

// A request as it lies in the input; the views point there.
struct RequestFrame {
  RequestHeader header;
  std::string_view name;
  std::string_view args;
};

// `in` starts at a frame. `max_body` bounds the declared length.
Parsed parse_thft(std::string_view in, size_t max_body, RequestFrame& out);
Parsed parse_rdsn(std::string_view in, size_t max_body, RequestFrame& out);

// An answer on the native framing, as a channel reads it.
struct ReplyFrame {
  uint64_t id = 0;
  Errc error = Errc::kOk;
  std::string_view result;
};
Parsed parse_rdsn_reply(std::string_view in, size_t max_body, ReplyFrame& out);

// Appends the answer to `out`, in the framing of the request. `result` goes out when `error` is
// kOk, on RDSN also with kForwardToOthers; on THFT an answer without error and without result is a
// bug (spec 01 §5.2) and asserted. `self` becomes the native header's from_address.
void append_reply(std::string& out, const RequestHeader& header, std::string_view name, Errc error,
                  std::string_view result, HostPort self);

// Appends a request in the native framing. Bit 10 of the context (forwarding) stays clear: see spec
// 01 §6.2.
struct RdsnRequest {
  uint64_t id = 0;
  TaskCode code = TaskCode::kUnknown;
  Gpid gpid;
  uint64_t partition_hash = 0;
  int32_t timeout_ms = 0;
};
void append_rdsn_request(std::string& out, const RdsnRequest& request, std::string_view args,
                         HostPort self);

}  // namespace markab::rpc
