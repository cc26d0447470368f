// Nothing wrong is ever served (issue 4, item 7): whatever is flipped, cut or missing in the files
// of a store, it either says so, or its rows are what they were at the decree that it claims.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>

#include "base/random.h"
#include "engine/effects.h"
#include "engine/key_codec.h"
#include "engine/rocks_store.h"
#include "engine/value_codec.h"
#include "unit/engine/temporary_directory.h"

namespace markab::engine {
namespace {

namespace fs = std::filesystem;

using Rows = std::map<std::string, std::string>;  // raw key to stored value

constexpr Decree kDecrees = 240;
constexpr Decree kFlushEvery = 60;
// Positions per file; all of those of small files.
constexpr size_t kFlipsPerFile = 160;
constexpr size_t kFlipsOfEnds = 96;  // each byte at both ends of a file

std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void write_file(const fs::path& path, const std::string& bytes) {
  fs::remove(path);  // not through the link
  std::ofstream out(path, std::ios::binary);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

class DamageTest : public testing::Test {
 protected:
  // What came of opening and reading everything.
  struct Outcome {
    Status failure;  // Ok: `rows` are whole
    Decree decree = 0;
    Rows rows;
  };

  DamageTest() { fill(); }

  static SharedResourceOptions small() {
    SharedResourceOptions options;
    options.memory_bytes = 24 << 20;
    return options;
  }
  Result<std::unique_ptr<RocksStore>> open(const std::string& dir, SharedResources& shared) {
    return RocksStore::open(shared, {{2, 3}, dir, &settings_, &wall_us_});
  }

  void fill() {
    SharedResources shared(small());
    auto opened = open(pristine_, shared);
    ASSERT_TRUE(opened) << opened.error().to_string();
    auto& store = **opened;
    Random random(7);
    Rows rows;
    for (Decree d = 1; d <= kDecrees; ++d) {
      std::string hash_key = "user" + std::to_string(random.below(20));
      std::string sort_key = std::to_string(random.below(6));
      std::string value(20 + random.below(300), static_cast<char>('a' + d % 26));
      std::string bytes;
      EffectsWriter::start(bytes);
      EffectsWriter::put(bytes, hash_key, sort_key, encode_value(1, 0, 0, ""), value);
      ASSERT_TRUE(store.write(d, bytes).ok());
      rows[make_key(hash_key, sort_key)] = encode_value(1, 0, 0, value);
      if (d % kFlushEvery == 0) {
        ASSERT_TRUE(store.flush().ok());
        history_[d] = rows;
      }
      if (d == 2 * kFlushEvery) {
        ASSERT_TRUE(store.db().CompactRange({}, nullptr, nullptr).ok());
      }
    }
  }

  std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto& file : fs::directory_iterator(pristine_))
      names.push_back(file.path().filename());
    std::sort(names.begin(), names.end());
    return names;
  }

  // A copy of the store by links, in which `change` may replace a file.
  template <typename Change>
  Outcome with(Change change) {
    std::string dir = root_.path() + "/copy";
    fs::remove_all(dir);
    fs::create_directory(dir);
    for (const auto& name : files()) fs::create_hard_link(pristine_ + "/" + name, dir + "/" + name);
    change(fs::path(dir));
    return inspect(dir);
  }

  Outcome inspect(const std::string& dir) {
    Outcome outcome;
    SharedResources shared(small());
    auto opened = open(dir, shared);
    if (!opened) {
      outcome.failure = opened.error();
      return outcome;
    }
    auto& store = **opened;
    outcome.decree = store.last_applied();
    auto it = store.iterate({}, nullptr, nullptr, false);
    for (it->SeekToFirst(); it->Valid(); it->Next()) {
      outcome.rows[it->key().ToString()] = it->value().ToString();
    }
    outcome.failure = store.status_of(*it);
    it.reset();
    // What a get finds must be the same; a key that was there once may be found or not, but never
    // with another value.
    for (const auto& [key, value] : history_.rbegin()->second) {
      rocksdb::PinnableSlice got;
      Status error;
      Lookup found = store.get(key, {}, got, error);
      if (found == Lookup::kError) {
        if (outcome.failure.ok()) outcome.failure = error;
      } else if (outcome.failure.ok()) {
        auto row = outcome.rows.find(key);
        EXPECT_EQ(found == Lookup::kFound, row != outcome.rows.end());
        if (row != outcome.rows.end() && found == Lookup::kFound) {
          EXPECT_EQ(got.ToString(), row->second);
        }
      } else if (found == Lookup::kFound) {
        expect_known(key, got.ToString());
      }
    }
    EXPECT_EQ(store.damage().ok(), outcome.failure.ok()) << outcome.failure.to_string();
    return outcome;
  }

  void expect_known(const std::string& key, const std::string& value) {
    for (const auto& [decree, rows] : history_) {
      auto row = rows.find(key);
      if (row != rows.end() && row->second == value) return;
    }
    ADD_FAILURE() << "a row that never was";
  }

  // True when the damage was told; then also that it is told as such, with the store's directory.
  bool judge(const Outcome& outcome, const std::string& what) {
    if (!outcome.failure.ok()) {
      EXPECT_EQ(outcome.failure.code(), Errc::kRdbCorruption)
          << what << ": " << outcome.failure.to_string();
      EXPECT_NE(outcome.failure.message().find("/copy"), std::string::npos)
          << outcome.failure.to_string();
      return true;
    }
    auto claimed = history_.find(outcome.decree);
    if (claimed == history_.end()) {
      ADD_FAILURE() << what << " gave decree " << outcome.decree << " with " << outcome.rows.size()
                    << " rows";
    } else {
      EXPECT_EQ(outcome.rows, claimed->second) << what;
    }
    return false;
  }

