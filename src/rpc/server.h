#pragma once
// Accepts connections and serves them: frames of THFT 0 and 1, RDSN, and HTTP on one port (spec 01
// §1). One acceptor hands sockets round-robin to the shards; a connection then lives and dies on
// its shard.

#include <memory>
#include <string>
#include <vector>

#include "base/config.h"
#include "base/metrics.h"
#include "io/shard.h"
#include "rpc/dispatcher.h"
#include "rpc/http.h"
#include "rpc/session_guard.h"

namespace markab::rpc {

struct ServerOptions {
  HostPort listen;
  size_t max_frame_bytes = 64u << 20;    // a longer declared length closes the connection
  size_t max_connections_per_ip = 0;     // 0: no bound
  size_t max_output_bytes = 256u << 20;  // per connection: then reading from it pauses
  Duration stuck_output_timeout =
      std::chrono::seconds(30);               // replies that cannot be sent: close (spec 01 §12.3)
  bool http = true;                           // off: HTTP closes the connection
  std::vector<std::string> host_port_always;  // CIDR lists of spec 01 §7.3
  std::vector<std::string> host_port_never;
  // Who asks peers for their names; null: nobody does. Outlives the server.
  SessionGuards* guards = nullptr;
};

class Server {
 public:
  // `dispatcher`, `http` and `runtime` must outlive the server. Metrics go to `registry`.
  // Errors: kAddressAlreadyUsed (names the port and the remedy), kNetworkFailure,
  // kInvalidParameters.
  static Result<std::unique_ptr<Server>> start(io::RealRuntime& runtime,
                                               const ServerOptions& options,
                                               const Dispatcher& dispatcher, const HttpRouter& http,
                                               MetricRegistry& registry);
  virtual ~Server() = default;           // stop()
  virtual HostPort address() const = 0;  // with the real port when 0 was asked for
  // Stops accepting; connections stay.
  virtual void stop_accepting() = 0;
  // Sends what is queued (at most `grace`), then closes all connections and joins. Not from a
  // shard's thread.
  virtual void stop(Duration grace) = 0;
};

}  // namespace markab::rpc
