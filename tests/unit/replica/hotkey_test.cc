// Hot keys are found, and only those (02 §15).

#include "replica/hotkey.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace markab::replica {
namespace {

using State = HotkeyDetector::State;

class HotkeyTest : public testing::Test {
 protected:
  // Ten seconds of requests, of which `share` go to `hot`, the others to `keys` keys.
  void requests(int count, int keys, double share, const std::string& hot) {
    for (int i = 0; i < count; ++i) {
      bool is_hot = random_.chance(share);
      detector_.capture(
          is_hot ? hot : "key" + std::to_string(random_.below(static_cast<uint64_t>(keys))), 1);
    }
    now_ = now_ + HotkeyDetector::kInterval;
    detector_.analyse(now_);
  }

  Random random_{7};
  Instant now_{1000};
  HotkeyDetector detector_;
};

TEST_F(HotkeyTest, FindsTheKeyThatStandsOut) {
  EXPECT_FALSE(detector_.active());
  ASSERT_TRUE(detector_.start(now_));
  EXPECT_TRUE(detector_.active());
  EXPECT_FALSE(detector_.start(now_)) << "it runs already";
  requests(10000, 1000, 0.3, "hot\x01");
  EXPECT_EQ(detector_.state(), State::kFine);
  EXPECT_TRUE(detector_.active());
  requests(10000, 1000, 0.3, "hot\x01");
  ASSERT_EQ(detector_.state(), State::kFinished);
  EXPECT_EQ(detector_.result(), "hot\x01");
  EXPECT_FALSE(detector_.active());
  EXPECT_FALSE(detector_.start(now_)) << "a result waits to be seen";
  detector_.stop();
  EXPECT_EQ(detector_.result(), "");
  EXPECT_TRUE(detector_.start(now_));
}

TEST_F(HotkeyTest, AKeyThatIsAloneIsHot) {
  ASSERT_TRUE(detector_.start(now_));
  requests(200, 1, 1.0, "only");
  requests(200, 1, 1.0, "only");
  ASSERT_EQ(detector_.state(), State::kFinished);
  EXPECT_EQ(detector_.result(), "only");
}

TEST_F(HotkeyTest, EvenLoadHasNoHotKeyAndGivesUpInTime) {
  ASSERT_TRUE(detector_.start(now_));
  Instant began = now_;
  while (now_ - began + HotkeyDetector::kInterval < HotkeyDetector::kGiveUp) {
    requests(5000, 5000, 0.0, "");
    ASSERT_EQ(detector_.state(), State::kCoarse);
  }
  requests(5000, 5000, 0.0, "");
  EXPECT_EQ(detector_.state(), State::kStopped);
}

TEST_F(HotkeyTest, FewRequestsSayNothing) {
  ASSERT_TRUE(detector_.start(now_));
  requests(static_cast<int>(HotkeyDetector::kMinCaptured) - 1, 1, 1.0, "rare");
  EXPECT_EQ(detector_.state(), State::kCoarse);
}

TEST_F(HotkeyTest, WeighsRows) {
  ASSERT_TRUE(detector_.start(now_));
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < 2000; ++i) detector_.capture("key" + std::to_string(i), 1);
    for (int i = 0; i < 5; ++i) detector_.capture("wide", 400);
    requests(0, 1, 0, "");
  }
  ASSERT_EQ(detector_.state(), State::kFinished);
  EXPECT_EQ(detector_.result(), "wide");
}

TEST_F(HotkeyTest, LooksOnlyEveryTenSeconds) {
  ASSERT_TRUE(detector_.start(now_));
  for (int i = 0; i < 1000; ++i) detector_.capture("hot", 1);
  detector_.analyse(now_ + std::chrono::seconds(9));
  EXPECT_EQ(detector_.state(), State::kCoarse);
  detector_.analyse(now_ + std::chrono::seconds(10));
  EXPECT_EQ(detector_.state(), State::kFine);
}

}  // namespace
}  // namespace markab::replica
