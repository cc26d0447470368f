#pragma once
// Where log lines go instead, for who stamps them with a time of its own: the simulator's timeline.

#include <string_view>

#include "base/log.h"

namespace markab::log {

// From now on lines go to `sink` and nowhere else; nullptr brings back the usual way. Before other
// threads write.
using Sink = void (*)(Level level, std::string_view line);
void set_sink(Sink sink);

}  // namespace markab::log
