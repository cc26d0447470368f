// The index over effects in flight, against a plain search through them.

#include "engine/overlay.h"

#include <gtest/gtest.h>

#include <deque>
#include <optional>

#include "base/random.h"
#include "engine/effects.h"

namespace markab::engine {
namespace {

std::shared_ptr<std::string> new_batch() {
  auto bytes = std::make_shared<std::string>();
  EffectsWriter::start(*bytes);
  return bytes;
}

std::string seen(Overlay& overlay, std::string_view key) {
  std::string_view stored;
  switch (overlay.find(key, stored)) {
    case Overlay::Seen::kNothing:
      return "nothing";
    case Overlay::Seen::kDeletion:
      return "deleted";
    case Overlay::Seen::kValue:
      return "=" + std::string(stored);
  }
  return "";
}

TEST(Overlay, NewestOfAllBatchesCounts) {
  Overlay overlay;
  EXPECT_EQ(seen(overlay, "k"), "nothing");
  auto first = new_batch();
  overlay.add(1, first);
  EffectsWriter::put(*first, "k", "", "1");
  EXPECT_EQ(seen(overlay, "k"), "=1");
  EffectsWriter::put(*first, "k", "", "2");  // the batch goes on growing
  EXPECT_EQ(seen(overlay, "k"), "=2");
  auto second = new_batch();
  overlay.add(2, second);
  EXPECT_EQ(seen(overlay, "k"), "=2");
  EffectsWriter::remove(*second, "k");
  EXPECT_EQ(seen(overlay, "k"), "deleted");
  overlay.applied(1);
  EXPECT_EQ(seen(overlay, "k"), "deleted");
  overlay.applied(2);
  EXPECT_EQ(seen(overlay, "k"), "nothing");
  EXPECT_EQ(overlay.bytes(), 0u);
}

TEST(Overlay, EmptyBatchIsDropped) {
  Overlay overlay;
  auto first = new_batch();
  overlay.add(1, first);
  EffectsWriter::put(*first, "k", "", "1");
  size_t bytes = overlay.bytes();
  overlay.add(2, new_batch());
  EXPECT_EQ(seen(overlay, "k"), "=1");
  overlay.drop_last();
  EXPECT_EQ(overlay.bytes(), bytes);
  auto again = new_batch();
  overlay.add(2, again);
  EffectsWriter::put(*again, "k", "", "2");
  EXPECT_EQ(seen(overlay, "k"), "=2");
  overlay.clear();
  EXPECT_EQ(seen(overlay, "k"), "nothing");
  EXPECT_EQ(overlay.bytes(), 0u);
  overlay.add(1, new_batch());  // after clear() decrees may begin again
}

TEST(Overlay, EqualsASearchThroughTheBatches) {
  struct Batch {
    Decree decree;
    std::shared_ptr<std::string> effects;
  };
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    Overlay overlay;
    std::deque<Batch> batches;
    Decree decree = 0;
    auto searched = [&](std::string_view key) {
      std::string found = "nothing";
      for (const Batch& batch : batches) {
        EffectsReader reader(*batch.effects);
        Effect effect;
        while (reader.next(effect)) {
          if (effect.key == key) {
            found = effect.is_delete ? "deleted" : "=" + std::string(effect.value);
          }
        }
      }
      return found;
    };
    auto random_key = [&] { return std::to_string(random.below(300)); };
    for (int step = 0; step < 3000; ++step) {
      uint64_t what = random.below(10);
      if (what == 0 || batches.empty()) {
        batches.push_back({++decree, new_batch()});
        overlay.add(decree, batches.back().effects);
      } else if (what < 6) {
        std::string& bytes = *batches.back().effects;
        if (random.chance(0.2)) {
          EffectsWriter::remove(bytes, random_key());
        } else {
          EffectsWriter::put(bytes, random_key(), "", std::to_string(step));
        }
      } else if (what == 6 && random.chance(0.5)) {
        Decree until = batches.front().decree + static_cast<Decree>(random.below(3));
        overlay.applied(until);
        while (!batches.empty() && batches.front().decree <= until) batches.pop_front();
      } else {
        std::string key = random_key();
        ASSERT_EQ(seen(overlay, key), searched(key)) << "step " << step;
      }
    }
  }
}

}  // namespace
}  // namespace markab::engine
