#include "random_world.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace markab::pacifica {

namespace {

constexpr int kSteps = 1500;
constexpr int kHealRounds = 400;

std::string text_of(const Mutation& m) {
  return fmt::format("{} at {} us", *m.payload, m.timestamp_us);
}

}  // namespace

RandomWorld::RandomWorld(uint64_t seed, Planted planted)
    : seed_(seed),
      planted_(planted),
      tracing_(std::getenv("MARKAB_TRACE") != nullptr),
      random_(seed) {
  // Each seed has its own weather.
  loss_ = chance(0.3) ? 0 : 0.2 * static_cast<double>(random_.below(100)) / 100;
  duplicate_ = chance(0.5) ? 0 : 0.1;
  crash_ = chance(0.2)
               ? 0
               : (chance(0.5) ? 0.003 : 0.02) * static_cast<double>(random_.below(100)) / 100;
  hand_over_ = chance(0.5) ? 0 : 0.03;
  delay_ = chance(0.5) ? 0 : 0.02;
  suspect_ = chance(0.4) ? 0 : chance(0.5) ? 0.02 : 0.15;
  slow_meta_ = chance(0.6) ? 0 : 0.4;
  disorder_ = chance(0.3) ? 0 : 0.5;
  options_.max_uncommitted = 4 + random_.below(12);
  options_.cache_mutations = chance(0.5) ? 3 + random_.below(20) : 1000;
  options_.max_message_bytes = chance(0.5) ? 150 : 1 << 20;
  options_.max_messages_in_flight = 1 + random_.below(6);
  options_.min_replica_count = chance(0.7) ? 1 : 0;
  int count = 3 + static_cast<int>(random_.below(3));
  membership_.ballot = 1;
  membership_.max_replica_count =
      chance(0.7) ? std::min(3, count)
                  : 1 + static_cast<int32_t>(random_.below(static_cast<uint64_t>(count)));
  for (int i = 1; i <= count; ++i) {
    HostPort self = node(i);
    auto& n = nodes_[self];
    n.replica.self = self;
    n.replica.options = options_;
    n.replica.options.self = self;
    n.replica.lies_about_durability = planted == Planted::kAckBeforeDurable;
    n.replica.forgets_ballot = planted == Planted::kForgetBallot;
    if (i == 1) {
      membership_.primary = self;
    } else if (i <= membership_.max_replica_count) {
      membership_.secondaries.push_back(self);
    }
    restart(n);
  }
  primary_incarnation_ = 1;
  for (auto& [self, n] : nodes_) network_.push_back(ConfigMessage{self, membership_});
}

std::string RandomWorld::run() {
  for (step_number_ = 0; step_number_ < kSteps && failure_.empty(); ++step_number_) step();
  if (failure_.empty()) heal();
  if (failure_.empty()) return {};
  return fmt::format("seed {} step {}: {}", seed_, step_number_, failure_);
}

void RandomWorld::trace(const Node& n, const std::string& what) {
  if (tracing_)
    std::fprintf(stderr, "%d %s.%d: %s\n", step_number_, name(n.replica.self).c_str(),
                 n.replica.incarnation, what.c_str());
}

void RandomWorld::fail(const std::string& what) {
  if (failure_.empty()) failure_ = what;
}

RandomWorld::Node& RandomWorld::random_node() {
  auto it = nodes_.begin();
  std::advance(it, static_cast<int>(random_.below(nodes_.size())));
  return it->second;
}

// --- what happens

