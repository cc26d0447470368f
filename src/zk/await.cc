#include "zk/await.h"

namespace markab::zk {

boost::asio::awaitable<Status> make_path(Client& client, std::string path) {
  for (size_t end = path.find('/', 1); !path.empty(); end = path.find('/', end + 1)) {
    std::string part = path.substr(0, end);
    if (part.size() > 1) {
      auto made = co_await create(client, part, std::string(), NodeKind::kPersistent);
      // Who may not create there may still find it there: the next request tells.
      bool fine = made.has_value() || made.error().code() == Errc::kPathAlreadyExist ||
                  (made.error().code() == Errc::kAclDeny && end != std::string::npos);
      if (!fine) co_return made.error();
    }
    if (end == std::string::npos) break;
  }
  co_return Status();
}

}  // namespace markab::zk
