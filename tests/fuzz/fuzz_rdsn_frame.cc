// Native frames, requests and answers (spec 01 §6). What we answer must be an answer that we would
// take.
#include "fuzz/frame_properties.h"

using namespace markab;

struct Answer {
  rpc::RequestFrame frame;
  void operator()(const rpc::RequestFrame& request) {
    for (Errc error : {Errc::kOk, Errc::kForwardToOthers, Errc::kDiskIoError}) {
      std::string out;
      rpc::append_reply(out, request.header, request.name, error, "result", {0x7f000001, 1});
      rpc::ReplyFrame back;
      auto parsed = rpc::parse_rdsn_reply(out, rpc::kFuzzLimit, back);
      MARKAB_ASSERT(parsed.outcome == rpc::Parsed::Outcome::kFrame && parsed.bytes == out.size(),
                    parsed.reason);
      MARKAB_ASSERT(back.id == request.header.id && back.error == error,
                    "the answer is to something else");
    }
  }
};

struct Ignore {
  rpc::ReplyFrame frame;
  void operator()(const rpc::ReplyFrame&) {}
};

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view in(reinterpret_cast<const char*>(data), size);
  rpc::check_parser(in, rpc::parse_rdsn, Answer{});
  rpc::check_parser(in, rpc::parse_rdsn_reply, Ignore{});
  return 0;
}
