// What the meta servers tell a replica server, and what it asks them: config sync, proposals,
// changes of memberships.

#include <set>

#include "base/log.h"
#include "replica/server.h"
#include "replica/table_info.h"
#include "rpc/codec.h"

namespace markab::replica {

using pacifica::ChangeKind;
using pacifica::Membership;
using pacifica::Role;
using rpc::TaskCode;

namespace {

constexpr size_t kMaxHeldProposals = 4096;  // that wait for the lease; more are refused

constexpr Duration kMetaTimeout = std::chrono::seconds(2);
constexpr Duration kBusyRetry = std::chrono::milliseconds(500);

Membership to_membership(const wire::partition_configuration& config) {
  Membership m;
  m.ballot = config.ballot;
  m.primary = config.primary;
  for (const auto& node : config.secondaries) m.secondaries.push_back(node);
  m.max_replica_count = config.max_replica_count;
  return m;
}

wire::partition_configuration to_wire(Gpid gpid, const Membership& m, Decree committed) {
  wire::partition_configuration config;
  config.pid = gpid;
  config.ballot = m.ballot;
  config.max_replica_count = m.max_replica_count;
  config.primary = m.primary;
  for (const auto& node : m.secondaries) config.secondaries.emplace_back(node);
  config.last_committed_decree = committed;
  return config;
}

TableInfo to_table(const wire::app_info& info) {
  TableInfo table;
  table.app_name = info.app_name;
  table.partition_count = info.partition_count;
  table.max_replica_count = info.max_replica_count;
  table.envs = info.envs;
  return table;
}

bool is_member(const Membership& m, HostPort node) {
  return m.primary == node ||
         std::find(m.secondaries.begin(), m.secondaries.end(), node) != m.secondaries.end();
}

wire::partition_status::type to_wire(Role role) {
  switch (role) {
    case Role::kInactive:
      return wire::partition_status::PS_INACTIVE;
    case Role::kLearner:
      return wire::partition_status::PS_POTENTIAL_SECONDARY;
    case Role::kSecondary:
      return wire::partition_status::PS_SECONDARY;
    case Role::kPrimary:
      return wire::partition_status::PS_PRIMARY;
    case Role::kError:
      return wire::partition_status::PS_ERROR;
  }
  return wire::partition_status::PS_INVALID;
}

}  // namespace

// ---- config sync
// ---------------------------------------------------------------------------------------------------

void ReplicaServer::schedule_sync(Duration delay) {
  if (stopped_) return;
  sync_timer_ = control_.after(delay, [this] { config_sync(); });
}

void ReplicaServer::config_sync() {
  schedule_sync(options_.config_sync_interval);
  if (syncing_) return;
  syncing_ = true;
  collect_replicas(
      [this](std::vector<wire::replica_info> stored) { send_sync(std::move(stored)); });
}

// Asks every shard about its replicas, one after the other.
void ReplicaServer::collect_replicas(Callback<std::vector<wire::replica_info>> done) {
  struct Round {
    std::vector<std::shared_ptr<Replica>> replicas;
    std::vector<wire::replica_info> infos;
    Callback<std::vector<wire::replica_info>> done;
  };
  auto round = std::make_shared<Round>();
  round->replicas = replicas();
  round->done = std::move(done);
  auto next = std::make_shared<std::function<void(int)>>();
  *next = [this, round, next](int shard) {
    if (shard == runtime_.shard_count()) {
      control_.post([this, round, next] {
        round->replicas.clear();
        report_shut(round->infos);
        report_begun(round->infos);
        round->done(std::move(round->infos));
        *next = nullptr;
      });
      return;
    }
    runtime_.shard(shard).post([round, next, shard] {
      for (const auto& replica : round->replicas) {
        if (replica->shard_index() != shard) continue;
        wire::replica_info info;
        info.pid = replica->gpid();
        info.ballot = replica->member_ballot();
        info.status =
            replica->doubtful() ? wire::partition_status::PS_ERROR : to_wire(replica->role());
        info.last_committed_decree = replica->last_committed();
        info.last_prepared_decree = replica->last_prepared();
        info.last_durable_decree = replica->last_durable();
        info.app_type = "pegasus";
        info.disk_tag = replica->disk_tag();
        info.__set_manual_compact_status(static_cast<wire::manual_compaction_status::type>(
            static_cast<int>(replica->compaction().state())));
        round->infos.push_back(std::move(info));
      }
      (*next)(shard + 1);
    });
  };
  (*next)(0);
}

// What this node begins while its replicas are collected: a report without it would say that it is
// not here, and another would be made primary beside it (04 S9).
void ReplicaServer::report_begun(std::vector<wire::replica_info>& out) const {
  std::set<Gpid> told;
  for (const auto& info : out) told.insert(info.pid);
  for (const auto& [gpid, entry] : entries_) {
    if (!entry.begins || entry.state == State::kClosing || told.contains(gpid)) continue;
    wire::replica_info info;
    info.pid = gpid;
    info.status = wire::partition_status::PS_INACTIVE;
    info.app_type = "pegasus";
    info.disk_tag = disks_.at(entry.disk).dir.tag;
    out.push_back(std::move(info));
  }
}

void ReplicaServer::send_sync(std::vector<wire::replica_info> stored) {
  wire::configuration_query_by_node_request request;
  request.node = options_.self;
  std::map<Gpid, Ballot> reported;
  for (const auto& info : stored) reported[info.pid] = info.ballot;
  request.__set_stored_replicas(std::move(stored));
  link_->call(TaskCode::kConfigSync, rpc::encode_args(request), kMetaTimeout,
              [this, term = link_->term(), leaderships = link_->leaderships(),
               reported = std::move(reported),
               asked = std::exchange(first_leads_, {})](rpc::Reply reply) mutable {
                syncing_ = false;
                if (stopped_) return end_first_leads(std::move(asked), {});
                auto again = [&](Duration delay) {
                  std::move(asked.begin(), asked.end(), std::back_inserter(first_leads_));
                  schedule_sync(delay);
                };
                // What was asked in an earlier term may have been answered before it ended, and
                // who leads now may not have heard it.
                if (term != link_->term() || leaderships != link_->leaderships())
                  return again(Duration(0));
                wire::configuration_query_by_node_response response;
                auto status = reply.status;
                if (status.ok()) status = rpc::decode_result(reply.result, response);
                if (status.ok() && response.err.code != Errc::kOk) status = response.err.code;
                if (!status.ok()) {
                  MARKAB_INFO("config sync is repeated soon: {}", status);
                  return again(kBusyRetry);
                }
                apply_sync(response);
                disown_absent(response, reported);
                end_first_leads(std::move(asked), response);
                if (!first_leads_.empty()) schedule_sync(Duration(0));
                if (link_->confirmed()) return;
                io::after_all_shards(runtime_, control_, [this, term] {
                  link_->confirm(term);
                  take_held_proposals();
                });
              });
}

void ReplicaServer::end_first_leads(std::vector<FirstLead> asked,
                                    const wire::configuration_query_by_node_response& response) {
  std::set<Gpid> ours;
  for (const auto& told : response.partitions) {
    if (told.config.ballot == 1 && HostPort(told.config.primary) == options_.self)
      ours.insert(told.config.pid);
  }
  for (auto& lead : asked) lead.done(ours.contains(lead.gpid));
}

// Who is primary here at the ballot that was reported, and is not named a member in the answer,
// leads no longer: it serves nothing more and asks what is current (spec 04 §1.9).
void ReplicaServer::disown_absent(const wire::configuration_query_by_node_response& response,
                                  const std::map<Gpid, Ballot>& reported) {
  std::set<Gpid> told;
  for (const auto& partition : response.partitions) told.insert(partition.config.pid);
  for (const auto& [gpid, ballot] : reported) {
    auto found = entries_.find(gpid);
    if (told.contains(gpid) || found == entries_.end() || found->second.state != State::kOpen)
      continue;
    auto replica = found->second.replica;
    replica->shard().post([replica, ballot = ballot] { replica->disown(ballot); });
  }
}

void ReplicaServer::apply_sync(const wire::configuration_query_by_node_response& response) {
  for (const auto& told : response.partitions) apply_membership(told);
  for (const auto& told : response.elsewhere) apply_membership(told);
  // Replicas that the meta server no longer counts here learn it by their absence: their membership
  // is elsewhere now.
  if (!response.__isset.gc_replicas) return;
  for (const auto& useless : response.gc_replicas) {
    discard_shut(useless.pid);
    auto found = entries_.find(useless.pid);
    if (found == entries_.end() || found->second.state != State::kOpen) continue;
    auto replica = found->second.replica;
    replica->shard().post([this, replica] {
      if (replica->role() == Role::kPrimary || replica->role() == Role::kSecondary) return;
      control_.post([this, gpid = replica->gpid()] {
        auto again = entries_.find(gpid);
        if (again == entries_.end() || again->second.state != State::kOpen || stopped_) return;
        MARKAB_INFO("{} is no longer needed here; its directory is kept as garbage", gpid);
        discard_replica(gpid, "gar");
      });
    });
  }
}

void ReplicaServer::apply_membership(const wire::configuration_update_request& told) {
  auto found = entries_.find(told.config.pid);
  if (found == entries_.end()) {
    auto m = to_membership(told.config);
    // Before the first change the meta server may yet tell this node to create it. Whoever asks to
    // be removed and then leads at the old ballot is a second primary (04 S9).
    bool to_be_created = m.ballot == 1 && told.config.last_committed_decree == 0;
    if (is_member(m, options_.self) && !to_be_created && !moving_->contains(told.config.pid))
      report_missing(told);
    return;
  }
  if (found->second.state != State::kOpen) return;
  auto replica = found->second.replica;
  replica->shard().post([replica, table = to_table(told.info), m = to_membership(told.config)] {
    replica->on_table_info(table);
    replica->on_membership(m);
  });
}

// We are named a member of a partition that we do not have: ask to be removed (spec 04 §1.9), never
// invent an empty one.
void ReplicaServer::report_missing(const wire::configuration_update_request& told) {
  auto m = to_membership(told.config);
  MARKAB_WARN("{} names this node a member, but there is no replica here; asking to be removed",
              Gpid(told.config.pid));
  ask_removal(told.config.pid, told.info, m, told.config.last_committed_decree, [](Errc) {});
}

// A member asks to leave its group, on behalf of what it does not have or is about to close.
void ReplicaServer::ask_removal(Gpid gpid, const wire::app_info& info, const Membership& membership,
                                Decree committed, Callback<Errc> done) {
  auto m = membership;
  wire::configuration_update_request ask;
  ask.info = info;
  ask.type = wire::config_type::CT_DOWNGRADE_TO_INACTIVE;
  ask.node = options_.self;
  if (m.primary == options_.self) m.primary = {};
  std::erase(m.secondaries, options_.self);
  m.ballot += 1;
  ask.config = to_wire(gpid, m, committed);
  link_->call(TaskCode::kUpdatePartitionConfiguration, rpc::encode_args(ask), kMetaTimeout,
              [done = std::move(done)](const rpc::Reply& reply) {
                wire::configuration_update_response response;
                auto status = reply.status;
                if (status.ok()) status = rpc::decode_result(reply.result, response);
                done(status.ok() ? response.err.code : status.code());
              });
}

// ---- proposals
// -----------------------------------------------------------------------------------------------------

void ReplicaServer::on_proposal(rpc::Request request) {
  auto told = std::make_shared<wire::configuration_update_request>();
  if (auto s = rpc::decode_args(request.args, *told); !s.ok()) {
    request.reply_error(Errc::kInvalidData);
    return;
  }
  auto held = std::make_shared<rpc::Request>(std::move(request));
  control_.post([this, held, told] { take_proposal(held, told); });
}

void ReplicaServer::take_held_proposals() {
  for (Task& task : std::exchange(held_proposals_, {})) task();
}

void ReplicaServer::take_proposal(const std::shared_ptr<rpc::Request>& held,
                                  const std::shared_ptr<wire::configuration_update_request>& told,
                                  bool confirmed) {
  if (stopped_ || !loaded_) {
    held->reply_error(Errc::kInvalidState);
    return;
  }
  // Who slept finds old words at its door: none makes it lead before it was told what is current
  // (04 §1.9). It would commit what it holds, and void what others do.
  bool leads = HostPort(told->config.primary) == options_.self;
  if (leads && !leaving_ && !link_->lease_valid(control_.now())) {
    if (held_proposals_.size() >= kMaxHeldProposals) return held->reply_error(Errc::kBusy);
    held_proposals_.push_back([this, held, told] { take_proposal(held, told); });
    return;
  }
  Gpid gpid = told->config.pid;
  HostPort node = told->node;
  auto m = to_membership(told->config);
  auto apply = [this, held, told, gpid, node, m](Errc error) {
    auto found = entries_.find(gpid);
    if (error != Errc::kOk || found == entries_.end() || found->second.state != State::kOpen) {
      held->reply_error(error != Errc::kOk ? error : Errc::kInvalidState);
      return;
    }
    auto replica = found->second.replica;
    replica->shard().post([replica, held, type = told->type, node, m, self = options_.self,
                           table = to_table(told->info)] {
      replica->on_table_info(table);
      // Chosen from what was dropped, when nobody else was left.
      if (type == wire::config_type::CT_ASSIGN_PRIMARY && m.primary == self &&
          m.secondaries.empty() && m.ballot > replica->ballot()) {
        replica->lead_as_it_is();
      }
      replica->on_membership(m);
      if (node != self) {
        if (type == wire::config_type::CT_ADD_SECONDARY ||
            type == wire::config_type::CT_ADD_SECONDARY_FOR_LB) {
          replica->invite_learner(node);
        } else if (type == wire::config_type::CT_DOWNGRADE_TO_INACTIVE) {
          replica->on_node_dead(node);
        } else if (type == wire::config_type::CT_REMOVE) {
          replica->remove_secondary(node);
        }
      }
      held->reply({});
    });
  };
  auto found = entries_.find(gpid);
  if (found != entries_.end()) {
    if (found->second.state == State::kOpening) {
      found->second.waiting.push_back(apply);
    } else {
      apply(found->second.state == State::kOpen ? Errc::kOk : Errc::kInvalidState);
    }
    return;
  }
  if (is_shut(gpid)) return reopen(gpid, apply);
  // Only who is told to begin with the first membership of a partition may find nothing here: its
  // history is empty. Everything later must be learned (spec 04 §1.7, "never create an empty
  // replica over a non-zero history"), also at that ballot: this disk may be a new one.
  bool begins = node == options_.self && (told->type == wire::config_type::CT_ASSIGN_PRIMARY ||
                                          told->type == wire::config_type::CT_ADD_SECONDARY);
  bool first = begins && m.ballot == 1 && told->config.last_committed_decree == 0 &&
               is_member(m, options_.self);
  bool moves = moving_->contains(gpid);
  if (!first || leaving_ || moves) {
    if (is_member(m, options_.self) && !moves) report_missing(*told);
    held->reply_error(Errc::kObjectNotFound);
    return;
  }
  // These words may be old, and others have begun without us: what is empty has nothing to tell it
  // by. Before it leads here (04 S9), the meta server is asked.
  if (leads && !confirmed) {
    if (first_leads_.size() >= kMaxHeldProposals) return held->reply_error(Errc::kBusy);
    first_leads_.push_back({gpid, [this, held, told](bool current) {
                              if (current) return take_proposal(held, told, true);
                              held->reply_error(Errc::kInvalidVersion);
                            }});
    return schedule_sync(Duration(0));
  }
  auto disk = choose_disk(gpid);
  if (disk == disks_.size()) {
    held->reply_error(Errc::kDiskInsufficient);
    return;
  }
  open_replica(gpid, to_table(told->info), disk, Origin::kNew, apply);
  entries_.at(gpid).begins = true;
}

wire::app_info ReplicaServer::app_info_of(const Replica& replica) const {
  auto table = replica.table_now();
  wire::app_info info;
  info.status = wire::app_status::AS_AVAILABLE;
  info.app_type = "pegasus";
  info.app_id = replica.gpid().app_id;
  info.app_name = table.app_name;
  info.partition_count = table.partition_count;
  info.max_replica_count = table.max_replica_count;
  info.envs = std::move(table.envs);
  info.is_stateful = true;
  return info;
}

// ---- changes that a replica asks for
// -------------------------------------------------------------------------------

void ReplicaServer::ask_meta(Replica& replica, const pacifica::AskMeta& ask,
                             Callback<Errc, Membership> done) {
  wire::configuration_update_request request;
  request.info = app_info_of(replica);
  request.config = to_wire(replica.gpid(), ask.wanted, replica.last_committed());
  request.node = ask.node;
  switch (ask.kind) {
    case ChangeKind::kAddSecondary:
      request.type = wire::config_type::CT_UPGRADE_TO_SECONDARY;
      break;
    case ChangeKind::kRemove:
      request.type = wire::config_type::CT_REMOVE;
      break;
    case ChangeKind::kDowngradeSelf:
      request.type = wire::config_type::CT_DOWNGRADE_TO_INACTIVE;
      break;
    case ChangeKind::kNextBallot:
      request.type = wire::config_type::CT_PRIMARY_FORCE_UPDATE_BALLOT;
      break;
  }
  MARKAB_INFO("{}: asks the meta server for ballot {}: {} {}", replica.gpid(), ask.wanted.ballot,
              ask.kind == ChangeKind::kAddSecondary ? "add" : "remove", ask.node);
  auto held = std::make_shared<Callback<Errc, Membership>>(std::move(done));
  auto& shard = replica.shard();
  control_.post([this, request = std::move(request), held, &shard] {
    link_->call(TaskCode::kUpdatePartitionConfiguration, rpc::encode_args(request), kMetaTimeout,
                [held, &shard](rpc::Reply reply) {
                  wire::configuration_update_response response;
                  auto status = reply.status;
                  if (status.ok()) status = rpc::decode_result(reply.result, response);
                  Errc error = status.ok() ? response.err.code : status.code();
                  auto current = status.ok() ? to_membership(response.config) : Membership();
                  shard.post([held, error, current] { (*held)(error, current); });
                });
  });
}

}  // namespace markab::replica
