#pragma once
// errno as a Status, with the path. Of this room.

#include <string>
#include <string_view>

#include "base/status.h"

namespace markab::io {

Status posix_error(std::string_view what, const std::string& path, int error);

}  // namespace markab::io
