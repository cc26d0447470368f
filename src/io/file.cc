#include "io/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "io/mapped_file.h"
#include "io/posix_error.h"

namespace markab::io {

Status posix_error(std::string_view what, const std::string& path, int error) {
  Errc code = Errc::kFileOperationFailed;
  if (error == ENOENT) code = Errc::kPathNotFound;
  if (error == EEXIST) code = Errc::kPathAlreadyExist;
  if (error == ENOSPC || error == EDQUOT) code = Errc::kDiskInsufficient;
  if (error == EIO) code = Errc::kDiskIoError;
  return {code, fmt::format("{} {} failed: {}", what, path, std::strerror(error))};
}

namespace {

namespace fs = std::filesystem;

class PosixAppendFile final : public AppendFile {
 public:
  PosixAppendFile(int fd, std::string path, uint64_t size)
      : fd_(fd), path_(std::move(path)), size_(size) {}
  ~PosixAppendFile() override { ::close(fd_); }

  Status append(std::string_view data) override {
    while (!data.empty()) {
      ssize_t n = ::pwrite(fd_, data.data(), data.size(), static_cast<off_t>(size_));
      if (n < 0) {
        if (errno == EINTR) continue;
        return posix_error("writing to", path_, errno);
      }
      size_ += static_cast<uint64_t>(n);
      data.remove_prefix(static_cast<size_t>(n));
    }
    return {};
  }
  Status sync() override {
    return ::fdatasync(fd_) == 0 ? Status() : posix_error("syncing", path_, errno);
  }
  Status truncate(uint64_t size) override {
    if (::ftruncate(fd_, static_cast<off_t>(size)) != 0)
      return posix_error("truncating", path_, errno);
    size_ = size;
    return {};
  }
  uint64_t size() const override { return size_; }

 private:
  const int fd_;
  const std::string path_;
  uint64_t size_;
};

class PosixReadFile final : public ReadFile {
 public:
  PosixReadFile(int fd, std::string path, uint64_t size)
      : fd_(fd), path_(std::move(path)), size_(size) {}
  ~PosixReadFile() override { ::close(fd_); }

  Status read(uint64_t offset, size_t n, std::string& out) override {
    out.resize(n);
    size_t done = 0;
    while (done < n) {
      ssize_t got = ::pread(fd_, out.data() + done, n - done, static_cast<off_t>(offset + done));
      if (got < 0) {
        if (errno == EINTR) continue;
        return posix_error("reading", path_, errno);
      }
      if (got == 0) break;
      done += static_cast<size_t>(got);
    }
    out.resize(done);
    return {};
  }
  uint64_t size() const override { return size_; }

 private:
  const int fd_;
  const std::string path_;
  const uint64_t size_;
};

struct OpenFile {
  int fd;
  uint64_t size;
};

Result<OpenFile> open_file(const std::string& path, int flags) {
  int fd = ::open(path.c_str(), flags | O_CLOEXEC, 0644);
  if (fd < 0) return posix_error("opening", path, errno);
  struct stat info {};
  if (::fstat(fd, &info) != 0) {
    int error = errno;
    ::close(fd);
    return posix_error("looking at", path, error);
  }
  return OpenFile{fd, static_cast<uint64_t>(info.st_size)};
}

class PosixFileSystem final : public FileSystem {
 public:
  Result<std::unique_ptr<AppendFile>> open_append(const std::string& path) override {
    auto file = open_file(path, O_WRONLY | O_CREAT);
    if (!file) return file.error();
    return std::unique_ptr<AppendFile>(new PosixAppendFile(file->fd, path, file->size));
  }
  Result<std::unique_ptr<AppendFile>> open_append_mapped(const std::string& path) override {
    auto file = open_file(path, O_RDWR | O_CREAT);
    if (!file) return file.error();
    return make_mapped_append_file(file->fd, path, file->size);
  }
  Result<std::unique_ptr<ReadFile>> open_read(const std::string& path) override {
    auto file = open_file(path, O_RDONLY);
    if (!file) return file.error();
    return std::unique_ptr<ReadFile>(new PosixReadFile(file->fd, path, file->size));
  }

