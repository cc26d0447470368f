#include "wal/log.h"

#include "wal/log_core.h"

namespace markab::wal {
namespace {

class LogImpl final : public Log {
 public:
  explicit LogImpl(std::shared_ptr<LogCore> core) : core_(std::move(core)) {}
  ~LogImpl() override { core_->close(); }

  void set_on_durable(OnDurable callback) override { core_->set_on_durable(std::move(callback)); }
  Status append(const Record& record) override { return core_->append(record); }
  bool out_of_space() const override { return core_->out_of_space(); }
  std::string_view hot_memory() const override {
    return {reinterpret_cast<const char*>(core_.get()), sizeof(LogCore)};
  }
  uint64_t appended_records() const override { return core_->appended(); }
  uint64_t durable_records() const override { return core_->durable(); }
  Decree last_decree() const override { return core_->last_decree(); }
  Decree trimmed() const override { return core_->trimmed(); }
  void trim(Decree decree) override { core_->trim(decree); }
  Status reset(Decree decree) override { return core_->reset(decree); }
  uint64_t bytes() const override { return core_->bytes(); }
  Result<std::vector<std::pair<Record, std::string>>> read(Decree from, size_t max_bytes) override {
    return core_->read(from, max_bytes);
  }

 private:
  const std::shared_ptr<LogCore> core_;
};

// The directory and its entry in the parent: a directory without a log may be left from an opening
// that ended between.
Status make_directory(io::FileSystem& files, const std::string& dir) {
  if (auto s = files.create_directories(dir); !s.ok()) return s;
  auto names = files.list(dir);
  if (!names) return names.error();
  if (!names->empty()) return {};
  auto slash = dir.find_last_of('/');
  return files.sync_directory(
      slash == std::string::npos ? "." : dir.substr(0, std::max<size_t>(slash, 1)));
}

}  // namespace

Result<std::unique_ptr<Log>> Log::open(Disk& disk, io::Shard& shard, const std::string& dir,
                                       Decree after, const Function<void(const Record&)>& visit,
                                       ReplaySummary& summary) {
  auto& impl = static_cast<DiskImpl&>(disk);  // Disk::make() is the only maker
  if (auto s = make_directory(disk.files(), dir); !s.ok()) return s;
  auto replayed = replay(disk.files(), dir, after, visit, summary);
  if (!replayed) return replayed.error();
  const Decree ended = replayed->index.last_decree();
  auto core = std::make_shared<LogCore>(impl, shard, dir);
  if (auto s = core->start(std::move(*replayed), summary.damage, after); !s.ok()) return s;
  summary.last_decree = core->last_decree();
  summary.began_anew = summary.damage.ok() && ended < after;
  return std::unique_ptr<Log>(new LogImpl(std::move(core)));
}

}  // namespace markab::wal
