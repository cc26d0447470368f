// The embedded store and election on the real machine: durability, foreign directories, several
// metas on one directory.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <condition_variable>
#include <filesystem>
#include <future>
#include <mutex>

#include "io/file.h"
#include "meta/embedded_election.h"
#include "meta/embedded_store.h"

namespace markab::meta {
namespace {

using namespace std::chrono_literals;

const HostPort kNode{0x7f000001, 34601};

class EmbeddedTest : public testing::Test {
 protected:
  EmbeddedTest() : runtime_(options()) {
    dir_ = std::filesystem::temp_directory_path() /
           fmt::format("markab-meta-{}-{}", ::getpid(),
                       testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::remove_all(dir_);
    std::filesystem::create_directories(dir_);
  }
  ~EmbeddedTest() override {
    runtime_.stop();
    std::filesystem::remove_all(dir_);
  }
  static io::RealRuntimeOptions options() {
    io::RealRuntimeOptions o;
    o.shards = 1;
    o.blocking_threads = 2;
    return o;
  }
  io::Shard& shard() { return runtime_.shard(0); }
  std::unique_ptr<StateStore> store(const std::string& cluster = "c") {
    return make_embedded_store(shard(), runtime_.blocking(), dir_, cluster);
  }
  Result<StateStore::Tree> open(StateStore& s) {
    std::promise<Result<StateStore::Tree>> p;
    shard().post([&] { s.open([&](Result<StateStore::Tree> t) { p.set_value(std::move(t)); }); });
    return p.get_future().get();
  }
  Status write(StateStore& s, std::vector<StateOp> ops) {
    std::promise<Status> p;
    shard().post(
        [&] { s.write(std::move(ops), [&](Status status) { p.set_value(std::move(status)); }); });
    return p.get_future().get();
  }
  void close(StateStore& s) {
    std::promise<void> p;
    shard().post([&] { s.close([&] { p.set_value(); }); });
    p.get_future().get();
  }

  std::filesystem::path dir_;
  io::RealRuntime runtime_;
};

// Standings as they are told, for waiting on.
class Watcher {
 public:
  Callback<Standing> callback() {
    return [this](Standing s) {
      std::lock_guard lock(mutex_);
      standing_ = s;
      changed_.notify_all();
    };
  }
  bool wait(const std::function<bool(const Standing&)>& reached,
            std::chrono::milliseconds limit = 5s) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, limit, [&] { return reached(standing_); });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  Standing standing_;
};

TEST_F(EmbeddedTest, WhatWasAnsweredIsThereAgain) {
  auto first = store();
  ASSERT_TRUE(open(*first)->empty());
  using Kind = StateOp::Kind;
  EXPECT_TRUE(write(*first, {{Kind::kPut, "/apps/1", "a"}, {Kind::kPut, "/apps/1/0", "b"}}).ok());
  EXPECT_TRUE(
      write(*first, {{Kind::kErase, "/apps/1/0", ""}, {Kind::kPut, "/apps", "unlock"}}).ok());
  close(*first);
  auto second = store();
  auto tree = open(*second);
  ASSERT_TRUE(tree.has_value());
  EXPECT_EQ(*tree, (StateStore::Tree{{"/apps", "unlock"}, {"/apps/1", "a"}}));
  close(*second);
}

TEST_F(EmbeddedTest, OnlyOneHasItOpen) {
  auto first = store();
  ASSERT_TRUE(open(*first).has_value());
  auto second = store();
  auto refused = open(*second);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), Errc::kHoldByOthers) << refused.error().message();
  close(*first);
  EXPECT_TRUE(open(*second).has_value());
  close(*second);
}

TEST_F(EmbeddedTest, AnotherClustersDirectoryIsRefusedWithARemedy) {
  auto first = store("red");
  ASSERT_TRUE(open(*first).has_value());
  close(*first);
  auto second = store("blue");
  auto refused = open(*second);
  ASSERT_FALSE(refused.has_value());
  EXPECT_NE(refused.error().message().find("belongs to cluster red"), std::string::npos);
  EXPECT_NE(refused.error().message().find("state_dir"), std::string::npos);
  close(*second);
  auto& files = io::real_file_system();
  EXPECT_TRUE(claim_state_dir(files, dir_ / "sub", "red", kNode).ok());
  EXPECT_TRUE(claim_state_dir(files, dir_ / "sub", "red", kNode).ok());
  EXPECT_EQ(claim_state_dir(files, dir_ / "sub", "blue", kNode).code(), Errc::kInvalidParameters);
}

TEST_F(EmbeddedTest, OneOfSeveralMetasLeadsAndTheOthersKnowIt) {
  HostPort a{0x7f000001, 34601}, b{0x7f000001, 34602}, c{0x7f000001, 34603};
  std::vector<std::unique_ptr<Election>> elections;
  std::vector<std::unique_ptr<Watcher>> watchers;
  for (HostPort self : {a, b, c}) {
    elections.push_back(
        make_embedded_election(shard(), runtime_.blocking(), io::real_file_system(), dir_, self));
    watchers.push_back(std::make_unique<Watcher>());
    shard().post(
        [e = elections.back().get(), w = watchers.back().get()] { e->start(w->callback()); });
    if (self == a) {
      ASSERT_TRUE(watchers[0]->wait([](const Standing& s) { return s.leading; }));
    }
  }
  EXPECT_TRUE(watchers[1]->wait([&](const Standing& s) { return !s.leading && s.leader == a; }));
  EXPECT_TRUE(watchers[2]->wait([&](const Standing& s) { return !s.leading && s.leader == a; }));
  auto stop = [&](size_t i) {
    std::promise<void> p;
    shard().post([&] { elections[i]->stop([&] { p.set_value(); }); });
    p.get_future().get();
  };
  stop(0);
  auto leads = [](const Standing& s) { return s.leading; };
  bool second = watchers[1]->wait([&](const Standing& s) { return s.leading || s.leader == c; });
  EXPECT_TRUE(second);
  bool b_leads = watchers[1]->wait(leads, 1ms);
  EXPECT_NE(b_leads, watchers[2]->wait(leads, 1ms)) << "exactly one";
  stop(1);
  EXPECT_TRUE(watchers[2]->wait(leads));
  stop(2);
}

TEST_F(EmbeddedTest, TheLockOfAKilledProcessIsFree) {
  HostPort self{0x7f000001, 34602};
  int pipe_fds[2];
  ASSERT_EQ(::pipe(pipe_fds), 0);
  std::string lock = dir_ / "leader.lock";
  pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    // As another meta daemon would; only system calls, since the parent has threads.
    int fd = ::open(lock.c_str(), O_RDWR | O_CREAT, 0644);
    bool locked = fd >= 0 && ::flock(fd, LOCK_EX | LOCK_NB) == 0;
    if (!locked || ::write(pipe_fds[1], "!", 1) != 1) ::_exit(1);
    for (;;) ::pause();
  }
  char byte = 0;
  ASSERT_EQ(::read(pipe_fds[0], &byte, 1), 1);
  auto election =
      make_embedded_election(shard(), runtime_.blocking(), io::real_file_system(), dir_, self);
  Watcher watcher;
  shard().post([&] { election->start(watcher.callback()); });
  EXPECT_FALSE(watcher.wait([](const Standing& s) { return s.leading; }, 300ms));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_TRUE(watcher.wait([](const Standing& s) { return s.leading; }));
  std::promise<void> p;
  shard().post([&] { election->stop([&] { p.set_value(); }); });
  p.get_future().get();
  ::close(pipe_fds[0]);
  ::close(pipe_fds[1]);
}

}  // namespace
}  // namespace markab::meta
