#include "engine/deferred_sync.h"

#include <rocksdb/file_system.h>

#include <string>
#include <utility>

#include "base/assert.h"

namespace markab::engine {

namespace {

using rocksdb::DirFsyncOptions;
using rocksdb::FileOptions;
using rocksdb::FSDirectory;
using rocksdb::FSWritableFile;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;

thread_local bool creating = false;

class SyncedFile final : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  SyncedFile(std::unique_ptr<FSWritableFile>&& file, bool never)
      : FSWritableFileOwnerWrapper(std::move(file)), never_(never) {}

  IOStatus Sync(const IOOptions& options, IODebugContext* debug) override {
    return left_out() ? IOStatus::OK() : FSWritableFileOwnerWrapper::Sync(options, debug);
  }
  IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override {
    return left_out() ? IOStatus::OK() : FSWritableFileOwnerWrapper::Fsync(options, debug);
  }

 private:
  bool left_out() const { return never_ || creating; }
  const bool never_;
};

class SyncedDirectory final : public rocksdb::FSDirectoryWrapper {
 public:
  explicit SyncedDirectory(std::unique_ptr<FSDirectory>&& directory)
      : FSDirectoryWrapper(std::move(directory)) {}

  IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override {
    return creating ? IOStatus::OK() : FSDirectoryWrapper::Fsync(options, debug);
  }
  IOStatus FsyncWithDirOptions(const IOOptions& options, IODebugContext* debug,
                               const DirFsyncOptions& why) override {
    return creating ? IOStatus::OK() : FSDirectoryWrapper::FsyncWithDirOptions(options, debug, why);
  }
};

class StoreFileSystem final : public rocksdb::FileSystemWrapper {
 public:
  StoreFileSystem() : FileSystemWrapper(rocksdb::FileSystem::Default()) {}
  const char* Name() const override { return "markab.StoreFileSystem"; }

  IOStatus NewWritableFile(const std::string& name, const FileOptions& options,
                           std::unique_ptr<FSWritableFile>* file, IODebugContext* debug) override {
    return wrap(FileSystemWrapper::NewWritableFile(name, options, file, debug), name, file);
  }
  IOStatus ReopenWritableFile(const std::string& name, const FileOptions& options,
                              std::unique_ptr<FSWritableFile>* file,
                              IODebugContext* debug) override {
    return wrap(FileSystemWrapper::ReopenWritableFile(name, options, file, debug), name, file);
  }
  IOStatus ReuseWritableFile(const std::string& name, const std::string& old_name,
                             const FileOptions& options, std::unique_ptr<FSWritableFile>* file,
                             IODebugContext* debug) override {
    return wrap(FileSystemWrapper::ReuseWritableFile(name, old_name, options, file, debug), name,
                file);
  }
  IOStatus NewDirectory(const std::string& name, const IOOptions& options,
                        std::unique_ptr<FSDirectory>* directory, IODebugContext* debug) override {
    IOStatus opened = FileSystemWrapper::NewDirectory(name, options, directory, debug);
    if (opened.ok()) *directory = std::make_unique<SyncedDirectory>(std::move(*directory));
    return opened;
  }

 private:
  static IOStatus wrap(IOStatus opened, const std::string& name,
                       std::unique_ptr<FSWritableFile>* file) {
    if (opened.ok()) {
      bool is_options = name.find("/OPTIONS-") != std::string::npos;
      *file = std::make_unique<SyncedFile>(std::move(*file), is_options);
    }
    return opened;
  }
};

}  // namespace

CreationScope::CreationScope() {
  MARKAB_ASSERT(!creating, "creations do not nest");
  creating = true;
}
CreationScope::~CreationScope() { creating = false; }

std::unique_ptr<rocksdb::Env> make_store_env() {
  return rocksdb::NewCompositeEnv(std::make_shared<StoreFileSystem>());
}

}  // namespace markab::engine