void RandomWorld::step() {
  now_ = now_ + std::chrono::microseconds(random_.below(8000));
  auto& n = random_node();
  auto dice = random_.below(100);
  if (dice < 50) {
    for (auto count = 1 + random_.below(4); count > 0; --count) deliver_some();
  } else if (dice < 62) {
    if (n.replica.core != nullptr) propose(n);
  } else if (dice < 76) {
    if (n.replica.core != nullptr && n.replica.durable < n.replica.log.size()) {
      auto before = n.replica.durable;
      n.replica.sync(before + 1 + random_.below(n.replica.log.size() - before), now_);
      if (tracing_)
        trace(n, fmt::format("{} of {} records durable", n.replica.durable, n.replica.log.size()));
      check_log(n, before);
      finish(n);
    }
  } else if (dice < 86) {
    if (n.replica.core != nullptr) {
      n.replica.core->on_tick(now_, n.replica.actions);
      finish(n);
    }
  } else if (dice < 90) {
    if (n.replica.core != nullptr) maintain(n);
  } else if (dice < 92) {
    if (n.replica.core != nullptr && n.replica.durable == n.replica.log.size())
      n.replica.flush_and_trim();
  } else if (dice < 96) {
    meta_step();
  } else if (n.replica.core == nullptr) {
    restart(n);
  }
  if (chance(crash_)) crash(random_node());
  if (!stuck_.empty() && chance(0.01)) {
    auto at = static_cast<ptrdiff_t>(random_.below(stuck_.size()));
    network_.push_back(std::move(stuck_[static_cast<size_t>(at)]));
    stuck_.erase(stuck_.begin() + at);
  }
  for (auto& [self, each] : nodes_) {
    if (each.replica.core == nullptr) continue;
    check_reads(each);
    check_bounds(each);
  }
}

void RandomWorld::deliver_some() {
  if (network_.empty()) return;
  size_t at = 0;
  if (faults_ && chance(disorder_)) at = random_.below(std::min<size_t>(network_.size(), 8));
  Message message = std::move(network_[at]);
  network_.erase(network_.begin() + static_cast<ptrdiff_t>(at));
  if (faults_ && chance(std::holds_alternative<AskMessage>(message) ? slow_meta_ : delay_)) {
    stuck_.push_back(std::move(message));
    return;
  }
  if (faults_ && chance(duplicate_)) {
    bool may_come_twice = std::holds_alternative<PrepareMessage>(message) ||
                          std::holds_alternative<ConfigMessage>(message) ||
                          std::holds_alternative<AckMessage>(message);
    if (may_come_twice) network_.push_back(message);
  }
  if (faults_ && chance(loss_)) {
    if (auto* p = std::get_if<PrepareMessage>(&message)) {
      network_.push_back(
          AckMessage{p->to, p->from, p->from_incarnation, p->token, {}, true, false});
    } else if (auto* ack = std::get_if<AckMessage>(&message)) {
      if (ack->lost) return deliver(std::move(message));  // a local timer
      ack->lost = true;
      network_.push_back(std::move(message));
    } else if (auto* ask = std::get_if<AskMessage>(&message)) {
      if (!ask->answered) {
        network_.push_back(AnswerMessage{ask->from, ask->incarnation, Errc::kTimeout, {}});
        ask->answered = true;
        if (chance(0.5)) network_.push_back(std::move(message));  // it may arrive still
      }
    } else if (auto* answer = std::get_if<AnswerMessage>(&message)) {
      answer->error = Errc::kTimeout;
      return deliver(std::move(message));
    }
    return;
  }
  deliver(std::move(message));
}

void RandomWorld::deliver(Message message) {
  std::visit([this](auto& m) { on(m); }, message);
}

void RandomWorld::on(PrepareMessage& m) {
  auto& n = nodes_.at(m.to);
  if (n.replica.core == nullptr) {
    network_.push_back(
        AckMessage{m.to, m.from, m.from_incarnation, m.token, {}, true, chance(0.3)});
    return;
  }
  auto token = ++n.last_token;
  n.prepares.emplace(token, std::make_pair(m, false));
  n.replica.core->on_prepare(m.from, token, m.prepare, now_, n.replica.actions);
  check_session(n, m.prepare);
  finish(n);
}

void RandomWorld::on(AckMessage& m) {
  auto& n = nodes_.at(m.to);
  if (n.replica.core == nullptr || n.replica.incarnation != m.to_incarnation) return;
  if (m.lost) {
    bool certain = m.certain && !alive(m.from);
    n.replica.core->on_prepare_failed(m.from, m.token, certain, now_, n.replica.actions);
  } else {
    n.replica.core->on_prepare_ack(m.from, m.token, m.ack, now_, n.replica.actions);
  }
  finish(n);
}

