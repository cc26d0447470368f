// Throttles and denials of one replica (02 §13, 04 §5).

#include "replica/admission.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace markab::replica {
namespace {

using Verdict = RequestThrottle::Verdict;
constexpr int64_t kSecondUs = 1000000;

struct ThrottleCase {
  const char* name;
  const char* rule;
  int32_t partitions;
  int64_t units;         // of each request
  const char* verdicts;  // of the requests of one second: a(dmit), d(elay), r(eject)
};
struct ThrottleTest : testing::TestWithParam<ThrottleCase> {};

TEST_P(ThrottleTest, OneSecond) {
  const auto& c = GetParam();
  auto rule = parse_throttle(c.rule);
  ASSERT_TRUE(rule);
  RequestThrottle throttle;
  throttle.configure(*rule, c.partitions);
  for (int64_t second = 100; second < 103; ++second) {  // each window begins anew
    std::string got;
    for (size_t i = 0; i < std::string(c.verdicts).size(); ++i) {
      got += "adr"[static_cast<int>(throttle.take(c.units, second * kSecondUs).verdict)];
    }
    EXPECT_EQ(got, c.verdicts);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Table, ThrottleTest,
    testing::Values(ThrottleCase{"share_and_one_more", "8*reject*100", 4, 1, "aaarr"},
                    ThrottleCase{"integer_division", "7*reject*100", 4, 1, "aarr"},
                    ThrottleCase{"fewer_units_than_partitions", "1*reject*100", 8, 1, "arr"},
                    ThrottleCase{"delay", "8*delay*100", 4, 1, "aaaddd"},
                    ThrottleCase{"delayed_ones_count", "4*delay*1,12*reject*1", 4, 1, "aaddrr"},
                    ThrottleCase{"zero_is_off", "0*delay*100,4*reject*1", 4, 1, "aar"},
                    ThrottleCase{"both_zero", "0*delay*100,0*reject*1", 4, 1, "aaaaaa"},
                    ThrottleCase{"kilo", "1K*reject*1", 1024, 1, "aar"},
                    ThrottleCase{"bytes", "3000*reject*1", 1, 1000, "aaarr"},
                    ThrottleCase{"rejected_ones_do_not_count", "999*reject*1", 1, 600, "arrrr"},
                    ThrottleCase{"larger_than_a_window", "99*reject*1", 1, 101, "rrr"},
                    ThrottleCase{"absurdly_large", "9223372036854775807*reject*1", 1, 1, "aaaa"}),
    [](const auto& info) { return info.param.name; });

TEST(RequestThrottleTest, WhatIsRejectedLeavesRoomForSmaller) {
  RequestThrottle throttle;
  throttle.configure(*parse_throttle("999*reject*5"), 1);
  EXPECT_EQ(throttle.take(600, 0).verdict, Verdict::kAdmit);
  auto refused = throttle.take(600, 0);
  EXPECT_EQ(refused.verdict, Verdict::kReject);
  EXPECT_EQ(refused.wait_ms, 5);
  EXPECT_EQ(throttle.take(400, 0).verdict, Verdict::kAdmit);
}

TEST(ThrottleWaitTest, AtMostHalfOfTheClientsTimeout) {
  using std::chrono::milliseconds;
  EXPECT_EQ(throttle_wait(100, 1000), milliseconds(100));
  EXPECT_EQ(throttle_wait(500, 1000), milliseconds(500));
  EXPECT_EQ(throttle_wait(501, 1000), milliseconds(500));
  EXPECT_EQ(throttle_wait(INT32_MAX, 1000), milliseconds(500));
  EXPECT_EQ(throttle_wait(INT32_MAX, 0), milliseconds(10000)) << "a client that does not tell";
}

TEST(ReadBytesBudgetTest, FillsAtItsRateAndGoesIntoDebt) {
  const int64_t second = 1000000000;
  ReadBytesBudget budget;
  EXPECT_FALSE(budget.on());
  budget.configure(4000, 4);  // 1000 bytes a second here
  ASSERT_TRUE(budget.on());
  Instant t{50 * second};
  EXPECT_TRUE(budget.anything_left(t));
  budget.pay(900, t);
  EXPECT_TRUE(budget.anything_left(t));
  budget.pay(900, t);  // 800 in debt
  EXPECT_FALSE(budget.anything_left(t));
  EXPECT_FALSE(budget.anything_left(Instant{t.ns + second * 8 / 10}));
  EXPECT_TRUE(budget.anything_left(Instant{t.ns + second * 8 / 10 + 1}));
  // It never holds more than one second's worth.
  Instant later{t.ns + 100 * second};
  budget.pay(1000, later);
  EXPECT_FALSE(budget.anything_left(later));
  // One absurd answer does not close it for ever.
  budget.pay(INT64_MAX / 2, later);
  EXPECT_TRUE(budget.anything_left(Instant{later.ns + 61 * second}));
  // A change begins with a full bucket, the same value changes nothing.
  budget.pay(5000, later);
  budget.configure(4000, 4);
  EXPECT_FALSE(budget.anything_left(later));
  budget.configure(8000, 4);
  EXPECT_TRUE(budget.anything_left(later));
  budget.configure(0, 4);
  EXPECT_FALSE(budget.on());
}

struct DenyCase {
  const char* value;
  Admission::Denial reads;
  Admission::Denial writes;
};
TEST(AdmissionTest, Denials) {
  using D = Admission::Denial;
  for (const DenyCase& c : {DenyCase{"timeout*all", D::kSilence, D::kSilence},
                            DenyCase{"timeout*read", D::kSilence, D::kNone},
                            DenyCase{"timeout*write", D::kNone, D::kSilence},
                            DenyCase{"reconfig*all", D::kReconfigure, D::kReconfigure},
                            DenyCase{"reconfig*read", D::kReconfigure, D::kNone},
                            DenyCase{"reconfig*write", D::kNone, D::kReconfigure}}) {
    Admission admission;
    admission.configure({{"replica.deny_client_request", c.value}}, 8);
    EXPECT_EQ(admission.denies_reads(), c.reads) << c.value;
    EXPECT_EQ(admission.denies_writes(), c.writes) << c.value;
    admission.configure({{"replica.deny_client_request", "nonsense"}}, 8);
    EXPECT_EQ(admission.denies_reads(), c.reads) << "what does not parse changes nothing";
    admission.configure({}, 8);
    EXPECT_EQ(admission.denies_reads(), D::kNone);
    EXPECT_EQ(admission.denies_writes(), D::kNone);
  }
}

TEST(AdmissionTest, AThrottleThatDoesNotParseIsOff) {
  Admission admission;
  admission.configure({{"replica.read_throttling", "1*reject*1"},
                       {"replica.write_throttling", "1*reject*1"},
                       {"replica.write_throttling_by_size", "1K*delay*1"},
                       {"replica.backup_request_throttling", "1*reject*1"},
                       {"replica.read_throttling_by_size", "1K"}},
                      8);
  EXPECT_TRUE(admission.reads.on() && admission.writes.on() && admission.write_bytes.on() &&
              admission.backup_reads.on() && admission.read_bytes.on());
  admission.configure({{"replica.read_throttling", "?"},
                       {"replica.write_throttling", ""},
                       {"replica.write_throttling_by_size", "1K"},
                       {"replica.backup_request_throttling", "1*stop*1"},
                       {"replica.read_throttling_by_size", "20*delay*10"}},
                      8);
  EXPECT_FALSE(admission.reads.on() || admission.writes.on() || admission.write_bytes.on() ||
               admission.backup_reads.on() || admission.read_bytes.on());
}

}  // namespace
}  // namespace markab::replica
