#include "meta/zookeeper_election.h"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <charconv>

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

// ---- the seat ----------------------------------------------------------------------------------

std::string Seat::to_text() const {
  if (node.empty()) return {};
  return fmt::format("{} {} {}", node, holder, lease / std::chrono::milliseconds(1));
}

Seat Seat::parse(std::string_view text) {
  auto first = text.find(' ');
  if (first == std::string_view::npos) return {};
  auto second = text.find(' ', first + 1);
  if (second == std::string_view::npos) return {};
  Seat seat;
  seat.node = text.substr(0, first);
  auto holder = HostPort::parse(text.substr(first + 1, second - first - 1));
  auto number = text.substr(second + 1);
  int64_t ms = 0;
  auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), ms);
  bool whole = error == std::errc() && end == number.data() + number.size() && ms >= 0;
  if (!holder || !whole || !is_candidate(seat.node)) return {};
  seat.holder = *holder;
  seat.lease =
      std::min<Duration>(ZooKeeperElection::kMaxLease,
                         std::chrono::milliseconds(std::min<int64_t>(
                             ms, ZooKeeperElection::kMaxLease / std::chrono::milliseconds(1))));
  return seat;
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
    auto folder = co_await zk::get(e.client_, e.folder_);
    if (over() || !folder) co_return folder ? Status() : folder.error();
    e.note_seat(*folder);
    if (!e.standing_.leading && e.seat_.holder == e.self_ && e.seat_.node != mine) {
      // An earlier life of this server, or an earlier session: both are over, let nobody wait.
      std::string left = e.seat_.node;
      Status freed = co_await free_seat(std::move(left));
      if (over() || !freed.ok()) co_return freed;
    }
    settle(std::move(seen), mine);
    co_return Status();
  }

  // The seat is nobody's any more, if it is that of candidate `name`, which writes it no longer.
  boost::asio::awaitable<Status> free_seat(std::string name) {
    auto folder = co_await zk::get(e.client_, e.folder_);
    if (!*alive || !folder) co_return folder ? Status() : folder.error();
    if (Seat::parse(folder->data).node != name) co_return Status();
    std::vector<zk::Op> ops{{zk::Op::Kind::kSet, e.folder_, "", folder->version}};
    zk::Outcome outcome = co_await zk::multi(e.client_, std::move(ops));
    // Somebody took it meanwhile: just as well.
    if (outcome.status.code() == Errc::kInvalidVersion) co_return Status();
    co_return outcome.status;
  }

  // Our own node goes, and the seat with it; it was said before that we lead no longer.
  static boost::asio::awaitable<Status> leave(Flow flow, std::string name) {
    Status freed = co_await flow.free_seat(name);
    if (!*flow.alive || !freed.ok()) co_return freed;
    Status erased = co_await flow.erase(std::move(name));
    co_return erased;
  }

  // Another one's node, whose process is known to be gone.
  static boost::asio::awaitable<Status> bury(Flow flow, std::string name) {
    Status erased = co_await flow.erase(name);
    if (!*flow.alive || !erased.ok()) co_return erased;
    Status freed = co_await flow.free_seat(std::move(name));
    co_return freed;
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
      e.poll_later();
      return e.tell({false, e.candidates_.begin()->second});
    }
    // It leads when its write of the seat has come through.
    if (!e.standing_.leading) e.take_seat();
  }
};

// ---- the link ----------------------------------------------------------------------------------

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
  poll_timer_.cancel();
  beat_timer_.cancel();
  lease_timer_.cancel();
  lease_until_ = {};
  auto close = std::make_shared<Task>([this, done = std::move(done)]() mutable {
    leave_timer_.cancel();
    client_.close(std::move(done));
  });
  if (!linked_ || node_.empty()) return (*close)();
  // The next leader need not wait for a lease that is over.
  auto once = [this, alive = alive_, close] {
    if (*alive && *close) std::exchange(*close, {})();
  };
  leave_timer_ = shard_.after(kLeaveTimeout, once);
  boost::asio::co_spawn(
      shard_.executor(),
      Flow::leave(Flow{*this, alive_, session_}, node_.substr(folder_.size() + 1)),
      [once](std::exception_ptr, const Status&) { once(); });
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
      if (standing_.leading && !beating_) beat(-1);
      break;
    case zk::Link::kDisconnected:
      // The session goes on as long as the servers wait; the lease knows how long that is at least.
      break;
    case zk::Link::kExpired:
      node_.clear();
      lowest_ = false;
      candidates_.clear();
      beat_timer_.cancel();
      step_down("its ZooKeeper session has expired");
      break;
  }
}

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

void ZooKeeperElection::note_seat(const zk::Node& folder) {
  if (folder.version == seat_version_) return;
  seat_ = Seat::parse(folder.data);
  seat_version_ = folder.version;
  seat_since_ = shard_.now();
}

void ZooKeeperElection::poll_later() {
  // The first one in line may be waiting for the one before it to leave.
  poll_timer_ = shard_.after(
      lowest_ ? std::min(kSeatPoll, timeout_ / kPollsPerTimeout) : timeout_ / kPollsPerTimeout,
      [this] { poll_seat(); });
}

