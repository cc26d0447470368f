#pragma once
// The templates of codec.h.

#include <exception>
#include <type_traits>

#include "base/bytes.h"
#include "idl/base_types.h"
#include "rpc/codec.h"

namespace markab::rpc {

namespace codec_detail {

namespace protocol = apache::thrift::protocol;

template <typename T>
constexpr TType type_of() {
  if constexpr (std::is_same_v<T, std::string>) return protocol::T_STRING;
  if constexpr (std::is_same_v<T, int64_t>) return protocol::T_I64;
  if constexpr (std::is_same_v<T, int32_t>) return protocol::T_I32;
  if constexpr (std::is_same_v<T, bool>) return protocol::T_BOOL;
  return protocol::T_STRUCT;
}

template <typename T>
void read_value(WireReader& in, T& out) {
  if constexpr (std::is_same_v<T, std::string>) {
    in.readString(out);
  } else if constexpr (std::is_same_v<T, int64_t>) {
    in.readI64(out);
  } else if constexpr (std::is_same_v<T, int32_t>) {
    in.readI32(out);
  } else if constexpr (std::is_same_v<T, bool>) {
    in.readBool(out);
  } else {
    out.read(&in);
  }
}

template <typename T>
void write_value(WireWriter& to, const T& value) {
  if constexpr (std::is_same_v<T, std::string>) {
    to.writeString(value);
  } else if constexpr (std::is_same_v<T, int64_t>) {
    to.writeI64(value);
  } else if constexpr (std::is_same_v<T, int32_t>) {
    to.writeI32(value);
  } else if constexpr (std::is_same_v<T, bool>) {
    to.writeBool(value);
  } else {
    value.write(&to);
  }
}

// A blob's payload is that of a string, so both type bytes are taken.
template <typename T>
constexpr bool accepts(TType type) {
  return type == type_of<T>() || (std::is_same_v<T, wire::blob> && type == protocol::T_STRING);
}

// Reads one wrapper struct whose value is the field that `wanted` names, or the first one when it
// is negative.
template <typename T>
void read_wrapper(WireReader& in, int wanted, T& out) {
  std::string name;
  TType type;
  int16_t id;
  bool found = false;
  for (;;) {
    in.readFieldBegin(name, type, id);
    if (type == protocol::T_STOP) break;
    if (found || (wanted >= 0 && id != wanted)) {
      in.skip(type);
      continue;
    }
    if (!accepts<T>(type)) in.fail("the value is of another type than the procedure's");
    read_value(in, out);
    found = true;
  }
  if (!found) in.fail("the value is missing");
}

Status decode_failed(std::string_view what, std::string_view reason);

template <typename T>
Status decode(std::string_view what, std::string_view bytes, int wanted, T& out) {
  try {
    WireReader in(bytes);
    read_wrapper(in, wanted, out);
    return {};
  } catch (const DecodeError& e) {
    return decode_failed(what, e.reason);
  } catch (const std::exception& e) {  // Thrift's depth limit, or no memory
    return decode_failed(what, e.what());
  }
}

}  // namespace codec_detail

template <typename T>
Status decode_args(std::string_view args, T& out) {
  return codec_detail::decode("arguments", args, -1, out);
}

template <typename T>
Status decode_result(std::string_view result, T& out) {
  return codec_detail::decode("result", result, 0, out);
}

template <typename T>
void encode_result(const T& value, std::string& out) {
  WireWriter to(out);
  to.writeFieldBegin("", codec_detail::type_of<T>(), 0);
  codec_detail::write_value(to, value);
  to.writeFieldStop();
}

template <typename T>
void encode_args(const T& value, std::string& out) {
  encode_result(value, out);
}

}  // namespace markab::rpc
