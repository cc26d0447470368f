// Runs testdata/*.txt on every store, testdata/rocksdb/*.txt on RocksDB alone
// (testdata/README.txt).

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
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

std::vector<std::string> lines_of(const std::string& path) {
  std::istringstream text(read_file(path));
  std::vector<std::string> lines;
  for (std::string line; std::getline(text, line);) lines.push_back(line);
  return lines;
}

// How many requests with an expected answer the scripts hold, by operation.
TEST(CoverageTest, CasesAreCounted) {
  std::map<std::string, int> by_operation;
  int files = 0;
  for (const std::string& folder : {kFolder, kFolder + "/rocksdb"}) {
    for (const std::string& name : scripts(folder)) {
      ++files;
      bool asking = true;  // not among the answers
      for (const std::string& line : lines_of(folder + "/" + name + ".txt")) {
        if (line == "----") asking = false;
        if (line.empty()) asking = true;
        if (!asking || line.empty() || line == "----" || line[0] == '#') continue;
        ++by_operation[line.substr(0, line.find(' '))];
      }
    }
  }
  int all = 0;
  std::string list;
  for (const char* operation :
       {"put", "multi_put", "remove", "multi_remove", "incr", "check_and_set", "check_and_mutate",
        "get", "ttl", "batch_get", "multi_get", "sortkey_count", "get_scanner", "scan",
        "clear_scanner"}) {
    EXPECT_GT(by_operation[operation], 0) << operation;
    all += by_operation[operation];
    list += fmt::format(" {} {},", operation, by_operation[operation]);
  }
  list.pop_back();
  std::printf("figure: cases of storage operations in %d scripts: %d:%s\n", files, all,
              list.c_str());
}

TEST(CoverageTest, EveryRowOfTheSpecificationHasItsLine) {
  int rows = 0;
  for (const std::string& line : lines_of(kFolder + "/coverage.md")) {
    if (!line.starts_with("| \u00a7")) continue;  // "| §7 put | points.txt | `put h/s v` |"
    ++rows;
    size_t file_at = line.find(" | ") + 3;
    size_t quote_at = line.find(" | `", file_at);
    ASSERT_NE(quote_at, std::string::npos) << line;
    ASSERT_TRUE(line.ends_with("` |")) << line;
    std::string file = line.substr(file_at, quote_at - file_at);
    std::string quoted = line.substr(quote_at + 4, line.size() - quote_at - 4 - 3);
    bool elsewhere = file.starts_with("unit/") || file.starts_with("sim/");
    std::string path = (elsewhere ? std::string(MARKAB_TEST_DATA) : kFolder) + "/" + file;
    auto lines = lines_of(path);
    EXPECT_NE(std::find(lines.begin(), lines.end(), quoted), lines.end())
        << file << " has no line \"" << quoted << "\" for" << line.substr(1, file_at - 4);
  }
  EXPECT_GE(rows, 87);
  std::printf("figure: rows of 02 sections 5 to 13 with a case: %d\n", rows);
}

INSTANTIATE_TEST_SUITE_P(Data, ScriptTest, testing::ValuesIn(scripts(kFolder)),
                         [](const auto& info) { return info.param; });
INSTANTIATE_TEST_SUITE_P(Data, RocksScriptTest, testing::ValuesIn(scripts(kFolder + "/rocksdb")),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace markab::engine
