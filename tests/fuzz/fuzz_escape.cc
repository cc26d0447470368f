// The escaped form of keys and values (spec 07 §8.1): what is read back is what was written.
#include "base/assert.h"
#include "base/escape.h"

using namespace markab;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view in(reinterpret_cast<const char*>(data), size);
  for (bool all : {false, true}) {
    auto back = unescape(escape(in, all));
    MARKAB_ASSERT(back && *back == in, "escaping and back changed the bytes", escape(in, true));
  }
  auto raw = unescape(in);
  if (raw) MARKAB_ASSERT(*unescape(escape(*raw)) == *raw, "unescaped bytes do not survive");
  (void)escape_cut(in);
  return 0;
}
