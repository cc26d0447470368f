#include "meta/embedded_election.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/assert.h"
#include "base/log.h"

namespace markab::meta {
namespace {

constexpr Duration kRetry = std::chrono::milliseconds(100);

// This is the real side of a seam: it talks to the kernel itself, since io::FileSystem knows no
// locks.
class LockFile {
 public:
  ~LockFile() { release(); }

  // kHoldByOthers when somebody else has it.
  Status acquire(const std::string& path) {
    int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) {
      return Status(Errc::kFileOperationFailed,
                    fmt::format("{} cannot be opened: {}; make the directory writable or change "
                                "[meta_server] state_dir",
                                path, std::strerror(errno)));
    }
    if (::flock(fd, LOCK_EX | LOCK_NB) == 0) {
      fd_ = fd;
      return {};
    }
    int error = errno;
    ::close(fd);
    if (error == EWOULDBLOCK) return Errc::kHoldByOthers;
    return Status(Errc::kFileOperationFailed,
                  fmt::format("{} cannot be locked: {}", path, std::strerror(error)));
  }
  void release() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

 private:
  int fd_ = -1;
};

class EmbeddedElection final : public Election {
 public:
  EmbeddedElection(io::Shard& shard, io::BlockingPool& pool, io::FileSystem& files, std::string dir,
                   HostPort self)
      : shard_(shard), pool_(pool), files_(files), dir_(std::move(dir)), self_(self) {}

  void start(Callback<Standing> on_change) override {
    on_change_ = std::move(on_change);
    try_to_lead();
  }

  void stop(Task done) override {
    stopped_ = std::move(done);
    timer_.cancel();
    if (!trying_) finish_stop();
  }

 private:
  struct Attempt {
    Status status;
    HostPort leader;
  };

  void try_to_lead() {
    trying_ = true;
    auto attempt = std::make_shared<Attempt>();
    pool_.run(
        shard_, [this, attempt] { *attempt = attempt_now(); },
        [this, attempt] { finish_attempt(*attempt); });
  }

  Attempt attempt_now() {
    if (Status s = files_.create_directories(dir_); !s.ok()) return {s, {}};
    Status locked = lock_.acquire(dir_ + "/leader.lock");
    if (locked.ok()) {
      Status written = files_.write_atomic(dir_ + "/leader", self_.to_string() + "\n");
      if (!written.ok()) lock_.release();
      return {written, self_};
    }
    if (locked.code() != Errc::kHoldByOthers) return {locked, {}};
    auto text = files_.read_all(dir_ + "/leader", 256);
    if (!text) return {locked, {}};
    std::string line = text->substr(0, text->find('\n'));
    auto leader = HostPort::parse(line);
    return {locked, leader && *leader != self_ ? *leader : HostPort{}};
  }

  void finish_attempt(const Attempt& attempt) {
    trying_ = false;
    if (stopped_) return finish_stop();
    if (attempt.status.ok()) {
      tell({true, self_});
      return;
    }
    if (attempt.status.code() != Errc::kHoldByOthers && attempt.status.message() != last_error_) {
      last_error_ = attempt.status.message();
      MARKAB_ERROR("election: {}", last_error_);
    }
    tell({false, attempt.leader});
    timer_ = shard_.after(kRetry, [this] { try_to_lead(); });
  }

  void tell(const Standing& standing) {
    if (told_ && standing == standing_) return;
    told_ = true;
    standing_ = standing;
    on_change_(standing);
  }

  void finish_stop() {
    auto done = std::make_shared<Task>(std::move(stopped_));
    pool_.run(
        shard_, [this] { lock_.release(); }, [done] { (*done)(); });
  }

  io::Shard& shard_;
  io::BlockingPool& pool_;
  io::FileSystem& files_;
  const std::string dir_;
  const HostPort self_;
  LockFile lock_;  // touched on the pool, by one piece of work at a time
  Callback<Standing> on_change_;
  io::TimerHandle timer_;
  bool trying_ = false;
  bool told_ = false;
  Standing standing_;
  std::string last_error_;
  Task stopped_;
};

}  // namespace

std::unique_ptr<Election> make_embedded_election(io::Shard& shard, io::BlockingPool& pool,
                                                 io::FileSystem& files, std::string state_dir,
                                                 HostPort self) {
  return std::make_unique<EmbeddedElection>(shard, pool, files, std::move(state_dir), self);
}

}  // namespace markab::meta
