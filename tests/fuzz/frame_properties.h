#pragma once
// What must hold for a frame parser whatever the bytes are. Shared by the frame targets.

#include "base/assert.h"
#include "rpc/frame.h"

namespace markab::rpc {

inline constexpr size_t kFuzzLimit = 1 << 16;

// Parses `in` as a stream of frames, as a connection does, and each frame again from a cut of
// itself.
template <typename Parser, typename OnFrame>
void check_parser(std::string_view in, Parser parse, OnFrame on_frame) {
  while (!in.empty()) {
    decltype(on_frame.frame) frame{};
    Parsed parsed = parse(in, kFuzzLimit, frame);
    if (parsed.outcome == Parsed::Outcome::kNeedMore) {
      MARKAB_ASSERT(parsed.bytes > in.size(), "more is asked for than there is, or nothing happens",
                    parsed.bytes);
      MARKAB_ASSERT(parsed.bytes <= kFuzzLimit + kMaxMetaBytes + kRdsnHeaderBytes,
                    "an unbound wish", parsed.bytes);
      return;
    }
    if (parsed.outcome == Parsed::Outcome::kMalformed) {
      MARKAB_ASSERT(parsed.reason[0] != '\0', "a refusal without a reason");
      return;
    }
    MARKAB_ASSERT(parsed.bytes > 0 && parsed.bytes <= in.size(), "a frame of impossible length",
                  parsed.bytes);
    on_frame(frame);
    decltype(on_frame.frame) again{};
    Parsed cut = parse(in.substr(0, parsed.bytes - 1), kFuzzLimit, again);
    MARKAB_ASSERT(cut.outcome == Parsed::Outcome::kNeedMore,
                  "a frame without its last byte is taken");
    Parsed exact = parse(in.substr(0, parsed.bytes), kFuzzLimit, again);
    MARKAB_ASSERT(exact.outcome == Parsed::Outcome::kFrame && exact.bytes == parsed.bytes,
                  "a frame depends on what follows");
    in.remove_prefix(parsed.bytes);
  }
}

}  // namespace markab::rpc
