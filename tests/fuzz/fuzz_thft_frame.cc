// THFT request frames, versions 0 and 1 (spec 01 §2 to §5).
#include "fuzz/frame_properties.h"

using namespace markab;

struct Answer {
  rpc::RequestFrame frame;
  void operator()(const rpc::RequestFrame& request) {
    std::string out;
    rpc::append_reply(out, request.header, request.name, Errc::kBusy, {}, {});
    rpc::append_reply(out, request.header, request.name, Errc::kOk, "x", {});
    MARKAB_ASSERT(request.name.size() <= rpc::kMaxNameBytes, "a name beyond its bound",
                  request.name.size());
  }
};

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  rpc::check_parser({reinterpret_cast<const char*>(data), size}, rpc::parse_thft, Answer{});
  return 0;
}
