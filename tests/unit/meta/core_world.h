#pragma once
// A meta core with its surroundings in the palm of the hand: a clock, a disk that keeps what became
// durable, and lists of what the core said. Stores become durable at once unless a test holds them.

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <memory>

#include "meta/core/meta_core.h"

namespace markab::meta {

inline HostPort node(int n) { return HostPort{0x0a000000u + static_cast<uint32_t>(n), 34801}; }

class CoreWorld {
 public:
  explicit CoreWorld(CoreOptions options = {}) : options(options) { EXPECT_TRUE(restart().ok()); }

  // --- the clock
  Moment now() const { return {Instant{t_ms * 1'000'000}, 1'700'000'000'000 + t_ms}; }
  // Living nodes beacon each second, the core ticks each 100 ms.
  void run_ms(int64_t ms) {
    for (int64_t end = t_ms + ms; t_ms < end;) {
      t_ms += 100;
      if (t_ms % 1000 == 0) {
        for (auto& [n, start] : beating) beacon(n, start);
      }
      event([&](Actions& out) { core->on_tick(now(), out); });
    }
  }

  // --- the process
  // A new leader on what is durable.
  Status restart() {
    held.clear();
    synced.clear();
    core = std::make_unique<MetaCore>(options, now().now);
    std::vector<LoadedTable> tables;
    for (auto& [id, table] : disk) tables.push_back(table);
    Actions out;
    Status s = core->load(tables, now(), out);
    take(out);
    return s;
  }
  template <typename F>
  void event(F f) {
    Actions out;
    f(out);
    take(out);
  }
  void take(Actions& out) {
    for (Action& a : out) queue.push_back(std::move(a));
    if (taking) return;
    taking = true;
    while (!queue.empty()) {
      Action a = std::move(queue.front());
      queue.pop_front();
      perform(a);
    }
    taking = false;
    core->check_invariants();
  }
  void release_stores() {
    while (!held.empty()) release_one();
    hold_stores = false;
  }
  // The oldest held store becomes durable.
  void release_one() {
    Store s = std::move(held.front());
    held.pop_front();
    make_durable(s);
  }

  // --- events
  MetaCore::BeaconVerdict beacon(HostPort n, int64_t start) {
    MetaCore::BeaconVerdict verdict{};
    event([&](Actions& out) { verdict = core->on_beacon(n, start, now(), out); });
    if (verdict == MetaCore::BeaconVerdict::kRenewed && sync_with_new_leader && core->loaded() &&
        synced.insert(n).second)
      sync(n, reports_of(n));
    return verdict;
  }
  void join(HostPort n, int64_t start = 1000) {
    beating[n] = start;
    beacon(n, start);
    sync(n);
  }
  void report_death(HostPort n, int64_t start = 0) {
    beating.erase(n);
    event([&](Actions& out) { core->on_report_death(n, start, "it crashed", now(), out); });
  }
  // What the node holds is what the configurations say, unless a test says otherwise.
  SyncReply sync(HostPort n, std::vector<ReplicaReport> reports = {}) {
    SyncReply reply;
    event([&](Actions& out) { reply = core->on_config_sync(n, reports, now(), out); });
    return reply;
  }
  AdminReply ask(Request request) {
    uint64_t token = next_token++;
    event([&](Actions& out) { core->on_request(token, std::move(request), now(), out); });
    auto it = answers.find(token);
    return it == answers.end() ? AdminReply{Errc::kIoPending, {}, 0, std::nullopt} : it->second;
  }
  AnswerUpdate update(PartitionConfig wanted, ChangeType type, HostPort about) {
    uint64_t token = next_token++;
    event([&](Actions& out) {
      core->on_update(token, {std::move(wanted), type, about}, now(), out);
    });
    auto it = update_answers.find(token);
    return it == update_answers.end() ? AnswerUpdate{token, Errc::kIoPending, {}} : it->second;
  }
  // A primary asks, correctly, for a change.
  AnswerUpdate ask_change(Gpid pid, ChangeType type, HostPort about) {
    return update(changed(config(pid), type, about).value(), type, about);
  }
  AdminReply balance(BalanceRequest request) {
    uint64_t token = next_token++;
    event([&](Actions& out) { core->on_balance(token, request, now(), out); });
    return answers.at(token);
  }
  AdminReply create(const std::string& name, int32_t partitions = 8, int32_t replicas = 3) {
    CreateTable request;
    request.name = name;
    request.partition_count = partitions;
    request.replica_count = replicas;
    request.type = "pegasus";
    return ask(request);
  }

