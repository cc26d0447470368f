#include "meta/zookeeper_election.h"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include "base/assert.h"
#include "base/log.h"
#include "zk/await.h"

namespace markab::meta {

namespace {

// Names that Pegasus' metas use, so that both kinds see each other.
constexpr const char* kFolder = "/dsn.meta.server.leader";
constexpr std::string_view kPrefix = "LOCKNODE";
constexpr size_t kMaxCandidates = 64;

bool is_candidate(const std::string& name) {
  return name.size() == kPrefix.size() + 10 && name.compare(0, kPrefix.size(), kPrefix) == 0;
}

}  // namespace

ZooKeeperElection::ZooKeeperElection(io::Shard& shard, zk::Client& client, std::string lock_root,
                                     HostPort self)
    : shard_(shard),
      client_(client),
      folder_((lock_root == "/" ? std::string() : std::move(lock_root)) + kFolder),
      self_(self) {}

ZooKeeperElection::~ZooKeeperElection() { *alive_ = false; }

void ZooKeeperElection::start(Callback<Standing> on_change) {
  on_change_ = std::move(on_change);
  tell({});
  client_.start([this, alive = alive_](const zk::Event& event) {
    if (*alive && !stopped_) on_event(event);
  });
}

void ZooKeeperElection::stop(Task done) {
  stopped_ = true;
  standing_ = {};
  look_timer_.cancel();
  beat_timer_.cancel();
  lease_timer_.cancel();
  client_.close(std::move(done));
}

bool ZooKeeperElection::holds() const { return standing_.leading && shard_.now() < lease_until_; }

void ZooKeeperElection::on_event(const zk::Event& event) {
  linked_ = event.link == zk::Link::kConnected;
  switch (event.link) {
    case zk::Link::kConnected:
      if (event.session != session_) node_.clear();
      session_ = event.session;
      timeout_ = event.timeout;
      look();
      if (!node_.empty() && !beating_) beat();
      break;
    case zk::Link::kDisconnected:
      // The session goes on as long as the servers wait; the lease knows how long that is at least.
      break;
    case zk::Link::kExpired:
      node_.clear();
      lowest_ = false;
      candidates_.clear();
      step_down("its ZooKeeper session has expired");
      break;
  }
}

// ---- candidates --------------------------------------------------------------------------------

struct ZooKeeperElection::Flow {
  ZooKeeperElection& e;
  std::shared_ptr<bool> alive;
  const int64_t session;

  bool over() const { return !*alive || e.stopped_ || e.session_ != session; }

  // Looks at all candidates, stands as one, and tells what has become of it.
  static boost::asio::awaitable<void> look(Flow flow) {
    Status status = co_await flow.look_once();
    if (!*flow.alive || flow.e.stopped_) co_return;
    flow.e.looking_ = false;
    if (flow.e.look_again_) {
      flow.e.look_again_ = false;
      flow.e.look();
      co_return;
    }
    if (status.ok()) {
      flow.e.last_error_.clear();
      co_return;
    }
    if (status.message() != flow.e.last_error_ && status.code() != Errc::kTimeout &&
        status.code() != Errc::kExpired) {
      flow.e.last_error_ = status.message();
      MARKAB_ERROR("election: {}; it is tried again", status);
    }
    flow.e.look_later(kAgain);
  }

  boost::asio::awaitable<Status> look_once() {
    if (!e.folder_made_) {
      Status made = co_await zk::make_path(e.client_, e.folder_);
      if (over() || !made.ok()) co_return made;
      e.folder_made_ = true;
    }
    Task watch = [this_ = &e, a = alive] {
      if (*a && !this_->stopped_) this_->look();
    };
    auto names = co_await zk::children(e.client_, e.folder_, std::move(watch));
    if (over()) co_return Status();
    if (!names) {
      e.folder_made_ = names.error().code() != Errc::kPathNotFound;
      co_return names.error();
    }
    std::erase_if(*names, [](const std::string& name) { return !is_candidate(name); });
    std::sort(names->begin(), names->end());
    if (names->size() > kMaxCandidates) names->resize(kMaxCandidates);
    std::map<std::string, HostPort> seen;
    std::string mine;
    for (const std::string& name : *names) {
      auto node = co_await zk::get(e.client_, e.folder_ + "/" + name);
      if (over()) co_return Status();
      if (!node) {
        if (node.error().code() == Errc::kPathNotFound) continue;
        co_return node.error();
      }
      auto who = HostPort::parse(node->data);
      bool own = node->ephemeral_owner == session;
      if ((own && !mine.empty()) || (!own && who && *who == e.self_)) {
        // Made twice when a connection broke; or by an earlier life of this server, whose session
        // need not be waited for.
        Status erased = co_await erase(name);
        if (over() || !erased.ok()) co_return erased;
        continue;
      }
      if (own) mine = name;
      seen[name] = who ? *who : HostPort{};
    }
    if (mine.empty()) co_return co_await stand();
    settle(std::move(seen), mine);
    co_return Status();
  }

