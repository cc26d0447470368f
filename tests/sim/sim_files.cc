#include "sim/sim_files.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "base/assert.h"

namespace markab::sim {

// What a disk writes whole or not at all.
constexpr uint64_t kSector = 512;
// What a file opened by open_append_mapped() grows by.
constexpr uint64_t kReserved = 1024;

// --- open files ---

class SimFileSystem::Appender final : public io::AppendFile {
 public:
  Appender(SimFileSystem& files, std::string path, NodePtr node)
      : files_(files), life_(files.life_), path_(std::move(path)), node_(std::move(node)) {
    ++files_.open_files_;
  }
  ~Appender() override {
    std::lock_guard lock(files_.mutex_);
    if (life_ == files_.life_) --files_.open_files_;
  }

  Status append(std::string_view data) override {
    std::lock_guard lock(files_.mutex_);
    return files_.append_locked(life_, path_, *node_, data);
  }
  Status sync() override {
    std::lock_guard lock(files_.mutex_);
    return files_.sync_locked(life_, path_, *node_);
  }
  Status truncate(uint64_t size) override {
    std::lock_guard lock(files_.mutex_);
    if (life_ != files_.life_)
      return files_.error(Errc::kDiskIoError, "truncating", path_, "of an earlier life");
    if (auto s = files_.admit(files_.rates_.metadata, "truncating", path_); !s.ok()) return s;
    if (size < node_->synced) {
      node_->cut_tail = node_->content.substr(size, node_->synced - size) + node_->cut_tail;
      node_->synced = size;
    }
    node_->content.resize(size);
    node_->reserved = 0;
    return {};
  }
  uint64_t size() const override {
    std::lock_guard lock(files_.mutex_);
    return node_->content.size();
  }

 private:
  SimFileSystem& files_;
  const uint64_t life_;
  const std::string path_;
  const NodePtr node_;
};

class SimFileSystem::Reader final : public io::ReadFile {
 public:
  Reader(SimFileSystem& files, std::string path, NodePtr node)
      : files_(files),
        life_(files.life_),
        path_(std::move(path)),
        node_(std::move(node)),
        size_(node_->content.size()) {
    ++files_.open_files_;
  }
  ~Reader() override {
    std::lock_guard lock(files_.mutex_);
    if (life_ == files_.life_) --files_.open_files_;
  }

  Status read(uint64_t offset, size_t n, std::string& out) override {
    std::lock_guard lock(files_.mutex_);
    if (life_ != files_.life_)
      return files_.error(Errc::kDiskIoError, "reading", path_, "of an earlier life");
    if (auto s = files_.admit(files_.rates_.read, "reading", path_); !s.ok()) return s;
    ++files_.counters_.reads;
    out.clear();
    if (offset < node_->content.size()) out = node_->content.substr(offset, n);
    return {};
  }
  uint64_t size() const override { return size_; }