void RandomWorld::on(ConfigMessage& m) {
  auto& n = nodes_.at(m.to);
  if (n.replica.core == nullptr) return;
  n.replica.core->on_membership(m.membership, now_, n.replica.actions);
  finish(n);
}

void RandomWorld::on(AnswerMessage& m) {
  auto& n = nodes_.at(m.to);
  if (n.replica.core == nullptr || n.replica.incarnation != m.incarnation) return;
  n.asking = false;
  n.replica.core->on_meta_answer(m.error, m.current, now_, n.replica.actions);
  finish(n);
}

void RandomWorld::on(InviteMessage& m) {
  auto& n = nodes_.at(m.to);
  if (n.replica.core == nullptr || n.replica.incarnation != m.to_incarnation) return;
  if (n.learner_signature == m.signature) return;
  if (n.replica.core->start_learning(m.membership, m.signature, n.replica.actions) == Errc::kOk) {
    n.learner_signature = n.session = m.signature;
    n.teacher = m.membership.primary;
  }
  finish(n);
}

void RandomWorld::on(LearnMessage& m) {
  auto& n = nodes_.at(m.primary);
  auto* core = n.replica.core.get();
  if (core == nullptr || core->role() != Role::kPrimary) return;
  auto invited = n.invitations.find(m.learner);
  if (invited == n.invitations.end() || invited->second != m.signature) return;
  LearnReply reply{m.learner, m.learner_incarnation, m.signature, false, {}, 0};
  if (m.position > core->last_committed()) {
    if (m.position <= core->last_prepared()) return;  // asked again
  } else if (m.position + 1 >= core->first_cached()) {
    auto error = core->add_learner(m.learner, m.signature, m.position, now_, n.replica.actions);
    finish(n);
    if (error != Errc::kOk) return;
    reply.stream = true;
  } else {
    reply.state = n.replica.store;
    reply.up_to = n.replica.applied;
  }
  network_.push_back(std::move(reply));
}

void RandomWorld::on(LearnReply& m) {
  auto& n = nodes_.at(m.learner);
  if (n.replica.core == nullptr || n.replica.incarnation != m.learner_incarnation) return;
  if (n.replica.core->role() != Role::kLearner || n.learner_signature != m.signature) return;
  if (m.stream) {
    n.replica.core->begin_streaming();
    n.learner_signature = 0;
  } else {
    n.replica.install(m.state, m.up_to);
    n.replica.sync_all(now_);
    ++counters_.learned;
  }
  finish(n);
}

void RandomWorld::propose(Node& n) {
  for (auto count = 1 + random_.below(3); count > 0; --count) {
    if (n.replica.core->can_propose() != Errc::kOk) return;
    auto content = ++last_content_;
    n.replica.core->propose(std::make_shared<const std::string>(fmt::format("write {}", content)),
                            content, now_, n.replica.actions);
  }
  if (chance(0.7)) finish(n);
}

void RandomWorld::crash(Node& n) {
  auto& r = n.replica;
  if (r.core == nullptr) return;
  ++counters_.crashes;
  trace(n, "crashes");
  auto before = r.durable;
  r.crash(random_.below(3));
  check_log(n, before);
  // A host that reboots uncleanly under log_sync = interval has lost acknowledged records, and
  // knows that it may.
  bool spare = is_member(r.self) && r.self != membership_.primary && alive(membership_.primary) &&
               nodes_.at(membership_.primary).replica.incarnation == primary_incarnation_ &&
               suspect_ == 0;
  bool others_trusted = std::all_of(nodes_.begin(), nodes_.end(),
                                    [&](const auto& e) { return e.second.replica.trusted; });
  if (spare && others_trusted && chance(0.3)) {
    r.log.resize(r.log.size() - std::min<size_t>(r.log.size(), random_.below(4)));
    r.durable = r.log.size();
    r.trusted = planted_ == Planted::kUntrustedTrusted;
  }
  if (planted_ == Planted::kRecoverNothing) {
    auto state = r.replay(r.log.size());
    r.log.push_back(
        {true, {state.ballot, state.committed, 0, nullptr}, state.member, state.committed});
    r.durable = r.log.size();
  }
  for (const auto& [token, pending] : n.prepares) {  // connections break, or time out
    const auto& asked = pending.first;
    if (chance(0.8))
      network_.push_back(
          AckMessage{r.self, asked.from, asked.from_incarnation, asked.token, {}, true, false});
  }
  n.prepares.clear();
  n.invitations.clear();
  n.learner_signature = n.session = 0;
  n.asking = false;
}

