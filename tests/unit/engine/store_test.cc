// RocksStore: what is on disk, what survives, how errors read. See also script_test.cc and
// model_test.cc.

#include "engine/store.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <rocksdb/convenience.h>
#include <rocksdb/db.h>
#include <sys/mount.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "engine/effects.h"
#include "engine/key_codec.h"
#include "engine/rocks_store.h"
#include "engine/value_codec.h"
#include "unit/engine/temporary_directory.h"

namespace markab::engine {
namespace {

class RocksStoreTest : public testing::Test {
 protected:
  static SharedResourceOptions small() {
    SharedResourceOptions options;
    options.memory_bytes = 72 << 20;
    options.write_buffer_bytes = 64 << 20;
    return options;
  }
  Result<std::unique_ptr<RocksStore>> try_open() {
    RocksStoreOptions options;
    options.gpid = {2, 3};
    options.dir = dir();
    options.settings = &settings_;
    options.wall_us = &wall_us_;
    return RocksStore::open(shared_, options);
  }
  std::unique_ptr<RocksStore> open() {
    auto store = try_open();
    EXPECT_TRUE(store) << store.error().to_string();
    return std::move(*store);
  }
  std::string dir() const { return root_.path() + "/rdb"; }

  static std::string put_effects(std::string_view hash_key, std::string_view sort_key,
                                 std::string_view value, uint32_t expire_ts = 0) {
    std::string bytes;
    EffectsWriter::start(bytes);
    EffectsWriter::put(bytes, hash_key, sort_key, encode_value(1, expire_ts, 0, ""), value);
    return bytes;
  }
  static std::string value_of(Store& store, std::string_view hash_key, std::string_view sort_key,
                              uint32_t* expire_ts = nullptr) {
    rocksdb::PinnableSlice value;
    Status error;
    Lookup found = store.get(make_key(hash_key, sort_key), {}, value, error);
    if (found == Lookup::kNotFound) return "(none)";
    EXPECT_EQ(found, Lookup::kFound) << error.to_string();
    ValueView view;
    EXPECT_TRUE(decode_value(1, {value.data(), value.size()}, view));
    if (expire_ts != nullptr) *expire_ts = view.expire_ts;
    return std::string(view.data);
  }

