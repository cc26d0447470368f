#include "base/status.h"

#include <gtest/gtest.h>

namespace markab {
namespace {

TEST(Errc, NamesAndNumbersAreThoseOfTheWire) {  // 01 §9.1
  EXPECT_EQ(errc_name(Errc::kOk), "ERR_OK");
  EXPECT_EQ(static_cast<int>(Errc::kForwardToOthers), 9);
  EXPECT_EQ(errc_name(Errc::kForwardToOthers), "ERR_FORWARD_TO_OTHERS");
  EXPECT_EQ(static_cast<int>(Errc::kInvalidState), 17);
  EXPECT_EQ(static_cast<int>(Errc::kSplitting), 74);
  EXPECT_EQ(static_cast<int>(Errc::kDiskInsufficient), 77);
  EXPECT_EQ(static_cast<int>(Errc::kNotMatched), 87);
  for (int i = 0; i < kErrcCount; ++i) {
    auto code = static_cast<Errc>(i);
    EXPECT_EQ(errc_from_name(errc_name(code)), code);
  }
  EXPECT_EQ(errc_from_name("ERR_NO_SUCH_THING"), Errc::kUnknown);
}

TEST(Errc, OnlyKnownNamesGoIntoAThftEnvelope) {
  for (int i = 0; i < kErrcCount; ++i) {
    auto sent = errc_for_thft(static_cast<Errc>(i));
    EXPECT_LE(static_cast<int>(sent), static_cast<int>(Errc::kDiskInsufficient));
    for (auto unknown_to_go : {Errc::kLearnerNotFound, Errc::kDirNotEmpty, Errc::kFsInternal,
                               Errc::kIgnoreBadData, Errc::kMockInternal}) {
      EXPECT_NE(sent, unknown_to_go);
    }
  }
  EXPECT_EQ(errc_for_thft(Errc::kDiskIoError), Errc::kDiskInsufficient);
}

TEST(Status, TellsCodeAndCause) {
  EXPECT_TRUE(Status().ok());
  EXPECT_EQ(Status(Errc::kBusy).to_string(), "ERR_BUSY");
  auto s = Status(Errc::kBusy, "the queue is full").with_context("2.3");
  EXPECT_EQ(s.to_string(), "ERR_BUSY: 2.3: the queue is full");
}

}  // namespace
}  // namespace markab
