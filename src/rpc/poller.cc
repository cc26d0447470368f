#include "rpc/poller.h"

#include <array>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cerrno>

#include "base/assert.h"

namespace markab::rpc {

namespace asio = boost::asio;

struct Poller::Set : std::enable_shared_from_this<Set> {
  static constexpr int kBatch = 128;
  // Sockets that are ready again at once are served so often before other work of the shard gets
  // its turn.
  static constexpr int kRounds = 2;

  Set(asio::io_context& context, Task end) : end_of_turn(std::move(end)), descriptor(context) {
    int fd = epoll_create1(EPOLL_CLOEXEC);
    MARKAB_ASSERT(fd >= 0, "no epoll descriptor: raise the limit of open files (ulimit -n)", errno);
    descriptor.assign(fd);
  }

  void wait() {
    descriptor.async_wait(asio::posix::descriptor_base::wait_read,
                          [self = shared_from_this()](const boost::system::error_code& error) {
                            if (error || self->closed) return;
                            self->serve();
                            if (!self->closed) self->wait();
                          });
  }

  void serve() {
    serving = true;
    for (int round = 0; round < kRounds && !closed; ++round) {
      count = epoll_wait(descriptor.native_handle(), batch.data(), kBatch, 0);
      if (count <= 0) break;
      for (int i = 0; i < count; ++i) {
        auto* watcher = static_cast<Watcher*>(batch[static_cast<size_t>(i)].data.ptr);
        if (watcher != nullptr) watcher->on_ready(batch[static_cast<size_t>(i)].events);
      }
      bool full = count == kBatch;
      count = 0;
      if (!full) break;
    }
    serving = false;
    if (!closed) end_of_turn();
  }

  void forget(Watcher* watcher) {
    for (int i = 0; i < count; ++i) {
      if (batch[static_cast<size_t>(i)].data.ptr == watcher)
        batch[static_cast<size_t>(i)].data.ptr = nullptr;
    }
  }

  Task end_of_turn;
  asio::posix::basic_stream_descriptor<asio::io_context::executor_type> descriptor;
  std::array<epoll_event, kBatch> batch;
  int count = 0;  // of `batch` while its watchers are served
  int watchers = 0;
  bool serving = false;
  bool closed = false;
};

Poller::Poller(asio::io_context& context, Task end_of_turn)
    : set_(std::make_shared<Set>(context, std::move(end_of_turn))) {
  set_->wait();
}

Poller::~Poller() {
  MARKAB_ASSERT(set_->watchers == 0, "a poller ends before its sockets", set_->watchers);
  set_->closed = true;
  set_->descriptor.close();
}

bool Poller::in_turn() const { return set_->serving; }

bool Poller::add(int fd, uint32_t events, Watcher* watcher) {
  epoll_event event{events, {watcher}};
  if (epoll_ctl(set_->descriptor.native_handle(), EPOLL_CTL_ADD, fd, &event) != 0) return false;
  ++set_->watchers;
  return true;
}

void Poller::modify(int fd, uint32_t events, Watcher* watcher) {
  epoll_event event{events, {watcher}};
  int rc = epoll_ctl(set_->descriptor.native_handle(), EPOLL_CTL_MOD, fd, &event);
  MARKAB_ASSERT(rc == 0, "epoll lost a socket", fd, errno);
}

void Poller::remove(int fd, Watcher* watcher) {
  int rc = epoll_ctl(set_->descriptor.native_handle(), EPOLL_CTL_DEL, fd, nullptr);
  MARKAB_ASSERT(rc == 0, "epoll lost a socket", fd, errno);
  --set_->watchers;
  set_->forget(watcher);
}

}  // namespace markab::rpc
