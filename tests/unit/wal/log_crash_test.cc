// Many lives of one log on a disk that loses what was not synced: what each mode promises after the
// machine or the process ended at a random moment. A failing seed replays.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/log.h"
#include "unit/wal/log_world.h"
#include "wal/format.h"

namespace markab::wal {
namespace {

constexpr Duration kInterval = std::chrono::milliseconds(100);
// From the end of an interval to the end of its sync, at most: two rounds of blocking work.
constexpr Duration kSlack = std::chrono::milliseconds(2);

class Lives {
 public:
  Lives(LogSync sync, uint64_t seed) : random_(seed), world_(seed, options(sync, random_)) {}

  void run(int lives) {
    for (int life = 0; life < lives && !testing::Test::HasFatalFailure(); ++life) {
      boot();
      if (testing::Test::HasFatalFailure()) return;
      live();
      end();
    }
    world_.files.boot();
  }

 private:
  static Disk::Options options(LogSync sync, Random& random) {
    Disk::Options out;
    out.sync = sync;
    out.interval = kInterval;
    out.segment_bytes = 500 + random.below(20000);
    return out;
  }

  // So many records of the history were told to be durable, at this time.
  struct Promise {
    uint64_t records = 0;
    Instant told;
  };

  void boot() {
    if (random_.chance(0.2)) boot_with_faults();
    ASSERT_NO_FATAL_FAILURE(world_.boot(checkpoint_));
    check_replay();
    if (testing::Test::HasFatalFailure()) return;
    promises_.clear();
    durable_ = 0;
    // What open() delivered is durable, also when the process that wrote it died.
    if (world_.options.sync != LogSync::kNone) promises_.push_back({history_.size(), long_ago()});
    world_.on_durable = [this](const Status& status, Decree decree) {
      ASSERT_TRUE(status.ok()) << status.to_string();
      ASSERT_LE(decree, world_.log->last_decree());
      durable_ = decree;
      promises_.push_back({base_ + world_.log->durable_records(), world_.world.now()});
    };
    base_ = history_.size();
  }

  // Starts that fail half-way lose nothing.
  void boot_with_faults() {
    sim::SimFileSystem::FaultRates rates;
    rates.append = rates.sync = rates.read = rates.metadata = 0.2;
    world_.files.set_fault_rates(rates);
    bool opened = world_.try_boot(checkpoint_).ok();
    world_.files.set_fault_rates({});
    if (opened) {
      world_.close();  // the next opening checks
    } else if (random_.chance(0.5)) {
      power_cut_ = true;
      world_.power_cut();
    } else {
      world_.kill();
    }
  }

  void check_replay() {
    if (!world_.summary.damage.ok()) {
      // In the modes that do not wait for the disk a power cut may lose the middle; the replica
      // then learns again.
      ASSERT_TRUE(power_cut_ && world_.options.sync != LogSync::kAlways)
          << world_.summary.damage.to_string();
      check_prefix();
      checkpoint_ = std::max(checkpoint_, world_.log->last_decree());
      ASSERT_TRUE(world_.log->reset(checkpoint_).ok());
      history_.clear();
      return;
    }
    check_prefix();
    if (testing::Test::HasFatalFailure()) return;
    Decree last = std::max(checkpoint_, model().empty() ? 0 : model().rbegin()->first);
    ASSERT_EQ(world_.log->last_decree(), last);
  }

  bool is_asked_for(const Kept& r) const {
    return r.type == Record::Type::kReign || r.decree > checkpoint_;
  }

  // What was delivered is what was appended, in order: from where the log was trimmed, without a
  // gap, up to some record at or behind the last one promised.
  void check_prefix() {
    if (world_.log->bytes() == kSegmentHeader) {
      // The log ended below the checkpoint, now or at a start that failed, and begins anew there.
      // Some prefix of the history, with all that was promised, says nothing above the checkpoint.
      while (!model().empty() && model().rbegin()->first > checkpoint_) {
        ASSERT_GT(history_.size(), promised_records()) << "records that were durable are gone";
        history_.pop_back();
      }
      history_.clear();
      return;
    }
    size_t at = 0;
    bool begun = false;
    for (const Kept& got : world_.delivered) {
      while (at < history_.size() && !(history_[at] == got)) {
        ASSERT_TRUE(!begun || !is_asked_for(history_[at])) << "missing: " << history_[at];
        ++at;
      }
      ASSERT_LT(at, history_.size()) << "never appended, or out of order: " << got;
      begun = true;
      ++at;
    }
    // What was not asked for counts as there; so does a reign that was trimmed with all the rest.
    while (at < history_.size() &&
           (!is_asked_for(history_[at]) || (!begun && history_[at].type == Record::Type::kReign))) {
      ++at;
    }
    uint64_t promised = promised_records();
    ASSERT_GE(at, promised) << "records that were told to be durable are gone";
    history_.resize(at);
    auto expected = effective(history_), found = effective(world_.delivered);
    expected.erase(expected.begin(), expected.upper_bound(checkpoint_));
    ASSERT_EQ(found, expected) << "what was trimmed mattered";
  }

