#include "rpc/http.h"

namespace markab::rpc {

void HttpRouter::on(std::string path, std::string help, PathHandler handler) {
  help_.emplace("/" + path, std::move(help));
  bool fresh = handlers_.emplace(path, std::move(handler)).second;
  MARKAB_ASSERT(fresh, "two handlers for one path", path);
}

void HttpRouter::route(HttpRequest request, Done done) const {
  auto found = handlers_.find(request.path);
  if (found == handlers_.end()) {
    HttpResponse response;
    response.status = 404;
    response.body = fmt::format("service not found for \"{}\"", request.path);
    done(std::move(response));
    return;
  }
  found->second(std::move(request), std::move(done));
}

}  // namespace markab::rpc
