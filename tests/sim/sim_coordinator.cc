#include "sim_coordinator.h"

#include <algorithm>

namespace markab::sim {

namespace {

constexpr Duration kPing = SimCoordinator::kSessionTimeout / 3;
// A user that heard nothing for so long, counted from its last answered ping, leads no longer.
constexpr Duration kPatience = SimCoordinator::kSessionTimeout * 2 / 3;
constexpr Duration kWriteTimeout = std::chrono::seconds(2);
constexpr size_t kMaxTransaction = 512u << 10;

}  // namespace

// The user's end. Everything on shard 0 of its runtime; what the world delivers after the process's
// end is dropped by the runtime's death.
class SimCoordinator::Session : public std::enable_shared_from_this<Session> {
 public:
  Session(SimCoordinator& service, SimRuntime& runtime, HostPort user)
      : service_(service), shard_(runtime.shard(0)), user_(user) {}

  SimCoordinator& service() { return service_; }
  io::Shard& shard() { return shard_; }
  HostPort user() const { return user_; }
  uint64_t seat() const { return seat_; }

  void start(Callback<meta::Standing> on_change) {
    on_change_ = std::move(on_change);
    running_ = true;
    beat();
  }
  void stop(Task done) {
    running_ = false;
    beat_timer_.cancel();
    patience_timer_.cancel();
    // Closing a session frees its place at once, if the word arrives.
    at_service([this, seat = seat_] {
      auto& seats = service_.seats_;
      std::erase_if(seats, [&](const Seat& s) { return s.id == seat; });
    });
    shard_.post(std::move(done));
  }

  // Runs `task` at the service unless the way there is cut.
  void at_service(Task task) {
    service_.world_.schedule_after(service_.delay(),
                                   [self = shared_from_this(), task = std::move(task)] {
                                     if (self->service_.hears(self->user_)) task();
                                   });
  }
  // From the service: runs `task` here unless the way back is cut.
  void at_user(Task task) {
    service_.world_.schedule_after(service_.delay(),
                                   [self = shared_from_this(), task = std::move(task)]() mutable {
                                     if (!self->service_.reaches(self->user_) || self->over_)
                                       return;
                                     self->shard_.post(std::move(task));
                                   });
  }
  // The process is gone; nothing of it may be touched any more.
  void close() {
    over_ = true;
    running_ = false;
    on_change_ = nullptr;
    beat_timer_.cancel();
    patience_timer_.cancel();
  }

 private:
  void beat() {
    beat_timer_ = shard_.after(kPing, [this] { beat(); });
    auto sent = shard_.now();
    at_service([this, sent, seat = seat_] {
      service_.expire();
      Seat* mine = service_.find(seat);
      if (mine == nullptr) {
        service_.seats_.push_back({service_.next_seat_++, user_, service_.world_.now()});
        mine = &service_.seats_.back();
      }
      mine->heard = service_.world_.now();
      meta::Standing standing{service_.seats_.front().id == mine->id, service_.seats_.front().user};
      at_user([this, sent, id = mine->id, standing] { on_answer(sent, id, standing); });
    });
  }

  void on_answer(Instant sent, uint64_t seat, meta::Standing standing) {
    if (!running_) return;
    bool expired = seat != seat_;
    seat_ = seat;
    auto left = sent + kPatience - shard_.now();
    if (left <= Duration(0)) return;  // too late to be of use
    patience_timer_ = shard_.after(left, [this] { change({}); });
    // A session that expired led until then at most.
    if (expired && standing_.leading) change({});
    change(standing);
  }

  void change(meta::Standing standing) {
    if (standing == standing_ || !running_) return;
    standing_ = standing;
    on_change_(standing);
  }

  SimCoordinator& service_;
  io::Shard& shard_;
  const HostPort user_;
  Callback<meta::Standing> on_change_;
  meta::Standing standing_;
  uint64_t seat_ = 0;
  bool running_ = false;
  bool over_ = false;
  io::TimerHandle beat_timer_;
  io::TimerHandle patience_timer_;
};

class SimCoordinator::SimElection final : public meta::Election {
 public:
  explicit SimElection(std::shared_ptr<Session> session) : session_(std::move(session)) {}
  ~SimElection() override { session_->close(); }
  void start(Callback<meta::Standing> on_change) override { session_->start(std::move(on_change)); }
  void stop(Task done) override { session_->stop(std::move(done)); }