  uint64_t promised_records() const {
    uint64_t promised = 0;
    for (const Promise& p : promises_) {
      bool holds =
          world_.options.sync == LogSync::kAlways || !power_cut_ ||
          (world_.options.sync == LogSync::kInterval && p.told + kInterval + kSlack <= ended_);
      if (holds) promised = std::max(promised, p.records);
    }
    return promised;
  }

  void live() {
    auto steps = 10 + random_.below(150);
    for (uint64_t i = 0; i < steps && !testing::Test::HasFatalFailure(); ++i) step();
  }

  void step() {
    Decree last = world_.log->last_decree();
    switch (random_.below(20)) {
      case 0:
        ++ballot_;
        add(reign(ballot_, checkpoint_ + static_cast<Decree>(random_.below(
                                             static_cast<uint64_t>(last - checkpoint_) + 1))));
        break;
      case 1:
        ++ballot_;
        for (Decree d = std::max(checkpoint_ + 1, last - 3); d <= last; ++d)
          add(mutation(ballot_, d, payload()));
        break;
      case 2:
        trim();
        break;
      case 3:
        if (random_.chance(0.1)) reset();
        break;
      case 4:
        world_.world.run_for(std::chrono::milliseconds(random_.below(60)));
        break;
      case 5:
      case 6:
      case 7:
        for (auto n = random_.below(10); n > 0; --n) world_.world.step();
        break;
      default:
        add(mutation(ballot_, last + 1, payload(), checkpoint_));
    }
  }

  void end() {
    ended_ = world_.world.now();
    power_cut_ = false;
    switch (random_.below(4)) {
      case 0:
        promises_.push_back({base_ + world_.log->appended_records(), long_ago()});
        world_.close();  // in good order
        break;
      case 1:
        world_.kill();
        break;
      default:
        power_cut_ = true;
        world_.power_cut();
    }
  }

  void add(const Kept& record) {
    ASSERT_NO_FATAL_FAILURE(world_.must_append(record));
    history_.push_back(record);
    // What was told of a decree ends with its rewrite, or with the reign that voids it.
    durable_ =
        std::min(durable_, record.type == Record::Type::kReign ? record.decree : record.decree - 1);
  }
  // A checkpoint of what is durable, and the log behind it trimmed.
  void trim() {
    if (durable_ <= checkpoint_) return;
    checkpoint_ +=
        static_cast<Decree>(random_.below(static_cast<uint64_t>(durable_ - checkpoint_) + 1));
    world_.log->trim(checkpoint_);
  }
  void reset() {
    checkpoint_ = world_.log->last_decree() + static_cast<Decree>(random_.below(100));
    ASSERT_TRUE(world_.log->reset(checkpoint_).ok());
    history_.clear();
    promises_.clear();
    durable_ = 0;
    // Counted from here: the records before are gone.
    base_ = -world_.log->appended_records();
  }

  Instant long_ago() const { return world_.world.now() - kInterval - kSlack; }
  std::string payload() {
    return std::string(random_.below(600), static_cast<char>('a' + random_.below(26)));
  }
  Model model() const { return effective(history_); }

  Random random_;
  LogWorld world_;
  std::vector<Kept> history_;  // of the log, over all lives
  uint64_t base_ = 0;          // history_.size() - appended_records()
  Ballot ballot_ = 1;
  Decree checkpoint_ = 0;
  Decree durable_ = 0;  // as told, in this life
  std::vector<Promise> promises_;
  bool power_cut_ = false;
  Instant ended_;
};

class LogCrash : public testing::TestWithParam<std::tuple<LogSync, int>> {
 protected:
  LogCrash() { log::set_level(log::Level::kOff); }
  ~LogCrash() override { log::set_level(log::Level::kInfo); }
};
INSTANTIATE_TEST_SUITE_P(Seeds, LogCrash,
                         testing::Combine(testing::Values(LogSync::kAlways, LogSync::kInterval,
                                                          LogSync::kNone),
                                          testing::Range(0, 8)));

TEST_P(LogCrash, EachModeKeepsItsPromise) {
  auto [sync, block] = GetParam();
  for (int i = 0; i < 25; ++i) {
    auto seed = static_cast<uint64_t>(block * 1000 + i);
    SCOPED_TRACE("seed " + std::to_string(seed));
    Lives(sync, seed).run(8);
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace markab::wal