  TemporaryDirectory root_;
  SharedResources shared_{small()};
  LiveSettings settings_{TableSettings()};
  Function<int64_t()> wall_us_ = [] { return int64_t{1700000000000000}; };
};

TEST_F(RocksStoreTest, NewStoreIsEmptyAtDecreeZero) {
  auto store = open();
  EXPECT_EQ(store->last_applied(), 0);
  EXPECT_EQ(store->last_flushed(), 0);
  EXPECT_EQ(store->data_version(), 1u);
}

TEST_F(RocksStoreTest, OnlyAFlushSurvives) {
  {
    auto store = open();
    ASSERT_TRUE(store->write(1, put_effects("h", "a", "1")).ok());
    ASSERT_TRUE(store->write(2, {}).ok());
    EXPECT_EQ(store->last_applied(), 2);
    EXPECT_EQ(store->last_flushed(), 0);
    ASSERT_TRUE(store->flush().ok());
    EXPECT_EQ(store->last_flushed(), 2);
    ASSERT_TRUE(store->write(3, put_effects("h", "b", "2")).ok());
    EXPECT_EQ(value_of(*store, "h", "b"), "2");
  }
  auto store = open();
  EXPECT_EQ(store->last_applied(), 2);
  EXPECT_EQ(store->last_flushed(), 2);
  EXPECT_EQ(value_of(*store, "h", "a"), "1");
  EXPECT_EQ(value_of(*store, "h", "b"), "(none)");
}

TEST_F(RocksStoreTest, UnflushedStoreOpensAnew) {
  { ASSERT_TRUE(open()->write(1, put_effects("h", "a", "1")).ok()); }
  auto store = open();
  EXPECT_EQ(store->last_applied(), 0);
  EXPECT_EQ(value_of(*store, "h", "a"), "(none)");
}

TEST_F(RocksStoreTest, MalformedEffectsChangeNothing) {
  auto store = open();
  std::string bytes = put_effects("h", "a", "1");
  Status s = store->write(1, std::string_view(bytes).substr(0, bytes.size() - 1));
  EXPECT_EQ(s.code(), Errc::kInvalidData);
  EXPECT_EQ(store->last_applied(), 0);
  EXPECT_TRUE(store->write(1, bytes).ok());
}

// As one by one: a later effect for the same key wins, decrees without effects count, and nothing
// is applied when one of them is malformed.
TEST_F(RocksStoreTest, ARunIsItsDecrees) {
  auto store = open();
  std::string one = put_effects("h", "a", "1"), two = put_effects("h", "b", "2"),
              three = put_effects("h", "a", "3"), gone;
  EffectsWriter::start(gone);
  EffectsWriter::remove(gone, "h", "b");
  EffectsWriter::put(gone, "h", "c", encode_value(1, 0, 0, ""), "4");
  ASSERT_TRUE(store->write_run(1, {one, two, {}, three, gone}).ok());
  EXPECT_EQ(store->last_applied(), 5);
  EXPECT_EQ(value_of(*store, "h", "a"), "3");
  EXPECT_EQ(value_of(*store, "h", "b"), "(none)");
  EXPECT_EQ(value_of(*store, "h", "c"), "4");
  ASSERT_TRUE(store->write_run(6, {{}}).ok());
  EXPECT_EQ(store->last_applied(), 6);
  EXPECT_TRUE(store->write_run(7, {}).ok());
  EXPECT_EQ(store->last_applied(), 6);
  Status s = store->write_run(7, {two, std::string_view(one).substr(0, one.size() - 1)});
  EXPECT_EQ(s.code(), Errc::kInvalidData);
  EXPECT_EQ(store->last_applied(), 6);
  EXPECT_EQ(value_of(*store, "h", "b"), "(none)");
  ASSERT_TRUE(store->flush().ok());
  EXPECT_EQ(store->last_flushed(), 6);
}

// A small file system in memory, for as long as it lives.
class SmallDisk {
 public:
  SmallDisk(std::string path, const char* options) : path_(std::move(path)) {
    std::filesystem::create_directories(path_);
    mounted_ = ::mount("markab-test", path_.c_str(), "tmpfs", 0, options) == 0;
  }
  ~SmallDisk() {
    if (mounted_) ::umount2(path_.c_str(), MNT_DETACH);
  }
  bool mounted() const { return mounted_; }
  // To the last byte.
  void fill() {
    int fd = ::open(filler().c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ASSERT_GE(fd, 0);
    std::string bytes(1u << 20, 'x');
    for (size_t n = bytes.size(); n > 0;) {
      if (::write(fd, bytes.data(), n) <= 0) n /= 2;
    }
    ::close(fd);
  }
  void leave(uintmax_t bytes) {
    std::filesystem::resize_file(filler(), std::filesystem::file_size(filler()) - bytes);
  }
  void empty() { std::filesystem::remove(filler()); }

 private:
  std::string filler() const { return path_ + "/filler"; }
  const std::string path_;
  bool mounted_ = false;
};

// A flush that found no room is done again as soon as there is some, at the first try: nothing of
// RocksDB's own is under way then, which would refuse, or wait for ever.
TEST_F(RocksStoreTest, AFullDiskIsLeftAtTheFirstTry) {
  SmallDisk disk(dir(), "size=24m");
  if (!disk.mounted()) GTEST_SKIP() << "no file system can be mounted here";
  // The folder is the file system's top, which cannot be removed: a store below it.
  RocksStoreOptions options;
  options.gpid = {2, 3};
  options.dir = dir() + "/store";
  options.settings = &settings_;
  options.wall_us = &wall_us_;
  auto opened = RocksStore::open(shared_, options);
  ASSERT_TRUE(opened) << opened.error().to_string();
  auto store = std::move(*opened);
  Decree decree = 0;
  auto write = [&](int n) {
    return store->write(decree + 1, put_effects("h", std::to_string(n), std::string(20000, 'v')));
  };
  for (int round = 0; round < 6; ++round) {
    for (int n = 0; n < 20; ++n, ++decree) ASSERT_TRUE(write(n).ok());
    disk.fill();
    EXPECT_EQ(store->flush().code(), Errc::kDiskInsufficient);
    EXPECT_TRUE(store->out_of_space());
    EXPECT_EQ(write(0).code(), Errc::kDiskInsufficient);
    EXPECT_EQ(value_of(*store, "h", "19").size(), 20000u);
    // What would not hold what waits in memory is no reason to try.
    disk.leave(256u << 10);
    EXPECT_EQ(store->regain_space().code(), Errc::kDiskInsufficient);
    disk.empty();
    Status regained = store->regain_space();
    ASSERT_TRUE(regained.ok()) << "round " << round << ": " << regained.to_string();
    EXPECT_FALSE(store->out_of_space());
    EXPECT_EQ(store->last_flushed(), decree);
  }
  EXPECT_TRUE(store->damage().ok());
  store.reset();
  opened = RocksStore::open(shared_, options);
  ASSERT_TRUE(opened) << opened.error().to_string();
  EXPECT_EQ((*opened)->last_applied(), decree);
  EXPECT_EQ(value_of(**opened, "h", "7").size(), 20000u);
}

// The names and texts that a Pegasus server, or an operator's tool, finds in the files (spec 02
// §14).
TEST_F(RocksStoreTest, LayoutOnDisk) {
  {
    auto store = open();
    for (Decree d = 1; d <= 12; ++d) {
      ASSERT_TRUE(store->write(d, put_effects("h", std::to_string(d), "v")).ok());
    }
    ASSERT_TRUE(store->flush().ok());
  }
  std::vector<rocksdb::ColumnFamilyDescriptor> families = {{"default", {}},
                                                           {"pegasus_meta_cf", {}}};
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* raw = nullptr;
  ASSERT_TRUE(rocksdb::DB::OpenForReadOnly({}, dir(), families, &handles, &raw).ok());
  std::unique_ptr<rocksdb::DB> db(raw);
  auto fact = [&](const char* name) {
    std::string text;
    return db->Get({}, handles[1], name, &text).ok() ? text : "(none)";
  };
  EXPECT_EQ(fact("pegasus_data_version"), "1");
  EXPECT_EQ(fact("pegasus_last_flushed_decree"), "12");
  EXPECT_EQ(fact("pegasus_last_manual_compact_finish_time"), "0");
  rocksdb::TablePropertiesCollection properties;
  ASSERT_TRUE(db->GetPropertiesOfAllTables(handles[0], &properties).ok());
  ASSERT_EQ(properties.size(), 1u);
  EXPECT_EQ(properties.begin()->second->prefix_extractor_name, "pegasus.HashkeyTransform");
  for (auto* handle : handles) db->DestroyColumnFamilyHandle(handle);
  EXPECT_FALSE(std::filesystem::exists(dir() + "/LOG"));
}

TEST_F(RocksStoreTest, CheckpointHoldsWhatIsDurable) {
  auto store = open();
  ASSERT_TRUE(store->write(1, put_effects("h", "a", "1")).ok());
  std::string first = root_.path() + "/checkpoint.first";
  auto decree = store->checkpoint(first);  // nothing is durable yet: it flushes
  ASSERT_TRUE(decree) << decree.error().to_string();
  EXPECT_EQ(*decree, 1);
  ASSERT_TRUE(store->write(2, put_effects("h", "b", "2")).ok());
  std::string second = root_.path() + "/checkpoint.second";
  decree = store->checkpoint(second);
  ASSERT_TRUE(decree);
  EXPECT_EQ(*decree, 1);
  EXPECT_EQ(store->last_flushed(), 1);
  EXPECT_FALSE(store->checkpoint(second)) << "the directory exists";
  auto read = RocksStore::decree_of_checkpoint(first);
  ASSERT_TRUE(read) << read.error().to_string();
  EXPECT_EQ(*read, 1);

  store.reset();
  std::filesystem::remove_all(dir());
  std::filesystem::rename(second, dir());
  store = open();
  EXPECT_EQ(store->last_applied(), 1);
  EXPECT_EQ(value_of(*store, "h", "a"), "1");
  EXPECT_EQ(value_of(*store, "h", "b"), "(none)");
}

TEST_F(RocksStoreTest, ForeignStoreIsRefused) {
  rocksdb::Options options;
  options.create_if_missing = true;
  rocksdb::DB* raw = nullptr;
  ASSERT_TRUE(rocksdb::DB::Open(options, dir(), &raw).ok());
  ASSERT_TRUE(raw->Put({}, "k", "v").ok());
  ASSERT_TRUE(raw->Flush({}).ok());
  delete raw;
  auto opened = try_open();
  ASSERT_FALSE(opened);
  EXPECT_NE(opened.error().message().find("pegasus_meta_cf"), std::string::npos)
      << opened.error().to_string();
  EXPECT_NE(opened.error().message().find("2.3"), std::string::npos);
}

TEST_F(RocksStoreTest, NewerDataVersionIsRefused) {
  { ASSERT_TRUE(open()->flush().ok()); }
  {
    std::vector<rocksdb::ColumnFamilyDescriptor> families = {{"default", {}},
                                                             {"pegasus_meta_cf", {}}};
    std::vector<rocksdb::ColumnFamilyHandle*> handles;
    rocksdb::DB* raw = nullptr;
    ASSERT_TRUE(rocksdb::DB::Open({}, dir(), families, &handles, &raw).ok());
    ASSERT_TRUE(raw->Put({}, handles[1], "pegasus_data_version", "2").ok());
    ASSERT_TRUE(raw->Flush({}, handles[1]).ok());
    for (auto* handle : handles) raw->DestroyColumnFamilyHandle(handle);
    delete raw;
  }
  auto opened = try_open();
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code(), Errc::kInvalidVersion);
}

// A flipped byte in a table file shows as corruption that names the file and the place.
TEST_F(RocksStoreTest, DamageNamesFileAndOffset) {
  {
    auto store = open();
    for (Decree d = 1; d <= 200; ++d) {
      ASSERT_TRUE(
          store->write(d, put_effects("h", std::to_string(d), std::string(1000, 'v'))).ok());
    }
    ASSERT_TRUE(store->flush().ok());
  }
  std::string largest;
  uintmax_t size = 0;
  for (const auto& file : std::filesystem::directory_iterator(dir())) {
    if (file.path().extension() == ".sst" && file.file_size() > size) {
      largest = file.path();
      size = file.file_size();
    }
  }
  ASSERT_FALSE(largest.empty());
  {
    std::fstream file(largest, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(size / 4));
    file.write("rotten", 6);
  }
  // Another block cache: the first one still knows the good blocks.
  SharedResources fresh(small());
  RocksStoreOptions options{{2, 3}, dir(), &settings_, &wall_us_};
  auto opened = RocksStore::open(fresh, options);
  ASSERT_TRUE(opened) << opened.error().to_string();
  Status error;
  for (int d = 1; d <= 200 && error.ok(); ++d) {
    rocksdb::PinnableSlice value;
    (*opened)->get(make_key("h", std::to_string(d)), {}, value, error);
  }
  EXPECT_EQ(error.code(), Errc::kRdbCorruption);
  std::string name = std::filesystem::path(largest).filename();
  EXPECT_NE(error.message().find(name), std::string::npos) << error.to_string();
  EXPECT_NE(error.message().find("offset"), std::string::npos) << error.to_string();
}

// Idle stores that hold most of the memory are flushed, not the busy one over and over.
TEST_F(RocksStoreTest, LargestMemtableMakesRoom) {
  SharedResourceOptions tight = small();
  tight.write_buffer_bytes = 16 << 20;
  SharedResources shared(tight);
  auto open_one = [&](int32_t index) {
    RocksStoreOptions options{
        {2, index}, fmt::format("{}/{}", root_.path(), index), &settings_, &wall_us_};
    auto store = RocksStore::open(shared, options);
    EXPECT_TRUE(store) << store.error().to_string();
    return std::move(*store);
  };
  auto fill = [&](Store& store, int rows) {
    for (int i = 0; i < rows; ++i) {
      Decree decree = store.last_applied() + 1;
      std::string key = std::to_string(decree);
      Status s = store.write(decree, put_effects("h", key, std::string(10000, 'v')));
      if (s.code() == Errc::kBusy) {  // memory is full: the flushes under way will help
        i -= 1;
        std::this_thread::yield();
        continue;
      }
      ASSERT_TRUE(s.ok()) << s.to_string();
      EXPECT_LT(shared.write_budget().used(), 17u << 20);
    }
  };
  std::vector<std::unique_ptr<RocksStore>> idle;
  for (int32_t i = 0; i < 3; ++i) {
    idle.push_back(open_one(i));
    fill(*idle.back(), 350);  // 3.5 MB
  }
  auto busy = open_one(9);
  fill(*busy, 2000);  // 20 MB
  size_t files = 0;
  for (const auto& file : std::filesystem::directory_iterator(root_.path() + "/9")) {
    files += file.path().extension() == ".sst" ? 1 : 0;
  }
  EXPECT_LE(files, 12u) << "two per flush";
  size_t flushed = 0;
  for (auto& store : idle) flushed += store->last_flushed() > 0 ? 1 : 0;
  EXPECT_GT(flushed, 0u);
}

std::string option_of(RocksStore& store, const std::string& name) {
  rocksdb::ConfigOptions how;
  std::string text;
  rocksdb::Options options = store.db().GetOptions();
  EXPECT_TRUE(rocksdb::GetStringFromColumnFamilyOptions(how, options, &text).ok());
  auto at = text.find(name + "=");
  EXPECT_NE(at, std::string::npos) << name;
  at += name.size() + 1;
  return text.substr(at, text.find(';', at) - at);
}

// Usage scenarios and the write buffer's size change an open store, and come back (spec 02 §14).
TEST_F(RocksStoreTest, ScenariosChangeAnOpenStore) {
  auto store = open();
  StoreSettings settings;
  auto buffer = [&] { return std::stoll(option_of(*store, "write_buffer_size")); };
  EXPECT_NEAR(static_cast<double>(buffer()), 64 << 20, 4 << 20);
  EXPECT_EQ(option_of(*store, "level0_file_num_compaction_trigger"), "4");

  settings.usage_scenario = UsageScenario::kPreferWrite;
  ASSERT_TRUE(store->reconfigure(settings).ok());
  EXPECT_GE(buffer(), 64 << 20);
  EXPECT_LE(buffer(), 128 << 20);
  EXPECT_GE(std::stoi(option_of(*store, "level0_file_num_compaction_trigger")), 5);

  settings.usage_scenario = UsageScenario::kBulkLoad;
  ASSERT_TRUE(store->reconfigure(settings).ok());
  EXPECT_EQ(option_of(*store, "disable_auto_compactions"), "true");
  EXPECT_EQ(option_of(*store, "level0_stop_writes_trigger"), "1000000000");
  EXPECT_NEAR(static_cast<double>(buffer()), 256 << 20, 16 << 20);

  settings.usage_scenario = UsageScenario::kNormal;
  settings.write_buffer_bytes = 32 << 20;
  ASSERT_TRUE(store->reconfigure(settings).ok());
  EXPECT_EQ(option_of(*store, "disable_auto_compactions"), "false");
  EXPECT_EQ(option_of(*store, "level0_stop_writes_trigger"), "60");
  EXPECT_NEAR(static_cast<double>(buffer()), 32 << 20, 2 << 20);
  ASSERT_TRUE(store->reconfigure(settings).ok());

  // The scenario is in the meta family, and a store opens with what the table says.
  ASSERT_TRUE(store->flush().ok());
  store.reset();
  TableSettings table;
  table.store.usage_scenario = UsageScenario::kBulkLoad;
  settings_.set(table);
  store = open();
  EXPECT_EQ(option_of(*store, "disable_auto_compactions"), "true");
}

TEST_F(RocksStoreTest, FewerLevelsThanTheStoreHasAreNoObstacle) {
  TableSettings table;
  table.store.num_levels = 7;
  settings_.set(table);
  {
    auto store = open();
    EXPECT_EQ(store->db().NumberLevels(), 7);
    ASSERT_TRUE(store->write(1, put_effects("h", "a", "1")).ok());
    ManualCompactSettings::How how;
    how.target_level = 6;
    ASSERT_TRUE(store->compact(how).ok());
  }
  table.store.num_levels = 2;
  settings_.set(table);
  auto store = open();
  EXPECT_EQ(value_of(*store, "h", "a"), "1");
}

TEST_F(RocksStoreTest, ManualCompactionRemembersItsEnd) {
  {
    auto store = open();
    EXPECT_EQ(store->last_manual_compact_ms(), 0);
    for (Decree d = 1; d <= 50; ++d) {
      ASSERT_TRUE(store->write(d, put_effects("h", std::to_string(d), "v")).ok());
      if (d % 20 == 0) {
        ASSERT_TRUE(store->flush().ok());
      }
    }
    ManualCompactSettings::How how;
    how.force_bottommost = true;
    Status s = store->compact(how);
    ASSERT_TRUE(s.ok()) << s.to_string();
    EXPECT_EQ(store->last_manual_compact_ms(), 1700000000000);
    EXPECT_EQ(store->compact_progress(), 0);
    EXPECT_EQ(store->statistics().sst_files, 1);
    EXPECT_GT(store->statistics().compaction_output_bytes, 0);
    how.target_level = 3;
    ASSERT_TRUE(store->compact(how).ok());
    rocksdb::ColumnFamilyMetaData files;
    store->db().GetColumnFamilyMetaData(&files);
    EXPECT_EQ(files.levels[3].files.size(), 1u);
    how.target_level = 99;  // beyond its levels: as -1
    ASSERT_TRUE(store->compact(how).ok());
  }
  auto store = open();
  EXPECT_EQ(store->last_manual_compact_ms(), 1700000000000);
  EXPECT_EQ(store->last_applied(), 50);
}

TEST_F(RocksStoreTest, StatisticsCountWhatHappened) {
  auto store = open();
  for (Decree d = 1; d <= 50; ++d) {
    ASSERT_TRUE(store->write(d, put_effects("h", std::to_string(d), "v")).ok());
  }
  EXPECT_EQ(value_of(*store, "h", "7"), "v");
  StoreStatistics seen = store->statistics();
  EXPECT_EQ(seen.memtable_hits, 1);
  EXPECT_EQ(seen.sst_files, 0);
  ASSERT_TRUE(store->flush().ok());
  const int64_t l0_hits = store->statistics().l0_hits;  // of the store's own facts
  EXPECT_EQ(value_of(*store, "h", "8"), "v");
  EXPECT_EQ(value_of(*store, "other", "8"), "(none)");
  seen = store->statistics();
  EXPECT_EQ(seen.sst_files, 1);
  EXPECT_EQ(seen.estimated_keys, 50);
  EXPECT_EQ(seen.l0_hits - l0_hits, 1);
  EXPECT_GT(seen.block_cache_lookups, 0);
  EXPECT_GT(seen.bloom_point_negatives + seen.bloom_seek_negatives, 0);
  EXPECT_GT(seen.flushed_bytes, 0);
}

// Compaction drops the dead and what is another partition's, and gives default_ttl to what has no
// time (spec 02 §14).
class RecordFilterTest : public RocksStoreTest {
 protected:
  static constexpr uint32_t kNow = 1700000000 - kExpiryEpoch;

