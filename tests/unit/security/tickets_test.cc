// When to log in again, and what is told to those who want a ticket.

#include "security/tickets.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "io/own_pool.h"

namespace markab::security {
namespace {

using std::chrono::seconds;

TEST(TicketSchedule, RenewsAtFourFifthsWithJitterBeforeTheEnd) {  // 05 §5.1
  constexpr int64_t kNow = 1'000'000;
  auto until = [&](int64_t life, double random) {
    return std::chrono::duration_cast<seconds>(
               until_renewal(kNow * 1000000, kNow, kNow + life, random))
        .count();
  };
  EXPECT_EQ(until(36000, 0), 28800);
  EXPECT_EQ(until(36000, 0.5), 27000);
  EXPECT_EQ(until(60, 0), 48);  // tickets of a minute
  EXPECT_EQ(until(60, 0.99), 42);
  EXPECT_EQ(until(140, 0), 110);  // not later than half a minute before the end
  EXPECT_EQ(until(0, 0), 1);      // not at once, whatever the KDC grants
  // Later in the life, and after its end.
  EXPECT_EQ(until_renewal((kNow + 30) * 1000000, kNow, kNow + 60, 0), seconds(18));
  EXPECT_EQ(until_renewal((kNow + 90) * 1000000, kNow, kNow + 60, 0), seconds(1));
}

TEST(TicketSchedule, PausesGrowAndATwoMinuteOutageCostsFewAttempts) {  // S-000 (g)
  EXPECT_EQ(until_retry(1, seconds(30), 0), seconds(1));
  EXPECT_EQ(until_retry(2, seconds(30), 0), seconds(2));
  EXPECT_EQ(until_retry(6, seconds(30), 0), seconds(30));
  EXPECT_EQ(until_retry(1000, seconds(30), 0), seconds(30));
  for (double random : {0.0, 0.5, 0.999}) {
    int attempts = 1;
    for (Duration at{}; (at += until_retry(attempts, seconds(30), random)) < seconds(120);)
      ++attempts;
    EXPECT_LE(attempts, 10) << random;
  }
}

class TicketKeeperTest : public ::testing::Test {
 protected:
  TicketKeeperTest() : runtime_({.shards = 1, .blocking_threads = 1}) {}
  ~TicketKeeperTest() override {
    if (keeper_ != nullptr) keeper_->stop();
    runtime_.stop();
  }
  void start(TicketKeeper::Login login) {
    metrics_ = std::make_shared<TicketMetrics>(registry_);
    TicketOptions options;
    options.suspect_interval = Duration(0);
    keeper_ = std::make_unique<TicketKeeper>(options, runtime_.shard(0), io::make_blocking_pool(1),
                                             metrics_, std::move(login));
    keeper_->start();
  }
  std::shared_ptr<Ticket> ticket(int64_t life_s) {
    auto made = std::make_shared<Ticket>();
    made->principal = "alice@R";
    made->issued_s = runtime_.shard(0).wall_us() / 1000000;
    made->expires_s = made->issued_s + life_s;
    return made;
  }

  io::RealRuntime runtime_;
  MetricRegistry registry_;
  std::shared_ptr<TicketMetrics> metrics_;
  std::unique_ptr<TicketKeeper> keeper_;
};

TEST_F(TicketKeeperTest, GivesTheTicketOfTheFirstLogin) {
  start([this](const LoginRequest&, Failure&) { return ticket(3600); });
  Failure none;
  auto got = keeper_->current(none);
  ASSERT_NE(got, nullptr);
  EXPECT_EQ(got->principal, "alice@R");
  EXPECT_EQ(metrics_->logins.value(), 1);
  int64_t now = runtime_.shard(0).wall_us() / 1000000;
  EXPECT_GT(metrics_->next_attempt_at_s.value(), now + 2000);
  EXPECT_LT(metrics_->next_attempt_at_s.value(), now + 3000);
}

TEST_F(TicketKeeperTest, TellsWhyThereIsNoneAndTriesAgain) {
  std::atomic<int> attempts{0};
  start([&](const LoginRequest&, Failure& failure) -> std::shared_ptr<const Ticket> {
    if (++attempts == 1) {
      failure = {Reason::kKdcUnreachable, "Cannot contact any KDC for realm 'R'"};
      return nullptr;
    }
    return ticket(3600);
  });
  Failure why;
  ASSERT_EQ(keeper_->current(why), nullptr);
  EXPECT_EQ(why.reason, Reason::kKdcUnreachable);
  Instant end = runtime_.shard(0).now() + seconds(20);
  std::shared_ptr<const Ticket> got;
  while (got == nullptr && runtime_.shard(0).now() < end) {
    got = keeper_->current(why);
    std::this_thread::yield();
  }
  EXPECT_NE(got, nullptr);
  EXPECT_EQ(metrics_->failures.value(), 1);
}

TEST_F(TicketKeeperTest, AnExpiredTicketIsNotGiven) {
  std::atomic<int> attempts{0};
  start([&](const LoginRequest&, Failure& failure) -> std::shared_ptr<const Ticket> {
    if (++attempts == 1) return ticket(0);
    failure = {Reason::kKdcUnreachable, "Cannot contact any KDC for realm 'R'"};
    return nullptr;
  });
  Failure why;
  EXPECT_EQ(keeper_->current(why), nullptr);
  EXPECT_NE(why.detail.find("the ticket ended at"), std::string::npos);
}

TEST_F(TicketKeeperTest, ASuspectedTicketIsReplaced) {
  std::atomic<int> attempts{0};
  start([&](const LoginRequest&, Failure&) {
    ++attempts;
    return ticket(3600);
  });
  Failure none;
  auto first = keeper_->current(none);
  keeper_->suspect();
  Instant end = runtime_.shard(0).now() + seconds(20);
  while (keeper_->current(none) == first && runtime_.shard(0).now() < end)
    std::this_thread::yield();
  EXPECT_NE(keeper_->current(none), first);
  EXPECT_EQ(attempts, 2);
}

}  // namespace
}  // namespace markab::security