 private:
  std::shared_ptr<Session> session_;
};

// A transaction is taken only from the session that leads (a check in the same transaction, as with
// ZooKeeper).
class SimCoordinator::SimStore final : public meta::StateStore {
 public:
  explicit SimStore(std::shared_ptr<Session> session) : session_(std::move(session)) {}
  ~SimStore() override { *alive_ = false; }

  void open(Callback<Result<Tree>> done) override {
    auto answer = std::make_shared<Callback<Result<Tree>>>(std::move(done));
    await([answer] { (*answer)(Status(Errc::kTimeout, "the coordinator is out of reach")); });
    call([this, answer, seat = session_->seat(), number = call_] {
      auto& service = session_->service();
      bool mine = !service.seats_.empty() && service.seats_.front().id == seat;
      auto tree = mine ? Result<Tree>(service.tree_)
                       : Result<Tree>(Status(Errc::kHoldByOthers, "another session leads"));
      session_->at_user([this, alive = alive_, answer, tree = std::move(tree), number]() mutable {
        if (*alive && land(number)) (*answer)(std::move(tree));
      });
    });
  }

  void write(std::vector<meta::StateOp> ops, Callback<Status> done) override {
    auto answer = std::make_shared<Callback<Status>>(std::move(done));
    await([answer] { (*answer)(Status(Errc::kTimeout, "the coordinator is out of reach")); });
    call([this, answer, ops = std::move(ops), seat = session_->seat(), number = call_] {
      auto status =
          session_->service().find(seat) != nullptr && session_->service().seats_.front().id == seat
              ? apply(ops)
              : Status(Errc::kHoldByOthers, "another session leads");
      session_->at_user([this, alive = alive_, answer, status, number] {
        if (*alive && land(number)) (*answer)(status);
      });
    });
  }

  void close(Task done) override {
    timer_.cancel();
    ++call_;
    session_->shard().post(std::move(done));
  }
  size_t max_transaction_bytes() const override { return kMaxTransaction; }

 private:
  // One call is under way at a time; it ends with its answer or with `give_up`.
  void await(Task give_up) {
    ++call_;
    timer_ = session_->shard().after(kWriteTimeout, [this, give_up = std::move(give_up)] {
      ++call_;
      give_up();
    });
  }
  bool land(uint64_t number) {
    if (number != call_) return false;
    ++call_;
    timer_.cancel();
    return true;
  }
  void call(Task task) {
    session_->at_service([alive = alive_, task = std::move(task)] {
      if (*alive) task();  // what a dead process had sent is counted as lost
    });
  }
  Status apply(const std::vector<meta::StateOp>& ops) {
    auto& service = session_->service();
    ++service.writes_;
    for (const auto& op : ops) {
      if (op.kind == meta::StateOp::Kind::kPut) {
        service.tree_[op.path] = op.data;
      } else {
        service.tree_.erase(op.path);
      }
    }
    return {};
  }

  std::shared_ptr<Session> session_;
  uint64_t call_ = 0;
  io::TimerHandle timer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

SimCoordinator::Seat* SimCoordinator::find(uint64_t id) {
  auto found =
      std::find_if(seats_.begin(), seats_.end(), [id](const Seat& s) { return s.id == id; });
  return found == seats_.end() ? nullptr : &*found;
}

void SimCoordinator::expire() {
  std::erase_if(seats_, [this](const Seat& s) { return world_.now() - s.heard > kSessionTimeout; });
}

HostPort SimCoordinator::leader() const {
  return seats_.empty() ? HostPort() : seats_.front().user;
}

std::shared_ptr<SimCoordinator::Session> SimCoordinator::connect(SimRuntime& runtime,
                                                                 HostPort user) {
  return std::make_shared<Session>(*this, runtime, user);
}

std::unique_ptr<meta::Election> SimCoordinator::make_election(std::shared_ptr<Session> session) {
  return std::make_unique<SimElection>(std::move(session));
}

std::unique_ptr<meta::StateStore> SimCoordinator::make_store(std::shared_ptr<Session> session) {
  return std::make_unique<SimStore>(std::move(session));
}

}  // namespace markab::sim