void RandomWorld::restart(Node& n) {
  n.replica.start();
  const auto& core = *n.replica.core;
  if (tracing_)
    trace(n, fmt::format("starts with ballot {} committed {} prepared {}", core.ballot(),
                         core.last_committed(), core.last_prepared()));
}

// What the server around a replica does now and then: config sync, learning.
void RandomWorld::maintain(Node& n) {
  auto* core = n.replica.core.get();
  network_.push_back(ConfigMessage{n.replica.self, membership_});
  if (core->role() == Role::kLearner && n.learner_signature != 0) {
    network_.push_back(LearnMessage{n.replica.self, n.replica.incarnation, n.teacher,
                                    n.learner_signature, core->last_committed()});
  }
  if (core->role() != Role::kPrimary) return;
  if (!faults_ || chance(0.1)) core->check_group(now_, n.replica.actions);
  for (const auto& peer : core->peers()) {  // an operator, or a learner that was not heard of
    if (faults_ && peer.learner && chance(0.1)) core->drop_learner(peer.node, n.replica.actions);
  }
  auto peers = core->peers();
  if (peers.size() + 1 >= static_cast<size_t>(membership_.max_replica_count)) return;
  auto& other = random_node();
  HostPort to = other.replica.self;
  bool known = to == n.replica.self ||
               std::any_of(peers.begin(), peers.end(), [&](auto& p) { return p.node == to; });
  if (known || other.replica.core == nullptr) return;
  auto floor = static_cast<uint64_t>(core->ballot()) << 32;
  n.last_signature = std::max(n.last_signature, floor) + 1;
  n.invitations[to] = n.last_signature;
  network_.push_back(
      InviteMessage{to, other.replica.incarnation, core->membership(), n.last_signature});
}

void RandomWorld::finish(Node& n) {
  auto& r = n.replica;
  if (!faults_ || chance(0.8)) r.core->flush(now_, r.actions);
  for (size_t i = 0; i < r.actions.size(); ++i) act(n, r.actions[i]);
  r.actions.clear();
}

void RandomWorld::act(Node& n, const Action& action) {
  if (tracing_) trace(n, to_text(action));
  n.replica.perform(action);
  if (auto* append = std::get_if<AppendMutation>(&action)) {
    proposed_at_.try_emplace(text_of(append->mutation), append->mutation.ballot);
  }
  if (auto* send = std::get_if<SendPrepare>(&action)) send_prepare(n, *send);
  if (auto* ack = std::get_if<SendAck>(&action)) send_ack(n, *ack);
  if (auto* commit = std::get_if<Commit>(&action)) check_commit(n, commit->mutation);
  if (auto* change = std::get_if<RoleChanged>(&action)) check_role(n, *change);
  if (std::holds_alternative<RelearnNeeded>(action)) ++counters_.relearn;
  if (std::holds_alternative<Abandon>(action)) ++counters_.abandoned;
  if (auto* dropped = std::get_if<LearnerDropped>(&action)) n.invitations.erase(dropped->node);
  if (auto* ask = std::get_if<AskMeta>(&action)) {
    if (n.asking) fail(fmt::format("{} asks for two changes at once (S14)", name(n.replica.self)));
    n.asking = true;
    ++counters_.asks;
    network_.push_back(AskMessage{n.replica.self, n.replica.incarnation, *ask});
  }
}

