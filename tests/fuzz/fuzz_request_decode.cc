// Argument and result structs of every procedure: the first byte chooses it. What decodes must
// encode to something that decodes to the same.
#include "base/assert.h"
#include "rpc/codec.h"
#include "unit/rpc/wire_types.h"

using namespace markab;

template <typename T>
void check(std::string_view bytes) {
  T value{};
  if (!rpc::decode_args(bytes, value).ok()) return;
  std::string once = rpc::encode_result(value);
  T again{};
  Status status = rpc::decode_result(once, again);
  MARKAB_ASSERT(status.ok(), "what was encoded does not decode", status.to_string());
  MARKAB_ASSERT(rpc::encode_result(again) == once, "an encoding changes on its way");
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  rpc::visit_wire_types(static_cast<rpc::TaskCode>(data[0]),
                        [&]<typename A, typename R>(rpc::WireTypes<A, R>) {
                          check<A>(bytes);
                          check<R>(bytes);
                        });
  return 0;
}
