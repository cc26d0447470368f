// One bound for the memory of all stores of a daemon holds with hundreds of them under load (issue
// 4, item 5).

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "base/random.h"
#include "engine/effects.h"
#include "engine/key_codec.h"
#include "engine/rocks_store.h"
#include "engine/value_codec.h"
#include "unit/engine/temporary_directory.h"

namespace markab::engine {
namespace {

constexpr uint64_t kMiB = 1u << 20;

int64_t resident_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmRSS:")) return std::stoll(line.substr(6)) * 1024;
  }
  return 0;
}

// The stores keep their files open.
void allow_many_files() {
  rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
}

TEST(SharedMemory, DefaultIsAShareOfTheMachine) {
  SharedResources shared({});
  auto usable = static_cast<double>(usable_memory_bytes());
  EXPECT_GE(shared.memory_bytes(), kLeastMemory);
  EXPECT_LE(shared.memory_bytes(), kMostMemory);
  if (usable * kMemoryShare > kLeastMemory && usable * kMemoryShare < kMostMemory) {
    EXPECT_NEAR(static_cast<double>(shared.memory_bytes()), usable * kMemoryShare, usable / 100);
  }
  EXPECT_EQ(shared.block_cache()->GetCapacity() + shared.write_budget().bytes(),
            shared.memory_bytes());
}

TEST(SharedMemory, HeldWith200StoresUnderLoad) {
  allow_many_files();
  constexpr int kStores = 200;
  constexpr int kWrites = 150000;
  constexpr size_t kValueBytes = 1000;
  constexpr uint64_t kMemory = 96 * kMiB;
  // Of RocksDB for each open store, besides what the bound counts.
  constexpr uint64_t kPerStore = 1 * kMiB;
  TemporaryDirectory root;
  SharedResourceOptions options;
  options.memory_bytes = kMemory;
  options.write_rate_bytes = 0;
  SharedResources shared(options);
  LiveSettings settings{TableSettings()};
  Function<int64_t()> wall_us = [] { return int64_t{1700000000000000}; };
  int64_t empty = resident_bytes();
  std::vector<std::unique_ptr<RocksStore>> stores;
  for (int i = 0; i < kStores; ++i) {
    auto opened = RocksStore::open(
        shared, {{2, i}, fmt::format("{}/{}", root.path(), i), &settings, &wall_us});
    ASSERT_TRUE(opened) << opened.error().to_string();
    stores.push_back(std::move(*opened));
  }
  int64_t idle = resident_bytes();
  Random random(1);
  uint64_t most_buffers = 0;
  uint64_t most_cache = 0;
  int64_t most_resident = 0;
  int64_t waits = 0;
  std::string effects;
  std::string header = encode_value(1, 0, 0, "");
  for (int i = 0; i < kWrites; ++i) {
    auto& store = *stores[random.below(kStores)];
    EffectsWriter::start(effects);
    std::string value(kValueBytes, static_cast<char>(random.below(256)));
    EffectsWriter::put(effects, "user" + std::to_string(random.below(5000)), "s", header, value);
    for (Status s; (s = store.write(store.last_applied() + 1, effects)).code() != Errc::kOk;) {
      ASSERT_EQ(s.code(), Errc::kBusy) << s.to_string();
      ++waits;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));  // as a replica does
    }
    if (i % 3 == 0) {
      rocksdb::PinnableSlice got;
      Status error;
      auto& other = *stores[random.below(kStores)];
      EXPECT_NE(
          other.get(make_key("user" + std::to_string(random.below(5000)), "s"), {}, got, error),
          Lookup::kError)
          << error.to_string();
    }
    if (i % 500 == 0) {
      most_buffers = std::max<uint64_t>(most_buffers, shared.write_budget().used());
      most_cache = std::max<uint64_t>(most_cache, shared.block_cache()->GetUsage());
      most_resident = std::max(most_resident, resident_bytes());
    }
  }
  std::printf(
      "%d stores, %d writes of %zu bytes, bound %lu MiB: write buffers up to %lu MiB of %lu, block "
      "cache up to %lu MiB of %lu, resident %ld MiB empty, %ld idle, up to %ld under load; %ld "
      "waits\n",
      kStores, kWrites, kValueBytes, kMemory / kMiB, most_buffers / kMiB,
      shared.write_budget().bytes() / kMiB, most_cache / kMiB,
      shared.block_cache()->GetCapacity() / kMiB, empty >> 20, idle >> 20, most_resident >> 20,
      waits);
  // What one write adds, and the memtables that begin when others are flushed.
  EXPECT_LE(most_buffers, shared.write_budget().bytes() + shared.write_budget().bytes() / 4);
  EXPECT_LE(most_cache, shared.block_cache()->GetCapacity() + 8 * kMiB);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  EXPECT_LE(static_cast<uint64_t>(most_resident - empty), kMemory + kStores * kPerStore);
#endif
}

}  // namespace
}  // namespace markab::engine