void ZooKeeperElection::poll_seat() {
  if (stopped_ || polling_ || !linked_ || standing_.leading) return;  // a new link looks anyhow
  polling_ = true;
  client_.get(folder_, [this, alive = alive_](Result<zk::Node> folder) {
    if (!*alive || stopped_) return;
    polling_ = false;
    if (!folder || standing_.leading || node_.empty()) return look_later(kAgain);
    note_seat(*folder);
    if (lowest_) return take_seat();
    poll_later();
  });
}

void ZooKeeperElection::take_seat() {
  if (stopped_ || node_.empty() || !lowest_ || !linked_ || beating_) return;
  bool others = !seat_.node.empty() && seat_.node != node_.substr(folder_.size() + 1) &&
                seat_.holder != self_;
  Instant over = seat_since_ + seat_.lease + seat_.lease / kDriftPart;
  if (others && shard_.now() < over) {
    if (seat_.node != waited_for_) {
      waited_for_ = seat_.node;
      MARKAB_INFO("election: {} did not leave its seat; its lease may last for {} ms", seat_.holder,
                  (over - shard_.now()) / std::chrono::milliseconds(1));
    }
    return poll_later();
  }
  beat(seat_version_);
}

// Version -1: whatever it is, while our node is there nobody else writes it.
void ZooKeeperElection::beat(int32_t seat_version) {
  if (stopped_ || node_.empty() || !lowest_ || !linked_ || beating_) return;
  beating_ = true;
  seat_version_ = -1;
  Instant sent = shard_.now();
  Seat seat{node_.substr(folder_.size() + 1), self_, timeout_ - timeout_ / kMarginPart};
  std::vector<zk::Op> ops{{zk::Op::Kind::kCheck, node_, "", -1},
                          {zk::Op::Kind::kSet, folder_, seat.to_text(), seat_version}};
  client_.multi(std::move(ops),
                [this, alive = alive_, sent, lease = seat.lease, node = node_](auto outcome) {
                  if (!*alive || stopped_) return;
                  beating_ = false;
                  if (node == node_) on_beat(sent + lease, sent, outcome);
                });
}

void ZooKeeperElection::on_beat(Instant lease_until, Instant sent, const zk::Outcome& outcome) {
  auto again = [this] { standing_.leading ? beat(-1) : look(); };
  if (outcome.status.ok()) {
    // Late, after a pause: who asked meanwhile took this leadership for over, and begins anew.
    if (!holds()) step_down("ZooKeeper did not confirm it in time");
    lease_until_ = std::max(lease_until_, lease_until);
    beat_timer_ = shard_.after(
        std::max<Duration>(Duration(0), sent + timeout_ / kBeatsPerTimeout - shard_.now()), again);
    if (shard_.now() >= lease_until_) return;  // too slow to be worth anything
    lease_timer_ = shard_.after(lease_until_ - shard_.now(), [this] {
      if (!holds() && standing_.leading) step_down("ZooKeeper did not confirm it in time");
    });
    if (!standing_.leading) protect();
    return tell({true, self_});
  }
  Errc code = outcome.status.code();
  if (code == Errc::kPathNotFound) {
    node_.clear();
    lowest_ = false;
    step_down("its election node was taken away");
    return look();
  }
  if (code == Errc::kInvalidVersion) return look();  // the seat was freed, or beaten once more
  beat_timer_ = shard_.after(timeout_ / (2 * kBeatsPerTimeout), again);
}

// What was made under another acl_mode gets the present access list, as the store does with the
// state.
void ZooKeeperElection::protect() {
  std::string above = folder_.substr(0, folder_.rfind('/'));
  for (const std::string& path : {folder_, above}) {
    if (path.empty()) continue;  // the whole server's root is not ours
    client_.protect(path, [path](const Result<bool>& changed) {
      if (changed && *changed)
        MARKAB_INFO("election: {} got the access list of [zookeeper] acl_mode", path);
      if (!changed && changed.error().code() == Errc::kAclDeny)
        MARKAB_WARN("election: {} keeps its access list: {}", path, changed.error());
    });
  }
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
  std::string name = node_.substr(folder_.size() + 1);
  node_.clear();
  lowest_ = false;
  beat_timer_.cancel();
  step_down(why);
  // Whatever comes of it, the nodes are looked at anew.
  boost::asio::co_spawn(shard_.executor(),
                        Flow::leave(Flow{*this, alive_, session_}, std::move(name)),
                        [this, alive = alive_](std::exception_ptr, const Status&) {
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
  auto held = std::make_shared<Callback<Status>>(std::move(done));
  boost::asio::co_spawn(shard_.executor(), Flow::bury(Flow{*this, alive_, session_}, found->first),
                        [held](std::exception_ptr, Status status) { (*held)(std::move(status)); });
}

void ZooKeeperElection::tell(Standing standing) {
  if (told_ && standing == standing_) return;
  told_ = true;
  standing_ = standing;
  on_change_(standing);
}

}  // namespace markab::meta
