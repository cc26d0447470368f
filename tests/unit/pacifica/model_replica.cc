#include "model_replica.h"

#include <algorithm>

namespace markab::pacifica {

namespace {

std::string names(const std::vector<HostPort>& nodes) {
  std::string text;
  for (HostPort n : nodes) text += (text.empty() ? "" : ",") + name(n);
  return text.empty() ? "-" : text;
}

std::string text_of(const Mutation& m) {
  return fmt::format("{}@{} {}", m.decree, m.ballot, m.payload == nullptr ? "?" : *m.payload);
}

struct Printer {
  std::string operator()(const AppendReign& a) const {
    return fmt::format("log reign {}, keep up to {}{}", a.ballot, a.keep_up_to,
                       a.member == a.ballot ? "" : fmt::format(", was a member at {}", a.member));
  }
  std::string operator()(const AppendMutation& a) const {
    return fmt::format("log {}", text_of(a.mutation));
  }
  std::string operator()(const SendPrepare& a) const {
    return fmt::format("-> {}: {}", name(a.to), to_text(a.prepare));
  }
  std::string operator()(const SendAck& a) const {
    return fmt::format("answer: {}", to_text(a.ack));
  }
  std::string operator()(const Commit& a) const {
    return fmt::format("commit {}", text_of(a.mutation));
  }
  std::string operator()(const Abandon& a) const {
    return fmt::format("abandon {} and above", a.from);
  }
  std::string operator()(const AskMeta& a) const {
    static constexpr const char* kKinds[] = {"add", "remove", "downgrade-self", "next-ballot"};
    return fmt::format("ask-meta {} {}: {}", kKinds[static_cast<int>(a.kind)], name(a.node),
                       to_text(a.wanted));
  }
  std::string operator()(const RoleChanged& a) const {
    return fmt::format("{} at ballot {}{}", to_text(a.role), a.ballot,
                       a.continues ? ", as before" : "");
  }
  std::string operator()(const LearnerDropped& a) const {
    return fmt::format("drops learner {}: {}", name(a.node), a.reason);
  }
  std::string operator()(const RelearnNeeded& a) const {
    return fmt::format("must learn anew: {}", a.reason);
  }
};

}  // namespace

std::string_view to_text(Role role) {
  static constexpr std::string_view kRoles[] = {"inactive", "learner", "secondary", "primary",
                                                "error"};
  return kRoles[static_cast<int>(role)];
}

std::string to_text(const Membership& m) {
  return fmt::format("ballot {} = {} + {}", m.ballot, name(m.primary), names(m.secondaries));
}

std::string to_text(const Prepare& p) {
  std::string run;
  for (const auto& m : p.mutations) run += (run.empty() ? "" : ", ") + text_of(m);
  return fmt::format("prepare ballot {} reign {} ({}/{}) after {} [{}] committed {}{}",
                     p.membership.ballot, p.reign, p.reign_committed, p.reign_prepared, p.previous,
                     run, p.committed,
                     p.signature == 0 ? "" : fmt::format(" signature {}", p.signature));
}

std::string to_text(const PrepareAck& a) {
  return fmt::format("{} ballot {} prepared {} committed {}", errc_name(a.error), a.ballot,
                     a.prepared, a.committed);
}

std::string to_text(const Action& action) { return std::visit(Printer(), action); }

void ModelReplica::start() {
  MARKAB_ASSERT(core == nullptr, "started twice");
  ++incarnation;
  State state = replay(log.size());
  durable = log.size();  // the log syncs what it replays
  uncounted = static_cast<int64_t>(durable);

  for (Decree d = flushed + 1; d <= state.committed; ++d) {
    store[d] = state.prepared.at(d);
    state.prepared.erase(d);
  }
  applied = std::max(flushed, state.committed);
  std::vector<Mutation> suffix;
  for (auto& [decree, mutation] : state.prepared) {
    if (decree == applied + 1 + static_cast<Decree>(suffix.size())) suffix.push_back(mutation);
  }
  if (forgets_ballot) {
    for (auto& m : suffix) m.ballot = 0;
    state.ballot = state.member = 0;
  }
  core = std::make_unique<ReplicaCore>(options);
  core->recovered(state.ballot, state.member, applied, std::move(suffix), trusted);
}

void ModelReplica::crash(size_t kept) {
  core.reset();
  actions.clear();
  log.resize(std::min(log.size(), durable + kept));
  durable = log.size();
  store.erase(store.upper_bound(flushed), store.end());
  applied = flushed;
}

void ModelReplica::perform(const Action& action) {
  if (auto* reign = std::get_if<AppendReign>(&action)) {
    LogRecord record{true, {}, reign->member, core->last_committed()};
    record.mutation.ballot = reign->ballot;
    record.mutation.decree = reign->keep_up_to;
    log.push_back(std::move(record));
  } else if (auto* append = std::get_if<AppendMutation>(&action)) {
    log.push_back({false, append->mutation, 0, append->committed});
  } else if (auto* commit = std::get_if<Commit>(&action)) {
    MARKAB_ASSERT(commit->mutation.decree == applied + 1, "S4", commit->mutation.decree, applied);
    applied = commit->mutation.decree;
    store[applied] = commit->mutation;
  }
}

void ModelReplica::sync(size_t count, Instant now) {
  durable = std::max(durable, std::min(count, log.size()));
  auto told = static_cast<int64_t>(lies_about_durability ? log.size() : durable) - uncounted;
  core->on_durable(static_cast<uint64_t>(std::max<int64_t>(told, 0)), now, actions);
}

void ModelReplica::flush_and_trim() {
  MARKAB_ASSERT(durable == log.size(), "a flush ahead of the log");
  flushed = applied;
  State state = replay(log.size());
  base_ballot = state.ballot;
  base_member = state.member;
  uncounted -= static_cast<int64_t>(log.size());
  log.clear();
  for (auto& [decree, mutation] : state.prepared)
    log.push_back({false, mutation, 0, state.committed});
  uncounted += static_cast<int64_t>(log.size());
  durable = log.size();
}

void ModelReplica::install(const std::map<Decree, Mutation>& state, Decree up_to) {
  State before = replay(log.size());
  base_ballot = before.ballot;  // outlive the log
  base_member = before.member;
  uncounted -= static_cast<int64_t>(log.size());
  log.clear();
  durable = 0;
  store.clear();
  for (Decree d = 1; d <= up_to; ++d) store[d] = state.at(d);
  applied = flushed = up_to;
  trusted = true;
  core->learned(up_to);
}

ModelReplica::State ModelReplica::replay(size_t records) const {
  State state;
  state.ballot = base_ballot;
  state.member = base_member;
  state.committed = flushed;
  for (size_t i = 0; i < records; ++i) {
    const auto& record = log[i];
    const auto& m = record.mutation;
    state.ballot = std::max(state.ballot, m.ballot);
    if (record.reign) {
      state.member = std::max(state.member, record.member);
      state.prepared.erase(state.prepared.upper_bound(m.decree), state.prepared.end());
      continue;
    }
    if (m.decree > flushed) state.prepared[m.decree] = m;
    while (state.committed < record.committed && state.prepared.count(state.committed + 1) != 0)
      ++state.committed;
  }
  return state;
}

std::optional<Mutation> ModelReplica::content(const State& state, Decree decree) const {
  if (decree <= flushed) {
    auto found = store.find(decree);
    if (found != store.end()) return found->second;
    return std::nullopt;
  }
  auto found = state.prepared.find(decree);
  if (found != state.prepared.end()) return found->second;
  return std::nullopt;
}

}  // namespace markab::pacifica
