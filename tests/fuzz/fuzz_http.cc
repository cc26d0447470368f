// The HTTP session and the splitting of targets: bytes in slices, the first byte says how long they
// are.
#include "base/assert.h"
#include "rpc/http_session.h"

using namespace markab;
using Next = rpc::HttpSession::Next;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string_view in(reinterpret_cast<const char*>(data) + 1, size - 1);
  size_t slice = data[0] == 0 ? in.size() : data[0];
  rpc::HttpSession session;
  std::string output;
  Next next = Next::kMore;
  while (next != Next::kClose && (next == Next::kRequest || !in.empty())) {
    if (next == Next::kRequest) {
      auto request = session.take_request();
      rpc::HttpResponse response;
      if (!request) response.status = 400;
      next = session.answered(response, output);
      if (next == Next::kMore) next = session.feed({}, output);
      continue;
    }
    next = session.feed(in.substr(0, slice), output);
    in.remove_prefix(std::min(slice, in.size()));
  }
  (void)rpc::parse_target(in);
  return 0;
}