void RandomWorld::send_prepare(Node& n, const SendPrepare& send) {
  Prepare prepare = send.prepare;
  for (const auto& m : prepare.mutations) check_content(m);
  if (n.replica.replay(n.replica.durable).ballot < prepare.membership.ballot &&
      planted_ != Planted::kAckBeforeDurable) {
    fail(fmt::format("{} sends under ballot {} before it is durable (S2)", name(n.replica.self),
                     prepare.membership.ballot));
  }
  if (planted_ == Planted::kClaimCommitted) prepare.reign_committed = prepare.reign_prepared;
  network_.push_back(PrepareMessage{n.replica.self, n.replica.incarnation, send.to, send.token,
                                    std::move(prepare)});
}

void RandomWorld::send_ack(Node& n, const SendAck& send) {
  auto found = n.prepares.find(send.token);
  if (found == n.prepares.end() || found->second.second) {
    return fail(fmt::format("{} answers a prepare twice", name(n.replica.self)));
  }
  const auto& asked = found->second.first;
  PrepareAck ack = send.ack;
  check_ack(n, ack);
  if (planted_ == Planted::kInflateAck && ack.error == Errc::kOk) ++ack.prepared;
  network_.push_back(
      AckMessage{n.replica.self, asked.from, asked.from_incarnation, asked.token, ack});
  n.prepares.erase(found);
}

// --- the meta server

bool RandomWorld::is_member(HostPort n) const {
  const auto& s = membership_.secondaries;
  return membership_.primary == n || std::find(s.begin(), s.end(), n) != s.end();
}

void RandomWorld::store(Membership m) {
  ++m.ballot;
  bool kept = m.primary == membership_.primary;
  membership_ = std::move(m);
  if (tracing_) std::fprintf(stderr, "%d meta: %s\n", step_number_, to_text(membership_).c_str());
  if (!kept && membership_.primary)
    primary_incarnation_ = nodes_.at(membership_.primary).replica.incarnation;
  for (auto& [self, n] : nodes_) {
    if (is_member(self) || chance(0.5)) network_.push_back(ConfigMessage{self, membership_});
  }
}

// A living secondary whose log is whole takes over.
bool RandomWorld::elect(Membership& m) {
  std::vector<HostPort> candidates;
  for (HostPort s : m.secondaries) {
    if (alive(s) && nodes_.at(s).replica.trusted) candidates.push_back(s);
  }
  if (candidates.empty()) return false;
  m.primary = candidates[random_.below(candidates.size())];
  std::erase(m.secondaries, m.primary);
  return true;
}

bool RandomWorld::apply_change(const AskMeta& ask) {
  Membership m = membership_;
  auto& s = m.secondaries;
  bool secondary = std::find(s.begin(), s.end(), ask.node) != s.end();
  switch (ask.kind) {
    case ChangeKind::kAddSecondary:
      if (secondary || m.primary == ask.node) return false;
      check_holds_all(nodes_.at(ask.node), "made a secondary (S12)");
      ++counters_.upgrades;
      s.push_back(ask.node);
      break;
    case ChangeKind::kRemove:
      if (!secondary) return false;
      std::erase(s, ask.node);
      break;
    case ChangeKind::kDowngradeSelf:
      if (secondary) {
        std::erase(s, ask.node);
      } else if (m.primary != ask.node || !elect(m)) {
        return false;
      }
      break;
    case ChangeKind::kNextBallot:
      if (m.primary != ask.node) return false;
      break;
  }
  if (ask.kind == ChangeKind::kNextBallot)
    primary_incarnation_ = nodes_.at(m.primary).replica.incarnation;
  store(std::move(m));
  return true;
}

