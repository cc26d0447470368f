#pragma once
// One HTTP GET, blocking: the bench reads the daemons' metrics with it. Any thread.

#include <string>

#include "base/ids.h"

namespace markab::bench {

// The body. Errors: kNetworkFailure, kTimeout, kHttpError (with the status).
Result<std::string> http_get(HostPort node, const std::string& target);

}  // namespace markab::bench
