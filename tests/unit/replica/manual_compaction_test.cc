// When a manual compaction is due (02 §13), and in which order replicas get their turn.

#include "replica/manual_compaction.h"

#include <gtest/gtest.h>

#include <optional>

namespace markab::replica {
namespace {

constexpr int64_t kMidnight = 1700000000;  // whatever the zone, the caller says when the day began
constexpr int64_t kHour = 3600;

struct DueCase {
  const char* name;
  const char*
      rules;  // letters: d(isabled), n(one may run), o(nce at 10:00), p(eriodic at 3:00 and 21:00)
  int64_t last_finish;
  int64_t now;
  const char* due;  // "", "once" or "periodic"
};
struct CompactionDueTest : testing::TestWithParam<DueCase> {};

TEST_P(CompactionDueTest, Table) {
  const auto& c = GetParam();
  engine::ManualCompactSettings settings;
  for (char rule : std::string(c.rules)) {
    if (rule == 'd') settings.disabled = true;
    if (rule == 'n') settings.max_running = 0;
    if (rule == 'o') settings.once_trigger_s = kMidnight + 10 * kHour;
    if (rule == 'p') settings.periodic_minutes = {3 * 60, 21 * 60};
  }
  settings.once.target_level = 1;
  settings.periodic.target_level = 2;
  auto how = compaction_due(settings, c.last_finish, c.now, kMidnight);
  std::string got = !how ? "" : how->target_level == 1 ? "once" : "periodic";
  EXPECT_EQ(got, c.due);
}

INSTANTIATE_TEST_SUITE_P(
    Table, CompactionDueTest,
    testing::Values(DueCase{"no_rule", "", 0, kMidnight + 12 * kHour, ""},
                    DueCase{"once", "o", 0, kMidnight + 12 * kHour, "once"},
                    DueCase{"once_at_its_second", "o", 0, kMidnight + 10 * kHour, "once"},
                    DueCase{"once_not_yet", "o", 0, kMidnight + 10 * kHour - 1, ""},
                    DueCase{"once_done", "o", kMidnight + 10 * kHour, kMidnight + 12 * kHour, ""},
                    DueCase{"once_asked_again", "o", kMidnight + 10 * kHour - 1,
                            kMidnight + 12 * kHour, "once"},
                    DueCase{"disabled", "od", 0, kMidnight + 12 * kHour, ""},
                    DueCase{"none_may_run", "on", 0, kMidnight + 12 * kHour, ""},
                    DueCase{"periodic", "p", 0, kMidnight + 4 * kHour, "periodic"},
                    DueCase{"periodic_not_yet", "p", kMidnight - kHour, kMidnight + 2 * kHour, ""},
                    DueCase{"periodic_done", "p", kMidnight + 3 * kHour + 60,
                            kMidnight + 20 * kHour, ""},
                    DueCase{"periodic_evening", "p", kMidnight + 3 * kHour + 60,
                            kMidnight + 22 * kHour, "periodic"},
                    DueCase{"once_goes_first", "op", 0, kMidnight + 22 * kHour, "once"}),
    [](const auto& info) { return info.param.name; });

TEST(LocalMidnightTest, IsTheBeginningOfTheDay) {
  int64_t midnight = local_midnight(kMidnight);
  EXPECT_LE(midnight, kMidnight);
  EXPECT_GT(midnight + 25 * kHour, kMidnight);
  EXPECT_EQ(local_midnight(midnight), midnight);
  EXPECT_LT(local_midnight(midnight - 1), midnight);
}

TEST(CompactionSlotsTest, AreBoundedByTheTableAndByTheNode) {
  CompactionSlots slots;
  EXPECT_FALSE(slots.try_take(0));
  EXPECT_TRUE(slots.try_take(1));
  EXPECT_FALSE(slots.try_take(1));
  EXPECT_TRUE(slots.try_take(100));
  EXPECT_FALSE(slots.try_take(100)) << "no more than CompactionSlots::kMost";
  slots.give_back();
  EXPECT_FALSE(slots.try_take(1));
  EXPECT_TRUE(slots.try_take(2));
}

}  // namespace
}  // namespace markab::replica