void RandomWorld::on(AskMessage& m) {
  Errc error = Errc::kOk;
  bool done = m.ask.wanted == membership_;
  // A request of a process that is gone is served like any other: it may have been under way for
  // long.
  if (!done && (m.ask.wanted.ballot != membership_.ballot + 1 || !apply_change(m.ask)))
    error = Errc::kInvalidVersion;
  if (!m.answered) network_.push_back(AnswerMessage{m.from, m.incarnation, error, membership_});
}

void RandomWorld::meta_step() {
  meta_watch();
  if (!faults_ || !alive(membership_.primary)) return;
  auto& primary = nodes_.at(membership_.primary);
  if (chance(suspect_)) {  // a lease ran out; or a bump for no reason
    Membership m = membership_;
    bool keep = chance(0.5);
    if (chance(0.2)) {
      store(std::move(m));
    } else if (elect(m)) {
      if (keep) m.secondaries.push_back(membership_.primary);
      store(std::move(m));
    }
  } else if (chance(hand_over_) &&
             primary.replica.core->role() == Role::kPrimary) {  // a planned hand-over
    primary.replica.core->step_down(primary.replica.actions);
    finish(primary);
    ++counters_.steps_down;
    if (chance(0.3)) return;  // forgotten: the primary has to help itself
    Membership m = membership_;
    if (!elect(m)) return;
    m.secondaries.push_back(membership_.primary);
    store(std::move(m));
  }
}

// Deaths and restarts.
void RandomWorld::meta_watch() {
  Membership m = membership_;
  if (!alive(m.primary)) {
    if (elect(m)) store(std::move(m));
    return;
  }
  auto& primary = nodes_.at(m.primary);
  if (primary.replica.incarnation !=
      primary_incarnation_) {  // S2: it gets a new ballot, or somebody else leads
    if (chance(0.5) && elect(m)) return store(std::move(m));
    primary_incarnation_ = primary.replica.incarnation;
    return store(membership_);
  }
  for (HostPort s : m.secondaries) {
    if (alive(s)) continue;
    primary.replica.core->on_node_dead(s, now_, primary.replica.actions);
    finish(primary);
    return;
  }
}

// --- the end

void RandomWorld::heal() {
  faults_ = false;
  for (auto& message : stuck_) network_.push_back(std::move(message));
  stuck_.clear();
  for (int round = 0; round < kHealRounds && failure_.empty(); ++round, ++step_number_) {
    now_ = now_ + std::chrono::milliseconds(50);
    for (auto& [self, n] : nodes_) {
      if (n.replica.core == nullptr) restart(n);
    }
    meta_watch();
    for (auto& [self, n] : nodes_) {
      if (round % 3 == 0) maintain(n);
      n.replica.core->on_tick(now_, n.replica.actions);
      finish(n);
    }
    for (int i = 0; i < 200 && !network_.empty(); ++i) {
      deliver_some();
      for (auto& [self, n] : nodes_) {
        if (n.replica.durable == n.replica.log.size()) continue;
        n.replica.sync_all(now_);
        finish(n);
      }
    }
    if (settled()) return check_end();
  }
  std::string state;
  for (auto& [self, n] : nodes_) {
    const auto& core = *n.replica.core;
    state += fmt::format("; {} {} ballot {} prepared {} committed {}{}", name(self),
                         to_text(core.role()), core.ballot(), core.last_prepared(),
                         core.last_committed(), core.idle() ? "" : " busy");
  }
  fail("no progress after the faults ended: " + to_text(membership_) + state);
}

// Full strength, and everything that was ever prepared is committed everywhere.
bool RandomWorld::settled() {
  if (membership_.secondaries.size() + 1 < static_cast<size_t>(membership_.max_replica_count))
    return false;
  auto& primary = nodes_.at(membership_.primary);
  if (primary.replica.core->role() != Role::kPrimary || !primary.replica.core->idle()) return false;
  if (last_content_ % 2 == 0) {  // one more write, to see that it goes through
    if (primary.replica.core->can_propose() == Errc::kOk) {
      ++last_content_;
      primary.replica.core->propose(std::make_shared<const std::string>("the last"), last_content_,
                                    now_, primary.replica.actions);
      finish(primary);
      last_content_ += last_content_ % 2 == 0 ? 1 : 0;
    }
    return false;
  }
  for (HostPort s : membership_.secondaries) {
    const auto& core = *nodes_.at(s).replica.core;
    if (core.role() != Role::kSecondary || core.ballot() != membership_.ballot) return false;
    if (core.last_committed() != primary.replica.core->last_prepared()) return false;
  }
  return primary.replica.core->last_committed() == primary.replica.core->last_prepared();
}