 private:
  SimFileSystem& files_;
  const uint64_t life_;
  const std::string path_;
  const NodePtr node_;
  const uint64_t size_;
};

// --- life and death ---

SimFileSystem::SimFileSystem(uint64_t seed) : SimFileSystem(seed, Options{}) {}

SimFileSystem::SimFileSystem(uint64_t seed, const Options& options)
    : random_(seed), capacity_(options.capacity_bytes) {
  for (const auto& path : options.directories) {
    auto s = create_directories(path);
    MARKAB_ASSERT(s.ok(), "a directory of the start cannot be made", path, s);
  }
  durable_ = start_ = live_;
  changes_.clear();
}

SimFileSystem::~SimFileSystem() = default;

void SimFileSystem::stop() {
  std::lock_guard lock(mutex_);
  end_life();
}

void SimFileSystem::end_life() {
  running_ = false;
  ++life_;
  open_files_ = 0;
  for (auto& [path, node] : live_) {
    node->content.resize(node->used_bytes());
    node->mapped = false;
    node->reserved = 0;
  }
}

void SimFileSystem::wipe() {
  std::lock_guard lock(mutex_);
  MARKAB_ASSERT(open_files_ == 0, "a disk is taken out of a machine that runs", open_files_);
  end_life();
  live_ = durable_ = start_;
  changes_.clear();
  running_ = true;
}

int SimFileSystem::open_files() const {
  std::lock_guard lock(mutex_);
  return open_files_;
}

std::vector<std::string> SimFileSystem::durable_files() const {
  std::lock_guard lock(mutex_);
  std::vector<std::string> out;
  for (const auto& [path, node] : live_) {
    if (!node->directory && node->synced > 0) out.push_back(path);
  }
  return out;
}

void SimFileSystem::crash() {
  uint64_t seed;
  {
    std::lock_guard lock(mutex_);
    seed = random_.next();
  }
  crash(seed);
}

void SimFileSystem::crash(uint64_t seed) {
  std::lock_guard lock(mutex_);
  end_life();
  Random random(seed);
  lose_names(random);
  std::set<Node*> seen;
  for (auto& [path, node] : live_) {
    if (!node->directory && seen.insert(node.get()).second) lose_content(*node, random);
  }
}

void SimFileSystem::boot() {
  std::lock_guard lock(mutex_);
  running_ = true;
}

// Each change of the names that is not durable was written, or was not, whatever became of the
// others.
void SimFileSystem::lose_names(Random& random) {
  double luck = static_cast<double>(random.below(5)) / 4;  // some crashes lose all, some nothing
  for (const Change& change : changes_) {
    if (random.chance(luck)) apply(change, durable_);
  }
  changes_.clear();
  // What lies in a directory that was lost is lost.
  for (auto it = durable_.begin(); it != durable_.end();) {
    auto above = durable_.find(parent(it->first));
    bool kept = parent(it->first) == "/" || parent(it->first) == "." ||
                (above != durable_.end() && above->second->directory);
    it = kept ? std::next(it) : durable_.erase(it);
  }
  live_ = durable_;
}

// Of the bytes that were not synced a prefix is on the disk; behind it the file may go on with
// sectors that were allocated but never written (zeros), or written with something else.
void SimFileSystem::lose_content(Node& node, Random& random) {
  if (!node.cut_tail.empty() &&
      random.chance(0.5)) {  // the truncation is lost, and all that followed it
    node.content.resize(node.synced);
    node.content += node.cut_tail;
  } else if (uint64_t unsynced = node.content.size() - node.synced; unsynced > 0) {
    const uint64_t size = node.content.size();
    uint64_t kept = node.synced + random.below(unsynced + 1);
    switch (random.below(6)) {
      case 0:  // nothing
        node.content.resize(node.synced);
        break;
      case 1:  // all
        break;
      case 2:  // a prefix
        node.content.resize(kept);
        break;
      case 3:  // whole sectors
        node.content.resize(std::max(node.synced, kept / kSector * kSector));
        break;
      default: {  // whole sectors, then others
        bool zeros = random.chance(0.5);
        kept = std::max(node.synced, kept / kSector * kSector);
        uint64_t end = kept + random.below(size - kept + 1);
        node.content.resize(kept);
        while (node.content.size() < end)
          node.content.push_back(zeros ? '\0' : static_cast<char>(random.next()));
      }
    }
  }
  node.synced = node.content.size();
  node.cut_tail.clear();
}

// --- faults and checks ---

void SimFileSystem::set_capacity(uint64_t bytes) {
  std::lock_guard lock(mutex_);
  capacity_ = bytes;
}
void SimFileSystem::set_fault_rates(const FaultRates& rates) {
  std::lock_guard lock(mutex_);
  rates_ = rates;
}
void SimFileSystem::fail_next_append(const std::string& part, Status status) {
  std::lock_guard lock(mutex_);
  failing_appends_.emplace_back(part, std::move(status));
}
void SimFileSystem::fail_next_sync(const std::string& part, Status status) {
  std::lock_guard lock(mutex_);
  failing_syncs_.emplace_back(part, std::move(status));
}

void SimFileSystem::rot(const std::string& path, uint64_t offset, uint8_t mask) {
  std::lock_guard lock(mutex_);
  auto it = live_.find(normal(path));
  MARKAB_ASSERT(it != live_.end() && offset < it->second->content.size(), "no such byte to rot",
                path, offset);
  it->second->content[offset] = static_cast<char>(it->second->content[offset] ^ mask);
}

SimFileSystem::Counters SimFileSystem::counters() const {
  std::lock_guard lock(mutex_);
  return counters_;
}
uint64_t SimFileSystem::used_bytes() const {
  std::lock_guard lock(mutex_);
  uint64_t total = 0;
  for (const auto& [path, node] : live_) total += node->used_bytes();
  return total;
}
uint64_t SimFileSystem::synced_bytes(const std::string& path) const {
  std::lock_guard lock(mutex_);
  auto it = live_.find(normal(path));
  return it == live_.end() ? 0 : it->second->synced;
}

namespace {
// The failure that was ordered for this path, if there is one.
Status take_failure(std::vector<std::pair<std::string, Status>>& failures,
                    const std::string& path) {
  for (auto it = failures.begin(); it != failures.end(); ++it) {
    if (path.find(it->first) == std::string::npos) continue;
    Status status = std::move(it->second);
    failures.erase(it);
    return status;
  }
  return {};
}
}  // namespace

Status SimFileSystem::error(Errc code, std::string_view what, const std::string& path,
                            std::string_view why) const {
  return {code, fmt::format("{} {} failed: {}", what, path, why)};
}

Status SimFileSystem::admit(double rate, std::string_view what, const std::string& path) {
  if (!running_) return error(Errc::kDiskIoError, what, path, "the simulated machine is down");
  if (rate > 0 && random_.chance(rate))
    return error(Errc::kDiskIoError, what, path, "a simulated fault");
  return {};
}

// --- files ---

Status SimFileSystem::append_locked(uint64_t life, const std::string& path, Node& node,
                                    std::string_view data) {
  if (life != life_) return error(Errc::kDiskIoError, "writing to", path, "of an earlier life");
  ++counters_.appends;
  Status status = admit(rates_.append, "writing to", path);
  if (status.ok()) status = take_failure(failing_appends_, path);
  if (!status.ok()) {
    if (running_) node.content.append(data.substr(0, random_.below(data.size() + 1)));
    return status;
  }
  uint64_t used = 0;
  if (capacity_ < uint64_t{1} << 40) {  // adding up is for disks that can fill up
    for (const auto& [name, other] : live_) used += other->used_bytes();
  }
  const uint64_t room = capacity_ - std::min(capacity_, used);
  uint64_t end = node.content.size() + data.size();
  if (node.mapped && end > node.reserved) end = (end + kReserved - 1) / kReserved * kReserved;
  if (end > node.used_bytes() && end - node.used_bytes() > room) {
    if (!node.mapped) node.content.append(data.substr(0, room));
    return error(Errc::kDiskInsufficient, "writing to", path, "No space left on device");
  }
  node.content.append(data);
  if (node.mapped) node.reserved = std::max(node.reserved, end);
  return {};
}

Status SimFileSystem::sync_locked(uint64_t life, const std::string& path, Node& node) {
  if (life != life_) return error(Errc::kDiskIoError, "syncing", path, "of an earlier life");
  ++counters_.syncs;
  if (auto s = admit(rates_.sync, "syncing", path); !s.ok()) return s;
  if (auto s = take_failure(failing_syncs_, path); !s.ok()) return s;
  node.synced = node.content.size();
  node.cut_tail.clear();
  return {};
}

Result<SimFileSystem::NodePtr> SimFileSystem::find_file(std::string_view what,
                                                        const std::string& path) {
  auto it = live_.find(path);
  if (it == live_.end()) return error(Errc::kPathNotFound, what, path, "No such file or directory");
  if (it->second->directory) return error(Errc::kFileOperationFailed, what, path, "Is a directory");
  return it->second;
}

Result<std::unique_ptr<io::AppendFile>> SimFileSystem::open_append(const std::string& raw) {
  std::lock_guard lock(mutex_);
  auto path = normal(raw);
  if (auto s = admit(rates_.metadata, "opening", path); !s.ok()) return s;
  if (!live_.contains(path)) {
    auto above = parent(path);
    if (above != "/" && above != "." && !live_.contains(above)) {
      return error(Errc::kPathNotFound, "opening", path, "No such file or directory");
    }
    change({Change::Kind::kLink, path, {}, std::make_shared<Node>()});
  }
  auto node = find_file("opening", path);
  if (!node) return node.error();
  return std::unique_ptr<io::AppendFile>(new Appender(*this, path, *node));
}

Result<std::unique_ptr<io::AppendFile>> SimFileSystem::open_append_mapped(const std::string& raw) {
  auto file = open_append(raw);
  if (!file) return file;
  std::lock_guard lock(mutex_);
  live_.at(normal(raw))->mapped = true;
  return file;
}

Result<std::unique_ptr<io::ReadFile>> SimFileSystem::open_read(const std::string& raw) {
  std::lock_guard lock(mutex_);
  auto path = normal(raw);
  if (auto s = admit(rates_.read, "opening", path); !s.ok()) return s;
  auto node = find_file("opening", path);
  if (!node) return node.error();
  return std::unique_ptr<io::ReadFile>(new Reader(*this, path, *node));
}

Result<std::string> SimFileSystem::read_all(const std::string& raw, size_t limit) {
  std::lock_guard lock(mutex_);
  auto path = normal(raw);
  if (auto s = admit(rates_.read, "reading", path); !s.ok()) return s;
  auto node = find_file("opening", path);
  if (!node) return node.error();
  if ((*node)->content.size() > limit) {
    return Status(Errc::kInvalidData, fmt::format("{} has {} bytes; at most {} were expected", path,
                                                  (*node)->content.size(), limit));
  }
  return (*node)->content;
}

Status SimFileSystem::write_atomic(const std::string& raw, std::string_view data) {
  auto path = normal(raw);
  auto temporary = path + ".tmp";
  auto file = open_append(temporary);
  if (!file) return file.error();
  if (auto s = (*file)->truncate(0); !s.ok()) return s;
  if (auto s = (*file)->append(data); !s.ok()) return s;
  if (auto s = (*file)->sync(); !s.ok()) return s;
  if (auto s = rename(temporary, path); !s.ok()) return s;
  return sync_directory(parent(path));
}

Result<uint64_t> SimFileSystem::file_size(const std::string& raw) {
  std::lock_guard lock(mutex_);
  auto path = normal(raw);
  if (auto s = admit(rates_.metadata, "looking at", path); !s.ok()) return s;
  auto node = find_file("looking at", path);
  if (!node) return node.error();
  return static_cast<uint64_t>((*node)->content.size());
}

Result<io::SpaceInfo> SimFileSystem::space(const std::string& raw) {
  uint64_t used = used_bytes();
  std::lock_guard lock(mutex_);
  if (auto s = admit(rates_.metadata, "asking for the free space of", raw); !s.ok()) return s;
  return io::SpaceInfo{capacity_, capacity_ - std::min(capacity_, used)};
}

// --- names ---

std::string SimFileSystem::normal(const std::string& path) {
  auto out = std::filesystem::path(path.empty() ? "." : path).lexically_normal().string();
  if (out.size() > 1 && out.back() == '/') out.pop_back();
  return out;
}

std::string SimFileSystem::parent(const std::string& path) {
  auto slash = path.find_last_of('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

void SimFileSystem::move_tree(const std::string& from, const std::string& to, Names& names) {
  std::vector<std::pair<std::string, NodePtr>> below;
  for (auto it = names.lower_bound(from + "/");
       it != names.end() && it->first.starts_with(from + "/");) {
    below.emplace_back(to + it->first.substr(from.size()), it->second);
    it = names.erase(it);
  }
  for (auto& [path, node] : below) names[path] = node;
}

void SimFileSystem::apply(const Change& change, Names& names) {
  switch (change.kind) {
    case Change::Kind::kLink:
      names[change.path] = change.node;
      break;
    case Change::Kind::kUnlink:
      names.erase(change.path);
      break;
    case Change::Kind::kRename:
      names.erase(change.path);
      names[change.to] = change.node;
      if (change.node->directory) move_tree(change.path, change.to, names);
      break;
  }
}

void SimFileSystem::change(Change change) {
  apply(change, live_);
  changes_.push_back(std::move(change));
}

Status SimFileSystem::rename(const std::string& from, const std::string& to) {
  std::lock_guard lock(mutex_);
  return rename_locked(normal(from), normal(to));
}

Status SimFileSystem::rename_locked(const std::string& from, const std::string& to) {
  if (auto s = admit(rates_.metadata, "renaming to " + to, from); !s.ok()) return s;
  auto it = live_.find(from);
  if (it == live_.end())
    return error(Errc::kPathNotFound, "renaming to " + to, from, "No such file or directory");
  if (auto target = live_.find(to); target != live_.end() && target->second->directory) {
    auto below = live_.lower_bound(to + "/");
    if (below != live_.end() && below->first.starts_with(to + "/")) {
      return error(Errc::kFileOperationFailed, "renaming to " + to, from, "Directory not empty");
    }
  }
  change({Change::Kind::kRename, from, to, it->second});
  return {};
}

Status SimFileSystem::remove(const std::string& raw) {
  std::lock_guard lock(mutex_);
  auto path = normal(raw);
  if (auto s = admit(rates_.metadata, "removing", path); !s.ok()) return s;
  auto node = find_file("removing", path);
  if (!node) return node.error();
  change({Change::Kind::kUnlink, path, {}, nullptr});
  return {};
}

Status SimFileSystem::remove_all(const std::string& raw) {
  std::lock_guard lock(mutex_);
  auto path = normal(raw);
  if (auto s = admit(rates_.metadata, "removing", path); !s.ok()) return s;
  std::vector<std::string> gone;
  for (auto it = live_.lower_bound(path); it != live_.end() && it->first.starts_with(path); ++it) {
    if (it->first == path || it->first[path.size()] == '/') gone.push_back(it->first);
  }
  for (auto it = gone.rbegin(); it != gone.rend(); ++it)
    change({Change::Kind::kUnlink, *it, {}, nullptr});
  return {};
}

Status SimFileSystem::create_directories(const std::string& raw) {
  std::lock_guard lock(mutex_);
  auto path = normal(raw);
  if (auto s = admit(rates_.metadata, "creating the directory", path); !s.ok()) return s;
  std::vector<std::string> missing;
  for (auto at = path; at != "/" && at != "." && !live_.contains(at); at = parent(at))
    missing.push_back(at);
  for (auto it = missing.rbegin(); it != missing.rend(); ++it) {
    auto node = std::make_shared<Node>();
    node->directory = true;
    change({Change::Kind::kLink, *it, {}, std::move(node)});
  }
  if (auto it = live_.find(path); it != live_.end() && !it->second->directory) {
    return error(Errc::kPathAlreadyExist, "creating the directory", path, "File exists");
  }
  for (auto it = missing.rbegin(); it != missing.rend(); ++it) {
    if (auto s = sync_directory_locked(parent(*it)); !s.ok()) return s;
  }
  return {};
}

Status SimFileSystem::sync_directory(const std::string& raw) {
  std::lock_guard lock(mutex_);
  return sync_directory_locked(normal(raw));
}

// What changed in this directory is durable; a rename between two directories with the sync of
// either.
Status SimFileSystem::sync_directory_locked(const std::string& path) {
  ++counters_.directory_syncs;
  if (auto s = admit(rates_.metadata, "syncing the directory", path); !s.ok()) return s;
  if (path != "/" && path != "." && !live_.contains(path)) {
    return error(Errc::kPathNotFound, "syncing the directory", path, "No such file or directory");
  }
  std::vector<Change> left;
  for (Change& change : changes_) {
    bool here = parent(change.path) == path ||
                (change.kind == Change::Kind::kRename && parent(change.to) == path);
    if (here) {
      apply(change, durable_);
    } else {
      left.push_back(std::move(change));
    }
  }
  changes_ = std::move(left);
  return {};
}

Result<std::vector<std::string>> SimFileSystem::list(const std::string& raw) {
  std::lock_guard lock(mutex_);
  auto path = normal(raw);
  if (auto s = admit(rates_.metadata, "listing", path); !s.ok()) return s;
  if (path != "/" && path != ".") {
    auto it = live_.find(path);
    if (it == live_.end())
      return error(Errc::kPathNotFound, "listing", path, "No such file or directory");
    if (!it->second->directory)
      return error(Errc::kFileOperationFailed, "listing", path, "Not a directory");
  }
  std::vector<std::string> names;
  for (const auto& [name, node] : live_) {
    if (parent(name) == path) names.push_back(name.substr(name.find_last_of('/') + 1));
  }
  std::sort(names.begin(), names.end());
  return names;
}

bool SimFileSystem::exists(const std::string& raw) {
  std::lock_guard lock(mutex_);
  auto path = normal(raw);
  return running_ && (path == "/" || path == "." || live_.contains(path));
}

}  // namespace markab::sim
