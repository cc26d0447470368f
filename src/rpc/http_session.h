#pragma once
// The HTTP conversation of one connection, without the socket: bytes in, requests out, answers in
// their order. Owned by the connection, on its shard.

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "base/function.h"
#include "rpc/http.h"

namespace markab::rpc {

class HttpSession {
 public:
  static constexpr size_t kMaxHeaderBytes = 16 << 10;
  static constexpr size_t kMaxBodyBytes = 1 << 20;

  HttpSession();
  ~HttpSession();

  enum class Next {
    kMore,     // feed what comes
    kRequest,  // take request(), then wait for answered() before the next feed()
    kClose,    // send output(), if any, and close
  };
  // Takes bytes (none: go on with what is left of earlier ones). Text that is to be sent at once
  // (an interim answer, a refusal) is appended to `output`.
  Next feed(std::string_view bytes, std::string& output);
  // kInvalidParameters with the sentence for a 400 answer: then answered() with that.
  Result<HttpRequest> take_request();
  // Appends the answer to the request taken last. Afterwards: feed({}), or close when it returns
  // kClose.
  Next answered(const HttpResponse& response, std::string& output);
  bool busy() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Splits "/meta//app?name=a%20b" as spec 07 §3.1 wants it. kInvalidParameters with the sentence for
// the 400 answer.
Result<HttpRequest> parse_target(std::string_view target);

}  // namespace markab::rpc