// --- the checkers

// S2: one content for each (ballot, decree), ever and anywhere.
void RandomWorld::check_content(const Mutation& m) {
  auto [at, fresh] = contents_.try_emplace({m.ballot, m.decree}, text_of(m));
  if (!fresh && at->second != text_of(m)) {
    fail(fmt::format("{}@{} is '{}' and '{}' (S2)", m.decree, m.ballot, at->second, text_of(m)));
  }
}

// Of the records that became durable.
void RandomWorld::check_log(const Node& n, size_t from) {
  for (size_t i = from; i < n.replica.durable; ++i) {
    if (!n.replica.log[i].reign) check_content(n.replica.log[i].mutation);
  }
}

void RandomWorld::check_commit(Node& n, const Mutation& m) {
  auto [at, fresh] = committed_.try_emplace(m.decree, text_of(m));
  if (!fresh && at->second != text_of(m)) {
    fail(fmt::format("{} commits {} as '{}', but '{}' was committed", name(n.replica.self),
                     m.decree, text_of(m), at->second));
  }
  check_not_revived(m);
  const auto& core = *n.replica.core;
  if (n.replica.replay(n.replica.durable).ballot < core.ballot() && planted_ == Planted::kNothing) {
    fail(fmt::format("{} commits under ballot {} before it is durable (S1)", name(n.replica.self),
                     core.ballot()));
  }
  if (core.role() != Role::kPrimary) {
    if (m.decree > acknowledged_) {
      fail(fmt::format("{} commits {}, which no primary has committed (S3)", name(n.replica.self),
                       m.decree));
    }
    return;
  }
  acknowledged_ = std::max(acknowledged_, m.decree);
  reigns_[leading_[n.replica.self]].committed = true;
  ++counters_.committed;
  if (core.ballot() != membership_.ballot) return;
  // S6: it is on the disk of every member of the stored membership.
  for (auto& [self, each] : nodes_) {
    if (!is_member(self) || !each.replica.trusted) continue;
    auto held = each.replica.content(each.replica.replay(each.replica.durable), m.decree);
    if (!held || text_of(*held) != text_of(m)) {
      fail(fmt::format("{} commits {}, which is not durable at {} (S6)", name(n.replica.self),
                       m.decree, name(self)));
    }
  }
}

// 04 §1.14, row 3: what a reign did not inherit is void once its members have heard of it, whoever
// still holds it.
void RandomWorld::check_not_revived(const Mutation& m) {
  auto proposed = proposed_at_.find(text_of(m));
  if (proposed == proposed_at_.end()) return;
  for (const auto& [ballot, reign] : reigns_) {
    if (reign.committed && proposed->second < ballot && m.decree > reign.prepared) {
      fail(fmt::format("{}, proposed at ballot {}, is revived after the reign of ballot {}",
                       text_of(m), proposed->second, ballot));
    }
  }
}

// S1, S15: what is acknowledged is on the disk, and so is the ballot.
void RandomWorld::check_ack(Node& n, const PrepareAck& ack) {
  if (ack.error != Errc::kOk || planted_ == Planted::kAckBeforeDurable) return;
  auto state = n.replica.replay(n.replica.durable);
  if (state.ballot < ack.ballot) {
    fail(fmt::format("{} answers under ballot {}, its log knows {} (S1)", name(n.replica.self),
                     ack.ballot, state.ballot));
  }
  for (Decree d = std::max<Decree>(1, ack.prepared - 40); d <= ack.prepared; ++d) {
    if (!n.replica.content(state, d)) {
      fail(fmt::format("{} acknowledges {}, but {} is not durable (S15)", name(n.replica.self),
                       ack.prepared, d));
    }
  }
}

