#include "io/mapped_file.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>

#include "base/assert.h"
#include "io/posix_error.h"

namespace markab::io {
namespace {

// Reserved and mapped at a time. Hundreds of logs have such a window each: larger ones cost memory
// and space, smaller ones calls.
constexpr uint64_t kWindow = 64u << 10;
// More at a time is written with write(2), which then is the cheaper way.
constexpr size_t kDirect = 32u << 10;

// ---- SIGBUS

struct Guard {
  const char* begin;
  const char* end;
  sigjmp_buf jump;
};
thread_local Guard* volatile active_guard = nullptr;
struct sigaction former_action;

void on_bus_error(int, siginfo_t* info, void*) {
  Guard* guard = active_guard;
  const auto* at = static_cast<const char*>(info->si_addr);
  if (guard != nullptr && at >= guard->begin && at < guard->end) siglongjmp(guard->jump, 1);
  // Somebody else's: it happens once more, to who was there before us.
  sigaction(SIGBUS, &former_action, nullptr);
}

void install_guard() {
  static const bool installed = [] {
    struct sigaction action {};
    action.sa_sigaction = on_bus_error;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;  // left by a jump: it must not stay blocked
    sigemptyset(&action.sa_mask);
    return sigaction(SIGBUS, &action, &former_action) == 0;
  }();
  MARKAB_ASSERT(installed, "SIGBUS cannot be handled", errno);
}

class MappedAppendFile final : public AppendFile {
 public:
  MappedAppendFile(int fd, std::string path, uint64_t size)
      : fd_(fd), path_(std::move(path)), size_(size), reserved_(size) {
    install_guard();
  }
  ~MappedAppendFile() override {
    if (window_ != nullptr) ::munmap(window_, kWindow);
    // Nothing is cut here: by now somebody else may append to the file.
    ::close(fd_);
  }

  Status append(std::string_view data) override {
    while (!data.empty()) {
      if (data.size() > kDirect || !maps_) return write(data);
      if (auto s = make_room(); !s.ok()) return s;
      if (!maps_) continue;
      size_t n = std::min<uint64_t>(data.size(), window_at_ + kWindow - size_);
      if (!guarded_copy(window_ + (size_ - window_at_), data.data(), n))
        return posix_error("writing to a page of", path_, EIO);
      size_ += n;
      data.remove_prefix(n);
    }
    return {};
  }
  Status sync() override {
    return ::fdatasync(fd_) == 0 ? Status() : posix_error("syncing", path_, errno);
  }
  Status truncate(uint64_t size) override {
    if (::ftruncate(fd_, static_cast<off_t>(size)) != 0)
      return posix_error("truncating", path_, errno);
    size_ = reserved_ = size;
    return {};
  }
  uint64_t size() const override { return size_; }

 private:
  // There is a byte behind size_ that is reserved and mapped; or, where the file system or the
  // bound of mappings does not allow that, maps_ is false from here on.
  Status make_room() {
    if (size_ == reserved_) {
      uint64_t end = (size_ / kWindow + 1) * kWindow;
      int error;
      do {
        error = ::posix_fallocate(fd_, static_cast<off_t>(size_), static_cast<off_t>(end - size_));
      } while (error == EINTR);
      maps_ = error != EOPNOTSUPP && error != EINVAL && error != ENOSYS;
      if (!maps_) return {};
      if (error != 0) return posix_error("reserving space for", path_, error);
      reserved_ = end;
    }
    if (window_ != nullptr && size_ - window_at_ < kWindow) return {};
    // The one before is replaced in its place.
    uint64_t at = size_ / kWindow * kWindow;
    void* to =
        ::mmap(window_, kWindow, PROT_READ | PROT_WRITE,
               MAP_SHARED | (window_ == nullptr ? 0 : MAP_FIXED), fd_, static_cast<off_t>(at));
    // After a failure nobody knows whether the one before is still there: its place is not touched.
    maps_ = to != MAP_FAILED;
    window_ = maps_ ? static_cast<char*>(to) : nullptr;
    window_at_ = at;
    return {};
  }
  Status write(std::string_view data) {
    while (!data.empty()) {
      ssize_t n = ::pwrite(fd_, data.data(), data.size(), static_cast<off_t>(size_));
      if (n < 0) {
        if (errno == EINTR) continue;
        return posix_error("writing to", path_, errno);
      }
      size_ += static_cast<uint64_t>(n);
      reserved_ = std::max(reserved_, size_);
      data.remove_prefix(static_cast<size_t>(n));
    }
    return {};
  }

  const int fd_;
  const std::string path_;
  uint64_t size_;
  uint64_t reserved_;  // the file's length
  char* window_ = nullptr;
  bool maps_ = true;
  uint64_t window_at_ = 0;  // its place in the file, a multiple of kWindow
};

}  // namespace

bool guarded_copy(char* to, const char* from, size_t n) {
  Guard guard;
  guard.begin = to;
  guard.end = to + n;
  if (sigsetjmp(guard.jump, 0) != 0) {
    active_guard = nullptr;
    // The mask is not kept by the jump, which would be a system call for each copy. Who wraps
    // handlers (thread sanitizer) may have blocked more than was asked for.
    sigset_t bus_error;
    sigemptyset(&bus_error);
    sigaddset(&bus_error, SIGBUS);
    pthread_sigmask(SIG_UNBLOCK, &bus_error, nullptr);
    return false;
  }
  active_guard = &guard;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  std::memcpy(to, from, n);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  active_guard = nullptr;
  return true;
}

std::unique_ptr<AppendFile> make_mapped_append_file(int fd, std::string path, uint64_t size) {
  return std::make_unique<MappedAppendFile>(fd, std::move(path), size);
}

}  // namespace markab::io
