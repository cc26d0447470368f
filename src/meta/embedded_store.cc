#include "meta/embedded_store.h"

#include <rocksdb/db.h>
#include <rocksdb/options.h>
#include <rocksdb/write_batch.h>

#include "base/assert.h"

namespace markab::meta {
namespace {

// A path begins with '/', so these keys are none.
constexpr const char* kFormatKey = "!format";
constexpr const char* kFormat = "1";
constexpr const char* kClusterKey = "!cluster";

rocksdb::Options database_options() {
  rocksdb::Options options;
  options.create_if_missing = true;
  options.write_buffer_size = 4u << 20;
  options.max_write_buffer_number = 2;
  options.max_open_files = 64;
  options.max_background_jobs = 1;
  options.compression = rocksdb::kNoCompression;
  options.keep_log_file_num = 2;
  options.max_log_file_size = 1u << 20;
  options.max_manifest_file_size = 4u << 20;
  options.max_total_wal_size = 8u << 20;
  // An acknowledged transaction must be there: a damaged log is an error, not the end of it.
  options.wal_recovery_mode = rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords;
  return options;
}

Status to_status(const rocksdb::Status& s, const std::string& what) {
  if (s.ok()) return {};
  Errc code = s.IsNoSpace()      ? Errc::kDiskInsufficient
              : s.IsCorruption() ? Errc::kInvalidData
              : s.IsIOError()    ? Errc::kFileOperationFailed
                                 : Errc::kUnknown;
  return Status(code, fmt::format("{}: {}", what, s.ToString()));
}

Status foreign(const std::string& dir, const std::string& owner, const std::string& cluster) {
  return Status(Errc::kInvalidParameters,
                fmt::format("{} belongs to cluster {}, but [replication] cluster_name is {}; give "
                            "this cluster its own "
                            "[meta_server] state_dir",
                            dir, owner, cluster));
}

class EmbeddedStore final : public StateStore {
 public:
  EmbeddedStore(io::Shard& shard, io::BlockingPool& pool, std::string state_dir,
                std::string cluster)
      : shard_(shard),
        pool_(pool),
        dir_(std::move(state_dir) + "/state"),
        cluster_(std::move(cluster)) {}

  void open(Callback<Result<Tree>> done) override {
    auto result = std::make_shared<Result<Tree>>(Tree{});
    run([this, result] { *result = open_and_read(); },
        [result, done = std::move(done)] { done(std::move(*result)); });
  }

  void write(std::vector<StateOp> ops, Callback<Status> done) override {
    auto result = std::make_shared<Status>();
    run([this, ops = std::move(ops), result] { *result = write_now(ops); },
        [result, done = std::move(done)] { done(std::move(*result)); });
  }

  void close(Task done) override {
    closing_ = std::move(done);
    if (running_ == 0) finish_close();
  }

  size_t max_transaction_bytes() const override { return 16u << 20; }

 private:
  void run(Task work, Task done) {
    MARKAB_ASSERT(!closing_, "a store is used after close()", dir_);
    ++running_;
    pool_.run(shard_, std::move(work), [this, done = std::move(done)] {
      --running_;
      if (closing_) return finish_close();  // nobody waits for that outcome any more
      done();
    });
  }

  void finish_close() {
    auto done = std::make_shared<Task>(std::move(closing_));
    pool_.run(
        shard_, [this] { db_.reset(); }, [done] { (*done)(); });
  }

  Result<Tree> open_and_read() {
    db_.reset();
    rocksdb::DB* raw = nullptr;
    if (auto s = rocksdb::DB::Open(database_options(), dir_, &raw); !s.ok()) {
      Status status = to_status(s, fmt::format("the meta state in {} cannot be opened", dir_));
      bool held = s.ToString().find("LOCK") != std::string::npos ||
                  s.ToString().find("lock") != std::string::npos;
      return held ? Status(Errc::kHoldByOthers, status.message() + "; another process uses it")
                  : status;
    }
    db_.reset(raw);
    if (Status s = check_identity(); !s.ok()) {
      db_.reset();
      return s;
    }
    Tree tree;
    std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator(rocksdb::ReadOptions()));
    for (it->Seek("/"); it->Valid() && it->key().starts_with("/"); it->Next()) {
      tree[it->key().ToString()] = it->value().ToString();
    }
    if (!it->status().ok())
      return to_status(it->status(), fmt::format("reading the meta state in {}", dir_));
    return tree;
  }

  Status check_identity() {
    std::string format;
    auto s = db_->Get(rocksdb::ReadOptions(), kFormatKey, &format);
    if (s.IsNotFound()) {
      rocksdb::WriteBatch batch;
      batch.Put(kFormatKey, kFormat);
      batch.Put(kClusterKey, cluster_);
      return to_status(db_->Write(synced(), &batch),
                       fmt::format("initialising the meta state in {}", dir_));
    }
    if (!s.ok()) return to_status(s, fmt::format("reading the meta state in {}", dir_));
    if (format != kFormat) {
      return Status(
          Errc::kInvalidData,
          fmt::format("the meta state in {} has format {}, this program knows {}; use the "
                      "program that wrote it",
                      dir_, format, kFormat));
    }
    std::string cluster;
    s = db_->Get(rocksdb::ReadOptions(), kClusterKey, &cluster);
    if (!s.ok()) return to_status(s, fmt::format("reading the meta state in {}", dir_));
    return cluster == cluster_ ? Status() : foreign(dir_, cluster, cluster_);
  }

  Status write_now(const std::vector<StateOp>& ops) {
    if (db_ == nullptr)
      return Status(Errc::kServiceNotActive, fmt::format("the meta state in {} is not open", dir_));
    rocksdb::WriteBatch batch;
    for (const StateOp& op : ops) {
      if (op.kind == StateOp::Kind::kPut) {
        batch.Put(op.path, op.data);
      } else {
        batch.Delete(op.path);
      }
    }
    return to_status(db_->Write(synced(), &batch),
                     fmt::format("writing the meta state in {}", dir_));
  }

  static rocksdb::WriteOptions synced() {
    rocksdb::WriteOptions options;
    options.sync = true;
    return options;
  }

  io::Shard& shard_;
  io::BlockingPool& pool_;
  const std::string dir_;
  const std::string cluster_;
  std::unique_ptr<rocksdb::DB> db_;  // touched on the pool, by one piece of work at a time
  int running_ = 0;
  Task closing_;
};

}  // namespace

std::unique_ptr<StateStore> make_embedded_store(io::Shard& shard, io::BlockingPool& pool,
                                                std::string state_dir, std::string cluster) {
  return std::make_unique<EmbeddedStore>(shard, pool, std::move(state_dir), std::move(cluster));
}

Status claim_state_dir(io::FileSystem& files, const std::string& state_dir,
                       const std::string& cluster, HostPort self) {
  std::string path = state_dir + "/cluster";
  if (Status s = files.create_directories(state_dir); !s.ok()) return s;
  if (!files.exists(path)) {
    // Meta servers that share the directory start together: each writes a file of its own and puts
    // it there.
    std::string mine = path + "." + self.to_string();
    if (Status s = files.write_atomic(mine, cluster + "\n"); !s.ok()) return s;
    return files.rename(mine, path);
  }
  auto text = files.read_all(path, 4096);
  if (!text) return text.error();
  std::string owner = text->substr(0, text->find('\n'));
  return owner == cluster ? Status() : foreign(state_dir, owner, cluster);
}

}  // namespace markab::meta