// S3: whoever leads or joins has all that any client was told.
void RandomWorld::check_holds_all(const Node& n, const std::string& when) {
  auto state = n.replica.replay(n.replica.log.size());
  for (Decree d = 1; d <= acknowledged_; ++d) {
    auto held = n.replica.content(state, d);
    if (!held || text_of(*held) != committed_.at(d)) {
      return fail(fmt::format("{} has not got {} when it is {}", name(n.replica.self), d, when));
    }
  }
}

void RandomWorld::check_role(Node& n, const RoleChanged& change) {
  auto& r = n.replica;
  if (change.role == Role::kSecondary) r.trusted = true;
  if (change.role != Role::kPrimary) return;
  auto [at, fresh] = primaries_.try_emplace(change.ballot, r.self);
  // Another process of the same replica may, if nothing under that ballot left the first one: see
  // check_content().
  if (!fresh && at->second != r.self) {
    fail(fmt::format("ballot {} has two primaries, {} and {}", change.ballot, name(at->second),
                     name(r.self)));
  }
  ++(change.continues ? counters_.continued : counters_.reigns);
  if (!change.continues) {
    reigns_[change.ballot] = {r.core->last_prepared(), false};
    leading_[r.self] = change.ballot;
  }
  if (change.ballot == membership_.ballot) check_holds_all(n, "made primary (S3)");
}

// S13: what was sent to a learner is taken in that session only, what was sent to a member by a
// member only. Called before the actions of that Prepare are done.
void RandomWorld::check_session(const Node& n, const Prepare& prepare) {
  bool takes = false;
  for (const auto& action : n.replica.actions) {
    auto* ack = std::get_if<SendAck>(&action);
    takes |= std::holds_alternative<AppendMutation>(action) ||
             (ack != nullptr && ack->ack.error == Errc::kOk);
  }
  bool learns = n.replica.core->role() == Role::kLearner;
  if (!takes || (prepare.signature == 0 ? !learns : learns && prepare.signature == n.session))
    return;
  fail(fmt::format("{} takes a prepare of session {} as {} of session {} (S13)",
                   name(n.replica.self), prepare.signature, learns ? "learner" : "member",
                   n.session));
}

// S8: the reads that the group's present primary would serve reflect everything that any client was
// told.
void RandomWorld::check_reads(const Node& n) {
  const auto& core = *n.replica.core;
  if (!core.reads_allowed() || core.ballot() != membership_.ballot) return;
  if (core.last_committed() < acknowledged_) {
    fail(fmt::format("{} would serve reads at {}, clients know of {} (S8)", name(n.replica.self),
                     core.last_committed(), acknowledged_));
  }
}

void RandomWorld::check_bounds(const Node& n) {
  const auto& core = *n.replica.core;
  auto bound = options_.max_uncommitted + options_.cache_mutations;
  if (core.last_prepared() - core.last_committed() > static_cast<Decree>(bound)) {
    fail(fmt::format("{} holds {} uncommitted mutations (S10)", name(n.replica.self),
                     core.last_prepared() - core.last_committed()));
  }
}

void RandomWorld::check_end() {
  const auto& primary = nodes_.at(membership_.primary).replica;
  if (primary.applied < acknowledged_) fail("acknowledged writes are lost");
  for (auto& [self, n] : nodes_) {
    if (!is_member(self)) continue;
    if (n.replica.applied != primary.applied)
      fail(name(self) + " has not applied what the primary has");
    for (const auto& [decree, mutation] : n.replica.store) {
      if (text_of(mutation) != committed_.at(decree)) {
        fail(fmt::format("{} differs at {}: '{}', not '{}'", name(self), decree, text_of(mutation),
                         committed_.at(decree)));
      }
    }
  }
}

}  // namespace markab::pacifica
