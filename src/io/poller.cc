#include "io/poller.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/assert.h"

namespace markab::io {

Poller::Poller()
    : fd_(epoll_create1(EPOLL_CLOEXEC)), wake_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  MARKAB_ASSERT(fd_ >= 0 && wake_fd_ >= 0,
                "no descriptor for an event loop: raise the limit of open files (ulimit -n)",
                errno);
  // Edge-triggered: each write to it is an event, and nobody has to read it.
  epoll_event event{EPOLLIN | EPOLLET, {nullptr}};
  int rc = epoll_ctl(fd_, EPOLL_CTL_ADD, wake_fd_, &event);
  MARKAB_ASSERT(rc == 0, "epoll takes no event descriptor", errno);
}

Poller::~Poller() {
  MARKAB_ASSERT(watchers_ == 0, "a poller ends before its sockets", watchers_);
  ::close(wake_fd_);
  ::close(fd_);
}

bool Poller::add(int fd, uint32_t events, Watcher* watcher) {
  epoll_event event{events, {watcher}};
  if (epoll_ctl(fd_, EPOLL_CTL_ADD, fd, &event) != 0) return false;
  ++watchers_;
  return true;
}

void Poller::modify(int fd, uint32_t events, Watcher* watcher) {
  epoll_event event{events, {watcher}};
  int rc = epoll_ctl(fd_, EPOLL_CTL_MOD, fd, &event);
  MARKAB_ASSERT(rc == 0, "epoll lost a socket", fd, errno);
}

void Poller::remove(int fd, Watcher* watcher) {
  int rc = epoll_ctl(fd_, EPOLL_CTL_DEL, fd, nullptr);
  MARKAB_ASSERT(rc == 0, "epoll lost a socket", fd, errno);
  --watchers_;
  for (int i = 0; i < count_; ++i) {
    epoll_event& event = batch_[static_cast<size_t>(i)];
    if (event.data.ptr == watcher) event.data.ptr = nullptr;
  }
}

void Poller::forget(TurnEnd* who) {
  std::replace(ending_.begin(), ending_.end(), who, static_cast<TurnEnd*>(nullptr));
}

void Poller::wait(int timeout_ms) {
  count_ = std::max(0, epoll_wait(fd_, batch_.data(), kBatch, timeout_ms));
  for (int i = 0; i < count_; ++i) {
    const epoll_event& event = batch_[static_cast<size_t>(i)];
    // Null: what woke us, or was removed in this turn.
    if (auto* watcher = static_cast<Watcher*>(event.data.ptr)) watcher->on_ready(event.events);
  }
  count_ = 0;
}

void Poller::end_turn() {
  size_t done = 0;
  for (; done < ending_.size() && done < kMostEnds; ++done) {
    if (ending_[done] != nullptr) ending_[done]->end_of_turn();
  }
  ending_.erase(ending_.begin(), ending_.begin() + static_cast<std::ptrdiff_t>(done));
}

void Poller::wake() {
  uint64_t one = 1;
  ssize_t n;
  do {
    n = ::write(wake_fd_, &one, sizeof one);
  } while (n < 0 && errno == EINTR);
  // A counter that is full (EAGAIN) has woken the loop often enough.
  MARKAB_ASSERT(n == sizeof one || errno == EAGAIN, "an event loop cannot be woken", errno);
}

}  // namespace markab::io