  TemporaryDirectory root_;
  std::string pristine_ = root_.path() + "/rdb";
  std::map<Decree, Rows> history_;  // the rows at each durable decree
  LiveSettings settings_{TableSettings()};
  Function<int64_t()> wall_us_ = [] { return int64_t{1700000000000000}; };
};

TEST_F(DamageTest, UndamagedIsWhole) {
  auto outcome = with([](const fs::path&) {});
  EXPECT_FALSE(judge(outcome, "nothing"));
  EXPECT_EQ(outcome.decree, kDecrees);
}

TEST_F(DamageTest, AnyFlippedBitIsToldOrHarmless) {
  std::map<std::string, std::pair<int, int>> seen;  // per kind of file: told, harmless
  Random random(11);
  for (const auto& name : files()) {
    const std::string bytes = read_file(pristine_ + "/" + name);
    std::set<size_t> positions;
    for (size_t i = 0; i < std::min(bytes.size(), kFlipsOfEnds); ++i) {
      positions.insert(i);
      positions.insert(bytes.size() - 1 - i);
    }
    while (!bytes.empty() &&
           positions.size() < std::min(bytes.size(), kFlipsPerFile + kFlipsOfEnds))
      positions.insert(random.below(bytes.size()));
    bool is_options = name.starts_with("OPTIONS");
    for (size_t at : positions) {
      if (is_options && at % 32 != 0) continue;  // nobody reads them
      auto bit = static_cast<char>(1 << random.below(8));
      auto outcome = with([&](const fs::path& dir) {
        std::string changed = bytes;
        changed[at] = static_cast<char>(changed[at] ^ bit);
        write_file(dir / name, changed);
      });
      bool told = judge(outcome, fmt::format("{} at {} of {}", name, at, bytes.size()));
      std::string kind = name.ends_with(".sst") ? "sst" : name.substr(0, name.find('-'));
      ++(told ? seen[kind].first : seen[kind].second);
    }
  }
  for (const auto& [kind, counts] : seen) {
    std::printf("%s: %d flips told, %d harmless\n", kind.c_str(), counts.first, counts.second);
  }
  EXPECT_GT(seen["sst"].first, 100);
  EXPECT_GT(seen["MANIFEST"].first, 100);
}

TEST_F(DamageTest, AnyCutIsToldOrOlder) {
  Random random(13);
  for (const auto& name : files()) {
    const std::string bytes = read_file(pristine_ + "/" + name);
    std::set<size_t> lengths = {0};
    for (size_t i = 0; i < 60 && bytes.size() > 1; ++i) lengths.insert(random.below(bytes.size()));
    for (size_t i = 1; i <= std::min<size_t>(bytes.size(), 12); ++i)
      lengths.insert(bytes.size() - i);
    for (size_t length : lengths) {
      auto outcome =
          with([&](const fs::path& dir) { write_file(dir / name, bytes.substr(0, length)); });
      judge(outcome, fmt::format("{} cut to {} of {}", name, length, bytes.size()));
    }
  }
}

TEST_F(DamageTest, AnyMissingFileIsTold) {
  for (const auto& name : files()) {
    auto outcome = with([&](const fs::path& dir) { fs::remove(dir / name); });
    bool told = judge(outcome, name + " missing");
    bool matters = name.ends_with(".sst") || name == "CURRENT" || name.starts_with("MANIFEST");
    EXPECT_EQ(told, matters) << name << ": " << outcome.failure.to_string();
    if (!told) {
      EXPECT_EQ(outcome.decree, kDecrees) << name;
    }
  }
}

// Zeroes are what a file system leaves of blocks that were never written.
TEST_F(DamageTest, ZeroedBlocksAreToldOrOlder) {
  Random random(17);
  for (const auto& name : files()) {
    const std::string bytes = read_file(pristine_ + "/" + name);
    for (int i = 0; i < 30 && !bytes.empty(); ++i) {
      size_t at = random.below(bytes.size());
      auto outcome = with([&](const fs::path& dir) {
        std::string changed = bytes;
        size_t n = std::min<size_t>(512, bytes.size() - at);
        changed.replace(at, n, n, '\0');
        write_file(dir / name, changed);
      });
      judge(outcome, fmt::format("{} zeroed from {}", name, at));
    }
  }
}

// Damage must not cost what is whole: the files are still there after the store was refused.
TEST_F(DamageTest, ARefusedStoreKeepsItsFiles) {
  for (const char* name : {"CURRENT", "MANIFEST"}) {
    std::string target;
    for (const auto& file : files()) {
      if (file.starts_with(name)) target = file;
    }
    auto outcome = with([&](const fs::path& dir) {
      std::string bytes = read_file(dir / target);
      bytes[bytes.size() / 3] = static_cast<char>(bytes[bytes.size() / 3] ^ 0x10);
      write_file(dir / target, bytes);
    });
    EXPECT_TRUE(judge(outcome, target));
    for (const auto& file : files()) {
      EXPECT_TRUE(fs::exists(root_.path() + "/copy/" + file)) << file << " is gone after " << name;
    }
  }
}

}  // namespace
}  // namespace markab::engine