  Result<std::string> read_all(const std::string& path, size_t limit) override {
    auto file = open_read(path);
    if (!file) return file.error();
    if ((*file)->size() > limit) {
      return Status(Errc::kInvalidData, fmt::format("{} has {} bytes; at most {} were expected",
                                                    path, (*file)->size(), limit));
    }
    std::string out;
    if (auto s = (*file)->read(0, (*file)->size(), out); !s.ok()) return s;
    return out;
  }

  Status write_atomic(const std::string& path, std::string_view data) override {
    auto temporary = path + ".tmp";
    {
      int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
      if (fd < 0) return posix_error("opening", temporary, errno);
      PosixAppendFile file(fd, temporary, 0);
      if (auto s = file.append(data); !s.ok()) {
        ::unlink(temporary.c_str());  // a full disk needs the room
        return s;
      }
      if (::fsync(fd) != 0) return posix_error("syncing", temporary, errno);
    }
    if (auto s = rename(temporary, path); !s.ok()) return s;
    return sync_directory(fs::path(path).parent_path().string());
  }

  Status rename(const std::string& from, const std::string& to) override {
    if (::rename(from.c_str(), to.c_str()) != 0)
      return posix_error("renaming to " + to, from, errno);
    return {};
  }
  Status remove(const std::string& path) override {
    return ::unlink(path.c_str()) == 0 ? Status() : posix_error("removing", path, errno);
  }
  Status remove_all(const std::string& path) override {
    std::error_code error;
    fs::remove_all(path, error);
    return error ? posix_error("removing", path, error.value()) : Status();
  }
  Status create_directories(const std::string& path) override {
    std::error_code error;
    std::vector<fs::path> fresh;
    for (auto at = fs::path(path); !at.empty() && !fs::exists(at, error); at = at.parent_path())
      fresh.push_back(at);
    fs::create_directories(path, error);
    if (error) return posix_error("creating the directory", path, error.value());
    for (const auto& made : fresh) {
      if (auto s = sync_directory(made.parent_path().string()); !s.ok()) return s;
    }
    return {};
  }
  Status sync_directory(const std::string& path) override {
    int fd = ::open(path.empty() ? "." : path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return posix_error("opening the directory", path, errno);
    int result = ::fsync(fd);
    int error = errno;
    ::close(fd);
    return result == 0 ? Status() : posix_error("syncing the directory", path, error);
  }
  Result<std::vector<std::string>> list(const std::string& path) override {
    std::error_code error;
    std::vector<std::string> names;
    for (fs::directory_iterator it(path, error), end; !error && it != end; it.increment(error)) {
      names.push_back(it->path().filename().string());
    }
    if (error) return posix_error("listing", path, error.value());
    std::sort(names.begin(), names.end());
    return names;
  }
  bool exists(const std::string& path) override {
    std::error_code error;
    return fs::exists(path, error);
  }
  Result<uint64_t> file_size(const std::string& path) override {
    std::error_code error;
    auto size = fs::file_size(path, error);
    if (error) return posix_error("looking at", path, error.value());
    return static_cast<uint64_t>(size);
  }
  Result<SpaceInfo> space(const std::string& path) override {
    struct statvfs info {};
    if (::statvfs(path.c_str(), &info) != 0)
      return posix_error("asking for the free space of", path, errno);
    return SpaceInfo{static_cast<uint64_t>(info.f_blocks) * info.f_frsize,
                     static_cast<uint64_t>(info.f_bavail) * info.f_frsize};
  }
};

}  // namespace

FileSystem& real_file_system() {
  static PosixFileSystem instance;
  return instance;
}

}  // namespace markab::io
