#pragma once
// Files, as a seam: the real side is POSIX; the simulated side loses what was not synced, tears
// writes, fills up and rots. All calls block and may be made from any thread; who may block where
// is the caller's business. One object is used by one thread at a time.
//
// Errors carry the path and errno: kFileOperationFailed, kPathNotFound (ENOENT), kPathAlreadyExist
// (EEXIST), kDiskInsufficient (ENOSPC, EDQUOT), kDiskIoError (EIO).

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace markab::io {

// A file that grows at its end.
class AppendFile {
 public:
  virtual ~AppendFile() = default;
  // All bytes or an error; after an error the tail is undefined.
  virtual Status append(std::string_view data) = 0;
  // fdatasync: what was appended before the call survives a power failure once this returns Ok. May
  // run beside append().
  virtual Status sync() = 0;
  virtual Status truncate(uint64_t size) = 0;
  virtual uint64_t size() const = 0;
};

class ReadFile {
 public:
  virtual ~ReadFile() = default;
  // Reads up to n bytes at offset into `out` (replaced); fewer only at the end of the file.
  virtual Status read(uint64_t offset, size_t n, std::string& out) = 0;
  virtual uint64_t size() const = 0;
};

struct SpaceInfo {
  uint64_t capacity_bytes = 0;
  uint64_t available_bytes = 0;
};

class FileSystem {
 public:
  virtual ~FileSystem() = default;
  // Opens for appending; creates when absent.
  virtual Result<std::unique_ptr<AppendFile>> open_append(const std::string& path) = 0;
  // The same for many small appends, which then cost no system call each. Zeros may follow what was
  // appended, until truncate(size()) cuts them; a process that is killed leaves them.
  virtual Result<std::unique_ptr<AppendFile>> open_append_mapped(const std::string& path) {
    return open_append(path);
  }
  virtual Result<std::unique_ptr<ReadFile>> open_read(const std::string& path) = 0;
  // The whole file; kInvalidData when it is larger than `limit`.
  virtual Result<std::string> read_all(const std::string& path, size_t limit = 64u << 20) = 0;
  // Replaces the file atomically and durably: temporary file, fsync, rename, fsync of the
  // directory.
  virtual Status write_atomic(const std::string& path, std::string_view data) = 0;
  virtual Status rename(const std::string& from, const std::string& to) = 0;
  virtual Status remove(const std::string& path) = 0;
  // Removes a directory and all below; Ok when absent.
  virtual Status remove_all(const std::string& path) = 0;
  // Also those above it. Durable when it returns Ok: what is synced in a directory that a crash
  // forgets is lost.
  virtual Status create_directories(const std::string& path) = 0;
  virtual Status sync_directory(const std::string& path) = 0;
  // Names (not paths) in a directory, sorted.
  virtual Result<std::vector<std::string>> list(const std::string& path) = 0;
  virtual bool exists(const std::string& path) = 0;
  virtual Result<uint64_t> file_size(const std::string& path) = 0;
  virtual Result<SpaceInfo> space(const std::string& path) = 0;
};

// The operating system's. One for the process.
FileSystem& real_file_system();

}  // namespace markab::io
