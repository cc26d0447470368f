// Runs testdata/*.txt on every store, testdata/rocksdb/*.txt on RocksDB alone
// (testdata/README.txt).

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "engine/map_store.h"
#include "engine/rocks_store.h"
#include "unit/engine/engine_script.h"
#include "unit/engine/temporary_directory.h"

namespace markab::engine {
namespace {

const std::string kFolder = std::string(MARKAB_TEST_DATA) + "/unit/engine/testdata";

std::vector<std::string> scripts(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    std::string name = file.path().stem();
    if (file.path().extension() == ".txt" && name != "README") names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

void expect_script_holds(const std::string& name, EngineScript& script) {
  std::string path = kFolder + "/" + name + ".txt";
  std::string expected = read_file(path);
  std::string got = script.run(expected);
  if (std::getenv("MARKAB_REWRITE") != nullptr) {
    std::ofstream(path, std::ios::binary) << got;
    return;
  }
  EXPECT_EQ(got, expected);
}

class ScriptTest : public testing::TestWithParam<std::string> {
 protected:
  TemporaryDirectory root_;
};
class RocksScriptTest : public ScriptTest {};

void run_on_rocksdb(const std::string& name, const std::string& root) {
  SharedResourceOptions small;
  small.memory_bytes = 72 << 20;
  small.write_buffer_bytes = 64 << 20;
  SharedResources shared(small);
  EngineScript script(
      [&](EngineOptions options) {
        options.dir = root + "/rdb";
        auto engine = Engine::open(shared, std::move(options));
        EXPECT_TRUE(engine) << engine.error().to_string();
        return std::move(*engine);
      },
      [](Engine& engine) {
        rocksdb::CompactRangeOptions how;
        how.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForce;
        auto& store = dynamic_cast<RocksStore&>(engine.store());
        return store.flush().ok() && store.db().CompactRange(how, nullptr, nullptr).ok();
      });
  expect_script_holds(name, script);
}

TEST_P(ScriptTest, OnRocksDB) { run_on_rocksdb(GetParam(), root_.path()); }
TEST_P(RocksScriptTest, OnRocksDB) { run_on_rocksdb("rocksdb/" + GetParam(), root_.path()); }

// The map rewrites nothing when it compacts, since dead rows do no harm there: scripts may only
// tell the difference by what a reader could see as well.
TEST_P(ScriptTest, OnMap) {
  EngineScript script(
      [&](EngineOptions options) {
        MapStoreOptions map;
        map.dir = root_.path() + "/map";
        map.needs_disk_percent = 30;
        auto store = MapStore::open(io::real_file_system(), map);
        EXPECT_TRUE(store) << store.error().to_string();
        return Engine::over(std::move(*store), std::move(options));
      },
      [](Engine&) { return true; });
  expect_script_holds(GetParam(), script);
}

INSTANTIATE_TEST_SUITE_P(Data, ScriptTest, testing::ValuesIn(scripts(kFolder)),
                         [](const auto& info) { return info.param; });
INSTANTIATE_TEST_SUITE_P(Data, RocksScriptTest, testing::ValuesIn(scripts(kFolder + "/rocksdb")),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace markab::engine
