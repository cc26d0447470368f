// Requests that wait (04 §5).

#include "replica/delayed_requests.h"

#include <gtest/gtest.h>

#include "sim/sim_runtime.h"

namespace markab::replica {
namespace {

// Notes what is answered.
class Notes final : public rpc::ReplySink {
 public:
  void reply(const rpc::RequestHeader& header, std::string_view, Errc error,
             std::string_view) override {
    answers.push_back({header.id, error});
  }
  HostPort peer() const override { return {1, 2}; }
  const std::string& user() const override { return nobody_; }
  bool wants_host_port() const override { return false; }

  std::vector<std::pair<uint64_t, Errc>> answers;

 private:
  std::string nobody_;
};

class DelayedRequestsTest : public testing::Test {
 protected:
  rpc::Request request(uint64_t id, std::string_view args = "") {
    rpc::RequestHeader header;
    header.id = id;
    return rpc::Request(header, "RPC_RRDB_RRDB_PUT", args, nullptr, notes_);
  }
  bool hold(uint64_t id, int ms, std::string_view args = "") {
    auto r = request(id, args);
    return delayed_.hold(r, std::chrono::milliseconds(ms), [this](rpc::Request late) {
      due_.push_back({late.header.id, world_.now().ns / 1000000});
      late.reply({});
    });
  }

  // Runs `task` on the shard, at once.
  void on_shard(Task task) {
    bool ran = false;
    runtime_.shard(0).post([&] {
      task();
      ran = true;
    });
    ASSERT_TRUE(world_.run_until([&] { return ran; }, std::chrono::seconds(1)));
  }

  sim::SimWorld world_{1};
  sim::SimRuntime runtime_{world_, "node", sim::SimRuntime::Options{}};
  std::shared_ptr<Notes> notes_ = std::make_shared<Notes>();
  DelayedRequests delayed_{runtime_.shard(0)};
  std::vector<std::pair<uint64_t, int64_t>> due_;
};

TEST_F(DelayedRequestsTest, ComeBackInTheOrderInWhichTheyAreDue) {
  int64_t start = 0;
  on_shard([&] {
    start = world_.now().ns / 1000000;
    EXPECT_TRUE(hold(1, 300));
    EXPECT_TRUE(hold(2, 100));
    EXPECT_TRUE(hold(3, 200));
  });
  world_.run_for(std::chrono::seconds(2));
  ASSERT_EQ(due_.size(), 3u);
  EXPECT_EQ(due_[0].first, 2u);
  EXPECT_EQ(due_[1].first, 3u);
  EXPECT_EQ(due_[2].first, 1u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_GE(due_[i].second - start, static_cast<int64_t>(i + 1) * 100 - 1);
    EXPECT_LE(due_[i].second - start, static_cast<int64_t>(i + 1) * 100 + 50);
  }
  EXPECT_EQ(delayed_.size(), 0u);
}

TEST_F(DelayedRequestsTest, AreBoundedInNumberAndBytes) {
  on_shard([&] {
    for (size_t i = 0; i < DelayedRequests::kMaxRequests; ++i) EXPECT_TRUE(hold(i, 10));
    EXPECT_FALSE(hold(9999, 10));
    delayed_.drop_all();
    std::string body(DelayedRequests::kMaxBytes / 2, 'x');
    EXPECT_TRUE(hold(1, 10, body));
    EXPECT_TRUE(hold(2, 10, body));
    EXPECT_FALSE(hold(3, 10, "x"));
    delayed_.drop_all();
  });
  world_.run_for(std::chrono::seconds(1));
  EXPECT_TRUE(notes_->answers.empty() && due_.empty());
}

TEST_F(DelayedRequestsTest, AreRefusedTogether) {
  on_shard([&] {
    hold(1, 10);
    hold(2, 20);
    delayed_.refuse_all(Errc::kObjectNotFound);
  });
  ASSERT_EQ(notes_->answers.size(), 2u);
  EXPECT_EQ(notes_->answers[0].second, Errc::kObjectNotFound);
  world_.run_for(std::chrono::seconds(1));
  EXPECT_TRUE(due_.empty());
}

}  // namespace
}  // namespace markab::replica