  // --- views
  const PartitionConfig& config(Gpid pid) const { return core->find_partition(pid)->config; }
  static ReplicaReport report(const PartitionConfig& c, HostPort n, Decree committed = 100,
                              Decree prepared = 100) {
    ReplicaReport r;
    r.pid = c.pid;
    r.ballot = c.ballot;
    r.status = n == c.primary      ? ReplicaStatus::kPrimary
               : c.is_secondary(n) ? ReplicaStatus::kSecondary
                                   : ReplicaStatus::kInactive;
    r.committed = committed;
    r.prepared = prepared;
    return r;
  }
  std::vector<ReplicaReport> reports_of(HostPort n) const {
    std::vector<ReplicaReport> out;
    for (auto& [id, table] : core->tables()) {
      for (auto& p : table.partitions) {
        if (p.config.is_member(n)) out.push_back(report(p.config, n));
      }
    }
    return out;
  }
  int primaries_on(HostPort n, int32_t table = -1) const {
    int count = 0;
    for (auto& [id, t] : core->tables()) {
      if (table != -1 && id != table) continue;
      for (auto& p : t.partitions) count += p.config.primary == n ? 1 : 0;
    }
    return count;
  }
  int proposals_to(HostPort target, ChangeType type, HostPort about) const {
    return static_cast<int>(std::count_if(
        proposals.begin(), proposals.end(),
        [&](const Propose& p) { return p.target == target && p.type == type && p.node == about; }));
  }

  CoreOptions options;
  std::unique_ptr<MetaCore> core;
  int64_t t_ms = 10'000;
  std::map<HostPort, int64_t> beating;  // and their incarnations
  std::map<int32_t, LoadedTable> disk;
  std::deque<Store> held;
  bool hold_stores = false;
  bool confirm_proposals = true;
  // As replica servers do: who is answered by another leader tells it at once what it has.
  bool sync_with_new_leader = false;
  bool answer_step_downs = true;
  std::vector<Propose> proposals;
  std::vector<AskStepDown> step_downs;
  std::vector<MembershipChanged> changes;
  std::vector<NodeChanged> node_changes;
  std::vector<std::string> notes;
  std::map<uint64_t, AdminReply> answers;
  std::map<uint64_t, AnswerUpdate> update_answers;
  int stores = 0;
  uint64_t next_token = 1;

 private:
  void perform(Action& action) {
    if (auto* s = std::get_if<Store>(&action)) {
      ++stores;
      if (hold_stores) {
        held.push_back(std::move(*s));
      } else {
        make_durable(*s);
      }
    } else if (auto* p = std::get_if<Propose>(&action)) {
      proposals.push_back(*p);
      Propose sent = *p;
      if (confirm_proposals)
        event([&](Actions& out) { core->on_proposal_result(sent, Errc::kOk, now(), out); });
    } else if (auto* d = std::get_if<AskStepDown>(&action)) {
      step_downs.push_back(*d);
      AskStepDown sent = *d;
      if (answer_step_downs) {
        event([&](Actions& out) {
          core->on_step_down_result(sent.pid, sent.ballot, Errc::kOk, 77, now(), out);
        });
      }
    } else if (auto* a = std::get_if<Answer>(&action)) {
      EXPECT_TRUE(answers.emplace(a->token, a->reply).second) << "answered twice";
    } else if (auto* u = std::get_if<AnswerUpdate>(&action)) {
      EXPECT_TRUE(update_answers.emplace(u->token, *u).second) << "answered twice";
    } else if (auto* m = std::get_if<MembershipChanged>(&action)) {
      EXPECT_EQ(m->after.ballot, m->before.ballot + 1);
      changes.push_back(*m);
    } else if (auto* n = std::get_if<NodeChanged>(&action)) {
      node_changes.push_back(*n);
    } else if (auto* note = std::get_if<Note>(&action)) {
      notes.push_back(note->text);
    }
  }
  void make_durable(const Store& s) {
    for (const StoreOp& op : s.ops) apply(op);
    event([&](Actions& out) { core->on_stored(s.id, now(), out); });
  }
  void apply(const StoreOp& op) {
    if (auto* t = std::get_if<PutTable>(&op)) {
      EXPECT_TRUE(t->info.status == TableStatus::kAvailable ||
                  t->info.status == TableStatus::kDropped);
      disk[t->info.id].info = t->info;
    } else if (auto* p = std::get_if<PutPartition>(&op)) {
      auto& slot = disk[p->config.pid.app_id].partitions;
      auto it = slot.find(p->config.pid.partition_index);
      if (it != slot.end()) {
        EXPECT_EQ(p->config.ballot, it->second.ballot + 1) << p->config.pid.to_string();
      }
      slot[p->config.pid.partition_index] = p->config;
    }
  }

  std::deque<Action> queue;
  bool taking = false;
  std::set<HostPort> synced;  // with this leader, at its first answer
};

}  // namespace markab::meta
