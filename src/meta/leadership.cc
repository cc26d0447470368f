#include "meta/leadership.h"

#include "base/log.h"
#include "idl/markab_types.h"
#include "meta/state_json.h"
#include "meta/wire_values.h"
#include "rpc/codec.h"

namespace markab::meta {

constexpr Duration kOpenRetry = std::chrono::seconds(1);
constexpr Duration kProposalTimeout = std::chrono::seconds(5);
constexpr Duration kStepDownTimeout = std::chrono::seconds(2);

Leadership::Leadership(const MetaSeams& seams, const MetaOptions& options, MetaMetrics& metrics)
    : seams_(seams),
      options_(options),
      metrics_(metrics),
      id_(seams.shard.wall_us()),
      core_(options.core, seams.shard.now()),
      journal_(seams.shard, seams.store, [this](uint64_t id) {
        event([id](MetaCore& core, Moment t, Actions& out) { core.on_stored(id, t, out); });
      }) {}

Leadership::~Leadership() {
  *alive_ = false;
  metrics_.forget_tables();
}

void Leadership::begin() {
  tick();
  open_store();
}

void Leadership::open_store() {
  seams_.store.open([this, alive = alive_](Result<StateStore::Tree> tree) {
    if (*alive) loaded(std::move(tree));
  });
}

void Leadership::loaded(Result<StateStore::Tree> tree) {
  Status status = tree ? Status() : tree.error();
  if (status.ok()) {
    auto tables = tables_from_tree(*tree);
    status = tables ? event([&](MetaCore& core, Moment t, Actions& out) {
      return core.load(std::move(*tables), t, out);
    })
                    : tables.error();
    if (status.ok()) {
      // What Pegasus' tools expect to find there (03 §6).
      if (tree->find("/apps") == tree->end())
        journal_.append_raw({{StateOp::Kind::kPut, "/apps", "unlock"}});
      metrics_.refresh(core_);
      MARKAB_INFO("this meta server leads and serves");
      return;
    }
    // Half a state must not be served, and it will not get better by itself.
    MARKAB_ERROR("the meta state cannot be understood, nothing is served: {}", status);
    return;
  }
  if (open_failures_++ % 10 == 0)
    MARKAB_ERROR("the meta state cannot be read: {}; it is tried again", status);
  open_timer_ = seams_.shard.after(kOpenRetry, [this] { open_store(); });
}

void Leadership::tick() {
  tick_timer_ = seams_.shard.after(
      std::min<Duration>(options_.check_interval, std::chrono::milliseconds(100)),
      [this] { tick(); });
  if (options_.refresh) options_.refresh(core_.options());
  event([](MetaCore& core, Moment t, Actions& out) { core.on_tick(t, out); });
  if (serving()) metrics_.on_tick(core_, seams_.shard.now());
}

uint64_t Leadership::await(Callback<AdminReply> done) {
  waiting_.emplace(next_token_, std::move(done));
  return next_token_++;
}

uint64_t Leadership::await_update(Callback<Errc, PartitionConfig> done) {
  waiting_updates_.emplace(next_token_, std::move(done));
  return next_token_++;
}

// Actions that come up while others are performed wait for their turn: the journal sees stores in
// the core's order.
void Leadership::perform(Actions actions) {
  // 03 §7: a leader whose time is over tells nobody anything; its end is on its way.
  if (!seams_.election.holds()) return;
  for (Action& action : actions) queue_.push_back(std::move(action));
  if (performing_) return;
  performing_ = true;
  auto alive = alive_;
  while (!queue_.empty()) {
    Action action = std::move(queue_.front());
    queue_.pop_front();
    std::visit([this](auto& a) { act(a); }, action);
    if (!*alive) return;
  }
  performing_ = false;
}

void Leadership::act(Store& action) { journal_.append(action); }

void Leadership::act(Propose& action) {
  const Table* table = core_.find_table(action.pid.app_id);
  const Partition* p = core_.find_partition(action.pid);
  if (p == nullptr) return;
  wire::configuration_update_request message;
  message.info = to_wire(table->info);
  message.config = to_wire(p->config, true);
  message.type = static_cast<wire::config_type::type>(action.type);
  message.node = action.node;
  message.__set_hp_node(action.node);
  rpc::CallOptions options;
  options.timeout = kProposalTimeout;
  Propose sent = action;
  seams_.network.call(action.target, rpc::TaskCode::kConfigProposal, options,
                      rpc::encode_args(message), [this, alive = alive_, sent](rpc::Reply reply) {
                        if (!*alive) return;
                        if (!reply.status.ok()) {
                          MARKAB_DEBUG("{}: {} to {} about {} at ballot {} failed: {}", sent.pid,
                                       change_name(sent.type), sent.target, sent.node, sent.ballot,
                                       reply.status);
                        }
                        event([&](MetaCore& core, Moment t, Actions& out) {
                          core.on_proposal_result(sent, reply.status.code(), t, out);
                        });
                      });
}

void Leadership::act(AskStepDown& action) {
  wire::step_down_request message;
  message.pid = action.pid;
  message.ballot = action.ballot;
  rpc::CallOptions options;
  options.timeout = kStepDownTimeout;
  AskStepDown sent = action;
  seams_.network.call(action.target, rpc::TaskCode::kStepDown, options, rpc::encode_args(message),
                      [this, alive = alive_, sent](rpc::Reply reply) {
                        if (!*alive) return;
                        wire::step_down_response response;
                        Status status = reply.status;
                        if (status.ok()) status = rpc::decode_result(reply.result, response);
                        Errc error = status.ok() ? response.err.code : status.code();
                        event([&](MetaCore& core, Moment t, Actions& out) {
                          core.on_step_down_result(sent.pid, sent.ballot, error,
                                                   response.last_committed_decree, t, out);
                        });
                      });
}

void Leadership::act(Answer& action) {
  auto it = waiting_.find(action.token);
  if (it == waiting_.end()) return;
  auto done = std::move(it->second);
  waiting_.erase(it);
  done(std::move(action.reply));
}

void Leadership::act(AnswerUpdate& action) {
  auto it = waiting_updates_.find(action.token);
  if (it == waiting_updates_.end()) return;
  auto done = std::move(it->second);
  waiting_updates_.erase(it);
  done(action.err, action.config);
}

void Leadership::act(MembershipChanged& action) {
  const PartitionConfig& a = action.after;
  MARKAB_INFO("{}: ballot {} -> {}, {} {}: primary {}, secondaries [{}]; {}", a.pid,
              action.before.ballot, a.ballot, change_name(action.type), action.node, a.primary,
              fmt::join(a.secondaries, ","), action.reason);
  metrics_.on_membership_changed(action);
}

void Leadership::act(NodeChanged& action) {
  if (action.alive) {
    MARKAB_INFO("node {} is alive: {}", action.node, action.reason);
  } else {
    MARKAB_WARN("node {} is dead: {}", action.node, action.reason);
  }
  metrics_.on_node_changed(core_, action);
}

void Leadership::act(Note& action) {
  if (action.warning) {
    MARKAB_WARN("{}", action.text);
  } else {
    MARKAB_INFO("{}", action.text);
  }
}

}  // namespace markab::meta
