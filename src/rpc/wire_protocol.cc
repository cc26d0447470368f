#include "rpc/wire_protocol.h"

#include <thrift/transport/TTransport.h>

namespace markab::rpc {

namespace protocol = apache::thrift::protocol;

namespace wire_detail {
const std::shared_ptr<apache::thrift::transport::TTransport>& no_transport() {
  static const auto transport = std::make_shared<apache::thrift::transport::TTransport>();
  return transport;
}
}  // namespace wire_detail

namespace {
// Bytes of a value of that type, 0 when they vary, -1 when there is no such type.
int fixed_size(TType type) {
  switch (type) {
    case protocol::T_BOOL:
    case protocol::T_BYTE:
      return 1;
    case protocol::T_I16:
      return 2;
    case protocol::T_I32:
      return 4;
    case protocol::T_I64:
    case protocol::T_DOUBLE:
      return 8;
    case protocol::T_STRING:
    case protocol::T_STRUCT:
    case protocol::T_MAP:
    case protocol::T_SET:
    case protocol::T_LIST:
      return 0;
    default:
      return -1;
  }
}
}  // namespace

void WireReader::fail(const char* reason) const { throw DecodeError{reason}; }

void WireReader::skip_elements(TType type, uint64_t n) {
  if (n == 0) return;
  int size = fixed_size(type);
  if (size < 0) fail("a value of an unknown type");
  if (size > 0) {
    if (n > left() / static_cast<uint64_t>(size)) fail("the message ends inside a value");
    at_ += n * static_cast<uint64_t>(size);
    return;
  }
  for (uint64_t i = 0; i < n; ++i) skip(type);
}

uint32_t WireReader::skip(TType type) {
  protocol::TInputRecursionTracker depth(*this);
  switch (type) {
    case protocol::T_STRING:
      bytes();
      break;
    case protocol::T_STRUCT:
      for (;;) {
        auto field = read_type();
        if (field == protocol::T_STOP) break;
        fixed<int16_t>();
        skip(field);
      }
      break;
    case protocol::T_MAP: {
      auto key = read_type();
      auto value = read_type();
      auto n = fixed<uint32_t>();
      for (uint32_t i = 0; i < n; ++i) {
        skip_elements(key, 1);
        skip_elements(value, 1);
      }
      break;
    }
    case protocol::T_SET:
    case protocol::T_LIST: {
      auto element = read_type();
      skip_elements(element, fixed<uint32_t>());
      break;
    }
    default:
      skip_elements(type, 1);
  }
  return 0;
}

}  // namespace markab::rpc