  void write_rows(Store& store) {
    ASSERT_TRUE(store.write(1, put_effects("hello", "dead", "v", kNow)).ok());
    ASSERT_TRUE(store.write(2, put_effects("hello", "dying", "v", kNow + 1)).ok());
    ASSERT_TRUE(store.write(3, put_effects("hello", "for ever", "v")).ok());           // mod 8: 7
    ASSERT_TRUE(store.write(4, put_effects("user_0001", "a", "v", 4000000000)).ok());  // mod 8: 2
    std::string rubbish;
    EffectsWriter::start(rubbish);
    EffectsWriter::put(rubbish, "x", "", "short");
    ASSERT_TRUE(store.write(5, rubbish).ok());
  }
  static void compact(RocksStore& store) {
    rocksdb::CompactRangeOptions how;
    how.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForce;
    ASSERT_TRUE(store.flush().ok());
    ASSERT_TRUE(store.db().CompactRange(how, nullptr, nullptr).ok());
  }
  static size_t rows(Store& store) {
    size_t n = 0;
    auto it = store.iterate({}, nullptr, nullptr, false);
    for (it->SeekToFirst(); it->Valid(); it->Next()) ++n;
    return n;
  }
};

TEST_F(RecordFilterTest, DropsTheDeadOnly) {
  auto store = open();
  write_rows(*store);
  EXPECT_EQ(rows(*store), 5u);
  compact(*store);
  EXPECT_EQ(rows(*store), 4u);
  EXPECT_EQ(value_of(*store, "hello", "dead"), "(none)");
  uint32_t expire_ts = 1;
  EXPECT_EQ(value_of(*store, "hello", "for ever", &expire_ts), "v");
  EXPECT_EQ(expire_ts, 0u);
}

TEST_F(RecordFilterTest, GivesDefaultTtl) {
  auto store = open();
  write_rows(*store);
  TableSettings settings;
  settings.default_ttl_s = 100;
  settings_.set(settings);
  compact(*store);
  uint32_t expire_ts = 0;
  EXPECT_EQ(value_of(*store, "hello", "for ever", &expire_ts), "v");
  EXPECT_EQ(expire_ts, kNow + 100);
  EXPECT_EQ(value_of(*store, "hello", "dying", &expire_ts), "v");
  EXPECT_EQ(expire_ts, kNow + 1);
}

TEST_F(RecordFilterTest, DropsStrangersWhenAskedAndKnown) {
  auto store = open();  // partition 3
  write_rows(*store);
  TableSettings settings;
  settings.validate_partition_hash = true;
  settings_.set(settings);  // the count is not known: everything stays
  compact(*store);
  EXPECT_EQ(rows(*store), 4u);
  settings.partition_version = 1;  // this partition is none of the two: everything stays
  settings_.set(settings);
  compact(*store);
  EXPECT_EQ(rows(*store), 4u);
  settings.partition_version = 3;  // "hello" mod 4 is 3, "user_0001" is 2
  settings_.set(settings);
  compact(*store);
  EXPECT_EQ(value_of(*store, "hello", "for ever"), "v");
  EXPECT_EQ(value_of(*store, "user_0001", "a"), "(none)");
  EXPECT_EQ(rows(*store), 3u);
}

}  // namespace
}  // namespace markab::engine
