#pragma once
// HTTP/1.1 on the RPC port (Boost.Beast), GET and POST (spec 07 §3). Handlers run on the
// connection's shard and answer at once or later from any thread. Paths common to all daemons (/,
// /version, /config, /configs, /updateConfig, /metrics, /metrics/prometheus) are added by
// add_standard_paths().

#include <map>
#include <string>
#include <string_view>

#include "base/config.h"
#include "base/function.h"
#include "base/metrics.h"

namespace markab::rpc {

struct HttpRequest {
  bool is_post = false;
  std::string path;                          // decoded, no leading or doubled slashes: "meta/app"
  std::map<std::string, std::string> query;  // decoded; a repeated name was refused with 400 before
  std::string body;
};

struct HttpResponse {
  int status = 200;
  std::string body;
  std::string content_type = "text/plain";
  std::string location;  // for 307
};

class HttpRouter {
 public:
  using Done = Callback<HttpResponse>;
  using PathHandler = Function<void(HttpRequest, Done)>;
  // `help` is shown at "/".
  void on(std::string path, std::string help, PathHandler handler);
  // Calls the handler or answers 404 with spec 07 §3.1's sentence.
  void route(HttpRequest request, Done done) const;
  const std::map<std::string, std::string>& help() const { return help_; }

 private:
  std::map<std::string, PathHandler, std::less<>> handlers_;
  std::map<std::string, std::string> help_;
};

struct DaemonIdentity {
  std::string cluster;
  std::string role;  // "meta", "replica"
  std::string host;
  uint16_t port = 0;
};

// `config`, `registry` and `router` must live as long as the server.
void add_standard_paths(HttpRouter& router, DaemonIdentity identity, Config& config,
                        const MetricRegistry& registry, Function<int64_t()> wall_us);

}  // namespace markab::rpc