  boost::asio::awaitable<Status> erase(std::string name) {
    std::vector<zk::Op> ops{{zk::Op::Kind::kErase, e.folder_ + "/" + name, "", -1}};
    zk::Outcome outcome = co_await zk::multi(e.client_, std::move(ops));
    if (outcome.status.code() == Errc::kPathNotFound) co_return Status();
    co_return outcome.status;
  }

  // Afterwards the watch brings us back here.
  boost::asio::awaitable<Status> stand() {
    std::string path = fmt::format("{}/{}", e.folder_, kPrefix);
    std::string data = e.self_.to_string();
    auto made = co_await zk::create(e.client_, path, data, zk::NodeKind::kEphemeralSequential);
    if (over()) co_return Status();
    if (!made) co_return made.error();
    e.look_again_ = true;
    co_return Status();
  }

  void settle(std::map<std::string, HostPort> seen, const std::string& mine) {
    e.candidates_ = std::move(seen);
    e.node_ = e.folder_ + "/" + mine;
    e.lowest_ = e.candidates_.begin()->first == mine;
    if (!e.lowest_) {
      if (e.standing_.leading) e.step_down("another candidate is before it");
      e.beat_timer_.cancel();
      return e.tell({false, e.candidates_.begin()->second});
    }
    // It leads when a write of its node has come through.
    if (!e.beating_ && !e.standing_.leading) e.beat();
  }
};

void ZooKeeperElection::look() {
  if (looking_) {
    look_again_ = true;
    return;
  }
  if (!linked_) return;  // the next connection leads here
  looking_ = true;
  look_timer_.cancel();
  boost::asio::co_spawn(shard_.executor(), Flow::look(Flow{*this, alive_, session_}),
                        boost::asio::detached);
}

void ZooKeeperElection::look_later(Duration delay) {
  look_timer_ = shard_.after(delay, [this] { look(); });
}

// ---- leading -----------------------------------------------------------------------------------

void ZooKeeperElection::beat() {
  if (stopped_ || node_.empty() || !lowest_ || !linked_ || beating_) return;
  beating_ = true;
  Instant sent = shard_.now();
  std::vector<zk::Op> ops{{zk::Op::Kind::kSet, node_, self_.to_string(), -1}};
  client_.multi(std::move(ops), [this, alive = alive_, sent, node = node_](auto outcome) {
    if (!*alive || stopped_) return;
    beating_ = false;
    if (node == node_) on_beat(sent, outcome);
  });
}

void ZooKeeperElection::on_beat(Instant sent, const zk::Outcome& outcome) {
  if (outcome.status.ok()) {
    lease_until_ = std::max(lease_until_, sent + timeout_ - timeout_ / kMarginPart);
    beat_timer_ = shard_.after(
        std::max<Duration>(Duration(0), sent + timeout_ / kBeatsPerTimeout - shard_.now()),
        [this] { beat(); });
    if (shard_.now() >= lease_until_) return;  // too slow to be worth anything
    lease_timer_ = shard_.after(lease_until_ - shard_.now(), [this] {
      if (!holds() && standing_.leading) step_down("ZooKeeper did not confirm it in time");
    });
    return tell({true, self_});
  }
  if (outcome.status.code() == Errc::kPathNotFound) {
    node_.clear();
    lowest_ = false;
    step_down("its election node was taken away");
    return look();
  }
  beat_timer_ = shard_.after(timeout_ / (2 * kBeatsPerTimeout), [this] { beat(); });
}

void ZooKeeperElection::step_down(const std::string& why) {
  lease_until_ = {};
  lease_timer_.cancel();
  if (!standing_.leading) return;
  MARKAB_WARN("election: this meta server stops leading: {}", why);
  tell({});
}

void ZooKeeperElection::resign(const std::string& why) {
  if (!standing_.leading || node_.empty()) return;
  std::vector<zk::Op> ops{{zk::Op::Kind::kErase, node_, "", -1}};
  node_.clear();
  lowest_ = false;
  beat_timer_.cancel();
  step_down(why);
  // Whatever comes of it, the nodes are looked at anew.
  client_.multi(std::move(ops), [this, alive = alive_](const zk::Outcome&) {
    if (*alive && !stopped_) look();
  });
}

void ZooKeeperElection::report_dead(HostPort leader, Callback<Status> done) {
  auto found = std::find_if(candidates_.begin(), candidates_.end(),
                            [&](const auto& c) { return c.second == leader; });
  if (leader == self_ || found == candidates_.end()) {
    shard_.post([done = std::move(done)] { done({}); });
    return;
  }
  MARKAB_INFO("election: {} is reported dead, its node {} is taken away", leader, found->first);
  std::vector<zk::Op> ops{{zk::Op::Kind::kErase, folder_ + "/" + found->first, "", -1}};
  client_.multi(std::move(ops), [done = std::move(done)](const zk::Outcome& outcome) {
    bool gone = outcome.status.ok() || outcome.status.code() == Errc::kPathNotFound;
    done(gone ? Status() : outcome.status);
  });
}

void ZooKeeperElection::tell(Standing standing) {
  if (told_ && standing == standing_) return;
  told_ = true;
  standing_ = standing;
  on_change_(standing);
}

}  // namespace markab::meta
