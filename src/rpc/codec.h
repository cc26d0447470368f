#pragma once
// Thrift binary protocol over plain memory, and the wrapping of arguments and results (spec 01 §4,
// §5.1, §6).
//
// WireReader and WireWriter are the protocol objects that the generated templates are instantiated
// with: final classes, no virtual call, every length checked against what is there before it is
// used. Decoding never throws out of decode_args/decode_result and never allocates from an
// unchecked length.
//
// Types: `wire::blob` read from a buffer is a view into it (base_types.h).

#include <string>
#include <string_view>

#include "base/status.h"
#include "rpc/wire_protocol.h"

namespace markab::rpc {

// Decodes the first field of an argument struct, whatever its id (spec 01 §4), and skips the
// others. For a `wire::blob` (GET takes one) or int64_t the value is read as such. kInvalidData
// with the reason.
template <typename T>
Status decode_args(std::string_view args, T& out);
// Decodes field 0 of a result struct.
template <typename T>
Status decode_result(std::string_view result, T& out);

// Appends `<type> <id> <value> 00`. Requests of our own use id 0 (the native header's form) -
// handlers accept any id.
template <typename T>
void encode_args(const T& value, std::string& out);
template <typename T>
void encode_result(const T& value, std::string& out);
template <typename T>
std::string encode_args(const T& value) {
  std::string out;
  encode_args(value, out);
  return out;
}
template <typename T>
std::string encode_result(const T& value) {
  std::string out;
  encode_result(value, out);
  return out;
}

}  // namespace markab::rpc

#include "rpc/codec_inl.h"
